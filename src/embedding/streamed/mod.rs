//! Fits of answers that stay on disk: minibatch Adam in memory for one part of them and the coordinates.
//!
//! Answers go to disk once, in records of a few bytes, each to a part that is drawn for it ([`spool`]). An epoch takes the
//! parts in a random order and shuffles each in memory. The coordinates kept are those with the lowest exact objective, the
//! one that [`super::fit`] and [`super::sparse::fit`] minimise, taken in passes of their own.

mod coordinates;
mod epochs;
mod fits;
mod model;
mod passes;
mod penalty;
pub mod spool;

use faer::Mat;

pub use epochs::Minibatches;
pub use spool::{Layout, Spool, SpoolWriter};

use super::sparse::SparseLoss;
pub use super::stop::MinibatchRecord;
use super::{Fitting, L2, Record};
use crate::embedding::sparse::Lambda;
use crate::error::{Error, Result};
use crate::presentations::Task;

impl Layout {
    /// The spool that a fit needs.
    ///
    /// # Errors
    /// [`Error::Setting`] for a fit that takes its answers from memory alone
    pub fn of(fitting: &Fitting, task: Task, n_concepts: usize, n_answers: u64, plain: bool) -> Result<Self> {
        fitting.check()?;
        let (holdout, seed, folds) = match fitting {
            Fitting::Distances(settings) => {
                let folds = match &settings.l2 {
                    L2::Fixed(_) => None,
                    L2::CrossValidated { folds, .. } => Some(*folds),
                };
                (settings.holdout, settings.seed, folds)
            }
            Fitting::DotProducts(settings) => {
                let folds = match &settings.loss {
                    SparseLoss::Spose { lambda: Lambda::Fixed(_), .. } => None,
                    SparseLoss::Spose { lambda: Lambda::CrossValidated { folds, .. }, .. } => Some(*folds),
                    SparseLoss::Vice(_) => {
                        return Err(Error::Setting {
                            field: "optimiser".to_owned(),
                            found: "adam over answers on disk with loss vice".to_owned(),
                            expected: "absent: vice takes its answers from memory".to_owned(),
                        });
                    }
                };
                if task == Task::Anchored {
                    return Err(super::fitting::anchored_answers(settings));
                }
                (settings.holdout, settings.seed, folds)
            }
        };
        Ok(Self { task, n_concepts, n_answers, plain, holdout, folds, seed, part_bytes: Self::PART_BYTES })
    }
}

/// Fits answers on disk: coordinates `[n_concepts, dims]`, and how they were reached.
///
/// The objective, the held-out side and the choice of a penalty are those of the fits in memory, but that one fold is left
/// out once, and repeated triplets are not told of. Starts follow each other. The result depends on the answers and their
/// order and on the settings, not on the files they came from or the number of threads.
///
/// # Errors
/// [`Error::Setting`] for settings that make no sense or a spool that was made for others, [`Error::TooFew`] when nothing is
/// left to train on, [`Error::NotFinite`] when the objective left the range of numbers, [`Error::Io`] for the spool
pub fn fit(spool: &Spool, fitting: &Fitting, how: Minibatches) -> Result<(Mat<f64>, Record)> {
    how.check()?;
    let Layout { task, n_concepts, n_answers, plain, part_bytes, .. } = spool.layout;
    let wanted = Layout { part_bytes, ..Layout::of(fitting, task, n_concepts, n_answers, plain)? };
    if spool.layout != wanted {
        return Err(Error::Setting {
            field: "spool".to_owned(),
            found: format!("made for {:?}", spool.layout),
            expected: format!("{wanted:?}"),
        });
    }
    if !spool.judged.contains(&true) {
        return Err(Error::TooFew { what: "training answers with a weight".to_owned(), found: 0, needed: 1 });
    }
    match fitting {
        Fitting::Distances(settings) => fits::distances(spool, settings, how),
        Fitting::DotProducts(settings) => fits::dot_products(spool, settings, how),
    }
}
