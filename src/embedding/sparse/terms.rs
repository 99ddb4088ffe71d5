//! Odd-one-out answers as a likelihood takes them.

use rand::RngExt;

use super::OddOneOutAnswer;
use crate::error::{Error, Result};
use crate::seed::Streams;

/// All answers to one triplet {i < j < k} that name the same concept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Term {
    /// In ascending order.
    pub(super) ids: [u32; 3],
    /// The place of the concept that was named, in `ids`.
    pub(super) odd: u32,
    pub(super) weight: f64,
}

/// The terms of some answers: those without a weight left out, those alike merged, in ascending order, so that a fit does
/// not depend on the order of its answers.
pub(super) fn merged<'a>(answers: impl Iterator<Item = &'a OddOneOutAnswer>) -> Vec<Term> {
    let term = |answer: &OddOneOutAnswer| {
        let concepts = answer.shown.concepts();
        let mut ids = concepts;
        ids.sort_unstable();
        let odd = u32::from(ids[1] == concepts[answer.odd]) + 2 * u32::from(ids[2] == concepts[answer.odd]);
        Term { ids, odd, weight: answer.weight }
    };
    let mut terms: Vec<Term> = answers.filter(|answer| answer.weight > 0.0).map(term).collect();
    let key = |t: &Term| (t.ids, t.odd);
    terms.sort_unstable_by(|a, b| key(a).cmp(&key(b)).then(a.weight.total_cmp(&b.weight)));
    terms.dedup_by(|next, kept| {
        let alike = key(next) == key(kept);
        if alike {
            kept.weight += next.weight;
        }
        alike
    });
    terms
}

/// Whether each triplet is held out, as [`crate::embedding::split_holdout`] has it: by the random stream of its id alone.
pub(super) fn held_out(holdout: f64, seed: u64) -> impl Fn(&OddOneOutAnswer) -> bool {
    let streams = Streams::new(seed, "holdout");
    move |answer| holdout > 0.0 && streams.rng(answer.triplet.cast_unsigned()).random::<f64>() < holdout
}

/// For each concept, whether a term names it.
pub(super) fn judged(n_concepts: usize, terms: &[Term]) -> Vec<bool> {
    let mut judged = vec![false; n_concepts];
    terms.iter().flat_map(|term| term.ids).for_each(|id| judged[id as usize] = true);
    judged
}

/// Refuses answers that no likelihood is defined for.
pub(in crate::embedding) fn check(n_concepts: usize, answers: &[OddOneOutAnswer]) -> Result<()> {
    for (row, answer) in answers.iter().enumerate() {
        let ids = answer.shown.concepts();
        let shape = |expected: String| {
            let what = format!("concept ids of odd-one-out answer {row}");
            Err(Error::ShapeMismatch { what, found: format!("{ids:?}"), expected })
        };
        if ids.iter().any(|&id| id as usize >= n_concepts) {
            return shape(format!("below {n_concepts}"));
        }
        if ids[0] == ids[1] || ids[0] == ids[2] || ids[1] == ids[2] {
            return shape("three different concepts".to_owned());
        }
        let setting = |field: &str, found: String, expected: &str| {
            let field = format!("{field} of odd-one-out answer {row}");
            Err(Error::Setting { field, found, expected: expected.to_owned() })
        };
        if answer.odd > 2 {
            return setting("odd", answer.odd.to_string(), "a place, 0 to 2");
        }
        if !(answer.weight.is_finite() && answer.weight >= 0.0) {
            return setting("weight", answer.weight.to_string(), "0 or more");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::odd_one_out::OddOneOut;

    fn answer(ids: [u32; 3], odd: usize, weight: f64) -> OddOneOutAnswer {
        let shown = OddOneOut { a: ids[0], b: ids[1], c: ids[2] };
        OddOneOutAnswer { triplet: 0, shown, odd, weight }
    }

    #[test]
    fn order_shown_does_not_matter_and_repeats_are_merged() {
        let answers = [
            answer([5, 2, 9], 0, 1.0),
            answer([9, 5, 2], 1, 2.0),
            answer([2, 5, 9], 2, 1.0),
            answer([2, 5, 9], 0, 0.0),
        ];
        let terms = merged(answers.iter());
        let ids = [2, 5, 9];
        assert_eq!(terms, [Term { ids, odd: 1, weight: 3.0 }, Term { ids, odd: 2, weight: 1.0 }]);
        let backwards = merged(answers.iter().rev());
        assert_eq!(backwards, terms);
    }

    #[test]
    fn wrong_answers_are_named() {
        let error = |a: OddOneOutAnswer| check(6, &[answer([0, 1, 2], 1, 1.0), a]).unwrap_err().to_string();
        assert!(error(answer([0, 1, 6], 0, 1.0)).contains("answer 1"));
        assert!(error(answer([0, 1, 0], 0, 1.0)).contains("three different"));
        assert!(error(answer([0, 1, 2], 3, 1.0)).contains("0 to 2"));
        assert!(error(answer([0, 1, 2], 0, -1.0)).contains("weight"));
    }
}
