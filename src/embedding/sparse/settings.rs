//! What sparse fit to make and how.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A loss on odd-one-out answers with non-negative, sparse coordinates W, `[n_concepts, n_dims]`; nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loss", rename_all = "kebab-case")]
pub enum SparseLoss {
    /// Sparse positive similarity embedding: mean negative log-likelihood + (λ / n_concepts) Σ W, with W ≥ 0.
    ///
    /// λ is that of the published software, which divides by the number of concepts too (0.008 there for 1,854 concepts and
    /// 1.46 million answers). As a sum over n answers the penalty is β Σ W with β = n λ / n_concepts: an exponential prior of
    /// rate β on each weight. Source: Zheng, Pereira, Baker & Hebart (2019), Revealing interpretable object
    /// representations from human behavior; Hebart, Zheng, Pereira & Baker (2020).
    Spose {
        /// The penalty.
        lambda: Lambda,
        /// How the objective is minimised.
        optimiser: Optimiser,
    },
    /// Variational interpretable concept embeddings: a Gaussian posterior for each entry of X, W = max(0, X), a
    /// spike-and-slab prior of two Gaussians, and dimensions that are kept by a test. Source: Muttenthaler, Zheng,
    /// McClure, Vandermeulen, Hebart & Pereira (2022).
    Vice(Vice),
}

/// The penalty of [`SparseLoss::Spose`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lambda {
    /// This much, 0 or more.
    Fixed(f64),
    /// The one with the lowest left-out loss, on the training side of the held-out split only.
    CrossValidated {
        /// Rates β of the prior that are tried; λ = β n_concepts / n for n training answers.
        rates: Vec<f64>,
        /// Parts that the training triplets are cut into. Of more than 200,000 answers only the first is left out.
        folds: usize,
        /// Whether to take the largest λ whose left-out loss is within one standard error of the lowest.
        one_standard_error: bool,
    },
}

/// How [`SparseLoss::Spose`] is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimiser {
    /// All answers at once, [`crate::optimize::bounded`].
    QuasiNewton {
        /// Evaluations of the objective that one search may spend.
        max_evaluations: usize,
    },
    /// Minibatches, [`crate::optimize::adam`], with W projected onto W ≥ 0 after each step; as in the literature.
    Adam {
        /// Step size; 0.001 in the literature.
        learning_rate: f64,
        /// Answers in a batch; 100 to 128 in the literature.
        batch: usize,
        /// Passes over the answers.
        max_epochs: usize,
    },
}

/// Settings of [`SparseLoss::Vice`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Vice {
    /// Standard deviation of the narrow part of the prior.
    pub spike: f64,
    /// Standard deviation of its wide part.
    pub slab: f64,
    /// Probability of the narrow part.
    pub pi: f64,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Answers in a batch.
    pub batch: usize,
    /// A dimension is kept when more concepts than this have a weight above zero, or than a tenth of them if that is fewer.
    pub min_concepts: usize,
    /// False discovery rate (Benjamini & Hochberg) of that test, for each dimension.
    pub false_discovery_rate: f64,
    /// Epochs before the search may end.
    pub burn_in: usize,
    /// It ends when the number of dimensions kept has been the same for this many epochs.
    pub window: usize,
    /// Passes over the answers.
    pub max_epochs: usize,
}

impl Default for Vice {
    /// Prior, test and stopping rule of the published software; larger batches and steps, fewer of them.
    fn default() -> Self {
        Self {
            spike: 0.25,
            slab: 1.0,
            pi: 0.6,
            learning_rate: 0.01,
            batch: 1_024,
            min_concepts: 5,
            false_discovery_rate: 0.05,
            burn_in: 100,
            window: 50,
            max_epochs: 500,
        }
    }
}

/// What sparse fit to make and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SparseSettings {
    /// What is minimised.
    #[serde(flatten)]
    pub loss: SparseLoss,
    /// Dimensions to begin with; those that end empty are dropped.
    pub dims: usize,
    /// Share of unordered triplets held out, 0 up to but not including 1.
    pub holdout: f64,
    /// Random starts, the best of which (on the objective) is kept and the others tell how reproducible it is.
    pub restarts: usize,
    /// Decides the held-out triplets, the folds, the starts, the batches and the noise.
    pub seed: u64,
}

impl SparseSettings {
    /// SPoSE with λ chosen by cross-validation inside the 80 %.
    pub fn spose(dims: usize, seed: u64) -> Self {
        let lambda = Lambda::CrossValidated { rates: RATES.to_vec(), folds: 5, one_standard_error: false };
        let loss = SparseLoss::Spose { lambda, optimiser: Optimiser::QuasiNewton { max_evaluations: 2_000 } };
        Self { loss, dims, holdout: 0.2, restarts: 1, seed }
    }

    /// VICE with its published prior.
    pub fn vice(dims: usize, seed: u64) -> Self {
        Self { loss: SparseLoss::Vice(Vice::default()), ..Self::spose(dims, seed) }
    }

    /// The same settings with a λ that is known; VICE, which has none, as it was.
    #[must_use]
    pub fn with_lambda(&self, lambda: f64) -> Self {
        let loss = match &self.loss {
            SparseLoss::Spose { optimiser, .. } => {
                SparseLoss::Spose { lambda: Lambda::Fixed(lambda), optimiser: *optimiser }
            }
            SparseLoss::Vice(vice) => SparseLoss::Vice(*vice),
        };
        Self { loss, ..self.clone() }
    }

    /// Refuses settings that no fit can have.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the field
    pub fn check(&self) -> Result<()> {
        let require = |ok: bool, field: &str, found: String, expected: &str| {
            let error = || Error::Setting { field: field.to_owned(), found, expected: expected.to_owned() };
            ok.then_some(()).ok_or_else(error)
        };
        let at_least_one = |field: &str, value: usize| require(value >= 1, field, value.to_string(), "1 or more");
        let positive = |field: &str, value: f64| {
            require(value.is_finite() && value > 0.0, field, value.to_string(), "a finite number above 0")
        };
        let share = |field: &str, value: f64| {
            require(value > 0.0 && value < 1.0, field, value.to_string(), "above 0 and below 1")
        };
        at_least_one("dims", self.dims)?;
        at_least_one("restarts", self.restarts)?;
        let holdout = (0.0..1.0).contains(&self.holdout);
        require(holdout, "holdout", self.holdout.to_string(), "0 up to but not including 1")?;
        match &self.loss {
            SparseLoss::Spose { lambda, optimiser } => {
                match lambda {
                    Lambda::Fixed(lambda) => {
                        let ok = lambda.is_finite() && *lambda >= 0.0;
                        require(ok, "lambda", lambda.to_string(), "0 or more")?;
                    }
                    Lambda::CrossValidated { rates, folds, .. } => {
                        require(*folds >= 2, "folds", folds.to_string(), "2 or more")?;
                        require(!rates.is_empty(), "rates", "none".to_owned(), "at least one")?;
                        rates.iter().try_for_each(|&rate| positive("rates", rate))?;
                    }
                }
                match *optimiser {
                    Optimiser::QuasiNewton { max_evaluations } => at_least_one("max_evaluations", max_evaluations),
                    Optimiser::Adam { learning_rate, batch, max_epochs } => {
                        positive("learning_rate", learning_rate)?;
                        at_least_one("batch", batch)?;
                        at_least_one("max_epochs", max_epochs)
                    }
                }
            }
            SparseLoss::Vice(vice) => {
                positive("spike", vice.spike)?;
                positive("slab", vice.slab)?;
                share("pi", vice.pi)?;
                positive("learning_rate", vice.learning_rate)?;
                share("false_discovery_rate", vice.false_discovery_rate)?;
                at_least_one("batch", vice.batch)?;
                at_least_one("window", vice.window)?;
                at_least_one("max_epochs", vice.max_epochs)
            }
        }
    }
}

impl Vice {
    /// The same with at most a tenth of the concepts asked for.
    pub(super) fn for_concepts(self, n_concepts: usize) -> Self {
        Self { min_concepts: self.min_concepts.min(n_concepts / 10), ..self }
    }
}

impl SparseLoss {
    /// The name used in settings, records and file names.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Spose { .. } => "spose",
            Self::Vice(_) => "vice",
        }
    }
}

/// Rates of the exponential prior worth trying, in half octaves. The published λ = 0.008 is a rate of 6.3; 128 concepts with
/// 28,000 answers ask for about as much.
const RATES: [f64; 9] = [1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_sound_and_wrong_settings_are_named() {
        let (spose, vice) = (SparseSettings::spose(30, 1), SparseSettings::vice(30, 1));
        assert!(spose.check().is_ok() && vice.check().is_ok() && spose.with_lambda(0.0).check().is_ok());
        let refused = |settings: SparseSettings| settings.check().unwrap_err().to_string();
        assert!(refused(spose.with_lambda(-1.0)).contains("lambda"));
        assert!(refused(SparseSettings { dims: 0, ..spose.clone() }).contains("dims"));
        assert!(refused(SparseSettings { holdout: 1.0, ..spose }).contains("holdout"));
        let pi = Vice { pi: 1.0, ..Vice::default() };
        assert!(refused(SparseSettings { loss: SparseLoss::Vice(pi), ..vice }).contains("pi"));
    }
}
