//! How a fit improves with the number of triplets: nested parts of the training side, one untouched held-out side.

use std::collections::HashSet;

use faer::Mat;
use rand::RngExt;
use rayon::prelude::*;

use super::{Answered, Fitting, Record, holds_out};
use crate::error::{Error, Result};
use crate::seed::Streams;

/// One fit of a learning curve.
#[derive(Debug, Clone)]
pub struct CurveFit {
    /// Which of the settings.
    pub which: usize,
    /// Unordered triplets trained on.
    pub n_triplets: usize,
    /// Which order of the triplets: within a repeat the smaller parts lie inside the larger ones.
    pub repeat: usize,
    /// `[n_concepts, dims]`
    pub coordinates: Mat<f64>,
    /// How the fit went; it tells the accuracy on the held-out side, which is the same for all.
    pub record: Record,
}

/// Unordered triplets on the training side of the split.
pub fn n_available(answered: &Answered, holdout: f64, seed: u64) -> usize {
    training_ids(answered, holdout, seed).len()
}

/// All there are and that halved again and again, six sizes at most, none below 50; smallest first.
pub fn default_sizes(n_available: usize) -> Vec<usize> {
    let halves = std::iter::successors(Some(n_available), |n| Some(n / 2)).take(6);
    let mut sizes: Vec<usize> = halves.enumerate().filter(|(i, n)| *i == 0 || *n >= 50).map(|(_, n)| n).collect();
    sizes.reverse();
    sizes
}

/// Fits with each of the settings to the first `sizes` unordered triplets of the training side, in `repeats` random orders.
///
/// The held-out side is that of [`super::split_holdout`] and never changes. A penalty that is cross-validated is chosen anew inside
/// each part, as somebody would who had no more. Fits by distances and by dot products share the held-out triplets, not what
/// accuracy means: see [`Fitting::coin_accuracy`]. All there are is the same in every order, and fitted once. Fits run in
/// parallel; they come in the order of settings, sizes and repeats.
///
/// # Errors
/// [`Error::Setting`] for a size of 0 or beyond what there is, for no repeats, for settings that differ in `holdout` or
/// `seed`, or when nothing is held out; those of [`Fitting::fit`]
pub fn learning_curve(
    n_concepts: usize,
    answered: &Answered,
    settings: &[Fitting],
    sizes: &[usize],
    repeats: usize,
) -> Result<Vec<CurveFit>> {
    let wrong =
        |field: &str, found: String, expected: String| Err(Error::Setting { field: field.into(), found, expected });
    let Some(first) = settings.first() else {
        return wrong("loss", "an empty list".into(), "at least one loss".into());
    };
    let (holdout, seed) = (first.holdout(), first.seed());
    if settings.iter().any(|s| s.holdout() != holdout || s.seed() != seed) {
        return wrong("holdout", "different ones".into(), "one held-out side for all losses".into());
    }
    first.check()?;
    let is_held_out = holds_out(holdout, seed);
    if !answered.triplets().into_iter().any(&is_held_out) {
        return wrong(
            "holdout",
            holdout.to_string(),
            "enough to hold triplets out: they are what accuracy is measured on".into(),
        );
    }
    let ids = training_ids(answered, holdout, seed);
    if let Some(size) = sizes.iter().find(|size| !(1..=ids.len()).contains(*size)) {
        return wrong("sizes", size.to_string(), format!("1 to {}, the triplets on the training side", ids.len()));
    }
    if repeats == 0 {
        return wrong("repeats", "0".into(), "1 or more".into());
    }
    let orders: Vec<Vec<i64>> = (0..repeats).map(|repeat| shuffled(&ids, seed, repeat)).collect();
    let mut jobs = vec![];
    for which in 0..settings.len() {
        for &size in sizes {
            jobs.extend((0..if size == ids.len() { 1 } else { repeats }).map(|repeat| (which, size, repeat)));
        }
    }
    let of = |(which, n_triplets, repeat): (usize, usize, usize)| {
        let part: HashSet<i64> = orders[repeat][..n_triplets].iter().copied().collect();
        let asked = answered.of_triplets(|id| part.contains(&id) || is_held_out(id));
        let (coordinates, record) = settings[which].fit(n_concepts, &asked)?;
        Ok(CurveFit { which, n_triplets, repeat, coordinates, record })
    };
    jobs.into_par_iter().map(of).collect()
}

/// Ids of the unordered triplets on the training side, ascending.
fn training_ids(answered: &Answered, holdout: f64, seed: u64) -> Vec<i64> {
    let is_held_out = holds_out(holdout, seed);
    let mut ids: Vec<i64> = answered.triplets().into_iter().filter(|id| !is_held_out(*id)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// In an order of its own for each repeat, in which a triplet's place among others does not depend on what else there is.
fn shuffled(ids: &[i64], seed: u64, repeat: usize) -> Vec<i64> {
    let streams = Streams::new(seed, &format!("learning curve {repeat}"));
    let mut keyed: Vec<(u64, i64)> = ids.iter().map(|&id| (streams.rng(id.cast_unsigned()).random(), id)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_halves() {
        assert_eq!(default_sizes(28_000), [875, 1_750, 3_500, 7_000, 14_000, 28_000]);
        assert_eq!(default_sizes(130), [65, 130]);
        assert_eq!(default_sizes(7), [7]);
    }

    #[test]
    fn parts_are_nested_and_repeats_differ() {
        let ids: Vec<i64> = (0..200).collect();
        let order = shuffled(&ids, 1, 0);
        assert_ne!(order, shuffled(&ids, 1, 1));
        assert_ne!(order, shuffled(&ids, 2, 0));
        // Fewer triplets keep their order among each other.
        let kept: Vec<i64> = order.iter().copied().filter(|id| id % 3 == 0).collect();
        let some: Vec<i64> = ids.iter().copied().filter(|id| id % 3 == 0).collect();
        assert_eq!(shuffled(&some, 1, 0), kept);
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, ids);
    }
}
