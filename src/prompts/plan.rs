//! The plan: a token trie over many questions, cut into passes whose rows all have the same length.
//!
//! Every question wants log-probabilities along a few paths of tokens (its prompt, then each option). Paths share their
//! beginnings, so they are laid into a trie; a branch that several paths go through is computed once, and its
//! key-value cache is continued by each of them. Rows of equal (past, new) length make one pass: no padding, so a row's
//! numbers do not depend on its neighbours.
//!
//! The plan is a function of the questions and the budget alone, which is what makes results reproducible.

use std::collections::BTreeMap;
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
    /// The earlier pass whose rows are continued; `None` when `past_len` is 0.
    pub parent: Option<usize>,
    /// For each row, the row of that pass that it continues; empty when there is none.
    pub parent_rows: Vec<usize>,
    /// Positions that pass through the head, as (row, position among the new tokens), ascending.
    pub scored: Vec<(usize, usize)>,
    /// What is read there.
    pub wanted: Vec<Wanted>,
    /// Scored positions whose most probable token is wanted, with the index of the question.
    pub tops: Vec<(usize, usize)>,
    /// Whether later passes continue rows of this one.
    pub keep: bool,
    /// Whether this pass is the last that continues its parent.
    pub release: bool,
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

/// An edge of the trie that is computed: the tokens, and what is read off them.
struct Node {
    past_len: usize,
    tokens: Vec<TokenId>,
    wants: Vec<(usize, TokenId, usize)>,
    tops: Vec<(usize, usize)>,
    children: Vec<usize>,
}

/// What a pass costs beside its tokens, in tokens: every weight is read once, however few rows there are. An estimate:
/// SmolLM2-135M on two cores ran about 50 tokens/s one at a time and 600 in wide passes, so that a pass costs a dozen tokens
/// at least, and splitting rows makes the passes that remain narrower and slower.
const PASS_COST_TOKENS: usize = 25;

/// Passes that another level of the trie adds: one for its own edges, and its children no longer share passes with their
/// cousins. A guess that separates levels worth having (hundreds of tokens saved) from those that are not (a dozen).
const PASSES_PER_LEVEL: usize = 4;

impl Plan {
    /// Plans the questions.
    pub fn new(questions: &[Question], reuse: Reuse, budget: Budget) -> Self {
        let (mut paths, slots, n_slots) = paths(questions);
        paths.sort_by(|a, b| a.tokens.cmp(&b.tokens));
        let mut size = PlanSize {
            logical_tokens: paths.iter().map(|p| p.tokens.len()).sum(),
            distinct_tokens: distinct_tokens(&paths),
            ..PlanSize::default()
        };
        let mut nodes = Vec::new();
        let roots = match reuse {
            Reuse::Trie => grow(&paths, &mut nodes),
            Reuse::Off => {
                nodes.extend(
                    paths.chunk_by(|a, b| a.tokens == b.tokens).map(|same| edge(same, 0, same[0].tokens.len())),
                );
                (0..nodes.len()).collect()
            }
        };
        let mut passes = Vec::new();
        cut(&nodes, &roots, None, budget, &mut passes);
        size.passes = passes.len();
        size.computed_tokens = passes.iter().map(|p| p.tokens.len()).sum();
        size.scored_positions = passes.iter().map(|p| p.scored.len()).sum();
        size.peak_cache_tokens = peak_cache_tokens(&passes);
        Self { passes, slots, n_slots, size }
    }
}

/// The paths of every question: prompt, then each option without its last scored token.
fn paths(questions: &[Question]) -> (Vec<Path>, Vec<Vec<Range<usize>>>, usize) {
    let mut n_slots = 0;
    let mut paths = Vec::with_capacity(2 * questions.len());
    let mut slots = Vec::with_capacity(questions.len());
    for (index, question) in questions.iter().enumerate() {
        let last = question.prompt.len() - 1;
        let mut ranges = Vec::with_capacity(question.options.len());
        for (number, option) in question.options.iter().enumerate() {
            let wants = option.iter().enumerate().map(|(i, token)| (last + i, *token, n_slots + i)).collect();
            let mut tokens = question.prompt.clone();
            tokens.extend_from_slice(&option[..option.len() - 1]);
            paths.push(Path { tokens, wants, top: (number == 0).then_some((last, index)) });
            ranges.push(n_slots..n_slots + option.len());
            n_slots += option.len();
        }
        slots.push(ranges);
    }
    (paths, slots, n_slots)
}

/// Number of distinct prefixes of sorted paths.
fn distinct_tokens(paths: &[Path]) -> usize {
    let shared = |pair: &[Path]| common_prefix(&pair[0].tokens, &pair[1].tokens);
    paths.iter().map(|p| p.tokens.len()).sum::<usize>() - paths.windows(2).map(shared).sum::<usize>()
}

/// The node for tokens `start..end` that all of `paths` share, with what they want there.
fn edge(paths: &[Path], start: usize, end: usize) -> Node {
    let here = start..end;
    let mut wants: Vec<_> =
        paths.iter().flat_map(|p| &p.wants).filter(|(position, ..)| here.contains(position)).copied().collect();
    wants.sort_unstable_by_key(|(position, _, slot)| (*position, *slot));
    let mut tops: Vec<_> = paths.iter().filter_map(|p| p.top).filter(|(position, _)| here.contains(position)).collect();
    tops.sort_unstable();
    Node { past_len: start, tokens: paths[0].tokens[here].to_vec(), wants, tops, children: Vec::new() }
}

/// Paths that share their first tokens, of which the first `start` are computed by `parent`.
struct Group<'a> {
    paths: &'a [Path],
    start: usize,
    parent: Option<usize>,
}

/// Grows the trie over sorted paths; returns its roots.
///
/// Goes down level by level. Where paths part, the tokens they share become a node of their own if that saves more than
/// the passes it adds, counted over all groups of the level that share equally much; else each branch repeats them.
fn grow(paths: &[Path], nodes: &mut Vec<Node>) -> Vec<usize> {
    let mut roots = Vec::new();
    let mut level = vec![Group { paths, start: 0, parent: None }];
    if paths.is_empty() {
        return roots;
    }
    while !level.is_empty() {
        let parted: Vec<Parted<'_>> = level.iter().map(Parted::new).collect();
        let mut saved: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (group, parted) in level.iter().zip(&parted) {
            *saved.entry((group.start, parted.shared)).or_default() += parted.saved(group.start);
        }
        let mut next = Vec::new();
        for (group, parted) in level.iter().zip(parted) {
            let pays = saved[&(group.start, parted.shared)] >= PASS_COST_TOKENS * PASSES_PER_LEVEL;
            // A path that ends here needs the node in any case, and so does one that has no company.
            let computed = parted.shared > group.start && (pays || parted.ended || parted.branches.is_empty());
            let (start, parent) = if computed {
                let node = nodes.len();
                nodes.push(edge(group.paths, group.start, parted.shared));
                match group.parent {
                    Some(parent) => nodes[parent].children.push(node),
                    None => roots.push(node),
                }
                (parted.shared, Some(node))
            } else {
                (group.start, group.parent)
            };
            next.extend(parted.branches.into_iter().map(|paths| Group { paths, start, parent }));
        }
        level = next;
    }
    roots
}

/// Where the paths of a group part.
struct Parted<'a> {
    shared: usize,
    ended: bool,
    branches: Vec<&'a [Path]>,
}

impl<'a> Parted<'a> {
    fn new(group: &Group<'a>) -> Self {
        let paths = group.paths;
        let shared = common_prefix(&paths[0].tokens, &paths[paths.len() - 1].tokens);
        // Sorted, the paths that end where the others part come first.
        let ended = paths.iter().take_while(|p| p.tokens.len() == shared).count();
        let branches = paths[ended..].chunk_by(|a, b| a.tokens[shared] == b.tokens[shared]).collect();
        Self { shared, ended: ended > 0, branches }
    }

    fn saved(&self, start: usize) -> usize {
        let branches = self.branches.len() + usize::from(self.ended);
        (self.shared - start) * (branches - 1)
    }
}

/// Cuts sibling nodes into passes of equal (past, new) length, each followed by the passes of its rows' children, so that
/// a cache lives only as long as its branch is worked on. `parent` is the pass whose rows `siblings` continue, with the
/// row of each. Returns the last of the siblings' passes.
fn cut(
    nodes: &[Node],
    siblings: &[usize],
    parent: Option<(usize, &[usize])>,
    budget: Budget,
    passes: &mut Vec<Pass>,
) -> Option<usize> {
    let mut order: Vec<usize> = (0..siblings.len()).collect();
    let lengths = |i: usize| (nodes[siblings[i]].past_len, nodes[siblings[i]].tokens.len());
    order.sort_by_key(|&i| (lengths(i), i));
    let mut last = None;
    for group in order.chunk_by(|&a, &b| lengths(a) == lengths(b)) {
        let (past_len, new_len) = lengths(group[0]);
        // Two generations are alive at once: the rows of a pass and those they continue.
        let most = (budget.batch_tokens / new_len).min(budget.cache_tokens / (2 * (past_len + new_len))).max(1);
        let n_passes = group.len().div_ceil(most);
        for rows in group.chunks(group.len().div_ceil(n_passes)) {
            let index = passes.len();
            let of_rows: Vec<&Node> = rows.iter().map(|&i| &nodes[siblings[i]]).collect();
            let parents = parent.map(|(_, place)| rows.iter().map(|&i| place[i]).collect()).unwrap_or_default();
            passes.push(pass(&of_rows, parent.map(|(pass, _)| pass), parents));
            last = Some(index);
            let children: Vec<usize> = of_rows.iter().flat_map(|node| &node.children).copied().collect();
            let place: Vec<usize> =
                of_rows.iter().enumerate().flat_map(|(row, node)| node.children.iter().map(move |_| row)).collect();
            if let Some(user) = cut(nodes, &children, Some((index, &place)), budget, passes) {
                passes[index].keep = true;
                passes[user].release = true;
            }
        }
    }
    last
}

fn pass(rows: &[&Node], parent: Option<usize>, parent_rows: Vec<usize>) -> Pass {
    let (past_len, new_len) = (rows[0].past_len, rows[0].tokens.len());
    let mut pass = Pass {
        past_len,
        new_len,
        tokens: Vec::with_capacity(rows.len() * new_len),
        parent,
        parent_rows,
        scored: Vec::new(),
        wanted: Vec::new(),
        tops: Vec::new(),
        keep: false,
        release: false,
    };
    for (row, node) in rows.iter().enumerate() {
        pass.tokens.extend_from_slice(&node.tokens);
        for &(position, token, slot) in &node.wants {
            let at = (row, position - past_len);
            if pass.scored.last() != Some(&at) {
                pass.scored.push(at);
            }
            pass.wanted.push(Wanted { scored: pass.scored.len() - 1, token, slot });
        }
        for &(position, question) in &node.tops {
            let scored = pass.scored.binary_search(&(row, position - past_len));
            pass.tops.push((scored.expect("a question's top token is read where its options begin"), question));
        }
    }
    pass
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
        if pass.release {
            alive -= pass.parent.map_or(0, |parent| cached(&passes[parent]));
        }
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
    fn a_prefix_is_shared_where_that_pays() {
        // Forty prompts 1 2 3 4 i, each with the options 10 and 11 12.
        let questions: Vec<Question> = (0..40).map(|i| question(&[1, 2, 3, 4, 100 + i], &[&[10], &[11, 12]])).collect();
        let plan = Plan::new(&questions, Reuse::Trie, BUDGET);
        let shapes: Vec<_> = plan.passes.iter().map(|p| (p.past_len, p.new_len, p.n_rows())).collect();
        assert_eq!(shapes, [(0, 4, 1), (4, 1, 40), (5, 1, 40)]);
        assert_eq!(plan.size.computed_tokens, 4 + 40 + 40);
        assert_eq!(plan.size.distinct_tokens, plan.size.computed_tokens);
        assert_eq!(plan.size.logical_tokens, 40 * (5 + 6));
        assert_eq!(plan.passes[1].scored[..2], [(0, 0), (1, 0)]);
        assert_eq!(plan.passes[1].tops[..2], [(0, 0), (1, 1)]);
        assert_eq!((plan.passes[2].parent, &plan.passes[2].parent_rows[..3]), (Some(1), &[0, 1, 2][..]));
        assert_eq!(
            plan.passes.iter().map(|p| (p.keep, p.release)).collect::<Vec<_>>(),
            [(true, false), (true, true), (false, true)]
        );
        assert_eq!(plan.slots[..2], [vec![0..1, 1..3], vec![3..4, 4..6]]);

        // Two of them save four tokens, and a level of passes costs more: each prompt is computed whole.
        let plan = Plan::new(&questions[..2], Reuse::Trie, BUDGET);
        let shapes: Vec<_> = plan.passes.iter().map(|p| (p.past_len, p.new_len, p.n_rows())).collect();
        assert_eq!(shapes, [(0, 5, 2), (5, 1, 2)]);
        assert!(Plan::new(&[], Reuse::Trie, BUDGET).passes.is_empty());
    }

    #[test]
    fn without_reuse_every_path_is_whole() {
        let questions = [question(&[1, 2, 3], &[&[10], &[11, 12]]), question(&[1, 2, 4], &[&[10], &[13]])];
        let plan = Plan::new(&questions, Reuse::Off, BUDGET);
        assert!(plan.passes.iter().all(|p| p.past_len == 0 && p.parent.is_none() && !p.keep));
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
        let released: Vec<usize> = plan.passes.iter().filter(|p| p.release).filter_map(|p| p.parent).collect();
        let kept: Vec<usize> = (0..plan.passes.len()).filter(|i| plan.passes[*i].keep).collect();
        assert_eq!(
            released.iter().collect::<std::collections::BTreeSet<_>>().len(),
            kept.len(),
            "every kept cache is released"
        );
    }
}
