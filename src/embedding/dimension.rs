//! How many dimensions: those an embedding uses, those a reference needs, and the triplets they take.

use faer::MatRef;

use crate::error::{Error, Result};
use crate::linalg::{centred, frobenius, pca, product};

/// Participation ratio: the effective number of dimensions of an embedding.
///
/// (Σ λ)² / Σ λ² over the eigenvalues of the covariance: d for a round cloud in d dimensions, 1 for a line, 0 for a
/// single point.
///
/// # Shapes
/// `x`: `[n_concepts, dims]`
/// # Source
/// Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement
///
/// ```
/// let square = alike::linalg::from_rows(&[vec![1.0, 1.0], vec![1.0, -1.0], vec![-1.0, 1.0], vec![-1.0, -1.0]])?;
/// assert_eq!(alike::embedding::dimension::participation_ratio(square.as_ref()), 2.0);
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn participation_ratio(x: MatRef<'_, f64>) -> f64 {
    let x = centred(x);
    // Trace and Frobenius norm give both sums without the eigenvalues; xᵀx and x xᵀ share them, and the smaller is
    // cheaper.
    let scatter =
        if x.ncols() <= x.nrows() { product(x.transpose(), x.as_ref()) } else { product(x.as_ref(), x.transpose()) };
    let trace: f64 = (0..scatter.nrows()).map(|k| scatter[(k, k)]).sum();
    if trace > 0.0 { trace * trace / frobenius(scatter.as_ref(), scatter.as_ref()) } else { 0.0 }
}

/// Triplets that n concepts in d dimensions take in order of magnitude: n · d · log2 n, rounded up.
///
/// # Source
/// Jain, Jamieson & Nowak (2016), Finite sample prediction and recovery bounds for ordinal embedding; the constant is
/// taken as 1
///
/// ```
/// assert_eq!(alike::embedding::dimension::sample_size_bound(128, 30), 26_880);
/// ```
pub fn sample_size_bound(n_concepts: usize, n_dims: usize) -> u64 {
    let bound = (n_concepts * n_dims) as f64 * (n_concepts.max(1) as f64).log2();
    // Rounded first: log2 of a power of two may come out an ulp too large.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // not negative, and far below 2^53
    let bound = (bound - 1e-9).ceil().max(0.0) as u64;
    bound
}

/// The fewest principal components that hold a share of the variance.
///
/// # Shapes
/// `x`: `[n_concepts, dims]`
/// # Errors
/// [`Error::Setting`] for a share outside (0, 1], [`Error::TooFew`] when the rows do not vary, [`Error::NotFinite`]
pub fn dims_for_variance(x: MatRef<'_, f64>, share: f64) -> Result<usize> {
    if !(share > 0.0 && share <= 1.0) {
        let field = "share of variance".to_owned();
        return Err(Error::Setting { field, found: share.to_string(), expected: "above 0, at most 1".to_owned() });
    }
    let variances = pca(x, 0)?.variances;
    let total: f64 = variances.iter().sum();
    if total == 0.0 {
        return Err(Error::TooFew { what: "distinct rows for PCA".to_owned(), found: x.nrows().min(1), needed: 2 });
    }
    let mut held = 0.0;
    let enough = variances.iter().position(|variance| {
        held += variance;
        held >= share * total * (1.0 - 1e-12) // all of the variance, up to rounding, is all of it
    });
    Ok(enough.map_or(variances.len(), |k| k + 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use faer::Mat;

    use super::*;

    #[test]
    fn a_line_has_one_dimension_and_a_point_none() {
        let line = Mat::from_fn(5, 3, |i, k| (i * (k + 1)) as f64);
        assert!((participation_ratio(line.as_ref()) - 1.0).abs() < 1e-12);
        assert_eq!(participation_ratio(Mat::<f64>::zeros(4, 2).as_ref()), 0.0);
        assert_eq!(dims_for_variance(line.as_ref(), 1.0).unwrap(), 1);
    }

    #[test]
    fn dims_follow_the_variance() {
        // Variances along the axes: 16, 4 and 1 of 21.
        let axis = |i: usize, k: usize| {
            if i / 2 == k { [4.0, 2.0, 1.0][k] * [1.0, -1.0][i % 2] } else { 0.0 }
        };
        let x = Mat::from_fn(6, 3, axis);
        let dims = |share| dims_for_variance(x.as_ref(), share).unwrap();
        assert_eq!((dims(0.7), dims(0.8), dims(0.95), dims(0.96)), (1, 2, 2, 3));
        assert!(dims_for_variance(x.as_ref(), 0.0).is_err());
        assert!(dims_for_variance(Mat::<f64>::zeros(4, 2).as_ref(), 0.5).is_err());
    }

    #[test]
    fn bound_of_the_paper() {
        assert_eq!(sample_size_bound(128, 30), 26_880);
        assert_eq!(sample_size_bound(1, 30), 0);
    }
}
