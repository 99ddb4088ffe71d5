//! How many dimensions the answers themselves ask for, by cross-validated triplet accuracy.

use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use super::{Answered, Fitting, Record, holds_out};
use crate::error::{Error, Result};
use crate::seed::Streams;
use crate::stats::mean;

/// How well fits in one number of dimensions predict answers that they have not seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DimsScore {
    /// Dimensions of the fits; by dot products those to begin with.
    pub dims: usize,
    /// Dimensions that the fit to the whole training side has left.
    pub dims_left: usize,
    /// The penalty of all of them, chosen on the training side where it is cross-validated; none for VICE.
    pub penalty: Option<f64>,
    /// Mean over the folds of the accuracy on the fold left out, [`Fitting::accuracy`].
    pub accuracy: f64,
    /// Standard error of that mean: the folds' standard deviation (ddof 1) over √folds.
    pub standard_error: f64,
    /// Accuracy on each fold.
    pub folds: Vec<f64>,
    /// Effective dimensions of the fit to the whole training side.
    pub participation_ratio: f64,
}

/// What the scores say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DimsChoice {
    /// Of each number of dimensions, fewest first.
    pub scores: Vec<DimsScore>,
    /// The number with the highest accuracy; of equals the smallest.
    pub best: usize,
    /// The smallest number whose accuracy is within one standard error (the best's) of the highest: the choice.
    pub one_standard_error: usize,
    /// The fit in that many dimensions to the whole training side; its held-out numbers were looked at after the choice.
    pub record: Record,
}

/// Chooses among settings that differ in their dimensions, inside the training side of the held-out split.
///
/// A fold is drawn for each unordered triplet from its own random stream, the same folds for all. The penalty of a number of
/// dimensions is chosen once, on the whole training side, so that it has seen the folds: the accuracies are a little too
/// high, by the same reason in all dimensions. The held-out side is touched once, by the fit that was chosen.
///
/// # Errors
/// [`Error::Setting`] for no candidates or fewer than 2 folds, [`Error::TooFew`] when a fold is without an answer that has a
/// side, and those of [`Fitting::fit`]
/// # Source
/// Breiman, Friedman, Olshen & Stone (1984), Classification and regression trees, section 3.4.3 (the rule of one standard
/// error)
pub fn choose_dims(
    n_concepts: usize,
    answered: &Answered,
    candidates: &[Fitting],
    n_folds: usize,
) -> Result<DimsChoice> {
    let wrong = |field: &str, found: String, expected: &str| {
        Err(Error::Setting { field: field.into(), found, expected: expected.into() })
    };
    let Some(first) = candidates.first() else {
        return wrong("dims", "an empty list".into(), "at least one number of dimensions");
    };
    if n_folds < 2 {
        return wrong("folds", n_folds.to_string(), "2 or more");
    }
    candidates.iter().try_for_each(Fitting::check)?;
    let is_held_out = holds_out(first.holdout(), first.seed());
    let train = answered.of_triplets(|id| !is_held_out(id));
    let streams = Streams::new(first.seed(), "dimension fold");
    let fold_of = |id: i64| streams.rng(id.cast_unsigned()).random_range(0..n_folds);
    let score = |settings: &Fitting| -> Result<DimsScore> {
        let inside = settings.with_holdout(0.0);
        let whole = inside.fit(n_concepts, &train)?.1.summary();
        let known = whole.penalty.map_or(inside.clone(), |penalty| inside.with_penalty(penalty));
        let of_fold = |fold: usize| {
            let (coordinates, _) = known.fit(n_concepts, &train.of_triplets(|id| fold_of(id) != fold))?;
            let share = known.accuracy(coordinates.as_ref(), &train.of_triplets(|id| fold_of(id) == fold))?;
            let what = || format!("answers with a side in fold {fold} of {n_folds}");
            share.ok_or_else(|| Error::TooFew { what: what(), found: 0, needed: 1 })
        };
        let folds: Vec<f64> = (0..n_folds).into_par_iter().map(of_fold).collect::<Result<_>>()?;
        let accuracy = mean(&folds);
        let variance = folds.iter().map(|fold| (fold - accuracy).powi(2)).sum::<f64>() / (n_folds - 1) as f64;
        Ok(DimsScore {
            dims: settings.dims(),
            dims_left: whole.dims,
            penalty: whole.penalty,
            accuracy,
            standard_error: (variance / n_folds as f64).sqrt(),
            folds,
            participation_ratio: whole.participation_ratio,
        })
    };
    let mut scores: Vec<DimsScore> = candidates.par_iter().map(score).collect::<Result<_>>()?;
    scores.sort_by_key(|score| score.dims);
    let (best, one_standard_error) = chosen(&scores);
    let settings = candidates.iter().find(|s| s.dims() == one_standard_error).expect("the choice is a candidate");
    let penalty = scores.iter().find(|s| s.dims == one_standard_error).and_then(|score| score.penalty);
    let settings = penalty.map_or(settings.clone(), |penalty| settings.with_penalty(penalty));
    let (_, record) = settings.fit(n_concepts, answered)?;
    Ok(DimsChoice { scores, best, one_standard_error, record })
}

/// The best number of dimensions, and the smallest within one standard error of it; scores are sorted by dimensions.
fn chosen(scores: &[DimsScore]) -> (usize, usize) {
    let best = scores.iter().rev().max_by(|a, b| a.accuracy.total_cmp(&b.accuracy)).expect("there is a candidate");
    let bar = best.accuracy - best.standard_error;
    let smallest = scores.iter().find(|score| score.accuracy >= bar).expect("the best is above its own bar");
    (best.dims, smallest.dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_of_one_standard_error() {
        let score = |dims, accuracy, standard_error| DimsScore {
            dims,
            dims_left: dims,
            penalty: Some(0.0),
            accuracy,
            standard_error,
            folds: vec![],
            participation_ratio: 1.0,
        };
        let scores = [score(1, 0.70, 0.01), score(2, 0.79, 0.03), score(3, 0.80, 0.02), score(5, 0.80, 0.0)];
        assert_eq!(chosen(&scores), (3, 2), "of equals the smallest is best, and 2 lies within its 0.02");
        assert_eq!(chosen(&[score(1, 0.70, 0.5), score(2, 0.80, 0.01)]), (2, 2), "the error of the best counts");
    }
}
