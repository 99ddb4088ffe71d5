//! How many single choices a reference would make too, before any embedding is fitted to them.

use std::collections::BTreeMap;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::{PermutationNull, permutation};
use crate::embedding::Answered;
use crate::error::{Error, Result};
use crate::linalg::{check_finite, dist2};
use crate::seed::Streams;
use crate::stats::{mean, permutation_p};

/// The pairs of concepts that speak for each option, and the place of the option taken.
pub type Choice = (Vec<[usize; 2]>, usize);

/// Choices beside a reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Choices about triplets that the reference decides.
    pub n: usize,
    /// Those that took the option whose pair lies nearest in the reference.
    pub n_same: usize,
}

impl Agreement {
    /// Compares choices with Euclidean distances in a reference. A choice has the pair of concepts that speaks for each of its
    /// options (the option with the anchor, or the two beside the odd one), and which option was taken. Where several
    /// pairs lie nearest, the reference does not decide.
    ///
    /// # Shapes
    /// `reference`: `[n_concepts, n_dims]`
    /// # Errors
    /// [`Error::NotFinite`]
    /// # Panics
    /// when an id is outside the reference
    pub fn of(reference: MatRef<'_, f64>, choices: impl IntoIterator<Item = Choice>) -> Result<Self> {
        let mut tally = AgreementTally::new(reference)?;
        choices.into_iter().for_each(|(pairs, chosen)| tally.add(&pairs, chosen));
        Ok(tally.agreement)
    }

    fn count(&mut self, dist2: &Mat<f64>, row: impl Fn(usize) -> usize, pairs: &[[usize; 2]], chosen: usize) {
        let distance = |[i, j]: [usize; 2]| dist2[(row(i), row(j))];
        let nearest = pairs.iter().map(|pair| distance(*pair)).fold(f64::INFINITY, f64::min);
        if pairs.iter().filter(|pair| distance(**pair) == nearest).count() == 1 {
            self.n += 1;
            self.n_same += usize::from(distance(pairs[chosen]) == nearest);
        }
    }

    /// Share of the same choices, where there are any.
    pub fn share(&self) -> Option<f64> {
        (self.n > 0).then(|| self.n_same as f64 / self.n as f64)
    }
}

/// What makes up [`Agreement`], choice by choice.
#[derive(Debug, Clone)]
pub struct AgreementTally {
    dist2: Mat<f64>,
    /// The choices so far.
    pub agreement: Agreement,
}

impl AgreementTally {
    /// Nothing compared yet with a reference.
    ///
    /// # Shapes
    /// `reference`: `[n_concepts, n_dims]`
    /// # Errors
    /// [`Error::NotFinite`]
    pub fn new(reference: MatRef<'_, f64>) -> Result<Self> {
        check_finite(reference, "the reference")?;
        Ok(Self { dist2: dist2(reference), agreement: Agreement::default() })
    }

    /// Compares one choice, as [`Agreement::of`] does.
    ///
    /// # Panics
    /// when an id is outside the reference
    pub fn add(&mut self, pairs: &[[usize; 2]], chosen: usize) {
        self.agreement.count(&self.dist2, |i| i, pairs, chosen);
    }
}

/// The share of people's choices that an embedding would make too, beside that of the same embedding with its concepts permuted.
///
/// # Shapes
/// `embedding`: `[n_concepts, n_dims]`
/// # Errors
/// [`Error::TooFew`] when the embedding decides no choice, [`Error::NotFinite`]
/// # Panics
/// when an id is outside the embedding
pub fn choice_agreement(
    embedding: MatRef<'_, f64>,
    choices: &[Choice],
    n_permutations: usize,
    seed: u64,
) -> Result<(Agreement, PermutationNull)> {
    let agreement = Agreement::of(embedding, choices.iter().cloned())?;
    let Some(value) = agreement.share() else {
        let what = "choices between pairs at different distances".to_owned();
        return Err(Error::TooFew { what, found: 0, needed: 1 });
    };
    let dist2 = dist2(embedding);
    let streams = Streams::new(seed, "permutation");
    let draw = |k: usize| {
        let order = permutation(&streams, k as u64, embedding.nrows());
        let mut permuted = Agreement::default();
        choices.iter().for_each(|(pairs, chosen)| permuted.count(&dist2, |i| order[i], pairs, *chosen));
        permuted.share().unwrap_or(0.5)
    };
    let draws: Vec<f64> = (0..n_permutations).into_par_iter().map(draw).collect();
    Ok((agreement, PermutationNull { value, mean: mean(&draws), p: permutation_p(value, &draws), draws }))
}

/// How far people agree among themselves about triplets that were answered more than once: what a perfect model of them could reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consistency {
    /// Share of answers that the majority of the others foresees; ties of the others by coin.
    pub lower: f64,
    /// Share of answers that are the majority's, their own vote counted: no model does better on these answers.
    pub upper: f64,
    /// Triplets answered more than once.
    pub n_triplets: usize,
    /// Answers to them.
    pub n_answers: usize,
}

impl Consistency {
    /// Of answers to the same unordered triplet, whoever gave them; none when no triplet was answered twice. Weights are not looked at.
    pub fn of(answered: &Answered) -> Option<Self> {
        let mut votes: BTreeMap<i64, BTreeMap<u32, usize>> = BTreeMap::new();
        let mut vote = |triplet: i64, taken: u32| *votes.entry(triplet).or_default().entry(taken).or_insert(0) += 1;
        match answered {
            Answered::Anchored(answers) => {
                answers.iter().for_each(|c| vote(c.triplet, if c.p_first > 0.5 { c.first } else { c.second }));
            }
            Answered::OddOneOut(answers) => {
                answers.iter().for_each(|c| vote(c.triplet, [c.shown.a, c.shown.b, c.shown.c][c.odd]));
            }
        }
        let (mut n_triplets, mut n_answers, mut lower, mut upper) = (0, 0, 0.0, 0.0);
        for counts in votes.values() {
            let n: usize = counts.values().sum();
            if n < 2 {
                continue;
            }
            n_triplets += 1;
            n_answers += n;
            upper += counts.values().copied().max().unwrap_or(0) as f64;
            for (option, &count) in counts {
                // The votes of the others, for each of the `count` answers that took this option.
                let others = |other: &u32| counts[other] - usize::from(other == option);
                let most = counts.keys().map(others).max().unwrap_or(0);
                let n_first = counts.keys().filter(|other| others(other) == most).count();
                lower += if others(option) == most { count as f64 / n_first as f64 } else { 0.0 };
            }
        }
        let share = |sum: f64| sum / n_answers as f64;
        (n_triplets > 0).then(|| Self { lower: share(lower), upper: share(upper), n_triplets, n_answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_by_hand() {
        // Points 0, 1, 3 and −1 on a line: 1 and −1 are equally far from 0.
        let line = faer::Mat::from_fn(4, 1, |i, _| [0.0, 1.0, 3.0, -1.0][i]);
        let anchored = |anchor, first, second, chosen| (vec![[anchor, first], [anchor, second]], chosen);
        let choices = [anchored(0, 1, 2, 0), anchored(0, 2, 3, 0), anchored(0, 1, 3, 0), anchored(2, 0, 1, 1)];
        let agreement = Agreement::of(line.as_ref(), choices).unwrap();
        assert_eq!((agreement, agreement.share()), (Agreement { n: 3, n_same: 2 }, Some(2.0 / 3.0)));
        // The odd one of 0, 1 and 3 is 3; of 0, 1 and −1 nobody is.
        let odd = |[a, b, c]: [usize; 3], chosen| (vec![[b, c], [a, c], [a, b]], chosen);
        let agreement =
            Agreement::of(line.as_ref(), [odd([0, 1, 2], 2), odd([0, 2, 1], 2), odd([0, 1, 3], 0)]).unwrap();
        assert_eq!(agreement, Agreement { n: 2, n_same: 1 });
        assert_eq!(Agreement::default().share(), None);
    }

    #[test]
    fn choices_beside_permuted_concepts() {
        let line = faer::Mat::from_fn(12, 1, |i, _| (i * i) as f64);
        let choices: Vec<Choice> = (1..11).map(|i| (vec![[i, i - 1], [i, i + 1]], 0)).collect();
        let (agreement, null) = choice_agreement(line.as_ref(), &choices, 99, 1).unwrap();
        assert_eq!((agreement, null.value, null.p), (Agreement { n: 10, n_same: 10 }, 1.0, 0.01));
        assert!((null.mean - 0.5).abs() < 0.05); // five standard errors: no permutation knows the order
        let simplex = faer::Mat::from_fn(12, 12, |i, k| f64::from(i == k));
        assert!(choice_agreement(simplex.as_ref(), &choices, 9, 1).is_err());
    }

    #[test]
    fn consistency_by_hand() {
        let answer = |triplet, p_first| crate::embedding::Comparison {
            triplet,
            anchor: 0,
            first: 1,
            second: 2,
            p_first,
            weight: 1.0,
        };
        // One triplet answered 2 : 1, one 1 : 1, one once.
        let votes = [(1, 1.0), (1, 1.0), (1, 0.0), (2, 1.0), (2, 0.0), (3, 1.0)];
        let answered = Answered::Anchored(votes.into_iter().map(|(id, p)| answer(id, p)).collect());
        // Of the three, the two see the others split; the one sees them against it. Of the two, each sees the other against it.
        let expected = Consistency { lower: 2.0 * 0.5 / 5.0, upper: 3.0 / 5.0, n_triplets: 2, n_answers: 5 };
        assert_eq!(Consistency::of(&answered), Some(expected));
        assert_eq!(Consistency::of(&Answered::Anchored(vec![answer(1, 1.0)])), None);
    }
}
