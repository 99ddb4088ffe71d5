//! Weights that the answers so far allow, as a sample of what they leave open.

use faer::{Mat, MatRef};
use rand::RngExt;
use rayon::prelude::*;

use super::likelihood::Likelihood;
use super::{EMPTY, Posterior, SparseFit, terms};
use crate::embedding::OddOneOutAnswer;
use crate::error::{Error, Result};
use crate::linalg::to_rows;
use crate::optimize::{Limits, bounded};
use crate::seed::Streams;
use crate::stats::standard_normal;

/// Embeddings beside a fit that agree with its answers as far as these go; each `[n_concepts, n_dims]`, in the dimensions of
/// the fit, which are those that survived.
///
/// Of VICE they are draws max(0, x) from its posterior. Of SPoSE each is a refit, from where the fit ended, to the answers with
/// random weights, drawn for each unordered triplet from an exponential distribution with mean one, and with the penalty
/// drawing each weight not to zero but to a place of its own:
///
///   mean negative log-likelihood + (λ / n_concepts) Σ |w − place|,   place ~ Exponential(β),   β = n λ / n_concepts
///
/// The places are draws from the prior whose logarithm the penalty is, so that a concept nobody was asked about lies
/// somewhere else in every member; under the penalty itself it would be at zero in all of them, and they would agree about
/// what none knows. The pull on a weight is as strong as the fit's, whichever way it goes, and what the answers say outweighs
/// it as it does there. |x| is taken as √(x² + s²), s a tenth of 1 / β, for the search's sake. Without a penalty the random
/// weights alone make members differ.
///
/// # Errors
/// [`Error::TooFew`] when no dimension survived: nothing is known to be in doubt. [`Error::Setting`] or
/// [`Error::ShapeMismatch`] for answers that make no sense
/// # Source
/// Newton, Polson & Xu (2021), Weighted Bayesian bootstrap for scalable posterior distributions; Osband, Aslanides &
/// Cassirer (2018), Randomized prior functions for deep reinforcement learning, whose places are normal
pub fn members(fitted: &SparseFit, answers: &[OddOneOutAnswer], n_members: usize, seed: u64) -> Result<Vec<Mat<f64>>> {
    if fitted.record.dims == 0 {
        let what = "dimensions that survived: ask random triplets until there are some".to_owned();
        return Err(Error::TooFew { what, found: 0, needed: 1 });
    }
    terms::check(fitted.coordinates.nrows(), answers)?;
    let member = |k: u64| match &fitted.posterior {
        Some(posterior) => Ok(draw(posterior, seed, k)),
        None => refit(fitted, answers, seed, k),
    };
    (0..n_members as u64).into_par_iter().map(member).collect()
}

/// max(0, x) of one draw x from a posterior.
fn draw(posterior: &Posterior, seed: u64, k: u64) -> Mat<f64> {
    let mut rng = Streams::new(seed, "ensemble draws").rng(k);
    let (n, dims) = posterior.location.shape();
    let mut w = Mat::zeros(n, dims);
    for (i, dim) in (0..n).flat_map(|i| (0..dims).map(move |dim| (i, dim))) {
        w[(i, dim)] = (posterior.location[(i, dim)] + posterior.scale[(i, dim)] * standard_normal(&mut rng)).max(0.0);
    }
    w
}

/// One refit of SPoSE.
fn refit(fitted: &SparseFit, answers: &[OddOneOutAnswer], seed: u64, k: u64) -> Result<Mat<f64>> {
    let (n, dims) = fitted.coordinates.shape();
    let weights = Streams::new(seed, &format!("ensemble {k}"));
    let weighted = |answer: &OddOneOutAnswer| {
        let weight = exponential(&mut weights.rng(answer.triplet.cast_unsigned())) * answer.weight;
        OddOneOutAnswer { weight, ..*answer }
    };
    let weighted: Vec<OddOneOutAnswer> = answers.iter().map(weighted).collect();
    let mut likelihood = Likelihood::new(n, dims, terms::merged(weighted.iter()))?;
    let pull = fitted.record.lambda.unwrap_or(0.0) / n as f64;
    let mean_place = if pull > 0.0 { 1.0 / (pull * answers.iter().map(|a| a.weight).sum::<f64>()) } else { EMPTY };
    let mut rng = Streams::new(seed, "ensemble places").rng(k);
    let places: Vec<f64> = (0..n * dims).map(|_| mean_place * exponential(&mut rng)).collect();
    let rounding = 0.1 * mean_place;
    let objective = |w: &[f64], gradient: &mut [f64]| {
        let mut value = likelihood.evaluate(w, gradient);
        for ((w, place), gradient) in w.iter().zip(&places).zip(gradient) {
            let distance = ((w - place).powi(2) + rounding * rounding).sqrt();
            value += pull * distance;
            *gradient += pull * (w - place) / distance;
        }
        value
    };
    let limits = Limits { relative_decrease: 1e-6, ..Limits::default() };
    let start = to_rows(fitted.coordinates.as_ref()).concat();
    let (w, _) = bounded::minimize(objective, start, &limits, |_, _, _, _| ());
    Ok(MatRef::from_row_major_slice(&w, n, dims).to_owned())
}

/// A draw from the exponential distribution with mean one.
fn exponential(rng: &mut impl rand::Rng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}
