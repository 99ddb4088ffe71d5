//! Summaries and correlations of plain slices.

use ndarray::{Array1, Axis};
use ndarray_stats::interpolate::Linear;
use ndarray_stats::{MaybeNan, QuantileExt};
use rand::{Rng, RngExt};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::error::{Error, Result};

/// Arithmetic mean, summed in order; NaN for no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Ranks from 1, ties sharing the mean of the ranks they span.
///
/// Neighbours in the sorted order that differ by no more than `tolerance` are ties. Zero asks for exact ties; a few
/// units of rounding keep ties that arithmetic has split (two distances of a one-hot code, say) together.
///
/// # Errors
/// [`Error::NotFinite`] when a value is NaN or infinite
///
/// ```
/// assert_eq!(alike::stats::ranks(&[30.0, 10.0, 30.0, 20.0], 0.0)?, [3.5, 1.0, 3.5, 2.0]);
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn ranks(values: &[f64], tolerance: f64) -> Result<Vec<f64>> {
    check_finite(values, "a value to be ranked")?;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut n_before = 0;
    for tied in order.chunk_by(|&a, &b| values[b] - values[a] <= tolerance) {
        for &i in tied {
            ranks[i] = n_before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        }
        n_before += tied.len();
    }
    Ok(ranks)
}

/// The values shifted to mean zero and scaled to unit Euclidean norm, so that inner products are correlations.
///
/// # Errors
/// [`Error::TooFew`] when all values are equal (up to rounding), so that no scale makes their norm 1
pub fn standardised(values: &[f64]) -> Result<Vec<f64>> {
    check_finite(values, "a value to be correlated")?;
    let centre = mean(values);
    let centred: Vec<f64> = values.iter().map(|value| value - centre).collect();
    let spread = norm(&centred);
    if spread <= FLAT * norm(values) {
        return Err(Error::TooFew {
            what: "distinct values to correlate".to_owned(),
            found: values.len().min(1),
            needed: 2,
        });
    }
    Ok(centred.iter().map(|value| value / spread).collect())
}

/// What is left after centring is rounding, not variance, below this share of the uncentred norm.
pub(crate) const FLAT: f64 = 1e-13;

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Pearson correlation.
///
/// Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² Σ (y − ȳ)²)
///
/// # Errors
/// [`Error::ShapeMismatch`] when the lengths differ, [`Error::TooFew`] when either side does not vary,
/// [`Error::NotFinite`]
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64> {
    if x.len() != y.len() {
        return Err(Error::ShapeMismatch {
            what: "values to correlate".to_owned(),
            found: format!("{} and {}", x.len(), y.len()),
            expected: "as many on both sides".to_owned(),
        });
    }
    let (x, y) = (standardised(x)?, standardised(y)?);
    Ok(x.iter().zip(&y).map(|(a, b)| a * b).sum())
}

/// Spearman correlation: Pearson of the ranks, ties averaged.
///
/// # Errors
/// as for [`pearson`]
///
/// ```
/// assert!((alike::stats::spearman(&[1.0, 2.0, 3.0], &[1.0, 4.0, 90.0])? - 1.0).abs() < 1e-15);
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64> {
    pearson(&ranks(x, 0.0)?, &ranks(y, 0.0)?)
}

/// Quantile by linear interpolation between order statistics (numpy's default, Hyndman & Fan's type 7).
///
/// # Errors
/// [`Error::TooFew`] for no values, [`Error::Setting`] for `q` outside 0..=1, [`Error::NotFinite`]
pub fn quantile(values: &[f64], q: f64) -> Result<f64> {
    check_finite(values, "a value whose quantile is asked for")?;
    if values.is_empty() {
        return Err(Error::TooFew { what: "values for a quantile".to_owned(), found: 0, needed: 1 });
    }
    let q = q.try_as_not_nan().filter(|_| (0.0..=1.0).contains(&q)).ok_or_else(|| Error::Setting {
        field: "quantile".to_owned(),
        found: q.to_string(),
        expected: "0 to 1".to_owned(),
    })?;
    let quantile = Array1::from(values.to_vec()).quantile_axis_skipnan_mut(Axis(0), *q, &Linear);
    Ok(quantile.expect("there are values and q is in 0..=1").into_scalar())
}

/// The value below which a share of the distribution lies: Student's t with `df` degrees of freedom, or the normal without.
pub fn student_quantile(share: f64, df: Option<f64>) -> f64 {
    match df.filter(|df| df.is_finite()) {
        Some(df) => StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| t.inverse_cdf(share)),
        None => Normal::standard().inverse_cdf(share),
    }
}

/// P(|T| ≥ |statistic|) of Student's t with `df` degrees of freedom, or of the normal distribution without.
pub fn two_sided(statistic: f64, df: Option<f64>) -> f64 {
    let below = -statistic.abs();
    match df.filter(|df| df.is_finite()) {
        Some(df) => StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| 2.0 * t.cdf(below)),
        None => 2.0 * normal_cdf(below),
    }
}

/// P(Z ≤ z) of the standard normal distribution.
pub fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// Permutation p-value with the observed arrangement counted among the permutations.
///
/// p = (1 + #{null ≥ observed}) / (1 + n). Draws that fall short of the observed value by rounding only (1e-12 of it)
/// count.
///
/// # Source
/// Phipson & Smyth (2010), Permutation p-values should never be zero
///
/// ```
/// assert_eq!(alike::stats::permutation_p(0.9, &[0.1, 0.2, 0.95]), 0.5);
/// ```
pub fn permutation_p(observed: f64, null: &[f64]) -> f64 {
    let bar = observed - 1e-12 * observed.abs();
    let count = null.iter().filter(|&&draw| draw >= bar).count();
    (1.0 + count as f64) / (1.0 + null.len() as f64)
}

/// Wilson's 95 % interval for a share: the shares that a score test does not reject. Both ends stay within 0 and 1.
///
/// (p + z²/2n ∓ z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), z = 1.96.
///
/// # Source
/// Wilson (1927), Probable inference, the law of succession, and statistical inference
///
/// ```
/// let (lo, hi) = alike::stats::wilson_95(3500, 7000);
/// assert!((lo - 0.4882901874758416).abs() < 1e-12 && (hi - 0.5117098125241584).abs() < 1e-12);
/// ```
pub fn wilson_95(n_right: usize, n: usize) -> (f64, f64) {
    wilson_95_of(n_right as f64 / n as f64, n as f64)
}

/// [`wilson_95`] of a share of observations that are worth `n` independent ones.
pub fn wilson_95_of(share: f64, n: f64) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let (centre, shrink) = (share + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((centre - reach) / shrink, (centre + reach) / shrink)
}

/// How many independent observations a share over clusters is worth, at most as many as there are.
///
/// Of each cluster those that are right, rᵢ, and all, nᵢ; p = Σ rᵢ / Σ nᵢ. The variance of p between k independent clusters is
/// k / (k − 1) · Σ (rᵢ − p nᵢ)² / (Σ nᵢ)², and p (1 − p) over it the number. Where clusters cannot differ, because there is one
/// or because all or none are right, all observations count.
///
/// # Source
/// Kish (1965), Survey sampling: the design effect; Cochran (1977), Sampling techniques, eq. 6.4, for the variance of a ratio
pub fn effective_n(clusters: &[(usize, usize)]) -> f64 {
    let (right, n) = clusters.iter().fold((0, 0), |(right, all), (r, n)| (right + r, all + n));
    let (n, k) = (n as f64, clusters.len() as f64);
    let p = right as f64 / n;
    let squares: f64 = clusters.iter().map(|(r, n)| (*r as f64 - p * *n as f64).powi(2)).sum();
    let variance = k / (k - 1.0) * squares / (n * n);
    let independent = p * (1.0 - p) / variance;
    if independent.is_finite() && independent > 0.0 { independent.min(n) } else { n }
}

/// The logistic function 1 / (1 + exp(−z)), safe for any finite z.
///
/// ```
/// assert_eq!(alike::stats::sigmoid(0.0), 0.5);
/// ```
pub fn sigmoid(z: f64) -> f64 {
    let small = (-z.abs()).exp();
    if z >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

/// exp(xᵢ / T) / Σⱼ exp(xⱼ / T); of two values, [`sigmoid`] of their difference over T to the last bit. −∞ has probability
/// 0, unless there is nothing else.
///
/// ```
/// assert_eq!(alike::stats::softmax(&[1.0, 1.0, f64::NEG_INFINITY], 2.0), [0.5, 0.5, 0.0]);
/// ```
pub fn softmax(values: &[f64], temperature: f64) -> Vec<f64> {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = values.iter().map(|value| ((value - highest) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

/// The index that a uniform number in [0, 1) draws from probabilities: the first below whose cumulative sum it lies.
pub fn drawn(p: &[f64], uniform: f64) -> usize {
    let mut below = 0.0;
    let reached = |p: &f64| {
        below += p;
        uniform < below
    };
    // Rounding may leave the sum a little short of one: the last index with a probability.
    let last = || p.iter().rposition(|p| *p > 0.0).unwrap_or(0);
    p.iter().position(reached).unwrap_or_else(last)
}

/// A standard normal draw.
///
/// # Source
/// Box & Muller (1958); the second of the pair is not kept, so that each call takes two uniforms
pub fn standard_normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt(); // 1 − u is in (0, 1], so the logarithm is finite
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

fn check_finite(values: &[f64], what: &str) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(i) => Err(Error::NotFinite { what: format!("{what} (number {i})") }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::seed::Streams;

    #[test]
    fn tables_of_student_and_of_the_normal_distribution() {
        for (df, expected) in [(Some(1.0), 12.706_204_736), (Some(10.0), 2.228_138_852), (None, 1.959_963_985)] {
            let found = student_quantile(0.975, df);
            assert!((found - expected).abs() < 1e-8, "{df:?}: {found}");
            assert!((two_sided(expected, df) - 0.05).abs() < 1e-10);
        }
        for (z, p) in [(0.0, 0.5), (1.0, 0.841_344_746), (-5.0, 2.866_515_719e-7)] {
            assert!((normal_cdf(z) - p).abs() < 1e-9 * p, "{z}: {}", normal_cdf(z));
        }
    }

    #[test]
    fn ranks_average_ties_and_forgive_rounding() {
        assert_eq!(ranks(&[], 0.0).unwrap(), Vec::<f64>::new());
        assert_eq!(ranks(&[5.0; 4], 0.0).unwrap(), [2.5; 4]);
        let split = [1.0, 1.0 + 1e-15, 2.0];
        assert_eq!(ranks(&split, 0.0).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(ranks(&split, 1e-12).unwrap(), [1.5, 1.5, 3.0]);
    }

    #[test]
    fn correlations_of_small_cases_by_hand() {
        assert!((pearson(&[1.0, 2.0, 3.0], &[2.0, 1.0, 3.0]).unwrap() - 0.5).abs() < 1e-15);
        assert!((spearman(&[1.0, 2.0, 9.0], &[20.0, 1.0, 30.0]).unwrap() - 0.5).abs() < 1e-15);
        assert!(matches!(pearson(&[0.1; 3], &[1.0, 2.0, 3.0]), Err(Error::TooFew { .. })));
        assert!(matches!(pearson(&[1.0], &[1.0, 2.0]), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), Err(Error::NotFinite { .. })));
    }

    #[test]
    fn quantiles_interpolate() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.0).unwrap(), 1.0);
        assert_eq!(quantile(&values, 1.0).unwrap(), 4.0);
        assert!((quantile(&values, 0.5).unwrap() - 2.5).abs() < 1e-15);
        assert!(quantile(&values, 1.5).is_err() && quantile(&values, f64::NAN).is_err() && quantile(&[], 0.5).is_err());
    }

    #[test]
    fn p_values_are_never_zero() {
        assert_eq!(permutation_p(2.0, &[]), 1.0);
        assert_eq!(permutation_p(2.0, &[0.0; 99]), 0.01);
        assert_eq!(permutation_p(1.0, &[1.0 - 1e-15]), 1.0);
    }

    #[test]
    fn normal_draws_have_the_moments_of_a_normal() {
        let mut rng = Streams::new(1, "test").rng(0);
        let draws: Vec<f64> = (0..20_000).map(|_| standard_normal(&mut rng)).collect();
        let squares: Vec<f64> = draws.iter().map(|z| z * z).collect();
        assert!(mean(&draws).abs() < 0.03); // four standard errors of the mean
        assert!((mean(&squares) - 1.0).abs() < 0.04); // four standard errors of the variance, √2/√n each
    }
}
