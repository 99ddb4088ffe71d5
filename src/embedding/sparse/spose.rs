//! SPoSE: the likelihood with an L1 penalty on non-negative coordinates.

use rand::seq::SliceRandom;

use super::Run;
use super::curve::Curve;
use super::dimensions::not_empty;
use super::likelihood::{Likelihood, add_direct};
use crate::embedding::FitStop;
use crate::optimize::adam::{Adam, Rates};
use crate::optimize::{Limits, bounded};
use crate::seed::Streams;
use crate::stats::standard_normal;

/// Mean negative log-likelihood + (λ / n_concepts) Σ W and its gradient; nats.
pub(super) fn evaluate(likelihood: &mut Likelihood, lambda: f64, w: &[f64], gradient: &mut [f64]) -> f64 {
    let rate = lambda / likelihood.n_concepts() as f64;
    let loss = likelihood.evaluate(w, gradient);
    gradient.iter_mut().for_each(|g| *g += rate);
    loss + rate * w.iter().sum::<f64>()
}

/// The random start with the given number: absolute normal draws, scaled so that dot products are about one whatever the
/// number of dimensions; concepts never judged at zero.
pub(in crate::embedding) fn start(judged: &[bool], n_dims: usize, seed: u64, number: u64) -> Vec<f64> {
    let mut rng = Streams::new(seed, "sparse restart").rng(number);
    let scale = (1.0 / n_dims as f64).sqrt();
    let mut entry = |row: usize| {
        let draw = scale * standard_normal(&mut rng).abs();
        if judged[row] { draw } else { 0.0 }
    };
    (0..judged.len() * n_dims).map(|at| entry(at / n_dims)).collect()
}

/// All answers at once, until an evaluation no longer lowers the objective.
pub(super) fn quasi_newton(
    likelihood: &mut Likelihood,
    lambda: f64,
    start: Vec<f64>,
    limits: &Limits,
    mut curve: Curve<'_>,
) -> Run {
    let (w, descent) = bounded::minimize(
        |w, gradient| evaluate(likelihood, lambda, w, gradient),
        start,
        limits,
        |iteration, evaluation, w, value| curve.offer(iteration, evaluation, w, value),
    );
    Run {
        kept: not_empty(&w, likelihood.n_dims()),
        posterior: None,
        w,
        objective: descent.objective,
        gradient_norm: Some(descent.gradient_norm),
        n_iterations: descent.n_iterations,
        n_evaluations: descent.n_evaluations,
        stop: descent.stop.into(),
        curve: curve.points,
    }
}

/// What [`adam`] needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Minibatches {
    pub(super) learning_rate: f64,
    pub(super) batch: usize,
    pub(super) max_epochs: usize,
    pub(super) seed: u64,
}

/// Epochs without a lower objective after which the search ends.
const PATIENCE: usize = 10;

/// Minibatches in a new random order each epoch; the iterate with the lowest objective over all training answers is
/// returned.
pub(super) fn adam(
    likelihood: &mut Likelihood,
    lambda: f64,
    mut w: Vec<f64>,
    how: Minibatches,
    mut curve: Curve<'_>,
) -> Run {
    let (n, d) = (likelihood.n_concepts(), likelihood.n_dims());
    let rate = lambda / n as f64;
    let mut order: Vec<usize> = (0..likelihood.terms().len()).collect();
    let mut gradient = vec![0.0; n * d];
    let mut adam = Adam::new(Rates::new(how.learning_rate), n * d);
    let streams = Streams::new(how.seed, "minibatches");
    let mut best = (evaluate(likelihood, lambda, &w, &mut gradient), w.clone(), 0);
    let (mut epoch, mut n_steps) = (0, 0);
    let mean_weight = mean_weight(likelihood);
    let stop = loop {
        if epoch == how.max_epochs {
            break FitStop::MaxEpochs;
        }
        if epoch - best.2 == PATIENCE {
            break FitStop::ObjectiveFlat;
        }
        order.shuffle(&mut streams.rng(epoch as u64));
        for batch in order.chunks(how.batch) {
            gradient.fill(0.0);
            let terms = likelihood.terms();
            add_direct(&w, d, batch.iter().map(|&at| &terms[at]), &mut gradient);
            let scale = 1.0 / (batch.len() as f64 * mean_weight);
            gradient.iter_mut().for_each(|g| *g = *g * scale + rate);
            adam.step(&mut w, &gradient);
            w.iter_mut().for_each(|w| *w = w.max(0.0));
            n_steps += 1;
        }
        epoch += 1;
        let value = evaluate(likelihood, lambda, &w, &mut gradient);
        curve.offer(epoch, n_steps, &w, value);
        if value < best.0 {
            best = (value, w.clone(), epoch);
        }
    };
    let (objective, w, _) = best;
    Run {
        kept: not_empty(&w, d),
        posterior: None,
        w,
        objective,
        gradient_norm: None,
        n_iterations: epoch,
        n_evaluations: n_steps,
        stop,
        curve: curve.points,
    }
}

/// The mean weight of a term, by which the gradient of a batch is that of the mean loss.
pub(super) fn mean_weight(likelihood: &Likelihood) -> f64 {
    let terms = likelihood.terms();
    terms.iter().map(|term| term.weight).sum::<f64>() / terms.len() as f64
}
