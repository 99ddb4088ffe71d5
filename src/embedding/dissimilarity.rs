//! Dissimilarities u: functions of the squared distance, each a type so that loops are compiled for each.

use faer::traits::pulp::Simd;

use super::elementary::{ln, ln_1p};

/// A rising function of the squared distance.
pub(super) trait Dissimilarity: Copy + Send + Sync {
    /// u and du/d(dist2), both finite for every finite `dist2` of 0 or more; without branches, for the loops' sake.
    fn at<S: Simd>(self, dist2: f64) -> (f64, f64);
}

/// ln(μ + dist2).
#[derive(Clone, Copy)]
pub(super) struct Logarithm {
    pub(super) mu: f64,
}

/// Smallest argument of a logarithm of squared distances.
pub(super) const LOG_FLOOR: f64 = 1e-12;

impl Dissimilarity for Logarithm {
    #[inline(always)]
    fn at<S: Simd>(self, dist2: f64) -> (f64, f64) {
        let shifted = self.mu + dist2;
        let above = shifted > LOG_FLOOR;
        let argument = if above { shifted } else { LOG_FLOOR };
        (ln::<S>(argument), if above { 1.0 / argument } else { 0.0 })
    }
}

/// ((α + 1) / 2) ln(1 + dist2 / α).
#[derive(Clone, Copy)]
pub(super) struct StudentLogarithm {
    pub(super) alpha: f64,
}

impl Dissimilarity for StudentLogarithm {
    #[inline(always)]
    fn at<S: Simd>(self, dist2: f64) -> (f64, f64) {
        let half = 0.5 * (self.alpha + 1.0);
        // ln(α + dist2) would do for a difference, but loses digits where α is large.
        (half * ln_1p::<S>(dist2 / self.alpha), half / (self.alpha + dist2))
    }
}

/// The squared distance itself.
#[derive(Clone, Copy)]
pub(super) struct Squared;

impl Dissimilarity for Squared {
    #[inline(always)]
    fn at<S: Simd>(self, dist2: f64) -> (f64, f64) {
        (dist2, 1.0)
    }
}

/// √(dist2 + 1e-9).
#[derive(Clone, Copy)]
pub(super) struct Euclidean;

/// Added to squared distances under a root.
const SMOOTHING: f64 = 1e-9;

impl Dissimilarity for Euclidean {
    #[inline(always)]
    fn at<S: Simd>(self, dist2: f64) -> (f64, f64) {
        let dist = (dist2 + SMOOTHING).sqrt();
        (dist, 0.5 / dist)
    }
}
