//! The token trie over many questions, and which of its edges are computed on their own.
//!
//! Every question wants log-probabilities along a few paths of tokens (its prompt, then each option). Paths share their
//! beginnings, so they are laid into a trie; an edge that several paths go through is a node, computed once, whose keys
//! and values its children continue.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::prompts::tokens::{PromptTokens, Question, TokenId, common_prefix};

/// A path of tokens and what is read along it.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) question: usize,
    pub(crate) tokens: Vec<TokenId>,
    /// The first tokens that an encoder reads.
    source_len: usize,
    /// (position whose output is read, token, slot)
    wants: Vec<(usize, TokenId, usize)>,
    /// The position whose most probable token is wanted.
    top: Option<usize>,
}

impl Path {
    /// A whole prompt whose next token is wanted.
    pub(crate) fn prompt(question: usize, prompt: &PromptTokens) -> Self {
        let PromptTokens { tokens, source_len } = prompt;
        let top = Some(tokens.len() - 1);
        Self { question, tokens: tokens.clone(), source_len: *source_len, wants: Vec::new(), top }
    }
}

/// Tokens that are computed together, as (part of) one row of a pass.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// The node whose last token the first token here follows.
    pub(crate) parent: Option<usize>,
    /// Tokens before these.
    pub(crate) past_len: usize,
    pub(crate) tokens: Vec<TokenId>,
    /// The first of them that an encoder reads.
    pub(crate) source_len: usize,
    /// What each token follows: 0 the past, k the k-th token here.
    pub(crate) follows: Vec<usize>,
    /// (index into `tokens`, token, slot), ascending
    pub(crate) wants: Vec<(usize, TokenId, usize)>,
    /// (index into `tokens`, question)
    pub(crate) tops: Vec<(usize, usize)>,
    pub(crate) children: Vec<usize>,
}

/// The nodes, parents before children.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    pub(crate) nodes: Vec<Node>,
    pub(crate) roots: Vec<usize>,
}

/// The shapes of rows that a graph can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// A chain, or a question's last tokens with its options as branches.
    Trees,
    /// Chains of tokens.
    Chains,
    /// One token, where there is a past.
    Steps,
}

/// A tree row is attended to densely, which costs its length squared; a longer one is split into chains.
const MAX_TREE_TOKENS: usize = 512;

/// The paths of every question: prompt, then each option without its last scored token; the slots of each option's
/// log-probabilities; their number.
pub(crate) fn paths(questions: &[Question]) -> (Vec<Path>, Vec<Vec<Range<usize>>>, usize) {
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
            let (source_len, top) = (question.source_len, (number == 0).then_some(last));
            paths.push(Path { question: index, tokens, source_len, wants, top });
            ranges.push(n_slots..n_slots + option.len());
            n_slots += option.len();
        }
        slots.push(ranges);
    }
    (paths, slots, n_slots)
}

/// Number of distinct prefixes of sorted paths.
pub(crate) fn distinct_tokens(paths: &[Path]) -> usize {
    let shared = |pair: &[Path]| common_prefix(&pair[0].tokens, &pair[1].tokens);
    paths.iter().map(|p| p.tokens.len()).sum::<usize>() - paths.windows(2).map(shared).sum::<usize>()
}

/// Paths that share their first tokens, of which the first `start` are computed by `parent`.
struct Group<'a> {
    paths: &'a [Path],
    start: usize,
    parent: Option<usize>,
}

impl Trie {
    /// Every distinct path as a row of its own.
    pub(crate) fn whole(paths: &[Path]) -> Self {
        let mut trie = Self::default();
        for same in paths.chunk_by(|a, b| a.tokens == b.tokens) {
            trie.push(chain(same, 0..same[0].tokens.len(), None));
        }
        trie
    }

    /// A row for each question, whose paths lie side by side; a row for each of its paths where that would be too long.
    pub(crate) fn of_questions(paths: &[Path]) -> Self {
        let mut trie = Self::default();
        for paths in paths.chunk_by(|a, b| a.question == b.question) {
            match tree(&Group { paths, start: 0, parent: None }) {
                Some(node) => {
                    trie.push(node);
                }
                None => paths.iter().for_each(|path| {
                    trie.push(chain(std::slice::from_ref(path), 0..path.tokens.len(), None));
                }),
            }
        }
        trie
    }

    /// The trie over sorted paths, for passes that cost as much as `pass_tokens`; `apart` says which neighbours share nothing.
    ///
    /// Goes down level by level. Where paths part, the tokens they share become a node of their own if that saves more
    /// than the passes it adds, counted over all groups of the level that share equally much; else each branch repeats
    /// them.
    pub(crate) fn grow(paths: &[Path], rows: Rows, pass_tokens: usize, apart: impl Fn(&Path, &Path) -> bool) -> Self {
        let mut trie = Self::default();
        let first = paths.chunk_by(|a, b| !apart(a, b)).map(|paths| Group { paths, start: 0, parent: None });
        let mut level: Vec<Group<'_>> = first.collect();
        while !level.is_empty() {
            if rows == Rows::Trees {
                level.retain(|group| match tree(group) {
                    Some(node) => {
                        trie.push(node);
                        false
                    }
                    None => true,
                });
            }
            let parted: Vec<Parted<'_>> = level.iter().map(Parted::new).collect();
            let mut saved: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            for (group, parted) in level.iter().zip(&parted) {
                *saved.entry((group.start, parted.shared)).or_default() += parted.saved(group.start);
            }
            let mut next = Vec::new();
            for (group, parted) in level.iter().zip(parted) {
                let pays = saved[&(group.start, parted.shared)] >= PASSES_PER_LEVEL * pass_tokens;
                // A path that ends here needs the node in any case, and so does one that has no company.
                let computed = parted.shared > group.start && (pays || parted.ended || parted.branches.is_empty());
                let (start, parent) = if computed {
                    (parted.shared, Some(trie.push_chain(group, parted.shared, rows)))
                } else {
                    (group.start, group.parent)
                };
                next.extend(parted.branches.into_iter().map(|paths| Group { paths, start, parent }));
            }
            level = next;
        }
        trie
    }

    fn push(&mut self, node: Node) -> usize {
        let index = self.nodes.len();
        match node.parent {
            Some(parent) => self.nodes[parent].children.push(index),
            None => self.roots.push(index),
        }
        self.nodes.push(node);
        index
    }

    /// The tokens up to `end` that a group shares: one node, or one a token where there is no other way.
    fn push_chain(&mut self, group: &Group<'_>, end: usize, rows: Rows) -> usize {
        if rows != Rows::Steps || group.start == 0 {
            return self.push(chain(group.paths, group.start..end, group.parent));
        }
        let step = |parent, at| Some(self.push(chain(group.paths, at..at + 1, parent)));
        (group.start..end).fold(group.parent, step).expect("a chain has a token")
    }
}

/// Passes that another level of the trie adds: one for its own edges, and one for the children that are one by one shorter
/// or longer than others now.
const PASSES_PER_LEVEL: usize = 2;

/// The node for the tokens at `here` that all of `paths` share, with what they want there.
fn chain(paths: &[Path], here: Range<usize>, parent: Option<usize>) -> Node {
    let at = |position: usize| here.contains(&position).then(|| position - here.start);
    let wants =
        paths.iter().flat_map(|p| &p.wants).filter_map(|&(position, token, slot)| Some((at(position)?, token, slot)));
    let tops = paths.iter().filter_map(|p| Some((at(p.top?)?, p.question)));
    let (mut wants, mut tops): (Vec<_>, Vec<_>) = (wants.collect(), tops.collect());
    wants.sort_unstable_by_key(|(position, _, slot)| (*position, *slot));
    tops.sort_unstable();
    let tokens = paths[0].tokens[here.clone()].to_vec();
    Node {
        parent,
        past_len: here.start,
        source_len: paths[0].source_len,
        follows: (0..tokens.len()).collect(),
        tokens,
        wants,
        tops,
        children: Vec::new(),
    }
}

/// One node for everything that is left of a single question, its options as branches.
fn tree(group: &Group<'_>) -> Option<Node> {
    let question = group.paths[0].question;
    if group.paths.iter().any(|path| path.question != question) {
        return None;
    }
    let (parent, past_len, source_len) = (group.parent, group.start, group.paths[0].source_len);
    let mut node = Node { parent, past_len, source_len, ..Node::default() };
    // Paths are sorted: each follows the one before it for a while and branches off.
    let mut before: Vec<usize> = Vec::new();
    for (number, path) in group.paths.iter().enumerate() {
        let tokens = &path.tokens[group.start..];
        let shared = number.checked_sub(1).map_or(0, |n| common_prefix(&group.paths[n].tokens[group.start..], tokens));
        let mut places = before[..shared].to_vec();
        for token in &tokens[shared..] {
            node.follows.push(places.last().map_or(0, |place| place + 1));
            places.push(node.tokens.len());
            node.tokens.push(*token);
        }
        if node.tokens.len() > MAX_TREE_TOKENS {
            return None;
        }
        // What lies before the row is read where it is computed.
        let here = |position: usize| Some(places[position.checked_sub(group.start)?]);
        node.wants
            .extend(path.wants.iter().filter_map(|&(position, token, slot)| Some((here(position)?, token, slot))));
        node.tops.extend(path.top.and_then(here).map(|place| (place, question)));
        before = places;
    }
    node.wants.sort_unstable_by_key(|(place, _, slot)| (*place, *slot));
    Some(node)
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
