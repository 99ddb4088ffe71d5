//! A sentence encoder that answers triplets: the option whose pair of vectors has the larger cosine.

use ndarray::{Array2, ArrayView1};
use rand::RngExt;

use crate::error::{Error, Result};
use crate::judgments::Judgment;
use crate::presentations::Presentation;
use crate::scoring::{Decision, highest};
use crate::seed::Streams;
use crate::stats::{drawn, softmax};

/// As the column `score_kind` has it.
pub const COSINE: &str = "cosine";

/// What an encoder is given for a concept, unless told otherwise: its name.
pub const DEFAULT_TEMPLATE: &str = "{concept}";

/// T in p ∝ exp(cos / T), unless told otherwise: sentence-transformers trains its encoders on a softmax over cosines times
/// 20, so that this is the probability they were trained to give.
pub const DEFAULT_COSINE_TEMPERATURE: f64 = 0.05;

/// How an encoder is asked, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderSettings {
    /// What it is given for a concept; holds `{concept}`.
    pub template: String,
    /// What the difference of two cosines is divided by; above 0.
    pub temperature: f64,
    /// How it decides; never by a free answer.
    pub decision: Decision,
    /// How often each presentation is answered, 1 or more.
    pub repeats: u16,
    /// Seed of coins.
    pub seed: u64,
}

impl EncoderSettings {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key.
    pub fn check(&self) -> Result<()> {
        check_template(&self.template)?;
        check_temperature(self.temperature)?;
        if self.decision == Decision::Generate {
            let expected = "argmax or sample: an encoder cannot answer freely".into();
            return Err(Error::Setting { field: "decision".into(), found: "generate".into(), expected });
        }
        Ok(())
    }

    /// What the encoder is given for a concept.
    pub fn text(&self, concept: &str) -> String {
        self.template.replace(DEFAULT_TEMPLATE, concept)
    }
}

/// Checks that a template has a place for the concept.
///
/// # Errors
/// [`Error::Setting`]
pub fn check_template(template: &str) -> Result<()> {
    if template.contains(DEFAULT_TEMPLATE) {
        return Ok(());
    }
    let (field, expected) = ("template".to_owned(), "a text with `{concept}` in it".to_owned());
    Err(Error::Setting { field, found: format!("{template:?}"), expected })
}

/// Checks that a temperature divides.
///
/// # Errors
/// [`Error::Setting`]
pub fn check_temperature(temperature: f64) -> Result<()> {
    if temperature > 0.0 && temperature.is_finite() {
        return Ok(());
    }
    let (field, expected) = ("cosine_temperature".to_owned(), "a finite number above 0".to_owned());
    Err(Error::Setting { field, found: temperature.to_string(), expected })
}

/// An encoder whose vectors of all concepts are known.
#[derive(Debug, Clone)]
pub struct EncoderSubject {
    vectors: Array2<f64>,
    settings: EncoderSettings,
}

impl EncoderSubject {
    /// An encoder with the vectors of a study's concepts, each of length 1.
    ///
    /// # Shapes
    /// `vectors`: `[n_concepts, width]`
    /// # Errors
    /// As [`EncoderSettings::check`].
    pub fn new(vectors: Array2<f64>, settings: EncoderSettings) -> Result<Self> {
        settings.check()?;
        Ok(Self { vectors, settings })
    }

    /// The cosine of two concepts: the same in both orders, to the last bit.
    ///
    /// # Panics
    /// when an id is none of the concepts'
    pub fn cosine(&self, a: u32, b: u32) -> f64 {
        let vector = |id: u32| -> ArrayView1<'_, f64> { self.vectors.row(id as usize) };
        vector(a).iter().zip(vector(b)).map(|(x, y)| x * y).sum()
    }

    /// The judgments of one presentation, repeat after repeat: the cosines are the same, the draws are not.
    ///
    /// # Panics
    /// when an id is none of the concepts'
    #[allow(clippy::cast_possible_truncation, reason = "stored as f32")]
    pub fn judgments(&self, presentation: &Presentation) -> Vec<Judgment> {
        let cosines: Vec<f64> = presentation.pairs().into_iter().map(|[a, b]| self.cosine(a, b)).collect();
        let p = softmax(&cosines, self.settings.temperature);
        let stored = |values: &[f64]| Some(values.iter().map(|v| *v as f32).collect());
        let judgment = |repeat: u16| {
            let key = presentation.key(self.vectors.nrows(), repeat);
            let rng = |purpose| Streams::new(self.settings.seed, purpose).rng(key);
            Judgment {
                presentation: *presentation,
                repeat: i16::try_from(repeat).expect("repeats fit the column"),
                chosen: Some(match self.settings.decision {
                    Decision::Sample => drawn(&p, rng("sample").random()),
                    _ => highest(&cosines, || rng("tie")),
                }),
                decision: self.settings.decision.name(),
                score_kind: COSINE,
                scores: stored(&cosines),
                p: stored(&p),
                model: None,
            }
        };
        (0..self.settings.repeats).map(judgment).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::odd_one_out::OddOneOut;
    use crate::triplets::Triplet;

    fn triplet(anchor: u32, first: u32, second: u32) -> Presentation {
        Presentation::Anchored(Triplet { anchor, first, second })
    }

    fn settings(decision: Decision, repeats: u16) -> EncoderSettings {
        EncoderSettings { template: "a {concept}".into(), temperature: 0.5, decision, repeats, seed: 4 }
    }

    /// Directions 0°, 60° and twice 90°.
    fn subject(decision: Decision, repeats: u16) -> EncoderSubject {
        let half = 0.75_f64.sqrt();
        let vectors = ndarray::arr2(&[[1.0, 0.0], [0.5, half], [0.0, 1.0], [0.0, 1.0]]);
        EncoderSubject::new(vectors, settings(decision, repeats)).unwrap()
    }

    #[test]
    fn the_larger_cosine_is_chosen_with_the_probability_of_the_difference() {
        let subject = subject(Decision::Argmax, 1);
        let judge = |first, second| subject.judgments(&triplet(0, first, second)).remove(0);
        let (one, other) = (judge(1, 2), judge(2, 1));
        assert_eq!((one.scores, one.chosen, one.score_kind), (Some(vec![0.5, 0.0]), Some(0), "cosine"));
        assert_eq!((other.scores, other.chosen), (Some(vec![0.0, 0.5]), Some(1)));
        // A difference of ½ at temperature ½.
        let (one_p, other_p) = (one.p.unwrap(), other.p.unwrap());
        assert!((f64::from(one_p[0]) - 1.0 / (1.0 + (-1.0_f64).exp())).abs() < 1e-7);
        assert_eq!(one_p[0], other_p[1]);
        assert_eq!(one.model, None, "an encoder has no log-probabilities");
        // The odd one stands beside the pair that is most alike: 60° and 90°.
        let odd = subject.judgments(&Presentation::OddOneOut(OddOneOut { a: 1, b: 0, c: 2 })).remove(0);
        assert_eq!((odd.chosen, odd.scores.unwrap()[1]), (Some(1), 0.75_f32.sqrt()));
        assert_eq!(subject.cosine(1, 2), subject.cosine(2, 1));
    }

    #[test]
    fn ties_are_decided_by_a_coin_of_the_presentation() {
        let subject = subject(Decision::Argmax, 1);
        let tied = triplet(0, 2, 3);
        let judgment = subject.judgments(&tied).remove(0);
        assert_eq!((&judgment.p, subject.judgments(&tied).remove(0)), (&Some(vec![0.5, 0.5]), judgment.clone()));
        let choices: Vec<usize> = (0..64)
            .map(|seed| {
                let settings = EncoderSettings { seed, ..settings(Decision::Argmax, 1) };
                EncoderSubject { settings, ..subject.clone() }.judgments(&tied)[0].chosen.unwrap()
            })
            .collect();
        assert!(choices.contains(&0) && choices.contains(&1));
    }

    #[test]
    fn samples_follow_the_probability_and_depend_on_their_repeat_alone() {
        let many = subject(Decision::Sample, 1000).judgments(&triplet(0, 1, 2));
        let n_first = many.iter().filter(|j| j.chosen == Some(0)).count();
        // Four standard errors about 1000 · 0.731.
        assert!((675..=787).contains(&n_first), "{n_first}");
        let few = subject(Decision::Sample, 10).judgments(&triplet(0, 1, 2));
        assert_eq!(few, many[..10]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let error = |settings: EncoderSettings| settings.check().unwrap_err().to_string();
        let plain = || settings(Decision::Argmax, 1);
        assert_eq!(plain().text("ice cream"), "a ice cream");
        assert!(error(EncoderSettings { template: "a photo".into(), ..plain() }).contains("`template` is \"a photo\""));
        assert!(error(EncoderSettings { temperature: 0.0, ..plain() }).contains("`cosine_temperature` is 0"));
        assert!(error(settings(Decision::Generate, 1)).contains("an encoder cannot answer freely"));
    }
}
