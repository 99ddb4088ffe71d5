//! Representational similarity analysis: the correlation between two matrices of distances.

use faer::{Mat, MatRef};

use super::Side;
use super::cka::double_centred;
use super::concordance::{TIE, kendall_tau_a};
use super::matrices::PairedMatrices;
use crate::error::{Error, Result};
use crate::linalg::{dist2, frobenius, symmetric, to_rows};
use crate::stats::{mean, ranks, standardised};

/// The distance in a representational dissimilarity matrix (RDM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RdmDistance {
    /// √Σ_k (x_ik − x_jk)².
    Euclidean,
    /// Σ_k (x_ik − x_jk)².
    SqEuclidean,
    /// 1 − the cosine between rows i and j.
    Cosine,
    /// 1 − the Pearson correlation between rows i and j.
    Correlation,
}

impl RdmDistance {
    /// Every distance.
    pub const ALL: [Self; 4] = [Self::Euclidean, Self::SqEuclidean, Self::Cosine, Self::Correlation];

    /// The name used in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Euclidean => "euclidean",
            Self::SqEuclidean => "sqeuclidean",
            Self::Cosine => "cosine",
            Self::Correlation => "correlation",
        }
    }
}

/// The correlation between two RDMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RdmCorrelation {
    /// Of the average ranks; blind to monotone changes of distance.
    Spearman,
    /// Of the distances themselves.
    Pearson,
    /// [`kendall_tau_a`]: a side with ties (categories) is not favoured over one without.
    KendallTauA,
    /// The expected Spearman correlation when ties are broken by coin: 12/(m³ − m) Σ r s of the centred ranks of m pairs.
    RhoA,
    /// Of the distances, from zero; for RDMs whose zero means something.
    Cosine,
    /// The cosine after decorrelating the distances, which share concepts: that of the double-centred RDMs. For squared
    /// Euclidean distances it is biased linear CKA.
    WhitenedCosine,
    /// The same of the RDMs less their mean.
    WhitenedPearson,
}

impl RdmCorrelation {
    /// Every correlation.
    pub const ALL: [Self; 7] = [
        Self::Spearman,
        Self::Pearson,
        Self::KendallTauA,
        Self::RhoA,
        Self::Cosine,
        Self::WhitenedCosine,
        Self::WhitenedPearson,
    ];

    /// The name used in keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spearman => "spearman",
            Self::Pearson => "pearson",
            Self::KendallTauA => "kendall_tau_a",
            Self::RhoA => "rho_a",
            Self::Cosine => "cosine",
            Self::WhitenedCosine => "whitened_cosine",
            Self::WhitenedPearson => "whitened_pearson",
        }
    }
}

/// The correlation between the distances within x and within y, over pairs of concepts i < j.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::ShapeMismatch`] when the two differ in concepts, [`Error::TooFew`] for fewer than 3 concepts or when the
/// distances within either side are all equal, [`Error::NotFinite`], also where a cosine or correlation is not defined
/// (a row of zeros, a constant row)
/// # Source
/// Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis; Nili et al. (2014), A toolbox for representational
/// similarity analysis (τ-a); Schütt, Kipnis, Diedrichsen & Kriegeskorte (2023), Statistical inference on representational geometries
/// (ρ-a); Diedrichsen et al. (2021), Comparing representational geometries using whitened unbiased-distance-matrix similarity
pub fn rsa(x: MatRef<'_, f64>, y: MatRef<'_, f64>, distance: RdmDistance, correlation: RdmCorrelation) -> Result<f64> {
    super::Measure::Rsa { distance, correlation }.value(x, y)
}

/// The correlation between two RDMs given as their upper triangles, or between any distances of the same pairs. The whitened
/// correlations need whole matrices, and are refused.
///
/// # Errors
/// [`Error::Setting`] for a whitened correlation, [`Error::TooFew`] when either does not vary, [`Error::ShapeMismatch`],
/// [`Error::NotFinite`]
pub fn compare(x: &[f64], y: &[f64], correlation: RdmCorrelation) -> Result<f64> {
    if x.len() != y.len() {
        return Err(Error::ShapeMismatch {
            what: "distances to correlate".to_owned(),
            found: format!("{} and {}", x.len(), y.len()),
            expected: "as many on both sides".to_owned(),
        });
    }
    match correlation {
        RdmCorrelation::KendallTauA => kendall_tau_a(x, y),
        RdmCorrelation::WhitenedCosine | RdmCorrelation::WhitenedPearson => Err(Error::Setting {
            field: "correlation".to_owned(),
            found: correlation.name().to_owned(),
            expected: "one that is defined for single distances".to_owned(),
        }),
        _ => {
            let (x, y) = (weighed(x, correlation, Side::X)?, weighed(y, correlation, Side::Y)?);
            Ok(x.iter().zip(&y).map(|(a, b)| a * b).sum())
        }
    }
}

/// The RDM of a configuration.
///
/// # Shapes
/// `x`: `[n, d]`; returns `[n, n]`, symmetric with a diagonal of zeros
/// # Errors
/// [`Error::NotFinite`] where a distance is not defined, naming the row
pub fn rdm(x: MatRef<'_, f64>, distance: RdmDistance) -> Result<Mat<f64>> {
    let n = x.nrows();
    match distance {
        RdmDistance::SqEuclidean => Ok(dist2(x)),
        RdmDistance::Euclidean => {
            let dist2 = dist2(x);
            Ok(symmetric(n, |i, j| dist2[(i, j)].sqrt()))
        }
        RdmDistance::Cosine | RdmDistance::Correlation => {
            let unit = |(i, row): (usize, Vec<f64>)| {
                let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
                let scaled = || row.iter().map(|value| value / length).collect();
                let unit =
                    if distance == RdmDistance::Cosine { (length > 0.0).then(scaled) } else { standardised(&row).ok() };
                unit.ok_or_else(|| Error::NotFinite {
                    what: format!("the {distance:?} distance from row {i}, which is constant or zero,"),
                })
            };
            let units: Vec<Vec<f64>> = to_rows(x).into_iter().enumerate().map(unit).collect::<Result<_>>()?;
            let cosine = |i: usize, j: usize| units[i].iter().zip(&units[j]).map(|(a, b)| a * b).sum::<f64>();
            Ok(symmetric(n, |i, j| 1.0 - cosine(i, j)))
        }
    }
}

/// Distances made into numbers whose inner product with the other side's is the correlation.
fn weighed(distances: &[f64], correlation: RdmCorrelation, side: Side) -> Result<Vec<f64>> {
    let ranked = || ranks(distances, TIE * distances.iter().copied().fold(0.0, f64::max));
    let of_unit_norm = |values: &[f64]| {
        standardised(values).map_err(|error| match error {
            Error::TooFew { .. } => super::equal_distances(side),
            other => other,
        })
    };
    match correlation {
        RdmCorrelation::Spearman => of_unit_norm(&ranked()?),
        RdmCorrelation::RhoA => {
            let ranks = ranked()?;
            of_unit_norm(&ranks)?; // refuses ranks that are all equal
            let (m, centre) = (ranks.len() as f64, mean(&ranks));
            let norm = ((m * m * m - m) / 12.0).sqrt();
            Ok(ranks.iter().map(|rank| (rank - centre) / norm).collect())
        }
        RdmCorrelation::Cosine => {
            of_unit_norm(distances)?; // a cosine with equal distances is defined, and says nothing
            let norm = distances.iter().map(|d| d * d).sum::<f64>().sqrt();
            Ok(distances.iter().map(|d| d / norm).collect())
        }
        _ => of_unit_norm(distances),
    }
}

/// The RDMs of two sides that can be compared.
pub(super) fn rdms(x: MatRef<'_, f64>, y: MatRef<'_, f64>, distance: RdmDistance) -> Result<[Mat<f64>; 2]> {
    super::check_pair(x, y, 3)?;
    Ok([rdm(x, distance)?, rdm(y, distance)?])
}

/// The upper triangle of an RDM, row by row (the order of scipy's `pdist`).
///
/// # Shapes
/// `rdm`: `[n, n]`; returns n(n − 1)/2 distances
pub fn upper_triangle(rdm: MatRef<'_, f64>) -> Vec<f64> {
    let n = rdm.nrows();
    (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).map(|ij| rdm[ij]).collect()
}

/// Each side's distances (or their ranks) laid out as a matrix, so that concepts can be permuted.
pub(super) fn prepared(
    x: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    distance: RdmDistance,
    correlation: RdmCorrelation,
) -> Result<PairedMatrices> {
    let [x, y] = rdms(x, y, distance)?;
    let n = x.nrows();
    // Row i of the upper triangle starts after the pairs of the rows above it.
    let start = |i: usize| i * (2 * n - i - 1) / 2;
    let whole = |distances: &[f64]| symmetric(n, |i, j| distances[start(i) + j - i - 1]);
    let side = |rdm: &Mat<f64>, side: Side| -> Result<Mat<f64>> {
        let distances = upper_triangle(rdm.as_ref());
        let shifted = |by: f64| distances.iter().map(|d| d - by).collect::<Vec<_>>();
        Ok(match correlation {
            RdmCorrelation::WhitenedCosine | RdmCorrelation::WhitenedPearson => {
                weighed(&distances, RdmCorrelation::Pearson, side)?; // refuses distances that are all equal
                let centre = if correlation == RdmCorrelation::WhitenedPearson { mean(&distances) } else { 0.0 };
                double_centred(whole(&shifted(centre)))
            }
            _ => whole(&weighed(&distances, correlation, side)?),
        })
    };
    let (x, y) = (side(&x, Side::X)?, side(&y, Side::Y)?);
    Ok(match correlation {
        // Each pair stands twice in a symmetric matrix.
        RdmCorrelation::RhoA => PairedMatrices::scaled(&x, &y, |_| 2_f64.sqrt()),
        _ => PairedMatrices::scaled(&x, &y, |side| frobenius(side.as_ref(), side.as_ref()).sqrt()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ties_of_a_discrete_code_survive_rounding() {
        // The same three categories coded with thirds and with whole numbers: equal up to scale, not in their rounding.
        let code = |scale: f64| {
            Mat::from_fn(9, 3, |i, k| scale * [[0.0, 1.0, 3.0], [1.0, 3.0, 0.0], [3.0, 0.0, 1.0]][i % 3][k])
        };
        let (x, y) = (code(1.0), code(0.1 / 3.0));
        for distance in [RdmDistance::Euclidean, RdmDistance::Cosine, RdmDistance::Correlation] {
            let value = rsa(x.as_ref(), y.as_ref(), distance, RdmCorrelation::Spearman).unwrap();
            assert!((value - 1.0).abs() < 1e-12, "{distance:?}: {value}");
        }
    }

    #[test]
    fn undefined_distances_are_refused_by_row() {
        let x = Mat::from_fn(4, 2, |i, k| (i * (k + 1)) as f64);
        let y = Mat::from_fn(4, 2, |i, k| (1 + i * i + k) as f64);
        let error = rsa(x.as_ref(), y.as_ref(), RdmDistance::Cosine, RdmCorrelation::Pearson).unwrap_err();
        assert!(error.to_string().contains("row 0"), "{error}");
    }
}
