//! The L2 penalty chosen by cross-validation over unordered triplets.

use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use super::objective::Objective;
use super::{Comparison, FitSettings, search};
use crate::error::{Error, Result};
use crate::seed::Streams;

/// One row of a cross-validation table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct L2Score {
    /// The penalty.
    pub l2: f64,
    /// Mean loss on the folds left out, without the penalty, in the unit of [`super::Loss`].
    pub loss: f64,
}

/// The mean left-out loss of every penalty in the grid.
///
/// A fold is drawn for each unordered triplet id from its own random stream, so both orders and all repeats are left
/// out together, whatever else is in the data. Each of the folds × grid fits starts from the same point; they run in
/// parallel and their losses are summed in order.
///
/// # Errors
/// [`Error::TooFew`] when a fold has no comparisons with a weight, or leaves none
pub(super) fn scores(
    n_concepts: usize,
    comparisons: &[Comparison],
    settings: &FitSettings,
    grid: &[f64],
    n_folds: usize,
) -> Result<Vec<L2Score>> {
    let streams = Streams::new(settings.seed, "fold");
    let folds: Vec<usize> =
        comparisons.iter().map(|c| streams.rng(c.triplet.cast_unsigned()).random_range(0..n_folds)).collect();
    let split = |fold: usize| -> Result<Split> {
        let side = |left_out: bool| {
            let of_fold = comparisons.iter().zip(&folds).filter(|&(_, &f)| (f == fold) == left_out);
            of_fold.map(|(c, _)| *c).collect::<Vec<Comparison>>()
        };
        let (train, test) = (side(false), side(true));
        let objective = |l2, side: &[Comparison]| Objective::new(settings.loss, l2, n_concepts, settings.dims, side);
        let (train, test) = (objective(0.0, &train), objective(0.0, &test));
        match (train, test) {
            (Ok(train), Ok(test)) => Ok(Split { train, test }),
            (Err(Error::TooFew { .. }), _) | (_, Err(Error::TooFew { .. })) => Err(Error::TooFew {
                what: format!("triplets in one of the {n_folds} folds of {} answers", comparisons.len()),
                found: 0,
                needed: 1,
            }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    };
    let splits: Vec<Split> = (0..n_folds).into_par_iter().map(split).collect::<Result<_>>()?;
    let jobs: Vec<(f64, &Split)> = grid.iter().flat_map(|&l2| splits.iter().map(move |split| (l2, split))).collect();
    let losses: Vec<f64> = jobs.into_par_iter().map(|(l2, split)| split.left_out_loss(l2, settings)).collect();
    let weight: f64 = splits.iter().map(|split| split.test.total_weight()).sum();
    let mean = |losses: &[f64]| {
        losses.iter().zip(&splits).map(|(loss, split)| loss * split.test.total_weight()).sum::<f64>() / weight
    };
    Ok(grid.iter().zip(losses.chunks(n_folds)).map(|(&l2, losses)| L2Score { l2, loss: mean(losses) }).collect())
}

/// The penalty with the lowest left-out loss; of equals, the largest.
pub(super) fn best(scores: &[L2Score]) -> Option<f64> {
    let better = |a: &&L2Score, b: &&L2Score| b.loss.total_cmp(&a.loss).then(a.l2.total_cmp(&b.l2));
    scores.iter().max_by(better).map(|score| score.l2)
}

/// As [`super::RELATIVE_DECREASE`], but for choosing among penalties, whose losses differ in the second decimal.
const RELATIVE_DECREASE: f64 = 1e-6;

struct Split {
    train: Objective,
    test: Objective,
}

impl Split {
    fn left_out_loss(&self, l2: f64, settings: &FitSettings) -> f64 {
        let (x, _) = search(self.train.clone().with_l2(l2), settings, 0, RELATIVE_DECREASE, |_, _| ());
        self.test.clone().evaluate(&x, &mut vec![0.0; x.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_loss_wins_and_ties_go_to_the_larger_penalty() {
        let score = |l2, loss| L2Score { l2, loss };
        assert_eq!(best(&[score(0.1, 0.5), score(0.2, 0.4), score(0.3, 0.6)]), Some(0.2));
        assert_eq!(best(&[score(0.1, 0.4), score(0.2, 0.4), score(0.3, f64::NAN)]), Some(0.2));
        assert_eq!(best(&[]), None);
    }
}
