//! Links ℓ: what a difference of dissimilarities costs, each a type so that the loop over terms is compiled for each.

use faer::traits::pulp::Simd;

use super::elementary::{exp_of_negative, ln};
use crate::linalg::dot;

/// Terms that a link takes at once, at most.
pub(super) const CHUNK: usize = 256;

/// A cost of z, for runs of at most [`CHUNK`] terms.
pub(super) trait Link: Copy + Send + Sync {
    /// Σ w (p ℓ(z) + (1 − p) ℓ(−z)); leaves w (p ℓ′(z) − (1 − p) ℓ′(−z)) in the place of z.
    fn cost<S: Simd>(self, z: &mut [f64], p_first: &[f64], weight: &[f64]) -> f64;
}

/// ℓ(z) = ln(1 + e^z), so that a term is softplus(z) − (1 − p) z.
#[derive(Clone, Copy)]
pub(super) struct Logistic;

impl Link for Logistic {
    #[inline(always)]
    fn cost<S: Simd>(self, z: &mut [f64], p_first: &[f64], weight: &[f64]) -> f64 {
        let (mut factors, mut linear) = ([1.0; CHUNK], [0.0; CHUNK]);
        let (factors, linear) = (&mut factors[..z.len()], &mut linear[..z.len()]);
        for ((z, (p_first, weight)), (factor, linear)) in
            z.iter_mut().zip(p_first.iter().zip(weight)).zip(factors.iter_mut().zip(linear.iter_mut()))
        {
            let small = exp_of_negative::<S>(-z.abs()); // in (0, 1]: neither branch below can overflow
            let off = 1.0 - p_first;
            *factor = 1.0 + small;
            *linear = if *z > 0.0 { *z } else { 0.0 } - off * *z;
            let p_second = if *z > 0.0 { 1.0 } else { small } / *factor;
            *z = weight * (p_second - off);
        }
        // Σ w ln(1 + small) is w ln Π(1 + small) where the weights are equal: one logarithm for all of them.
        let logarithms = if all_equal(weight) {
            weight.first().map_or(0.0, |w| w * ln::<S>(product(factors)))
        } else {
            factors.iter_mut().for_each(|factor| *factor = ln::<S>(*factor));
            dot(weight, factors)
        };
        dot(weight, linear) + logarithms
    }
}

/// Whether all are the same; without a way out before the end, so that it is compiled to vector instructions.
#[inline(always)]
pub(super) fn all_equal(numbers: &[f64]) -> bool {
    numbers.iter().fold(true, |so_far, number| so_far & (*number == numbers[0]))
}

/// The product of at most [`CHUNK`] factors between 1 and 2, which is at most 2^[`CHUNK`].
#[inline(always)]
fn product(factors: &[f64]) -> f64 {
    let mut lanes = [1.0; 8];
    let chunks = factors.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().product();
    for chunk in chunks {
        for lane in 0..8 {
            lanes[lane] *= chunk[lane];
        }
    }
    lanes.iter().product::<f64>() * rest
}

/// ℓ(z) = max(0, margin + z).
#[derive(Clone, Copy)]
pub(super) struct Hinge {
    pub(super) margin: f64,
}

impl Link for Hinge {
    #[inline(always)]
    fn cost<S: Simd>(self, z: &mut [f64], p_first: &[f64], weight: &[f64]) -> f64 {
        let slope = |excess: f64| if excess > 0.0 { 1.0 } else { 0.0 };
        each(z, p_first, weight, |z, p_first| {
            let (p_second, short, over) = (1.0 - p_first, self.margin + z, self.margin - z);
            let cost = p_first * positive(short) + p_second * positive(over);
            (cost, p_first * slope(short) - p_second * slope(over))
        })
    }
}

/// ℓ(z) = max(0, margin + z)².
#[derive(Clone, Copy)]
pub(super) struct SquaredHinge {
    pub(super) margin: f64,
}

impl Link for SquaredHinge {
    #[inline(always)]
    fn cost<S: Simd>(self, z: &mut [f64], p_first: &[f64], weight: &[f64]) -> f64 {
        each(z, p_first, weight, |z, p_first| {
            let (p_second, short, over) = (1.0 - p_first, positive(self.margin + z), positive(self.margin - z));
            let cost = p_first * short * short + p_second * over * over;
            (cost, 2.0 * (p_first * short - p_second * over))
        })
    }
}

#[inline(always)]
fn positive(x: f64) -> f64 {
    if x > 0.0 { x } else { 0.0 }
}

/// [`Link::cost`] from the cost and derivative of a term of weight 1.
#[inline(always)]
fn each(z: &mut [f64], p_first: &[f64], weight: &[f64], term: impl Fn(f64, f64) -> (f64, f64)) -> f64 {
    let mut costs = [0.0; CHUNK];
    let costs = &mut costs[..z.len()];
    for ((z, cost), (p_first, weight)) in z.iter_mut().zip(costs.iter_mut()).zip(p_first.iter().zip(weight)) {
        let (value, derivative) = term(*z, *p_first);
        (*cost, *z) = (value, weight * derivative);
    }
    dot(weight, costs)
}
