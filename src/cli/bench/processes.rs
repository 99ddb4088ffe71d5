//! Starting processes that measure, one at a time.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use alike::bench::{Measured, Repeat};
use alike::engine::ceilings::Ceilings;
use anyhow::{Context, bail};

use crate::cli::Common;
use crate::cli::bench::child::{CeilingsOrder, MeasureOrder, Order, Reply};
use crate::cli::bench::meters::{load_average, unix_now};

/// Who starts processes, and counts them.
pub(crate) struct Processes<'a> {
    common: &'a Common,
    n: usize,
    /// Models whose warnings have been shown: they are the same each time.
    heard: BTreeSet<PathBuf>,
}

/// What became of a process: what it measured, or why nothing.
pub(crate) type Outcome<T> = std::result::Result<T, String>;

/// A process that measured a cell.
pub(crate) struct Ran {
    pub(crate) measured: Measured,
    /// Its place among all processes.
    pub(crate) place: usize,
    /// Load average before and after it.
    pub(crate) loads: [Option<f64>; 2],
}

impl<'a> Processes<'a> {
    pub(crate) fn new(common: &'a Common) -> Self {
        Self { common, n: 0, heard: BTreeSet::new() }
    }

    /// Measures a cell in a process of its own.
    pub(crate) fn measure(&mut self, order: &MeasureOrder) -> anyhow::Result<Outcome<Ran>> {
        let order = MeasureOrder { started_unix: unix_now(), ..order.clone() };
        let (place, before) = (self.n, load_average());
        Ok(match self.ask(&Order::Measure(order.clone()), order.cell.threads)? {
            Ok(Reply::Measured(measured)) => Ok(Ran { measured: *measured, place, loads: [before, load_average()] }),
            Ok(Reply::Failed(reason)) | Err(reason) => Err(reason),
            Ok(Reply::Ceilings(_)) => bail!("a process measured something else than it was told to"),
        })
    }

    /// Measures what the runtime reaches, likewise.
    pub(crate) fn ceilings(&mut self, order: &CeilingsOrder) -> anyhow::Result<Outcome<(Ceilings, usize)>> {
        let place = self.n;
        Ok(match self.ask(&Order::Ceilings(order.clone()), order.threads)? {
            Ok(Reply::Ceilings(ceilings)) => Ok((ceilings, place)),
            Ok(Reply::Failed(reason)) | Err(reason) => Err(reason),
            Ok(Reply::Measured(_)) => bail!("a process measured something else than it was told to"),
        })
    }

    /// Starts the program itself with an order and waits for the reply. The process ends when its standard input is closed,
    /// which this process's end does, whatever brings it about.
    fn ask(&mut self, order: &Order, threads: usize) -> anyhow::Result<Outcome<Reply>> {
        self.n += 1;
        let program = std::env::current_exe().context("finding this program to start it again")?;
        let mut command = Command::new(&program);
        command.args(["bench-process", "--quiet", "--threads"]).arg(threads.to_string());
        if let Some(ort) = &self.common.ort {
            command.arg("--ort").arg(ort);
        }
        let words = match order {
            Order::Measure(order) if self.heard.insert(order.model.clone()) => Stdio::inherit(),
            _ => Stdio::null(),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(words);
        let mut child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let (mut input, mut output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        let mut reply = String::new();
        // A process that has ended already reads nothing; its status says why.
        let spoken = input.write_all(line.as_bytes()).and_then(|()| input.flush());
        let heard = output.read_to_string(&mut reply);
        drop(input);
        let status = child.wait()?;
        Ok(match (spoken, heard, serde_json::from_str(&reply)) {
            (Ok(()), Ok(_), Ok(reply)) => Ok(reply),
            _ => Err(ended(status)),
        })
    }
}

/// How a process without a reply ended.
fn ended(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let why = if signal == 9 { ", as when memory is short" } else { "" };
        return format!("its process was ended by signal {signal}{why}");
    }
    format!("its process ended without a result ({status})")
}

/// A measurement as a repeat, with what is said of it while others wait.
pub(crate) fn told(repeat: &Repeat) -> String {
    let load = repeat.load_before.map(|load| format!(", load {load:.1}")).unwrap_or_default();
    format!("{:.1} triplets/s{load}", repeat.timing.triplets_per_second())
}
