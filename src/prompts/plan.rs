//! The plan: the token trie over many questions, cut into passes whose rows all have the same length.
//!
//! Keys and values of computed tokens lie in a pool, one slot a token; a row names the slots of its past. Rows of equal
//! (past, new) length make one pass, whichever branch of the trie they continue. There is no padding and no product with a
//! single row, so that a row's numbers do not depend on its neighbours.
//!
//! Two kinds of model remember otherwise. A state-space model keeps one state for each row, whatever its length; a slot holds
//! a state then. An encoder–decoder reads the whole prompt in its encoder, which nothing of another prompt can shorten: a row
//! is a prompt with all its options, and nothing is kept.
//!
//! The plan is a function of the questions, the strategy and the budget alone, which is what makes results reproducible.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::prompts::cutter::Cutter;
use crate::prompts::pass::Pass;
pub use crate::prompts::strategy::{Budget, Resources, Reuse, Strategy};
use crate::prompts::tokens::Question;
use crate::prompts::trie::{Rows, Trie, distinct_tokens, paths};

/// Sizes of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlanSize {
    /// Tokens when every option of every question is a request of its own.
    pub logical_tokens: usize,
    /// Distinct nodes of the trie over all paths: the fewest tokens any plan can compute.
    pub distinct_tokens: usize,
    /// Tokens that the passes compute.
    pub computed_tokens: usize,
    /// Positions that pass through the head.
    pub scored_positions: usize,
    /// Number of passes.
    pub passes: usize,
    /// Slots of the pool: tokens, or states.
    pub cache_tokens: usize,
}

impl PlanSize {
    /// Two plans, one after the other.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            logical_tokens: self.logical_tokens + other.logical_tokens,
            distinct_tokens: self.distinct_tokens + other.distinct_tokens,
            computed_tokens: self.computed_tokens + other.computed_tokens,
            scored_positions: self.scored_positions + other.scored_positions,
            passes: self.passes + other.passes,
            cache_tokens: self.cache_tokens.max(other.cache_tokens),
        }
    }
}

/// Passes in the order they run, and where each question's numbers will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The passes.
    pub passes: Vec<Pass>,
    /// For each question and option, the slots of its tokens' log-probabilities (the closing token's last).
    pub slots: Vec<Vec<Range<usize>>>,
    /// Total number of slots.
    pub n_slots: usize,
    /// Sizes, for people.
    pub size: PlanSize,
}

impl Plan {
    /// Plans the questions.
    pub fn new(questions: &[Question], reuse: Reuse, strategy: Strategy, budget: Budget) -> Self {
        let (mut paths, slots, n_slots) = paths(questions);
        paths.sort_by(|a, b| a.tokens.cmp(&b.tokens));
        let mut size = PlanSize {
            logical_tokens: paths.iter().map(|p| p.tokens.len()).sum(),
            distinct_tokens: distinct_tokens(&paths),
            ..PlanSize::default()
        };
        if reuse == Reuse::Question || strategy == Strategy::EncoderOnce {
            paths.sort_by_key(|path| path.question);
        }
        let rows = match strategy {
            Strategy::Tree => Rows::Trees,
            Strategy::Step => Rows::Steps,
            _ => Rows::Chains,
        };
        let trie = match (strategy, reuse) {
            (Strategy::None, _) | (_, Reuse::Off) => Trie::whole(&paths),
            (Strategy::EncoderOnce, _) => Trie::of_questions(&paths),
            (_, Reuse::Trie) => Trie::grow(&paths, rows, budget.pass_tokens, |_, _| false),
            (_, Reuse::Question) => Trie::grow(&paths, rows, budget.pass_tokens, |a, b| a.question != b.question),
        };
        let mut cutter = Cutter::new(&trie, strategy, budget);
        cutter.run(&trie.roots);
        let passes = cutter.passes;
        size.passes = passes.len();
        size.computed_tokens = passes.iter().map(|p| p.tokens.len()).sum();
        size.scored_positions = passes.iter().map(|p| p.scored.len()).sum();
        size.cache_tokens = cutter.n_slots;
        Self { passes, slots, n_slots, size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::tokens::TokenId;

    const BUDGET: Budget = Budget { batch_tokens: 64, cache_tokens: 1000, pass_tokens: 30 };

    fn question(prompt: &[TokenId], options: &[&[TokenId]]) -> Question {
        let options = options.iter().map(|o| o.to_vec()).collect();
        Question { prompt: prompt.to_vec(), source_len: 0, options, closed: false }
    }

    fn plan(questions: &[Question], reuse: Reuse, strategy: Strategy) -> Plan {
        Plan::new(questions, reuse, strategy, BUDGET)
    }

    /// (past, new, rows) of every pass.
    fn shapes(plan: &Plan) -> Vec<(usize, usize, usize)> {
        plan.passes.iter().map(|p| (p.past_len, p.new_len, p.n_rows())).collect()
    }

    /// Forty prompts 1 2 3 4 i, each with the options 10 and 11 12.
    fn forty() -> Vec<Question> {
        (0..40).map(|i| question(&[1, 2, 3, 4, 100 + i], &[&[10], &[11, 12]])).collect()
    }

    #[test]
    fn a_prefix_is_shared_where_that_pays() {
        let all = plan(&forty(), Reuse::Trie, Strategy::SharedPast);
        assert_eq!(shapes(&all), [(0, 4, 1), (4, 1, 40), (5, 1, 40)]);
        assert_eq!(all.size.computed_tokens, 4 + 40 + 40);
        assert_eq!(all.size.distinct_tokens, all.size.computed_tokens);
        assert_eq!(all.size.logical_tokens, 40 * (5 + 6));
        assert_eq!((all.passes[0].keep, all.passes[1].keep, all.passes[2].keep), (Some(0), Some(4), None));
        assert_eq!((all.size.cache_tokens, &all.passes[2].past[5..10]), (44, &[0, 1, 2, 3, 5][..]));
        assert_eq!(all.passes[1].scored[..2], [(0, 0), (1, 0)]);
        assert_eq!(all.passes[1].tops[..2], [(0, 0), (1, 1)]);
        assert_eq!(all.slots[..2], [vec![0..1, 1..3], vec![3..4, 4..6]]);

        // Two of them save four tokens, and a level of passes costs more: each prompt is computed whole.
        assert_eq!(shapes(&plan(&forty()[..2], Reuse::Trie, Strategy::SharedPast)), [(0, 5, 2), (5, 1, 2)]);
        assert!(plan(&[], Reuse::Trie, Strategy::Tree).passes.is_empty());
    }

    #[test]
    fn a_row_may_hold_a_question_with_its_options() {
        let questions = [question(&[1, 2, 3], &[&[10, 11, 12], &[10, 20], &[30, 31]])];
        let all = plan(&questions, Reuse::Trie, Strategy::Tree);
        assert_eq!(shapes(&all), [(0, 6, 1)]);
        let pass = &all.passes[0];
        assert_eq!(pass.tokens, [1, 2, 3, 10, 11, 30]);
        assert_eq!(pass.follows, [0, 1, 2, 3, 4, 3]);
        assert_eq!(pass.positions(), [0, 1, 2, 3, 4, 3]);
        let seen: Vec<usize> = (0..6).filter(|i| pass.mask()[5 * 6 + i]).collect();
        assert_eq!(seen, [0, 1, 2, 5], "an option does not see another");
        assert_eq!(pass.scored, [(0, 2), (0, 3), (0, 4), (0, 5)]);
        let wanted: Vec<_> = pass.wanted.iter().map(|w| (w.scored, w.token, w.slot)).collect();
        assert_eq!(wanted, [(0, 10, 0), (0, 10, 3), (0, 30, 5), (1, 11, 1), (1, 20, 4), (2, 12, 2), (3, 31, 6)]);

        let shared = plan(&forty(), Reuse::Trie, Strategy::Tree);
        assert_eq!(shapes(&shared), [(0, 4, 1), (4, 2, 20), (4, 2, 20)], "as many as the budget holds, evenly");
        assert_eq!(shapes(&plan(&forty(), Reuse::Question, Strategy::Tree)), [(0, 6, 10); 4]);
    }

    #[test]
    fn several_questions_after_one_prompt_continue_it() {
        let questions: Vec<Question> = (0..40).map(|i| question(&[1, 2, 3], &[&[10 + i, 50, 60]])).collect();
        let all = plan(&questions, Reuse::Trie, Strategy::Tree);
        assert_eq!(shapes(&all), [(0, 3, 1), (3, 2, 20), (3, 2, 20)]);
        assert_eq!((all.passes[0].scored.len(), all.passes[0].wanted.len(), all.passes[0].tops.len()), (1, 40, 40));
        assert_eq!(all.size.computed_tokens, all.size.distinct_tokens);
    }

    #[test]
    fn one_token_at_a_time_where_the_graph_wants_it() {
        let all = plan(&forty(), Reuse::Trie, Strategy::Step);
        assert!(all.passes.iter().all(|p| p.past_len == 0 || p.new_len == 1));
        assert_eq!(shapes(&all), [(0, 4, 1), (4, 1, 40), (5, 1, 40)]);
        let whole = plan(&forty(), Reuse::Trie, Strategy::None);
        assert!(whole.passes.iter().all(|p| p.past_len == 0 && p.keep.is_none()));
    }

    #[test]
    fn states_are_kept_one_a_row() {
        let all = plan(&forty(), Reuse::Trie, Strategy::State);
        assert_eq!(shapes(&all), [(0, 4, 1), (0, 1, 40), (0, 1, 40)]);
        let [stem, prompts, options] = &all.passes[..] else { panic!("three passes") };
        assert_eq!((&stem.past[..], stem.keep), (&[0][..], Some(1)), "slot 0 is the state before all tokens");
        assert_eq!((&prompts.past[..3], prompts.keep), (&[1, 1, 1][..], Some(2)));
        assert_eq!((&options.past[..3], options.keep), (&[2, 3, 4][..], None));
        assert_eq!(all.size.cache_tokens, 1 + 1 + 40);
        let [a, b] = prompts.halves().unwrap();
        assert_eq!((a.past.len(), b.past.len(), b.keep), (20, 20, Some(2 + 20)));
    }

    #[test]
    fn an_encoder_reads_each_prompt_once() {
        // The encoder reads 1 2 3; the decoder begins with 0.
        let mut questions = [question(&[1, 2, 3, 0], &[&[10, 11], &[12]]), question(&[1, 2, 3, 4, 0], &[&[10], &[12]])];
        questions.iter_mut().for_each(|question| question.source_len = question.prompt.len() - 1);
        let all = plan(&questions, Reuse::Trie, Strategy::EncoderOnce);
        assert_eq!(shapes(&all), [(0, 5, 1), (0, 5, 1)], "rows of equal length, but not of equal sources");
        let of_pass = |pass: &Pass| (pass.source_len, pass.tokens.clone(), pass.keep);
        assert_eq!(of_pass(&all.passes[0]), (3, vec![1, 2, 3, 0, 10], None));
        assert_eq!(of_pass(&all.passes[1]), (4, vec![1, 2, 3, 4, 0], None));
        assert_eq!(all.passes[0].scored, [(0, 3), (0, 4)]);
        // Too many options for one row: each is a row of its own.
        let many: Vec<Vec<TokenId>> = (0..40).map(|i| (0..20).map(|k| 100 + 20 * i + k).collect()).collect();
        let many: Vec<&[TokenId]> = many.iter().map(Vec::as_slice).collect();
        let all =
            plan(&[Question { source_len: 2, ..question(&[1, 2, 0], &many) }], Reuse::Trie, Strategy::EncoderOnce);
        assert!(all.passes.iter().all(|pass| (pass.past_len, pass.new_len, pass.source_len) == (0, 3 + 19, 2)));
        assert_eq!(all.passes.iter().map(Pass::n_rows).sum::<usize>(), 40);
    }

    #[test]
    fn a_few_rows_join_a_wider_pass() {
        // One prompt of forty goes on a token longer before they part: its last token is computed again.
        let mut questions: Vec<Question> =
            (0..40).map(|i| question(&[1, 2, 3, 4, 100 + i, 5], &[&[10], &[11]])).collect();
        questions.extend((0..2).map(|i| question(&[1, 2, 3, 4, 200, 300 + i], &[&[10], &[11]])));
        let all = plan(&questions, Reuse::Trie, Strategy::Tree);
        assert!(all.passes[1..].iter().all(|p| (p.past_len, p.new_len) == (4, 2)), "{:?}", shapes(&all));
        // A pass of a single token has its row twice.
        let one = plan(&[question(&[1], &[&[2], &[3]])], Reuse::Trie, Strategy::Tree);
        assert_eq!((shapes(&one)[0], one.size.computed_tokens), ((0, 1, 2), 2));
    }

    #[test]
    fn halves_are_the_whole() {
        let plan = plan(&forty(), Reuse::Trie, Strategy::Tree);
        let pass = &plan.passes[1];
        let [a, b] = pass.halves().unwrap();
        assert_eq!([a.tokens.clone(), b.tokens.clone()].concat(), pass.tokens);
        assert_eq!(a.wanted.len() + b.wanted.len(), pass.wanted.len());
        let slots =
            |half: &Pass| half.wanted.iter().map(|w| (half.scored[w.scored].1, w.token, w.slot)).collect::<Vec<_>>();
        assert_eq!([slots(&a), slots(&b)].concat(), slots(pass));
        assert_eq!(
            b.tops.iter().map(|t| t.1).collect::<Vec<_>>(),
            pass.tops[a.tops.len()..].iter().map(|t| t.1).collect::<Vec<_>>()
        );
        assert!(plan.passes[0].halves().is_none());
    }

    #[test]
    fn without_reuse_every_path_is_whole() {
        let questions = [question(&[1, 2, 3], &[&[10], &[11, 12]]), question(&[1, 2, 4], &[&[10], &[13]])];
        let plan = plan(&questions, Reuse::Off, Strategy::Tree);
        assert!(plan.passes.iter().all(|p| p.past_len == 0 && p.keep.is_none()));
        assert_eq!(plan.size.computed_tokens, 3 + 4 + 3, "equal paths of one question are one row");
    }

    #[test]
    fn passes_keep_to_the_budget() {
        let questions: Vec<Question> =
            (0..300).map(|i| question(&[1, 2, 3, 4, 5, i / 20 + 100, i + 1000, 7, 8], &[&[50, 51], &[60]])).collect();
        for strategy in [Strategy::Tree, Strategy::SharedPast, Strategy::Step] {
            let budget = Budget { cache_tokens: 100, ..BUDGET };
            let plan = Plan::new(&questions, Reuse::Trie, strategy, budget);
            assert!(plan.passes.iter().all(|p| p.tokens.len() <= BUDGET.batch_tokens));
            assert!(plan.size.cache_tokens <= budget.cache_tokens, "{}", plan.size.cache_tokens);
            let mut slots: Vec<usize> = plan.passes.iter().flat_map(|p| &p.wanted).map(|w| w.slot).collect();
            slots.sort_unstable();
            assert_eq!(slots, (0..plan.n_slots).collect::<Vec<_>>(), "every slot is filled exactly once");
        }
    }
}
