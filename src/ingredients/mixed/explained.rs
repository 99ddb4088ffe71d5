//! How much of the response's variance a mixed model explains.

use super::super::design::Design;
use super::Fit;
use crate::stats::mean;

/// Shares of the variance; each between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Explained {
    /// By the fixed effects.
    pub marginal: f64,
    /// By fixed and random effects.
    pub conditional: f64,
}

/// Nakagawa's marginal and conditional R².
///
/// marginal = f / (f + r + σ²), conditional = (f + r) / (f + r + σ²), where f = var(Xβ) over the rows (ddof 0) and r is the mean
/// over rows of zᵀΣz, which is the sum of the variances when there are random intercepts alone.
///
/// # Source
/// Nakagawa & Schielzeth (2013), Methods in Ecology and Evolution 4; Johnson (2014), the same, 5 (random slopes)
pub fn explained(design: &Design, fit: &Fit) -> Explained {
    let n = fit.n as f64;
    let fixed: Vec<f64> =
        (0..fit.n).map(|i| fit.beta.iter().enumerate().map(|(k, beta)| design.x[(i, k)] * beta).sum()).collect();
    let centre = mean(&fixed);
    let f = fixed.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / n;
    let mut r = 0.0;
    for (effects, component) in design.random.iter().zip(&fit.components) {
        let k = component.sds.len();
        for (a, b) in (0..k).flat_map(|a| (0..k).map(move |b| (a, b))) {
            // An effect that does not vary has no correlations.
            let size = component.sds[a] * component.sds[b];
            let covariance = if size == 0.0 { 0.0 } else { size * component.correlations[(a, b)] };
            r += covariance * (0..fit.n).map(|i| effects.z[(i, a)] * effects.z[(i, b)]).sum::<f64>() / n;
        }
    }
    let total = f + r + fit.sigma.powi(2);
    Explained { marginal: f / total, conditional: (f + r) / total }
}
