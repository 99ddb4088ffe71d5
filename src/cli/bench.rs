//! `alike bench`: the same presentations for every cell of a matrix, and how far the answers agree.

pub(crate) mod child;
mod compared;
mod machine;
mod meters;
mod numbers;
mod processes;
mod questions;
mod roofline;
mod rounds;
mod terminal;
mod tuning;

use std::path::{Path, PathBuf};

use alike::bench::agreement::{Agreement, fitted};
use alike::bench::cell::{self, Matrix};
use alike::bench::row::ANSWERS_KEPT;
use alike::bench::{Answers, BENCH_VERSION, Bench, Cell, Outcome, Repeat, Row, Summary};
use alike::embedding::Fit;
use alike::engine::provider::{ExecutionProvider, Gpu, Runtime};
use alike::error::Error;
use alike::prompts::plan::Reuse;
use alike::prompts::template::Style;
use alike::store::bench as store;
use alike::store::place::Place;
use clap::Args;

use crate::cli::Common;
use crate::cli::device::{parse, parse_device};
use crate::cli::heartbeat::unix_seconds;
use crate::cli::judge::{ReuseFlag, parse_style};
use machine::{Folder, folders};
use processes::Processes;
use questions::Questions;
use rounds::Measurements;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Model folder; may be repeated, a precision each
    #[arg(long, value_name = "DIR", required_unless_present = "compare")]
    model: Vec<PathBuf>,
    /// Where bench.json and bench.parquet go
    #[arg(long, value_name = "DIR", required_unless_present_any = ["compare", "dry_run"])]
    out: Option<PathBuf>,
    /// Concept list [default: the 128 concepts that alike ships]
    #[arg(long, value_name = "FILE")]
    concepts: Option<PathBuf>,
    /// Random presentations of the concepts
    #[arg(long, value_name = "N", default_value_t = 400)]
    n: usize,
    /// Instead of random ones: CSV or Parquet with `anchor, first, second`
    #[arg(long, value_name = "FILE", conflicts_with = "n")]
    triplets: Option<PathBuf>,
    /// Execution providers
    #[arg(long, value_delimiter = ',', value_parser = parse::<ExecutionProvider>, value_name = "cpu,cuda,tensorrt", default_value = "cpu")]
    provider: Vec<ExecutionProvider>,
    /// Of the folders, those that state these precisions [default: all]
    #[arg(long, value_delimiter = ',', value_name = "fp32,fp16,...")]
    precision: Vec<String>,
    /// Numbers of threads to measure, 0 for one a core [default: what --threads says]
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    thread_counts: Vec<usize>,
    /// New tokens in one pass [default: the provider's: 1024, and 16384 on a GPU]
    #[arg(long, value_delimiter = ',', value_name = "N,N,...", value_parser = clap::value_parser!(u32).range(1..))]
    batch_tokens: Vec<u32>,
    /// What is shared between prompts: on is `trie`
    #[arg(long, value_delimiter = ',', value_parser = parse_reuse, value_name = "on,question,off", default_value = "on,off")]
    reuse: Vec<ReuseFlag>,
    /// Processes for each cell
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// Presentations asked before the clock starts, evenly spaced among those timed
    #[arg(long, value_name = "N", default_value_t = 32)]
    warm_up: usize,
    /// Presentations planned together [default: as judge does, 2048, and 65536 on a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    part_rows: Option<u32>,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the models are spoken to; what their folders say unless given
    #[arg(long, value_parser = parse_style, value_name = "chat|plain|base")]
    style: Option<Style>,
    /// The cell whose answers the others' are held against, by name or number [default: the first without sharing, on the CPU if there is one]
    #[arg(long, value_name = "CELL")]
    reference: Option<String>,
    /// First look for the fastest tokens of a pass and threads; what it finds is measured beside the default
    #[arg(long, conflicts_with_all = ["batch_tokens", "thread_counts"])]
    tune: bool,
    /// Also measure what the runtime itself reaches, before and after every round
    #[arg(long)]
    roofline: bool,
    /// Only list the cells
    #[arg(long)]
    dry_run: bool,
    /// Replace output that is there
    #[arg(long)]
    force: bool,
    /// Instead of measuring: what changed from one benchmark to a later one
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], conflicts_with_all = ["model", "out", "triplets", "tune", "roofline", "dry_run"])]
    compare: Vec<PathBuf>,
    /// Index of the GPU; `auto` takes the one of the process's rank on its node
    #[arg(long, value_name = "N|auto", value_parser = parse_device, default_value = "0")]
    device: i32,
    /// Most of the GPU's memory to take, in GiB
    #[arg(long, value_name = "GIB")]
    gpu_memory: Option<f64>,
    /// Products in TF32 on a GPU: faster, and no longer f32
    #[arg(long)]
    tf32: bool,
    /// Where TensorRT keeps its engines and timings
    #[arg(long, value_name = "DIR")]
    engine_cache: Option<PathBuf>,
}

fn parse_reuse(text: &str) -> Result<ReuseFlag, String> {
    match text {
        "on" | "trie" => Ok(ReuseFlag::Trie),
        "question" => Ok(ReuseFlag::Question),
        "off" => Ok(ReuseFlag::Off),
        _ => Err("on (the same as trie), question or off".into()),
    }
}

pub(crate) fn run(args: &BenchArgs, common: &Common) -> anyhow::Result<()> {
    if let [before, after] = &args.compare[..] {
        return compared::run(before, after, common);
    }
    let folders = folders(&args.model)?;
    let matrix = args.matrix(&folders, common);
    if args.dry_run {
        terminal::print_cells(&matrix.cells(), common);
        return Ok(());
    }
    let out = args.out.as_deref().expect("clap requires it");
    let questions = Questions::new(args)?;
    let (json, table) = places(out, args.force)?;
    // A damaged file is told before anything is measured with it.
    let models = folders.iter().map(Folder::record).collect::<anyhow::Result<_>>()?;
    let runtime = Runtime::load(common.ort.as_deref())?;

    let started_unix = unix_seconds();
    let mut processes = Processes::new(common);
    let mut measuring = Measurements::new(args, &folders, &questions);
    let tuned = if args.tune { tuning::tune(&matrix, &measuring, &mut processes)? } else { Vec::new() };
    let cells = tuning::with_tuned(matrix.cells(), &tuned);
    measuring.rounds(&cells, &mut processes)?;

    let ceilings = std::mem::take(&mut measuring.ceilings);
    let (rows, reference) = rows(&cells, measuring.outcomes, args, &questions)?;
    let bench = Bench {
        bench_version: BENCH_VERSION,
        alike: env!("CARGO_PKG_VERSION").into(),
        started_unix,
        settings: questions.settings(args),
        machine: machine::machine(runtime.version()),
        models,
        reference,
        rows,
        tuned,
        ceilings,
    };
    store::write(&json, &bench)?;
    store::write_table(&table, &bench)?;
    match common.json {
        true => println!("{}", serde_json::to_string(&bench)?),
        false => terminal::print(&bench),
    }
    tracing::info!("{} → {}, {}", described(&bench, started_unix), json.display(), table.display());
    match bench.rows.iter().find_map(|row| row.outcome.reason()) {
        Some(reason) if bench.reference.is_none() => anyhow::bail!("no cell could be measured: {reason}"),
        _ => Ok(()),
    }
}

fn described(bench: &Bench, started_unix: u64) -> String {
    let n = bench.measured().count();
    format!("{n} of {} cells in {} s", bench.rows.len(), unix_seconds().saturating_sub(started_unix))
}

/// Where the results go, opened before long work starts.
fn places(out: &Path, force: bool) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (json, table) = (out.join("bench.json"), out.join("bench.parquet"));
    if let Some(path) = [&json, &table].into_iter().find(|path| path.exists() && !force) {
        return Err(Error::Exists { path: path.clone() }.into());
    }
    fs_err::create_dir_all(out)?;
    Place::tell(out);
    Ok((json, table))
}

/// Every cell as a row, held against the reference; and the reference's name.
fn rows(
    cells: &[Cell],
    outcomes: Vec<rounds::CellOutcome>,
    args: &BenchArgs,
    questions: &Questions,
) -> anyhow::Result<(Vec<Row>, Option<String>)> {
    let measured: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    let reference = cell::reference(cells, &measured, args.reference.as_deref())?;
    let fit = |answers: &Answers| fitted(questions.concepts.len(), &questions.presentations, answers, args.seed);
    let of_reference: Option<(Answers, Result<Fit, String>)> = match reference.map(|place| &outcomes[place]) {
        Some(Ok(repeats)) => Some((repeats[0].1.clone(), fit(&repeats[0].1)?)),
        _ => None,
    };
    let mut rows = Vec::new();
    for (cell, outcome) in cells.iter().zip(outcomes) {
        let outcome = match (outcome, &of_reference) {
            (Err(reason), _) => Outcome::Unavailable { reason },
            (Ok(measured), Some((answers, reference_fit))) => {
                let (repeats, said): (Vec<Repeat>, Vec<Answers>) = measured.into_iter().unzip();
                let own_fit = fit(&said[0])?;
                let both = match (reference_fit, &own_fit) {
                    (Ok(one), Ok(other)) => Ok([one, other]),
                    (Err(reason), _) => Err(format!("the reference: {reason}")),
                    (_, Err(reason)) => Err(reason.clone()),
                };
                Outcome::Measured {
                    summary: Box::new(Summary::of(&repeats, &said)?),
                    agreement: Agreement::between(answers, &said[0], &both)?,
                    answers: said[0].first(ANSWERS_KEPT),
                    repeats,
                }
            }
            (Ok(_), None) => unreachable!("where a cell was measured there is a reference"),
        };
        rows.push(Row { cell: cell.clone(), outcome });
    }
    Ok((rows, reference.map(|place| cells[place].to_string())))
}

impl BenchArgs {
    fn matrix(&self, folders: &[Folder], common: &Common) -> Matrix {
        Matrix {
            models: folders.iter().map(|folder| (folder.name.clone(), folder.precision().to_owned())).collect(),
            precisions: self.precision.clone(),
            providers: self.provider.clone(),
            threads: if self.thread_counts.is_empty() { vec![common.threads] } else { self.thread_counts.clone() },
            batch_tokens: self.batch_tokens.iter().map(|n| *n as usize).collect(),
            reuse: self.reuse.iter().map(|flag| Reuse::from(*flag)).collect(),
        }
    }

    /// How a GPU is used; TensorRT computes in what the folder states.
    fn gpu(&self, precision: &str) -> Gpu {
        Gpu {
            device: self.device,
            memory_gib: self.gpu_memory,
            tf32: self.tf32,
            precision: precision.parse().unwrap_or_default(),
            cache: self.engine_cache.clone(),
        }
    }
}
