//! Alignment: how alike two configurations of the same concepts are.

pub mod agreement;
pub mod ceiling;
pub mod cka;
pub mod procrustes;
pub mod rsa;

use std::fmt;
use std::str::FromStr;

use faer::{Mat, MatRef};
use rand::RngExt;
use rayon::prelude::*;

pub use rsa::{RdmCorrelation, RdmDistance};

use crate::error::{Error, Result};
use crate::linalg::{centred, check_finite, frobenius};
use crate::seed::Streams;
use crate::stats::{FLAT, mean, permutation_p};

/// A measure of alignment between x `[n, d]` and y `[n, k]`, 1 for equal up to its own invariances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// [`procrustes::procrustes_r2`].
    ProcrustesR2,
    /// [`cka::cka_linear_biased`].
    CkaLinearBiased,
    /// [`cka::cka_linear_debiased`].
    CkaLinearDebiased,
    /// [`rsa::rsa`].
    Rsa {
        /// Within each side.
        distance: RdmDistance,
        /// Between the sides.
        correlation: RdmCorrelation,
    },
}

impl Measure {
    /// Every measure, in the order in which tables show them.
    pub const ALL: [Self; 11] = {
        const fn rsa(distance: RdmDistance, correlation: RdmCorrelation) -> Measure {
            Measure::Rsa { distance, correlation }
        }
        [
            Self::ProcrustesR2,
            Self::CkaLinearBiased,
            Self::CkaLinearDebiased,
            rsa(RdmDistance::Euclidean, RdmCorrelation::Spearman),
            rsa(RdmDistance::Euclidean, RdmCorrelation::Pearson),
            rsa(RdmDistance::SqEuclidean, RdmCorrelation::Spearman),
            rsa(RdmDistance::SqEuclidean, RdmCorrelation::Pearson),
            rsa(RdmDistance::Cosine, RdmCorrelation::Spearman),
            rsa(RdmDistance::Cosine, RdmCorrelation::Pearson),
            rsa(RdmDistance::Correlation, RdmCorrelation::Spearman),
            rsa(RdmDistance::Correlation, RdmCorrelation::Pearson),
        ]
    };

    /// What is reported unless told otherwise: the paper's measures, and those without a chance offset beside them.
    pub const DEFAULTS: [Self; 4] = [Self::ALL[0], Self::ALL[1], Self::ALL[2], Self::ALL[3]];

    /// The name used in settings, columns and file names.
    ///
    /// ```
    /// use alike::alignment::Measure;
    /// assert_eq!("rsa_cosine_pearson".parse::<Measure>()?.key(), "rsa_cosine_pearson");
    /// # Ok::<(), alike::error::Error>(())
    /// ```
    pub fn key(self) -> &'static str {
        use RdmCorrelation::{Pearson, Spearman};
        use RdmDistance::{Correlation, Cosine, Euclidean, SqEuclidean};
        match self {
            Self::ProcrustesR2 => "procrustes_r2",
            Self::CkaLinearBiased => "cka_linear_biased",
            Self::CkaLinearDebiased => "cka_linear_debiased",
            Self::Rsa { distance, correlation } => match (distance, correlation) {
                (Euclidean, Spearman) => "rsa_euclidean_spearman",
                (Euclidean, Pearson) => "rsa_euclidean_pearson",
                (SqEuclidean, Spearman) => "rsa_sqeuclidean_spearman",
                (SqEuclidean, Pearson) => "rsa_sqeuclidean_pearson",
                (Cosine, Spearman) => "rsa_cosine_spearman",
                (Cosine, Pearson) => "rsa_cosine_pearson",
                (Correlation, Spearman) => "rsa_correlation_spearman",
                (Correlation, Pearson) => "rsa_correlation_pearson",
            },
        }
    }

    /// The measure's value.
    ///
    /// # Shapes
    /// `x`: `[n, d]`; `y`: `[n, k]`
    /// # Errors
    /// [`Error::ShapeMismatch`] when the two differ in concepts, [`Error::TooFew`] for too few concepts or a side that
    /// does not vary, [`Error::NotFinite`]
    ///
    /// ```
    /// use alike::alignment::Measure;
    /// let x = alike::linalg::from_rows(&[vec![0.0, 0.0], vec![2.0, 0.0], vec![0.0, 1.0], vec![3.0, 3.0]])?;
    /// assert!((Measure::ProcrustesR2.value(x.as_ref(), x.as_ref())? - 1.0).abs() < 1e-12);
    /// # Ok::<(), alike::error::Error>(())
    /// ```
    pub fn value(self, x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<f64> {
        Prepared::new(self, x, y)?.at(None)
    }

    /// The measure's value beside those of permuted concepts.
    ///
    /// Permutation k of the rows of y is drawn from its own random stream, the same for every measure; permutations run
    /// in parallel. What does not depend on the permutation (centring, Gram matrices, ranks) is computed once.
    ///
    /// # Shapes
    /// `x`: `[n, d]`; `y`: `[n, k]`
    /// # Errors
    /// as for [`Measure::value`], and [`Error::Setting`] when no permutations are asked for
    pub fn permutation_null(
        self,
        x: MatRef<'_, f64>,
        y: MatRef<'_, f64>,
        n_permutations: usize,
        seed: u64,
    ) -> Result<PermutationNull> {
        if n_permutations == 0 {
            let (field, found) = ("permutations".to_owned(), "0".to_owned());
            return Err(Error::Setting { field, found, expected: "1 or more".to_owned() });
        }
        let prepared = Prepared::new(self, x, y)?;
        let value = prepared.at(None)?;
        let streams = Streams::new(seed, "permutation");
        let draw = |k: usize| prepared.at(Some(&permutation(&streams, k as u64, x.nrows())));
        let draws: Vec<f64> = (0..n_permutations).into_par_iter().map(draw).collect::<Result<_>>()?;
        Ok(PermutationNull { value, mean: mean(&draws), p: permutation_p(value, &draws), draws })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(key: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|measure| measure.key() == key).ok_or_else(|| Error::Setting {
            field: "measure".to_owned(),
            found: key.to_owned(),
            expected: Self::ALL.map(Self::key).join(", "),
        })
    }
}

/// A measure's value and what it is when concepts are permuted.
#[derive(Debug, Clone, PartialEq)]
pub struct PermutationNull {
    /// With every concept facing itself.
    pub value: f64,
    /// Mean over permutations: what the measure gives to geometries of these shapes that have nothing to do with each
    /// other.
    pub mean: f64,
    /// (1 + count of draws at or above the value) / (1 + permutations).
    pub p: f64,
    /// One value for each permutation.
    pub draws: Vec<f64>,
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

/// A measure with all that permuting the concepts leaves as it is.
enum Prepared {
    Procrustes(procrustes::Prepared),
    Matrices(PairedMatrices),
}

impl Prepared {
    fn new(measure: Measure, x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Self> {
        Ok(match measure {
            Measure::ProcrustesR2 => Self::Procrustes(procrustes::Prepared::new(x, y)?),
            Measure::CkaLinearBiased => Self::Matrices(cka::biased(x, y)?),
            Measure::CkaLinearDebiased => Self::Matrices(cka::debiased(x, y)?),
            Measure::Rsa { distance, correlation } => Self::Matrices(rsa::prepared(x, y, distance, correlation)?),
        })
    }

    fn at(&self, order: Option<&[usize]>) -> Result<f64> {
        match self {
            Self::Procrustes(sides) => sides.at(order),
            Self::Matrices(sides) => Ok(sides.at(order)),
        }
    }
}

/// Two symmetric `[n, n]` matrices of unit Frobenius norm, whose inner product is the measure: CKA and RSA differ only
/// in what the matrices hold.
struct PairedMatrices {
    x: Mat<f64>,
    y: Mat<f64>,
}

impl PairedMatrices {
    fn of_unit_norm(x: Mat<f64>, y: Mat<f64>) -> Self {
        let unit = |x: Mat<f64>| {
            let norm = frobenius(x.as_ref(), x.as_ref()).sqrt();
            Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] / norm)
        };
        Self { x: unit(x), y: unit(y) }
    }

    /// Σ_ij x_ij y_order(i)order(j).
    fn at(&self, order: Option<&[usize]>) -> f64 {
        let Some(order) = order else {
            return frobenius(self.x.as_ref(), self.y.as_ref());
        };
        let column = |j: usize| {
            let y = self.y.col_as_slice(order[j]);
            self.x.col_as_slice(j).iter().zip(order).map(|(x, &i)| x * y[i]).sum::<f64>()
        };
        (0..order.len()).map(column).sum()
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_unique_and_parse_back() {
        for (i, measure) in Measure::ALL.into_iter().enumerate() {
            assert_eq!(measure.key().parse::<Measure>().unwrap(), measure);
            assert!(Measure::ALL[..i].iter().all(|other| other.key() != measure.key()));
        }
        assert!("cka".parse::<Measure>().unwrap_err().to_string().contains("cka_linear_debiased"));
    }

    #[test]
    fn permutations_are_permutations_and_differ() {
        let streams = Streams::new(1, "permutation");
        let mut order = permutation(&streams, 3, 50);
        assert_ne!(order, permutation(&streams, 4, 50));
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
