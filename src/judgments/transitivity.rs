//! Whether the choices under one anchor can be put in an order.
//!
//! Under an anchor, choosing x over y, y over z and z over x is a cycle: no likeness to the anchor can make these choices.

use std::collections::BTreeMap;

use crate::concepts::ConceptId;
use crate::stats::{effective_n, wilson_95_of};

/// One choice between two options under an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnchoredChoice {
    /// What both were compared with.
    pub anchor: ConceptId,
    /// The option chosen.
    pub chosen: ConceptId,
    /// The other one.
    pub left: ConceptId,
}

/// How many threes of options are in an order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Transitivity {
    /// Closed threes: an anchor with three options of which every two were decided.
    pub n: usize,
    /// Those that are no cycle.
    pub n_transitive: usize,
    /// 95 % interval of their share.
    pub interval: Option<(f64, f64)>,
}

impl Transitivity {
    /// What choices at random would give: two of the eight ways to decide three pairs are cycles.
    pub const BY_COIN: f64 = 0.75;

    /// Share of the closed threes that are no cycle; `None` where there are none.
    pub fn share(&self) -> Option<f64> {
        (self.n > 0).then(|| self.n_transitive as f64 / self.n as f64)
    }
}

/// What makes up [`Transitivity`], choice by choice: those under one anchor together.
///
/// Two options are decided by the majority of the choices between them, over orders and repeats; where there is none they are
/// left out. The time is that of sorting, and for each pair decided one word for every 64 options of its anchor; memory grows with
/// the pairs of one anchor.
#[derive(Debug, Clone, Default)]
pub struct TransitivityTally {
    anchor: ConceptId,
    votes: BTreeMap<[ConceptId; 2], i64>,
    /// Of each anchor before this one: threes that are no cycle, and all.
    counts: Vec<(usize, usize)>,
}

impl TransitivityTally {
    /// Counts one choice.
    pub fn add(&mut self, AnchoredChoice { anchor, chosen, left }: AnchoredChoice) {
        if self.anchor != anchor {
            self.settle();
            self.anchor = anchor;
        }
        let (pair, vote) = if chosen < left { ([chosen, left], 1) } else { ([left, chosen], -1) };
        *self.votes.entry(pair).or_default() += vote;
    }

    fn settle(&mut self) {
        let counts = threes(&std::mem::take(&mut self.votes));
        self.counts.extend((counts.1 > 0).then_some(counts));
    }

    /// What they say. Threes of one anchor share pairs, so the interval is Wilson's for the number of independent threes that the
    /// anchors' differences allow for ([`effective_n`]); anchors are taken as independent.
    pub fn finish(mut self) -> Transitivity {
        self.settle();
        let (n_transitive, n) = self.counts.iter().fold((0, 0), |(right, all), (r, n)| (right + r, all + n));
        let interval = (n > 0).then(|| wilson_95_of(n_transitive as f64 / n as f64, effective_n(&self.counts)));
        Transitivity { n, n_transitive, interval }
    }
}

/// The threes of one anchor: those that are no cycle, and all.
fn threes(votes: &BTreeMap<[ConceptId; 2], i64>) -> (usize, usize) {
    let mut options: Vec<ConceptId> = votes.keys().flatten().copied().collect();
    options.sort_unstable();
    options.dedup();
    let place = |id: &ConceptId| options.binary_search(id).expect("every option is in the list of options");
    let beats: Vec<[usize; 2]> = (votes.iter().filter(|(_, vote)| **vote != 0))
        .map(|([a, b], vote)| if *vote > 0 { [place(a), place(b)] } else { [place(b), place(a)] })
        .collect();

    let mut over = Relation::new(options.len());
    let mut under = Relation::new(options.len());
    for [x, y] in &beats {
        over.set(*x, *y);
        under.set(*y, *x);
    }
    let (mut closed, mut cycles) = (0, 0);
    for [x, y] in &beats {
        // A third z that was compared with both; x over y, y over z and z over x make a cycle.
        for ((x_over, x_under), (y_over, y_under)) in
            over.row(*x).zip(under.row(*x)).zip(over.row(*y).zip(under.row(*y)))
        {
            closed += ((x_over | x_under) & (y_over | y_under)).count_ones() as usize;
            cycles += (y_over & x_under).count_ones() as usize;
        }
    }
    // Each three was met at each of its pairs.
    ((closed - cycles) / 3, closed / 3)
}

/// Which of n options stand in a relation to which others, a bit for each pair.
struct Relation {
    n_words: usize,
    bits: Vec<u64>,
}

impl Relation {
    fn new(n: usize) -> Self {
        let n_words = n.div_ceil(64);
        Self { n_words, bits: vec![0; n * n_words] }
    }

    fn set(&mut self, one: usize, other: usize) {
        self.bits[one * self.n_words + other / 64] |= 1 << (other % 64);
    }

    fn row(&self, one: usize) -> impl Iterator<Item = u64> {
        self.bits[one * self.n_words..(one + 1) * self.n_words].iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choice(anchor: ConceptId, chosen: ConceptId, left: ConceptId) -> AnchoredChoice {
        AnchoredChoice { anchor, chosen, left }
    }

    fn of(choices: &[AnchoredChoice]) -> Transitivity {
        let mut tally = TransitivityTally::default();
        choices.iter().for_each(|choice| tally.add(*choice));
        tally.finish()
    }

    fn counts(choices: &[AnchoredChoice]) -> (usize, usize) {
        let found = of(choices);
        (found.n_transitive, found.n)
    }

    #[test]
    fn threes_by_hand() {
        let cycle = [choice(0, 1, 2), choice(0, 2, 3), choice(0, 3, 1)];
        let ordered = [choice(0, 1, 2), choice(0, 2, 3), choice(0, 1, 3)];
        assert_eq!((counts(&cycle), counts(&ordered)), ((0, 1), (1, 1)));
        assert_eq!(counts(&ordered[..2]), (0, 0), "two pairs are not closed");
        assert_eq!(of(&ordered[..2]).share(), None);
        // The same pairs under different anchors have nothing to do with each other.
        assert_eq!(counts(&[choice(0, 1, 2), choice(4, 2, 3), choice(5, 3, 1)]), (0, 0));
        // A tie leaves its pair out; a majority decides it.
        let tie = [&cycle[..], &[choice(0, 1, 3)]].concat();
        assert_eq!(counts(&tie), (0, 0));
        assert_eq!(counts(&[&tie[..], &[choice(0, 1, 3)]].concat()), (1, 1));
    }

    /// Kendall & Smith (1940): of a whole tournament C(n, 3) − Σ C(wins, 2) threes are cycles.
    #[test]
    fn a_whole_tournament_has_as_many_cycles_as_its_scores_say() {
        let n: ConceptId = 70;
        let over = |a: ConceptId, b: ConceptId| (a * 7919 + b * 104_729) % 11 < 5;
        let mut wins = vec![0_usize; n as usize];
        let mut choices = Vec::new();
        for a in 0..n {
            for b in a + 1..n {
                let (won, lost) = if over(a, b) { (a, b) } else { (b, a) };
                wins[won as usize] += 1;
                choices.push(choice(n, won, lost));
            }
        }
        let transitive: usize = wins.iter().map(|w| w * w.saturating_sub(1) / 2).sum();
        assert_eq!(counts(&choices), (transitive, 70 * 69 * 68 / 6));
    }

    #[test]
    fn the_interval_allows_for_anchors_that_differ() {
        let ordered = |a| [choice(a, 101, 102), choice(a, 102, 103), choice(a, 101, 103)];
        let cycle = |a| [choice(a, 101, 102), choice(a, 102, 103), choice(a, 103, 101)];
        let all: Vec<_> = (0..30).flat_map(ordered).chain((30..40).flat_map(cycle)).collect();
        let found = of(&all);
        // One three for each anchor: their differences are those of independent threes, but for n / (n − 1).
        let (lo, hi) = found.interval.unwrap();
        let (plain_lo, plain_hi) = crate::stats::wilson_95(30, 40);
        assert!((lo - plain_lo).abs() < 5e-3 && (hi - plain_hi).abs() < 5e-3);
    }

    proptest! {
        /// Every three of every anchor, looked at one by one.
        #[test]
        fn counts_are_those_of_looking_at_every_three(
            asked in prop::collection::vec((0_u32..3, 0_u32..9, 0_u32..9), 0..160)
        ) {
            let mut choices: Vec<_> =
                asked.into_iter().filter(|(_, x, y)| x != y).map(|(a, x, y)| choice(a, x, y)).collect();
            choices.sort_by_key(|choice| choice.anchor);
            let balance = |anchor, x, y| {
                let of = |chosen, left| choices.iter().filter(|c| **c == choice(anchor, chosen, left)).count();
                of(x, y).cmp(&of(y, x))
            };
            let (mut n, mut n_transitive) = (0, 0);
            for (anchor, x) in (0..3).flat_map(|a| (0..9).map(move |x| (a, x))) {
                for (y, z) in (x + 1..9).flat_map(|y| (y + 1..9).map(move |z| (y, z))) {
                    let around = [balance(anchor, x, y), balance(anchor, y, z), balance(anchor, z, x)];
                    if around.iter().all(|b| b.is_ne()) {
                        n += 1;
                        n_transitive += usize::from(around.iter().any(|b| *b != around[0]));
                    }
                }
            }
            prop_assert_eq!(counts(&choices), (n_transitive, n));
        }
    }
}
