//! VICE: a Gaussian posterior over coordinates before rectification, under a spike-and-slab prior.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::curve::Curve;
use super::likelihood::{Likelihood, add_direct};
use super::spose::mean_weight;
use super::{Run, Vice};
use crate::embedding::FitStop;
use crate::optimize::adam::{Adam, Rates};
use crate::seed::Streams;

/// The posterior N(location, exp(log_scale)²) of every entry of X; `[n_concepts, n_dims]`, row by row.
#[derive(Debug, Clone)]
pub(super) struct Posterior {
    pub(super) location: Vec<f64>,
    pub(super) log_scale: Vec<f64>,
}

/// The same for gradients by location and log scale, one after the other, as Adam takes them.
struct Gradients {
    both: Vec<f64>,
}

impl Posterior {
    /// As published: locations N(0, 2 / n_dims), and scales exp(−1 / s) with s the locations' standard deviation.
    fn start(judged: &[bool], n_dims: usize, seed: u64, number: u64) -> Self {
        let mut draws = vec![0.0; judged.len() * n_dims];
        fill_normal(&mut draws, &mut Streams::new(seed, "sparse restart").rng(number));
        let spread = (2.0 / n_dims as f64).sqrt();
        let location =
            draws.iter().enumerate().map(|(at, z)| if judged[at / n_dims] { spread * z } else { 0.0 }).collect();
        Self { location, log_scale: vec![-1.0 / spread; draws.len()] }
    }

    /// max(0, location): what is reported and predicts.
    pub(super) fn rectified(&self) -> Vec<f64> {
        self.location.iter().map(|x| x.max(0.0)).collect()
    }
}

/// log q(x) − log p(x) at x = location + scale · noise, and its derivatives by location and log scale.
///
/// q is the posterior N(location, scale²), p the prior π N(0, spike²) + (1 − π) N(0, slab²). With the noise held, log q moves
/// with the scale alone. (The published software's normal density is multiplied by √2π where it should be divided; it
/// does so in q and p alike, so that its difference is the one here.)
fn complexity(location: f64, log_scale: f64, noise: f64, prior: &Prior) -> (f64, f64, f64) {
    let spread = log_scale.exp() * noise;
    let x = location + spread;
    let square = x * x;
    let (narrow, wide) = (prior.log_spike - square * prior.half_spike, prior.log_slab - square * prior.half_slab);
    let (most, least) = if narrow > wide { (narrow, wide) } else { (wide, narrow) };
    let small = (least - most).exp();
    let log_p = most + small.ln_1p();
    let log_q = -log_scale - 0.5 * noise * noise;
    let p_narrow = if narrow > wide { 1.0 } else { small } / (1.0 + small);
    let slope = 2.0 * x * (p_narrow * prior.half_spike + (1.0 - p_narrow) * prior.half_slab);
    (log_q - log_p, slope, slope * spread - 1.0)
}

/// The prior's constants: ln of weight / standard deviation, and 1 / (2 variance). 1 / √2π is left out, here and in q.
struct Prior {
    log_spike: f64,
    half_spike: f64,
    log_slab: f64,
    half_slab: f64,
}

impl Prior {
    fn new(vice: &Vice) -> Self {
        Self {
            log_spike: (vice.pi / vice.spike).ln(),
            half_spike: 0.5 / (vice.spike * vice.spike),
            log_slab: ((1.0 - vice.pi) / vice.slab).ln(),
            half_slab: 0.5 / (vice.slab * vice.slab),
        }
    }
}

/// The loss of one sample: `nll(W)` at W = max(0, location + scale · noise), which fills in its gradient by W, plus
/// share · Σ (log q − log p); fills in the gradient by location, then by log scale.
fn evaluate(
    posterior: &Posterior,
    noise: &[f64],
    prior: &Prior,
    share: f64,
    nll: impl FnOnce(&[f64], &mut [f64]) -> f64,
    gradients: &mut Gradients,
) -> f64 {
    let n = noise.len();
    let w: Vec<f64> =
        (0..n).map(|at| (posterior.location[at] + posterior.log_scale[at].exp() * noise[at]).max(0.0)).collect();
    let (by_location, by_scale) = gradients.both.split_at_mut(n);
    let loss = nll(&w, by_location);
    let mut penalty = 0.0;
    for at in 0..n {
        let (location, log_scale) = (posterior.location[at], posterior.log_scale[at]);
        let (value, slope, scale_slope) = complexity(location, log_scale, noise[at], prior);
        penalty += value;
        let through = if w[at] > 0.0 { by_location[at] } else { 0.0 };
        by_location[at] = through + share * slope;
        by_scale[at] = through * log_scale.exp() * noise[at] + share * scale_slope;
    }
    loss + share * penalty
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
) -> (Run, Posterior) {
    let (n, d) = (likelihood.n_concepts(), likelihood.n_dims());
    let mut posterior = Posterior::start(judged, d, seed, number);
    let prior = Prior::new(vice);
    let mean_weight = mean_weight(likelihood);
    let share = 1.0 / (likelihood.terms().len() as f64 * mean_weight);
    let mut adam = Adam::new(Rates::new(vice.learning_rate), 2 * n * d);
    let mut parameters = [posterior.location.clone(), posterior.log_scale.clone()].concat();
    let mut gradients = Gradients { both: vec![0.0; 2 * n * d] };
    let mut noise = vec![0.0; n * d];
    let mut order: Vec<usize> = (0..likelihood.terms().len()).collect();
    let (orders, noises) = (Streams::new(seed, "minibatches"), Streams::new(seed, "posterior noise"));
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
            fill_normal(&mut noise, &mut noises.rng((number << 48) | n_steps as u64));
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
            sum += evaluate(&posterior, &noise, &prior, share, nll, &mut gradients);
            adam.step(&mut parameters, &gradients.both);
            let (location, log_scale) = parameters.split_at(n * d);
            posterior.location.copy_from_slice(location);
            posterior.log_scale.copy_from_slice(log_scale);
            n_steps += 1;
        }
        epoch += 1;
        objective = sum / n_batches as f64;
        dims_kept.push(kept(&posterior, d, vice).len());
        curve.offer(epoch, n_steps, &posterior.rectified(), objective);
    };
    let run = Run {
        w: posterior.rectified(),
        objective,
        gradient_norm: None,
        n_iterations: epoch,
        n_evaluations: n_steps,
        stop,
        curve: curve.points,
    };
    (run, posterior)
}

/// The dimensions in which more than `min_concepts` concepts have a weight above zero: those whose P(x ≤ 0) the procedure
/// of Benjamini & Hochberg (1995) rejects at the false discovery rate, over the concepts of the dimension.
pub(super) fn kept(posterior: &Posterior, n_dims: usize, vice: &Vice) -> Vec<usize> {
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

/// P(z ≤ `z`) of a standard normal, to 1.2e-7 of its value.
///
/// # Source
/// Press et al. (1992), Numerical Recipes, section 6.2: a Chebyshev fit of erfc
fn normal_cdf(z: f64) -> f64 {
    let x = (-z / std::f64::consts::SQRT_2).abs();
    let t = 1.0 / (1.0 + 0.5 * x);
    let coefficients = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let fit = coefficients.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (fit - x * x).exp();
    if z <= 0.0 { tail } else { 1.0 - tail }
}

/// Standard normal draws, two from each pair of uniforms (Box & Muller 1958).
fn fill_normal(into: &mut [f64], rng: &mut impl Rng) {
    for pair in into.chunks_mut(2) {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        pair.iter_mut().zip([radius * cos, radius * sin]).for_each(|(z, draw)| *z = draw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::sparse::terms::Term;

    fn posterior() -> Posterior {
        Posterior {
            location: vec![0.3, -0.2, 0.9, 0.05, 1.2, 0.4, -0.6, 0.7],
            log_scale: vec![-1.0, -0.5, -2.0, -1.5, -0.3, -1.0, -0.8, -3.0],
        }
    }

    #[test]
    fn the_mean_over_noise_is_the_divergence_of_two_gaussians() {
        // With spike = slab the prior is one Gaussian, log q − log p is quadratic in the noise, and ±1 has its moments.
        let vice = Vice { spike: 0.7, slab: 0.7, ..Vice::default() };
        let prior = Prior::new(&vice);
        for (location, log_scale) in [(0.0, 0.7_f64.ln()), (0.4, -1.0), (-1.5, 0.2)] {
            let at = |noise| complexity(location, log_scale, noise, &prior).0;
            let scale: f64 = f64::exp(log_scale);
            let expected = (0.7 / scale).ln() + (scale * scale + location * location) / (2.0 * 0.49) - 0.5;
            assert!((f64::midpoint(at(1.0), at(-1.0)) - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn densities_are_those_of_the_mixture() {
        let vice = Vice::default();
        let density = |x: f64, s: f64| (-x * x / (2.0 * s * s)).exp() / (s * (2.0 * std::f64::consts::PI).sqrt());
        let (location, log_scale, noise) = (0.3, -0.9_f64, 1.4);
        let x = location + log_scale.exp() * noise;
        let p = vice.pi * density(x, vice.spike) + (1.0 - vice.pi) * density(x, vice.slab);
        let expected = (density(x - location, log_scale.exp()) / p).ln();
        assert!((complexity(location, log_scale, noise, &Prior::new(&vice)).0 - expected).abs() < 1e-14);
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences_with_the_noise_held() {
        let terms: Vec<Term> = (0..3).map(|odd| Term { ids: [0, 1, 2 + odd % 2], odd, weight: 1.0 }).collect();
        let mut likelihood = Likelihood::new(4, 2, terms).expect("there are terms");
        let noise = [0.5, 1.5, -0.3, 0.9, -1.1, 0.2, 2.0, -0.7];
        let prior = Prior::new(&Vice::default());
        let mut value = |posterior: &Posterior| {
            let mut gradients = Gradients { both: vec![0.0; 16] };
            let nll = |w: &[f64], gradient: &mut [f64]| likelihood.evaluate(w, gradient);
            (evaluate(posterior, &noise, &prior, 1.0 / 3.0, nll, &mut gradients), gradients.both)
        };
        let (_, gradient) = value(&posterior());
        for at in 0..16 {
            let mut moved = |by: f64| {
                let mut posterior = posterior();
                let side = if at < 8 { &mut posterior.location } else { &mut posterior.log_scale };
                side[at % 8] += by;
                value(&posterior).0
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
        let posterior = Posterior { location, log_scale: vec![0.0; 12] };
        // Ranks 1 to 3 of 6 are below 0.05 · rank / 6 = 0.0083, 0.0167, 0.025; rank 4 is not.
        let with = |min_concepts| kept(&posterior, 2, &Vice { min_concepts, ..Vice::default() });
        assert_eq!((with(2), with(3)), (vec![0], vec![]));
    }

    #[test]
    fn normal_probabilities_are_those_of_tables() {
        for (z, p) in [(0.0, 0.5), (1.0, 0.841_344_746), (-1.959_963_985, 0.025), (-5.0, 2.866_515_7e-7)] {
            assert!((normal_cdf(z) - p).abs() < 2e-7 * p, "{z}"); // twice the error of the fit
        }
    }

    #[test]
    fn pairs_of_draws_are_normal() {
        let mut draws = vec![0.0; 20_001];
        fill_normal(&mut draws, &mut Streams::new(1, "test").rng(0));
        let moment = |power| draws.iter().map(|z: &f64| z.powi(power)).sum::<f64>() / draws.len() as f64;
        // Four standard errors each: 1, √2 and √96 over √20,001.
        assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.04 && (moment(4) - 3.0).abs() < 0.28);
    }
}
