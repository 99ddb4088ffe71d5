//! Every pair of concepts, through Gram matrices: the least work while most pairs are judged.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// The coordinates with a column of ones after them, so that products with coefficients bring their sums along:
/// `[n_concepts, dims + 1]`, column by column.
pub(super) fn points(x: &[f64], n: usize) -> Vec<f64> {
    [x, &vec![1.0; n]].concat()
}

/// Squared distances from each anchor of a block to all concepts, anchor by anchor.
///
/// dist2_ij = g_ii + g_jj − 2 g_ij with G = X Xᵀ.
#[inline(always)]
pub(super) fn dist2(points: &[f64], squared_norms: &[f64], block: Range<usize>, into: &mut [f64]) {
    let n = squared_norms.len();
    let x = MatRef::from_column_major_slice(&points[..points.len() - n], n, points.len() / n - 1);
    let anchors = x.subrows(block.start, block.len());
    let gram = MatMut::from_column_major_slice_mut(&mut *into, n, block.len());
    matmul(gram, Accum::Replace, x, anchors.transpose(), 1.0, Par::Seq);
    for (column, anchor) in into.chunks_exact_mut(n).zip(block) {
        let squared_norm = squared_norms[anchor];
        for (value, other) in column.iter_mut().zip(squared_norms) {
            let dist2 = other + squared_norm - 2.0 * *value;
            // Rounding can take the distance of coincident points below zero.
            *value = if dist2 > 0.0 { dist2 } else { 0.0 };
        }
    }
}

/// Σ_j (c_ij + c_ji) (x_i − x_j) for the concepts i of a block, where `coefficients` has c_ja at j + n a.
///
/// # Shapes
/// returns `[block, dims]`, column by column
#[inline(always)]
pub(super) fn pull(points: &[f64], coefficients: &[f64], block: Range<usize>) -> Vec<f64> {
    let n = coefficients.len().isqrt();
    let n_columns = points.len() / n;
    let x = MatRef::from_column_major_slice(points, n, n_columns);
    let c = MatRef::from_column_major_slice(coefficients, n, n);
    let mut sums = vec![0.0; block.len() * n_columns];
    let mut into = MatMut::from_column_major_slice_mut(&mut sums, block.len(), n_columns);
    matmul(into.as_mut(), Accum::Replace, c.subcols(block.start, block.len()).transpose(), x, 1.0, Par::Seq);
    matmul(into, Accum::Add, c.subrows(block.start, block.len()), x, 1.0, Par::Seq);
    // The last column is what the ones collected: the degree of each concept of the block.
    let degrees = sums.split_off(block.len() * (n_columns - 1));
    for (column, x) in sums.chunks_exact_mut(block.len()).zip(points.chunks_exact(n)) {
        for ((sum, x), degree) in column.iter_mut().zip(&x[block.clone()]).zip(&degrees) {
            *sum = degree * x - *sum;
        }
    }
    sums
}
