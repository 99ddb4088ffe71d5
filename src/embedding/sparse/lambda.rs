//! The penalty of SPoSE chosen by the likelihood of answers left out of the training side.

use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use super::likelihood::{Likelihood, score};
use super::terms::Term;
use super::{Optimiser, SparseSettings, curve::Curve, search_spose, terms};
use crate::error::{Error, Result};
use crate::odd_one_out::OddOneOut;
use crate::seed::Streams;

/// One row of a cross-validation table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LambdaScore {
    /// The penalty.
    pub lambda: f64,
    /// Mean negative log-likelihood of the folds left out, nats.
    pub loss: f64,
    /// Its standard error over the folds; none of a single fold.
    pub standard_error: Option<f64>,
}

/// Of more answers than this, one fold is left out once: its loss is exact enough, and each fit takes long.
const ONE_FOLD_ABOVE: usize = 200_000;

/// Evaluations of one search among penalties, and the share of the objective by which iterations must lower it.
const SHORT: (usize, f64) = (500, 1e-6);

/// The left-out loss of every penalty, λ = rate · n_concepts / (weight of all terms).
///
/// The fold of a triplet is drawn from the random stream of its id; all fits begin at the same point.
///
/// # Errors
/// [`Error::TooFew`] when a fold has no answers, or leaves none
pub(super) fn scores(
    n_concepts: usize,
    train: &[Term],
    settings: &SparseSettings,
    optimiser: Optimiser,
    rates: &[f64],
    n_folds: usize,
) -> Result<Vec<LambdaScore>> {
    let streams = Streams::new(settings.seed, "fold");
    let fold_of = |term: &Term| {
        let [a, b, c] = term.ids;
        streams.rng(OddOneOut { a, b, c }.id(n_concepts).cast_unsigned()).random_range(0..n_folds)
    };
    let folds: Vec<usize> = train.par_iter().map(fold_of).collect();
    let n_left_out = if train.len() > ONE_FOLD_ABOVE { 1 } else { n_folds };
    let weight: f64 = train.iter().map(|term| term.weight).sum();
    let lambdas: Vec<f64> = rates.iter().map(|rate| rate * n_concepts as f64 / weight).collect();
    let side = |fold: usize, left_out: bool| -> Vec<Term> {
        train.iter().zip(&folds).filter(|&(_, &f)| (f == fold) == left_out).map(|(term, _)| *term).collect()
    };
    let of_fold = |fold: usize| -> Result<Vec<f64>> {
        let (kept, left_out) = (side(fold, false), side(fold, true));
        if kept.is_empty() || left_out.is_empty() {
            let what = format!("triplets in one of the {n_folds} folds of {} answers", train.len());
            return Err(Error::TooFew { what, found: 0, needed: 1 });
        }
        let judged = terms::judged(n_concepts, &kept);
        let likelihood = Likelihood::new(n_concepts, settings.dims, kept)?;
        let left_out_loss = |likelihood: &mut Likelihood, lambda: f64| {
            let run = search_spose(likelihood, lambda, optimiser.shortened(), settings.seed, 0, &judged, Curve::none());
            score(&run.w, settings.dims, &left_out).expect("the fold is not empty").loss
        };
        if n_left_out == 1 {
            let mut likelihood = likelihood;
            return Ok(lambdas.iter().map(|&lambda| left_out_loss(&mut likelihood, lambda)).collect());
        }
        Ok(lambdas.par_iter().map(|&lambda| left_out_loss(&mut likelihood.clone(), lambda)).collect())
    };
    let losses: Vec<Vec<f64>> = (0..n_left_out).into_par_iter().map(of_fold).collect::<Result<_>>()?;
    let row = |(at, &lambda): (usize, &f64)| {
        let of_folds: Vec<f64> = losses.iter().map(|fold| fold[at]).collect();
        let loss = crate::stats::mean(&of_folds);
        let n = of_folds.len() as f64;
        let variance = of_folds.iter().map(|fold| (fold - loss).powi(2)).sum::<f64>() / (n - 1.0);
        LambdaScore { lambda, loss, standard_error: (n > 1.0).then(|| (variance / n).sqrt()) }
    };
    Ok(lambdas.iter().enumerate().map(row).collect())
}

/// The penalty with the lowest loss, of equals the largest; with `one_standard_error`, the largest within one standard error
/// of that loss.
pub(in crate::embedding) fn best(scores: &[LambdaScore], one_standard_error: bool) -> Option<f64> {
    let better = |a: &&LambdaScore, b: &&LambdaScore| b.loss.total_cmp(&a.loss).then(a.lambda.total_cmp(&b.lambda));
    let lowest = scores.iter().max_by(better)?;
    let slack = if one_standard_error { lowest.standard_error.unwrap_or(0.0) } else { 0.0 };
    let near = scores.iter().filter(|score| score.loss <= lowest.loss + slack).map(|score| score.lambda);
    near.max_by(f64::total_cmp)
}

impl Optimiser {
    /// As for choosing among penalties, whose losses differ in the third decimal.
    fn shortened(self) -> (Self, f64) {
        match self {
            Self::QuasiNewton { max_evaluations } => {
                (Self::QuasiNewton { max_evaluations: max_evaluations.min(SHORT.0) }, SHORT.1)
            }
            Self::Adam { .. } => (self, SHORT.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_loss_or_the_largest_penalty_near_it() {
        let score = |lambda, loss| LambdaScore { lambda, loss, standard_error: Some(0.02) };
        let table = [score(0.1, 0.52), score(0.2, 0.50), score(0.4, 0.515), score(0.8, 0.53)];
        assert_eq!((best(&table, false), best(&table, true)), (Some(0.2), Some(0.4)));
        assert_eq!(best(&[score(0.1, 0.5), score(0.2, 0.5), score(0.3, f64::NAN)], false), Some(0.2));
        assert_eq!(best(&[], false), None);
    }
}
