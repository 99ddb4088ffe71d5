//! Running a plan on a language model.

pub mod kv_cache;
pub mod provider;
pub mod scripted;
pub mod session;
pub mod signature;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::prompts::plan::{Pass, Plan};
use crate::prompts::tokens::TokenId;

/// What a model reports about itself, for plans, manifests and people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence, in tokens, where it is known.
    pub context_tokens: Option<usize>,
    /// Bytes of key-value cache for one token.
    pub kv_bytes_per_token: usize,
    /// Whether prefixes can be shared.
    pub strategy: Strategy,
    /// Execution provider.
    pub provider: String,
    /// Precision of the export.
    pub precision: String,
    /// Version of the runtime.
    pub runtime: String,
}

/// How prefixes are shared: read off the graph, never off the model's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Rows continue cached prefixes of equal length.
    SharedPast,
    /// The graph takes no cache: every path is computed whole.
    None,
}

/// The most probable next token at a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Top {
    /// Its id.
    pub token: TokenId,
    /// Its log-probability in nats.
    pub log_prob: f32,
}

/// What one pass returns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PassOutput {
    /// Log-probabilities in nats, in the order of [`Pass::wanted`].
    pub log_probs: Vec<f32>,
    /// In the order of [`Pass::scored`].
    pub tops: Vec<Top>,
}

/// A causal language model that runs the passes of a plan in order.
pub trait LanguageModel {
    /// What it is.
    fn info(&self) -> &ModelInfo;

    /// Runs pass number `index`, keeping its cache if [`Pass::keep`] and dropping its parent's if it [releases](Pass::release) it.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the runtime fails.
    fn run(&mut self, index: usize, pass: &Pass) -> Result<PassOutput>;

    /// Forgets every cache.
    fn reset(&mut self);
}

/// A plan's results.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Log-probability in nats of every slot of the plan.
    pub log_probs: Vec<f32>,
    /// Most probable first token of every question.
    pub tops: Vec<Top>,
}

/// Runs all passes of a plan; `after_pass` is told of each.
///
/// # Errors
/// What the model returns; [`Error::NotFiniteLogProb`] for NaN or infinity, its `presentation` being the index of the question.
pub fn evaluate(model: &mut dyn LanguageModel, plan: &Plan, mut after_pass: impl FnMut(&Pass)) -> Result<Evaluation> {
    let unset = Top { token: 0, log_prob: f32::NAN };
    let mut evaluation = Evaluation { log_probs: vec![f32::NAN; plan.n_slots], tops: vec![unset; plan.slots.len()] };
    model.reset();
    for (index, pass) in plan.passes.iter().enumerate() {
        let output = model.run(index, pass)?;
        for (wanted, log_prob) in pass.wanted.iter().zip(&output.log_probs) {
            evaluation.log_probs[wanted.slot] = *log_prob;
        }
        for &(scored, question) in &pass.tops {
            evaluation.tops[question] = output.tops[scored];
        }
        after_pass(pass);
    }
    model.reset();
    if let Some(slot) = evaluation.log_probs.iter().position(|l| !l.is_finite()) {
        let question = plan.slots.iter().position(|options| options.iter().any(|range| range.contains(&slot)));
        return Err(Error::NotFiniteLogProb {
            value: evaluation.log_probs[slot],
            provider: model.info().provider.clone(),
            precision: model.info().precision.clone(),
            presentation: question.map_or_else(String::new, |q| q.to_string()),
        });
    }
    Ok(evaluation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scripted::ScriptedModel;
    use crate::prompts::plan::{Budget, Reuse};
    use crate::prompts::tokens::Question;

    /// A model that overflows at one pass.
    struct Overflowing(ScriptedModel);

    impl LanguageModel for Overflowing {
        fn info(&self) -> &ModelInfo {
            self.0.info()
        }

        fn run(&mut self, index: usize, pass: &Pass) -> Result<PassOutput> {
            let mut output = self.0.run(index, pass)?;
            if pass.past_len == 0 && pass.new_len == 3 {
                output.log_probs.fill(f32::NAN);
            }
            Ok(output)
        }

        fn reset(&mut self) {
            self.0.reset();
        }
    }

    #[test]
    fn what_is_not_finite_stops_with_its_presentation() {
        let question =
            |prompt: &[TokenId]| Question { prompt: prompt.to_vec(), options: vec![vec![1], vec![2]], closed: false };
        let questions = [question(&[1, 2]), question(&[3, 4, 5])];
        let plan = Plan::new(&questions, Reuse::Trie, Budget { batch_tokens: 16, cache_tokens: 64 });
        let error = evaluate(&mut Overflowing(ScriptedModel::new(8)), &plan, |_| {}).unwrap_err();
        assert!(matches!(&error, Error::NotFiniteLogProb { presentation, .. } if presentation == "1"), "{error}");
        assert!(error.to_string().contains("NaN") && error.hint().unwrap().contains("fp32"));
    }
}
