//! Prompts computed once and kept, so that answers can be written after them.

use crate::prompts::cutter::Cutter;
use crate::prompts::pass::Pass;
use crate::prompts::strategy::{Budget, Reuse, Strategy};
use crate::prompts::tokens::PromptTokens;
use crate::prompts::trie::{Path, Rows, Trie};

/// Passes over some prompts, and where in the pool each prompt lies afterwards. Nothing is overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefill {
    /// The passes; the most probable next token of prompt `i` is among their tops, as question `i`.
    pub passes: Vec<Pass>,
    /// The slots of each prompt's tokens, in order, or that of the state after it; none where the graph takes no past or
    /// nothing is reused.
    pub slots: Vec<Vec<usize>>,
    /// Slots of the pool that are taken.
    pub n_slots: usize,
}

impl Prefill {
    /// Plans the prompts; with `logits`, their passes ask for the logits of every next token.
    pub fn new(prompts: &[&PromptTokens], reuse: Reuse, strategy: Strategy, budget: Budget, logits: bool) -> Self {
        let mut paths: Vec<Path> =
            prompts.iter().enumerate().map(|(index, prompt)| Path::prompt(index, prompt)).collect();
        paths.sort_by(|a, b| a.tokens.cmp(&b.tokens));
        let rows = if strategy == Strategy::Step { Rows::Steps } else { Rows::Chains };
        let keeps = !matches!(strategy, Strategy::None | Strategy::EncoderOnce) && reuse != Reuse::Off;
        let trie = match reuse {
            Reuse::Trie if keeps => Trie::grow(&paths, rows, budget.pass_tokens, |_, _| false),
            _ => Trie::whole(&paths),
        };
        let mut cutter = Cutter::new(&trie, strategy, Budget { cache_tokens: usize::MAX, ..budget });
        let mut slots = vec![Vec::new(); prompts.len()];
        if !keeps {
            cutter.run_once();
        } else {
            cutter.run_and_keep();
            for (index, node) in trie.nodes.iter().enumerate() {
                for &(_, prompt) in &node.tops {
                    slots[prompt] = cutter.slots_of(index);
                }
            }
        }
        let n_slots = if keeps { cutter.n_slots } else { 0 };
        let mut passes = cutter.passes;
        passes.iter_mut().for_each(|pass| pass.logits = logits && !pass.tops.is_empty());
        Self { passes, slots, n_slots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::tokens::TokenId;

    const BUDGET: Budget = Budget { batch_tokens: 64, cache_tokens: usize::MAX, pass_tokens: 30 };

    #[test]
    fn every_prompt_lies_whole_in_the_pool() {
        // Long enough a stem to be worth sharing; one prompt ends where others go on, and one stands twice.
        let stem: Vec<TokenId> = (10..80).collect();
        let with = |more: &[TokenId]| [&stem, more].concat();
        let prompts =
            [with(&[1, 2]), with(&[]), with(&[1, 3]), with(&[4, 5, 6]), with(&[1, 2]), vec![9]].map(PromptTokens::from);
        let borrowed: Vec<&PromptTokens> = prompts.iter().collect();
        for strategy in [Strategy::Tree, Strategy::SharedPast, Strategy::Step] {
            for reuse in [Reuse::Trie, Reuse::Question] {
                let prefill = Prefill::new(&borrowed, reuse, strategy, BUDGET, false);
                let mut pool = vec![None; prefill.n_slots];
                for pass in &prefill.passes {
                    let keep = pass.keep.unwrap();
                    for (slot, token) in pass.tokens.iter().enumerate() {
                        assert_eq!(pool[keep + slot].replace(*token), None, "nothing is overwritten");
                    }
                }
                for (prompt, slots) in prompts.iter().zip(&prefill.slots) {
                    let there: Vec<TokenId> = slots.iter().map(|slot| pool[*slot].unwrap()).collect();
                    assert_eq!(there, prompt.tokens);
                }
                let mut read: Vec<usize> = prefill.passes.iter().flat_map(|p| &p.tops).map(|top| top.1).collect();
                read.sort_unstable();
                assert_eq!(read, [0, 1, 2, 3, 4, 5], "each is read once");
            }
        }
        let whole = Prefill::new(&borrowed, Reuse::Off, Strategy::Tree, BUDGET, true);
        assert!(whole.slots.iter().all(Vec::is_empty) && whole.passes.iter().all(|p| p.keep.is_none() && p.logits));
    }
}
