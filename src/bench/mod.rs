//! Benchmarks in the offline manner of MLPerf: the same presentations for every cell of a matrix, each measurement a process
//! of its own, repeats interleaved over cells, and every row's answers held against those of a reference row, so that a fast
//! wrong answer is visible beside its speed.
//!
//! Here are the cells, what is measured of them, and the statistics: no clocks, no processes, no files.

pub mod agreement;
pub mod cell;
pub mod compare;
pub mod measured;
pub mod ratio;
pub mod roofline;
pub mod row;
pub mod tune;

use serde::{Deserialize, Serialize};

pub use agreement::Agreement;
pub use cell::Cell;
pub use measured::{Answers, Measured, Timing};
pub use row::{Outcome, Repeat, Row, Spread, Summary};

use crate::prompts::template::Style;
use roofline::CeilingRun;
use tune::Tuned;

/// Version of `bench.json`. Another one is refused.
pub const BENCH_VERSION: u32 = 1;

/// Everything that one benchmark found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// [`BENCH_VERSION`] of the program that wrote it.
    pub bench_version: u32,
    /// Version of that program.
    pub alike: String,
    /// When it began, in seconds since 1970.
    pub started_unix: u64,
    /// What was asked of every cell.
    pub settings: BenchSettings,
    /// Where.
    pub machine: Machine,
    /// The model folders.
    pub models: Vec<ModelRecord>,
    /// Name of the cell that the others' answers are held against; none where no cell was measured.
    pub reference: Option<String>,
    /// A row for each cell, in the order of the matrix.
    pub rows: Vec<Row>,
    /// What tuning tried and found, where it was asked for.
    pub tuned: Vec<Tuned>,
    /// What the runtime itself reached on this machine, where it was asked for.
    pub ceilings: Vec<CeilingRun>,
}

/// What was asked of every cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchSettings {
    /// Presentations timed.
    pub n: usize,
    /// Concepts they are about.
    pub n_concepts: usize,
    /// sha256 of the concept list.
    pub concepts: String,
    /// sha256 of the presentations in their order.
    pub presentations: String,
    /// Seed of the draw and of ties.
    pub seed: u64,
    /// Presentations asked before the clock starts, evenly spaced among those timed.
    pub warm_up: usize,
    /// Processes for each cell.
    pub repeats: usize,
    /// Presentations that are planned together; the provider's number where there is none.
    pub part_rows: Option<usize>,
    /// How the models were spoken to, where that was not left to their folders.
    pub style: Option<Style>,
    /// Whether GPUs computed products in TF32.
    pub tf32: bool,
}

/// A model folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Name of the folder.
    pub name: String,
    /// Precision it states.
    pub precision: String,
    /// sha256 of the graph, its weights, the tokenizer and the chat template, by name.
    pub digests: std::collections::BTreeMap<String, String>,
    /// Bytes of the graph and its weights.
    pub weight_bytes: u64,
    /// Operations of one token through the layers, by the config's dimensions.
    pub flops_per_token: Option<u64>,
    /// Operations of one scored position through the head.
    pub flops_per_scored: Option<u64>,
}

/// What identifies the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: Option<String>,
    /// Processors that the program may use.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// Name of the operating system.
    pub os: Option<String>,
    /// Kernel.
    pub kernel: Option<String>,
    /// GPUs with driver and memory, as NVIDIA's own tool tells them.
    pub gpus: Vec<String>,
    /// Version and build of ONNX Runtime.
    pub runtime: String,
    /// What energy is read from, or why there is none.
    pub energy: String,
}

impl Bench {
    /// The rows that were measured, with what they are summed up in.
    pub fn measured(&self) -> impl Iterator<Item = (&Cell, &[Repeat], &Summary)> {
        self.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Measured { repeats, summary, .. } => Some((&row.cell, &repeats[..], &**summary)),
            Outcome::Unavailable { .. } => None,
        })
    }

    /// The record of a cell's model.
    pub fn model(&self, cell: &Cell) -> Option<&ModelRecord> {
        self.models.iter().find(|model| model.name == cell.model)
    }
}
