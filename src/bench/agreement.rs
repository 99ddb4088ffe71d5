//! How far a row's answers are from those of the reference row.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::alignment::procrustes::procrustes_r2;
use crate::bench::Answers;
use crate::embedding::{Comparison, Fit, FitSettings, fit};
use crate::error::Result;
use crate::stats::wilson_95;
use crate::triplets::Triplet;

/// A row's answers beside the reference row's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Presentations compared.
    pub n: usize,
    /// Largest |Δ log p| of an option, in nats.
    pub max_nats: f64,
    /// Mean |Δ log p| over the options.
    pub mean_nats: f64,
    /// Mean over presentations of the divergence of the row's choice probability from the reference's, in nats.
    pub kl_nats: f64,
    /// Presentations with another choice.
    pub flips: usize,
    /// Procrustes R² of the embeddings fitted to both rows' choices.
    pub procrustes_r2: Option<f64>,
    /// Why there is none.
    pub no_procrustes: Option<String>,
}

/// What an agreement amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No option further off than sharing prefixes may make it: [`SAME_NATS`].
    Same,
    /// Further, with at most one choice in a hundred another: [`CLOSE_FLIPS`].
    Close,
    /// More choices differ: the row's speed is that of other answers.
    Differs,
}

/// Every strategy of sharing prefixes stays below a ten-thousandth in fp32; thread counts and providers stay below this.
pub const SAME_NATS: f64 = 1e-3;

/// Share of choices that may differ between precisions of one model.
pub const CLOSE_FLIPS: f64 = 0.01;

impl Verdict {
    /// As it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Close => "close",
            Self::Differs => "differs",
        }
    }
}

impl Agreement {
    /// Compares answers to the same presentations; the embeddings come from [`fitted`].
    pub fn between(
        reference: &Answers,
        row: &Answers,
        embeddings: &std::result::Result<[&Fit; 2], String>,
    ) -> Result<Self> {
        let n = reference.len();
        let both = reference.log_probs.iter().zip(&row.log_probs);
        let delta = |(a, b): (&[f32; 2], &[f32; 2])| [0, 1].map(|i: usize| (f64::from(a[i]) - f64::from(b[i])).abs());
        let total: f64 = both.clone().flat_map(delta).sum();
        let kl: f64 = both.map(|(p, q)| kl_nats(*p, *q)).sum();
        let (procrustes_r2, no_procrustes) = match embeddings {
            Ok([x, y]) => (Some(procrustes_r2(x.coordinates.as_ref(), y.coordinates.as_ref())?), None),
            Err(reason) => (None, Some(reason.clone())),
        };
        Ok(Self {
            n,
            max_nats: reference.max_nats(row),
            mean_nats: total / (2 * n).max(1) as f64,
            kl_nats: kl / n.max(1) as f64,
            flips: reference.chose_first.iter().zip(&row.chose_first).filter(|(a, b)| a != b).count(),
            procrustes_r2,
            no_procrustes,
        })
    }

    /// What it amounts to.
    pub fn verdict(&self) -> Verdict {
        match self {
            _ if self.max_nats <= SAME_NATS => Verdict::Same,
            _ if self.flips as f64 <= CLOSE_FLIPS * self.n as f64 => Verdict::Close,
            _ => Verdict::Differs,
        }
    }
}

/// Divergence of one row's choice probabilities from the reference's: Σ p ln(p / q) over the two options, p and q being the
/// softmax of the reference's and of the row's log-probabilities.
///
/// # Units
/// nats in, nats out
fn kl_nats(reference: [f32; 2], row: [f32; 2]) -> f64 {
    // ln p of the first and of the second, −ln(1 + e^−d) and −ln(1 + e^d), without loss for large |d|.
    let log_p = |[a, b]: [f32; 2]| {
        let d = f64::from(a) - f64::from(b);
        let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
        [-softplus(-d), -softplus(d)]
    };
    let (p, q) = (log_p(reference), log_p(row));
    // Rounding can make it a little less than nothing.
    [0, 1].map(|i: usize| p[i].exp() * (p[i] - q[i])).iter().sum::<f64>().max(0.0)
}

/// Dimensions of the embeddings that rows are compared by.
pub const FIT_DIMS: usize = 8;

/// Fewer presentations than this for each concept say too little about where the concepts are.
pub const FIT_TRIPLETS_PER_CONCEPT: usize = 10;

/// Fits an embedding to a row's choices, always with the same settings: logistic in distance, [`FIT_DIMS`] dimensions, the
/// penalty by cross-validation, 20 % held out. The inner error is why there is none: too few presentations, or choices that no
/// embedding predicts better than a coin, of which two fits would be two noises.
///
/// # Errors
/// Those of [`fit`]
pub fn fitted(
    n_concepts: usize,
    presentations: &[Triplet],
    answers: &Answers,
    seed: u64,
) -> Result<std::result::Result<Fit, String>> {
    let asked: BTreeSet<u32> = presentations.iter().flat_map(|t| [t.anchor, t.first, t.second]).collect();
    let needed = FIT_TRIPLETS_PER_CONCEPT * asked.len();
    if presentations.len() < needed {
        let n = presentations.len();
        return Ok(Err(format!(
            "{n} presentations, and a fit wants {needed}: {FIT_TRIPLETS_PER_CONCEPT} for each concept"
        )));
    }
    let comparison = |(t, chose_first): (&Triplet, &bool)| Comparison {
        triplet: t.id(n_concepts),
        anchor: t.anchor,
        first: t.first,
        second: t.second,
        p_first: f64::from(*chose_first),
        weight: 1.0,
    };
    let comparisons: Vec<Comparison> = presentations.iter().zip(&answers.chose_first).map(comparison).collect();
    let fit = fit(n_concepts, &comparisons, &FitSettings::robust(FIT_DIMS, seed))?;
    let (share, n) = (fit.record.heldout_accuracy.unwrap_or(0.5), fit.record.n_heldout - fit.record.n_heldout_ties);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count from a share of it")]
    let n_right = (share * n as f64).round() as usize;
    if n == 0 || wilson_95(n_right, n).0 <= 0.5 {
        return Ok(Err(format!("choices no embedding predicts: {:.1} % of {n} held out", 100.0 * share)));
    }
    Ok(Ok(fit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::triplets::random;

    fn answers(log_probs: &[[f32; 2]]) -> Answers {
        Answers { log_probs: log_probs.to_vec(), chose_first: log_probs.iter().map(|[a, b]| a >= b).collect() }
    }

    fn none() -> std::result::Result<[&'static Fit; 2], String> {
        Err("none".into())
    }

    #[test]
    fn answers_agree_with_themselves_and_differ_by_what_was_changed() {
        let one = answers(&[[-1.0, -2.0], [-3.0, -2.5], [-900.0, 0.0]]);
        let same = Agreement::between(&one, &one, &none()).unwrap();
        assert_eq!((same.max_nats, same.mean_nats, same.kl_nats, same.flips), (0.0, 0.0, 0.0, 0));
        assert_eq!(same.verdict(), Verdict::Same);
        let other = answers(&[[-1.0, -2.0], [-2.0, -2.5], [-900.0, 0.0]]);
        let changed = Agreement::between(&one, &other, &none()).unwrap();
        assert_eq!((changed.n, changed.max_nats, changed.flips), (3, 1.0, 1));
        assert!((changed.mean_nats - 1.0 / 6.0).abs() < 1e-15);
        // p = σ(−1/2), q = σ(1/2): KL = (p − (1 − p)) ln(p / (1 − p)) = (1 − 2p) / 2, over three presentations.
        let p = 1.0 / (1.0 + 0.5_f64.exp());
        assert!((changed.kl_nats - (1.0 - 2.0 * p) / 2.0 / 3.0).abs() < 1e-15, "{}", changed.kl_nats);
        assert_eq!((changed.verdict(), changed.no_procrustes.as_deref()), (Verdict::Differs, Some("none")));
        let near = Agreement { max_nats: 0.2, flips: 1, n: 100, ..same };
        assert_eq!(near.verdict(), Verdict::Close);
        assert_eq!(Agreement { flips: 2, ..near }.verdict(), Verdict::Differs);
    }

    #[test]
    fn embeddings_are_compared_only_where_the_choices_carry_one() {
        const N: usize = 12;
        let asked = random(N, 600, false, 1).unwrap();
        // Concepts on a line: the nearer option is chosen.
        let line = |t: &Triplet| t.anchor.abs_diff(t.first) <= t.anchor.abs_diff(t.second);
        let of = |choose: &dyn Fn(&Triplet) -> bool| Answers {
            log_probs: vec![[0.0, 0.0]; asked.len()],
            chose_first: asked.iter().map(choose).collect(),
        };
        let ordered = of(&line);
        let fit = fitted(N, &asked, &ordered, 3).unwrap().unwrap();
        let again = fitted(N, &asked, &ordered, 3).unwrap().unwrap();
        let same = Agreement::between(&ordered, &ordered, &Ok([&fit, &again])).unwrap();
        assert!((same.procrustes_r2.unwrap() - 1.0).abs() < 1e-9);
        let coin = of(&|t: &Triplet| {
            rand::RngExt::random(&mut crate::seed::Streams::new(5, "coin").rng(t.id(N).cast_unsigned()))
        });
        assert!(fitted(N, &asked, &coin, 3).unwrap().unwrap_err().contains("no embedding predicts"));
        let few = fitted(N, &asked[..100], &ordered.first(100), 3).unwrap().unwrap_err();
        assert!(few.contains("100 presentations") && few.contains("120"), "{few}");
    }
}
