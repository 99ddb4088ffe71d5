//! Cutting a trie into passes.

use std::collections::{BTreeMap, BTreeSet};

use crate::prompts::pass::{Pass, Slot, Wanted};
use crate::prompts::strategy::{Budget, Strategy};
use crate::prompts::trie::{Node, Trie};

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
    pub(crate) fn run(&mut self, nodes: &[usize]) {
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
            shapes = joined(shapes, self.budget.pass_tokens);
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
fn joined(shapes: BTreeMap<Shape, Vec<usize>>, pass_tokens: usize) -> BTreeMap<Shape, Vec<usize>> {
    let mut joined: BTreeMap<Shape, Vec<usize>> = BTreeMap::new();
    let mut deeper: Option<(Shape, Vec<usize>)> = None;
    for (shape, mut nodes) in shapes.into_iter().rev() {
        if let Some((deep, more)) = deeper.take() {
            let again = more.len() * (deep.past_len.saturating_sub(shape.past_len));
            if deep.total_len == shape.total_len && again <= pass_tokens {
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
