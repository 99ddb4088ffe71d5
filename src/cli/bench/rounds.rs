//! Rounds over the cells: every round measures each cell once, forth and back in turn.

use alike::bench::cell::order;
use alike::bench::roofline::CeilingRun;
use alike::bench::{Answers, Cell, Repeat};

use crate::cli::bench::BenchArgs;
use crate::cli::bench::child::{CeilingsOrder, MeasureOrder};
use crate::cli::bench::machine::Folder;
use crate::cli::bench::processes::{Outcome, Processes, Ran, told};
use crate::cli::bench::questions::Questions;

/// Every repeat of a cell with its answers, or why there are none.
pub(crate) type CellOutcome = Outcome<Vec<(Repeat, Answers)>>;

/// What is measured, and what was.
pub(crate) struct Measurements<'a> {
    args: &'a BenchArgs,
    folders: &'a [Folder],
    /// The order of every process, but for its cell.
    names: Vec<String>,
    presentations: Vec<[u32; 3]>,
    /// By cell.
    pub(crate) outcomes: Vec<CellOutcome>,
    pub(crate) ceilings: Vec<CeilingRun>,
}

impl<'a> Measurements<'a> {
    pub(crate) fn new(args: &'a BenchArgs, folders: &'a [Folder], questions: &Questions) -> Self {
        Self {
            args,
            folders,
            names: questions.concepts.iter().map(|concept| concept.name.clone()).collect(),
            presentations: questions.presentations.iter().map(|t| [t.anchor, t.first, t.second]).collect(),
            outcomes: Vec::new(),
            ceilings: Vec::new(),
        }
    }

    /// Measures a cell once; a cell whose precision no folder has is not started.
    pub(crate) fn measure(&self, cell: &Cell, processes: &mut Processes<'_>) -> anyhow::Result<Outcome<Ran>> {
        let Some(folder) = self.folders.iter().find(|folder| folder.name == cell.model) else {
            let there: Vec<String> =
                self.folders.iter().map(|folder| format!("{} {}", folder.name, folder.precision())).collect();
            return Ok(Err(format!("no folder states {}: {}", cell.precision, there.join(", "))));
        };
        processes.measure(&MeasureOrder {
            model: folder.path.clone(),
            cell: cell.clone(),
            gpu: self.args.gpu(&cell.precision),
            style: self.args.style,
            concepts: self.names.clone(),
            presentations: self.presentations.clone(),
            warm_up: self.args.warm_up,
            part_rows: self.args.part_rows.map(|n| n as usize),
            seed: self.args.seed,
            started_unix: 0.0,
        })
    }

    /// All rounds. A cell that fails once is not tried again.
    pub(crate) fn rounds(&mut self, cells: &[Cell], processes: &mut Processes<'_>) -> anyhow::Result<()> {
        let n_rounds = usize::from(self.args.repeats);
        self.outcomes = cells.iter().map(|_| Ok(Vec::new())).collect();
        self.reach(cells, processes)?;
        for round in 0..n_rounds {
            for place in order(cells.len(), round) {
                if self.outcomes[place].is_err() {
                    continue;
                }
                let at = format!("repeat {} of {n_rounds}, {}", round + 1, cells[place]);
                match (self.measure(&cells[place], processes)?, &mut self.outcomes[place]) {
                    (Ok(Ran { measured, place, loads }), Ok(repeats)) => {
                        let (repeat, answers) = Repeat::of(measured, place, loads);
                        tracing::info!("{at}: {}", told(&repeat));
                        repeats.push((repeat, answers));
                    }
                    (Err(reason), outcome) => {
                        let reason = if round == 0 { reason } else { format!("in repeat {}: {reason}", round + 1) };
                        tracing::warn!("{at}: unavailable: {reason}");
                        *outcome = Err(reason);
                    }
                    (Ok(_), Err(_)) => unreachable!("cells that failed were passed over"),
                }
            }
            self.reach(cells, processes)?;
        }
        Ok(())
    }

    /// With `--roofline`: what the runtime reaches now, in the place of each cell that is still measured.
    fn reach(&mut self, cells: &[Cell], processes: &mut Processes<'_>) -> anyhow::Result<()> {
        if !self.args.roofline {
            return Ok(());
        }
        let mut places: Vec<CeilingsOrder> = Vec::new();
        for (cell, outcome) in cells.iter().zip(&self.outcomes) {
            let same = |other: &CeilingsOrder| {
                (other.provider, other.threads, &other.precision) == (cell.provider, cell.threads, &cell.precision)
            };
            if outcome.is_ok() && !cell.model.is_empty() && !places.iter().any(same) {
                places.push(CeilingsOrder {
                    provider: cell.provider,
                    gpu: self.args.gpu(&cell.precision),
                    precision: cell.precision.clone(),
                    threads: cell.threads,
                });
            }
        }
        for order in places {
            let CeilingsOrder { provider, precision, threads, .. } = order.clone();
            match processes.ceilings(&order)? {
                Ok((ceilings, place)) => {
                    let (gigaflops, gigabytes) = (ceilings.flops_per_second / 1e9, ceilings.bytes_per_second / 1e9);
                    tracing::info!("{provider} in {precision}: {gigaflops:.0} GFLOP/s, {gigabytes:.1} GB/s");
                    self.ceilings.push(CeilingRun { provider, precision, threads, place, ceilings });
                }
                Err(reason) => tracing::warn!("{provider} in {precision}: no ceilings: {reason}"),
            }
        }
        Ok(())
    }
}
