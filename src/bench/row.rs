//! A row: a cell with what its repeats measured, or why nothing was.

use serde::{Deserialize, Serialize};

use crate::bench::{Agreement, Answers, Cell, Measured, Timing};
use crate::error::Result;
use crate::stats::quantile;

/// A cell with what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was to be measured.
    pub cell: Cell,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Outcome {
    /// It was measured.
    Measured {
        /// Every process by itself.
        repeats: Vec<Repeat>,
        /// All of them together.
        summary: Box<Summary>,
        /// Its answers beside the reference row's.
        agreement: Agreement,
        /// The first answers of the first repeat, [`ANSWERS_KEPT`] at most, for comparisons with other benchmarks.
        answers: Answers,
    },
    /// It could not be.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// Why nothing was measured, where nothing was.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Measured { .. } => None,
            Self::Unavailable { reason } => Some(reason),
        }
    }
}

/// Answers that are kept of each row.
pub const ANSWERS_KEPT: usize = 1000;

/// One process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Its place among all processes of the benchmark, from 0.
    pub place: usize,
    /// Load average of the machine over a minute, before it began.
    pub load_before: Option<f64>,
    /// The same when it had ended; the process itself is part of it.
    pub load_after: Option<f64>,
    /// What it measured.
    #[serde(flatten)]
    pub timing: Timing,
}

/// The median of some repeats, with the least and the most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of what repeats say; none where any does not say it.
    pub fn of(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        let fold = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
        Some(Self { median: quantile(&values, 0.5).ok()?, least: fold(f64::min)?, most: fold(f64::max)? })
    }
}

/// All repeats of a cell together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Presentations a second.
    pub triplets_per_second: Spread,
    /// Tokens a second, were every option a request of its own.
    pub logical_tokens_per_second: Spread,
    /// Tokens a second that were computed.
    pub computed_tokens_per_second: Spread,
    /// Distinct tokens a second: the fewest that any plan computes.
    pub distinct_tokens_per_second: Spread,
    /// Runs of the graph in one repeat.
    pub n_passes: usize,
    /// Seconds of a run of the graph, over all runs of all repeats: the median.
    pub pass_p50_seconds: f64,
    /// Nine in ten are faster.
    pub pass_p90_seconds: f64,
    /// Ninety-nine in a hundred are faster.
    pub pass_p99_seconds: f64,
    /// Seconds to open the graph.
    pub load_seconds: Spread,
    /// Seconds from the process's start to its first answer.
    pub first_result_seconds: Spread,
    /// Most memory.
    pub peak_rss_bytes: Option<Spread>,
    /// Most memory of the GPU.
    pub gpu_bytes: Option<Spread>,
    /// Energy of a presentation.
    pub joules_per_triplet: Option<Spread>,
    /// The highest load average before or after a repeat.
    pub most_load: Option<f64>,
    /// Largest |Δ log p| of an option between repeats, in nats: 0 where the same question gets the same bits each time.
    pub repeat_max_nats: f64,
}

impl Summary {
    /// Sums up repeats of one cell, with the answers of each; there is at least one.
    ///
    /// # Errors
    /// [`crate::Error::TooFew`] where no graph was run, [`crate::Error::NotFinite`]
    pub fn of(repeats: &[Repeat], answers: &[Answers]) -> Result<Self> {
        let known = |value: fn(&Timing) -> f64| {
            Spread::of(repeats.iter().map(|repeat| Some(value(&repeat.timing)))).expect("there is a repeat")
        };
        let perhaps = |value: fn(&Timing) -> Option<f64>| Spread::of(repeats.iter().map(|r| value(&r.timing)));
        let passes: Vec<f64> = repeats.iter().flat_map(|repeat| repeat.timing.pass_seconds.iter().copied()).collect();
        let loads = repeats.iter().flat_map(|repeat| [repeat.load_before, repeat.load_after]);
        Ok(Self {
            triplets_per_second: known(Timing::triplets_per_second),
            logical_tokens_per_second: known(|t| t.size.logical_tokens as f64 / t.seconds),
            computed_tokens_per_second: known(|t| t.size.computed_tokens as f64 / t.seconds),
            distinct_tokens_per_second: known(|t| t.size.distinct_tokens as f64 / t.seconds),
            n_passes: repeats[0].timing.pass_seconds.len(),
            pass_p50_seconds: quantile(&passes, 0.5)?,
            pass_p90_seconds: quantile(&passes, 0.9)?,
            pass_p99_seconds: quantile(&passes, 0.99)?,
            load_seconds: known(|t| t.load_seconds),
            first_result_seconds: known(|t| t.first_result_seconds),
            peak_rss_bytes: perhaps(|t| t.peak_rss_bytes.map(|bytes| bytes as f64)),
            gpu_bytes: perhaps(|t| t.gpu_bytes.map(|bytes| bytes as f64)),
            joules_per_triplet: perhaps(|t| t.energy_joules.map(|joules| joules / t.n as f64)),
            most_load: loads.flatten().reduce(f64::max),
            repeat_max_nats: answers.iter().map(|other| answers[0].max_nats(other)).fold(0.0, f64::max),
        })
    }
}

impl Repeat {
    /// One process, and its answers.
    pub fn of(measured: Measured, place: usize, [load_before, load_after]: [Option<f64>; 2]) -> (Self, Answers) {
        (Self { place, load_before, load_after, timing: measured.timing }, measured.answers)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::judge::StageSeconds;
    use crate::prompts::plan::PlanSize;

    /// A repeat that took so long for 100 presentations.
    pub(crate) fn repeat(seconds: f64) -> Repeat {
        let size = PlanSize {
            logical_tokens: 1000,
            distinct_tokens: 200,
            computed_tokens: 250,
            scored_positions: 300,
            passes: 2,
            cache_tokens: 50,
        };
        let timing = Timing {
            n: 100,
            seconds,
            session_seconds: 0.9 * seconds,
            stages: StageSeconds { tokenise: 0.01, plan: 0.01, model: 0.95 * seconds, score: 0.01 },
            pass_seconds: vec![0.4 * seconds, 0.5 * seconds],
            size,
            first_result_seconds: 2.0,
            load_seconds: 1.0,
            neutral_seconds: 0.5,
            warm_up: 10,
            warm_up_seconds: 0.1 * seconds,
            cpu_seconds: Some(2.0 * seconds),
            peak_rss_bytes: Some(1 << 30),
            gpu_bytes: None,
            energy_joules: None,
        };
        Repeat { place: 0, load_before: Some(0.5), load_after: Some(1.5), timing }
    }

    #[test]
    fn repeats_are_summed_up_by_median_least_and_most() {
        let repeats = [4.0, 2.0, 5.0].map(repeat);
        let one = Answers { log_probs: vec![[-1.0, -2.0]], chose_first: vec![true] };
        let off = Answers { log_probs: vec![[-1.0, -2.25]], chose_first: vec![true] };
        let summary = Summary::of(&repeats, &[one.clone(), one, off]).unwrap();
        assert_eq!(summary.triplets_per_second, Spread { median: 25.0, least: 20.0, most: 50.0 });
        assert_eq!(summary.computed_tokens_per_second.median, 62.5);
        // Of 0.8, 1, 1.6, 2, 2, 2.5 seconds.
        assert!((summary.pass_p50_seconds - 1.8).abs() < 1e-12 && (summary.pass_p90_seconds - 2.25).abs() < 1e-12);
        assert_eq!((summary.n_passes, summary.most_load, summary.repeat_max_nats), (2, Some(1.5), 0.25));
        assert_eq!(summary.peak_rss_bytes.unwrap().median, f64::from(1 << 30));
        assert_eq!((summary.gpu_bytes, summary.joules_per_triplet), (None, None));
    }
}
