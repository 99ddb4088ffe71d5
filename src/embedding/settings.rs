//! What to fit and how.

use serde::{Deserialize, Serialize};

use super::Loss;
use crate::error::{Error, Result};

/// The L2 penalty (l2 / n) Σ_i ‖x_i‖², added to the mean loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum L2 {
    /// This much; 0 for none.
    Fixed(f64),
    /// The value in the grid with the lowest left-out loss, on the training side of the held-out split only.
    CrossValidated {
        /// Values tried.
        grid: Vec<f64>,
        /// Parts that the training triplets are cut into.
        folds: usize,
    },
}

/// What to fit and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitSettings {
    /// The response model.
    #[serde(flatten)]
    pub loss: Loss,
    /// Dimensions of the embedding.
    pub dims: usize,
    /// The penalty.
    pub l2: L2,
    /// Share of unordered triplets held out, 0 up to but not including 1.
    pub holdout: f64,
    /// Random starts of the final fit, the best of which (on the training loss) is kept.
    pub restarts: usize,
    /// Decides the held-out triplets, the folds and the starts.
    pub seed: u64,
    /// Evaluations of the loss that one search may spend.
    pub max_evaluations: usize,
}

impl FitSettings {
    /// As in the paper: crowd-kernel, μ = 0.05, no penalty, 20 % held out.
    ///
    /// On consistent answers this loss ends in two or three effective dimensions whatever `dims` is; read alignments
    /// beside their ceiling.
    pub fn paper(dims: usize, seed: u64) -> Self {
        let loss = Loss::CrowdKernel { mu: 0.05 };
        Self { loss, dims, l2: L2::Fixed(0.0), holdout: 0.2, restarts: 1, seed, max_evaluations: 2_000 }
    }

    /// Logistic in distance with the penalty chosen by cross-validation inside the 80 %.
    pub fn robust(dims: usize, seed: u64) -> Self {
        Self::cross_validated(Loss::LogisticDistance, dims, seed)
    }

    /// Any loss with the penalty chosen by cross-validation inside the 80 %.
    pub fn cross_validated(loss: Loss, dims: usize, seed: u64) -> Self {
        Self { loss, l2: L2::CrossValidated { grid: l2_grid(loss), folds: 5 }, ..Self::paper(dims, seed) }
    }

    /// The same settings with a penalty that is known, such as the one that an earlier fit's cross-validation chose.
    #[must_use]
    pub fn with_l2(&self, l2: f64) -> Self {
        Self { l2: L2::Fixed(l2), ..self.clone() }
    }

    /// Refuses settings that no fit can have.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the field
    pub fn check(&self) -> Result<()> {
        self.loss.check()?;
        let require = |ok: bool, field: &str, found: String, expected: &str| {
            let error = || Error::Setting { field: field.to_owned(), found, expected: expected.to_owned() };
            ok.then_some(()).ok_or_else(error)
        };
        let penalty = |l2: f64| l2.is_finite() && l2 >= 0.0;
        require(self.dims >= 1, "dims", self.dims.to_string(), "1 or more")?;
        require(
            (0.0..1.0).contains(&self.holdout),
            "holdout",
            self.holdout.to_string(),
            "0 up to but not including 1",
        )?;
        require(self.restarts >= 1, "restarts", self.restarts.to_string(), "1 or more")?;
        require(self.max_evaluations >= 1, "max_evaluations", self.max_evaluations.to_string(), "1 or more")?;
        match &self.l2 {
            L2::Fixed(l2) => require(penalty(*l2), "l2", l2.to_string(), "0 or more"),
            L2::CrossValidated { grid, folds } => {
                require(*folds >= 2, "folds", folds.to_string(), "2 or more")?;
                let ok = !grid.is_empty() && grid.iter().all(|&l2| penalty(l2));
                require(ok, "l2 grid", format!("{grid:?}"), "at least one value, each 0 or more")
            }
        }
    }
}

/// Penalties worth trying, in half decades.
///
/// Each grid begins some steps below what 128 concepts in 30 dimensions ask for with 28,000 reliable answers
/// (logistic-distance 1e-3; t-STE, with 29 degrees of freedom, and SOE 1e-2; STE 3e-2; GNMDS 1e-1) and goes up to what
/// a tenth of the answers or noisy ones ask for. t-STE wants less the fewer degrees of freedom it has.
fn l2_grid(loss: Loss) -> Vec<f64> {
    let half_decades = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0];
    let tried = match loss {
        Loss::CrowdKernel { .. } | Loss::TSte { .. } => 0..8,
        Loss::LogisticDistance => 1..8,
        Loss::Ste => 2..9,
        Loss::Soe { .. } => 2..10,
        Loss::Gnmds { .. } => 3..10,
    };
    half_decades[tried].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_sound_and_differ_in_loss_and_penalty_only() {
        let (paper, robust) = (FitSettings::paper(30, 7), FitSettings::robust(30, 7));
        assert!(paper.check().is_ok() && robust.check().is_ok());
        assert_eq!(FitSettings { loss: paper.loss, l2: paper.l2.clone(), ..robust }, paper);
    }
}
