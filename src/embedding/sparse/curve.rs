//! How a fit went on the way: the objective, and the held-out answers that it never sees.

use super::likelihood::score;
use super::terms::Term;
use crate::embedding::CurvePoint;

/// Collects points at iterations that lie further and further apart, some thirty for a thousand iterations.
pub(super) struct Curve<'a> {
    heldout: &'a [Term],
    n_dims: usize,
    next: usize,
    pub(super) points: Vec<CurvePoint>,
}

impl<'a> Curve<'a> {
    pub(super) fn new(heldout: &'a [Term], n_dims: usize) -> Self {
        Self { heldout, n_dims, next: 0, points: vec![] }
    }

    /// A curve without points, for fits that nobody reads about.
    pub(super) fn none() -> Self {
        Self { heldout: &[], n_dims: 1, next: usize::MAX, points: vec![] }
    }

    pub(super) fn offer(&mut self, iteration: usize, n_evaluations: usize, w: &[f64], objective: f64) {
        if iteration < self.next {
            return;
        }
        self.next = iteration + 1 + iteration / 4;
        let score = score(w, self.n_dims, self.heldout);
        self.points.push(CurvePoint {
            n_evaluations,
            objective,
            heldout_loss: score.map(|score| score.loss),
            heldout_accuracy: score.map(|score| score.accuracy),
        });
    }
}
