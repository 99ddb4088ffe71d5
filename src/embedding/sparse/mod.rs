//! Sparse embeddings of odd-one-out answers: non-negative coordinates whose dot products say which two of three concepts go
//! together, and whose dimensions can be read one by one.

mod curve;
mod dimensions;
mod lambda;
mod likelihood;
mod members;
mod record;
mod repeats;
mod settings;
mod spose;
mod terms;
mod vice;

use faer::{Mat, MatRef};
use rayon::prelude::*;

pub use dimensions::{EMPTY, best_matches, reproducibility};
pub use lambda::LambdaScore;
pub use members::members;
pub use record::SparseRecord;
pub use repeats::Repeats;
pub use settings::{Lambda, Optimiser, SparseLoss, SparseSettings, Vice};
pub use vice::Posterior;

use super::odd_one_out::OddOneOutAnswer;
use super::{CurvePoint, FitStop};
use crate::error::{Error, Result};
use crate::optimize::Limits;
use curve::Curve;
pub(super) use dimensions::{columns, not_empty};
pub(super) use lambda::best as best_lambda;
use likelihood::Likelihood;
pub(super) use likelihood::{Score, credit, softmax};
pub(super) use record::Made;
pub(super) use spose::start;
use terms::Term;
pub(super) use terms::check as check_answers;

/// A fitted sparse embedding.
#[derive(Debug, Clone)]
pub struct SparseFit {
    /// Non-negative coordinates, not centred, dimensions ordered by their sums; `[n_concepts, dims]`. One column of zeros
    /// where no dimension is left.
    pub coordinates: Mat<f64>,
    /// Of VICE, what the coordinates are the rectified locations of.
    pub posterior: Option<Posterior>,
    /// How it was reached.
    pub record: SparseRecord,
}

/// Fits a sparse embedding to odd-one-out answers.
///
/// Held-out triplets are set aside first, the same as [`super::fit`] sets aside; λ is chosen on the rest, the final fit uses
/// all of the rest, and the held-out ones are only reported on. Of several starts the one with the lowest objective is
/// returned, and the others say how reproducible its dimensions are. The result depends on the set of answers and the
/// settings, not on the order of the answers or the number of threads. A fit that did not converge is returned with
/// `converged` false.
///
/// # Errors
/// [`Error::Setting`], [`Error::ShapeMismatch`] for settings or answers that make no sense, [`Error::TooFew`] for fewer than
/// three concepts or when nothing is left to train on
pub fn fit(n_concepts: usize, answers: &[OddOneOutAnswer], settings: &SparseSettings) -> Result<SparseFit> {
    settings.check()?;
    if n_concepts < 3 {
        return Err(Error::TooFew { what: "concepts to embed".to_owned(), found: n_concepts, needed: 3 });
    }
    terms::check(n_concepts, answers)?;
    let is_held_out = terms::held_out(settings.holdout, settings.seed);
    let held_out: Vec<bool> = answers.par_iter().map(is_held_out).collect();
    let side = |out: bool| terms::merged(answers.iter().zip(&held_out).filter(|&(_, &o)| o == out).map(|(a, _)| a));
    let (train, heldout) = (side(false), side(true));
    let n_heldout = held_out.iter().filter(|&&out| out).count();
    let plain = answers.iter().all(|answer| answer.weight == 1.0);
    let repeats = if plain { repeats::repeats(&[&train, &heldout]) } else { None };
    drop(held_out);

    let (lambda, table) = chosen_lambda(n_concepts, &train, settings)?;
    let judged = terms::judged(n_concepts, &train);
    let mut likelihood = Likelihood::new(n_concepts, settings.dims, train)?;
    let runs = runs(&mut likelihood, lambda, &judged, &heldout, settings);
    let best = (0..runs.len()).min_by(|&a, &b| runs[a].objective.total_cmp(&runs[b].objective));
    let best = best.expect("settings were checked to ask for a start");
    let coordinates = |run: &Run| dimensions::columns(&run.w, settings.dims, &run.kept);
    let others: Vec<Mat<f64>> = (0..runs.len()).filter(|&k| k != best).map(|k| coordinates(&runs[k])).collect();
    let embedding = coordinates(&runs[best]);
    let reproducibility = reproducibility(embedding.as_ref(), &others)?;

    let made = record::Made {
        coordinates: embedding.as_ref(),
        run: &runs[best],
        starts: runs.iter().map(|run| run.objective).collect(),
        reproducibility,
        lambda,
        table,
        n_never_judged: judged.iter().filter(|&&judged| !judged).count(),
        n_train: answers.len() - n_heldout,
        n_heldout,
        repeats,
        minibatches: None,
    };
    let w = crate::linalg::to_rows(embedding.as_ref()).concat();
    let score = |terms: &[Term]| likelihood::score(&w, embedding.ncols(), terms);
    let train = score(likelihood.terms()).expect("a fit has training answers");
    let record = made.record(train, score(&heldout), settings);
    let posterior = runs.into_iter().nth(best).and_then(|run| run.posterior);
    Ok(SparseFit { coordinates: embedding, posterior, record })
}

/// Share of odd-one-out answers that an embedding reproduces: the odd one is not of the pair with the largest dot product; of
/// several largest pairs each counts its part. None when no answer has a weight.
///
/// # Shapes
/// `w`: `[n_concepts, n_dims]`
/// # Errors
/// [`Error::Setting`] or [`Error::ShapeMismatch`] for answers that make no sense
pub fn accuracy(w: MatRef<'_, f64>, answers: &[OddOneOutAnswer]) -> Result<Option<f64>> {
    terms::check(w.nrows(), answers)?;
    let score = likelihood::score(&crate::linalg::to_rows(w).concat(), w.ncols(), &terms::merged(answers.iter()));
    Ok(score.map(|score| score.accuracy))
}

/// The objective of SPoSE at some coordinates, and its gradient: mean negative log-likelihood + (λ / n_concepts) Σ W, nats.
///
/// # Shapes
/// `w` and the gradient: `[n_concepts, n_dims]`
/// # Errors
/// [`Error::Setting`] or [`Error::ShapeMismatch`] for answers that make no sense, [`Error::TooFew`] when none has a weight
pub fn spose_objective(w: MatRef<'_, f64>, answers: &[OddOneOutAnswer], lambda: f64) -> Result<(f64, Mat<f64>)> {
    terms::check(w.nrows(), answers)?;
    let mut likelihood = Likelihood::new(w.nrows(), w.ncols(), terms::merged(answers.iter()))?;
    let flat = crate::linalg::to_rows(w).concat();
    let mut gradient = vec![0.0; flat.len()];
    let value = spose::evaluate(&mut likelihood, lambda, &flat, &mut gradient);
    Ok((value, MatRef::from_row_major_slice(&gradient, w.nrows(), w.ncols()).to_owned()))
}

/// What one start ended in.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// `[n_concepts, n_dims]`, row by row.
    pub(super) w: Vec<f64>,
    /// The dimensions kept, ordered by their sums.
    pub(super) kept: Vec<usize>,
    /// Of VICE, in those dimensions.
    pub(super) posterior: Option<Posterior>,
    pub(super) objective: f64,
    pub(super) gradient_norm: Option<f64>,
    pub(super) n_iterations: usize,
    pub(super) n_evaluations: usize,
    pub(super) stop: FitStop,
    pub(super) curve: Vec<CurvePoint>,
}

/// λ and the table it was chosen from; VICE has none.
fn chosen_lambda(
    n_concepts: usize,
    train: &[Term],
    settings: &SparseSettings,
) -> Result<(Option<f64>, Vec<LambdaScore>)> {
    match &settings.loss {
        SparseLoss::Vice(_) => Ok((None, vec![])),
        SparseLoss::Spose { lambda: Lambda::Fixed(lambda), .. } => Ok((Some(*lambda), vec![])),
        SparseLoss::Spose { lambda: Lambda::CrossValidated { rates, folds, one_standard_error }, optimiser } => {
            if train.is_empty() {
                let what = "odd-one-out answers with a weight".to_owned();
                return Err(Error::TooFew { what, found: 0, needed: 1 });
            }
            let table = lambda::scores(n_concepts, train, settings, *optimiser, rates, *folds)?;
            Ok((lambda::best(&table, *one_standard_error), table))
        }
    }
}

/// All starts. Those of a small set run in parallel; within a large set each takes all
/// cores.
fn runs(
    likelihood: &mut Likelihood,
    lambda: Option<f64>,
    judged: &[bool],
    heldout: &[Term],
    settings: &SparseSettings,
) -> Vec<Run> {
    let one = |likelihood: &mut Likelihood, number: u64| {
        let (seed, curve) = (settings.seed, Curve::new(heldout, settings.dims));
        match &settings.loss {
            SparseLoss::Spose { optimiser, .. } => {
                let lambda = lambda.expect("SPoSE has a penalty");
                let how = (*optimiser, RELATIVE_DECREASE);
                search_spose(likelihood, lambda, how, seed, number, judged, curve)
            }
            SparseLoss::Vice(vice) => {
                vice::search(likelihood, &vice.for_concepts(judged.len()), judged, seed, number, curve)
            }
        }
    };
    let numbers = 0..settings.restarts as u64;
    if likelihood.is_large() || settings.restarts == 1 {
        numbers.map(|number| one(likelihood, number)).collect()
    } else {
        let likelihood = &*likelihood;
        numbers.into_par_iter().map(|number| one(&mut likelihood.clone(), number)).collect()
    }
}

/// A search has arrived when iterations lower the objective by no more than this share.
const RELATIVE_DECREASE: f64 = 1e-7;

/// One descent of SPoSE from the random start with the given number; `how` is the optimiser and when the objective is flat.
fn search_spose(
    likelihood: &mut Likelihood,
    lambda: f64,
    how: (Optimiser, f64),
    seed: u64,
    number: u64,
    judged: &[bool],
    curve: Curve<'_>,
) -> Run {
    let start = spose::start(judged, likelihood.n_dims(), seed, number);
    match how {
        (Optimiser::QuasiNewton { max_evaluations }, relative_decrease) => {
            let limits = Limits { max_evaluations, relative_decrease, ..Limits::default() };
            spose::quasi_newton(likelihood, lambda, start, &limits, curve)
        }
        (Optimiser::Adam { learning_rate, batch, max_epochs }, _) => {
            let how = spose::Minibatches { learning_rate, batch, max_epochs, seed };
            spose::adam(likelihood, lambda, start, how, curve)
        }
    }
}
