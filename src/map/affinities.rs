//! How probable it is that a concept picks another as its neighbour, from the distances in an embedding.

use faer::MatRef;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::linalg::check_finite;

/// Joint probabilities of pairs of concepts, P.
///
/// p_j|i = exp(−β_i d²_ij) / Σ_l≠i exp(−β_i d²_il), with β_i such that the entropy of p_·|i is the logarithm of the
/// perplexity; p_ij = (p_j|i + p_i|j) / 2n. They add up to 1.
///
/// # Source
/// van der Maaten & Hinton (2008), Visualizing data using t-SNE, equations 1 and §3.1
#[derive(Debug, Clone)]
pub struct Affinities {
    /// Row by row, the diagonal 0; rows and columns filled up with 0 to a multiple of [`GROUP`].
    p: Vec<f64>,
    n: usize,
    n_crowded: usize,
    negentropy: f64,
}

/// Concepts come in groups of so many, the last filled up with none, so that a vector of doubles lies in one group.
pub(super) const GROUP: usize = 8;

impl Affinities {
    /// The probabilities at a perplexity, the effective number of neighbours of a concept.
    ///
    /// A concept with more neighbours at exactly the smallest distance than the perplexity has (a copy among copies, or a
    /// corner of a simplex) cannot have so few: it picks evenly among them, and is counted in [`Self::n_crowded`].
    ///
    /// # Shapes
    /// `x`: `[n_concepts, dims]`
    /// # Errors
    /// [`Error::TooFew`] for fewer than 4 concepts or when all are in one place, [`Error::Setting`] for a perplexity
    /// outside `1 ≤ perplexity < n − 1`, [`Error::NotFinite`]
    pub fn new(x: MatRef<'_, f64>, perplexity: f64) -> Result<Self> {
        let n = x.nrows();
        if n < 4 {
            return Err(Error::TooFew { what: "concepts for a t-SNE map".to_owned(), found: n, needed: 4 });
        }
        if !(perplexity >= 1.0 && perplexity < (n - 1) as f64) {
            return Err(Error::Setting {
                field: "perplexity".to_owned(),
                found: perplexity.to_string(),
                expected: format!("at least 1 and below {}, the other concepts", n - 1),
            });
        }
        check_finite(x, "the embedding given to t-SNE")?;
        if (0..x.ncols()).all(|k| (1..n).all(|i| x[(i, k)] == x[(0, k)])) {
            return Err(Error::TooFew { what: "distinct concepts for a t-SNE map".to_owned(), found: 1, needed: 2 });
        }

        let width = n.next_multiple_of(GROUP);
        let mut p = vec![0.0; width * width];
        let crowded = p.par_chunks_exact_mut(width).take(n).enumerate().map(|(i, row)| {
            let row = &mut row[..n];
            dist2_from(x, i, row);
            pick(row, i, perplexity.ln())
        });
        let n_crowded = crowded.filter(|crowded| *crowded).count();
        for i in 0..n {
            for j in i + 1..n {
                let joint = (p[i * width + j] + p[j * width + i]) / (2.0 * n as f64);
                p[i * width + j] = joint;
                p[j * width + i] = joint;
            }
        }
        let of_row = |row: &[f64]| row.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
        let negentropy = p.par_chunks_exact(width).map(of_row).collect::<Vec<f64>>().iter().sum();
        Ok(Self { p, n, n_crowded, negentropy })
    }

    /// Number of concepts.
    pub fn n_concepts(&self) -> usize {
        self.n
    }

    /// Concepts that tie for nearest with more others than the perplexity.
    pub fn n_crowded(&self) -> usize {
        self.n_crowded
    }

    /// p_ij of a concept with each; `[n_concepts]`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.filled_row(i)[..self.n]
    }

    /// The same up to the end of the last group, also for what fills that.
    pub(super) fn filled_row(&self, i: usize) -> &[f64] {
        let width = self.n.next_multiple_of(GROUP);
        &self.p[i * width..(i + 1) * width]
    }

    /// Σ p_ij ln p_ij, the part of the divergence that no map changes; nats.
    pub(super) fn negentropy(&self) -> f64 {
        self.negentropy
    }
}

/// Squared distances from one row to all: those of [`crate::linalg::dist2`], to the bit.
fn dist2_from(x: MatRef<'_, f64>, i: usize, dist2: &mut [f64]) {
    for k in 0..x.ncols() {
        let from = x[(i, k)];
        for j in 0..dist2.len() {
            let difference = x[(j, k)] - from;
            dist2[j] += difference * difference;
        }
    }
}

/// Distances that differ by less than this share of the mean are one distance and rounding.
const TIED: f64 = 1e-12;

/// The entropy, in nats, is met this closely: far below what moves a map, at the price of one more step than 1e-5.
const ENTROPY_TOLERANCE: f64 = 1e-10;

/// Turns the squared distances of concept i into p_·|i; whether more tie for nearest than the entropy has room for.
fn pick(row: &mut [f64], i: usize, entropy: f64) -> bool {
    let others = |row: &[f64]| row[..i].iter().chain(&row[i + 1..]).copied().collect::<Vec<f64>>();
    let mut excess = others(row);
    let nearest = excess.iter().copied().fold(f64::INFINITY, f64::min);
    let mean = excess.iter().sum::<f64>() / excess.len() as f64;
    // Only what a distance has over the smallest matters, and there the exponential cannot underflow for all of them.
    for d in &mut excess {
        *d = if *d - nearest <= TIED * mean { 0.0 } else { *d - nearest };
    }
    let n_tied = excess.iter().filter(|d| **d == 0.0).count();
    let room = (n_tied as f64).ln() - entropy;
    let picked: Vec<f64> = if room >= -ENTROPY_TOLERANCE {
        excess.iter().map(|d| if *d == 0.0 { 1.0 / n_tied as f64 } else { 0.0 }).collect()
    } else {
        let beta = precision(&excess, entropy);
        let weights: Vec<f64> = excess.iter().map(|d| (-beta * d).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    };
    row[..i].copy_from_slice(&picked[..i]);
    row[i] = 0.0;
    row[i + 1..].copy_from_slice(&picked[i..]);
    room > ENTROPY_TOLERANCE
}

/// β at which the entropy of exp(−β d) is the one asked for, which lies between those of its two ends.
///
/// H(β) = ln Z + β E[d] falls with β, and dH/d ln β = −β² Var[d]: Newton's steps in ln β, or halves of the bracket where
/// they would leave it.
fn precision(excess: &[f64], entropy: f64) -> f64 {
    let mean = excess.iter().sum::<f64>() / excess.len() as f64;
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    let mut log_beta = -mean.ln();
    // A bracket of doublings and halvings resolves any two numbers in fewer steps.
    for _ in 0..2_000 {
        let beta = log_beta.exp();
        let (mut z, mut first, mut second) = (0.0, 0.0, 0.0);
        for d in excess {
            let weight = (-beta * d).exp();
            z += weight;
            first += weight * d;
            second += weight * d * d;
        }
        let expected = first / z;
        let over = z.ln() + beta * expected - entropy;
        if over.abs() <= ENTROPY_TOLERANCE {
            break;
        }
        if over > 0.0 {
            low = log_beta;
        } else {
            high = log_beta;
        }
        let newton = log_beta + over / (beta * beta * (second / z - expected * expected));
        log_beta = match (low.is_finite(), high.is_finite()) {
            _ if newton > low && newton < high && (newton - log_beta).abs() < 2.0 => newton,
            (true, true) => 0.5 * (low + high),
            (true, false) => low + 1.0,
            (false, _) => high - 1.0,
        };
        if low + 1e-15 * low.abs().max(1.0) >= high {
            break;
        }
    }
    log_beta.exp()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use faer::Mat;

    use super::*;
    use crate::linalg::dist2;

    fn cloud(n: usize, dims: usize) -> Mat<f64> {
        Mat::from_fn(n, dims, |i, k| ((i * 37 + k * 101 + i * i * (k + 3)) % 257) as f64 / 64.0)
    }

    #[test]
    fn distances_are_those_of_linalg() {
        let x = cloud(9, 5);
        let expected = dist2(x.as_ref());
        for i in 0..9 {
            let mut row = vec![0.0; 9];
            dist2_from(x.as_ref(), i, &mut row);
            assert_eq!(row, expected.col_as_slice(i));
        }
    }

    #[test]
    fn each_concept_has_the_perplexity_as_many_neighbours() {
        let x = cloud(40, 6);
        for perplexity in [1.5, 5.0, 38.5] {
            for i in 0..40 {
                let mut row = vec![0.0; 40];
                dist2_from(x.as_ref(), i, &mut row);
                assert!(!pick(&mut row, i, f64::ln(perplexity)));
                let entropy: f64 = row.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
                assert!((entropy.exp() - perplexity).abs() < 1e-8, "{perplexity} {i}: {}", entropy.exp());
                assert!(row[i] == 0.0 && (row.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn corners_of_a_simplex_pick_evenly() {
        // Turned half over, so that rounding splits the distances.
        let (n, turned) = (6, 2.0 / 6.0);
        let simplex = Mat::from_fn(n, n, |i, k| 0.1 * (f64::from(i == k) - turned));
        let simplex = Mat::from_fn(n, n, |i, k| simplex[(i, k)] + 0.3 * k as f64);
        let p = Affinities::new(simplex.as_ref(), 2.0).unwrap();
        assert_eq!(p.n_crowded(), 6);
        for i in 0..6 {
            for j in 0..6 {
                assert!((p.row(i)[j] - if i == j { 0.0 } else { 1.0 / 30.0 }).abs() < 1e-16);
            }
        }
    }

    #[test]
    fn copies_are_counted_and_pick_each_other() {
        // Four copies at 0 and a fifth concept: with three neighbours at distance 0, a copy cannot have two.
        let x = crate::linalg::from_rows(&[vec![0.0], vec![0.0], vec![0.0], vec![0.0], vec![1.0]]).unwrap();
        let p = Affinities::new(x.as_ref(), 2.0).unwrap();
        assert_eq!(p.n_crowded(), 5); // the fifth has four, all at one distance
        assert!((p.row(0)[1] - 2.0 / 3.0 / 10.0).abs() < 1e-16 && (p.row(0)[4] - 0.25 / 10.0).abs() < 1e-16);
        // Three is what a copy has.
        assert_eq!(Affinities::new(x.as_ref(), 3.0).unwrap().n_crowded(), 1);
    }

    #[test]
    fn scale_does_not_matter() {
        let x = cloud(12, 3);
        let p = Affinities::new(x.as_ref(), 4.0).unwrap();
        for scale in [1e-60, 1e60] {
            let scaled = Mat::from_fn(12, 3, |i, k| scale * x[(i, k)]);
            let q = Affinities::new(scaled.as_ref(), 4.0).unwrap();
            assert!(p.p.iter().zip(&q.p).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn what_cannot_be_mapped_is_named() {
        let error = |x: &Mat<f64>, perplexity: f64| Affinities::new(x.as_ref(), perplexity).unwrap_err().to_string();
        assert_eq!(error(&cloud(3, 2), 1.0), "concepts for a t-SNE map: 3, at least 4 needed");
        let range = "expected at least 1 and below 9, the other concepts";
        assert_eq!(error(&cloud(10, 2), 9.0), format!("`perplexity` is 9, {range}"));
        assert_eq!(error(&cloud(10, 2), 0.5), format!("`perplexity` is 0.5, {range}"));
        assert_eq!(error(&cloud(10, 2), f64::NAN), format!("`perplexity` is NaN, {range}"));
        assert_eq!(error(&Mat::full(10, 2, 0.3), 3.0), "distinct concepts for a t-SNE map: 1, at least 2 needed");
        let mut bad = cloud(10, 2);
        bad[(4, 1)] = f64::INFINITY;
        assert_eq!(error(&bad, 3.0), "the embedding given to t-SNE, row 4, column 1 holds NaN or infinity");
    }
}
