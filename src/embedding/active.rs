//! Which triplets to ask next: those whose answers are expected to tell most, given the answers so far.

use faer::traits::pulp::Scalar;
use faer::{Mat, MatRef};
use rand::RngExt;
use rayon::prelude::*;

use super::dissimilarity::Dissimilarity;
use super::link::Link;
use super::loss::WithLoss;
use super::objective::Objective;
use super::sparse::{SparseFit, members};
use super::{Comparison, Fit, Loss, OddOneOutAnswer};
use crate::error::{Error, Result};
use crate::linalg::{dist2, product};
use crate::optimize::{Limits, minimize};
use crate::presentations::Presentation;
use crate::seed::Streams;
use crate::stats::{softmax, standard_normal};

/// Embeddings that the answers so far allow, as a sample of what is not known yet.
///
/// By distances, each member is a fit to the same answers with random weights, drawn for each unordered triplet from an exponential
/// distribution with mean one, and with the penalty drawing each concept not to the centre but to a place of its own,
/// drawn from the normal distribution whose logarithm the penalty is. What the answers do not say is then different in
/// every member; without the second, concepts that nobody was asked about would lie in the centre of all of them. By dot
/// products, members of SPoSE are made the same way, those of VICE are draws from its posterior ([`members`]).
///
/// # Source
/// Newton, Polson & Xu (2021), Weighted Bayesian bootstrap for scalable posterior distributions; Osband, Aslanides &
/// Cassirer (2018), Randomized prior functions for deep reinforcement learning
#[derive(Debug, Clone)]
pub struct Ensemble {
    /// Of each member, how close every pair is: P(option) ∝ exp(closeness of its pair); `[n_concepts, n_concepts]`.
    closeness: Vec<Mat<f64>>,
}

impl Ensemble {
    /// Fits the members, in parallel, each from where the fit to the same answers ended and with its penalty. With none
    /// (crowd-kernel as in the paper) the weights alone make members differ.
    ///
    /// Members settle where the objective is flat to 1e-6 of its value: their differences are far larger.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer than two members, or a loss that gives answers no probability (the hinges), and those of
    /// [`Objective::new`]
    pub fn of_distances(fitted: &Fit, comparisons: &[Comparison], n_members: usize, seed: u64) -> Result<Self> {
        check_number(n_members)?;
        let loss = fitted.record.loss;
        if let Loss::Soe { .. } | Loss::Gnmds { .. } = loss {
            let expected = "crowd-kernel, logistic-distance, ste, t-ste, or of odd-one-out answers spose or vice: a hinge gives answers no probability";
            let (field, found) = ("loss".to_owned(), loss.key().to_owned());
            return Err(Error::Setting { field, found, expected: expected.to_owned() });
        }
        let (n, dims) = fitted.coordinates.shape();
        let start: Vec<f64> = (0..dims).flat_map(|k| fitted.coordinates.col_as_slice(k)).copied().collect();
        let total_weight: f64 = comparisons.iter().map(|c| c.weight).sum();
        // The mean loss plus pull ‖x − place‖² is −log posterior / total weight, if places have variance 1 / (2 weight pull).
        let pull = fitted.record.l2 / n as f64;
        let spread = if pull > 0.0 { (2.0 * total_weight * pull).sqrt().recip() } else { 0.0 };
        let member = |k: u64| -> Result<Mat<f64>> {
            let weights = Streams::new(seed, &format!("ensemble {k}"));
            let drawn = |c: &Comparison| {
                let uniform: f64 = weights.rng(c.triplet.cast_unsigned()).random();
                Comparison { weight: -(1.0 - uniform).ln() * c.weight, ..*c }
            };
            let weighted: Vec<Comparison> = comparisons.iter().map(drawn).collect();
            let mut objective = Objective::new(loss, 0.0, n, dims, &weighted)?;
            let mut rng = Streams::new(seed, "ensemble places").rng(k);
            let places: Vec<f64> = start.iter().map(|_| spread * standard_normal(&mut rng)).collect();
            let limits = Limits { relative_decrease: 1e-6, ..Limits::default() };
            let value = |x: &[f64], gradient: &mut [f64]| {
                let mut value = objective.evaluate(x, gradient);
                for ((x, place), gradient) in x.iter().zip(&places).zip(gradient) {
                    value += pull * (x - place) * (x - place);
                    *gradient += 2.0 * pull * (x - place);
                }
                value
            };
            let (x, _) = minimize(value, start.clone(), &limits);
            let dist2 = dist2(MatRef::from_column_major_slice(&x, n, dims));
            Ok(loss.visit(Closeness { dist2 }))
        };
        let closeness = (0..n_members as u64).into_par_iter().map(member).collect::<Result<_>>()?;
        Ok(Self { closeness })
    }

    /// Members by dot products, from a fit to the same answers.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer than two members, and those of [`members`]
    pub fn of_dot_products(
        fitted: &SparseFit,
        answers: &[OddOneOutAnswer],
        n_members: usize,
        seed: u64,
    ) -> Result<Self> {
        check_number(n_members)?;
        let members = members(fitted, answers, n_members, seed)?;
        Ok(Self { closeness: members.par_iter().map(|w| product(w.as_ref(), w.transpose())).collect() })
    }

    /// Expected information of the answer about which member is right, in nats: the entropy of the mean prediction less the
    /// mean entropy of the predictions. Nothing where all members say the same, however unsure they are.
    ///
    /// P(option) ∝ exp(−u(pair)) by distances, exp(w_i·w_j) by dot products, with the pairs of [`Presentation::pairs`]: the
    /// loss's own model of the answers, but for odd-one-out answers taken as distances, of which the losses have none.
    ///
    /// # Source
    /// Houlsby, Huszár, Ghahramani & Lengyel (2011), Bayesian active learning for classification and preference learning;
    /// for triplets Tamuz et al. (2011), section 4
    pub fn information(&self, shown: &Presentation) -> f64 {
        let pairs = shown.pairs();
        let mut mean = vec![0.0; pairs.len()];
        let mut mean_entropy = 0.0;
        for member in &self.closeness {
            let closeness: Vec<f64> = pairs.iter().map(|[i, j]| member[(*i as usize, *j as usize)]).collect();
            let p = softmax(&closeness, 1.0);
            mean_entropy += entropy(&p);
            mean.iter_mut().zip(&p).for_each(|(mean, p)| *mean += p);
        }
        let n = self.closeness.len() as f64;
        mean.iter_mut().for_each(|mean| *mean /= n);
        (entropy(&mean) - mean_entropy / n).max(0.0)
    }

    /// `n` of the candidates, sorted, drawn without replacement with probabilities proportional to a power of their information.
    ///
    /// The best n alone (an infinite power) would ask the same thing many times over, because what one answer tells the next
    /// need not. Each candidate draws its luck from the stream of its own id.
    ///
    /// # Errors
    /// [`Error::TooFew`] when there are fewer than `n` candidates, [`Error::Setting`] for a power that is not above 0
    /// # Source
    /// Kirsch et al. (2023), Stochastic batch acquisition: a simple baseline for deep active learning
    pub fn choose(
        &self,
        candidates: &[Presentation],
        n: usize,
        n_concepts: usize,
        power: f64,
        seed: u64,
    ) -> Result<Vec<Presentation>> {
        if candidates.len() < n {
            let what = "triplets not asked yet".to_owned();
            return Err(Error::TooFew { what, found: candidates.len(), needed: n });
        }
        if !(power.is_finite() && power > 0.0) {
            let (found, expected) = (power.to_string(), "a finite number above 0".to_owned());
            return Err(Error::Setting { field: "power".into(), found, expected });
        }
        let luck = Streams::new(seed, "active");
        let scored = |shown: &Presentation| {
            let uniform: f64 = luck.rng(shown.id(n_concepts).cast_unsigned()).random();
            // The largest of log-weight + Gumbel noise are a draw without replacement.
            (power * self.information(shown).ln() - (-(1.0 - uniform).ln()).ln(), *shown)
        };
        let mut scored: Vec<(f64, Presentation)> = candidates.par_iter().map(scored).collect();
        scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut chosen: Vec<Presentation> = scored.into_iter().take(n).map(|(_, shown)| shown).collect();
        chosen.sort_unstable();
        Ok(chosen)
    }

    /// Mean expected information of some presentations, in nats.
    pub fn mean_information(&self, presentations: &[Presentation]) -> f64 {
        let information: Vec<f64> = presentations.par_iter().map(|shown| self.information(shown)).collect();
        crate::stats::mean(&information)
    }
}

fn check_number(n_members: usize) -> Result<()> {
    let (field, found) = ("members".to_owned(), n_members.to_string());
    let error = || Error::Setting { field, found, expected: "2 or more: one alone has no doubts".to_owned() };
    (n_members >= 2).then_some(()).ok_or_else(error)
}

/// −Σ p ln p, in nats.
fn entropy(p: &[f64]) -> f64 {
    -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

/// −u of all pairs.
struct Closeness {
    dist2: Mat<f64>,
}

impl WithLoss for Closeness {
    type Output = Mat<f64>;

    fn with<U: Dissimilarity, L: Link>(self, u: U, _: L) -> Mat<f64> {
        Mat::from_fn(self.dist2.nrows(), self.dist2.ncols(), |i, j| -u.at::<Scalar>(self.dist2[(i, j)]).0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::odd_one_out::OddOneOut;
    use crate::presentations::Task;

    /// Members whose dissimilarities of 0 with 1, 2 and 3 are given; those of other pairs are 0.
    fn ensemble(members: &[[f64; 3]]) -> Ensemble {
        let matrix = |u: &[f64; 3]| {
            let mut matrix = Mat::zeros(4, 4);
            for (k, u) in u.iter().enumerate() {
                matrix[(0, k + 1)] = -*u;
                matrix[(k + 1, 0)] = -*u;
            }
            matrix
        };
        Ensemble { closeness: members.iter().map(matrix).collect() }
    }

    #[test]
    fn information_is_disagreement_not_doubt() {
        let shown = Presentation::new(Task::Anchored, [0, 1, 2]);
        let of = |members: &[[f64; 3]]| ensemble(members).information(&shown);
        assert!(of(&[[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]]) < 1e-15, "both doubt, and both know that they do");
        assert!(of(&[[0.0, 3.0, 0.0], [0.0, 3.0, 0.0]]) < 1e-15, "both are sure of the same");
        let certain = of(&[[0.0, 800.0, 0.0], [800.0, 0.0, 0.0]]);
        assert!((certain - 2.0_f64.ln()).abs() < 1e-12, "each sure of the other: one bit");
        // P(first) = 0.8 and 0.2.
        let by_hand = 2.0_f64.ln() + 0.8 * 0.8_f64.ln() + 0.2 * 0.2_f64.ln();
        assert!((of(&[[0.0, 4.0_f64.ln(), 0.0], [4.0_f64.ln(), 0.0, 0.0]]) - by_hand).abs() < 1e-14);
        // Odd-one-out: of 0, 1 and 2 the pairs are (1, 2), (0, 2), (0, 1); u(1, 2) is 0 for both members.
        let odd = Presentation::OddOneOut(OddOneOut { a: 0, b: 1, c: 2 });
        let three = ensemble(&[[800.0, 0.0, 0.0], [0.0, 800.0, 0.0]]).information(&odd);
        // One says half (1, 2), half (0, 2), the other half (1, 2), half (0, 1): mean 1/2, 1/4, 1/4, each half sure.
        assert!((three - (1.5 * 2.0_f64.ln() - 2.0_f64.ln())).abs() < 1e-12, "{three}");
    }

    #[test]
    fn informative_candidates_are_drawn_more_often_and_the_useless_never() {
        let ensemble = ensemble(&[[0.0, 2.0, 0.0], [2.0, 0.0, 0.0]]);
        let candidates: Vec<Presentation> =
            [[0, 1, 2], [0, 1, 3], [3, 1, 2], [1, 2, 3]].map(|ids| Presentation::new(Task::Anchored, ids)).to_vec();
        let informed: Vec<f64> = candidates.iter().map(|shown| ensemble.information(shown)).collect();
        assert!(informed[0] > 2.0 * informed[1] && informed[1] > 0.0 && informed[2] == 0.0 && informed[3] == 0.0);
        let mut n_first = 0;
        for seed in 0..400 {
            let one = ensemble.choose(&candidates, 1, 4, 1.0, seed).unwrap();
            assert!(one[0] == candidates[0] || one[0] == candidates[1], "what tells nothing is not asked first");
            n_first += usize::from(one[0] == candidates[0]);
        }
        let expected = 400.0 * informed[0] / (informed[0] + informed[1]);
        assert!((n_first as f64 - expected).abs() < 40.0, "{n_first}, expected {expected}"); // four standard errors of at most 10
        assert_eq!(
            ensemble.choose(&candidates, 1, 4, 400.0, 1).unwrap()[0],
            candidates[0],
            "a high power leaves luck little"
        );
        assert_eq!(ensemble.choose(&candidates, 4, 4, 1.0, 1).unwrap().len(), 4);
        assert!(matches!(ensemble.choose(&candidates, 5, 4, 1.0, 1), Err(Error::TooFew { .. })));
        assert!(matches!(ensemble.choose(&candidates, 1, 4, 0.0, 1), Err(Error::Setting { .. })));
    }
}
