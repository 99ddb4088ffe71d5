//! Progress of long stages: a bar on a terminal, a line every half minute elsewhere, and signs of life for who watches from outside.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::heartbeat::{Heartbeat, Pace, resident_bytes};
use crate::cli::{Common, LogFormat};

/// Progress of one stage.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: String,
    total: u64,
    /// Done by earlier runs.
    skipped: u64,
    lines: Option<LogFormat>,
    heartbeat: Option<Heartbeat>,
    every_seconds: u64,
    started: Instant,
    reported: Instant,
}

impl Progress {
    /// Progress over `total` units.
    pub(crate) fn new(what: &str, total: usize, unit: &str, common: &Common) -> Self {
        let bars = std::io::stderr().is_terminal() && common.log_format == LogFormat::Text;
        let bar = if bars && !common.quiet { ProgressBar::new(total as u64) } else { ProgressBar::hidden() };
        let template = format!("{{msg:28}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}} left");
        bar.set_style(ProgressStyle::with_template(&template).expect("the template is ours"));
        bar.set_message(what.to_owned());
        let now = Instant::now();
        Self {
            bar,
            what: what.to_owned(),
            total: total as u64,
            skipped: 0,
            lines: (!bars && !common.quiet).then_some(common.log_format),
            heartbeat: None,
            every_seconds: common.heartbeat,
            started: now,
            reported: now,
        }
    }

    /// The same, told to who watches from outside as well.
    pub(crate) fn watched(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat: Some(heartbeat), ..self }
    }

    /// So many more are done.
    pub(crate) fn advance(&mut self, n: usize) {
        self.bar.inc(n as u64);
        if self.reported.elapsed().as_secs() >= self.every_seconds {
            self.reported = Instant::now();
            self.report();
        }
    }

    fn report(&self) {
        let pace = self.pace();
        let Pace { done, total, rate } = pace;
        match self.lines {
            Some(LogFormat::Text) => {
                let left = pace.eta_seconds().map(|left| format!(", {left:.0} s left")).unwrap_or_default();
                let memory = resident_bytes().map(|bytes| format!(", {} MiB", bytes >> 20)).unwrap_or_default();
                eprintln!("{}: {done} of {total}, {rate:.1}/s{left}{memory}", self.what);
            }
            Some(LogFormat::Json) => {
                let (eta_seconds, resident_bytes) = (pace.eta_seconds(), resident_bytes());
                tracing::info!(stage = self.what, done, total, rate, eta_seconds, resident_bytes, "progress");
            }
            None => {}
        }
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.beat(pace);
        }
    }

    fn pace(&self) -> Pace {
        let done = self.bar.position();
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        Pace { done, total: self.total, rate: (done - self.skipped.min(done)) as f64 / seconds }
    }

    /// These were done before this run: they count, without weighing on the rate.
    pub(crate) fn skip(&mut self, n: usize) {
        self.skipped += n as u64;
        self.bar.inc(n as u64);
        self.bar.reset_eta();
    }

    /// Ends the bar, leaving the terminal clean for the stage's last line.
    pub(crate) fn finish(self) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.beat(self.pace());
        }
        self.bar.finish_and_clear();
    }
}
