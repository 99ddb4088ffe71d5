//! Centred kernel alignment: linear and RBF, biased and debiased, and linear from minibatches.

use faer::{Mat, MatRef};

use super::matrices::PairedMatrices;
use super::{Measure, Side};
use crate::error::{Error, Result};
use crate::linalg::{centred, dist2, frobenius, gram, symmetric};
use crate::stats::{FLAT, quantile};

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
    Measure::CkaLinearBiased.value(x, y)
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
    Measure::CkaLinearDebiased.value(x, y)
}

/// CKA of Gaussian kernels, biased.
///
/// The cosine between the centred kernels K_ij = exp(−‖x_i − x_j‖² / (2 s²)), s = `bandwidth` × the median distance between
/// two concepts of the side (over pairs i < j). The wider the kernel, the closer to [`cka_linear_biased`].
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::Setting`] for a bandwidth that is not above 0, [`Error::TooFew`] when half of the concepts of a side lie in one place,
/// and those of [`cka_linear_biased`]
/// # Source
/// Kornblith, Norouzi, Lee & Hinton (2019), Similarity of neural network representations revisited, section 4
pub fn cka_rbf_biased(x: MatRef<'_, f64>, y: MatRef<'_, f64>, bandwidth: f64) -> Result<f64> {
    Ok(rbf(x, y, bandwidth, false)?.unpermuted())
}

/// CKA of Gaussian kernels from unbiased estimates: the kernels of [`cka_rbf_biased`], U-centred as in
/// [`cka_linear_debiased`].
///
/// # Errors
/// those of [`cka_rbf_biased`] and [`cka_linear_debiased`]
pub fn cka_rbf_debiased(x: MatRef<'_, f64>, y: MatRef<'_, f64>, bandwidth: f64) -> Result<f64> {
    Ok(rbf(x, y, bandwidth, true)?.unpermuted())
}

/// Linear CKA from minibatches: ΣHSIC(X_b, Y_b) / √(ΣHSIC(X_b, X_b) ΣHSIC(Y_b, Y_b)), each batch's criterion unbiased.
///
/// The batches are `batch` rows in the order given; rows that fill no batch are left out. It is for data that do not fit in memory, where rows
/// are shuffled first; it is not a [`Measure`], because the few concepts of a study are better taken whole: batches only add noise.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::Setting`] for batches of fewer than 4, [`Error::TooFew`] for fewer rows than one batch or when the similarities within
/// either side are all equal, [`Error::ShapeMismatch`], [`Error::NotFinite`]
/// # Source
/// Nguyen, Raghu & Kornblith (2021), Do wide and deep networks learn the same things?, equation 3
pub fn cka_linear_minibatch(x: MatRef<'_, f64>, y: MatRef<'_, f64>, batch: usize) -> Result<f64> {
    if batch < 4 {
        let (field, found) = ("minibatch".to_owned(), batch.to_string());
        return Err(Error::Setting { field, found, expected: "4 rows or more".to_owned() });
    }
    super::check_pair(x, y, batch)?;
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for from in (0..=x.nrows() - batch).step_by(batch) {
        let [x, y] = [x, y].map(|side| u_centred(gram(centred(side.subrows(from, batch)).as_ref())));
        xy += frobenius(x.as_ref(), y.as_ref());
        xx += frobenius(x.as_ref(), x.as_ref());
        yy += frobenius(y.as_ref(), y.as_ref());
    }
    for (norm2, side, whole) in [(xx, Side::X, x), (yy, Side::Y, y)] {
        let size = frobenius(whole, whole);
        if norm2 <= (FLAT * size).powi(2) {
            return Err(alike_similarities(side));
        }
    }
    Ok(xy / (xx * yy).sqrt())
}

/// The kernels of both sides, centred or U-centred.
pub(super) fn rbf(x: MatRef<'_, f64>, y: MatRef<'_, f64>, bandwidth: f64, debiased: bool) -> Result<PairedMatrices> {
    if bandwidth.is_nan() || bandwidth <= 0.0 {
        let (field, found) = ("bandwidth".to_owned(), bandwidth.to_string());
        return Err(Error::Setting { field, found, expected: "a share of the median distance above 0".to_owned() });
    }
    super::check_pair(x, y, if debiased { 4 } else { 2 })?;
    let side = |x: MatRef<'_, f64>, side: Side| -> Result<Mat<f64>> {
        super::check_spread(x, side)?;
        let dist2 = dist2(x);
        let n = dist2.nrows();
        let distances: Vec<f64> =
            (0..n).flat_map(|j| (j + 1..n).map(move |i| (i, j))).map(|ij| dist2[ij].sqrt()).collect();
        let width = bandwidth * quantile(&distances, 0.5)?;
        if width == 0.0 {
            let what = format!("distinct places for half of the pairs of concepts of {side}");
            return Err(Error::TooFew { what, found: 1, needed: 2 });
        }
        let kernel = symmetric(n, |i, j| (-dist2[(i, j)] / (2.0 * width * width)).exp());
        // `symmetric` leaves the diagonal at zero; a concept is wholly like itself.
        let kernel = Mat::from_fn(n, n, |i, j| if i == j { 1.0 } else { kernel[(i, j)] });
        let centred = if debiased { u_centred(kernel) } else { double_centred(kernel) };
        if frobenius(centred.as_ref(), centred.as_ref()).sqrt() <= FLAT * n as f64 {
            return Err(alike_similarities(side));
        }
        Ok(centred)
    };
    Ok(PairedMatrices::of_unit_norm(&side(x, Side::X)?, &side(y, Side::Y)?))
}

fn alike_similarities(side: Side) -> Error {
    Error::TooFew { what: format!("distinct similarities between the concepts of {side}"), found: 1, needed: 2 }
}

/// HKH, H = I − 1/n: rows and columns of mean zero.
pub(super) fn double_centred(kernel: Mat<f64>) -> Mat<f64> {
    let n = kernel.nrows();
    let means: Vec<f64> = (0..n).map(|j| kernel.col_as_slice(j).iter().sum::<f64>() / n as f64).collect();
    let everywhere = means.iter().sum::<f64>() / n as f64;
    Mat::from_fn(n, n, |i, j| kernel[(i, j)] - means[i] - means[j] + everywhere)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cloud(n: usize, d: usize, seed: u64) -> Mat<f64> {
        let mut rng = crate::seed::Streams::new(seed, "test").rng(0);
        Mat::from_fn(n, d, |_, _| crate::stats::standard_normal(&mut rng))
    }

    #[test]
    fn debiased_from_the_cross_product_is_debiased_from_gram_matrices() {
        for (n, d) in [(4, 2), (30, 9), (12, 40)] {
            let (x, y) = (cloud(n, d, 1), cloud(n, 3, 2));
            // One batch of all rows is the definition.
            let whole = cka_linear_minibatch(x.as_ref(), y.as_ref(), n).unwrap();
            let value = cka_linear_debiased(x.as_ref(), y.as_ref()).unwrap();
            assert!((whole - value).abs() < 1e-12, "{n} × {d}: {value} and {whole}");
        }
    }

    #[test]
    fn a_wide_kernel_is_linear() {
        let (x, y) = (cloud(20, 4, 1), cloud(20, 3, 2));
        let linear = cka_linear_biased(x.as_ref(), y.as_ref()).unwrap();
        let wide = cka_rbf_biased(x.as_ref(), y.as_ref(), 300.0).unwrap();
        assert!((linear - wide).abs() < 1e-4, "{linear} and {wide}"); // the next term of exp is 1e-5 of the first
        assert!(cka_rbf_biased(x.as_ref(), y.as_ref(), 0.0).is_err());
        assert!(cka_rbf_debiased(x.as_ref(), y.as_ref(), f64::NAN).is_err());
    }

    #[test]
    fn half_of_the_concepts_in_one_place_have_no_bandwidth() {
        let x = Mat::from_fn(10, 2, |i, k| if i < 8 { 0.0 } else { (i + k) as f64 });
        let error = cka_rbf_biased(x.as_ref(), cloud(10, 2, 1).as_ref(), 0.8).unwrap_err();
        assert!(error.to_string().contains("first configuration"), "{error}");
    }

    #[test]
    fn minibatches_leave_the_rest_out_and_refuse_too_little() {
        let (x, y) = (cloud(11, 3, 1), cloud(11, 4, 2));
        let value = |n: usize| cka_linear_minibatch(x.subrows(0, n), y.subrows(0, n), 5).unwrap();
        assert_eq!(value(11), value(10));
        assert!(matches!(cka_linear_minibatch(x.as_ref(), y.as_ref(), 3), Err(Error::Setting { .. })));
        assert!(matches!(cka_linear_minibatch(x.as_ref(), y.as_ref(), 12), Err(Error::TooFew { .. })));
        let flat = Mat::from_fn(11, 2, |_, _| 0.7);
        assert!(matches!(cka_linear_minibatch(x.as_ref(), flat.as_ref(), 5), Err(Error::TooFew { .. })));
    }
}
