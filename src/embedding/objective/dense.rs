//! Every pair of concepts, through Gram matrices: the least work while most pairs are judged.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::reborrow::ReborrowMut;
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
    let mut sums = vec![0.0; block.len() * n_columns];
    let mut into = MatMut::from_column_major_slice_mut(&mut sums, block.len(), n_columns);
    let mut both = vec![0.0; n * STRIP.min(block.len())];
    for start in block.clone().step_by(STRIP) {
        let strip = start..(start + STRIP).min(block.end);
        let both = &mut both[..n * strip.len()];
        both_ways(coefficients, strip.clone(), both);
        let c = MatRef::from_column_major_slice(both, n, strip.len());
        let rows = into.rb_mut().subrows_mut(start - block.start, strip.len());
        matmul(rows, Accum::Replace, c.transpose(), x, 1.0, Par::Seq);
    }
    // The last column is what the ones collected: the degree of each concept of the block.
    let degrees = sums.split_off(block.len() * (n_columns - 1));
    for (column, x) in sums.chunks_exact_mut(block.len()).zip(points.chunks_exact(n)) {
        for ((sum, x), degree) in column.iter_mut().zip(&x[block.clone()]).zip(&degrees) {
            *sum = degree * x - *sum;
        }
    }
    sums
}

/// Concepts whose coefficients are added up both ways at once: few enough to stay in the cache until they are multiplied.
const STRIP: usize = 64;

/// c_ij + c_ji for all j and the i of a strip, tile by tile: cheaper than a second product of matrices.
#[inline(always)]
fn both_ways(coefficients: &[f64], strip: Range<usize>, both: &mut [f64]) {
    const TILE: usize = 16;
    let n = both.len() / strip.len();
    both.copy_from_slice(&coefficients[strip.start * n..strip.end * n]);
    for from in (0..n).step_by(TILE) {
        for start in strip.clone().step_by(TILE) {
            let end = (start + TILE).min(strip.end);
            for j in from..(from + TILE).min(n) {
                for (i, c) in (start - strip.start..).zip(&coefficients[j * n + start..j * n + end]) {
                    both[i * n + j] += c;
                }
            }
        }
    }
}
