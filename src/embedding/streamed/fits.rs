//! The two kinds of fit and their records, which are those of the fits in memory.

use faer::Mat;

use super::coordinates::Coordinates;
use super::epochs::{Minibatches, Run, Search};
use super::model::{Model, Tally};
use super::passes::{gradient_norm, tally};
use super::spool::{Spool, weight};
use super::{MinibatchRecord, penalty};
use crate::embedding::sparse::{
    self, Lambda, LambdaScore, Made, Score, SparseLoss, SparseSettings, best_lambda, columns, not_empty,
};
use crate::embedding::{
    FitRecord, FitSettings, L2, L2Score, Record, centred_on_judged, cross_validation, dimension, fitting, notes,
    random_start,
};
use crate::error::Result;
use crate::linalg::to_rows;
use crate::presentations::Task;

/// A search has arrived when a level of the step size lowers the exact objective by no more than this share.
const TOLERANCE: f64 = 1e-3;

/// A fit by distances; [`crate::embedding::fit`].
pub(super) fn distances(spool: &Spool, settings: &FitSettings, how: Minibatches) -> Result<(Mat<f64>, Record)> {
    let (task, n, judged) = (spool.layout.task, spool.layout.n_concepts, &spool.judged);
    let start = |number| {
        let x = random_start(judged, settings, number);
        Coordinates::from_fn(n, settings.dims, |i, k| x[k * n + i])
    };
    let model = Model::Distances { loss: settings.loss, task, l2: 0.0 };
    let (l2, table) = match &settings.l2 {
        L2::Fixed(l2) => (*l2, vec![]),
        L2::CrossValidated { grid, .. } => {
            let losses = penalty::losses(spool, model, &start(0), how, grid)?;
            let table: Vec<L2Score> = grid.iter().zip(losses).map(|(&l2, loss)| L2Score { l2, loss }).collect();
            (cross_validation::best(&table).expect("the grid was checked to hold a value"), table)
        }
    };
    let model = model.with_penalty(l2);
    let runs = runs(spool, model, how, settings.restarts, start)?;
    let run = &runs[best(&runs)];
    let coordinates = centred_on_judged(run.x.to_mat().as_ref(), judged);
    let (train, heldout) = sides(spool, model, &run.x)?;
    let n_of = |answers: u64| usize::try_from(answers).expect("answers are counted in 64 bits") * model.n_terms();
    let mut record = FitRecord {
        loss: settings.loss,
        l2,
        dims: settings.dims,
        n_concepts: n,
        n_never_judged: judged.iter().filter(|&&judged| !judged).count(),
        n_train: n_of(spool.n_train()),
        n_heldout: n_of(spool.n_heldout()),
        objective: run.objective,
        train_loss: train.mean_loss(),
        gradient_norm: gradient_norm(spool, &spool.training(true), model, &run.x, train.weight)?,
        n_iterations: run.n_epochs,
        n_evaluations: run.n_steps,
        stop: run.stop,
        converged: run.stop.converged(),
        train_accuracy: train.accuracy(),
        heldout_accuracy: heldout.accuracy(),
        n_heldout_ties: heldout.n_ties,
        heldout_loss: (heldout.weight > 0.0).then(|| heldout.mean_loss()),
        participation_ratio: dimension::participation_ratio(coordinates.as_ref()),
        cross_validation: table,
        curve: run.curve.clone(),
        minibatches: Some(minibatches(spool, how, run)),
        notes: vec![],
    };
    record.notes = notes(&record, settings.holdout);
    if task == Task::OddOneOut {
        record.notes.push(fitting::taken_as_two(spool.n_train() + spool.n_heldout()));
    }
    Ok((coordinates, Record::Distances(record)))
}

/// A fit of SPoSE; [`sparse::fit`].
pub(super) fn dot_products(spool: &Spool, settings: &SparseSettings, how: Minibatches) -> Result<(Mat<f64>, Record)> {
    let (n, dims, judged) = (spool.layout.n_concepts, settings.dims, &spool.judged);
    let start = |number| {
        let w = sparse::start(judged, dims, settings.seed, number);
        Coordinates::from_fn(n, dims, |i, k| w[i * dims + k])
    };
    let SparseLoss::Spose { lambda, .. } = &settings.loss else { unreachable!("Layout::of() refuses other losses") };
    let model = Model::DotProducts { lambda: 0.0 };
    let (lambda, table) = match lambda {
        Lambda::Fixed(lambda) => (*lambda, vec![]),
        Lambda::CrossValidated { rates, one_standard_error, .. } => {
            let n_answers = weight(&spool.training(true));
            let lambdas: Vec<f64> = rates.iter().map(|rate| rate * n as f64 / n_answers).collect();
            let losses = penalty::losses(spool, model, &start(0), how, &lambdas)?;
            let row = |(&lambda, loss)| LambdaScore { lambda, loss, standard_error: None };
            let table: Vec<LambdaScore> = lambdas.iter().zip(losses).map(row).collect();
            (best_lambda(&table, *one_standard_error).expect("the grid was checked to hold a value"), table)
        }
    };
    let model = model.with_penalty(lambda);
    let runs = runs(spool, model, how, settings.restarts, start)?;
    let best = best(&runs);
    let embeddings: Vec<(Mat<f64>, Vec<usize>)> = runs.iter().map(|run| embedding(&run.x)).collect();
    let (coordinates, kept) = &embeddings[best];
    let others: Vec<Mat<f64>> = (0..runs.len()).filter(|&k| k != best).map(|k| embeddings[k].0.clone()).collect();
    let reproducibility = sparse::reproducibility(coordinates.as_ref(), &others)?;

    let left = Coordinates::from_fn(n, coordinates.ncols(), |i, k| coordinates[(i, k)]);
    let (train, heldout) = sides(spool, model, &left)?;
    let score = |tally: Tally| tally.accuracy().map(|accuracy| Score { loss: tally.mean_loss(), accuracy });
    let run = &runs[best];
    let n_of = |answers: u64| usize::try_from(answers).expect("answers are counted in 64 bits");
    let made = Made {
        coordinates: coordinates.as_ref(),
        run: &sparse::Run {
            w: to_rows(run.x.to_mat().as_ref()).concat(),
            kept: kept.clone(),
            posterior: None,
            objective: run.objective,
            gradient_norm: Some(gradient_norm(spool, &spool.training(true), model, &run.x, train.weight)?),
            n_iterations: run.n_epochs,
            n_evaluations: run.n_steps,
            stop: run.stop,
            curve: run.curve.clone(),
        },
        starts: runs.iter().map(|run| run.objective).collect(),
        reproducibility,
        lambda: Some(lambda),
        table,
        n_never_judged: judged.iter().filter(|&&judged| !judged).count(),
        n_train: n_of(spool.n_train()),
        n_heldout: n_of(spool.n_heldout()),
        repeats: None,
        minibatches: Some(minibatches(spool, how, run)),
    };
    let record = made.record(score(train).expect("a fit has training answers"), score(heldout), settings);
    Ok((coordinates.clone(), Record::DotProducts(record)))
}

/// All starts, one after the other.
fn runs(
    spool: &Spool,
    model: Model,
    how: Minibatches,
    restarts: usize,
    start: impl Fn(u64) -> Coordinates,
) -> Result<Vec<Run>> {
    let run = |number: u64| {
        let parts = spool.training(true);
        Search { spool, parts, model, how, tolerance: TOLERANCE, number, with_curve: true }.run(start(number))
    };
    (0..restarts as u64).map(run).collect()
}

/// The place of the run with the lowest objective.
fn best(runs: &[Run]) -> usize {
    let lowest = (0..runs.len()).min_by(|&a, &b| runs[a].objective.total_cmp(&runs[b].objective));
    lowest.expect("settings were checked to ask for a start")
}

/// The dimensions that are not empty, ordered, and which they are.
fn embedding(x: &Coordinates) -> (Mat<f64>, Vec<usize>) {
    let w = to_rows(x.to_mat().as_ref()).concat();
    let kept = not_empty(&w, x.n_dims());
    (columns(&w, x.n_dims(), &kept), kept)
}

/// All training answers and all held-out ones at some coordinates.
fn sides(spool: &Spool, model: Model, x: &Coordinates) -> Result<(Tally, Tally)> {
    Ok((tally(spool, &spool.training(true), model, x)?, tally(spool, &[&spool.heldout], model, x)?))
}

fn minibatches(spool: &Spool, how: Minibatches, run: &Run) -> MinibatchRecord {
    MinibatchRecord {
        optimiser: "adam",
        n_epochs: run.n_epochs,
        n_steps: run.n_steps,
        batch: how.batch,
        learning_rate: how.learning_rate,
        last_learning_rate: run.learning_rate,
        n_parts: spool.training(true).len(),
    }
}
