//! A fit of either kind: by distances, to comparisons, or by dot products, to odd-one-out answers as they are.

use faer::{Mat, MatRef};
use serde::Serialize;

use super::active::Ensemble;
use super::sparse::{self, SparseRecord, SparseSettings};
use super::{Answered, FitRecord, FitSettings, OddOneOutAnswer, triplet_accuracy};
use crate::error::{Error, Result};

/// What to fit and how.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Fitting {
    /// Coordinates whose distances explain comparisons; [`super::fit`].
    Distances(FitSettings),
    /// Non-negative coordinates whose dot products explain odd-one-out answers; [`sparse::fit`].
    DotProducts(SparseSettings),
}

/// How a fit went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// Of [`Fitting::Distances`].
    Distances(FitRecord),
    /// Of [`Fitting::DotProducts`].
    DotProducts(SparseRecord),
}

/// What the records of both kinds tell; in the unit of the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The loss by name.
    pub loss: &'static str,
    /// [`Record::penalty`].
    pub penalty: Option<f64>,
    /// Dimensions that the coordinates have; of a fit by dot products those that survived.
    pub dims: usize,
    /// Comparisons or odd-one-out answers fitted.
    pub n_train: usize,
    /// The same held out.
    pub n_heldout: usize,
    /// Share of the training answers that the fit reproduces.
    pub train_accuracy: Option<f64>,
    /// [`Record::heldout_accuracy`].
    pub heldout_accuracy: Option<f64>,
    /// What a coin reaches: one half of comparisons, one third of odd-one-out answers.
    pub chance_accuracy: f64,
    /// Mean loss on the held-out answers.
    pub heldout_loss: Option<f64>,
    /// Effective dimensions.
    pub participation_ratio: f64,
}

impl From<&FitSettings> for Fitting {
    fn from(settings: &FitSettings) -> Self {
        Self::Distances(settings.clone())
    }
}

impl From<&SparseSettings> for Fitting {
    fn from(settings: &SparseSettings) -> Self {
        Self::DotProducts(settings.clone())
    }
}

impl From<&Fitting> for Fitting {
    fn from(fitting: &Fitting) -> Self {
        fitting.clone()
    }
}

impl Fitting {
    /// Coordinates `[n_concepts, dims]` of some answers, and how they were reached. A fit by distances takes odd-one-out
    /// answers by way of [`super::odd_one_out::anchored_judgments`] and says so in its notes.
    ///
    /// # Errors
    /// [`Error::Setting`] for a fit by dot products of anchored answers, and those of the two fits
    pub fn fit(&self, n_concepts: usize, answered: &Answered) -> Result<(Mat<f64>, Record)> {
        match self {
            Self::Distances(settings) => {
                let mut fit = super::fit(n_concepts, &answered.comparisons(), settings)?;
                if let Answered::OddOneOut(answers) = answered {
                    fit.record.notes.push(taken_as_two(answers.len() as u64));
                }
                Ok((fit.coordinates, Record::Distances(fit.record)))
            }
            Self::DotProducts(settings) => {
                let fit = sparse::fit(n_concepts, odd_ones(settings, answered)?, settings)?;
                Ok((fit.coordinates, Record::DotProducts(fit.record)))
            }
        }
    }

    /// The fit to some answers, as a record, and what those answers leave open around it.
    ///
    /// # Errors
    /// those of [`Self::fit`], [`Ensemble::of_distances`] and [`Ensemble::of_dot_products`]
    pub fn ensemble(
        &self,
        n_concepts: usize,
        answered: &Answered,
        n_members: usize,
        seed: u64,
    ) -> Result<(Record, Ensemble)> {
        match self {
            Self::Distances(settings) => {
                let comparisons = answered.comparisons();
                let fit = super::fit(n_concepts, &comparisons, settings)?;
                let ensemble = Ensemble::of_distances(&fit, &comparisons, n_members, seed)?;
                Ok((Record::Distances(fit.record), ensemble))
            }
            Self::DotProducts(settings) => {
                let answers = odd_ones(settings, answered)?;
                let fit = sparse::fit(n_concepts, answers, settings)?;
                let ensemble = Ensemble::of_dot_products(&fit, answers, n_members, seed)?;
                Ok((Record::DotProducts(fit.record), ensemble))
            }
        }
    }

    /// Share of some answers that coordinates reproduce, as this kind of fit understands them; none when no answer has a side.
    ///
    /// # Shapes
    /// `coordinates`: `[n_concepts, any]`
    /// # Errors
    /// [`Error::Setting`] for a fit by dot products of anchored answers, and those of [`triplet_accuracy`] and
    /// [`sparse::accuracy`]
    pub fn accuracy(&self, coordinates: MatRef<'_, f64>, answered: &Answered) -> Result<Option<f64>> {
        match self {
            Self::Distances(_) => {
                let share = triplet_accuracy(coordinates, &answered.comparisons())?.share;
                Ok(share.is_finite().then_some(share))
            }
            Self::DotProducts(settings) => sparse::accuracy(coordinates, odd_ones(settings, answered)?),
        }
    }

    /// The same with a penalty that is known, such as the one of an earlier fit: `l2`, or λ of SPoSE; VICE has none.
    #[must_use]
    pub fn with_penalty(&self, penalty: f64) -> Self {
        match self {
            Self::Distances(settings) => Self::Distances(settings.with_l2(penalty)),
            Self::DotProducts(settings) => Self::DotProducts(settings.with_lambda(penalty)),
        }
    }

    /// The same with another share of triplets held out.
    #[must_use]
    pub fn with_holdout(&self, holdout: f64) -> Self {
        match self {
            Self::Distances(settings) => Self::Distances(FitSettings { holdout, ..settings.clone() }),
            Self::DotProducts(settings) => Self::DotProducts(SparseSettings { holdout, ..settings.clone() }),
        }
    }

    /// Dimensions; of a fit by dot products those to begin with.
    pub fn dims(&self) -> usize {
        match self {
            Self::Distances(settings) => settings.dims,
            Self::DotProducts(settings) => settings.dims,
        }
    }

    /// What decides the held-out triplets, and all else that is random.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Distances(settings) => settings.seed,
            Self::DotProducts(settings) => settings.seed,
        }
    }

    /// Share of triplets held out.
    pub fn holdout(&self) -> f64 {
        match self {
            Self::Distances(settings) => settings.holdout,
            Self::DotProducts(settings) => settings.holdout,
        }
    }

    /// The accuracy of a fit to a coin's answers, and its variance over `n` held out.
    ///
    /// By distances each comparison is right half of the time (see [`Answered::coin_variance`]); by dot products each
    /// odd-one-out answer a third of the time, independently.
    pub fn coin_accuracy(&self, answered: &Answered, n: f64) -> (f64, f64) {
        match self {
            Self::Distances(_) => (0.5, answered.coin_variance(n)),
            Self::DotProducts(_) => (1.0 / 3.0, 2.0 / 9.0 / n),
        }
    }

    /// Refuses settings that no fit can have.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the field
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Distances(settings) => settings.check(),
            Self::DotProducts(settings) => settings.check(),
        }
    }
}

/// The odd-one-out answers that a fit by dot products needs.
fn odd_ones<'a>(settings: &SparseSettings, answered: &'a Answered) -> Result<&'a [OddOneOutAnswer]> {
    match answered {
        Answered::OddOneOut(answers) => Ok(answers),
        Answered::Anchored(_) => Err(anchored_answers(settings)),
    }
}

impl Record {
    /// The numbers that both kinds have.
    pub fn summary(&self) -> Summary {
        match self {
            Self::Distances(record) => Summary {
                loss: record.loss.key(),
                penalty: Some(record.l2),
                dims: record.dims,
                n_train: record.n_train,
                n_heldout: record.n_heldout,
                train_accuracy: record.train_accuracy,
                heldout_accuracy: record.heldout_accuracy,
                chance_accuracy: 0.5,
                heldout_loss: record.heldout_loss,
                participation_ratio: record.participation_ratio,
            },
            Self::DotProducts(record) => Summary {
                loss: record.loss,
                penalty: record.lambda,
                dims: record.dims,
                n_train: record.n_train,
                n_heldout: record.n_heldout,
                train_accuracy: Some(record.train_accuracy),
                heldout_accuracy: record.heldout_accuracy,
                chance_accuracy: record.chance_accuracy,
                heldout_loss: record.heldout_loss,
                participation_ratio: record.participation_ratio,
            },
        }
    }

    /// Whether the fit ended because it had arrived.
    pub fn converged(&self) -> bool {
        match self {
            Self::Distances(record) => record.converged,
            Self::DotProducts(record) => record.converged,
        }
    }

    /// Share of the held-out answers that the fit reproduces; none when nothing with a side was held out.
    pub fn heldout_accuracy(&self) -> Option<f64> {
        match self {
            Self::Distances(record) => record.heldout_accuracy,
            Self::DotProducts(record) => record.heldout_accuracy,
        }
    }

    /// Comparisons or odd-one-out answers held out.
    pub fn n_heldout(&self) -> usize {
        match self {
            Self::Distances(record) => record.n_heldout,
            Self::DotProducts(record) => record.n_heldout,
        }
    }

    /// What [`Fitting::with_penalty`] takes; none where the fit has no penalty.
    pub fn penalty(&self) -> Option<f64> {
        match self {
            Self::Distances(record) => Some(record.l2),
            Self::DotProducts(record) => record.lambda,
        }
    }

    /// What a reader should know.
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Distances(record) => &record.notes,
            Self::DotProducts(record) => &record.notes,
        }
    }

    /// Why the fit stopped, as in the record's own JSON.
    pub fn stop(&self) -> String {
        match self {
            Self::Distances(record) => format!("{:?}", record.stop),
            Self::DotProducts(record) => format!("{:?}", record.stop),
        }
    }
}

/// What a reader of a fit by distances to odd-one-out answers should know.
pub(super) fn taken_as_two(n_answers: u64) -> String {
    format!(
        "{n_answers} odd-one-out answers were taken as two anchored judgments each, (i: j over k) and (j: i over k) of odd k: an assumption, and the two are not independent"
    )
}

/// A fit by dot products has no use for anchored answers.
pub(super) fn anchored_answers(settings: &SparseSettings) -> Error {
    Error::Setting {
        field: "loss".to_owned(),
        found: format!("{} for anchored judgments", settings.loss.key()),
        expected: "odd-one-out answers (columns `a, b, c, odd`), or a loss on distances".to_owned(),
    }
}
