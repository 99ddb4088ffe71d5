//! A simulated subject: a reference geometry that answers triplets, with noise.

use faer::{Mat, MatRef};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::linalg::{check_finite, dist2};
use crate::seed::Streams;
use crate::stats::sigmoid;

/// How a simulated subject turns distances into answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum ResponseModel {
    /// The nearer option, always.
    NoiseFree,
    /// P(first) = 1 / (1 + exp((d(anchor, first) − d(anchor, second)) / τ)), with Euclidean distances.
    Logistic {
        /// Noise, in the reference's units of distance; above 0.
        tau: f64,
    },
    /// Either option with probability one half.
    CoinFlip,
}

/// What a subject answers to one presentation.
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
    /// [`Error::Setting`] when `tau` is not above 0, [`Error::NotFinite`]
    pub fn new(reference: MatRef<'_, f64>, model: ResponseModel, seed: u64) -> Result<Self> {
        check_finite(reference, "the reference of a simulated subject")?;
        if let ResponseModel::Logistic { tau } = model
            && !(tau.is_finite() && tau > 0.0)
        {
            let field = "tau".to_owned();
            return Err(Error::Setting {
                field,
                found: tau.to_string(),
                expected: "a finite number above 0".to_owned(),
            });
        }
        Ok(Self { dist: Some(dist(reference)), model, streams: Streams::new(seed, "respondent") })
    }

    /// A subject who tosses a coin for every answer.
    pub fn coin_flip(seed: u64) -> Self {
        Self { dist: None, model: ResponseModel::CoinFlip, streams: Streams::new(seed, "respondent") }
    }

    /// The answer to one presentation.
    ///
    /// `key` names the presentation and decides the random number: callers pack triplet id, option order and repeat
    /// into it. Options that are exactly equally far are answered by coin under every model.
    ///
    /// # Panics
    /// when an id is outside the reference
    pub fn answer(&self, anchor: u32, first: u32, second: u32, key: u64) -> Answer {
        let lead = self.dist.as_ref().map_or(0.0, |dist| lead_of_first(dist, [anchor, first, second]));
        let p_first = match self.model {
            _ if lead == 0.0 => 0.5,
            ResponseModel::NoiseFree => f64::from(lead > 0.0),
            ResponseModel::Logistic { tau } => sigmoid(lead / tau),
            ResponseModel::CoinFlip => 0.5,
        };
        Answer { p_first, chose_first: self.streams.rng(key).random::<f64>() < p_first }
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
    let (mut low, mut high) = (scale - 30.0, scale + 30.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        let end = if mean_agreement(&leads, middle.exp()) > agreement { &mut low } else { &mut high };
        *end = middle;
    }
    Ok(f64::midpoint(low, high).exp())
}

/// |d(anchor, first) − d(anchor, second)| of the triplets that have an order.
fn leads(reference: MatRef<'_, f64>, triplets: &[[u32; 3]]) -> Result<Vec<f64>> {
    check_finite(reference, "the reference of a simulated subject")?;
    let n = reference.nrows();
    if let Some((row, triplet)) = triplets.iter().enumerate().find(|(_, t)| t.iter().any(|&id| id as usize >= n)) {
        return Err(Error::ShapeMismatch {
            what: format!("concept ids of triplet {row}"),
            found: format!("{triplet:?}"),
            expected: format!("below {n}, the rows of the reference"),
        });
    }
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
}
