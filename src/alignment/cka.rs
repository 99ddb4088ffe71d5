//! Linear centred kernel alignment, biased and debiased.

use faer::{Mat, MatRef};

use super::{PairedMatrices, Side};
use crate::error::{Error, Result};
use crate::linalg::{centred, frobenius, gram};
use crate::stats::FLAT;

/// Linear CKA, biased as it is usually reported.
///
/// ‖XᵀY‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F), both centred: the cosine between the centred Gram matrices. It is far above 0 by
/// chance when n is close to the widths.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::ShapeMismatch`] when the two differ in concepts, [`Error::TooFew`] when all rows of either are equal,
/// [`Error::NotFinite`]
/// # Source
/// Kornblith, Norouzi, Lee & Hinton (2019), Similarity of neural network representations revisited, equation 3
pub fn cka_linear_biased(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<f64> {
    Ok(biased(x, y)?.at(None))
}

/// Linear CKA from unbiased estimates of the Hilbert–Schmidt independence criterion; near 0 for unrelated sides, and
/// may be negative.
///
/// ⟨K̃, L̃⟩ / √(⟨K̃, K̃⟩ ⟨L̃, L̃⟩) with U-centred Gram matrices: K̃_ij = K_ij − Σ_l K_il/(n−2) − Σ_l K_lj/(n−2) + Σ_lm
/// K_lm/((n−1)(n−2)) for i ≠ j, the diagonal of K set to 0 first and of K̃ last.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::TooFew`] for fewer than 4 concepts or when the similarities within either side are all equal,
/// [`Error::ShapeMismatch`], [`Error::NotFinite`]
/// # Source
/// Székely & Rizzo (2014), Partial distance correlation, definition 2; Song et al. (2012), Feature selection via
/// dependence maximization, theorem 2
pub fn cka_linear_debiased(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<f64> {
    Ok(debiased(x, y)?.at(None))
}

pub(super) fn biased(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<PairedMatrices> {
    super::check_pair(x, y, 2)?;
    let side = |x: MatRef<'_, f64>, side| -> Result<Mat<f64>> {
        super::check_spread(x, side)?;
        Ok(gram(centred(x).as_ref()))
    };
    Ok(PairedMatrices::of_unit_norm(side(x, Side::X)?, side(y, Side::Y)?))
}

pub(super) fn debiased(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<PairedMatrices> {
    super::check_pair(x, y, 4)?;
    let side = |x: MatRef<'_, f64>, side: Side| -> Result<Mat<f64>> {
        super::check_spread(x, side)?;
        // Centring leaves the U-centred matrix as it is and keeps large offsets from drowning it.
        let gram = gram(centred(x).as_ref());
        let size = frobenius(gram.as_ref(), gram.as_ref()).sqrt();
        let u_centred = u_centred(gram);
        if frobenius(u_centred.as_ref(), u_centred.as_ref()).sqrt() <= FLAT * size {
            return Err(Error::TooFew {
                what: format!("distinct similarities between the concepts of {side}"),
                found: 1,
                needed: 2,
            });
        }
        Ok(u_centred)
    };
    Ok(PairedMatrices::of_unit_norm(side(x, Side::X)?, side(y, Side::Y)?))
}

fn u_centred(mut gram: Mat<f64>) -> Mat<f64> {
    let n = gram.nrows();
    for i in 0..n {
        gram[(i, i)] = 0.0;
    }
    let sums: Vec<f64> = (0..n).map(|j| gram.col_as_slice(j).iter().sum()).collect();
    let (n_minus_1, n_minus_2) = ((n - 1) as f64, (n - 2) as f64);
    let everywhere = sums.iter().sum::<f64>() / (n_minus_1 * n_minus_2);
    let centre = |i, j| gram[(i, j)] - (sums[i] + sums[j]) / n_minus_2 + everywhere;
    Mat::from_fn(n, n, |i, j| if i == j { 0.0 } else { centre(i, j) })
}
