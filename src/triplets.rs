//! Triplets: an anchor and the two options it is compared with, and the designs that choose them.

use std::collections::HashSet;

use rand::{Rng, RngExt};

use crate::concepts::ConceptId;
use crate::error::{Error, Result};
use crate::seed::Streams;

/// An anchor and two options in the order shown, not yet answered.
///
/// Ordered by (anchor, first, second), which is the order of every file and plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Triplet {
    /// The thing compared with.
    pub anchor: ConceptId,
    /// The option named first.
    pub first: ConceptId,
    /// The option named second.
    pub second: ConceptId,
}

impl Triplet {
    /// Rank of (anchor, {i < j}) among all unordered triplets of `n_concepts`, 0 … n·C(n−1, 2) − 1.
    ///
    /// Both option orders share it.
    pub fn id(&self, n_concepts: usize) -> i64 {
        let m = n_concepts as i64 - 1;
        // Ranks among the concepts other than the anchor.
        let rank = |id: ConceptId| i64::from(id) - i64::from(id > self.anchor);
        let (i, j) = (rank(self.first.min(self.second)), rank(self.first.max(self.second)));
        i64::from(self.anchor) * (m * (m - 1) / 2) + i * (2 * m - i - 1) / 2 + (j - i - 1)
    }

    /// 0 when the first option shown has the smaller id, else 1.
    pub fn order(&self) -> i8 {
        i8::from(self.first > self.second)
    }

    /// The triplet of an id, its options in ascending order: the inverse of [`Triplet::id`].
    #[allow(clippy::cast_possible_truncation, reason = "ids below n_concepts fit a ConceptId")]
    pub fn from_id(id: i64, n_concepts: usize) -> Self {
        let m = n_concepts as i64 - 1;
        let pairs = m * (m - 1) / 2;
        let (anchor, mut rest) = (id / pairs, id % pairs);
        let mut i = 0;
        while rest >= m - 1 - i {
            rest -= m - 1 - i;
            i += 1;
        }
        let j = i + 1 + rest;
        let concept = |rank: i64| (rank + i64::from(rank >= anchor)) as ConceptId;
        Self { anchor: anchor as ConceptId, first: concept(i), second: concept(j) }
    }

    /// The same triplet with its options in the other order.
    pub fn swapped(self) -> Self {
        Self { first: self.second, second: self.first, ..self }
    }
}

/// Number of unordered triplets of `n_concepts`: n·C(n−1, 2).
pub fn count(n_concepts: usize) -> i64 {
    let n = n_concepts as i64;
    n * (n - 1) * (n - 2) / 2
}

/// Draws `n` different triplets at random without replacement, the option order by coin;
/// with `counterbalance`, both orders of each. Sorted.
///
/// # Errors
/// [`Error::Setting`] when there are fewer than `n` triplets.
pub fn random(n_concepts: usize, n: usize, counterbalance: bool, seed: u64) -> Result<Vec<Triplet>> {
    let ids = distinct_ids(count(n_concepts), n, n_concepts, &mut Streams::new(seed, "triplets").rng(0))?;
    Ok(ordered(ids.into_iter(), n_concepts, counterbalance, seed))
}

/// `n` different ids below `total`, the number of triplets of `n_concepts` (Floyd's algorithm).
///
/// # Errors
/// [`Error::Setting`] when there are fewer than `n`.
pub(crate) fn distinct_ids(total: i64, n: usize, n_concepts: usize, rng: &mut impl Rng) -> Result<HashSet<i64>> {
    let wanted = i64::try_from(n).ok().filter(|n| *n <= total && *n > 0).ok_or_else(|| Error::Setting {
        field: "triplets.n".into(),
        found: n.to_string(),
        expected: format!("1 to {total}, the number of triplets of {n_concepts} concepts"),
    })?;
    let mut chosen = HashSet::with_capacity(n);
    for top in total - wanted..total {
        let id = rng.random_range(0..=top);
        if !chosen.insert(id) {
            chosen.insert(top);
        }
    }
    Ok(chosen)
}

/// Every triplet once, the option order by coin; with `counterbalance`, both orders of each. Sorted.
pub fn exhaustive(n_concepts: usize, counterbalance: bool, seed: u64) -> Vec<Triplet> {
    ordered(0..count(n_concepts), n_concepts, counterbalance, seed)
}

/// The triplets of some ids, in an order of options that each id draws for itself. Sorted.
pub(crate) fn ordered(
    ids: impl Iterator<Item = i64>,
    n_concepts: usize,
    counterbalance: bool,
    seed: u64,
) -> Vec<Triplet> {
    let coins = Streams::new(seed, "order");
    let mut triplets = Vec::new();
    for id in ids {
        let triplet = Triplet::from_id(id, n_concepts);
        let swap = coins.rng(id.cast_unsigned()).random::<bool>();
        triplets.push(if swap { triplet.swapped() } else { triplet });
        if counterbalance {
            triplets.push(if swap { triplet } else { triplet.swapped() });
        }
    }
    triplets.sort_unstable();
    triplets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ranks() {
        for n in [3, 4, 7, 12] {
            for (rank, triplet) in exhaustive_ascending(n).into_iter().enumerate() {
                assert_eq!(triplet.id(n), rank as i64);
                assert_eq!(triplet.swapped().id(n), rank as i64);
                assert_eq!(Triplet::from_id(rank as i64, n), triplet);
                assert_eq!((triplet.order(), triplet.swapped().order()), (0, 1));
            }
        }
        assert_eq!(count(128), 1_024_128);
    }

    fn exhaustive_ascending(n: usize) -> Vec<Triplet> {
        let n = ConceptId::try_from(n).unwrap();
        let mut all = Vec::new();
        for anchor in 0..n {
            for first in (0..n).filter(|i| *i != anchor) {
                for second in (first + 1..n).filter(|j| *j != anchor) {
                    all.push(Triplet { anchor, first, second });
                }
            }
        }
        all
    }

    #[test]
    fn random_draws_are_different_sorted_and_seeded() {
        let draw = random(20, 500, false, 3).unwrap();
        let ids: HashSet<i64> = draw.iter().map(|t| t.id(20)).collect();
        assert_eq!(ids.len(), 500);
        assert!(draw.is_sorted());
        assert_eq!(draw, random(20, 500, false, 3).unwrap());
        assert_ne!(draw, random(20, 500, false, 4).unwrap());
        let swapped = draw.iter().filter(|t| t.order() == 1).count();
        assert!((200..300).contains(&swapped), "{swapped} of 500 coins");
        assert_eq!(random(20, 500, true, 3).unwrap().len(), 1000);
        assert_eq!(random(4, 12, false, 0).unwrap().len(), 12);
        assert!(random(4, 13, false, 0).is_err());
    }
}
