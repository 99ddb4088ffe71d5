//! Odd-one-out triplets: three concepts of which one is named as the odd one, and the designs that choose them.

use rand::RngExt;

use crate::concepts::ConceptId;
use crate::error::Result;
use crate::seed::Streams;
use crate::triplets::distinct_ids;

/// Three concepts in the order shown, of which the odd one is yet to be named.
///
/// Ordered by (a, b, c), which is the order of every file and plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OddOneOut {
    /// The concept named first.
    pub a: ConceptId,
    /// The concept named second.
    pub b: ConceptId,
    /// The concept named third.
    pub c: ConceptId,
}

/// The orders that three concepts can be shown in: `ORDERS[order][place]` is the rank, by id, of the concept at a place.
pub const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

impl OddOneOut {
    /// The concepts in the order shown.
    pub fn concepts(&self) -> [ConceptId; 3] {
        [self.a, self.b, self.c]
    }

    /// Lexicographic rank of {i < j < k} among the C(n, 3) of `n_concepts`; all six orders share it.
    pub fn id(&self, n_concepts: usize) -> i64 {
        let n = n_concepts as i64;
        let [i, j, k] = self.ascending().map(i64::from);
        // Those with a smaller first, then those with the same first and a smaller second.
        (choose_3(n) - choose_3(n - i)) + (choose_2(n - i - 1) - choose_2(n - j)) + (k - j - 1)
    }

    /// The triplet of an id, its concepts in ascending order: the inverse of [`OddOneOut::id`].
    #[allow(clippy::cast_possible_truncation, reason = "ids below n_concepts fit a ConceptId")]
    pub fn from_id(id: i64, n_concepts: usize) -> Self {
        let n = n_concepts as i64;
        let (mut rest, mut i) = (id, 0);
        while rest >= choose_2(n - 1 - i) {
            rest -= choose_2(n - 1 - i);
            i += 1;
        }
        let mut j = i + 1;
        while rest >= n - 1 - j {
            rest -= n - 1 - j;
            j += 1;
        }
        let [a, b, c] = [i, j, j + 1 + rest].map(|id| id as ConceptId);
        Self { a, b, c }
    }

    /// Which of [`ORDERS`] is shown.
    #[allow(clippy::cast_possible_truncation, reason = "there are six")]
    pub fn order(&self) -> i8 {
        let ascending = self.ascending();
        let ranks = self.concepts().map(|id| ascending.iter().position(|other| *other == id));
        let shown = ORDERS.iter().position(|order| order.map(Some) == ranks);
        shown.expect("three different concepts are shown in one of six orders") as i8
    }

    /// The same three concepts in one of [`ORDERS`].
    pub fn in_order(self, order: usize) -> Self {
        let ascending = self.ascending();
        let [a, b, c] = ORDERS[order].map(|rank| ascending[rank]);
        Self { a, b, c }
    }

    /// The same with the first concept last. Three rotations put each concept in each place once.
    pub fn rotated(self) -> Self {
        Self { a: self.b, b: self.c, c: self.a }
    }

    fn ascending(&self) -> [ConceptId; 3] {
        let mut ids = self.concepts();
        ids.sort_unstable();
        ids
    }
}

fn choose_2(n: i64) -> i64 {
    n * (n - 1) / 2
}

fn choose_3(n: i64) -> i64 {
    n * (n - 1) * (n - 2) / 6
}

/// Number of odd-one-out triplets of `n_concepts`, whatever their order: C(n, 3).
pub fn count(n_concepts: usize) -> i64 {
    choose_3(n_concepts as i64)
}

/// Draws `n` different triplets at random without replacement, each in one of six orders by chance; with
/// `counterbalance`, three orders of each, the rotations of that one. Sorted.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) when there are fewer than `n` triplets.
pub fn random(n_concepts: usize, n: usize, counterbalance: bool, seed: u64) -> Result<Vec<OddOneOut>> {
    let mut rng = Streams::new(seed, "odd-one-out triplets").rng(0);
    let ids = distinct_ids(count(n_concepts), n, n_concepts, &mut rng)?;
    Ok(ordered(ids.into_iter(), n_concepts, counterbalance, seed))
}

/// Every triplet once, in one of six orders by chance; with `counterbalance`, its three rotations. Sorted.
pub fn exhaustive(n_concepts: usize, counterbalance: bool, seed: u64) -> Vec<OddOneOut> {
    ordered(0..count(n_concepts), n_concepts, counterbalance, seed)
}

/// The triplets of some ids, in an order of options that each id draws for itself. Sorted.
pub(crate) fn ordered(
    ids: impl Iterator<Item = i64>,
    n_concepts: usize,
    counterbalance: bool,
    seed: u64,
) -> Vec<OddOneOut> {
    let orders = Streams::new(seed, "odd-one-out order");
    let mut triplets = Vec::new();
    for id in ids {
        let order = orders.rng(id.cast_unsigned()).random_range(0..ORDERS.len());
        let shown = OddOneOut::from_id(id, n_concepts).in_order(order);
        triplets.push(shown);
        if counterbalance {
            triplets.extend([shown.rotated(), shown.rotated().rotated()]);
        }
    }
    triplets.sort_unstable();
    triplets
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_lexicographic_ranks() {
        for n in [3, 4, 7, 12] {
            let mut rank = 0;
            for a in 0..n {
                for b in a + 1..n {
                    for c in b + 1..n {
                        let ascending = OddOneOut { a, b, c };
                        assert_eq!(OddOneOut::from_id(rank, n as usize), ascending);
                        for order in 0..6_u8 {
                            let shown = ascending.in_order(usize::from(order));
                            assert_eq!((shown.id(n as usize), shown.order()), (rank, order.cast_signed()));
                        }
                        rank += 1;
                    }
                }
            }
            assert_eq!(rank, count(n as usize));
        }
        assert_eq!(count(128), 341_376);
    }

    #[test]
    fn orders_by_hand() {
        let shown = |a, b, c| OddOneOut { a, b, c }.order();
        assert_eq!((shown(2, 5, 9), shown(5, 9, 2), shown(9, 2, 5)), (0, 3, 4), "rotations");
        assert_eq!((shown(2, 9, 5), shown(5, 2, 9), shown(9, 5, 2)), (1, 2, 5));
    }

    #[test]
    fn each_concept_stands_in_each_place_once() {
        let shown = exhaustive(6, true, 1);
        assert_eq!(shown.len(), 60);
        for triplet in exhaustive(6, false, 1) {
            let of_it: Vec<&OddOneOut> = shown.iter().filter(|t| t.id(6) == triplet.id(6)).collect();
            for place in 0..3 {
                let there: HashSet<ConceptId> = of_it.iter().map(|t| t.concepts()[place]).collect();
                assert_eq!(there.len(), 3);
            }
        }
    }

    #[test]
    fn all_orders_are_drawn_about_equally_often() {
        let mut n = [0; 6];
        random(30, 1_200, false, 5).unwrap().iter().for_each(|t| n[t.order() as usize] += 1);
        // Four standard errors of a sixth of 1,200.
        assert!(n.iter().all(|n| (148..=252).contains(n)), "{n:?}");
    }

    proptest! {
        #[test]
        fn draws_are_different_sorted_and_seeded(n_concepts in 3_usize..25, n in 1_usize..2_000, seed in 0_u64..50) {
            let total = count(n_concepts);
            let n = n.min(usize::try_from(total).unwrap());
            let draw = random(n_concepts, n, false, seed).unwrap();
            let ids: HashSet<i64> = draw.iter().map(|t| t.id(n_concepts)).collect();
            prop_assert_eq!(ids.len(), n);
            prop_assert!(ids.iter().all(|id| (0..total).contains(id)) && draw.is_sorted());
            prop_assert_eq!(&draw, &random(n_concepts, n, false, seed).unwrap());
            // The order shown of a triplet does not depend on what else is drawn.
            let all: HashSet<OddOneOut> = exhaustive(n_concepts, false, seed).into_iter().collect();
            prop_assert!(draw.iter().all(|t| all.contains(t)));
            let turned: HashSet<OddOneOut> = random(n_concepts, n, true, seed).unwrap().into_iter().collect();
            prop_assert!(turned.len() == 3 * n && draw.iter().all(|t| turned.contains(t)));
            prop_assert!(random(n_concepts, usize::try_from(total).unwrap() + 1, false, seed).is_err());
        }
    }
}
