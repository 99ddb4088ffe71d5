//! A run of the posterior's entries: their noise, their share of the divergence from the prior, their step.
//!
//! Blocks have the same entries whatever the number of threads, each with a random stream and an Adam of its own, and their
//! sums are added in order: no bit depends on the threads.

use faer::traits::pulp::{Arch, Simd, WithSimd};
use rand::{Rng, RngExt};

use super::super::Vice;
use crate::embedding::elementary::{exp_of_negative, ln, ln_1p};
use crate::optimize::adam::{Adam, Rates};

/// The prior's constants: ln of weight / standard deviation, and 1 / (2 variance). 1 / √2π is left out, here and in q.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prior {
    log_spike: f64,
    half_spike: f64,
    log_slab: f64,
    half_slab: f64,
}

impl Prior {
    pub(super) fn new(vice: &Vice) -> Self {
        Self {
            log_spike: (vice.pi / vice.spike).ln(),
            half_spike: 0.5 / (vice.spike * vice.spike),
            log_slab: ((1.0 - vice.pi) / vice.slab).ln(),
            half_slab: 0.5 / (vice.slab * vice.slab),
        }
    }
}

/// Some entries of the posterior.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// Locations, then log scales.
    pub(super) parameters: Vec<f64>,
    /// Of the loss, by the parameters.
    pub(super) gradient: Vec<f64>,
    pub(super) noise: Vec<f64>,
    /// scale · noise of the sample.
    spread: Vec<f64>,
    /// log q − log p of each entry.
    divergence: Vec<f64>,
    adam: Adam,
}

impl Block {
    pub(super) fn new(location: &[f64], log_scale: f64, learning_rate: f64) -> Self {
        let n = location.len();
        let mut parameters = location.to_vec();
        parameters.resize(2 * n, log_scale);
        let zeros = vec![0.0; n];
        let adam = Adam::new(Rates::new(learning_rate), 2 * n);
        Self {
            parameters,
            gradient: vec![0.0; 2 * n],
            noise: zeros.clone(),
            spread: zeros.clone(),
            divergence: zeros,
            adam,
        }
    }

    pub(super) fn location(&self) -> &[f64] {
        &self.parameters[..self.noise.len()]
    }

    pub(super) fn log_scale(&self) -> &[f64] {
        &self.parameters[self.noise.len()..]
    }

    /// W = max(0, location + scale · noise) of the noise there is.
    pub(super) fn sample(&mut self, w: &mut [f64]) {
        let (location, log_scale) = self.parameters.split_at(self.noise.len());
        Arch::new().dispatch(Sample { location, log_scale, noise: &self.noise, spread: &mut self.spread, w });
    }

    /// Σ log q − log p; fills in the gradient of the likelihood's loss plus `share` times that sum.
    pub(super) fn differentiate(&mut self, w: &[f64], by_w: &[f64], prior: &Prior, share: f64) -> f64 {
        let n = self.noise.len();
        let (location, log_scale) = self.parameters.split_at(n);
        let (by_location, by_scale) = self.gradient.split_at_mut(n);
        Arch::new().dispatch(Differentiate {
            location,
            log_scale,
            noise: &self.noise,
            spread: &self.spread,
            w,
            by_w,
            prior: *prior,
            share,
            divergence: &mut self.divergence,
            by_location,
            by_scale,
        });
        self.divergence.iter().sum()
    }

    pub(super) fn step(&mut self) {
        self.adam.step(&mut self.parameters, &self.gradient);
    }
}

struct Sample<'a> {
    location: &'a [f64],
    log_scale: &'a [f64],
    noise: &'a [f64],
    spread: &'a mut [f64],
    w: &'a mut [f64],
}

impl WithSimd for Sample<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let n = self.w.len();
        let (location, log_scale, noise) = (&self.location[..n], &self.log_scale[..n], &self.noise[..n]);
        let spread = &mut self.spread[..n];
        for at in 0..n {
            spread[at] = exp::<S>(log_scale[at]) * noise[at];
            self.w[at] = (location[at] + spread[at]).max(0.0);
        }
    }
}

struct Differentiate<'a> {
    location: &'a [f64],
    log_scale: &'a [f64],
    noise: &'a [f64],
    spread: &'a [f64],
    w: &'a [f64],
    by_w: &'a [f64],
    prior: Prior,
    share: f64,
    divergence: &'a mut [f64],
    by_location: &'a mut [f64],
    by_scale: &'a mut [f64],
}

impl WithSimd for Differentiate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let n = self.w.len();
        let (location, log_scale, noise) = (&self.location[..n], &self.log_scale[..n], &self.noise[..n]);
        let (spread, by_w, share) = (&self.spread[..n], &self.by_w[..n], self.share);
        let (divergence, by_location) = (&mut self.divergence[..n], &mut self.by_location[..n]);
        let by_scale = &mut self.by_scale[..n];
        for at in 0..n {
            let sampled = Sampled { x: location[at] + spread[at], log_scale: log_scale[at], noise: noise[at] };
            let (value, slope) = divergence_of::<S>(sampled, &self.prior);
            divergence[at] = value;
            let through = if self.w[at] > 0.0 { by_w[at] } else { 0.0 };
            by_location[at] = through + share * slope;
            by_scale[at] = through * spread[at] + share * (slope * spread[at] - 1.0);
        }
    }
}

/// One entry before rectification: x = location + exp(log_scale) · noise.
#[derive(Clone, Copy)]
pub(super) struct Sampled {
    pub(super) x: f64,
    pub(super) log_scale: f64,
    pub(super) noise: f64,
}

/// log q(x) − log p(x) of a sample, and its derivative by location; that by log scale is `slope · exp(log_scale) · noise − 1`.
///
/// q is the posterior N(location, scale²), p the prior π N(0, spike²) + (1 − π) N(0, slab²). With the noise held, log q moves
/// with the scale alone. (The published software's normal density is multiplied by √2π where it should be divided; it
/// does so in q and p alike, so that its difference is the one here.)
#[inline(always)]
pub(super) fn divergence_of<S: Simd>(at: Sampled, prior: &Prior) -> (f64, f64) {
    let square = at.x * at.x;
    let (narrow, wide) = (prior.log_spike - square * prior.half_spike, prior.log_slab - square * prior.half_slab);
    let (most, least) = if narrow > wide { (narrow, wide) } else { (wide, narrow) };
    let small = exp_of_negative::<S>(least - most);
    let log_p = most + ln_1p::<S>(small);
    let log_q = -at.log_scale - 0.5 * at.noise * at.noise;
    let p_narrow = if narrow > wide { 1.0 } else { small } / (1.0 + small);
    let slope = 2.0 * at.x * (p_narrow * prior.half_spike + (1.0 - p_narrow) * prior.half_slab);
    (log_q - log_p, slope)
}

#[inline(always)]
fn exp<S: Simd>(x: f64) -> f64 {
    let of_negative = exp_of_negative::<S>(-x.abs());
    if x > 0.0 { 1.0 / of_negative } else { of_negative }
}

/// Standard normal draws, two from each pair of uniforms (Box & Muller 1958).
pub(super) fn fill_normal(into: &mut [f64], rng: &mut impl Rng) {
    into.iter_mut().for_each(|uniform| *uniform = rng.random());
    let n_pairs = into.len() / 2;
    let (first, rest) = into.split_at_mut(n_pairs);
    let (second, alone) = rest.split_at_mut(n_pairs);
    Arch::new().dispatch(Pairs { first, second });
    Arch::new().dispatch(Pairs { second: &mut [rng.random()][..alone.len()], first: alone });
}

/// Uniform numbers on [0, 1) that become normal ones.
struct Pairs<'a> {
    first: &'a mut [f64],
    second: &'a mut [f64],
}

impl WithSimd for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (first, second) in self.first.iter_mut().zip(self.second) {
            let radius = (-2.0 * ln::<S>(1.0 - *first)).sqrt();
            // Sine and cosine of the double of an angle in [−π/2, π/2), where the cosine is not negative.
            let sine = sine(std::f64::consts::PI * (*second - 0.5));
            let cosine = (1.0 - sine * sine).max(0.0).sqrt();
            (*first, *second) = (radius * (1.0 - 2.0 * sine * sine), radius * 2.0 * sine * cosine);
        }
    }
}

/// The sine between −π/2 and π/2 by its series, to 1e-15.
#[inline(always)]
fn sine(x: f64) -> f64 {
    let square = x * x;
    let mut series = 1.0;
    for k in [21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        series = 1.0 - series * square / (k * (k - 1.0));
    }
    x * series
}

#[cfg(test)]
mod tests {
    use faer::traits::pulp::Scalar;

    use super::*;
    use crate::seed::Streams;

    #[test]
    fn the_mean_over_noise_is_the_divergence_of_two_gaussians() {
        // With spike = slab the prior is one Gaussian, log q − log p is quadratic in the noise, and ±1 has its moments.
        let vice = Vice { spike: 0.7, slab: 0.7, ..Vice::default() };
        let prior = Prior::new(&vice);
        for (location, log_scale) in [(0.0, 0.7_f64.ln()), (0.4, -1.0), (-1.5, 0.2)] {
            let scale: f64 = f64::exp(log_scale);
            let at =
                |noise| divergence_of::<Scalar>(Sampled { x: location + scale * noise, log_scale, noise }, &prior).0;
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
        let found = divergence_of::<Scalar>(Sampled { x, log_scale, noise }, &Prior::new(&vice)).0;
        assert!((found - expected).abs() < 1e-14);
    }

    #[test]
    fn a_sample_is_rectified() {
        let mut block = Block::new(&[0.5, -2.0, 0.1], 0.3, 0.01);
        block.noise = vec![1.0, 1.0, -1.0];
        let mut w = [0.0; 3];
        block.sample(&mut w);
        // Two units in the last place of the exponential.
        assert!((w[0] - (0.5 + 0.3_f64.exp())).abs() < 1e-15 && w[1..] == [0.0, 0.0], "{w:?}");
    }

    #[test]
    fn pairs_of_draws_are_normal() {
        let mut draws = vec![0.0; 20_001];
        fill_normal(&mut draws, &mut Streams::new(1, "test").rng(0));
        let moment = |power| draws.iter().map(|z: &f64| z.powi(power)).sum::<f64>() / draws.len() as f64;
        // Four standard errors each: 1, √2 and √96 over √20,001.
        assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.04 && (moment(4) - 3.0).abs() < 0.28);
        let products: f64 = draws[..10_000].iter().zip(&draws[10_000..]).map(|(a, b)| a * b).sum();
        assert!(products.abs() / 1e4 < 0.04, "the two of a pair are not related");
    }

    #[test]
    fn the_sine_is_the_library_s() {
        for k in -1_000..=1_000 {
            let x = f64::from(k) * std::f64::consts::FRAC_PI_2 / 1_000.0;
            assert!((sine(x) - x.sin()).abs() < 1e-15, "{x}");
        }
    }
}
