//! The plan: a token trie over many questions, cut into passes whose rows all have the same length.
//!
//! Every question wants log-probabilities along a few paths of tokens (its prompt, then each option). Paths share their
//! beginnings, so they are laid into a trie; a branch that several paths go through is computed once, and its
//! key-value cache is continued by each of them. Rows of equal (past, new) length make one pass: no padding, so a row's
//! numbers do not depend on its neighbours.
//!
//! The plan is a function of the questions and the budget alone, which is what makes results reproducible.

use std::ops::Range;

use serde::Serialize;

use crate::prompts::tokens::{Question, TokenId, common_prefix};

/// Whether prefixes are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Shared prefixes are computed once.
    Trie,
    /// Every path is computed from its first token: the reference for parity.
    Off,
}

/// Limits of a plan, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// New tokens in one pass.
    pub batch_tokens: usize,
    /// Tokens whose key-value cache may be alive at once.
    pub cache_tokens: usize,
}

/// A row of an earlier pass whose cache a row continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parent {
    /// Index of the pass.
    pub pass: usize,
    /// Row within it.
    pub row: usize,
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
    /// Tokens of every row that are in the cache already.
    pub past_len: usize,
    /// Tokens of every row that are computed now.
    pub new_len: usize,
    /// The new tokens, `[rows, new_len]` row by row.
    pub tokens: Vec<TokenId>,
    /// What each row continues; empty when `past_len` is 0.
    pub parents: Vec<Parent>,
    /// Positions that pass through the head, as (row, position among the new tokens), ascending.
    pub scored: Vec<(usize, usize)>,
    /// What is read there.
    pub wanted: Vec<Wanted>,
    /// Scored positions whose most probable token is wanted, with the index of the question.
    pub tops: Vec<(usize, usize)>,
    /// Whether a later pass continues a row of this one.
    pub keep: bool,
    /// Earlier passes whose caches nobody needs after this pass.
    pub release: Vec<usize>,
}

impl Pass {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.tokens.len() / self.new_len
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
    /// Most tokens whose cache is alive at once.
    pub peak_cache_tokens: usize,
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
            peak_cache_tokens: self.peak_cache_tokens.max(other.peak_cache_tokens),
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

/// A path of tokens through the trie and what is read along it.
struct Path {
    tokens: Vec<TokenId>,
    /// (position whose output is read, token, slot)
    wants: Vec<(usize, TokenId, usize)>,
    /// (position, question)
    top: Option<(usize, usize)>,
}

/// A materialised edge of the trie.
struct Node {
    parent: Option<usize>,
    past_len: usize,
    tokens: Vec<TokenId>,
    wants: Vec<(usize, TokenId, usize)>,
    tops: Vec<(usize, usize)>,
}

/// A shared edge is worth a row of its own when it saves this many tokens; below, its children repeat it.
/// Every level of the trie splits the rows into smaller passes, and a pass has a fixed cost.
const MIN_SAVED_TOKENS: usize = 3;

impl Plan {
    /// Plans the questions in their order.
    ///
    /// Consecutive questions are planned together as long as their caches fit the budget.
    pub fn new(questions: &[Question], reuse: Reuse, budget: Budget) -> Self {
        let (mut paths, slots, n_slots) = paths(questions);
        let mut size = PlanSize {
            logical_tokens: paths.iter().flatten().map(|p| p.tokens.len()).sum(),
            distinct_tokens: distinct_tokens(&paths),
            ..PlanSize::default()
        };
        let mut passes = Vec::new();
        let mut start = 0;
        while start < questions.len() {
            let mut end = start;
            let mut cache_tokens = 0;
            while end < questions.len() {
                // A prompt's own rows and the shared prefix they continue: at most twice its length.
                cache_tokens += 2 * questions[end].prompt.len();
                if end > start && cache_tokens > budget.cache_tokens {
                    break;
                }
                end += 1;
            }
            let mut block: Vec<Path> = paths[start..end].iter_mut().flat_map(std::mem::take).collect();
            block.sort_by(|a, b| a.tokens.cmp(&b.tokens));
            let mut nodes = Vec::new();
            match reuse {
                Reuse::Trie => grow(&block, 0, None, &mut nodes),
                Reuse::Off => block.chunk_by(|a, b| a.tokens == b.tokens).for_each(|same| {
                    let end = same[0].tokens.len();
                    nodes.push(edge(same, 0, end, None));
                }),
            }
            cut(&nodes, budget, &mut passes);
            start = end;
        }
        size.passes = passes.len();
        size.computed_tokens = passes.iter().map(|p| p.tokens.len()).sum();
        size.scored_positions = passes.iter().map(|p| p.scored.len()).sum();
        size.peak_cache_tokens = peak_cache_tokens(&passes);
        Self { passes, slots, n_slots, size }
    }
}

/// The paths of every question: prompt, then each option without its last scored token.
fn paths(questions: &[Question]) -> (Vec<Vec<Path>>, Vec<Vec<Range<usize>>>, usize) {
    let mut n_slots = 0;
    let mut all = Vec::with_capacity(questions.len());
    let mut slots = Vec::with_capacity(questions.len());
    for (index, question) in questions.iter().enumerate() {
        let last = question.prompt.len() - 1;
        let mut of_question = Vec::with_capacity(question.options.len());
        let mut ranges = Vec::with_capacity(question.options.len());
        for (number, option) in question.options.iter().enumerate() {
            let wants = option.iter().enumerate().map(|(i, token)| (last + i, *token, n_slots + i)).collect();
            let mut tokens = question.prompt.clone();
            tokens.extend_from_slice(&option[..option.len() - 1]);
            of_question.push(Path { tokens, wants, top: (number == 0).then_some((last, index)) });
            ranges.push(n_slots..n_slots + option.len());
            n_slots += option.len();
        }
        all.push(of_question);
        slots.push(ranges);
    }
    (all, slots, n_slots)
}

fn distinct_tokens(paths: &[Vec<Path>]) -> usize {
    let mut sorted: Vec<&[TokenId]> = paths.iter().flatten().map(|p| p.tokens.as_slice()).collect();
    sorted.sort_unstable();
    let mut previous: &[TokenId] = &[];
    let mut count = 0;
    for tokens in sorted {
        count += tokens.len() - common_prefix(previous, tokens);
        previous = tokens;
    }
    count
}

/// The node for tokens `depth..end` that all of `paths` share, with what they want there.
fn edge(paths: &[Path], depth: usize, end: usize, parent: Option<usize>) -> Node {
    let here = depth..end;
    let mut wants: Vec<_> =
        paths.iter().flat_map(|p| &p.wants).filter(|(position, ..)| here.contains(position)).copied().collect();
    wants.sort_unstable_by_key(|(position, _, slot)| (*position, *slot));
    let mut tops: Vec<_> =
        paths.iter().filter_map(|p| p.top).filter(|(position, _)| here.contains(position)).collect();
    tops.sort_unstable();
    Node { parent, past_len: depth, tokens: paths[0].tokens[here].to_vec(), wants, tops }
}

/// Grows the trie over sorted `paths` that share their first `depth` tokens, which `parent` has computed.
fn grow(paths: &[Path], depth: usize, parent: Option<usize>, nodes: &mut Vec<Node>) {
    let (first, last) = (&paths[0].tokens, &paths[paths.len() - 1].tokens);
    let shared = common_prefix(first, last);
    // Sorted, the paths that end here come first.
    let ended = paths.iter().take_while(|p| p.tokens.len() == shared).count();
    let groups: Vec<&[Path]> = paths[ended..].chunk_by(|a, b| a.tokens[shared] == b.tokens[shared]).collect();
    let branches = groups.len() + usize::from(ended > 0);
    let saved = (shared - depth) * (branches - 1);
    if groups.is_empty() || (shared > depth && (ended > 0 || saved >= MIN_SAVED_TOKENS)) {
        nodes.push(edge(paths, depth, shared, parent));
        let node = nodes.len() - 1;
        groups.into_iter().for_each(|group| grow(group, shared, Some(node), nodes));
    } else {
        groups.into_iter().for_each(|group| grow(group, depth, parent, nodes));
    }
}

/// Cuts nodes into passes of equal (past, new) length. A parent's past is shorter than its child's, so ascending
/// order of (past, new) runs every parent before its children.
fn cut(nodes: &[Node], budget: Budget, passes: &mut Vec<Pass>) {
    let first_pass = passes.len();
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&n| (nodes[n].past_len, nodes[n].tokens.len(), n));
    let mut place = vec![Parent { pass: 0, row: 0 }; nodes.len()];

    let same_length = |&a: &usize, &b: &usize| {
        (nodes[a].past_len, nodes[a].tokens.len()) == (nodes[b].past_len, nodes[b].tokens.len())
    };
    for group in order.chunk_by(same_length) {
        let (past_len, new_len) = (nodes[group[0]].past_len, nodes[group[0]].tokens.len());
        let by_tokens = budget.batch_tokens / new_len;
        let by_cache = budget.cache_tokens / (2 * (past_len + new_len));
        let most = by_tokens.min(by_cache).max(1);
        let n_passes = group.len().div_ceil(most);
        for rows in group.chunks(group.len().div_ceil(n_passes)) {
            let mut pass = Pass {
                past_len,
                new_len,
                tokens: Vec::with_capacity(rows.len() * new_len),
                parents: Vec::new(),
                scored: Vec::new(),
                wanted: Vec::new(),
                tops: Vec::new(),
                keep: false,
                release: Vec::new(),
            };
            for (row, &n) in rows.iter().enumerate() {
                let node = &nodes[n];
                place[n] = Parent { pass: passes.len(), row };
                pass.tokens.extend_from_slice(&node.tokens);
                if let Some(parent) = node.parent {
                    pass.parents.push(place[parent]);
                }
                let mut scored_at = |position: usize| {
                    let at = (row, position - past_len);
                    if pass.scored.last() != Some(&at) {
                        pass.scored.push(at);
                    }
                    pass.scored.len() - 1
                };
                for &(position, token, slot) in &node.wants {
                    let scored = scored_at(position);
                    pass.wanted.push(Wanted { scored, token, slot });
                }
                for &(position, question) in &node.tops {
                    let at = (row, position - past_len);
                    let scored = pass.scored.binary_search(&at).expect("a question's top token is read where its options begin");
                    pass.tops.push((scored, question));
                }
            }
            passes.push(pass);
        }
    }

    // Who needs whom, and for how long.
    let mut last_use = std::collections::BTreeMap::new();
    for index in first_pass..passes.len() {
        for parent in &passes[index].parents {
            last_use.insert(parent.pass, index);
        }
    }
    for (pass, user) in last_use {
        passes[pass].keep = true;
        passes[user].release.push(pass);
    }
}

fn peak_cache_tokens(passes: &[Pass]) -> usize {
    let cached = |pass: &Pass| pass.n_rows() * (pass.past_len + pass.new_len);
    let (mut alive, mut peak) = (0, 0);
    for pass in passes {
        alive += cached(pass);
        peak = peak.max(alive);
        if !pass.keep {
            alive -= cached(pass);
        }
        alive -= pass.release.iter().map(|&p| cached(&passes[p])).sum::<usize>();
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { batch_tokens: 64, cache_tokens: 1000 };

    fn question(prompt: &[TokenId], options: &[&[TokenId]]) -> Question {
        Question { prompt: prompt.to_vec(), options: options.iter().map(|o| o.to_vec()).collect(), closed: false }
    }

    #[test]
    fn shared_prefixes_are_computed_once() {
        let questions = [
            question(&[1, 2, 3, 4, 5], &[&[10], &[11, 12]]),
            question(&[1, 2, 3, 4, 6], &[&[10], &[13]]),
        ];
        let plan = Plan::new(&questions, Reuse::Trie, BUDGET);
        // 1234 | 5, 6 | 11: seven tokens instead of 5 + 6 + 5 + 5.
        assert_eq!(plan.size.computed_tokens, 7);
        assert_eq!(plan.size.distinct_tokens, 7);
        assert_eq!(plan.size.logical_tokens, 21);
        let shapes: Vec<_> = plan.passes.iter().map(|p| (p.past_len, p.new_len, p.n_rows())).collect();
        assert_eq!(shapes, [(0, 4, 1), (4, 1, 2), (5, 1, 1)]);
        assert_eq!(plan.passes[1].scored, [(0, 0), (1, 0)]);
        assert_eq!(plan.passes[1].tops, [(0, 0), (1, 1)]);
        assert_eq!(plan.passes[2].parents, [Parent { pass: 1, row: 0 }]);
        assert_eq!(plan.passes[1].release, [0]);
        assert_eq!(plan.passes[2].release, [1]);
        assert_eq!(plan.slots, [vec![0..1, 1..3], vec![3..4, 4..5]]);
    }

    #[test]
    fn without_reuse_every_path_is_whole() {
        let questions = [question(&[1, 2, 3], &[&[10], &[11, 12]]), question(&[1, 2, 4], &[&[10], &[13]])];
        let plan = Plan::new(&questions, Reuse::Off, BUDGET);
        assert!(plan.passes.iter().all(|p| p.past_len == 0 && p.parents.is_empty() && !p.keep));
        assert_eq!(plan.size.computed_tokens, 3 + 4 + 3, "equal paths of one question are one row");
    }

    #[test]
    fn passes_keep_to_the_budget() {
        let questions: Vec<Question> =
            (0..300).map(|i| question(&[1, 2, 3, 4, 5, i / 20 + 100, i + 1000, 7, 8], &[&[50, 51], &[60]])).collect();
        let plan = Plan::new(&questions, Reuse::Trie, BUDGET);
        assert!(plan.passes.iter().all(|p| p.tokens.len() <= BUDGET.batch_tokens));
        assert!(plan.size.peak_cache_tokens <= 2 * BUDGET.cache_tokens, "{}", plan.size.peak_cache_tokens);
        let mut slots: Vec<usize> = plan.passes.iter().flat_map(|p| &p.wanted).map(|w| w.slot).collect();
        slots.sort_unstable();
        assert_eq!(slots, (0..plan.n_slots).collect::<Vec<_>>(), "every slot is filled exactly once");
        let released: usize = plan.passes.iter().map(|p| p.release.len()).sum();
        assert_eq!(released, plan.passes.iter().filter(|p| p.keep).count(), "every kept cache is released");
    }
}
