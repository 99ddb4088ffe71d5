//! Batch L-BFGS with a strong-Wolfe line search.

pub mod adam;
pub mod bounded;

use std::collections::VecDeque;

use faer::traits::pulp::{Arch, Simd, WithSimd};
use serde::Serialize;

use crate::linalg::dot;

/// When to stop, and how much to remember.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Curvature pairs kept.
    pub memory: usize,
    /// Evaluations of the objective that may be spent.
    pub max_evaluations: usize,
    /// The gradient is small when its Euclidean norm is at most this.
    pub gradient_norm: f64,
    /// The objective is flat when [`FLAT_ITERATIONS`] iterations in a row each lower it by at most this share of its
    /// value.
    pub relative_decrease: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 12, max_evaluations: 1_000, gradient_norm: 1e-9, relative_decrease: 1e-7 }
    }
}

/// Iterations in a row that must be flat: one alone may be a short step on the way.
pub const FLAT_ITERATIONS: usize = 3;

/// Why the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The gradient's norm fell below its limit.
    GradientSmall,
    /// Iterations no longer lower the objective by a share that matters.
    ObjectiveFlat,
    /// The evaluations ran out first.
    MaxEvaluations,
    /// No lower point was found along the steepest descent, or the start was not finite.
    LineSearchFailed,
}

impl StopReason {
    /// Whether the search ended because it had arrived.
    pub fn converged(self) -> bool {
        matches!(self, Self::GradientSmall | Self::ObjectiveFlat)
    }
}

/// How a search went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Descent {
    /// The objective at the point returned.
    pub objective: f64,
    /// Euclidean norm of the gradient there.
    pub gradient_norm: f64,
    /// Steps taken.
    pub n_iterations: usize,
    /// Evaluations of objective and gradient.
    pub n_evaluations: usize,
    /// Why it ended.
    pub stop: StopReason,
}

/// Minimises a smooth function from `start`; returns the lowest point seen on the way and how it went.
///
/// `objective(x, gradient)` returns the value and fills in the gradient. Every accepted step lowers the objective, so
/// the last point is the best one; a point whose value or gradient is not finite is never accepted. Callers look at
/// [`Descent::stop`]: a search that did not converge is not an error here.
///
/// # Source
/// Nocedal & Wright (2006), Numerical Optimization, algorithms 7.4, 7.5 (L-BFGS), 3.5 and 3.6 (line search)
///
/// ```
/// use alike::optimize::{Limits, minimize};
/// let bowl = |x: &[f64], gradient: &mut [f64]| {
///     gradient[0] = 2.0 * (x[0] - 3.0);
///     (x[0] - 3.0).powi(2)
/// };
/// let (x, descent) = minimize(bowl, vec![0.0], &Limits::default());
/// assert!((x[0] - 3.0).abs() < 1e-8 && descent.stop.converged());
/// ```
pub fn minimize(
    mut objective: impl FnMut(&[f64], &mut [f64]) -> f64,
    start: Vec<f64>,
    limits: &Limits,
) -> (Vec<f64>, Descent) {
    let n = start.len();
    let mut here = Point { x: start, gradient: vec![0.0; n], value: 0.0 };
    here.value = objective(&here.x, &mut here.gradient);
    let mut search = Search { objective, n_evaluations: 1, max_evaluations: limits.max_evaluations };
    let mut memory = Memory { pairs: VecDeque::with_capacity(limits.memory), capacity: limits.memory };
    let (mut n_iterations, mut n_flat) = (0, 0);

    let stop = loop {
        if !here.is_finite() {
            break StopReason::LineSearchFailed; // only the start can be: steps to such points are refused
        }
        let gradient_norm = dot(&here.gradient, &here.gradient).sqrt();
        if gradient_norm <= limits.gradient_norm {
            break StopReason::GradientSmall;
        }
        if n_flat == FLAT_ITERATIONS {
            break StopReason::ObjectiveFlat;
        }
        if search.exhausted() {
            break StopReason::MaxEvaluations;
        }
        let direction = memory.direction(&here.gradient);
        // Without curvature to scale the direction, the first step is one unit long.
        let first_step = if memory.pairs.is_empty() { 1.0 / gradient_norm } else { 1.0 };
        match search.step(&here, &direction, first_step) {
            Some(next) => {
                let decrease = here.value - next.value;
                n_flat = if decrease <= limits.relative_decrease * here.value.abs() { n_flat + 1 } else { 0 };
                memory.remember(&here, &next);
                here = next;
                n_iterations += 1;
            }
            None if search.exhausted() => break StopReason::MaxEvaluations,
            // What the quadratic model promises is below rounding: nothing is left to gain.
            None if -dot(&direction, &here.gradient) <= 1e-14 * here.value.abs() => break StopReason::ObjectiveFlat,
            None if memory.pairs.is_empty() => break StopReason::LineSearchFailed,
            None => memory.pairs.clear(),
        }
    };
    let descent = Descent {
        objective: here.value,
        gradient_norm: dot(&here.gradient, &here.gradient).sqrt(),
        n_iterations,
        n_evaluations: search.n_evaluations,
        stop,
    };
    (here.x, descent)
}

struct Point {
    x: Vec<f64>,
    gradient: Vec<f64>,
    value: f64,
}

impl Point {
    fn is_finite(&self) -> bool {
        self.value.is_finite() && self.gradient.iter().all(|g| g.is_finite())
    }
}

/// The last steps and how the gradient changed over them: (s, y, 1 / sᵀy).
struct Memory {
    pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)>,
    capacity: usize,
}

impl Memory {
    /// −H g by the two-loop recursion, with H₀ = sᵀy / yᵀy of the last pair.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        Arch::new().dispatch(Direction { memory: self, gradient })
    }

    #[inline(always)]
    fn direction_here(&self, gradient: &[f64]) -> Vec<f64> {
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for (s, y, inverse) in self.pairs.iter().rev() {
            let share = inverse * dot(s, &direction);
            add_scaled(&mut direction, -share, y);
            shares.push(share);
        }
        if let Some((_, y, inverse)) = self.pairs.back() {
            let scale = 1.0 / (inverse * dot(y, y));
            direction.iter_mut().for_each(|x| *x *= scale);
        }
        for ((s, y, inverse), share) in self.pairs.iter().zip(shares.iter().rev()) {
            let correction = share - inverse * dot(y, &direction);
            add_scaled(&mut direction, correction, s);
        }
        direction
    }

    /// Keeps the pair if its curvature is positive, which keeps H positive definite.
    fn remember(&mut self, from: &Point, to: &Point) {
        let s: Vec<f64> = to.x.iter().zip(&from.x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = to.gradient.iter().zip(&from.gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&s, &y);
        if curvature > 1e-10 * (dot(&s, &s) * dot(&y, &y)).sqrt() {
            if self.pairs.len() == self.capacity {
                self.pairs.pop_front();
            }
            self.pairs.push_back((s, y, 1.0 / curvature));
        }
    }
}

/// [`Memory::direction`], compiled for the processor's vectors.
struct Direction<'a> {
    memory: &'a Memory,
    gradient: &'a [f64],
}

impl WithSimd for Direction<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f64> {
        self.memory.direction_here(self.gradient)
    }
}

#[inline(always)]
fn add_scaled(x: &mut [f64], scale: f64, y: &[f64]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += scale * y;
    }
}

/// Armijo's constant: a step must lower the objective by this share of what its slope promises.
const SUFFICIENT_DECREASE: f64 = 1e-4;
/// The curvature constant: the slope must shrink to this share. Loose, as quasi-Newton directions want it.
const CURVATURE: f64 = 0.9;
/// Evaluations that one line search may spend.
const MAX_TRIALS: usize = 20;

/// A trial along the direction: how far, and the value and slope there.
#[derive(Clone, Copy)]
struct Trial {
    t: f64,
    value: f64,
    slope: f64,
}

struct Search<F> {
    objective: F,
    n_evaluations: usize,
    max_evaluations: usize,
}

impl<F: FnMut(&[f64], &mut [f64]) -> f64> Search<F> {
    fn exhausted(&self) -> bool {
        self.n_evaluations >= self.max_evaluations
    }

    /// A point along `direction` that satisfies the strong Wolfe conditions, or failing that the lowest trial with
    /// sufficient decrease; nothing when no trial has it.
    fn step(&mut self, here: &Point, direction: &[f64], first_step: f64) -> Option<Point> {
        let slope = dot(&here.gradient, direction);
        if slope.partial_cmp(&0.0) != Some(std::cmp::Ordering::Less) {
            return None;
        }
        let start = Trial { t: 0.0, value: here.value, slope };
        // `low` is the best trial with sufficient decrease; `high` bounds the interval that holds a Wolfe point, once
        // there is one.
        let (mut low, mut high) = (start, None::<Trial>);
        let mut best: Option<Point> = None;
        let mut t = first_step;
        for _ in 0..MAX_TRIALS {
            if self.exhausted() {
                break;
            }
            let point = self.evaluate(here, direction, t);
            if !point.is_finite() {
                // Out of the domain: an upper bound with no usable value or slope, so the interval is halved.
                high = Some(Trial { t, value: f64::INFINITY, slope: f64::NAN });
            } else {
                let trial = Trial { t, value: point.value, slope: dot(&point.gradient, direction) };
                if trial.value > start.value + SUFFICIENT_DECREASE * t * slope || trial.value >= low.value {
                    high = Some(trial);
                } else {
                    if trial.slope.abs() <= -CURVATURE * slope {
                        return Some(point);
                    }
                    // The minimum lies on the side that the slope falls towards.
                    let ahead = if low.t <= t { 1.0 } else { -1.0 };
                    if trial.slope * ahead >= 0.0 {
                        high = Some(low);
                    }
                    low = trial;
                    best = Some(point);
                }
            }
            t = match high {
                None => 4.0 * t,
                Some(high) if (high.t - low.t).abs() <= 1e-14 * low.t.max(high.t) => break,
                Some(high) => between(low, high),
            };
        }
        best
    }

    fn evaluate(&mut self, here: &Point, direction: &[f64], t: f64) -> Point {
        let x: Vec<f64> = here.x.iter().zip(direction).map(|(x, d)| x + t * d).collect();
        let mut gradient = vec![0.0; x.len()];
        let value = (self.objective)(&x, &mut gradient);
        self.n_evaluations += 1;
        Point { x, gradient, value }
    }
}

/// The minimum of the cubic through two trials, kept inside the middle 80 % of the interval; its midpoint when there is
/// no such cubic.
fn between(low: Trial, high: Trial) -> f64 {
    let span = high.t - low.t;
    let d1 = low.slope + high.slope - 3.0 * (high.value - low.value) / span;
    let root = (d1 * d1 - low.slope * high.slope).sqrt().copysign(span);
    let share = 1.0 - (high.slope + root - d1) / (high.slope - low.slope + 2.0 * root);
    let share = if share.is_finite() { share.clamp(0.1, 0.9) } else { 0.5 };
    low.t + share * span
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut value = 0.0;
        for i in 0..x.len() - 1 {
            let (valley, offset) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
            value += 100.0 * valley * valley + offset * offset;
            gradient[i] -= 400.0 * valley * x[i] + 2.0 * offset;
            gradient[i + 1] += 200.0 * valley;
        }
        value
    }

    #[test]
    fn finds_the_bottom_of_a_curved_valley() {
        let limits = Limits { relative_decrease: 0.0, ..Limits::default() };
        let (x, descent) = minimize(rosenbrock, vec![-1.2; 10], &limits);
        assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-8), "{descent:?}");
        assert!(descent.stop.converged() && descent.n_evaluations < 200, "{descent:?}");
    }

    #[test]
    fn stops_at_the_evaluation_limit_with_a_lower_point() {
        let limits = Limits { max_evaluations: 7, ..Limits::default() };
        let (x, descent) = minimize(rosenbrock, vec![-1.2; 4], &limits);
        assert_eq!((descent.stop, descent.n_evaluations), (StopReason::MaxEvaluations, 7));
        let mut gradient = vec![0.0; 4];
        assert_eq!(descent.objective, rosenbrock(&x, &mut gradient));
        assert!(descent.objective < rosenbrock(&[-1.2; 4], &mut gradient));
    }

    #[test]
    fn backs_out_of_places_where_the_objective_is_not_finite() {
        // −ln x + x is NaN for negative x, which the first unit step from 0.01 does not reach but later ones may.
        let barrier = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = 1.0 - 1.0 / x[0];
            x[0] - x[0].ln()
        };
        for start in [1e-6, 0.01, 1.5, 300.0] {
            let (x, descent) = minimize(barrier, vec![start], &Limits::default());
            assert!((x[0] - 1.0).abs() < 1e-4 && descent.stop.converged(), "{start}: {descent:?}");
        }
    }

    #[test]
    fn a_wrong_gradient_or_start_is_reported_not_passed_on() {
        let uphill = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = -2.0 * x[0];
            x[0] * x[0]
        };
        let (x, descent) = minimize(uphill, vec![1.0], &Limits::default());
        assert_eq!((x[0], descent.stop), (1.0, StopReason::LineSearchFailed));
        let (_, descent) = minimize(|_: &[f64], _: &mut [f64]| f64::NAN, vec![1.0], &Limits::default());
        assert_eq!(descent.stop, StopReason::LineSearchFailed);
    }
}
