//! Batch L-BFGS over the non-negative orthant.

use std::collections::VecDeque;

use super::{Descent, FLAT_ITERATIONS, Limits, StopReason};
use crate::linalg::dot;

/// Minimises a smooth function over x ≥ 0 from `start`; returns the lowest point seen, which is the last, and how it went.
///
/// Two-metric projection: entries at zero that the gradient holds there stay; the others take a quasi-Newton step, whose
/// L-BFGS memory is restricted to them, and are projected back onto x ≥ 0; the step is halved until the objective falls by a
/// share of what its slope promises. `objective(x, gradient)` returns the value and fills in the gradient;
/// `on_step(iteration, evaluations, x, value)` is told of the start (iteration 0) and of each accepted point. In the record
/// the gradient's norm is that of the projected gradient, which is zero where the conditions for a minimum hold.
///
/// # Source
/// Bertsekas (1982), Projected Newton methods for optimization problems with simple constraints; Nocedal & Wright (2006),
/// algorithm 7.4
///
/// ```
/// use alike::optimize::{Limits, bounded};
/// // The bottom of the bowl is at (3, −1); with x ≥ 0 it is at (3, 0).
/// let bowl = |x: &[f64], gradient: &mut [f64]| {
///     (gradient[0], gradient[1]) = (2.0 * (x[0] - 3.0), 2.0 * (x[1] + 1.0));
///     (x[0] - 3.0).powi(2) + (x[1] + 1.0).powi(2)
/// };
/// let (x, descent) = bounded::minimize(bowl, vec![1.0, 1.0], &Limits::default(), |_, _, _, _| ());
/// assert!((x[0] - 3.0).abs() < 1e-8 && x[1] == 0.0 && descent.stop.converged());
/// ```
pub fn minimize(
    mut objective: impl FnMut(&[f64], &mut [f64]) -> f64,
    start: Vec<f64>,
    limits: &Limits,
    mut on_step: impl FnMut(usize, usize, &[f64], f64),
) -> (Vec<f64>, Descent) {
    let mut x: Vec<f64> = start.into_iter().map(|x| x.max(0.0)).collect();
    let mut gradient = vec![0.0; x.len()];
    let mut value = objective(&x, &mut gradient);
    let (mut next_x, mut next_gradient) = (x.clone(), gradient.clone());
    let mut memory = Memory { pairs: VecDeque::with_capacity(limits.memory), capacity: limits.memory };
    let (mut n_iterations, mut n_evaluations, mut n_flat) = (0, 1, 0);
    on_step(0, 1, &x, value);

    let (stop, norm) = loop {
        // 1 where the entry may move, 0 where the bound and the gradient hold it.
        let free: Vec<f64> =
            x.iter().zip(&gradient).map(|(&x, &g)| if x > 0.0 || g < 0.0 { 1.0 } else { 0.0 }).collect();
        let norm = masked_dot(&free, &gradient, &gradient).sqrt();
        if !(value.is_finite() && norm.is_finite()) {
            break (StopReason::LineSearchFailed, norm); // only the start can be: steps to such points are refused
        }
        if norm <= limits.gradient_norm {
            break (StopReason::GradientSmall, norm);
        }
        if n_flat == FLAT_ITERATIONS {
            break (StopReason::ObjectiveFlat, norm);
        }
        let direction = memory.direction(&gradient, &free);
        let mut step = if memory.pairs.is_empty() { 1.0 / norm } else { 1.0 };
        let mut accepted = None;
        for _ in 0..MAX_TRIALS {
            if n_evaluations >= limits.max_evaluations {
                break;
            }
            for ((next, x), d) in next_x.iter_mut().zip(&x).zip(&direction) {
                *next = (x + step * d).max(0.0);
            }
            let trial = objective(&next_x, &mut next_gradient);
            n_evaluations += 1;
            let promised: f64 = gradient.iter().zip(next_x.iter().zip(&x)).map(|(g, (next, x))| g * (next - x)).sum();
            let falls = trial <= value + SUFFICIENT_DECREASE * promised && promised < 0.0;
            if falls && next_gradient.iter().all(|g| g.is_finite()) {
                accepted = Some(trial);
                break;
            }
            // The minimum of the parabola through value, slope and trial, kept between a tenth and a half.
            let shrink = -0.5 * promised / (trial - value - promised);
            step *= if shrink.is_finite() { shrink.clamp(0.1, 0.5) } else { 0.1 };
        }
        match accepted {
            Some(lower) => {
                let decrease = value - lower;
                n_flat = if decrease <= limits.relative_decrease * value.abs() { n_flat + 1 } else { 0 };
                memory.remember(&x, &gradient, &next_x, &next_gradient);
                std::mem::swap(&mut x, &mut next_x);
                std::mem::swap(&mut gradient, &mut next_gradient);
                value = lower;
                n_iterations += 1;
                on_step(n_iterations, n_evaluations, &x, value);
            }
            None if n_evaluations >= limits.max_evaluations => break (StopReason::MaxEvaluations, norm),
            None if memory.pairs.is_empty() => break (StopReason::LineSearchFailed, norm),
            None => memory.pairs.clear(), // once more along the gradient itself
        }
    };
    (x, Descent { objective: value, gradient_norm: norm, n_iterations, n_evaluations, stop })
}

/// A step must lower the objective by this share of what its slope promises.
const SUFFICIENT_DECREASE: f64 = 1e-4;
/// Evaluations that one line search may spend.
const MAX_TRIALS: usize = 20;

/// The last steps and how the gradient changed over them: (s, y).
struct Memory {
    pairs: VecDeque<(Vec<f64>, Vec<f64>)>,
    capacity: usize,
}

impl Memory {
    /// −H g on the free entries by the two-loop recursion, each inner product over the free entries alone; zero elsewhere.
    fn direction(&self, gradient: &[f64], free: &[f64]) -> Vec<f64> {
        let mut direction: Vec<f64> = gradient.iter().zip(free).map(|(g, free)| -g * free).collect();
        let curvature = |(s, y): &(Vec<f64>, Vec<f64>)| {
            let (sy, yy) = (masked_dot(free, s, y), masked_dot(free, y, y));
            (sy > 1e-10 * (masked_dot(free, s, s) * yy).sqrt()).then_some((sy, yy))
        };
        let curvatures: Vec<Option<(f64, f64)>> = self.pairs.iter().map(curvature).collect();
        let mut shares = vec![0.0; self.pairs.len()];
        for (k, (s, y)) in self.pairs.iter().enumerate().rev() {
            if let Some((sy, _)) = curvatures[k] {
                shares[k] = dot(s, &direction) / sy; // the direction is zero where nothing is free
                add_masked(&mut direction, -shares[k], y, free);
            }
        }
        if let Some((sy, yy)) = curvatures.iter().rev().flatten().next() {
            direction.iter_mut().for_each(|x| *x *= sy / yy);
        }
        for (k, (s, y)) in self.pairs.iter().enumerate() {
            if let Some((sy, _)) = curvatures[k] {
                let correction = shares[k] - dot(y, &direction) / sy;
                add_masked(&mut direction, correction, s, free);
            }
        }
        direction
    }

    fn remember(&mut self, x: &[f64], gradient: &[f64], next_x: &[f64], next_gradient: &[f64]) {
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
        if self.pairs.len() == self.capacity {
            self.pairs.pop_front();
        }
        self.pairs.push_back((difference(next_x, x), difference(next_gradient, gradient)));
    }
}

/// Σ m a b, in the order of [`dot`].
fn masked_dot(mask: &[f64], a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let whole = a.len() / 8 * 8;
    for at in (0..whole).step_by(8) {
        let (m, a, b) = (&mask[at..at + 8], &a[at..at + 8], &b[at..at + 8]);
        for lane in 0..8 {
            lanes[lane] += m[lane] * a[lane] * b[lane];
        }
    }
    let rest: f64 = (whole..a.len()).map(|i| mask[i] * a[i] * b[i]).sum();
    lanes.iter().sum::<f64>() + rest
}

fn add_masked(x: &mut [f64], scale: f64, y: &[f64], mask: &[f64]) {
    for ((x, y), mask) in x.iter_mut().zip(y).zip(mask) {
        *x += scale * y * mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solve(objective: impl FnMut(&[f64], &mut [f64]) -> f64, start: Vec<f64>) -> (Vec<f64>, Descent) {
        let limits = Limits { relative_decrease: 0.0, ..Limits::default() };
        minimize(objective, start, &limits, |_, _, _, _| ())
    }

    /// Σ (x_i − i + 4)² + a coupling of neighbours, ill conditioned; half of the free minimum lies below zero.
    fn coupled(x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut value = 0.0;
        for i in 0..x.len() {
            let weight = 1.0 + 50.0 * i as f64;
            let off = x[i] - (i as f64 - 4.0);
            value += weight * off * off;
            gradient[i] += 2.0 * weight * off;
            if i > 0 {
                let gap = x[i] - x[i - 1];
                value += 20.0 * gap * gap;
                gradient[i] += 40.0 * gap;
                gradient[i - 1] -= 40.0 * gap;
            }
        }
        value
    }

    #[test]
    fn the_conditions_for_a_minimum_hold_at_the_end() {
        let (x, descent) = solve(coupled, vec![1.0; 9]);
        assert!(descent.stop.converged() && descent.n_evaluations < 100, "{descent:?}");
        let mut gradient = vec![0.0; 9];
        assert_eq!(coupled(&x, &mut gradient), descent.objective);
        for (x, g) in x.iter().zip(&gradient) {
            assert!(*x > 0.0 && g.abs() < 1e-5 || *x == 0.0 && *g >= 0.0, "{x} {g}");
        }
        assert!(x.contains(&0.0) && x.iter().any(|x| *x > 1.0), "{x:?}");
    }

    #[test]
    fn a_curved_valley_inside_the_bounds_is_followed_to_its_bottom() {
        let rosenbrock = |x: &[f64], gradient: &mut [f64]| {
            let (valley, offset) = (x[1] - x[0] * x[0], 1.0 - x[0]);
            gradient[0] = -400.0 * valley * x[0] - 2.0 * offset;
            gradient[1] = 200.0 * valley;
            100.0 * valley * valley + offset * offset
        };
        let (x, descent) = solve(rosenbrock, vec![0.0, 2.0]);
        assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-6), "{x:?} {descent:?}");
    }

    #[test]
    fn a_start_below_zero_or_a_wrong_gradient_does_no_harm() {
        let (x, _) = solve(coupled, vec![-3.0; 9]);
        assert!(x.iter().all(|x| *x >= 0.0));
        let uphill = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = -2.0 * x[0];
            x[0] * x[0]
        };
        let (x, descent) = solve(uphill, vec![1.0]);
        assert_eq!((x[0], descent.stop), (1.0, StopReason::LineSearchFailed));
        let (_, descent) = solve(|_, _| f64::NAN, vec![1.0]);
        assert_eq!(descent.stop, StopReason::LineSearchFailed);
    }
}
