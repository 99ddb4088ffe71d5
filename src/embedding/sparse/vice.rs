//! VICE: a Gaussian posterior over coordinates before rectification, under a spike-and-slab prior.

mod block;

use faer::Mat;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::curve::Curve;
use super::dimensions::{columns, ordered};
use super::likelihood::{Likelihood, add_direct};
use super::spose::mean_weight;
use super::{Run, Vice};
use crate::embedding::FitStop;
use crate::seed::Streams;
use crate::stats::normal_cdf;
use block::{Block, Prior, fill_normal};

/// What a fit of VICE ends in: N(location, scale²) for every entry before rectification, in the dimensions that were kept.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// `[n_concepts, dims]`
    pub location: Mat<f64>,
    /// Standard deviations, `[n_concepts, dims]`; zero where no dimension is left.
    pub scale: Mat<f64>,
}

/// The posterior N(location, exp(log_scale)²) of every entry of X; `[n_concepts, n_dims]`, row by row.
#[derive(Debug, Clone)]
struct Gaussians {
    location: Vec<f64>,
    log_scale: Vec<f64>,
}

impl Gaussians {
    fn of(blocks: &[Block]) -> Self {
        let all = |of: fn(&Block) -> &[f64]| blocks.iter().flat_map(of).copied().collect();
        Self { location: all(Block::location), log_scale: all(Block::log_scale) }
    }

    /// max(0, location): what is reported and predicts.
    fn rectified(&self) -> Vec<f64> {
        self.location.iter().map(|x| x.max(0.0)).collect()
    }

    fn of_dimensions(&self, n_dims: usize, kept: &[usize]) -> Posterior {
        let scale: Vec<f64> = self.log_scale.iter().map(|log| log.exp()).collect();
        Posterior { location: columns(&self.location, n_dims, kept), scale: columns(&scale, n_dims, kept) }
    }
}

/// Entries in a block: their dozen numbers stay in a core's own cache.
const BLOCK: usize = 1 << 13;

/// As published: locations N(0, 2 / n_dims), and scales exp(−1 / s) with s the locations' standard deviation.
fn start(judged: &[bool], n_dims: usize, seed: u64, number: u64, learning_rate: f64) -> Vec<Block> {
    let mut location = vec![0.0; judged.len() * n_dims];
    fill_normal(&mut location, &mut Streams::new(seed, "sparse restart").rng(number));
    let spread = (2.0 / n_dims as f64).sqrt();
    for (at, x) in location.iter_mut().enumerate() {
        *x = if judged[at / n_dims] { spread * *x } else { 0.0 };
    }
    location.chunks(BLOCK).map(|location| Block::new(location, -1.0 / spread, learning_rate)).collect()
}

/// The loss of the sample that the blocks' noise makes: `nll(W)`, which fills in its gradient by W, plus share · Σ (log q −
/// log p); fills in the blocks' gradients. `w` and `by_w` are room for W and its gradient.
fn evaluate(
    blocks: &mut [Block],
    prior: &Prior,
    share: f64,
    (w, by_w): (&mut [f64], &mut [f64]),
    nll: impl FnOnce(&[f64], &mut [f64]) -> f64,
) -> f64 {
    blocks.par_iter_mut().zip(w.par_chunks_mut(BLOCK)).for_each(|(block, w)| block.sample(w));
    let loss = nll(w, by_w);
    let inputs = w.par_chunks(BLOCK).zip(by_w.par_chunks(BLOCK));
    let divergences: Vec<f64> = blocks
        .par_iter_mut()
        .zip(inputs)
        .map(|(block, (w, by_w))| block.differentiate(w, by_w, prior, share))
        .collect();
    loss + share * divergences.iter().sum::<f64>()
}

/// Fits the posterior by Adam, a new sample of noise each step, until the number of dimensions that the test keeps has been
/// the same for a while. The objective recorded is the mean over the last epoch's batches.
pub(super) fn search(
    likelihood: &mut Likelihood,
    vice: &Vice,
    judged: &[bool],
    seed: u64,
    number: u64,
    mut curve: Curve<'_>,
) -> Run {
    let (n, d) = (likelihood.n_concepts(), likelihood.n_dims());
    let mut blocks = start(judged, d, seed, number, vice.learning_rate);
    let prior = Prior::new(vice);
    let mean_weight = mean_weight(likelihood);
    let share = 1.0 / (likelihood.terms().len() as f64 * mean_weight);
    let (mut w, mut by_w) = (vec![0.0; n * d], vec![0.0; n * d]);
    let mut order: Vec<usize> = (0..likelihood.terms().len()).collect();
    let (orders, noises) =
        (Streams::new(seed, "minibatches"), Streams::new(seed, &format!("posterior noise {number}")));
    let (mut epoch, mut n_steps, mut objective) = (0, 0, f64::INFINITY);
    let mut dims_kept: Vec<usize> = vec![];
    let stop = loop {
        if epoch == vice.max_epochs {
            break FitStop::MaxEpochs;
        }
        let recent = &dims_kept[dims_kept.len().saturating_sub(vice.window)..];
        if epoch >= vice.burn_in && recent.len() == vice.window && recent.iter().all(|k| *k == recent[0] && *k > 0) {
            break FitStop::DimensionsStable;
        }
        order.shuffle(&mut orders.rng((number << 32) | epoch as u64));
        let (mut sum, n_batches) = (0.0, order.len().div_ceil(vice.batch));
        for batch in order.chunks(vice.batch) {
            let stream = |block: usize| noises.rng(((block as u64) << 40) | n_steps as u64);
            let draw = |(at, block): (usize, &mut Block)| fill_normal(&mut block.noise, &mut stream(at));
            blocks.par_iter_mut().enumerate().for_each(draw);
            let nll = |w: &[f64], gradient: &mut [f64]| {
                if n_batches == 1 {
                    return likelihood.evaluate(w, gradient);
                }
                gradient.fill(0.0);
                let terms = likelihood.terms();
                let scale = 1.0 / (batch.len() as f64 * mean_weight);
                let loss = add_direct(w, d, batch.iter().map(|&at| &terms[at]), gradient);
                gradient.iter_mut().for_each(|g| *g *= scale);
                scale * loss
            };
            sum += evaluate(&mut blocks, &prior, share, (&mut w, &mut by_w), nll);
            blocks.par_iter_mut().for_each(Block::step);
            n_steps += 1;
        }
        epoch += 1;
        objective = sum / n_batches as f64;
        let posterior = Gaussians::of(&blocks);
        dims_kept.push(kept(&posterior, d, vice).len());
        curve.offer(epoch, n_steps, &posterior.rectified(), objective);
    };
    let posterior = Gaussians::of(&blocks);
    let w = posterior.rectified();
    let kept = ordered(&w, d, kept(&posterior, d, vice));
    Run {
        w,
        posterior: Some(posterior.of_dimensions(d, &kept)),
        kept,
        objective,
        gradient_norm: None,
        n_iterations: epoch,
        n_evaluations: n_steps,
        stop,
        curve: curve.points,
    }
}

/// The dimensions in which more than `min_concepts` concepts have a weight above zero: those whose P(x ≤ 0) the procedure
/// of Benjamini & Hochberg (1995) rejects at the false discovery rate, over the concepts of the dimension.
fn kept(posterior: &Gaussians, n_dims: usize, vice: &Vice) -> Vec<usize> {
    let n = posterior.location.len() / n_dims;
    let above_zero = |dim: usize| {
        let at = |row: usize| row * n_dims + dim;
        let mut p: Vec<f64> =
            (0..n).map(|row| normal_cdf(-posterior.location[at(row)] / posterior.log_scale[at(row)].exp())).collect();
        p.sort_by(f64::total_cmp);
        let rejected = |rank: &usize| p[*rank - 1] <= vice.false_discovery_rate * *rank as f64 / n as f64;
        (1..=n).rev().find(rejected).unwrap_or(0)
    };
    (0..n_dims).filter(|&dim| above_zero(dim) > vice.min_concepts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::sparse::terms::Term;

    #[test]
    fn the_gradient_is_that_of_finite_differences_with_the_noise_held() {
        let terms: Vec<Term> = (0..3).map(|odd| Term { ids: [0, 1, 2 + odd % 2], odd, weight: 1.0 }).collect();
        let mut likelihood = Likelihood::new(4, 2, terms).expect("there are terms");
        let prior = Prior::new(&Vice::default());
        let mut block = Block::new(&[0.3, -0.2, 0.9, 0.05, 1.2, 0.4, -0.6, 0.7], -1.0, 0.01);
        block.parameters[8..].copy_from_slice(&[-1.0, -0.5, -2.0, -1.5, -0.3, -1.0, 0.4, -3.0]);
        block.noise = vec![0.5, 1.5, -0.3, 0.9, -1.1, 0.2, 2.0, -0.7];
        let mut value = |block: &Block| {
            let mut blocks = vec![block.clone()];
            let nll = |w: &[f64], gradient: &mut [f64]| likelihood.evaluate(w, gradient);
            let value = evaluate(&mut blocks, &prior, 1.0 / 3.0, (&mut [0.0; 8], &mut [0.0; 8]), nll);
            (value, blocks.remove(0).gradient)
        };
        let (_, gradient) = value(&block);
        for at in 0..16 {
            let mut moved = |by: f64| {
                let mut block = block.clone();
                block.parameters[at] += by;
                value(&block).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - gradient[at]).abs() < 1e-9, "{at}: {slope} {}", gradient[at]);
        }
    }

    #[test]
    fn dimensions_are_kept_by_the_false_discovery_rate() {
        // Of scale 1, locations are z values: p of 3.5 is 0.0002, of 2 0.023, of 1 0.16.
        let strong = [3.5, 3.5, 2.0, 1.0, -1.0, 0.0];
        let location = strong.iter().flat_map(|z| [*z, 1.0]).collect();
        let posterior = Gaussians { location, log_scale: vec![0.0; 12] };
        // Ranks 1 to 3 of 6 are below 0.05 · rank / 6 = 0.0083, 0.0167, 0.025; rank 4 is not.
        let with = |min_concepts| kept(&posterior, 2, &Vice { min_concepts, ..Vice::default() });
        assert_eq!((with(2), with(3)), (vec![0], vec![]));
    }
}
