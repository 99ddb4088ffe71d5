//! Running a plan on a language model.

pub mod ceilings;
pub mod encoder;
mod graph_bytes;
pub mod graph_file;
pub mod kv_cache;
pub mod provider;
pub mod scripted;
pub mod session;
pub mod signature;
pub mod timed;

use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::prompts::pass::Pass;
use crate::prompts::plan::{Budget, Plan, Resources, Strategy};
use crate::prompts::tokens::TokenId;

/// What a model reports about itself, for plans, manifests and people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence, in tokens, where it is known.
    pub context_tokens: Option<usize>,
    /// Bytes of a slot of the pool: a token's keys and values, or a state.
    pub slot_bytes: usize,
    /// Whether prefixes can be shared.
    pub strategy: Strategy,
    /// What its machine holds, and what a pass costs there.
    pub resources: Resources,
    /// Execution provider.
    pub provider: String,
    /// Precision of the export.
    pub precision: String,
    /// Version of the runtime.
    pub runtime: String,
}

impl ModelInfo {
    /// Limits of a plan with so many new tokens in a pass.
    pub fn budget(&self, batch_tokens: usize) -> Budget {
        Budget::new(batch_tokens, self.resources, self.slot_bytes)
    }
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
    /// `[scored, vocab_size]`, where the pass asks for them.
    pub logits: Vec<f32>,
}

/// A causal language model that runs the passes of a plan in order.
pub trait LanguageModel {
    /// What it is.
    fn info(&self) -> &ModelInfo;

    /// Makes a pool of so many slots; what was in it is forgotten.
    ///
    /// # Errors
    /// [`Error::Runtime`] when memory is short.
    fn begin(&mut self, n_slots: usize) -> Result<()>;

    /// Runs a pass, and puts its keys and values, or its rows' states, into the pool where it says so.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the runtime fails.
    fn run(&mut self, pass: &Pass) -> Result<PassOutput>;

    /// Time spent in the runtime so far.
    fn running(&self) -> Duration;
}

/// A plan's results.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Log-probability in nats of every slot of the plan.
    pub log_probs: Vec<f32>,
    /// Whether the token of each slot is the most probable one at its place.
    pub greedy: Vec<bool>,
    /// Most probable first token of every question.
    pub tops: Vec<Top>,
}

/// Runs all passes of a plan; `after_pass` is told of each.
///
/// # Errors
/// What the model returns; [`Error::NotFiniteLogProb`] for NaN or infinity, its `presentation` being the index of the question.
pub fn evaluate(model: &mut dyn LanguageModel, plan: &Plan, mut after_pass: impl FnMut(&Pass)) -> Result<Evaluation> {
    let unset = Top { token: 0, log_prob: f32::NAN };
    let mut evaluation = Evaluation {
        log_probs: vec![f32::NAN; plan.n_slots],
        greedy: vec![false; plan.n_slots],
        tops: vec![unset; plan.slots.len()],
    };
    model.begin(plan.size.cache_tokens)?;
    for pass in &plan.passes {
        run(model, pass, &mut |part, output| {
            for (wanted, log_prob) in part.wanted.iter().zip(&output.log_probs) {
                evaluation.log_probs[wanted.slot] = *log_prob;
                evaluation.greedy[wanted.slot] = output.tops[wanted.scored].token == wanted.token;
            }
            for &(scored, question) in &part.tops {
                evaluation.tops[question] = output.tops[scored];
            }
            Ok(())
        })?;
        after_pass(pass);
    }
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

/// Takes what came of a pass, or of a part of its rows.
pub(crate) type Reader<'a> = dyn FnMut(&Pass, PassOutput) -> Result<()> + 'a;

/// Most bytes of logits that one run of the graph returns.
const LOGIT_BYTES: usize = 64 << 20;

/// Runs a pass, or its halves where memory is short: rows do not depend on each other. `read` is handed what was run and
/// what came of it.
///
/// # Errors
/// What the model returns.
pub(crate) fn run(model: &mut dyn LanguageModel, pass: &Pass, read: &mut Reader<'_>) -> Result<()> {
    if pass.logits
        && pass.scored.len() * model.info().vocab_size * size_of::<f32>() > LOGIT_BYTES
        && let Some(halves) = pass.halves()
    {
        return halves.iter().try_for_each(|half| run(model, half, read));
    }
    let output = match (model.run(pass), pass.halves()) {
        (Ok(output), _) => output,
        (Err(Error::Runtime { out_of_memory: true, message, .. }), Some(halves)) => {
            let (n_rows, new_len) = (pass.n_rows(), pass.new_len);
            tracing::warn!("out of memory with {n_rows} rows of {new_len} tokens ({message}); trying half as many");
            return halves.iter().try_for_each(|half| run(model, half, read));
        }
        (Err(error), _) => return Err(error),
    };
    read(pass, output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scripted::ScriptedModel;
    use crate::prompts::plan::Reuse;
    use crate::prompts::tokens::{Question, TokenId};

    /// A model that overflows on prompts of three tokens, and has memory for so many.
    struct Faulty {
        model: ScriptedModel,
        most_tokens: usize,
    }

    impl LanguageModel for Faulty {
        fn info(&self) -> &ModelInfo {
            self.model.info()
        }

        fn begin(&mut self, cache_tokens: usize) -> Result<()> {
            self.model.begin(cache_tokens)
        }

        fn run(&mut self, pass: &Pass) -> Result<PassOutput> {
            if pass.tokens.len() > self.most_tokens {
                let message = "Failed to allocate memory".into();
                return Err(Error::Runtime { doing: "running".into(), message, out_of_memory: true });
            }
            let mut output = self.model.run(pass)?;
            if pass.past_len == 0 && pass.new_len == 3 {
                output.log_probs.fill(f32::NAN);
            }
            Ok(output)
        }

        fn running(&self) -> Duration {
            Duration::ZERO
        }
    }

    const BUDGET: Budget = Budget { batch_tokens: 512, cache_tokens: 640, pass_tokens: 30 };

    fn question(prompt: &[TokenId], options: [&[TokenId]; 2]) -> Question {
        Question {
            prompt: prompt.to_vec(),
            source_len: 0,
            options: options.map(<[TokenId]>::to_vec).to_vec(),
            closed: false,
        }
    }

    #[test]
    fn what_is_not_finite_stops_with_its_presentation() {
        let questions = [question(&[1, 2], [&[1], &[2]]), question(&[3, 4, 5], [&[1], &[2]])];
        let plan = Plan::new(&questions, Reuse::Trie, Strategy::Tree, BUDGET);
        let mut model = Faulty { model: ScriptedModel::new(8), most_tokens: usize::MAX };
        let error = evaluate(&mut model, &plan, |_| {}).unwrap_err();
        assert!(matches!(&error, Error::NotFiniteLogProb { presentation, .. } if presentation == "1"), "{error}");
        assert!(error.to_string().contains("NaN") && error.hint().unwrap().contains("fp32"));
    }

    #[test]
    fn out_of_memory_halves_the_pass_and_goes_on() {
        let questions: Vec<Question> =
            (0..60).map(|i| question(&[1, 2, i / 6, i % 6, 7], [&[1, i % 5, 2], &[2, 3]])).collect();
        for strategy in [Strategy::Tree, Strategy::SharedPast, Strategy::Step] {
            let plan = Plan::new(&questions, Reuse::Trie, strategy, BUDGET);
            let whole = evaluate(&mut ScriptedModel::new(8), &plan, |_| {}).unwrap();
            let mut small = Faulty { model: ScriptedModel::new(8), most_tokens: 9 };
            assert_eq!(evaluate(&mut small, &plan, |_| {}).unwrap(), whole);
            // A single row that does not fit is the end.
            small.most_tokens = 0;
            assert!(matches!(evaluate(&mut small, &plan, |_| {}), Err(Error::Runtime { out_of_memory: true, .. })));
        }
    }
}
