//! How far judging stands from what the runtime itself reaches on the machine.
//!
//! Two floors: the arithmetic of the distinct tokens and of the scored positions at the rate of the runtime's own matrix
//! product, and the weights, read once in each pass, at the rate of its own elementwise operators. Attention, the tokens that
//! are computed twice and everything else count as loss.

use serde::{Deserialize, Serialize};

use crate::bench::{Bench, Cell, ModelRecord, Outcome, Repeat};
use crate::engine::ceilings::Ceilings;
use crate::engine::provider::ExecutionProvider;

/// One measurement of the ceilings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CeilingRun {
    /// Where.
    pub provider: ExecutionProvider,
    /// What was multiplied.
    pub precision: String,
    /// Threads; 0 leaves it to the runtime.
    pub threads: usize,
    /// Place among all processes of the benchmark, on the clock of [`Repeat::place`].
    pub place: usize,
    /// What was reached.
    pub ceilings: Ceilings,
}

/// How far one repeat stands from the ceilings that were measured nearest to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Seconds that the arithmetic needs at the product's rate.
    pub arithmetic_seconds: f64,
    /// Seconds that reading the weights once a pass needs.
    pub weights_seconds: f64,
    /// Seconds that were taken.
    pub seconds: f64,
    /// The product's rate, mean of before and after.
    pub flops_per_second: f64,
    /// The elementwise operators' rate, mean of before and after.
    pub bytes_per_second: f64,
}

impl Standing {
    /// Of one repeat of a model between two measurements of the ceilings; none of a model whose config does not tell its arithmetic.
    pub fn of(repeat: &Repeat, model: &ModelRecord, [before, after]: [Ceilings; 2]) -> Option<Self> {
        let size = &repeat.timing.size;
        let flops = size.distinct_tokens as f64 * model.flops_per_token? as f64
            + size.scored_positions as f64 * model.flops_per_scored? as f64;
        let flops_per_second = f64::midpoint(before.flops_per_second, after.flops_per_second);
        let bytes_per_second = f64::midpoint(before.bytes_per_second, after.bytes_per_second);
        let bytes = repeat.timing.pass_seconds.len() as f64 * model.weight_bytes as f64;
        Some(Self {
            arithmetic_seconds: flops / flops_per_second,
            weights_seconds: bytes / bytes_per_second,
            seconds: repeat.timing.seconds,
            flops_per_second,
            bytes_per_second,
        })
    }

    /// Share of the time that the arithmetic would need.
    pub fn efficiency(&self) -> f64 {
        self.arithmetic_seconds / self.seconds
    }
}

/// Every measured cell with the standing of each repeat, where ceilings were measured for it.
pub fn standings(bench: &Bench) -> Vec<(&Cell, &[Repeat], Vec<Standing>)> {
    let of_row = |cell: &Cell, repeats: &[Repeat]| -> Vec<Standing> {
        let mut runs: Vec<&CeilingRun> = bench.ceilings.iter().filter(|run| run.is_of(cell)).collect();
        runs.sort_by_key(|run| run.place);
        let nearest = |place: usize| {
            let after = runs.iter().find(|run| run.place > place)?;
            let before = runs.iter().rev().find(|run| run.place < place)?;
            Some([before.ceilings, after.ceilings])
        };
        let standing = |repeat: &Repeat| Standing::of(repeat, bench.model(cell)?, nearest(repeat.place)?);
        repeats.iter().filter_map(standing).collect()
    };
    let rows = bench.rows.iter().filter_map(|row| match &row.outcome {
        Outcome::Measured { repeats, .. } => Some((&row.cell, &repeats[..], of_row(&row.cell, repeats))),
        Outcome::Unavailable { .. } => None,
    });
    rows.filter(|(.., standings)| !standings.is_empty()).collect()
}

impl CeilingRun {
    /// Whether these are the ceilings of a cell.
    pub fn is_of(&self, cell: &Cell) -> bool {
        (self.provider, &self.precision, self.threads) == (cell.provider, &cell.precision, cell.threads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::repeat;

    #[test]
    fn floors_are_arithmetic_and_weights() {
        let model = ModelRecord {
            name: "m".into(),
            precision: "fp32".into(),
            digests: std::collections::BTreeMap::new(),
            weight_bytes: 1000,
            flops_per_token: Some(10),
            flops_per_scored: Some(20),
        };
        let ceilings = |flops| Ceilings { flops_per_second: flops, bytes_per_second: 500.0 };
        // 200 distinct tokens and 300 scored positions, two passes, in 10 s.
        let standing = Standing::of(&repeat(10.0), &model, [ceilings(1500.0), ceilings(2500.0)]).unwrap();
        assert_eq!((standing.arithmetic_seconds, standing.weights_seconds), (4.0, 4.0));
        assert!((standing.efficiency() - 0.4).abs() < 1e-15);
        let silent = ModelRecord { flops_per_token: None, ..model };
        assert_eq!(Standing::of(&repeat(10.0), &silent, [ceilings(1.0), ceilings(1.0)]), None);
    }
}
