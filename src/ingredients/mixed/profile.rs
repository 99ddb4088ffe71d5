//! Intervals: Wald's, and those of the profiled likelihood.

use super::super::design::Design;
use super::super::root::root;
use super::deviance::Problem;
use super::satterthwaite::coefficient_tests;
use super::{Fit, Method, Optimum, descended, fit, norm, optimum, starts_near};
use crate::error::Result;
use crate::stats::student_quantile;

/// An estimate and where it may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// Name of the parameter, as in [`Fit::parameters`].
    pub name: String,
    /// Its estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Intervals of the fixed effects from their standard errors and Satterthwaite's degrees of freedom.
///
/// β ± t se
///
/// # Errors
/// as for [`coefficient_tests`]
pub fn wald(design: &Design, fit: &Fit, level: f64) -> Result<Vec<Interval>> {
    let interval = |test: &super::satterthwaite::CoefficientTest| {
        let reach = student_quantile(0.5 + 0.5 * level, Some(test.df)) * test.standard_error;
        let (low, high) = (test.estimate - reach, test.estimate + reach);
        Interval { name: test.name.clone(), estimate: test.estimate, low, high }
    };
    Ok(coefficient_tests(design, fit)?.iter().map(interval).collect())
}

/// Intervals of all parameters from the profiled likelihood.
///
/// The ends are where the deviance, minimised over all other parameters, is z² above its minimum, z the normal quantile of the
/// level. By maximum likelihood throughout, as lme4 does, since restricted likelihoods of models with other fixed effects
/// cannot be compared; the estimates given are those too. A standard deviation whose profile does not rise enough towards zero
/// begins at zero, and a correlation ends at ±1 likewise. Correlations are profiled in random terms with two effects; those of
/// larger terms are left to the bootstrap and not listed.
///
/// # Errors
/// as for [`fit`]
/// # Source
/// Bates, Mächler, Bolker & Walker (2015), section 5.1
pub fn profile(design: &Design, level: f64) -> Result<Vec<Interval>> {
    let ml = fit(design, Method::Ml)?;
    let problem = Problem::new(design);
    let z2 = student_quantile(0.5 + 0.5 * level, None).powi(2);
    let whole = Whole { theta: problem.scaled(&ml.theta), sigma: ml.sigma, limit: ml.deviance() + z2, problem };
    let mut intervals = vec![];
    let interval = |name: String, estimate, (low, high)| Interval { name, estimate, low, high };
    for (k, name) in ml.columns.iter().enumerate() {
        let reach = z2.sqrt() * ml.standard_errors[k];
        let above = |value: f64| whole.holding(k, value) - whole.limit;
        let ends = (end(above, ml.beta[k], -reach), end(above, ml.beta[k], reach));
        intervals.push(interval(name.clone(), ml.beta[k], ends));
    }
    for (at, component) in ml.components.iter().enumerate() {
        let (group, columns, n_effects) = (&component.group, &component.columns, component.columns.len());
        for (i, column) in columns.iter().enumerate() {
            let scale = whole.problem.scales[at][i];
            let held = Held::Sd { block: at, row: i };
            let above = |sd: f64| whole.with(held, sd * scale) - whole.limit;
            let sd = component.sds[i];
            let step = sd.max(0.1 * ml.sigma / scale);
            let low = if sd == 0.0 || above(0.0) <= 0.0 { 0.0 } else { root(above, 0.0, sd, TOLERANCE * step) };
            intervals.push(interval(format!("sd({column} | {group})"), sd, (low, end(above, sd, step))));
            if n_effects == 2 && i == 1 {
                let above = |r: f64| whole.with(Held::Correlation { block: at }, r) - whole.limit;
                let r = component.correlations[(1, 0)];
                let side = |edge: f64| {
                    let inside = edge * ALMOST_ONE;
                    if r.is_nan() || r * edge >= ALMOST_ONE || above(inside) <= 0.0 {
                        edge
                    } else {
                        root(above, r, inside, TOLERANCE)
                    }
                };
                intervals.push(interval(
                    format!("cor({}, {column} | {group})", columns[0]),
                    r,
                    (side(-1.0), side(1.0)),
                ));
            }
        }
    }
    let above = |log: f64| whole.with(Held::Residual, log.exp()) - whole.limit;
    let ends = (end(above, ml.sigma.ln(), -0.3).exp(), end(above, ml.sigma.ln(), 0.3).exp());
    intervals.push(interval("sigma".to_owned(), ml.sigma, ends));
    Ok(intervals)
}

/// Of an interval's end, as a share of the step there.
const TOLERANCE: f64 = 1e-8;
/// A correlation next to the edge, at which one effect follows from the other.
const ALMOST_ONE: f64 = 1.0 - 1e-9;

/// Where a function that is below zero at `from` first rises above, searched in steps that double.
fn end(mut above: impl FnMut(f64) -> f64, from: f64, step: f64) -> f64 {
    let (mut inside, mut reach) = (from, step);
    while above(from + reach) < 0.0 {
        inside = from + reach;
        reach *= 2.0;
    }
    root(above, inside, from + reach, TOLERANCE * step.abs())
}

/// A variance parameter whose value is given.
#[derive(Clone, Copy)]
enum Held {
    /// The standard deviation of an effect, in the problem's scale.
    Sd { block: usize, row: usize },
    /// The correlation of the two effects of a block.
    Correlation { block: usize },
    /// σ
    Residual,
}

/// The model at its maximum of the likelihood.
struct Whole {
    problem: Problem,
    theta: Vec<f64>,
    sigma: f64,
    /// The deviance at the ends of the intervals.
    limit: f64,
}

impl Whole {
    /// The lowest deviance with one coefficient given.
    fn holding(&self, k: usize, value: f64) -> f64 {
        let problem = self.problem.holding(k, value);
        let Optimum { deviance, .. } = optimum(&problem, Method::Ml, &starts_near(&problem, &self.theta));
        deviance
    }

    /// The lowest deviance with one variance parameter given.
    ///
    /// The search is over all entries of θ, of which the held block's row is replaced: for an sd the row keeps its direction
    /// alone and takes the length sd / σ, for a correlation it keeps its length alone. σ is searched as its logarithm, or is at
    /// its best for a correlation.
    fn with(&self, held: Held, value: f64) -> f64 {
        let n_theta = self.theta.len();
        let objective = |v: &[f64], gradient: &mut [f64]| {
            let mut theta = v[..n_theta].to_vec();
            let mut sigma = v[n_theta].exp();
            match held {
                Held::Residual => sigma = value,
                Held::Sd { block, row } => {
                    let range = self.row(block, row);
                    let length = norm(&v[range.clone()]);
                    theta[range].iter_mut().for_each(|entry| *entry *= value / sigma / length);
                }
                Held::Correlation { block } => {
                    let range = self.row(block, 1);
                    let length = norm(&v[range.clone()]);
                    let sign = v[self.problem.blocks[block].at(0, 0)].signum();
                    let direction = [sign * value, (1.0 - value * value).sqrt()];
                    theta[range].iter_mut().zip(direction).for_each(|(entry, part)| *entry = length * part);
                }
            }
            if let Held::Correlation { block } = held {
                let deviance = self.problem.profiled(&theta, &mut gradient[..n_theta], Method::Ml);
                gradient[n_theta] = 0.0;
                // The row moves with its length alone.
                let range = self.row(block, 1);
                let length = norm(&v[range.clone()]);
                let along: f64 = range.clone().map(|at| gradient[at] * theta[at] / length).sum();
                range.for_each(|at| gradient[at] = along * v[at] / length);
                return deviance;
            }
            let deviance = self.problem.at_sigma(&theta, sigma, gradient, Method::Ml);
            match held {
                Held::Sd { block, row } => {
                    let range = self.row(block, row);
                    let length = norm(&v[range.clone()]);
                    let along: f64 = range.clone().map(|at| gradient[at] * v[at] / length).sum();
                    // σ shortens the row; of the row its direction alone counts.
                    let by_length: f64 = range.clone().map(|at| gradient[at] * theta[at]).sum();
                    gradient[n_theta] = sigma * gradient[n_theta] - by_length;
                    let size = value / sigma / length;
                    range.for_each(|at| gradient[at] = size * (gradient[at] - along * v[at] / length));
                }
                _ => gradient[n_theta] = 0.0,
            }
            deviance
        };
        let lowest = |mut start: Vec<f64>| {
            start.push(self.sigma.ln());
            descended(&self.problem, objective, start).1
        };
        starts_near(&self.problem, &self.theta).into_iter().map(lowest).fold(f64::INFINITY, f64::min)
    }

    /// Where a row of a block's triangle lies in θ.
    fn row(&self, block: usize, row: usize) -> std::ops::Range<usize> {
        let block = &self.problem.blocks[block];
        block.at(row, 0)..block.at(row, row) + 1
    }
}
