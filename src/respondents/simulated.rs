//! A simulated subject: a reference geometry that answers triplets, with noise.

use faer::{Mat, MatRef};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::closeness::{Closeness, of_pairs};
use super::noise::{check_lapses, temperature_for_agreement};
use crate::error::{Error, Result};
use crate::linalg::check_finite;
use crate::presentations::{Presentation, Task};
use crate::seed::Streams;
use crate::stats::{drawn, softmax};

/// How a simulated subject turns a geometry into answers.
///
/// Each option has a pair of concepts that speaks for it by their closeness: of an anchored triplet the anchor and the
/// option; of an odd-one-out triplet the two that remain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum ResponseModel {
    /// The option of the nearest pair, always.
    NoiseFree,
    /// P(option) ∝ exp(−d / τ), with Euclidean distances: of two options,
    /// P(first) = 1 / (1 + exp((d(anchor, first) − d(anchor, second)) / τ)).
    Logistic {
        /// Noise, in the reference's units of distance; above 0.
        tau: f64,
    },
    /// P(option) ∝ exp(−β d²): of an odd-one-out triplet, P(odd = k) ∝ exp(−β d²(i, j)).
    Similarity {
        /// Sensitivity, in the reference's units of distance to the power of −2; above 0.
        beta: f64,
    },
    /// P(option) ∝ exp(x_i · x_j / T), with dot products of the reference's rows as they are, not centred: at T = 1 the model
    /// of SPoSE (Zheng, Pereira, Baker & Hebart 2019).
    Softmax {
        /// Noise, in the reference's units of the dot product; above 0.
        temperature: f64,
    },
    /// Every option with the same probability.
    CoinFlip,
}

impl ResponseModel {
    /// How somebody answers who is expected to agree so much with the noise-free answers to what is asked: logistic, or of
    /// odd-one-out triplets by similarity.
    ///
    /// # Errors
    /// As [`super::tau_for_agreement`] and [`super::beta_for_agreement`].
    pub fn with_agreement(
        reference: MatRef<'_, f64>,
        task: Task,
        asked: &[Presentation],
        agreement: f64,
    ) -> Result<Self> {
        Ok(match task {
            Task::Anchored => {
                Self::Logistic { tau: temperature_for_agreement(reference, Closeness::Distance, asked, agreement)? }
            }
            Task::OddOneOut => Self::Similarity {
                beta: 1.0 / temperature_for_agreement(reference, Closeness::SquaredDistance, asked, agreement)?,
            },
        })
    }

    /// Softmax over dot products, its temperature such that somebody is expected to agree so much with the largest ones.
    ///
    /// # Errors
    /// As [`super::tau_for_agreement`] and [`super::beta_for_agreement`].
    pub fn softmax_with_agreement(reference: MatRef<'_, f64>, asked: &[Presentation], agreement: f64) -> Result<Self> {
        let temperature = temperature_for_agreement(reference, Closeness::DotProduct, asked, agreement)?;
        Ok(Self::Softmax { temperature })
    }

    /// The noise, by name; none where there is nothing to set.
    pub fn noise(self) -> Option<(&'static str, f64)> {
        match self {
            Self::Logistic { tau } => Some(("tau", tau)),
            Self::Similarity { beta } => Some(("beta", beta)),
            Self::Softmax { temperature } => Some(("temperature", temperature)),
            Self::NoiseFree | Self::CoinFlip => None,
        }
    }

    /// What decides, and the temperature of the softmax over it: 0 without noise; nothing for a coin.
    fn decides(self) -> Option<(Closeness, f64)> {
        match self {
            Self::NoiseFree => Some((Closeness::Distance, 0.0)),
            Self::Logistic { tau } => Some((Closeness::Distance, tau)),
            Self::Similarity { beta } => Some((Closeness::SquaredDistance, 1.0 / beta)),
            Self::Softmax { temperature } => Some((Closeness::DotProduct, temperature)),
            Self::CoinFlip => None,
        }
    }
}

/// What a subject answers to one anchored presentation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// The probability with which it says `first`.
    pub p_first: f64,
    /// What it says this time.
    pub chose_first: bool,
}

/// A subject that answers from a reference geometry.
///
/// An answer depends on the seed, the name ([`Self::named`]), the triplet and the caller's key, never on what was asked before.
/// Under the same seed and name the same key draws the same random number whatever the response model, so that two subjects who
/// differ only in noise differ only where the noise matters.
#[derive(Debug, Clone)]
pub struct SimulatedSubject {
    /// Closeness of all pairs, `[n_concepts, n_concepts]`, and the temperature; none for a coin, which needs no reference.
    geometry: Option<(Mat<f64>, f64)>,
    /// Share of answers by coin.
    lapses: f64,
    streams: Streams,
}

impl SimulatedSubject {
    /// A subject with the geometry of a reference.
    ///
    /// # Shapes
    /// `reference`: `[n_concepts, n_dims]`
    /// # Errors
    /// [`Error::Setting`] when the noise is not above 0, [`Error::NotFinite`]
    pub fn new(reference: MatRef<'_, f64>, model: ResponseModel, seed: u64) -> Result<Self> {
        check_finite(reference, "the reference of a simulated subject")?;
        if let Some((field, noise)) = model.noise()
            && !(noise.is_finite() && noise > 0.0)
        {
            let (found, expected) = (noise.to_string(), "a finite number above 0".to_owned());
            return Err(Error::Setting { field: field.to_owned(), found, expected });
        }
        let geometry = model.decides().map(|(close, temperature)| (close.within(reference), temperature));
        Ok(Self { geometry, lapses: 0.0, streams: Streams::new(seed, "respondent") })
    }

    /// A subject who tosses a coin for every answer.
    pub fn coin_flip(seed: u64) -> Self {
        Self { geometry: None, lapses: 0.0, streams: Streams::new(seed, "respondent") }
    }

    /// The same subject under a name of its own, with coins of its own: two subjects of one study have nothing in common but
    /// what they know.
    #[must_use]
    pub fn named(self, label: &str, seed: u64) -> Self {
        Self { streams: Streams::new(seed, &format!("respondent {label}")), ..self }
    }

    /// The same subject, who now and then does not look and tosses a coin: P(option) = (1 − λ) P + λ / options.
    ///
    /// # Errors
    /// [`Error::Setting`] for a share outside 0..=1
    pub fn with_lapses(self, lapses: f64) -> Result<Self> {
        check_lapses(lapses)?;
        Ok(Self { lapses, ..self })
    }

    /// The answer to one anchored presentation: see [`SimulatedSubject::choose`].
    ///
    /// # Panics
    /// when an id is outside the reference
    pub fn answer(&self, anchor: u32, first: u32, second: u32, key: u64) -> Answer {
        let (p, chosen) = self.choose_by(&[[anchor, first], [anchor, second]], key);
        Answer { p_first: p[0], chose_first: chosen == 0 }
    }

    /// The probability of each option of a presentation, and the one chosen this time.
    ///
    /// `key` names the presentation and decides the random number: callers pack triplet id, option order and repeat
    /// into it. Options whose pairs are exactly equally close are equally probable under every model.
    ///
    /// # Panics
    /// when an id is outside the reference
    pub fn choose(&self, presentation: &Presentation, key: u64) -> (Vec<f64>, usize) {
        self.choose_by(&presentation.pairs(), key)
    }

    fn choose_by(&self, pairs: &[[u32; 2]], key: u64) -> (Vec<f64>, usize) {
        let coin = 1.0 / pairs.len() as f64;
        let p = match &self.geometry {
            Some((close, temperature)) => {
                let p = probabilities(&of_pairs(close, pairs), *temperature);
                p.into_iter().map(|p| if self.lapses > 0.0 { p + self.lapses * (coin - p) } else { p }).collect()
            }
            None => vec![coin; pairs.len()],
        };
        let chosen = drawn(&p, self.streams.rng(key).random::<f64>());
        (p, chosen)
    }
}

/// The probability of each option, from the closeness of its pair.
fn probabilities(close: &[f64], temperature: f64) -> Vec<f64> {
    if temperature > 0.0 {
        return softmax(close, temperature);
    }
    let closest = close.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let n_closest = close.iter().filter(|c| **c == closest).count() as f64;
    close.iter().map(|c| if *c == closest { 1.0 / n_closest } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::odd_one_out::OddOneOut;
    use crate::respondents::closeness::line;
    use crate::stats::sigmoid;

    #[test]
    fn probabilities_follow_the_model() {
        let subject = |model| SimulatedSubject::new(line().as_ref(), model, 7).unwrap();
        assert_eq!(subject(ResponseModel::NoiseFree).answer(0, 1, 2, 0), Answer { p_first: 1.0, chose_first: true });
        assert_eq!(subject(ResponseModel::NoiseFree).answer(0, 2, 1, 0), Answer { p_first: 0.0, chose_first: false });
        let logistic = subject(ResponseModel::Logistic { tau: 2.0 });
        assert!((logistic.answer(0, 1, 2, 0).p_first - 1.0 / (1.0 + (-1.0_f64).exp())).abs() < 1e-15);
        assert_eq!(SimulatedSubject::coin_flip(7).answer(0, 1, 2, 0).p_first, 0.5);
        assert!(SimulatedSubject::new(line().as_ref(), ResponseModel::Logistic { tau: 0.0 }, 7).is_err());
    }

    #[test]
    fn exact_ties_are_answered_by_coin() {
        let subject = SimulatedSubject::new(line().as_ref(), ResponseModel::NoiseFree, 7).unwrap();
        let n_first = (0..1_000).filter(|&key| subject.answer(0, 1, 3, key).chose_first).count();
        assert!((437..=563).contains(&n_first), "{n_first}"); // four standard errors of a fair coin
    }

    #[test]
    fn an_answer_depends_on_its_key_alone() {
        let coin = SimulatedSubject::coin_flip(3);
        let forwards: Vec<bool> = (0..64).map(|key| coin.answer(0, 1, 2, key).chose_first).collect();
        let backwards: Vec<bool> = (0..64).rev().map(|key| coin.answer(0, 1, 2, key).chose_first).rev().collect();
        assert_eq!(forwards, backwards);
        assert!(forwards.contains(&true) && forwards.contains(&false));
    }

    #[test]
    fn names_toss_their_own_coins() {
        let coins = |name: &str| -> Vec<bool> {
            let coin = SimulatedSubject::coin_flip(3).named(name, 3);
            (0..400).map(|key| coin.answer(0, 1, 2, key).chose_first).collect()
        };
        assert_eq!(coins("one"), coins("one"));
        let n_same = coins("one").iter().zip(coins("other")).filter(|(one, other)| **one == *other).count();
        assert!((160..=240).contains(&n_same), "{n_same}"); // four standard errors of a fair coin
    }

    #[test]
    fn the_odd_one_is_away_from_the_nearest_pair() {
        // Of 0, 1 and 3 on a line, 0 and 1 are the nearest: squared distances 4, 9 and 1 speak for 0, 1 and 3.
        let shown = Presentation::OddOneOut(OddOneOut { a: 2, b: 0, c: 1 });
        let subject = |model| SimulatedSubject::new(line().as_ref(), model, 7).unwrap();
        assert_eq!(subject(ResponseModel::NoiseFree).choose(&shown, 0), (vec![1.0, 0.0, 0.0], 0));
        let weights = [-0.5_f64, -2.0, -4.5].map(f64::exp);
        let (p, _) = subject(ResponseModel::Similarity { beta: 0.5 }).choose(&shown, 0);
        for (p, weight) in p.iter().zip(weights) {
            assert!((p - weight / weights.iter().sum::<f64>()).abs() < 1e-15);
        }
        assert_eq!(SimulatedSubject::coin_flip(7).choose(&shown, 0).0, [1.0 / 3.0; 3]);
        // 0 is as far from 1 as from −1: either of the two is the odd one, by coin.
        let tied = Presentation::OddOneOut(OddOneOut { a: 0, b: 1, c: 3 });
        let noise_free = subject(ResponseModel::NoiseFree);
        assert_eq!(noise_free.choose(&tied, 0).0, [0.0, 0.5, 0.5]);
        let n_second = (0..1_000).filter(|&key| noise_free.choose(&tied, key).1 == 1).count();
        assert!((437..=563).contains(&n_second), "{n_second}"); // four standard errors of a fair coin
        let n_third = (0..1_200).filter(|&key| SimulatedSubject::coin_flip(7).choose(&shown, key).1 == 2).count();
        assert!((335..=465).contains(&n_third), "{n_third}"); // four standard errors of a third
    }

    #[test]
    fn dot_products_speak_for_pairs_in_both_tasks() {
        // Rows (1, 0), (2, 1) and (0, 3): dot products 2, 0 and 3.
        let x = Mat::from_fn(3, 2, |i, k| [[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]][i][k]);
        let subject = SimulatedSubject::new(x.as_ref(), ResponseModel::Softmax { temperature: 2.0 }, 7).unwrap();
        assert!((subject.answer(0, 1, 2, 0).p_first - sigmoid(1.0)).abs() < 1e-15);
        let (p, _) = subject.choose(&Presentation::OddOneOut(OddOneOut { a: 0, b: 1, c: 2 }), 0);
        let weights = [1.5_f64, 0.0, 1.0].map(f64::exp);
        p.iter().zip(weights).for_each(|(p, w)| assert!((p - w / weights.iter().sum::<f64>()).abs() < 1e-15));
        // 2 is closest to 1, although 0 is nearer.
        let asked = [Presentation::new(Task::Anchored, [1, 0, 2])];
        let found = ResponseModel::softmax_with_agreement(x.as_ref(), &asked, 0.9).unwrap();
        let ResponseModel::Softmax { temperature } = found else { panic!("{found:?}") };
        assert!((sigmoid(1.0 / temperature) - 0.9).abs() < 1e-12);
        let subject = SimulatedSubject::new(x.as_ref(), found, 7).unwrap();
        assert!((subject.choose(&asked[0], 0).0[1] - 0.9).abs() < 1e-12);
        assert!(SimulatedSubject::new(x.as_ref(), ResponseModel::Softmax { temperature: 0.0 }, 7).is_err());
    }

    #[test]
    fn lapses_are_coins_in_between() {
        let noise_free = SimulatedSubject::new(line().as_ref(), ResponseModel::NoiseFree, 7).unwrap();
        let lapsing = noise_free.clone().with_lapses(0.3).unwrap();
        assert!((lapsing.answer(0, 1, 2, 0).p_first - 0.85).abs() < 1e-15);
        let (p, _) = lapsing.choose(&Presentation::OddOneOut(OddOneOut { a: 2, b: 0, c: 1 }), 0);
        p.iter().zip([0.8, 0.1, 0.1]).for_each(|(p, expected)| assert!((p - expected).abs() < 1e-15));
        let n_wrong = (0..2_000).filter(|&key| !lapsing.answer(0, 1, 2, key).chose_first).count();
        assert!((236..=364).contains(&n_wrong), "{n_wrong}"); // 300 expected, four standard errors of 16
        assert!(noise_free.clone().with_lapses(1.1).is_err() && noise_free.with_lapses(f64::NAN).is_err());
    }
}
