//! Odd-one-out answers, and what they become where anchored judgments are asked for.

use std::borrow::Cow;

use faer::MatRef;
use rand::RngExt;
use rayon::prelude::*;

use crate::embedding::Comparison;
use crate::linalg::dot;
use crate::odd_one_out::OddOneOut;
use crate::presentations::{Presentation, Task};
use crate::seed::Streams;
use crate::stats::{drawn, softmax};

/// One answer to an odd-one-out triplet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OddOneOutAnswer {
    /// Id of the unordered triplet: all orders and repeats share it, and fall on one side of every split.
    pub triplet: i64,
    /// What was asked, in the order shown.
    pub shown: OddOneOut,
    /// The place of the concept that was named.
    pub odd: usize,
    /// Weight in the mean loss, 0 or more; 1 for a plain answer.
    pub weight: f64,
}

/// Two anchored judgments in place of one odd-one-out answer: odd k, with i and j left, gives (i: j over k) and
/// (j: i over k). Both carry the id of the odd-one-out triplet, so that a held-out split keeps them together.
///
/// This is an assumption, not a fact: to leave i and j as the closest pair is to call j closer to i than k is, and i
/// closer to j, if answers follow distances. It says nothing about k's own distances, and the two are one answer, not two
/// independent ones. The losses made for such answers ([`super::sparse`]) take them as they are.
pub fn anchored_judgments(answer: &OddOneOutAnswer) -> [Comparison; 2] {
    let concepts = answer.shown.concepts();
    let [i, j, k] = [(answer.odd + 1) % 3, (answer.odd + 2) % 3, answer.odd].map(|place| concepts[place]);
    let closer = |anchor, first| Comparison {
        triplet: answer.triplet,
        anchor,
        first,
        second: k,
        p_first: 1.0,
        weight: answer.weight,
    };
    [closer(i, j), closer(j, i)]
}

/// Answers drawn from the model that SPoSE and VICE fit: p(odd = k) = exp(w_i·w_j) / Σ over the three pairs.
///
/// Each answer depends on the seed and the triplet's id alone; a triplet asked twice is answered alike.
///
/// # Shapes
/// `w`: `[n_concepts, n_dims]`, non-negative where it is to be recovered
/// # Panics
/// when an id is outside `w`
pub fn answers_by_dot_products(w: MatRef<'_, f64>, asked: &[OddOneOut], seed: u64) -> Vec<OddOneOutAnswer> {
    let streams = Streams::new(seed, "answers by dot products");
    let rows = crate::linalg::to_rows(w);
    let answer = |shown: &OddOneOut| {
        let ids = shown.concepts().map(|id| id as usize);
        // The pair that is left when the concept at each place is the odd one.
        let similarity = |place: usize| dot(&rows[ids[(place + 1) % 3]], &rows[ids[(place + 2) % 3]]);
        let p = softmax(&[0, 1, 2].map(similarity), 1.0);
        let triplet = shown.id(w.nrows());
        let odd = drawn(&p, streams.rng(triplet.cast_unsigned()).random::<f64>());
        OddOneOutAnswer { triplet, shown: *shown, odd, weight: 1.0 }
    };
    asked.par_iter().map(answer).collect()
}

/// One answer, to either task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// Which of two options is more like an anchor.
    Anchored(Comparison),
    /// Which of three concepts is the odd one.
    OddOneOut(OddOneOutAnswer),
}

impl Answer {
    /// As every loss takes it: an odd-one-out answer by way of [`anchored_judgments`].
    pub fn comparisons(&self) -> impl Iterator<Item = Comparison> {
        let (one, two) = match self {
            Self::Anchored(comparison) => (Some(*comparison), None),
            Self::OddOneOut(answer) => (None, Some(anchored_judgments(answer))),
        };
        one.into_iter().chain(two.into_iter().flatten())
    }
}

/// The answers of one respondent, to one task.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// Which of two options is more like an anchor.
    Anchored(Vec<Comparison>),
    /// Which of three concepts is the odd one.
    OddOneOut(Vec<OddOneOutAnswer>),
}

impl Answered {
    /// What was asked.
    pub fn task(&self) -> Task {
        match self {
            Self::Anchored(_) => Task::Anchored,
            Self::OddOneOut(_) => Task::OddOneOut,
        }
    }

    /// No answers to a task.
    pub fn none(task: Task) -> Self {
        match task {
            Task::Anchored => Self::Anchored(vec![]),
            Task::OddOneOut => Self::OddOneOut(vec![]),
        }
    }

    /// Adds an answer to the same task.
    ///
    /// # Panics
    /// when it is to the other
    pub fn push(&mut self, answer: Answer) {
        match (self, answer) {
            (Self::Anchored(comparisons), Answer::Anchored(comparison)) => comparisons.push(comparison),
            (Self::OddOneOut(answers), Answer::OddOneOut(answer)) => answers.push(answer),
            (_, answer) => panic!("answers are to one task: {answer:?}"),
        }
    }

    /// What was asked, answer by answer.
    pub fn presentations(&self) -> Vec<Presentation> {
        match self {
            Self::Anchored(comparisons) => {
                let shown = |c: &Comparison| Presentation::new(Task::Anchored, [c.anchor, c.first, c.second]);
                comparisons.iter().map(shown).collect()
            }
            Self::OddOneOut(answers) => answers.iter().map(|a| Presentation::OddOneOut(a.shown)).collect(),
        }
    }

    /// As every loss takes them: odd-one-out answers by way of [`anchored_judgments`].
    pub fn comparisons(&self) -> Cow<'_, [Comparison]> {
        match self {
            Self::Anchored(comparisons) => Cow::Borrowed(comparisons),
            Self::OddOneOut(answers) => Cow::Owned(answers.iter().flat_map(anchored_judgments).collect()),
        }
    }

    /// Ids of the unordered triplets asked, answer by answer.
    pub fn triplets(&self) -> Vec<i64> {
        match self {
            Self::Anchored(comparisons) => comparisons.iter().map(|c| c.triplet).collect(),
            Self::OddOneOut(answers) => answers.iter().map(|a| a.triplet).collect(),
        }
    }

    /// The answers to the triplets whose ids are wanted.
    #[must_use]
    pub fn of_triplets(&self, wanted: impl Fn(i64) -> bool) -> Self {
        match self {
            Self::Anchored(comparisons) => {
                Self::Anchored(comparisons.iter().filter(|c| wanted(c.triplet)).copied().collect())
            }
            Self::OddOneOut(answers) => {
                Self::OddOneOut(answers.iter().filter(|a| wanted(a.triplet)).copied().collect())
            }
        }
    }

    /// Variance of the share of `n` comparisons that an embedding reproduces of a coin's answers.
    ///
    /// Anchored answers are independent: 1 / (4 n). The two comparisons of an odd-one-out answer are both right, one, or
    /// none, each a third of the time: 1/6 for the mean of two, and so 1 / (3 n).
    pub fn coin_variance(&self, n: f64) -> f64 {
        match self {
            Self::Anchored(_) => 0.25 / n,
            Self::OddOneOut(_) => 1.0 / (3.0 * n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::split_holdout;
    use crate::odd_one_out::exhaustive;

    #[test]
    fn the_two_that_are_left_are_closer() {
        let shown = OddOneOut { a: 7, b: 3, c: 5 };
        let pairs = |odd| {
            let answer = OddOneOutAnswer { triplet: 11, shown, odd, weight: 2.0 };
            anchored_judgments(&answer).map(|c| {
                assert_eq!((c.triplet, c.p_first, c.weight), (11, 1.0, 2.0));
                (c.anchor, c.first, c.second)
            })
        };
        assert_eq!(pairs(0), [(3, 5, 7), (5, 3, 7)]);
        assert_eq!(pairs(1), [(5, 7, 3), (7, 5, 3)]);
        assert_eq!(pairs(2), [(7, 3, 5), (3, 7, 5)]);
    }

    #[test]
    fn a_held_out_triplet_is_held_out_whole() {
        let answer = |shown: OddOneOut| OddOneOutAnswer { triplet: shown.id(9), shown, odd: 1, weight: 1.0 };
        let answered = Answered::OddOneOut(exhaustive(9, true, 3).into_iter().map(answer).collect());
        let comparisons = answered.comparisons();
        assert_eq!(comparisons.len(), 2 * 3 * 84);
        let (heldout, kept) = split_holdout(&comparisons, 0.2, 1);
        assert!(!heldout.is_empty() && heldout.len() % 6 == 0, "both comparisons of all three orders");
        assert!(heldout.iter().all(|h| kept.iter().all(|k| k.triplet != h.triplet)));
    }
}
