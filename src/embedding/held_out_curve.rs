//! How the answers held out fared while a fit was on its way: what tells overfitting from bad luck.

use faer::MatRef;
use rayon::prelude::*;
use serde::Serialize;

use super::Comparison;
use super::accuracy::accuracy_of;
use super::objective::Objective;

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

    /// The curve up to the point that the descent returned, each rung scored on the answers held out, of which `loss` has
    /// those with a weight.
    ///
    /// # Shapes
    /// `end`: `[n_concepts, dims]`, column by column
    pub(super) fn curve<'a>(
        mut self,
        end: &[f64],
        objective: f64,
        n_concepts: usize,
        loss: Option<&Objective>,
        held_out: impl Iterator<Item = &'a Comparison> + Clone + Sync,
    ) -> Vec<CurvePoint> {
        self.rungs.retain(|rung| rung.n_evaluations < self.n_evaluations);
        self.rungs.push(Rung { n_evaluations: self.n_evaluations, objective, x: end.to_vec() });
        let point = |rung: &Rung| {
            let coordinates = MatRef::from_column_major_slice(&rung.x, n_concepts, rung.x.len() / n_concepts);
            let share = accuracy_of(coordinates, held_out.clone()).share;
            CurvePoint {
                n_evaluations: rung.n_evaluations,
                objective: rung.objective,
                heldout_loss: loss.map(|loss| loss.clone().value(&rung.x)),
                heldout_accuracy: share.is_finite().then_some(share),
            }
        };
        self.rungs.par_iter().map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::embedding::Loss;

    #[test]
    fn rungs_hold_the_lowest_point_so_far() {
        // Points 0, x and 3 on a line: the answer is that 0 is nearer to x than to 3.
        let heldout = [Comparison { triplet: 0, anchor: 0, first: 1, second: 2, p_first: 1.0, weight: 1.0 }];
        let loss = Objective::new(Loss::Ste, 0.0, 3, 1, &heldout).unwrap();
        let mut trace = Trace::new();
        for x in [5.0, 4.0, 9.0, 2.0, 8.0, 1.0, 7.0, 6.0, 6.0, 6.0, 6.0] {
            trace.saw(&[0.0, x, 3.0], if x == 7.0 { f64::NAN } else { x });
        }
        let curve = trace.curve(&[0.0, 1.0, 3.0], 1.0, 3, Some(&loss), heldout.iter());
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
        let curve = trace.curve(&[0.0, 1.0, 3.0], 2.0, 3, None, [].iter());
        assert_eq!(
            curve,
            [CurvePoint { n_evaluations: 1, objective: 2.0, heldout_loss: None, heldout_accuracy: None }]
        );
    }
}
