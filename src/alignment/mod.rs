//! Alignment: how alike two configurations of the same concepts are.

pub mod agreement;
pub mod ceiling;
pub mod cka;
pub mod concordance;
mod cross;
pub mod interval;
mod matrices;
mod measure;
pub mod neighbours;
pub mod noise_ceiling;
mod paired;
pub mod procrustes;
pub mod rsa;
pub mod silhouette;

use std::fmt;

use faer::MatRef;
use rand::RngExt;
use rayon::prelude::*;

pub use measure::{Measure, RBF_BANDWIDTH};
pub use rsa::{RdmCorrelation, RdmDistance};

use crate::error::{Error, Result};
use crate::linalg::{centred, check_finite, frobenius};
use crate::seed::Streams;
use crate::stats::{FLAT, mean, permutation_p};

/// A measure's value and what it is when concepts are permuted.
#[derive(Debug, Clone, PartialEq)]
pub struct PermutationNull {
    /// With every concept facing itself.
    pub value: f64,
    /// Mean over permutations: what the measure gives to geometries of these shapes that have nothing to do with each
    /// other.
    pub mean: f64,
    /// (1 + count of draws as close as the value, or closer) / (1 + permutations).
    pub p: f64,
    /// One value for each permutation.
    pub draws: Vec<f64>,
}

/// Some measures beside those of permuted concepts, in the order asked for.
///
/// Permutation k of the rows of y is drawn from its own random stream and serves all measures; permutations run
/// in parallel. What does not depend on the permutation (centring, kernels, ranks) is computed once.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// as for [`Measure::value`], and [`Error::Setting`] when no permutations are asked for
pub fn permutation_nulls(
    measures: &[Measure],
    x: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    n_permutations: usize,
    seed: u64,
) -> Result<Vec<PermutationNull>> {
    if n_permutations == 0 {
        let (field, found) = ("permutations".to_owned(), "0".to_owned());
        return Err(Error::Setting { field, found, expected: "1 or more".to_owned() });
    }
    let streams = Streams::new(seed, "permutation");
    permuted(measures, x, y, n_permutations, |k| permutation(&streams, k as u64, x.nrows()))
}

/// [`permutation_nulls`] of given permutations: in permutation k, row i of x faces row `order(k)[i]` of y.
///
/// # Errors
/// as for [`Measure::value`]
/// # Panics
/// when a permutation names a row that is not there
pub fn permuted(
    measures: &[Measure],
    x: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    n_permutations: usize,
    order: impl Fn(usize) -> Vec<usize> + Sync,
) -> Result<Vec<PermutationNull>> {
    let paired = paired::Paired::new(measures, x, y)?;
    let values = paired.at(&(0..x.nrows()).collect::<Vec<_>>())?;
    let draw = |k: usize| paired.at(&order(k));
    let draws: Vec<Vec<f64>> = (0..n_permutations).into_par_iter().map(draw).collect::<Result<_>>()?;
    let null = |(i, (&measure, value)): (usize, (&Measure, f64))| {
        let draws: Vec<f64> = draws.iter().map(|draw| draw[i]).collect();
        let p = match measure.is_distance() {
            true => permutation_p(-value, &draws.iter().map(|draw| -draw).collect::<Vec<_>>()),
            false => permutation_p(value, &draws),
        };
        PermutationNull { value, mean: mean(&draws), p, draws }
    };
    Ok(measures.iter().zip(values).enumerate().map(null).collect())
}

/// A random order of 0..n (Fisher–Yates) from the stream of permutation `k`.
fn permutation(streams: &Streams, k: u64, n: usize) -> Vec<usize> {
    let mut rng = streams.rng(k);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    order
}

/// Which side an error speaks of.
#[derive(Clone, Copy)]
enum Side {
    X,
    Y,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X => "x (the first configuration)",
            Self::Y => "y (the second configuration)",
        })
    }
}

/// Refuses two sides that cannot be compared.
fn check_pair(x: MatRef<'_, f64>, y: MatRef<'_, f64>, needed: usize) -> Result<()> {
    if x.nrows() != y.nrows() {
        return Err(Error::ShapeMismatch {
            what: "concepts of the two configurations".to_owned(),
            found: format!("{} and {}", x.nrows(), y.nrows()),
            expected: "the same concepts in the same order".to_owned(),
        });
    }
    if x.nrows() < needed {
        return Err(Error::TooFew { what: "concepts to align".to_owned(), found: x.nrows(), needed });
    }
    check_finite(x, &Side::X.to_string())?;
    check_finite(y, &Side::Y.to_string())
}

/// Refuses a side whose rows are all equal, up to rounding.
fn check_spread(x: MatRef<'_, f64>, side: Side) -> Result<()> {
    let centred = centred(x);
    if frobenius(centred.as_ref(), centred.as_ref()).sqrt() <= FLAT * frobenius(x, x).sqrt() {
        return Err(Error::TooFew { what: format!("distinct rows in {side}"), found: 1, needed: 2 });
    }
    Ok(())
}

/// The error of a side with one distance only.
fn equal_distances(side: Side) -> Error {
    Error::TooFew { what: format!("distinct distances between the concepts of {side}"), found: 1, needed: 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_are_permutations_and_differ() {
        let streams = Streams::new(1, "permutation");
        let mut order = permutation(&streams, 3, 50);
        assert_ne!(order, permutation(&streams, 4, 50));
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
