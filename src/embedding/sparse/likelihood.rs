//! The likelihood of odd-one-out answers under dot products, and its gradient.
//!
//! p(odd = k of i, j, k) = exp(w_i·w_j) / (exp(w_i·w_j) + exp(w_i·w_k) + exp(w_j·w_k))
//!
//! There are two layouts. Where pairs of concepts are few beside triplets, all of them go through the exponential once (a
//! dense Gram matrix), a triplet looks its three numbers up, and the gradient is one matrix product. Otherwise each triplet
//! takes its own dot products. Large sets use all cores within one evaluation: the work is cut by the data alone and added
//! in order, so that no bit depends on the number of threads.

use faer::linalg::matmul::matmul;
use faer::traits::pulp::Arch;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::terms::Term;
use crate::error::{Error, Result};
use crate::linalg::product_into;

/// How well coordinates tell some answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::embedding) struct Score {
    /// Mean negative log-likelihood, nats.
    pub(in crate::embedding) loss: f64,
    /// Share of the answers that name the concept that is not of the closest pair; of several closest pairs, each counts
    /// its part.
    pub(in crate::embedding) accuracy: f64,
}

/// The mean negative log-likelihood (nats) of weighted answers as a function of `[n_concepts, n_dims]` coordinates, which lie
/// row by row. Scratch matrices live inside: one likelihood serves one fit at a time.
#[derive(Debug, Clone)]
pub(super) struct Likelihood {
    n_concepts: usize,
    n_dims: usize,
    terms: Vec<Term>,
    total_weight: f64,
    layout: Layout,
    /// Whether one evaluation is worth several threads.
    large: bool,
}

#[derive(Debug, Clone)]
enum Layout {
    Dense {
        /// Column i holds exp(w_i·w_j − shift) for j > i; `[n_concepts, n_concepts]`.
        weights: Vec<f64>,
        /// One for each run of terms: column i holds Σ w dℓ/d(w_i·w_j) for j > i; `[n_concepts, n_concepts]`.
        slopes: Vec<Vec<f64>>,
    },
    Direct {
        /// One for each run of terms; `[n_concepts, n_dims]`.
        gradients: Vec<Vec<f64>>,
    },
}

/// From this many terms on, one evaluation is worth several threads.
const LARGE: usize = 100_000;
/// Runs of terms that a large set is cut into: each has a matrix of its own, so more would cost memory.
const RUNS: usize = 4;
/// The dense layout costs two or three operations for each pair and dimension, the direct one 18 for each triplet.
const PAIRS_PER_TERM: usize = 6;
/// Concepts on a side of a tile: three tiles of numbers and three of slopes fit a core's own cache.
const TILE: usize = 96;
/// Columns of a block of the Gram matrix.
const BLOCK: usize = 64;

impl Likelihood {
    /// # Errors
    /// [`Error::TooFew`] without terms
    pub(super) fn new(n_concepts: usize, n_dims: usize, terms: Vec<Term>) -> Result<Self> {
        let dense = n_concepts * n_concepts <= PAIRS_PER_TERM * terms.len();
        Self::with_layout(n_concepts, n_dims, terms, dense)
    }

    fn with_layout(n_concepts: usize, n_dims: usize, mut terms: Vec<Term>, dense: bool) -> Result<Self> {
        if terms.is_empty() {
            let what = "odd-one-out answers with a weight".to_owned();
            return Err(Error::TooFew { what, found: 0, needed: 1 });
        }
        // Tile by tile, so that what neighbouring terms look up and add to is in the cache.
        terms.sort_unstable_by_key(|term| (term.ids.map(|id| id as usize / TILE), term.ids, term.odd));
        let large = terms.len() >= LARGE;
        let (square, n_runs) = (n_concepts * n_concepts, if large { RUNS } else { 1 });
        let layout = if dense {
            Layout::Dense { weights: vec![0.0; square], slopes: vec![vec![0.0; square]; n_runs] }
        } else {
            Layout::Direct { gradients: vec![vec![0.0; n_concepts * n_dims]; n_runs] }
        };
        let total_weight = terms.iter().map(|term| term.weight).sum();
        Ok(Self { n_concepts, n_dims, terms, total_weight, layout, large })
    }

    pub(super) fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether one evaluation takes all cores.
    pub(super) fn is_large(&self) -> bool {
        self.large
    }

    pub(super) fn n_concepts(&self) -> usize {
        self.n_concepts
    }

    pub(super) fn n_dims(&self) -> usize {
        self.n_dims
    }

    /// Value at `w`; fills in the gradient.
    ///
    /// # Shapes
    /// `w`, `gradient`: `[n_concepts, n_dims]`, row by row
    pub(super) fn evaluate(&mut self, w: &[f64], gradient: &mut [f64]) -> f64 {
        let (n, d, large) = (self.n_concepts, self.n_dims, self.large);
        let (scale, terms) = (1.0 / self.total_weight, &self.terms);
        let total = match &mut self.layout {
            Layout::Dense { weights, slopes } => {
                fill_weights(w, n, d, weights, large);
                let total = for_each_run(terms, slopes, large, |terms, slopes| {
                    slopes.fill(0.0);
                    Arch::new().dispatch(|| look_up(w, d, weights, n, terms, slopes))
                });
                let slopes = sum_of(slopes, large);
                fill_gradient(w, n, d, slopes, gradient, large);
                total
            }
            Layout::Direct { gradients } => {
                let total = for_each_run(terms, gradients, large, |terms, gradient| {
                    gradient.fill(0.0);
                    add_direct(w, d, terms.iter(), gradient)
                });
                gradient.copy_from_slice(sum_of(gradients, large));
                total
            }
        };
        gradient.iter_mut().for_each(|g| *g *= scale);
        scale * total
    }
}

/// Σ of `work` over the runs that the terms are cut into, each with a scratch matrix of its own; added in order.
fn for_each_run(
    terms: &[Term],
    scratch: &mut [Vec<f64>],
    parallel: bool,
    work: impl Fn(&[Term], &mut [f64]) -> f64 + Sync,
) -> f64 {
    let run = terms.len().div_ceil(scratch.len());
    if !parallel {
        return terms.chunks(run).zip(scratch).map(|(terms, scratch)| work(terms, scratch)).sum();
    }
    let sums: Vec<f64> =
        terms.par_chunks(run).zip(scratch.par_iter_mut()).map(|(terms, scratch)| work(terms, scratch)).collect();
    sums.iter().sum()
}

/// The sum of the matrices, in order, left in the first.
fn sum_of(matrices: &mut [Vec<f64>], parallel: bool) -> &[f64] {
    let (first, others) = matrices.split_first_mut().expect("there is a run");
    if !others.is_empty() {
        for_each_chunk(first, 1 << 14, parallel, |at, chunk| {
            for other in others.iter() {
                chunk.iter_mut().zip(&other[at << 14..]).for_each(|(a, b)| *a += b);
            }
        });
    }
    first
}

/// The chunks of a slice with their numbers, in parallel or not.
fn for_each_chunk(data: &mut [f64], size: usize, parallel: bool, work: impl Fn(usize, &mut [f64]) + Sync) {
    if parallel {
        data.par_chunks_mut(size).enumerate().for_each(|(at, chunk)| work(at, chunk));
    } else {
        data.chunks_mut(size).enumerate().for_each(|(at, chunk)| work(at, chunk));
    }
}

/// Exponents up to this are taken as they are: three of their exponentials can be added.
const LARGEST_EXPONENT: f64 = 600.0;

/// exp(w_i·w_j − shift) below the diagonal, block of columns by block. The shift is zero unless a norm is beyond bounds.
fn fill_weights(w: &[f64], n: usize, d: usize, weights: &mut [f64], parallel: bool) {
    let longest = w.chunks(d).map(|row| row.iter().map(|x| x * x).sum::<f64>()).fold(0.0, f64::max);
    let shift = (longest - LARGEST_EXPONENT).max(0.0);
    for_each_chunk(weights, n * BLOCK, parallel, |block, columns| {
        let (start, width) = (block * BLOCK, columns.len() / n);
        let below = MatRef::from_row_major_slice(&w[start * d..], n - start, d);
        let here = MatRef::from_row_major_slice(&w[start * d..(start + width) * d], width, d);
        let into = MatMut::from_column_major_slice_mut(&mut *columns, n, width).subrows_mut(start, n - start);
        product_into(into, below, here.transpose());
        // The vector loop over the product's result comes first, for the reason given at `objective::Evaluate`.
        Arch::new().dispatch(|| {
            for (column, values) in columns.chunks_mut(n).enumerate() {
                let values = &mut values[start + column + 1..];
                values.iter_mut().for_each(|value| *value -= shift);
                values.iter_mut().for_each(|value| *value = value.exp());
            }
        });
    });
}

/// Below this a sum of weights or a probability has lost digits, and the triplet takes its own dot products.
const SAFE: f64 = 1e-200;

/// Σ w ℓ over the terms; adds their derivatives by the three dot products to the slopes.
#[inline(always)]
fn look_up(w: &[f64], d: usize, weights: &[f64], n: usize, terms: &[Term], slopes: &mut [f64]) -> f64 {
    let mut total = 0.0;
    // Σ ln p is kept as ln Π p over runs of unit weight: one logarithm in a hundred triplets.
    let mut product = 1.0;
    for term in terms {
        let [i, j, k] = term.ids.map(|id| id as usize);
        let at = [j * n + k, i * n + k, i * n + j];
        let exps = at.map(|at| weights[at]);
        let sum = exps[0] + exps[1] + exps[2];
        let mut p = exps.map(|exp| exp / sum);
        let odd = term.odd as usize;
        if !(sum > SAFE && p[odd] > SAFE) {
            let loss;
            (p, loss) = softmax(similarities(w, d, term), odd);
            total += term.weight * loss;
        } else if term.weight == 1.0 {
            product *= p[odd];
            if product < 1e-90 {
                total -= product.ln();
                product = 1.0;
            }
        } else {
            total -= term.weight * p[odd].ln();
        }
        p[odd] -= 1.0;
        for pair in 0..3 {
            slopes[at[pair]] += term.weight * p[pair];
        }
    }
    total - f64::ln(product)
}

/// The gradient (S + Sᵀ) W of the symmetric matrix whose part below the diagonal is `slopes`, block of rows by block.
fn fill_gradient(w: &[f64], n: usize, d: usize, slopes: &[f64], gradient: &mut [f64], parallel: bool) {
    let (rows, slopes) = (MatRef::from_row_major_slice(w, n, d), MatRef::from_column_major_slice(slopes, n, n));
    for_each_chunk(gradient, BLOCK * d, parallel, |block, gradient| {
        let (start, height) = (block * BLOCK, gradient.len() / d);
        let mut into = MatMut::from_row_major_slice_mut(gradient, height, d);
        let below = slopes.submatrix(start, start, n - start, height);
        product_into(into.as_mut(), below.transpose(), rows.subrows(start, n - start));
        let left = slopes.submatrix(start, 0, height, start + height);
        matmul(into, Accum::Add, left, rows.subrows(0, start + height), 1.0, Par::Seq);
    });
}

/// Σ w ℓ over terms by their own dot products; adds the gradient.
pub(super) fn add_direct<'a>(w: &[f64], d: usize, terms: impl Iterator<Item = &'a Term>, gradient: &mut [f64]) -> f64 {
    Arch::new().dispatch(|| {
        let mut total = 0.0;
        for term in terms {
            let odd = term.odd as usize;
            let (mut slope, loss) = softmax(similarities(w, d, term), odd);
            total += term.weight * loss;
            slope[odd] -= 1.0;
            let [jk, ik, ij] = slope.map(|slope| term.weight * slope);
            let starts = term.ids.map(|id| id as usize * d);
            let [wi, wj, wk] = starts.map(|start| &w[start..start + d]);
            for (start, (one, x), (other, y)) in
                [(starts[0], (ij, wj), (ik, wk)), (starts[1], (ij, wi), (jk, wk)), (starts[2], (ik, wi), (jk, wj))]
            {
                let into = gradient[start..start + d].iter_mut();
                into.zip(x.iter().zip(y)).for_each(|(g, (x, y))| *g += one * x + other * y);
            }
        }
        total
    })
}

/// Mean loss and accuracy of terms at `w`, by their own dot products.
///
/// # Shapes
/// `w`: `[n_concepts, d]`, row by row
pub(super) fn score(w: &[f64], d: usize, terms: &[Term]) -> Option<Score> {
    let sums = |terms: &[Term]| {
        let (mut loss, mut right, mut weight) = (0.0, 0.0, 0.0);
        for term in terms {
            let similarities = similarities(w, d, term);
            let (_, nats) = softmax(similarities, term.odd as usize);
            loss += term.weight * nats;
            right += term.weight * credit(similarities, term.odd as usize);
            weight += term.weight;
        }
        [loss, right, weight]
    };
    let of_chunks: Vec<[f64; 3]> = terms.par_chunks(1 << 14).map(sums).collect();
    let [loss, right, weight] = of_chunks.iter().fold([0.0; 3], |total, sums| [0, 1, 2].map(|at| total[at] + sums[at]));
    (weight > 0.0).then(|| Score { loss: loss / weight, accuracy: right / weight })
}

/// 1 when the pair left by the odd one is the closest, its part of 1 when several are, else 0.
pub(in crate::embedding) fn credit(similarities: [f64; 3], odd: usize) -> f64 {
    let closest = similarities.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let n_closest = similarities.iter().filter(|s| **s == closest).count();
    if similarities[odd] == closest { 1.0 / n_closest as f64 } else { 0.0 }
}

/// The dot products of the pairs that are left when the concept at each place is the odd one.
#[inline(always)]
fn similarities(w: &[f64], d: usize, term: &Term) -> [f64; 3] {
    let [a, b, c] = term.ids.map(|id| &w[id as usize * d..(id as usize + 1) * d]);
    let mut lanes = [[0.0; 8]; 3];
    let whole = d / 8 * 8;
    for at in (0..whole).step_by(8) {
        let (a, b, c) = (&a[at..at + 8], &b[at..at + 8], &c[at..at + 8]);
        for lane in 0..8 {
            lanes[0][lane] += b[lane] * c[lane];
            lanes[1][lane] += a[lane] * c[lane];
            lanes[2][lane] += a[lane] * b[lane];
        }
    }
    let mut sums = lanes.map(|lanes| lanes.iter().sum::<f64>());
    for at in whole..d {
        sums[0] += b[at] * c[at];
        sums[1] += a[at] * c[at];
        sums[2] += a[at] * b[at];
    }
    sums
}

/// The probability that each place is named, and the loss (nats) when `odd` is.
#[inline(always)]
pub(in crate::embedding) fn softmax(similarities: [f64; 3], odd: usize) -> ([f64; 3], f64) {
    let closest = similarities[0].max(similarities[1]).max(similarities[2]);
    let exps = similarities.map(|s| (s - closest).exp());
    let sum = exps[0] + exps[1] + exps[2];
    (exps.map(|exp| exp / sum), sum.ln() + closest - similarities[odd])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use rand::RngExt;

    use super::*;
    use crate::seed::Streams;

    /// Random terms over all concepts, some heavier, and coordinates.
    fn example(n: usize, d: usize, n_terms: usize, size: f64) -> (Vec<Term>, Vec<f64>) {
        let mut rng = Streams::new(3, "test").rng(0);
        let mut terms: Vec<Term> = (0..n_terms)
            .map(|row| {
                let i = rng.random_range(0..n as u32 - 2);
                let j = rng.random_range(i + 1..n as u32 - 1);
                let k = rng.random_range(j + 1..n as u32);
                Term { ids: [i, j, k], odd: rng.random_range(0..3), weight: if row % 7 == 0 { 2.5 } else { 1.0 } }
            })
            .collect();
        terms.sort_by_key(|t| (t.ids, t.odd));
        let w = (0..n * d).map(|_| size * (rng.random::<f64>() - 0.2).max(0.0)).collect();
        (terms, w)
    }

    fn evaluated(n: usize, d: usize, terms: &[Term], dense: bool, w: &[f64]) -> (f64, Vec<f64>) {
        let mut gradient = vec![0.0; n * d];
        let mut likelihood = Likelihood::with_layout(n, d, terms.to_vec(), dense).unwrap();
        (likelihood.evaluate(w, &mut gradient), gradient)
    }

    #[test]
    fn one_triplet_by_hand() {
        // Dot products: 2 of (0, 1), 0 of (0, 2), 3 of (1, 2).
        let w = [1.0, 0.0, 2.0, 1.0, 0.0, 3.0];
        let term = Term { ids: [0, 1, 2], odd: 2, weight: 1.0 };
        let weights = [2.0_f64, 0.0, 3.0].map(f64::exp);
        let expected = -(weights[0] / weights.iter().sum::<f64>()).ln();
        for dense in [true, false] {
            assert!((evaluated(3, 2, &[term], dense, &w).0 - expected).abs() < 1e-15);
        }
        assert_eq!(score(&w, 2, &[term]).unwrap().accuracy, 0.0, "(1, 2) is the closest pair, 0 the odd one");
        assert_eq!(score(&w, 2, &[Term { odd: 0, ..term }]).unwrap().accuracy, 1.0);
        assert_eq!(score(&[0.0; 6], 2, &[term]).unwrap(), Score { loss: 3f64.ln(), accuracy: 1.0 / 3.0 });
    }

    #[test]
    fn both_layouts_and_the_score_agree() {
        let (n, d) = (70, 11); // more than a block
        let (terms, w) = example(n, d, 3_000, 1.0);
        let (dense, direct) = (evaluated(n, d, &terms, true, &w), evaluated(n, d, &terms, false, &w));
        assert!((dense.0 - direct.0).abs() < 1e-13 * direct.0);
        let largest = direct.1.iter().fold(0.0_f64, |most, g| most.max(g.abs()));
        assert!(dense.1.iter().zip(&direct.1).all(|(a, b)| (a - b).abs() < 1e-13 * largest));
        assert!((score(&w, d, &terms).unwrap().loss - direct.0).abs() < 1e-13);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (n, d) = (9, 4);
        let (terms, w) = example(n, d, 120, 1.0);
        let (_, gradient) = evaluated(n, d, &terms, true, &w);
        for at in 0..n * d {
            let step = 1e-5;
            let moved = |by: f64| {
                let mut w = w.clone();
                w[at] += by;
                evaluated(n, d, &terms, true, &w).0
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((slope - gradient[at]).abs() < 1e-9, "{slope} {}", gradient[at]); // rounding / step + step²
        }
    }

    #[test]
    fn far_beyond_the_range_of_the_exponential_it_is_still_exact() {
        let (n, d) = (20, 3);
        let (terms, w) = example(n, d, 400, 60.0);
        let (dense, direct) = (evaluated(n, d, &terms, true, &w), evaluated(n, d, &terms, false, &w));
        assert!(dense.0.is_finite() && dense.0 > 100.0);
        assert!((dense.0 - direct.0).abs() < 1e-12 * direct.0, "{} {}", dense.0, direct.0);
        assert!(dense.1.iter().zip(&direct.1).all(|(a, b)| (a - b).abs() < 1e-10));
    }

    #[test]
    fn large_sets_have_the_same_bits_on_any_number_of_threads() {
        let (n, d) = (150, 7);
        let (terms, w) = example(n, d, LARGE + 17, 1.0);
        for dense in [true, false] {
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| (evaluated(n, d, &terms, dense, &w), score(&w, d, &terms)))
            };
            let one = on(1);
            assert!(one == on(2) && one == on(8));
        }
    }
}
