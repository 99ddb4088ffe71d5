//! A model without weights: the next token depends on all tokens before it through a hash. For tests.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::engine::{LanguageModel, ModelInfo, PassOutput, Strategy, Top};
use crate::error::Result;
use crate::prompts::plan::Pass;
use crate::prompts::tokens::TokenId;

/// A scripted language model.
///
/// Its logits are a fixed function of the whole sequence, so any loss or mix-up of a prefix shows in the numbers.
#[derive(Debug)]
pub struct ScriptedModel {
    info: ModelInfo,
    caches: HashMap<usize, Vec<Vec<TokenId>>>,
}

impl ScriptedModel {
    /// A model over `vocab_size` tokens.
    pub fn new(vocab_size: usize) -> Self {
        let info = ModelInfo {
            vocab_size,
            context_tokens: None,
            kv_bytes_per_token: 4,
            strategy: Strategy::SharedPast,
            provider: "scripted".into(),
            precision: "fp32".into(),
            runtime: "none".into(),
        };
        Self { info, caches: HashMap::new() }
    }

    /// Log-probabilities over the vocabulary after `sequence`.
    fn log_softmax(&self, sequence: &[TokenId]) -> Vec<f64> {
        let mut hash = Sha256::new();
        sequence.iter().for_each(|token| hash.update(token.to_le_bytes()));
        let state = hash.finalize();
        let logit = |token: usize| {
            let byte = f64::from(state[token % 32]) / 64.0;
            byte + ((token as f64) * 0.37 + byte).sin()
        };
        let logits: Vec<f64> = (0..self.info.vocab_size).map(logit).collect();
        let log_sum = logits.iter().map(|l| l.exp()).sum::<f64>().ln();
        logits.into_iter().map(|l| l - log_sum).collect()
    }
}

impl LanguageModel for ScriptedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    #[allow(clippy::cast_possible_truncation, reason = "log-probabilities are f32 at the model border")]
    fn run(&mut self, index: usize, pass: &Pass) -> Result<PassOutput> {
        let rows: Vec<Vec<TokenId>> = (0..pass.n_rows())
            .map(|row| {
                let past = pass.parent.map(|parent| &self.caches[&parent][pass.parent_rows[row]]);
                let mut sequence = past.cloned().unwrap_or_default();
                assert_eq!(sequence.len(), pass.past_len, "a plan's rows continue caches of their own length");
                sequence.extend_from_slice(&pass.tokens[row * pass.new_len..(row + 1) * pass.new_len]);
                sequence
            })
            .collect();
        let scored: Vec<Vec<f64>> =
            pass.scored.iter().map(|&(row, at)| self.log_softmax(&rows[row][..=pass.past_len + at])).collect();
        let log_probs = pass.wanted.iter().map(|w| scored[w.scored][w.token as usize] as f32).collect();
        let tops = scored
            .iter()
            .map(|log_probs| {
                let best = (0..log_probs.len()).max_by(|a, b| log_probs[*a].total_cmp(&log_probs[*b])).unwrap_or(0);
                Top { token: best as TokenId, log_prob: log_probs[best] as f32 }
            })
            .collect();
        if let Some(parent) = pass.parent.filter(|_| pass.release) {
            self.caches.remove(&parent);
        }
        if pass.keep {
            self.caches.insert(index, rows);
        }
        Ok(PassOutput { log_probs, tops })
    }

    fn reset(&mut self) {
        self.caches.clear();
    }
}
