//! Representational similarity analysis: the correlation between two matrices of distances.

use faer::{Mat, MatRef};

use super::{PairedMatrices, Side};
use crate::error::{Error, Result};
use crate::linalg::{dist2, symmetric, to_rows};
use crate::stats::{ranks, standardised};

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

/// The correlation between two RDMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RdmCorrelation {
    /// Of the average ranks; blind to monotone changes of distance.
    Spearman,
    /// Of the distances themselves.
    Pearson,
}

/// Distances within a difference of this share of the largest count as ties: arithmetic splits ties of discrete codes
/// by less.
const TIE: f64 = 1e-12;

/// The correlation between the distances within x and within y, over pairs of concepts i < j.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::ShapeMismatch`] when the two differ in concepts, [`Error::TooFew`] for fewer than 3 concepts or when the
/// distances within either side are all equal, [`Error::NotFinite`], also where a cosine or correlation is not defined
/// (a row of zeros, a constant row)
/// # Source
/// Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis
pub fn rsa(x: MatRef<'_, f64>, y: MatRef<'_, f64>, distance: RdmDistance, correlation: RdmCorrelation) -> Result<f64> {
    Ok(prepared(x, y, distance, correlation)?.at(None))
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

/// Each side's distances (or their ranks) with mean 0 and norm 1, laid out as a matrix so that concepts can be
/// permuted.
pub(super) fn prepared(
    x: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    distance: RdmDistance,
    correlation: RdmCorrelation,
) -> Result<PairedMatrices> {
    super::check_pair(x, y, 3)?;
    let side = |x: MatRef<'_, f64>, side: Side| -> Result<Mat<f64>> {
        let rdm = rdm(x, distance)?;
        let n = rdm.nrows();
        let mut distances: Vec<f64> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).map(|ij| rdm[ij]).collect();
        if correlation == RdmCorrelation::Spearman {
            let largest = distances.iter().copied().fold(0.0, f64::max);
            distances = ranks(&distances, TIE * largest)?;
        }
        let distances = standardised(&distances).map_err(|_| Error::TooFew {
            what: format!("distinct distances between the concepts of {side}"),
            found: 1,
            needed: 2,
        })?;
        // Row i of the upper triangle starts after the pairs of the rows above it.
        let start = |i: usize| i * (2 * n - i - 1) / 2;
        Ok(symmetric(n, |i, j| distances[start(i) + j - i - 1]))
    };
    Ok(PairedMatrices::of_unit_norm(side(x, Side::X)?, side(y, Side::Y)?))
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
