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

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::prompts::tokens::{Question, TokenId};
use crate::prompts::trie::{Node, PASS_COST_TOKENS, Rows, Trie, distinct_tokens, paths};

/// How much is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// Shared prefixes are computed once.
    #[default]
    Trie,
    /// The options of a question share its prompt; questions share nothing.
    Question,
    /// Every prompt with every option is computed from its first token: the reference for parity.
    Off,
}

impl Reuse {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trie => "trie",
            Self::Question => "question",
            Self::Off => "off",
        }
    }
}

/// What a graph can do with a past: read off its inputs and operators, never off the model's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Rows continue cached tokens and may branch: the graph takes a mask for every new token.
    Tree,
    /// Rows continue cached tokens and are chains.
    SharedPast,
    /// Rows continue cached tokens by one token at a time: `GroupQueryAttention` refuses several tokens in several rows.
    Step,
    /// Rows continue the state at the end of another row, and are chains: state-space models.
    State,
    /// The encoder reads each prompt once, and the decoder all its options: encoder–decoders.
    EncoderOnce,
    /// No cache: every path is computed whole.
    None,
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tree => "tree",
            Self::SharedPast => "shared-past",
            Self::Step => "step",
            Self::State => "state",
            Self::EncoderOnce => "encoder-once",
            Self::None => "none",
        })
    }
}

impl Strategy {
    /// What a slot of the pool holds.
    pub fn slot(self) -> Slot {
        if self == Self::State { Slot::State } else { Slot::Token }
    }
}

/// What a slot of the pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Keys and values of a token.
    Token,
    /// The state after the last token of a row. Slot 0 is the state before all tokens.
    State,
}

/// Limits of a plan, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// New tokens in one pass.
    pub batch_tokens: usize,
    /// Slots that the pool may have.
    pub cache_tokens: usize,
}

/// A log-probability to be read off a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Index into [`Pass::scored`].
    pub scored: usize,
    /// The token whose log-probability is wanted.
    pub token: TokenId,
    /// Where it goes in [`Evaluation::log_probs`](crate::engine::Evaluation).
    pub slot: usize,
}

/// One call of the model: rows of equal past and new length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Tokens of every row that are in the pool already.
    pub past_len: usize,
    /// Tokens of every row that are computed now.
    pub new_len: usize,
    /// The new tokens, `[rows, new_len]` row by row.
    pub tokens: Vec<TokenId>,
    /// The first of them in every row that an encoder reads; the decoder reads the others.
    pub source_len: usize,
    /// What each of them follows, `[rows, new_len]`: 0 the past, k the k-th new token of its row.
    pub follows: Vec<usize>,
    /// What the slots of the pool hold.
    pub slot: Slot,
    /// Slots of the past, `[rows, past_len]`; or of the states that are continued, `[rows]`, and `past_len` is 0.
    pub past: Vec<usize>,
    /// Positions that pass through the head, as (row, index among the new tokens), ascending.
    pub scored: Vec<(usize, usize)>,
    /// What is read there.
    pub wanted: Vec<Wanted>,
    /// Scored positions whose most probable token is wanted, with the index of the question.
    pub tops: Vec<(usize, usize)>,
    /// The slot of the first new token (of the first row's state), the others behind it; `None` where nothing continues
    /// them.
    pub keep: Option<usize>,
    /// Whether the logits of the whole vocabulary are wanted at the scored positions.
    pub logits: bool,
}

impl Pass {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.tokens.len() / self.new_len
    }

    /// Slots that so many rows take when they are kept.
    pub fn slots(&self, n_rows: usize) -> usize {
        match self.slot {
            Slot::Token => n_rows * self.new_len,
            Slot::State => n_rows,
        }
    }

    /// Gives a pass of a single token its row twice: a product with a single row runs on another kernel and rounds otherwise.
    pub(crate) fn double_single(&mut self) {
        if self.tokens.len() == 1 {
            self.tokens.extend_from_within(..);
            self.follows.extend_from_within(..);
            self.past.extend_from_within(..);
        }
    }

    /// Position of every new token in its sequence, `[rows, new_len]`.
    pub fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.tokens.len()];
        for (row, follows) in self.follows.chunks(self.new_len).enumerate() {
            let start = row * self.new_len;
            for (index, follows) in follows.iter().enumerate() {
                positions[start + index] = match follows {
                    0 => self.past_len,
                    k => positions[start + k - 1] + 1,
                };
            }
        }
        positions
    }

    /// What every new token sees, `[rows, new_len, past_len + new_len]`: the past, the tokens it follows, and itself.
    pub fn mask(&self) -> Vec<bool> {
        let width = self.past_len + self.new_len;
        let mut mask = vec![false; self.tokens.len() * width];
        for (row, follows) in self.follows.chunks(self.new_len).enumerate() {
            let start = row * self.new_len;
            for (index, follows) in follows.iter().enumerate() {
                let (done, rest) = mask.split_at_mut((start + index) * width);
                let own = &mut rest[..width];
                match follows {
                    0 => own[..self.past_len].fill(true),
                    k => own.copy_from_slice(&done[(start + k - 1) * width..(start + k) * width]),
                }
                own[self.past_len + index] = true;
            }
        }
        mask
    }

    /// The first and the second half of the rows; `None` for a single row.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let (n_rows, new_len) = (self.n_rows(), self.new_len);
        if n_rows < 2 {
            return None;
        }
        let of_past = self.past.len() / n_rows;
        let part = |rows: Range<usize>| {
            let scored: Vec<usize> = (0..self.scored.len()).filter(|i| rows.contains(&self.scored[*i].0)).collect();
            let moved = |i: usize| scored.binary_search(&i).ok();
            Self {
                past_len: self.past_len,
                new_len,
                source_len: self.source_len,
                slot: self.slot,
                tokens: self.tokens[rows.start * new_len..rows.end * new_len].to_vec(),
                follows: self.follows[rows.start * new_len..rows.end * new_len].to_vec(),
                past: self.past[rows.start * of_past..rows.end * of_past].to_vec(),
                scored: scored.iter().map(|&i| (self.scored[i].0 - rows.start, self.scored[i].1)).collect(),
                wanted: self.wanted.iter().filter_map(|w| Some(Wanted { scored: moved(w.scored)?, ..*w })).collect(),
                tops: self.tops.iter().filter_map(|&(i, question)| Some((moved(i)?, question))).collect(),
                keep: self.keep.map(|slot| slot + self.slots(rows.start)),
                logits: self.logits,
            }
        };
        Some([part(0..n_rows / 2), part(n_rows / 2..n_rows)])
    }
}

/// Sizes of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
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
            (_, Reuse::Trie) => Trie::grow(&paths, rows, |_, _| false),
            (_, Reuse::Question) => Trie::grow(&paths, rows, |a, b| a.question != b.question),
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

/// Cuts a trie into passes.
pub(crate) struct Cutter<'a> {
    trie: &'a Trie,
    strategy: Strategy,
    budget: Budget,
    /// Slots of each node and all below it that others continue.
    continued: Vec<usize>,
    /// The slot of each node's first token, or of its state.
    first_slot: Vec<usize>,
    /// The first slot that is free, and the most there ever were.
    free: usize,
    pub(crate) n_slots: usize,
    pub(crate) passes: Vec<Pass>,
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(trie: &'a Trie, strategy: Strategy, budget: Budget) -> Self {
        let mut continued = vec![0; trie.nodes.len()];
        for (index, node) in trie.nodes.iter().enumerate().rev() {
            if !node.children.is_empty() {
                let own = if strategy.slot() == Slot::State { 1 } else { node.tokens.len() };
                continued[index] = own + node.children.iter().map(|c| continued[*c]).sum::<usize>();
            }
        }
        let first_slot = vec![0; trie.nodes.len()];
        // The first state is the one before all tokens.
        let free = usize::from(strategy.slot() == Slot::State);
        Self { trie, strategy, budget, continued, first_slot, free, n_slots: free, passes: Vec::new() }
    }

    /// Runs nodes, whose pasts are in the pool, and everything below them. As many branches at a time as the pool holds: level
    /// by level what is continued, so that cousins share passes; then all that ends, together.
    fn run(&mut self, nodes: &[usize]) {
        let mut rest = nodes;
        while !rest.is_empty() {
            let start = self.free;
            let room = self.budget.cache_tokens.saturating_sub(start);
            let mut total = 0;
            let fitting = rest.iter().take_while(|node| {
                total += self.continued[**node];
                total <= room
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            if self.continued[now[0]] > room {
                self.compute(now, true);
                self.run(&self.trie.nodes[now[0]].children);
            } else {
                self.run_together(now);
            }
            self.free = start;
            rest = later;
        }
    }

    fn run_together(&mut self, nodes: &[usize]) {
        let (mut level, mut ends) = (nodes.to_vec(), Vec::new());
        while !level.is_empty() {
            let (continued, ended): (Vec<_>, Vec<_>) = level.into_iter().partition(|node| self.continued[*node] > 0);
            ends.extend(ended);
            self.compute(&continued, true);
            level = continued.iter().flat_map(|node| &self.trie.nodes[*node].children).copied().collect();
        }
        self.compute(&ends, false);
    }

    /// Runs every node of a trie without edges, and keeps none.
    pub(crate) fn run_once(&mut self) {
        self.compute(&self.trie.roots, false);
    }

    /// Runs every node and keeps them all.
    pub(crate) fn run_and_keep(&mut self) {
        let mut level = self.trie.roots.clone();
        while !level.is_empty() {
            self.compute(&level, true);
            level = level.iter().flat_map(|node| &self.trie.nodes[*node].children).copied().collect();
        }
    }

    /// The slots of all tokens up to the last one of a node, or that of its state.
    pub(crate) fn slots_of(&self, node: usize) -> Vec<usize> {
        if self.strategy.slot() == Slot::State {
            return vec![self.first_slot[node]];
        }
        let mut slots: Vec<usize> = Vec::new();
        let line: Vec<usize> = std::iter::successors(Some(node), |&i| self.trie.nodes[i].parent).collect();
        for &index in line.iter().rev() {
            slots.extend(self.first_slot[index]..self.first_slot[index] + self.trie.nodes[index].tokens.len());
        }
        slots
    }

    /// Passes for some nodes, rows of one shape in each.
    fn compute(&mut self, nodes: &[usize], keep: bool) {
        let mut shapes: BTreeMap<Shape, Vec<usize>> = BTreeMap::new();
        for &index in nodes {
            let node = &self.trie.nodes[index];
            let shape = match self.strategy.slot() {
                Slot::Token => {
                    let (past_len, source_len) = (node.past_len, node.source_len);
                    Shape { source_len, total_len: past_len + node.tokens.len(), past_len }
                }
                // A state is as long after one token as after a hundred.
                Slot::State => Shape { source_len: 0, total_len: node.tokens.len(), past_len: 0 },
            };
            shapes.entry(shape).or_default().push(index);
        }
        if matches!(self.strategy, Strategy::Tree | Strategy::SharedPast) {
            shapes = joined(shapes);
        }
        for (shape, nodes) in shapes {
            let most = (self.budget.batch_tokens / shape.new_len()).max(1);
            let n_passes = nodes.len().div_ceil(most);
            for rows in nodes.chunks(nodes.len().div_ceil(n_passes)) {
                self.pass(shape, rows, keep);
            }
        }
    }

    fn pass(&mut self, shape: Shape, nodes: &[usize], keep: bool) {
        let (past_len, new_len) = (shape.past_len, shape.new_len());
        let mut pass = Pass {
            past_len,
            new_len,
            tokens: Vec::with_capacity(nodes.len() * new_len),
            source_len: shape.source_len,
            follows: Vec::with_capacity(nodes.len() * new_len),
            slot: self.strategy.slot(),
            past: Vec::with_capacity(nodes.len() * past_len),
            scored: Vec::new(),
            wanted: Vec::new(),
            tops: Vec::new(),
            keep: keep.then_some(self.free),
            logits: false,
        };
        for (row, &index) in nodes.iter().enumerate() {
            let node = &self.trie.nodes[index];
            let repeated = self.lay(index, &mut pass);
            self.first_slot[index] = self.free + pass.slots(row) + repeated;
            let places = node.wants.iter().map(|want| want.0).chain(node.tops.iter().map(|top| top.0));
            pass.scored.extend(places.collect::<BTreeSet<usize>>().into_iter().map(|place| (row, repeated + place)));
            let scored = |place: usize| {
                pass.scored.binary_search(&(row, repeated + place)).expect("what is read at a place is scored there")
            };
            let wanted = |&(place, token, slot): &_| Wanted { scored: scored(place), token, slot };
            pass.wanted.extend(node.wants.iter().map(wanted));
            pass.tops.extend(node.tops.iter().map(|&(place, question)| (scored(place), question)));
        }
        pass.double_single();
        if keep {
            self.free += pass.slots(pass.n_rows());
            self.n_slots = self.n_slots.max(self.free);
        }
        self.passes.push(pass);
    }

    /// Adds a node's row to a pass: slots of its past, the tokens of the past that are computed again, its own tokens.
    /// Returns how many are computed again.
    fn lay(&self, index: usize, pass: &mut Pass) -> usize {
        let node = &self.trie.nodes[index];
        if pass.slot == Slot::State {
            pass.past.push(node.parent.map_or(0, |parent| self.first_slot[parent]));
            pass.follows.extend_from_slice(&node.follows);
            pass.tokens.extend_from_slice(&node.tokens);
            return 0;
        }
        let ancestors: Vec<usize> = std::iter::successors(node.parent, |&i| self.trie.nodes[i].parent).collect();
        for &ancestor in ancestors.iter().rev() {
            let Node { past_len, tokens, .. } = &self.trie.nodes[ancestor];
            let known = pass.past_len.saturating_sub(*past_len).min(tokens.len());
            pass.past.extend(self.first_slot[ancestor]..self.first_slot[ancestor] + known);
            pass.tokens.extend_from_slice(&tokens[known..]);
        }
        let repeated = node.past_len - pass.past_len;
        pass.follows.extend(0..repeated);
        pass.follows.extend(node.follows.iter().map(|k| k + repeated));
        pass.tokens.extend_from_slice(&node.tokens);
        repeated
    }
}

/// The lengths of a pass's rows, by which rows are sorted into passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    source_len: usize,
    /// Past and new tokens.
    total_len: usize,
    past_len: usize,
}

impl Shape {
    fn new_len(self) -> usize {
        self.total_len - self.past_len
    }
}

/// Joins shapes of equal total length where computing some tokens of the past again costs less than a pass of its own.
fn joined(shapes: BTreeMap<Shape, Vec<usize>>) -> BTreeMap<Shape, Vec<usize>> {
    let mut joined: BTreeMap<Shape, Vec<usize>> = BTreeMap::new();
    let mut deeper: Option<(Shape, Vec<usize>)> = None;
    for (shape, mut nodes) in shapes.into_iter().rev() {
        if let Some((deep, more)) = deeper.take() {
            let again = more.len() * (deep.past_len.saturating_sub(shape.past_len));
            if deep.total_len == shape.total_len && again <= PASS_COST_TOKENS {
                nodes.extend(more);
                nodes.sort_unstable();
            } else {
                joined.insert(deep, more);
            }
        }
        deeper = Some((shape, nodes));
    }
    joined.extend(deeper);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { batch_tokens: 64, cache_tokens: 1000 };

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
