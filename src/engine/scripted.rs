//! A model without weights: the next token depends on all tokens before it through a hash. For tests.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::engine::{LanguageModel, ModelInfo, PassOutput, Top};
use crate::error::Result;
use crate::prompts::pass::{Pass, Slot};
use crate::prompts::plan::{Resources, Strategy};
use crate::prompts::tokens::TokenId;

/// A scripted language model.
///
/// Its logits are a fixed function of the whole sequence, so any loss or mix-up of a prefix shows in the numbers.
#[derive(Debug)]
pub struct ScriptedModel {
    info: ModelInfo,
    /// The sequence up to the token, or state, in each slot of the pool; `None` where nothing was put.
    pool: Vec<Option<Vec<TokenId>>>,
}

impl ScriptedModel {
    /// A model over `vocab_size` tokens, that takes trees.
    pub fn new(vocab_size: usize) -> Self {
        Self::of(vocab_size, Strategy::Tree)
    }

    /// A model over `vocab_size` tokens.
    pub fn of(vocab_size: usize, strategy: Strategy) -> Self {
        let info = ModelInfo {
            vocab_size,
            context_tokens: None,
            slot_bytes: 4,
            strategy,
            resources: Resources::CPU,
            provider: "scripted".into(),
            precision: "fp32".into(),
            runtime: "none".into(),
        };
        Self { info, pool: Vec::new() }
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

    fn begin(&mut self, n_slots: usize) -> Result<()> {
        self.pool = vec![None; n_slots.max(1)];
        if self.info.strategy.slot() == Slot::State {
            self.pool[0] = Some(Vec::new());
        }
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, reason = "log-probabilities are f32 at the model border")]
    fn run(&mut self, pass: &Pass) -> Result<PassOutput> {
        assert_eq!(pass.slot, self.info.strategy.slot(), "a pass for this kind of model");
        // What a token sees is what the mask says, in the order of positions, as in a real model.
        let (positions, mask, width) = (pass.positions(), pass.mask(), pass.past_len + pass.new_len);
        let known = |slot: usize| self.pool[slot].as_ref().expect("a slot that was put");
        let sequence = |row: usize, at: usize| -> Vec<TokenId> {
            let of_row = row * pass.new_len;
            if pass.slot == Slot::State {
                return [known(pass.past[row]), &pass.tokens[of_row..=of_row + at]].concat();
            }
            let last = |slot: usize| *known(slot).last().expect("a slot holds a token");
            let past = (0..pass.past_len).map(|i| (i, last(pass.past[row * pass.past_len + i])));
            let new = (0..pass.new_len).map(|i| (positions[of_row + i], pass.tokens[of_row + i]));
            let seen = &mask[(of_row + at) * width..(of_row + at + 1) * width];
            let mut tokens: Vec<_> = past.chain(new).zip(seen).filter(|(_, seen)| **seen).map(|(t, _)| t).collect();
            tokens.sort_by_key(|(position, _)| *position);
            assert!(tokens.iter().enumerate().all(|(i, (position, _))| i == *position), "a sequence without gaps");
            tokens.into_iter().map(|(_, token)| token).collect()
        };
        let scored: Vec<Vec<f64>> = pass.scored.iter().map(|&(row, at)| self.log_softmax(&sequence(row, at))).collect();
        let log_probs = pass.wanted.iter().map(|w| scored[w.scored][w.token as usize] as f32).collect();
        let tops = scored
            .iter()
            .map(|log_probs| {
                let best = (0..log_probs.len()).max_by(|a, b| log_probs[*a].total_cmp(&log_probs[*b])).unwrap_or(0);
                Top { token: best as TokenId, log_prob: log_probs[best] as f32 }
            })
            .collect();
        let logits = if pass.logits { scored.iter().flatten().map(|l| *l as f32).collect() } else { Vec::new() };
        if let Some(first) = pass.keep {
            let rows_and_ends: Vec<(usize, usize)> = match pass.slot {
                Slot::State => (0..pass.n_rows()).map(|row| (row, pass.new_len - 1)).collect(),
                Slot::Token => (0..pass.tokens.len()).map(|i| (i / pass.new_len, i % pass.new_len)).collect(),
            };
            let kept: Vec<Vec<TokenId>> = rows_and_ends.into_iter().map(|(row, at)| sequence(row, at)).collect();
            kept.into_iter().enumerate().for_each(|(i, sequence)| self.pool[first + i] = Some(sequence));
        }
        Ok(PassOutput { log_probs, tops, logits })
    }

    fn running(&self) -> Duration {
        Duration::ZERO
    }
}
