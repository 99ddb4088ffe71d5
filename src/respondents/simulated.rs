//! A simulated subject: a reference geometry that answers triplets, with noise.

use faer::{Mat, MatRef};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::linalg::{check_finite, dist2};
use crate::odd_one_out::OddOneOut;
use crate::presentations::{Presentation, Task};
use crate::seed::Streams;
use crate::stats::{drawn, sigmoid, softmax};

/// How a simulated subject turns distances into answers.
///
/// Each option has a pair of concepts that speaks for it when they are near each other: of an anchored triplet the anchor
/// and the option; of an odd-one-out triplet the two that remain.
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
    /// Every option with the same probability.
    CoinFlip,
}

impl ResponseModel {
    /// How somebody answers who is expected to agree so much with the noise-free answers to what is asked: logistic, or of
    /// odd-one-out triplets by similarity.
    ///
    /// # Errors
    /// As [`tau_for_agreement`] and [`beta_for_agreement`].
    pub fn with_agreement(
        reference: MatRef<'_, f64>,
        task: Task,
        asked: &[Presentation],
        agreement: f64,
    ) -> Result<Self> {
        let ids: Vec<[u32; 3]> = asked.iter().map(Presentation::concepts).collect();
        Ok(match task {
            Task::Anchored => Self::Logistic { tau: tau_for_agreement(reference, &ids, agreement)? },
            Task::OddOneOut => {
                let triplets: Vec<OddOneOut> = ids.into_iter().map(|[a, b, c]| OddOneOut { a, b, c }).collect();
                Self::Similarity { beta: beta_for_agreement(reference, &triplets, agreement)? }
            }
        })
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
/// An answer depends on the seed, the triplet and the caller's key, never on what was asked before. The same key draws
/// the same random number under every response model, so that two subjects who differ only in noise differ only where
/// the noise matters.
#[derive(Debug, Clone)]
pub struct SimulatedSubject {
    /// Euclidean distances `[n_concepts, n_concepts]`; none for a coin, which needs no reference.
    dist: Option<Mat<f64>>,
    model: ResponseModel,
    streams: Streams,
}

impl SimulatedSubject {
    /// A subject with the geometry of a reference.
    ///
    /// # Shapes
    /// `reference`: `[n_concepts, n_dims]`
    /// # Errors
    /// [`Error::Setting`] when `tau` or `beta` is not above 0, [`Error::NotFinite`]
    pub fn new(reference: MatRef<'_, f64>, model: ResponseModel, seed: u64) -> Result<Self> {
        check_finite(reference, "the reference of a simulated subject")?;
        let (field, noise) = match model {
            ResponseModel::Logistic { tau } => ("tau", tau),
            ResponseModel::Similarity { beta } => ("beta", beta),
            ResponseModel::NoiseFree | ResponseModel::CoinFlip => ("", 1.0),
        };
        if !(noise.is_finite() && noise > 0.0) {
            let (found, expected) = (noise.to_string(), "a finite number above 0".to_owned());
            return Err(Error::Setting { field: field.to_owned(), found, expected });
        }
        Ok(Self { dist: Some(dist(reference)), model, streams: Streams::new(seed, "respondent") })
    }

    /// A subject who tosses a coin for every answer.
    pub fn coin_flip(seed: u64) -> Self {
        Self { dist: None, model: ResponseModel::CoinFlip, streams: Streams::new(seed, "respondent") }
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
    /// into it. Options whose pairs are exactly equally far are equally probable under every model.
    ///
    /// # Panics
    /// when an id is outside the reference
    pub fn choose(&self, presentation: &Presentation, key: u64) -> (Vec<f64>, usize) {
        self.choose_by(&presentation.pairs(), key)
    }

    fn choose_by(&self, pairs: &[[u32; 2]], key: u64) -> (Vec<f64>, usize) {
        let p = match &self.dist {
            Some(dist) => probabilities(&distances(dist, pairs), self.model),
            None => vec![1.0 / pairs.len() as f64; pairs.len()],
        };
        let chosen = drawn(&p, self.streams.rng(key).random::<f64>());
        (p, chosen)
    }
}

fn distances(dist: &Mat<f64>, pairs: &[[u32; 2]]) -> Vec<f64> {
    pairs.iter().map(|[i, j]| dist[(*i as usize, *j as usize)]).collect()
}

/// The probability of each option, from the distance of its pair.
fn probabilities(distances: &[f64], model: ResponseModel) -> Vec<f64> {
    let (n, nearest) = (distances.len() as f64, distances.iter().copied().fold(f64::INFINITY, f64::min));
    match model {
        ResponseModel::CoinFlip => vec![1.0 / n; distances.len()],
        ResponseModel::NoiseFree => {
            let n_nearest = distances.iter().filter(|d| **d == nearest).count() as f64;
            distances.iter().map(|d| if *d == nearest { 1.0 / n_nearest } else { 0.0 }).collect()
        }
        ResponseModel::Logistic { tau } => softmax(&distances.iter().map(|d| -d).collect::<Vec<_>>(), tau),
        ResponseModel::Similarity { beta } => {
            softmax(&distances.iter().map(|d| -beta * d * d).collect::<Vec<_>>(), 1.0)
        }
    }
}

/// The noise at which a logistic subject is expected to agree with the noise-free order on a share of the triplets.
///
/// Solves mean of 1 / (1 + exp(−|d(anchor, first) − d(anchor, second)| / τ)) = `agreement` by bisection on log τ.
/// Triplets whose options are equally far have no order and are left out.
///
/// # Shapes
/// `reference`: `[n_concepts, n_dims]`; `triplets`: anchor, first, second
/// # Errors
/// [`Error::Setting`] for an agreement outside (0.5, 1), [`Error::TooFew`] when no triplet has an order,
/// [`Error::ShapeMismatch`] for an id outside the reference, [`Error::NotFinite`]
pub fn tau_for_agreement(reference: MatRef<'_, f64>, triplets: &[[u32; 3]], agreement: f64) -> Result<f64> {
    if !(agreement > 0.5 && agreement < 1.0) {
        let expected = "above 0.5 and below 1".to_owned();
        return Err(Error::Setting { field: "agreement".to_owned(), found: agreement.to_string(), expected });
    }
    let leads = leads(reference, triplets)?;
    let scale = leads.iter().copied().fold(0.0, f64::max).ln();
    // At e^±30 times the largest lead, agreement is 0.5 and (but for the smallest leads) 1 to machine precision.
    Ok(bisected(scale, |log_tau| mean_agreement(&leads, log_tau.exp()) > agreement))
}

/// The sensitivity β at which a subject with [`ResponseModel::Similarity`] is expected to name the noise-free odd one in a
/// share of odd-one-out triplets.
///
/// Solves mean of max over k of exp(−β d²(i, j)) / Σ exp(−β d²) = `agreement` by bisection on log β. Triplets without a
/// single nearest pair have no noise-free odd one and are left out.
///
/// # Shapes
/// `reference`: `[n_concepts, n_dims]`
/// # Errors
/// [`Error::Setting`] for an agreement outside (1/3, 1), [`Error::TooFew`] when no triplet has a nearest pair,
/// [`Error::ShapeMismatch`] for an id outside the reference, [`Error::NotFinite`]
pub fn beta_for_agreement(reference: MatRef<'_, f64>, triplets: &[OddOneOut], agreement: f64) -> Result<f64> {
    if !(agreement > 1.0 / 3.0 && agreement < 1.0) {
        let expected = "above 1/3 and below 1".to_owned();
        return Err(Error::Setting { field: "agreement".to_owned(), found: agreement.to_string(), expected });
    }
    let ids: Vec<[u32; 3]> = triplets.iter().map(OddOneOut::concepts).collect();
    check_ids(reference, &ids)?;
    let dist = dist(reference);
    let mut gaps: Vec<[f64; 2]> = Vec::new();
    for triplet in triplets {
        let mut squares = distances(&dist, &Presentation::OddOneOut(*triplet).pairs());
        squares.iter_mut().for_each(|d| *d *= *d);
        squares.sort_by(f64::total_cmp);
        if squares[1] > squares[0] {
            gaps.push([squares[1] - squares[0], squares[2] - squares[0]]);
        }
    }
    if gaps.is_empty() {
        let what = "triplets that the reference has a nearest pair for".to_owned();
        return Err(Error::TooFew { what, found: 0, needed: 1 });
    }
    let expected = |beta: f64| {
        let p = |[one, other]: &[f64; 2]| 1.0 / (1.0 + (-beta * one).exp() + (-beta * other).exp());
        gaps.iter().map(p).sum::<f64>() / gaps.len() as f64
    };
    let scale = gaps.iter().map(|gap| gap[1]).fold(0.0, f64::max).ln();
    Ok(bisected(-scale, |log_beta| expected(log_beta.exp()) < agreement))
}

/// exp of the number within 30 of `centre` below which `below` is true, by bisection.
fn bisected(centre: f64, below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (centre - 30.0, centre + 30.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        let end = if below(middle) { &mut low } else { &mut high };
        *end = middle;
    }
    f64::midpoint(low, high).exp()
}

/// Refuses ids outside the reference, and coordinates that are not finite.
fn check_ids(reference: MatRef<'_, f64>, triplets: &[[u32; 3]]) -> Result<()> {
    check_finite(reference, "the reference of a simulated subject")?;
    let n = reference.nrows();
    match triplets.iter().enumerate().find(|(_, t)| t.iter().any(|&id| id as usize >= n)) {
        None => Ok(()),
        Some((row, triplet)) => Err(Error::ShapeMismatch {
            what: format!("concept ids of triplet {row}"),
            found: format!("{triplet:?}"),
            expected: format!("below {n}, the rows of the reference"),
        }),
    }
}

/// |d(anchor, first) − d(anchor, second)| of the triplets that have an order.
fn leads(reference: MatRef<'_, f64>, triplets: &[[u32; 3]]) -> Result<Vec<f64>> {
    check_ids(reference, triplets)?;
    let dist = dist(reference);
    let leads: Vec<f64> =
        triplets.iter().map(|&triplet| lead_of_first(&dist, triplet).abs()).filter(|&lead| lead > 0.0).collect();
    if leads.is_empty() {
        return Err(Error::TooFew {
            what: "triplets that the reference has an order for".to_owned(),
            found: 0,
            needed: 1,
        });
    }
    Ok(leads)
}

fn mean_agreement(leads: &[f64], tau: f64) -> f64 {
    leads.iter().map(|lead| sigmoid(lead / tau)).sum::<f64>() / leads.len() as f64
}

/// How much nearer `first` is than `second`.
fn lead_of_first(dist: &Mat<f64>, [anchor, first, second]: [u32; 3]) -> f64 {
    dist[(anchor as usize, second as usize)] - dist[(anchor as usize, first as usize)]
}

fn dist(x: MatRef<'_, f64>) -> Mat<f64> {
    let mut dist = dist2(x);
    for j in 0..dist.ncols() {
        dist.col_as_slice_mut(j).iter_mut().for_each(|value| *value = value.sqrt());
    }
    dist
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Points 0, 1, 3 and −1 on a line.
    fn line() -> Mat<f64> {
        Mat::from_fn(4, 1, |i, _| [0.0, 1.0, 3.0, -1.0][i])
    }

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
    fn tau_gives_the_agreement_asked_for() {
        // One lead of 2 and one of 1, and a tie that does not count.
        let triplets = [[0, 1, 2], [1, 0, 2], [0, 1, 3]];
        let tau = tau_for_agreement(line().as_ref(), &triplets, 0.88).unwrap();
        let agreement = f64::midpoint(sigmoid(2.0 / tau), sigmoid(1.0 / tau));
        assert!((agreement - 0.88).abs() < 1e-12, "{agreement}");
        assert!(matches!(tau_for_agreement(line().as_ref(), &triplets, 0.5), Err(Error::Setting { .. })));
        assert!(matches!(tau_for_agreement(line().as_ref(), &[[0, 1, 3]], 0.8), Err(Error::TooFew { .. })));
        assert!(matches!(tau_for_agreement(line().as_ref(), &[[0, 1, 4]], 0.8), Err(Error::ShapeMismatch { .. })));
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
    fn beta_gives_the_agreement_asked_for() {
        let triplet = |a, b, c| OddOneOut { a, b, c };
        // Squared distances 1, 4, 9 and 1, 9, 16, and a tie that does not count.
        let triplets = [triplet(0, 1, 2), triplet(2, 3, 0), triplet(0, 1, 3)];
        let beta = beta_for_agreement(line().as_ref(), &triplets, 0.7).unwrap();
        let p = |one: f64, other: f64| 1.0 / (1.0 + (-beta * one).exp() + (-beta * other).exp());
        let agreement = f64::midpoint(p(3.0, 8.0), p(8.0, 15.0));
        assert!((agreement - 0.7).abs() < 1e-12, "{agreement}");
        let fails = |triplets: &[OddOneOut], agreement| beta_for_agreement(line().as_ref(), triplets, agreement);
        assert!(matches!(fails(&triplets, 1.0 / 3.0), Err(Error::Setting { .. })));
        assert!(matches!(fails(&triplets[2..], 0.8), Err(Error::TooFew { .. })));
        assert!(matches!(fails(&[triplet(0, 1, 4)], 0.8), Err(Error::ShapeMismatch { .. })));
    }
}
