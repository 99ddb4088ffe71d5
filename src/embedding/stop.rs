//! How fits end, whatever they minimise and by which optimiser.

use serde::Serialize;

use crate::optimize::StopReason;

/// Why a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitStop {
    /// The projected gradient's norm fell below its limit.
    GradientSmall,
    /// The objective no longer falls by a share that matters.
    ObjectiveFlat,
    /// The number of dimensions kept has been the same for a while.
    DimensionsStable,
    /// The evaluations ran out first.
    MaxEvaluations,
    /// The epochs ran out first.
    MaxEpochs,
    /// No lower point was found along the steepest descent, or the start was not finite.
    LineSearchFailed,
}

impl From<StopReason> for FitStop {
    fn from(stop: StopReason) -> Self {
        match stop {
            StopReason::GradientSmall => Self::GradientSmall,
            StopReason::ObjectiveFlat => Self::ObjectiveFlat,
            StopReason::MaxEvaluations => Self::MaxEvaluations,
            StopReason::LineSearchFailed => Self::LineSearchFailed,
        }
    }
}

impl FitStop {
    /// Whether the fit ended because it had arrived.
    pub fn converged(self) -> bool {
        matches!(self, Self::GradientSmall | Self::ObjectiveFlat | Self::DimensionsStable)
    }
}

/// How minibatches went, in the record of a fit; epochs are its `n_iterations`, steps its `n_evaluations`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MinibatchRecord {
    /// `adam`
    pub optimiser: &'static str,
    /// Passes over the training answers, for the best start.
    pub n_epochs: usize,
    /// Steps, for the best start.
    pub n_steps: usize,
    /// Answers in a batch.
    pub batch: usize,
    /// Step size to begin with.
    pub learning_rate: f64,
    /// Step size at the end.
    pub last_learning_rate: f64,
    /// Parts that the training answers are in.
    pub n_parts: usize,
}
