//! Small dense linear algebra on `[n_concepts, n_dims]` matrices.
//!
//! Everything runs on one thread ([`Par::Seq`]): the matrices are small, the bits must not depend on the thread count,
//! and the callers parallelise over fits and permutations.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::matmul::matmul;
use faer::linalg::svd::{self, ComputeSvdVectors};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::ArrayView2;

use crate::error::{Error, Result};

/// A matrix with the values of an ndarray view.
///
/// # Shapes
/// `x`: `[n, d]`; returns `[n, d]`
pub fn from_ndarray(x: ArrayView2<'_, f64>) -> Mat<f64> {
    Mat::from_fn(x.nrows(), x.ncols(), |i, k| x[[i, k]])
}

/// A matrix with the given rows.
///
/// # Shapes
/// `rows`: n rows of d numbers; returns `[n, d]`
/// # Errors
/// [`Error::ShapeMismatch`] when the rows differ in length
///
/// ```
/// let x = alike::linalg::from_rows(&[vec![1.0, 2.0], vec![3.0, 4.0]])?;
/// assert_eq!((x.nrows(), x.ncols(), x[(1, 0)]), (2, 2, 3.0));
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn from_rows(rows: &[Vec<f64>]) -> Result<Mat<f64>> {
    let n_dims = rows.first().map_or(0, Vec::len);
    if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.len() != n_dims) {
        return Err(Error::ShapeMismatch {
            what: format!("row {i} of the matrix"),
            found: format!("{} columns", row.len()),
            expected: format!("{n_dims} columns, as in row 0"),
        });
    }
    Ok(Mat::from_fn(rows.len(), n_dims, |i, k| rows[i][k]))
}

/// The matrix as rows, for files and tables.
///
/// # Shapes
/// `x`: `[n, d]`; returns n rows of d numbers
pub fn to_rows(x: MatRef<'_, f64>) -> Vec<Vec<f64>> {
    (0..x.nrows()).map(|i| row(x, i)).collect()
}

/// One row of a matrix, as a vector.
pub(crate) fn row(x: MatRef<'_, f64>, i: usize) -> Vec<f64> {
    (0..x.ncols()).map(|k| x[(i, k)]).collect()
}

/// Refuses a matrix that holds NaN or an infinity.
///
/// # Errors
/// [`Error::NotFinite`], naming `what` and the first bad row and column
pub fn check_finite(x: MatRef<'_, f64>, what: &str) -> Result<()> {
    for i in 0..x.nrows() {
        for k in 0..x.ncols() {
            if !x[(i, k)].is_finite() {
                return Err(Error::NotFinite { what: format!("{what}, row {i}, column {k}") });
            }
        }
    }
    Ok(())
}

/// Inner product, summed in eight interleaved partial sums: a fixed order that the compiler can vectorise.
#[inline(always)] // into loops compiled for the processor's vectors
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in xs.zip(ys) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// The matrix with each column's mean subtracted.
///
/// x_ik − (1/n) Σ_j x_jk
///
/// # Shapes
/// `x`: `[n, d]`; returns `[n, d]`
pub fn centred(x: MatRef<'_, f64>) -> Mat<f64> {
    let n_rows = x.nrows().max(1) as f64;
    let means: Vec<f64> = (0..x.ncols()).map(|k| (0..x.nrows()).map(|i| x[(i, k)]).sum::<f64>() / n_rows).collect();
    Mat::from_fn(x.nrows(), x.ncols(), |i, k| x[(i, k)] - means[k])
}

/// The matrix with columns of zeros appended until it has `n_dims` of them; a matrix that is wide enough is unchanged.
///
/// # Shapes
/// `x`: `[n, d]`; returns `[n, max(d, n_dims)]`
pub fn zero_padded(x: MatRef<'_, f64>, n_dims: usize) -> Mat<f64> {
    Mat::from_fn(x.nrows(), x.ncols().max(n_dims), |i, k| if k < x.ncols() { x[(i, k)] } else { 0.0 })
}

/// The product of two matrices.
///
/// # Shapes
/// `a`: `[n, m]`; `b`: `[m, d]`; returns `[n, d]`
pub fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut ab = Mat::zeros(a.nrows(), b.ncols());
    product_into(ab.as_mut(), a, b);
    ab
}

/// [`product`] into a matrix that exists already.
pub(crate) fn product_into(dst: MatMut<'_, f64>, a: MatRef<'_, f64>, b: MatRef<'_, f64>) {
    matmul(dst, Accum::Replace, a, b, 1.0, Par::Seq);
}

/// The Gram matrix x xᵀ.
///
/// # Shapes
/// `x`: `[n, d]`; returns `[n, n]`
pub fn gram(x: MatRef<'_, f64>) -> Mat<f64> {
    product(x, x.transpose())
}

/// Squared Euclidean distances between the rows, each summed from its own differences.
///
/// dist2_ij = Σ_k (x_ik − x_jk)²
///
/// Rows that are equally far apart in the same coordinates come out exactly equal, which rank correlations and tied
/// triplets need; the fits go through the Gram matrix instead, which is faster and rounds.
///
/// # Shapes
/// `x`: `[n, d]`; returns `[n, n]`
///
/// ```
/// let x = alike::linalg::from_rows(&[vec![0.0, 0.0], vec![3.0, 4.0]])?;
/// assert_eq!(alike::linalg::dist2(x.as_ref())[(0, 1)], 25.0);
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn dist2(x: MatRef<'_, f64>) -> Mat<f64> {
    let rows = to_rows(x);
    symmetric(x.nrows(), |i, j| rows[i].iter().zip(&rows[j]).map(|(a, b)| (a - b) * (a - b)).sum())
}

/// The symmetric matrix of a function of two indices, which is asked only for i < j; the diagonal is zero.
pub(crate) fn symmetric(n: usize, f: impl Fn(usize, usize) -> f64) -> Mat<f64> {
    let mut s = Mat::zeros(n, n);
    for i in 0..n {
        for j in i + 1..n {
            let value = f(i, j);
            s[(i, j)] = value;
            s[(j, i)] = value;
        }
    }
    s
}

/// Σ_ij a_ij b_ij; with `b = a` the squared Frobenius norm.
///
/// # Shapes
/// `a`, `b`: `[n, d]`
pub fn frobenius(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    let column = |k| (0..a.nrows()).map(|i| a[(i, k)] * b[(i, k)]).sum::<f64>();
    (0..a.ncols()).map(column).sum()
}

/// What a least-squares fit of some columns leaves of the values. Columns that others explain are left out.
///
/// # Shapes
/// `columns`: `[n, k]`; `values` and the residuals: `[n]`
pub(crate) fn residuals(columns: MatRef<'_, f64>, values: &[f64]) -> Vec<f64> {
    let mut basis: Vec<Vec<f64>> = vec![];
    // Twice is enough: what rounding leaves after the first time goes with the second.
    let take_off = |basis: &[Vec<f64>], mut rest: Vec<f64>| {
        for direction in basis.iter().chain(basis) {
            let share = dot(direction, &rest);
            rest.iter_mut().zip(direction).for_each(|(x, d)| *x -= share * d);
        }
        rest
    };
    for k in 0..columns.ncols() {
        let column: Vec<f64> = (0..columns.nrows()).map(|i| columns[(i, k)]).collect();
        let size = dot(&column, &column).sqrt();
        let rest = take_off(&basis, column);
        let left = dot(&rest, &rest).sqrt();
        if left > 1e-10 * size {
            basis.push(rest.into_iter().map(|x| x / left).collect());
        }
    }
    take_off(&basis, values.to_vec())
}

/// Singular values, largest first.
///
/// # Shapes
/// `x`: `[n, d]`; returns min(n, d) values
/// # Errors
/// [`Error::NotFinite`] when the decomposition does not converge, which takes a matrix with NaN or an infinity
pub fn singular_values(x: MatRef<'_, f64>) -> Result<Vec<f64>> {
    let (n, d) = x.shape();
    let none = ComputeSvdVectors::No;
    let scratch = svd::svd_scratch::<f64>(n, d, none, none, Par::Seq, Default::default());
    let mut values = faer::diag::Diag::<f64>::zeros(n.min(d));
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    svd::svd(x, values.as_mut(), None, None, Par::Seq, stack, Default::default()).map_err(|_| svd_failed())?;
    Ok(values.column_vector().iter().copied().collect())
}

fn svd_failed() -> Error {
    Error::NotFinite { what: "the singular value decomposition of a matrix".to_owned() }
}

/// Principal components of a matrix.
#[derive(Debug, Clone)]
pub struct Pca {
    /// Coordinates on the components, centred; `[n, n_components]`.
    pub scores: Mat<f64>,
    /// Variance along every component, largest first (sums to the total variance, ddof 0); min(n, d) values.
    pub variances: Vec<f64>,
}

/// The centred rows on their first `n_dims` principal components.
///
/// x − mean = U S Vᵀ; scores = U S; variances = S²/n. The sign of each component is the one that makes its loading
/// (column of V) of largest magnitude positive, so the result does not depend on the decomposition's own signs. There
/// are at most min(n, d) components; more are not invented.
///
/// # Shapes
/// `x`: `[n, d]`; scores `[n, min(n_dims, n, d)]`
/// # Errors
/// [`Error::NotFinite`] when `x` holds NaN or an infinity
///
/// ```
/// let x = alike::linalg::from_rows(&[vec![1.0, 1.0], vec![2.0, 2.0], vec![3.0, 3.0]])?;
/// let pca = alike::linalg::pca(x.as_ref(), 1)?;
/// assert!((pca.scores[(2, 0)] - 2f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn pca(x: MatRef<'_, f64>, n_dims: usize) -> Result<Pca> {
    check_finite(x, "the matrix given to PCA")?;
    let x = centred(x);
    let (n, d) = x.shape();
    let size = n.min(d);
    let (mut u, mut v) = (Mat::zeros(n, size), Mat::zeros(d, size));
    let mut s = faer::diag::Diag::<f64>::zeros(size);
    let thin = ComputeSvdVectors::Thin;
    let mut memory = MemBuffer::new(svd::svd_scratch::<f64>(n, d, thin, thin, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut memory);
    svd::svd(x.as_ref(), s.as_mut(), Some(u.as_mut()), Some(v.as_mut()), Par::Seq, stack, Default::default())
        .map_err(|_| svd_failed())?;
    let s: Vec<f64> = s.column_vector().iter().copied().collect();
    let sign = |k| {
        let largest =
            (0..d).map(|l| v[(l, k)]).fold(0.0, |best: f64, value| if value.abs() > best.abs() { value } else { best });
        if largest < 0.0 { -1.0 } else { 1.0 }
    };
    let signs: Vec<f64> = (0..size).map(sign).collect();
    Ok(Pca {
        scores: Mat::from_fn(n, n_dims.min(size), |i, k| signs[k] * u[(i, k)] * s[k]),
        variances: s.iter().map(|s| s * s / n.max(1) as f64).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example() -> Mat<f64> {
        Mat::from_fn(7, 3, |i, k| ((i * i * 5 + k * 3 + i * k) % 11) as f64 - 0.3 * k as f64)
    }

    #[test]
    fn distances_agree_with_the_gram_matrix() {
        let x = example();
        let (d2, g) = (dist2(x.as_ref()), gram(x.as_ref()));
        for i in 0..7 {
            for j in 0..7 {
                assert!((d2[(i, j)] - (g[(i, i)] + g[(j, j)] - 2.0 * g[(i, j)])).abs() < 1e-12); // rounding of sums near 50
            }
        }
    }

    #[test]
    fn pca_keeps_distances_and_orders_variances() {
        let x = example();
        let pca = pca(x.as_ref(), 3).unwrap();
        assert!(pca.variances.is_sorted_by(|a, b| a >= b));
        let (before, after) = (dist2(x.as_ref()), dist2(pca.scores.as_ref()));
        for i in 0..7 {
            for j in 0..7 {
                assert!((before[(i, j)] - after[(i, j)]).abs() < 1e-12);
            }
        }
        let total = frobenius(centred(x.as_ref()).as_ref(), centred(x.as_ref()).as_ref()) / 7.0;
        assert!((pca.variances.iter().sum::<f64>() - total).abs() < 1e-12);
    }

    #[test]
    fn pca_signs_do_not_depend_on_the_rows_order() {
        let x = example();
        let reversed = Mat::from_fn(7, 3, |i, k| x[(6 - i, k)]);
        let (a, b) = (pca(x.as_ref(), 2).unwrap(), pca(reversed.as_ref(), 2).unwrap());
        for i in 0..7 {
            for k in 0..2 {
                assert!((a.scores[(i, k)] - b.scores[(6 - i, k)]).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn singular_values_of_a_diagonal() {
        let x = Mat::from_fn(3, 2, |i, k| if i == k { [2.0, -5.0][k] } else { 0.0 });
        let s = singular_values(x.as_ref()).unwrap();
        assert!((s[0] - 5.0).abs() < 1e-14 && (s[1] - 2.0).abs() < 1e-14);
    }

    #[test]
    fn ragged_rows_are_refused() {
        assert!(matches!(from_rows(&[vec![1.0], vec![1.0, 2.0]]), Err(Error::ShapeMismatch { .. })));
    }

    #[test]
    fn conversions_agree() {
        let array = ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        let rows = to_rows(from_ndarray(array.view()).as_ref());
        assert_eq!(rows, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        assert_eq!(zero_padded(from_rows(&rows).unwrap().as_ref(), 3)[(2, 2)], 0.0);
    }
}
