//! How the answers held out fared while a fit was on its way: what tells overfitting from bad luck.

use faer::traits::pulp::{Arch, Simd, WithSimd};
use faer::{Mat, MatRef};
use rayon::prelude::*;
use serde::Serialize;

use super::dissimilarity::Dissimilarity;
use super::link::LinkSum;
use super::loss::WithLoss;
use super::{Comparison, Loss};
use crate::linalg::product_into;

/// A fit after some of its evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Evaluations of the objective so far.
    pub n_evaluations: usize,
    /// The lowest objective among them, in the unit of [`super::Loss`].
    pub objective: f64,
    /// Mean loss on the held-out comparisons there, in the unit of [`super::Loss`]; none when nothing is held out.
    pub heldout_loss: Option<f64>,
    /// Triplet accuracy on the held-out comparisons there; none when none of them has a side.
    pub heldout_accuracy: Option<f64>,
}

/// The lowest points of one descent after 1, 2, … 8, 10, 12, 14, 16, 20, … evaluations.
///
/// Four to an octave: what changes, changes early, and reporting on a fit must cost little beside the fit.
pub(super) struct Trace {
    n_evaluations: usize,
    best: f64,
    x: Vec<f64>,
    rungs: Vec<Rung>,
}

struct Rung {
    n_evaluations: usize,
    objective: f64,
    x: Vec<f64>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { n_evaluations: 0, best: f64::INFINITY, x: vec![], rungs: vec![] }
    }

    /// Takes note of one evaluation.
    pub(super) fn saw(&mut self, x: &[f64], objective: f64) {
        self.n_evaluations += 1;
        if objective < self.best {
            self.best = objective;
            self.x.clear();
            self.x.extend_from_slice(x);
        }
        let quarter_octave = (1 << self.n_evaluations.ilog2() >> 2).max(1);
        if self.n_evaluations.is_multiple_of(quarter_octave) && !self.x.is_empty() {
            self.rungs.push(Rung { n_evaluations: self.n_evaluations, objective: self.best, x: self.x.clone() });
        }
    }

    /// The curve up to the point that the descent returned, each rung scored on the answers held out.
    ///
    /// # Shapes
    /// `end`: `[n_concepts, dims]`, column by column
    pub(super) fn curve(
        mut self,
        end: &[f64],
        objective: f64,
        loss: Loss,
        n_concepts: usize,
        heldout: &[Comparison],
    ) -> Vec<CurvePoint> {
        self.rungs.retain(|rung| rung.n_evaluations < self.n_evaluations);
        self.rungs.push(Rung { n_evaluations: self.n_evaluations, objective, x: end.to_vec() });
        // Sums are the same in whatever order the answers came.
        let mut heldout = heldout.to_vec();
        heldout.sort_unstable_by(|a, b| {
            let key = |c: &Comparison| (c.anchor, c.first, c.second);
            key(a).cmp(&key(b)).then(a.p_first.total_cmp(&b.p_first)).then(a.weight.total_cmp(&b.weight))
        });
        let point = |rung: &Rung| {
            let coordinates = MatRef::from_column_major_slice(&rung.x, n_concepts, rung.x.len() / n_concepts);
            let (heldout_loss, heldout_accuracy) = loss.visit(Scoring { coordinates, answers: &heldout });
            let (n_evaluations, objective) = (rung.n_evaluations, rung.objective);
            CurvePoint { n_evaluations, objective, heldout_loss, heldout_accuracy }
        };
        self.rungs.par_iter().map(point).collect()
    }
}

/// Mean loss and triplet accuracy of coordinates, each none where there is nothing to average.
///
/// Distances come from a Gram matrix, as in the fit: options that are equally far up to rounding may count as right or
/// wrong where [`super::triplet_accuracy`] counts one half.
struct Scoring<'a> {
    coordinates: MatRef<'a, f64>,
    answers: &'a [Comparison],
}

impl WithLoss for Scoring<'_> {
    type Output = (Option<f64>, Option<f64>);

    fn with<U: Dissimilarity, L: LinkSum>(self, u: U, no_terms: L) -> Self::Output {
        Arch::new().dispatch(Score { of: self, u, no_terms })
    }
}

/// [`Scoring`], compiled for each vector extension: see the objective's `Evaluate` for why a loop after a product should be.
struct Score<'a, U, L> {
    of: Scoring<'a>,
    u: U,
    no_terms: L,
}

impl<U: Dissimilarity, L: LinkSum> WithSimd for Score<'_, U, L> {
    type Output = (Option<f64>, Option<f64>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Scoring { coordinates, answers } = self.of;
        let n = coordinates.nrows();
        let mut u = Mat::zeros(n, n);
        product_into(u.as_mut(), coordinates, coordinates.transpose());
        let squared_norms: Vec<f64> = (0..n).map(|i| u[(i, i)]).collect();
        for j in 0..n {
            let column = u.col_as_slice_mut(j);
            for (value, squared_norm) in column.iter_mut().zip(&squared_norms) {
                *value = (squared_norm + squared_norms[j] - 2.0 * *value).max(0.0);
            }
            column.iter_mut().for_each(|value| *value = self.u.at(*value).0);
        }
        let (mut sum, mut right, mut total, mut total_with_side) = (self.no_terms, 0.0, 0.0, 0.0);
        for c in answers {
            let u = u.col_as_slice(c.anchor as usize);
            let z = u[c.first as usize] - u[c.second as usize];
            sum.add(z, c.p_first, c.weight);
            total += c.weight;
            if c.p_first != 0.5 {
                let ahead = if c.p_first > 0.5 { -z } else { z };
                right += c.weight * if ahead == 0.0 { 0.5 } else { f64::from(u8::from(ahead > 0.0)) };
                total_with_side += c.weight;
            }
        }
        let mean = |sum: f64, weight: f64| (weight > 0.0).then(|| sum / weight);
        (mean(sum.total(), total), mean(right, total_with_side))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rungs_hold_the_lowest_point_so_far() {
        // Points 0, x and 3 on a line: the answer is that 0 is nearer to x than to 3.
        let heldout = [Comparison { triplet: 0, anchor: 0, first: 1, second: 2, p_first: 1.0, weight: 1.0 }];
        let mut trace = Trace::new();
        for x in [5.0, 4.0, 9.0, 2.0, 8.0, 1.0, 7.0, 6.0, 6.0, 6.0, 6.0] {
            trace.saw(&[0.0, x, 3.0], if x == 7.0 { f64::NAN } else { x });
        }
        let curve = trace.curve(&[0.0, 1.0, 3.0], 1.0, Loss::Ste, 3, &heldout);
        let seen: Vec<_> = curve.iter().map(|p| (p.n_evaluations, p.objective, p.heldout_accuracy.unwrap())).collect();
        let lowest = [5.0_f64, 4.0, 4.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let expected = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11].into_iter().zip(lowest);
        assert_eq!(seen, expected.map(|(n, x)| (n, x, f64::from(u8::from(x < 3.0)))).collect::<Vec<_>>());
        for (point, x) in curve.iter().zip(lowest) {
            let expected = (x * x - 9.0).exp().ln_1p();
            assert!((point.heldout_loss.unwrap() - expected).abs() < 1e-12, "{point:?}, expected {expected}");
        }
    }

    #[test]
    fn nothing_held_out_leaves_the_objective() {
        let mut trace = Trace::new();
        trace.saw(&[0.0, 1.0, 3.0], 2.0);
        let curve = trace.curve(&[0.0, 1.0, 3.0], 2.0, Loss::Ste, 3, &[]);
        assert_eq!(
            curve,
            [CurvePoint { n_evaluations: 1, objective: 2.0, heldout_loss: None, heldout_accuracy: None }]
        );
    }
}
