//! How a sparse fit went.

use faer::MatRef;
use serde::Serialize;

use super::likelihood::Score;
use super::{LambdaScore, Repeats, Run, SparseSettings};
use crate::embedding::dimension::participation_ratio;
use crate::embedding::stop::MinibatchRecord;
use crate::embedding::{CurvePoint, FitStop};

/// How a sparse fit went; everything that a reader of its numbers needs to judge them. Losses are in nats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SparseRecord {
    /// `spose` or `vice`.
    pub loss: &'static str,
    /// The penalty used, in the unit of [`super::SparseLoss::Spose`]; none for VICE.
    pub lambda: Option<f64>,
    /// Dimensions at the start.
    pub start_dims: usize,
    /// Dimensions left, which the file has; 0 where it has one column of zeros.
    pub dims: usize,
    /// Concepts embedded.
    pub n_concepts: usize,
    /// Concepts that no training answer names; their coordinates say nothing.
    pub n_never_judged: usize,
    /// Answers fitted.
    pub n_train: usize,
    /// Answers held out.
    pub n_heldout: usize,
    /// What was minimised, at the end: mean training loss plus penalty; for VICE the mean over the last epoch's samples.
    pub objective: f64,
    /// Mean training loss of the dimensions left, without the penalty.
    pub train_loss: f64,
    /// Euclidean norm of the projected gradient at the end; none for minibatches.
    pub gradient_norm: Option<f64>,
    /// Iterations of the quasi-Newton search by the best start, or epochs.
    pub n_iterations: usize,
    /// Evaluations of the objective by the best start, or steps.
    pub n_evaluations: usize,
    /// Why the best start stopped.
    pub stop: FitStop,
    /// Whether that was because it had arrived.
    pub converged: bool,
    /// Share of the training answers that are the embedding's: the odd one is not of the pair with the largest dot product.
    pub train_accuracy: f64,
    /// The same of the held-out answers; none when nothing is held out.
    pub heldout_accuracy: Option<f64>,
    /// The accuracy of a coin of three.
    pub chance_accuracy: f64,
    /// What repeated triplets say about the best accuracy there is; none without repeats, or with weights.
    pub repeats: Option<Repeats>,
    /// Mean loss on the held-out answers.
    pub heldout_loss: Option<f64>,
    /// Effective dimensions, [`participation_ratio`].
    pub participation_ratio: f64,
    /// Left-out loss of each penalty tried; empty when it was fixed.
    pub cross_validation: Vec<LambdaScore>,
    /// The objective at the end of each start.
    pub starts: Vec<f64>,
    /// For each dimension, how reproducible it is over the starts ([`super::reproducibility`]); empty for a single start.
    pub reproducibility: Vec<f64>,
    /// The way of the best start; for minibatches `n_evaluations` counts steps, and VICE's objective is a mean over samples.
    pub curve: Vec<CurvePoint>,
    /// How minibatches were taken, of answers on disk; none of answers in memory.
    #[serde(flatten)]
    pub minibatches: Option<MinibatchRecord>,
    /// What a reader should know, each with what may follow from it.
    pub notes: Vec<String>,
}

/// What a record is made from.
pub(in crate::embedding) struct Made<'a> {
    pub(in crate::embedding) coordinates: MatRef<'a, f64>,
    pub(in crate::embedding) run: &'a Run,
    pub(in crate::embedding) starts: Vec<f64>,
    pub(in crate::embedding) reproducibility: Vec<f64>,
    pub(in crate::embedding) lambda: Option<f64>,
    pub(in crate::embedding) table: Vec<LambdaScore>,
    pub(in crate::embedding) n_never_judged: usize,
    pub(in crate::embedding) n_train: usize,
    pub(in crate::embedding) n_heldout: usize,
    pub(in crate::embedding) repeats: Option<Repeats>,
    pub(in crate::embedding) minibatches: Option<MinibatchRecord>,
}

impl Made<'_> {
    pub(in crate::embedding) fn record(
        self,
        train: Score,
        heldout: Option<Score>,
        settings: &SparseSettings,
    ) -> SparseRecord {
        let mut record = SparseRecord {
            loss: settings.loss.key(),
            lambda: self.lambda,
            start_dims: settings.dims,
            dims: self.run.kept.len(),
            n_concepts: self.coordinates.nrows(),
            n_never_judged: self.n_never_judged,
            n_train: self.n_train,
            n_heldout: self.n_heldout,
            objective: self.run.objective,
            train_loss: train.loss,
            gradient_norm: self.run.gradient_norm,
            n_iterations: self.run.n_iterations,
            n_evaluations: self.run.n_evaluations,
            stop: self.run.stop,
            converged: self.run.stop.converged(),
            train_accuracy: train.accuracy,
            heldout_accuracy: heldout.map(|score| score.accuracy),
            chance_accuracy: 1.0 / 3.0,
            repeats: self.repeats,
            heldout_loss: heldout.map(|score| score.loss),
            participation_ratio: participation_ratio(self.coordinates),
            cross_validation: self.table,
            starts: self.starts,
            reproducibility: self.reproducibility,
            curve: self.run.curve.clone(),
            minibatches: self.minibatches,
            notes: vec![],
        };
        record.notes = notes(&record, settings.holdout);
        record
    }
}

/// What a reader of the record should know.
fn notes(record: &SparseRecord, holdout: f64) -> Vec<String> {
    let mut notes = vec![format!("{} of {} dimensions survived", record.dims, record.start_dims)];
    if record.dims == 0 {
        notes.push(
            "no dimension survived: the answers hold no structure beyond what the penalty or prior removes; the file has one column of zeros"
                .to_owned(),
        );
    } else if record.dims == record.start_dims {
        notes.push("every dimension survived: the answers may support more; raise dims".to_owned());
    }
    if record.n_never_judged > 0 {
        notes.push(format!(
            "{} of {} concepts are in no training answer: their coordinates mean nothing",
            record.n_never_judged, record.n_concepts
        ));
    }
    if !record.converged {
        notes.push(format!("the fit did not converge ({:?} after {} iterations)", record.stop, record.n_iterations));
    }
    if holdout > 0.0 && record.heldout_accuracy.is_none() {
        notes.push("no answer was held out: there is no held-out accuracy".to_owned());
    }
    if let Some(repeats) = record.repeats {
        notes.push(format!(
            "{} triplets have several answers: the best accuracy there is lies between {:.3} (two answers agree) and {:.3} (the most frequent answer)",
            repeats.n_triplets, repeats.agreement, repeats.majority
        ));
    }
    let tried = || record.cross_validation.iter().map(|score| score.lambda);
    let (least, most) = (tried().fold(f64::INFINITY, f64::min), tried().fold(f64::NEG_INFINITY, f64::max));
    if let Some(lambda) = record.lambda
        && least < most
        && (lambda == least || lambda == most)
    {
        notes.push(format!("cross-validation chose lambda = {lambda:.3e} at the edge of {least:.3e} to {most:.3e}"));
    }
    notes
}
