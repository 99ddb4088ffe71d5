//! The process that measures: one order on standard input, one reply on standard output.
//!
//! Standard input stays open while somebody waits for the reply. When it closes, the process ends: whatever became of who
//! started it, nothing is left behind.

use std::cell::RefCell;
use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use alike::bench::{Answers, Cell, Measured, Timing};
use alike::concepts::Concepts;
use alike::engine::ceilings::{self, Ceilings};
use alike::engine::provider::{ExecutionProvider, Gpu, Runtime};
use alike::engine::timed::Timed;
use alike::judge::{Judge, JudgeSettings};
use alike::judgments::Judgment;
use alike::presentations::Presentation;
use alike::prompts::template::{Style, Wording};
use alike::triplets::Triplet;
use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::cli::Common;
use crate::cli::bench::meters::{Energy, GpuWatch, Readings, cpu_seconds, peak_rss_bytes, unix_now};
use crate::cli::device::Device;
use crate::cli::opened::open;
use crate::cli::stop;

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Measure(MeasureOrder),
    Ceilings(CeilingsOrder),
}

/// Measure a cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MeasureOrder {
    pub(crate) model: PathBuf,
    pub(crate) cell: Cell,
    pub(crate) gpu: Gpu,
    pub(crate) style: Option<Style>,
    /// Names in the order of their ids.
    pub(crate) concepts: Vec<String>,
    /// Anchor, first and second.
    pub(crate) presentations: Vec<[u32; 3]>,
    pub(crate) warm_up: usize,
    pub(crate) part_rows: Option<usize>,
    pub(crate) seed: u64,
    /// When the process was started, in seconds since 1970.
    pub(crate) started_unix: f64,
}

/// Measure what the runtime itself reaches.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CeilingsOrder {
    pub(crate) provider: ExecutionProvider,
    pub(crate) gpu: Gpu,
    pub(crate) precision: String,
    pub(crate) threads: usize,
}

/// What became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Measured(Box<Measured>),
    Ceilings(Ceilings),
    /// Why there is nothing.
    Failed(String),
}

pub(crate) fn run(common: &Common) -> anyhow::Result<()> {
    let mut line = String::new();
    let mut input = std::io::stdin().lock();
    input.read_line(&mut line)?;
    drop(input);
    let order: Order = serde_json::from_str(&line).context("reading the order; `alike bench` starts this by itself")?;
    std::thread::spawn(|| {
        // Nothing comes; the end does, when nobody waits any more.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        stop::now();
    });
    let done = match &order {
        Order::Measure(order) => measure(order, common).map(|measured| Reply::Measured(Box::new(measured))),
        Order::Ceilings(order) => reach(order, common).map(Reply::Ceilings),
    };
    let reply = done
        .unwrap_or_else(|error| Reply::Failed(error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")));
    println!("{}", serde_json::to_string(&reply)?);
    Ok(())
}

fn reach(order: &CeilingsOrder, common: &Common) -> anyhow::Result<Ceilings> {
    let runtime = Runtime::load(common.ort.as_deref())?;
    Ok(ceilings::measure(runtime, order.provider, &order.gpu, &order.precision, order.threads)?)
}

fn measure(order: &MeasureOrder, common: &Common) -> anyhow::Result<Measured> {
    let cell = &order.cell;
    let concepts = Concepts::from_names(order.concepts.iter().map(String::as_str))?;
    let triplet = |&[anchor, first, second]: &[u32; 3]| Presentation::Anchored(Triplet { anchor, first, second });
    let asked: Vec<Presentation> = order.presentations.iter().map(triplet).collect();
    let wording = Wording::new("paper", None)?;
    let opened = open(&order.model, order.style, &wording, common)?;
    let device = Device { provider: cell.provider, gpu: order.gpu.clone(), batch_tokens: Some(cell.batch_tokens) };
    let loading = Instant::now();
    let mut model = opened.start(&device, common)?;
    let load_seconds = loading.elapsed().as_secs_f64();

    let settings = JudgeSettings::plain(wording, order.seed, cell.reuse, cell.batch_tokens);
    let passes = RefCell::<Vec<Duration>>::default();
    let mut timed = Timed::new(&mut model, &passes);
    let neutral = Instant::now();
    let options = asked.iter().flat_map(Presentation::options);
    let mut judge = Judge::new(&mut timed, &opened.tokenizer, &concepts, &settings, options)?;
    let neutral_seconds = neutral.elapsed().as_secs_f64();

    let part_rows = order.part_rows.unwrap_or(cell.provider.part_rows());
    let mut first_result = None;
    let mut answered = |n: usize| {
        if n > 0 && first_result.is_none() {
            first_result = Some(unix_now() - order.started_unix);
        }
    };
    let warming = Instant::now();
    let few = evenly(&asked, order.warm_up);
    judge.judge(few.chunks(part_rows).enumerate(), |_, _| Ok(()), &mut answered)?;
    let warm_up_seconds = warming.elapsed().as_secs_f64();

    let before = (judge.running(), judge.stages(), passes.borrow().len());
    let watch = (cell.provider != ExecutionProvider::Cpu).then(|| GpuWatch::start(order.gpu.device)).flatten();
    let (energy, cpu) = (Energy::read(), cpu_seconds());
    let mut answers = Answers::default();
    let timing = Instant::now();
    let keep = |_, judgments: Vec<Judgment>| {
        answers.extend(&judgments);
        Ok(())
    };
    let size = judge.judge(asked.chunks(part_rows).enumerate(), keep, &mut answered)?;
    let seconds = timing.elapsed().as_secs_f64();

    let cpu_seconds = cpu_seconds().zip(cpu).map(|(after, before)| after - before);
    let of_processors = Energy::read().zip(energy).and_then(|(after, before)| after.since(&before));
    let of_gpu = watch.map_or_else(Readings::default, GpuWatch::stop);
    let energy_joules = match cell.provider {
        ExecutionProvider::Cpu => of_processors,
        ExecutionProvider::Cuda | ExecutionProvider::TensorRt => of_gpu.mean_watts.map(|watts| watts * seconds),
    };
    let pass_seconds = passes.borrow()[before.2..].iter().map(Duration::as_secs_f64).collect();
    let timing = Timing {
        n: asked.len(),
        seconds,
        session_seconds: (judge.running() - before.0).as_secs_f64(),
        stages: judge.stages().since(before.1),
        pass_seconds,
        size,
        first_result_seconds: first_result.context("no pass answered anything")?,
        load_seconds,
        neutral_seconds,
        warm_up: few.len(),
        warm_up_seconds,
        cpu_seconds,
        peak_rss_bytes: peak_rss_bytes(),
        gpu_bytes: of_gpu.most_bytes,
        energy_joules,
    };
    Ok(Measured { timing, answers })
}

/// So many of them, evenly spaced.
fn evenly<T: Copy>(all: &[T], n: usize) -> Vec<T> {
    let n = n.min(all.len());
    (0..n).map(|i| all[i * all.len() / n]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_is_spread_over_all() {
        assert_eq!(evenly(&[0, 1, 2, 3, 4, 5], 3), [0, 2, 4]);
        assert_eq!(evenly(&[0, 1], 5), [0, 1]);
        assert_eq!(evenly(&[0, 1], 0), [0; 0]);
    }
}
