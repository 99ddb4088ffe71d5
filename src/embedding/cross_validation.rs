//! The L2 penalty chosen by cross-validation over unordered triplets.

use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use super::objective::Objective;
use super::{Comparison, FitSettings, random_start, search};
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

/// The mean left-out loss of every penalty in the grid, over the comparisons that are not held out.
///
/// A fold is drawn for each unordered triplet id from its own random stream, so both orders and all repeats are left
/// out together, whatever else is in the data. In each fold the penalties are fitted from the smallest up, each from where
/// the last one ended: raising a penalty shrinks an embedding by a little, and from one that it shrank to a point there
/// is no way back. Folds run in parallel and their losses are summed in order.
///
/// # Errors
/// [`Error::TooFew`] when a fold has no comparisons with a weight, or leaves none
pub(super) fn scores(
    n_concepts: usize,
    comparisons: &[Comparison],
    held_out: &[bool],
    settings: &FitSettings,
    grid: &[f64],
    n_folds: usize,
) -> Result<Vec<L2Score>> {
    let streams = Streams::new(settings.seed, "fold");
    let fold = |(c, held_out): (&Comparison, &bool)| {
        (!held_out).then(|| streams.rng(c.triplet.cast_unsigned()).random_range(0..n_folds))
    };
    let folds: Vec<Option<usize>> = comparisons.par_iter().zip(held_out).map(fold).collect();
    let mut ascending: Vec<usize> = (0..grid.len()).collect();
    ascending.sort_by(|&a, &b| grid[a].total_cmp(&grid[b]));

    let losses_of = |fold: usize| -> Result<(Vec<f64>, f64)> {
        let side = |left_out: bool| {
            let weight = |place: usize| match folds[place] {
                Some(f) if (f == fold) == left_out => comparisons[place].weight,
                _ => 0.0,
            };
            Objective::weighted(settings.loss, 0.0, n_concepts, settings.dims, comparisons, weight)
        };
        let (mut train, mut test) = match (side(false), side(true)) {
            (Ok(train), Ok(test)) => (train, test),
            (Err(Error::TooFew { .. }), _) | (_, Err(Error::TooFew { .. })) => {
                return Err(Error::TooFew {
                    what: format!(
                        "triplets in one of the {n_folds} folds of {} answers",
                        folds.iter().flatten().count()
                    ),
                    found: 0,
                    needed: 1,
                });
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let mut losses = vec![0.0; grid.len()];
        let mut x = random_start(train.judged(), settings, 0);
        let mut unused = vec![0.0; x.len()];
        for &which in &ascending {
            train = train.with_l2(grid[which]);
            (x, _) = search(&mut train, x, settings, RELATIVE_DECREASE, |_, _| ());
            losses[which] = test.evaluate(&x, &mut unused);
        }
        Ok((losses, test.total_weight()))
    };
    let of_folds = (0..n_folds).into_par_iter().map(losses_of).collect::<Result<Vec<_>>>()?;
    let total_weight: f64 = of_folds.iter().map(|(_, weight)| weight).sum();
    let mean =
        |which: usize| of_folds.iter().map(|(losses, weight)| losses[which] * weight).sum::<f64>() / total_weight;
    Ok(grid.iter().enumerate().map(|(which, &l2)| L2Score { l2, loss: mean(which) }).collect())
}

/// The penalty with the lowest left-out loss; of equals, the largest.
pub(super) fn best(scores: &[L2Score]) -> Option<f64> {
    let better = |a: &&L2Score, b: &&L2Score| b.loss.total_cmp(&a.loss).then(a.l2.total_cmp(&b.l2));
    scores.iter().max_by(better).map(|score| score.l2)
}

/// As [`super::RELATIVE_DECREASE`], but for choosing among penalties, whose losses differ in the second decimal.
const RELATIVE_DECREASE: f64 = 1e-6;

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
