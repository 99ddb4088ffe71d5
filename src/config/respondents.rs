//! Who answers: models and simulated subjects.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::provider::{ExecutionProvider, Gpu};
use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::prompts::template::Style;
use crate::respondents::noise::agreement_between_lapses;
use crate::scoring::{Decision, ScoreKind};

/// One of `[[models]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Folder with `model.onnx` and `tokenizer.json`.
    pub path: PathBuf,
    /// Unique name; the folder's unless set.
    #[serde(default)]
    pub label: String,
    /// `chat`, `plain` or `base`; the folder's own unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<Style>,
    /// Where it runs.
    #[serde(default)]
    pub provider: ExecutionProvider,
    /// How a GPU is used.
    #[serde(default)]
    pub gpu: Gpu,
    /// New tokens in one pass; [`ExecutionProvider::batch_tokens`] unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// How its answers are decided, where that is not `[judge]`'s: each decision is a respondent of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What decides, where that is not `[judge]`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<ScoreKind>,
    /// What an encoder is given for a concept, with `{concept}`; the concept's name unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What an encoder's difference of cosines is divided by; [`DEFAULT_COSINE_TEMPERATURE`] unless set.
    ///
    /// [`DEFAULT_COSINE_TEMPERATURE`]: crate::respondents::encoder::DEFAULT_COSINE_TEMPERATURE
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine_temperature: Option<f64>,
}

/// How a simulated subject answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// The nearer option in the reference, or the odd one beside the nearest pair, always.
    NoiseFree,
    /// The same more often, the more it is nearer.
    Logistic,
    /// The option of the pair with the larger dot product more often, as SPoSE has it.
    Softmax,
    /// Any option, by coin.
    CoinFlip,
}

/// One of `[[simulated]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulated {
    /// Unique name.
    pub label: String,
    /// How it answers.
    pub response: Response,
    /// For `logistic` and `softmax`: expected share of answers, lapses among them, that agree with the noise-free ones (for
    /// `softmax` the largest dot product).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// For `softmax`, instead of `agreement`: what dot products are divided by; 1 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Share of the answers that are a coin's, whatever the response; 0 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapses: Option<f64>,
}

impl Simulated {
    /// Share of the answers that are a coin's.
    pub fn lapses(&self) -> f64 {
        self.lapses.unwrap_or_default()
    }

    /// Refuses what no subject can be, and keys that its response does not read.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key.
    pub fn check(&self, task: Task) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::Setting { field: format!("simulated.{field}"), found, expected: expected.into() })
        };
        let coin = if task == Task::Anchored { "0.5" } else { "1/3" };
        let noisy = matches!(self.response, Response::Logistic | Response::Softmax);
        match self.agreement {
            Some(agreement) if noisy => agreement_between_lapses(agreement, self.lapses(), task).map(|_| ())?,
            None if self.response == Response::Logistic => {
                return wrong("agreement", "not given".into(), &format!("above {coin} and below 1 for logistic"));
            }
            Some(agreement) => return wrong("agreement", agreement.to_string(), "absent but for logistic and softmax"),
            None => {}
        }
        match (self.temperature, self.response, self.agreement) {
            (None, ..) => {}
            (Some(t), Response::Softmax, None) if t.is_finite() && t > 0.0 => {}
            (Some(t), Response::Softmax, None) => {
                return wrong("temperature", t.to_string(), "a finite number above 0");
            }
            (Some(t), ..) => {
                return wrong("temperature", t.to_string(), "absent, but for softmax without an agreement");
            }
        }
        match self.lapses {
            Some(lapses) if self.response == Response::CoinFlip => {
                wrong("lapses", lapses.to_string(), "absent for coin-flip: every answer is a coin's")
            }
            Some(lapses) if !(0.0..1.0).contains(&lapses) => {
                wrong("lapses", lapses.to_string(), "0 up to but not including 1: else take coin-flip")
            }
            _ => Ok(()),
        }
    }
}
