//! A fit of either kind: by distances, to comparisons, or by dot products, to odd-one-out answers as they are.

use faer::Mat;
use serde::Serialize;

use super::sparse::{self, SparseRecord, SparseSettings};
use super::{Answered, FitRecord, FitSettings};
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

impl Fitting {
    /// Coordinates `[n_concepts, dims]` of some answers, and how they were reached. A fit by distances takes odd-one-out
    /// answers by way of [`super::odd_one_out::anchored_judgments`] and says so in its notes.
    ///
    /// # Errors
    /// [`Error::Setting`] for a fit by dot products of anchored answers, and those of the two fits
    pub fn fit(&self, n_concepts: usize, answered: &Answered) -> Result<(Mat<f64>, Record)> {
        match (self, answered) {
            (Self::Distances(settings), _) => {
                let mut fit = super::fit(n_concepts, &answered.comparisons(), settings)?;
                if let Answered::OddOneOut(answers) = answered {
                    fit.record.notes.push(format!(
                        "{} odd-one-out answers were taken as two anchored judgments each, (i: j over k) and (j: i over k) of odd k: an assumption, and the two are not independent",
                        answers.len()
                    ));
                }
                Ok((fit.coordinates, Record::Distances(fit.record)))
            }
            (Self::DotProducts(settings), Answered::OddOneOut(answers)) => {
                let fit = sparse::fit(n_concepts, answers, settings)?;
                Ok((fit.coordinates, Record::DotProducts(fit.record)))
            }
            (Self::DotProducts(settings), Answered::Anchored(_)) => Err(Error::Setting {
                field: "loss".to_owned(),
                found: format!("{} for anchored judgments", settings.loss.key()),
                expected: "odd-one-out answers (columns `a, b, c, odd`), or a loss on distances".to_owned(),
            }),
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

impl Record {
    /// Whether the fit ended because it had arrived.
    pub fn converged(&self) -> bool {
        match self {
            Self::Distances(record) => record.converged,
            Self::DotProducts(record) => record.converged,
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
