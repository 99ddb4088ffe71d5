//! Ordinal embedding: coordinates whose distances explain which option each anchor was judged to be more like.

pub mod accuracy;
pub mod active;
pub mod bootstrap;
pub mod cross_validation;
pub mod dimension;
pub mod dimension_choice;
mod dissimilarity;
mod elementary;
pub mod fitting;
mod held_out_curve;
pub mod learning_curve;
mod link;
pub mod loss;
pub mod objective;
pub mod odd_one_out;
pub mod settings;
pub mod sparse;
mod stop;
pub mod streamed;

use faer::{Mat, MatRef};
use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

pub use accuracy::{Accuracy, triplet_accuracy};
pub use cross_validation::L2Score;
pub use fitting::{Fitting, Record};
pub use held_out_curve::CurvePoint;
pub use loss::Loss;
pub use odd_one_out::{Answer, Answered, OddOneOutAnswer};
pub use settings::{FitSettings, L2};
pub use stop::FitStop;

use crate::error::{Error, Result};
use crate::optimize::{Descent, Limits, minimize};
use crate::seed::Streams;
use crate::stats::standard_normal;
use held_out_curve::Trace;
use objective::Objective;

/// One answer to a triplet, hard or soft.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Id of the unordered triplet: both option orders and all repeats share it, and fall on one side of every split.
    /// What an odd-one-out answer gives has the id of that answer's triplet.
    pub triplet: i64,
    /// The concept compared with, an index below `n_concepts`.
    pub anchor: u32,
    /// The option shown first.
    pub first: u32,
    /// The option shown second.
    pub second: u32,
    /// Target: 1 = `first` was chosen, 0 = `second`, between = a soft label.
    pub p_first: f64,
    /// Weight in the mean loss, 0 or more; 1 for a plain answer.
    pub weight: f64,
}

/// Refuses comparisons that no loss is defined for.
///
/// # Errors
/// [`Error::ShapeMismatch`] for an id outside `n_concepts` or a concept named twice in one triplet, [`Error::Setting`]
/// for a target outside 0..=1 or a negative weight, [`Error::NotFinite`]
pub fn check_comparisons(n_concepts: usize, comparisons: &[Comparison]) -> Result<()> {
    for (row, c) in comparisons.iter().enumerate() {
        let ids = [c.anchor, c.first, c.second];
        if ids.iter().any(|&id| id as usize >= n_concepts) {
            return Err(Error::ShapeMismatch {
                what: format!("concept ids of comparison {row}"),
                found: format!("{ids:?}"),
                expected: format!("below {n_concepts}"),
            });
        }
        if c.anchor == c.first || c.anchor == c.second || c.first == c.second {
            return Err(Error::ShapeMismatch {
                what: format!("concept ids of comparison {row}"),
                found: format!("{ids:?}"),
                expected: "three different concepts".to_owned(),
            });
        }
        if !(c.p_first.is_finite() && c.weight.is_finite()) {
            return Err(Error::NotFinite { what: format!("target or weight of comparison {row}") });
        }
        let wrong = |field: &str, found: f64, expected: &str| {
            Err(Error::Setting {
                field: format!("{field} of comparison {row}"),
                found: found.to_string(),
                expected: expected.to_owned(),
            })
        };
        if !(0.0..=1.0).contains(&c.p_first) {
            return wrong("p_first", c.p_first, "0 to 1");
        }
        if c.weight < 0.0 {
            return wrong("weight", c.weight, "0 or more");
        }
    }
    Ok(())
}

/// How a fit went; everything that a reader of its numbers needs to judge them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitRecord {
    /// The response model, its parameter beside its name.
    #[serde(flatten)]
    pub loss: Loss,
    /// The penalty used.
    pub l2: f64,
    /// Dimensions fitted.
    pub dims: usize,
    /// Concepts embedded.
    pub n_concepts: usize,
    /// Concepts that no training comparison names; they are put in the centre, where they say nothing.
    pub n_never_judged: usize,
    /// Comparisons fitted.
    pub n_train: usize,
    /// Comparisons held out.
    pub n_heldout: usize,
    /// What was minimised: mean training loss plus penalty, in the unit of [`Loss`].
    pub objective: f64,
    /// Mean training loss without the penalty, in the unit of [`Loss`].
    pub train_loss: f64,
    /// Euclidean norm of the objective's gradient at the end.
    pub gradient_norm: f64,
    /// Steps taken by the best start; of minibatches epochs.
    pub n_iterations: usize,
    /// Evaluations of the objective by the best start; of minibatches steps.
    pub n_evaluations: usize,
    /// Why the best start stopped.
    pub stop: FitStop,
    /// Whether that was because it had arrived.
    pub converged: bool,
    /// Triplet accuracy on the training comparisons; none when every target is one half.
    pub train_accuracy: Option<f64>,
    /// Triplet accuracy on the held-out comparisons; none when nothing with a side was held out.
    pub heldout_accuracy: Option<f64>,
    /// Held-out comparisons without a side (target one half), left out of the accuracy.
    pub n_heldout_ties: usize,
    /// Mean loss on the held-out comparisons, in the unit of [`Loss`].
    pub heldout_loss: Option<f64>,
    /// Effective dimensions, [`dimension::participation_ratio`].
    pub participation_ratio: f64,
    /// Left-out loss of each penalty tried; empty when it was fixed.
    pub cross_validation: Vec<L2Score>,
    /// Objective, held-out loss and held-out accuracy while the best start was on its way, the end last. It is a report:
    /// nothing is chosen by it, and the coordinates are those of the lowest objective.
    pub curve: Vec<CurvePoint>,
    /// How minibatches were taken, of answers on disk; none of answers in memory.
    #[serde(flatten)]
    pub minibatches: Option<streamed::MinibatchRecord>,
    /// What a reader should know, each with what may follow from it.
    pub notes: Vec<String>,
}

/// A fitted embedding.
#[derive(Debug, Clone)]
pub struct Fit {
    /// Coordinates, centred; `[n_concepts, dims]`.
    pub coordinates: Mat<f64>,
    /// How it was reached.
    pub record: FitRecord,
}

/// Fits an embedding to comparisons.
///
/// Held-out triplets are set aside first; the penalty is chosen on the rest, the final fit uses all of the rest, and
/// the held-out ones are only reported on. The result depends on the set of comparisons and the settings, not on the
/// order of the comparisons or the number of threads (folds and starts run in parallel, each on one thread). A fit that
/// did not converge is returned with `converged` false.
///
/// # Errors
/// [`Error::Setting`], [`Error::ShapeMismatch`] or [`Error::NotFinite`] for settings or comparisons that make no sense,
/// [`Error::TooFew`] for fewer than three concepts or when nothing is left to train on, [`Error::NotFinite`] when the
/// objective left the range of numbers
///
/// ```
/// use alike::embedding::{Comparison, FitSettings, fit};
/// // Four points on a line, each asked about every pair of others.
/// let at = [0.0_f64, 1.0, 3.0, 4.5];
/// let mut comparisons = vec![];
/// for anchor in 0..4 {
///     for (first, second) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
///         if anchor != first && anchor != second {
///             let nearer = (at[first] - at[anchor]).abs() < (at[second] - at[anchor]).abs();
///             let [anchor, first, second] = [anchor, first, second].map(|id| id as u32);
///             let triplet = comparisons.len() as i64;
///             comparisons.push(Comparison { triplet, anchor, first, second, p_first: f64::from(nearer), weight: 1.0 });
///         }
///     }
/// }
/// let settings = FitSettings { holdout: 0.0, ..FitSettings::paper(2, 1).with_l2(1e-3) };
/// let fit = fit(4, &comparisons, &settings)?;
/// assert_eq!(fit.record.train_accuracy, Some(1.0));
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn fit(n_concepts: usize, comparisons: &[Comparison], settings: &FitSettings) -> Result<Fit> {
    settings.check()?;
    if n_concepts < 3 {
        return Err(Error::TooFew { what: "concepts to embed".to_owned(), found: n_concepts, needed: 3 });
    }
    check_comparisons(n_concepts, comparisons)?;
    let held_out = held_out(comparisons, settings.holdout, settings.seed);
    let table = match &settings.l2 {
        L2::Fixed(_) => vec![],
        L2::CrossValidated { grid, folds } => {
            cross_validation::scores(n_concepts, comparisons, &held_out, settings, grid, *folds)?
        }
    };
    let l2 = match &settings.l2 {
        L2::Fixed(l2) => *l2,
        L2::CrossValidated { .. } => cross_validation::best(&table).expect("the grid was checked to hold a value"),
    };
    // A side is told by its weights, not copied: comparisons may take most of the memory there is.
    let side = |of_held_out: bool| {
        let weight = |place: usize| if held_out[place] == of_held_out { comparisons[place].weight } else { 0.0 };
        Objective::weighted(settings.loss, l2, n_concepts, settings.dims, comparisons, weight)
    };
    let objective = side(false)?;
    let starts = (0..settings.restarts as u64).into_par_iter();
    let traced = |start| {
        let mut trace = Trace::new();
        let from = random_start(objective.judged(), settings, start);
        let saw = |x: &[f64], value| trace.saw(x, value);
        let (x, descent) = search(&mut objective.clone(), from, settings, RELATIVE_DECREASE, saw);
        (x, descent, trace)
    };
    let searches: Vec<(Vec<f64>, Descent, Trace)> = starts.map(traced).collect();
    let (x, descent, trace) = searches
        .into_iter()
        .min_by(|a, b| a.1.objective.total_cmp(&b.1.objective))
        .expect("settings were checked to ask for a start");
    if !descent.objective.is_finite() {
        return Err(Error::NotFinite { what: format!("the objective after {} evaluations", descent.n_evaluations) });
    }
    let judged = objective.judged().to_vec();
    let coordinates = centred_on_judged(MatRef::from_column_major_slice(&x, n_concepts, settings.dims), &judged);

    let train_loss = objective.with_l2(0.0).evaluate(&x, &mut vec![0.0; x.len()]);
    let heldout = match side(true) {
        Ok(heldout) => Some(heldout.with_l2(0.0)),
        Err(Error::TooFew { .. }) => None,
        Err(error) => return Err(error),
    };
    let of_side = |of_held_out: bool| {
        let of_side = comparisons.iter().zip(&held_out).filter(move |(_, held_out)| **held_out == of_held_out);
        of_side.map(|(comparison, _)| comparison)
    };
    let curve = trace.curve(&x, descent.objective, n_concepts, heldout.as_ref(), of_side(true));
    let train_accuracy = accuracy::accuracy_of(coordinates.as_ref(), of_side(false));
    let heldout_accuracy = accuracy::accuracy_of(coordinates.as_ref(), of_side(true));
    let n_heldout = held_out.iter().filter(|held_out| **held_out).count();
    let share = |accuracy: Accuracy| accuracy.share.is_finite().then_some(accuracy.share);
    let mut record = FitRecord {
        loss: settings.loss,
        l2,
        dims: settings.dims,
        n_concepts,
        n_never_judged: judged.iter().filter(|&&judged| !judged).count(),
        n_train: comparisons.len() - n_heldout,
        n_heldout,
        objective: descent.objective,
        train_loss,
        gradient_norm: descent.gradient_norm,
        n_iterations: descent.n_iterations,
        n_evaluations: descent.n_evaluations,
        stop: descent.stop.into(),
        converged: descent.stop.converged(),
        train_accuracy: share(train_accuracy),
        heldout_accuracy: share(heldout_accuracy),
        n_heldout_ties: heldout_accuracy.n_ties,
        heldout_loss: curve.last().and_then(|end| end.heldout_loss),
        participation_ratio: dimension::participation_ratio(coordinates.as_ref()),
        cross_validation: table,
        curve,
        minibatches: None,
        notes: vec![],
    };
    record.notes = notes(&record, settings.holdout);
    Ok(Fit { coordinates, record })
}

/// Splits comparisons into (held out, kept), by unordered triplet.
///
/// A triplet is held out when the uniform number of its own random stream is below `holdout`: the side of a triplet
/// does not depend on what else is in the data, nor on the data's order.
pub fn split_holdout(comparisons: &[Comparison], holdout: f64, seed: u64) -> (Vec<Comparison>, Vec<Comparison>) {
    let sides = held_out(comparisons, holdout, seed);
    let side = |side: bool| comparisons.iter().zip(&sides).filter(move |(_, s)| **s == side).map(|(c, _)| *c).collect();
    (side(true), side(false))
}

/// For each comparison, whether [`split_holdout`] holds it out.
fn held_out(comparisons: &[Comparison], holdout: f64, seed: u64) -> Vec<bool> {
    let is_held_out = holds_out(holdout, seed);
    comparisons.par_iter().with_min_len(1 << 12).map(|c| is_held_out(c.triplet)).collect()
}

/// Whether [`split_holdout`] holds out the triplet of an id, asked or not yet.
pub fn holds_out(holdout: f64, seed: u64) -> impl Fn(i64) -> bool + Sync {
    let streams = Streams::new(seed, "holdout");
    move |triplet| holdout > 0.0 && streams.rng(triplet.cast_unsigned()).random::<f64>() < holdout
}

/// A fit has arrived when iterations lower its objective by no more than this share. Ten times less changes alignments
/// in the fourth decimal (128 concepts, 28,000 triplets) and takes crowd-kernel, whose scale keeps growing, three times
/// the evaluations.
const RELATIVE_DECREASE: f64 = 1e-7;

/// Standard normal coordinates of the start with the given number; concepts never judged are at zero.
fn random_start(judged: &[bool], settings: &FitSettings, start: u64) -> Vec<f64> {
    let mut rng = Streams::new(settings.seed, "restart").rng(start);
    let coordinate = |i: usize| {
        let draw = standard_normal(&mut rng);
        if judged[i % judged.len()] { draw } else { 0.0 }
    };
    (0..judged.len() * settings.dims).map(coordinate).collect()
}

/// One descent; `saw` is told every evaluation.
fn search(
    objective: &mut Objective,
    from: Vec<f64>,
    settings: &FitSettings,
    relative_decrease: f64,
    mut saw: impl FnMut(&[f64], f64),
) -> (Vec<f64>, Descent) {
    let limits = Limits { max_evaluations: settings.max_evaluations, relative_decrease, ..Limits::default() };
    let evaluate = |x: &[f64], gradient: &mut [f64]| {
        let value = objective.evaluate(x, gradient);
        saw(x, value);
        value
    };
    minimize(evaluate, from, &limits)
}

/// The coordinates with the mean of the judged rows at zero, and the other rows there.
fn centred_on_judged(x: MatRef<'_, f64>, judged: &[bool]) -> Mat<f64> {
    let n_judged = judged.iter().filter(|&&judged| judged).count() as f64;
    let sum = |k| judged.iter().enumerate().filter(|&(_, &judged)| judged).map(|(i, _)| x[(i, k)]).sum::<f64>();
    let means: Vec<f64> = (0..x.ncols()).map(|k| sum(k) / n_judged).collect();
    Mat::from_fn(x.nrows(), x.ncols(), |i, k| if judged[i] { x[(i, k)] - means[k] } else { 0.0 })
}

/// What a reader of the record should know.
fn notes(record: &FitRecord, holdout: f64) -> Vec<String> {
    let mut notes = vec![];
    let bound = dimension::sample_size_bound(record.n_concepts, record.dims);
    if (record.n_train as u64) < bound {
        notes.push(format!(
            "{} training comparisons are fewer than n·d·log2 n = {bound} for {} concepts in {} dimensions: ask more triplets or fit fewer dimensions",
            record.n_train, record.n_concepts, record.dims
        ));
    }
    if record.n_never_judged > 0 {
        notes.push(format!(
            "{} of {} concepts are in no training comparison and were put in the centre: their positions mean nothing",
            record.n_never_judged, record.n_concepts
        ));
    }
    if !record.converged {
        notes.push(format!("the fit did not converge ({:?} after {} evaluations)", record.stop, record.n_evaluations));
    }
    if record.train_accuracy.is_none() {
        notes.push("no training comparison has a side (every target is one half): positions mean nothing".to_owned());
    }
    if record.l2 == 0.0 && record.train_accuracy == Some(1.0) {
        notes.push(
            "every training comparison is reproduced and there is no penalty: nothing bounds the coordinates, whose scale is where the search stopped".to_owned(),
        );
    }
    if holdout > 0.0 && record.heldout_accuracy.is_none() {
        notes.push("no comparison with a side was held out: there is no held-out accuracy".to_owned());
    }
    let tried = || record.cross_validation.iter().map(|score| score.l2);
    let (least, most) = (tried().fold(f64::INFINITY, f64::min), tried().fold(f64::NEG_INFINITY, f64::max));
    if least < most && (record.l2 == least || record.l2 == most) {
        notes.push(format!(
            "cross-validation chose l2 = {} at the edge of the grid {least} to {most}: widen the grid",
            record.l2
        ));
    }
    notes
}
