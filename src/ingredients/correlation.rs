//! Correlations with intervals, given other quantities, and compared with each other.

use faer::Mat;
use serde::Serialize;

use super::Estimate;
use super::estimate::CONFIDENCE;
use crate::error::{Error, Result};
use crate::linalg::residuals;
use crate::stats::{self, student_quantile, two_sided};

/// Pearson correlation; t with n − 2 degrees of freedom, interval by Fisher's z.
///
/// # Errors
/// [`Error::TooFew`] for fewer than four rows or a side that does not vary, [`Error::ShapeMismatch`], [`Error::NotFinite`]
/// # Source
/// Fisher (1921), On the "probable error" of a coefficient of correlation deduced from a small sample
pub fn pearson(x: &[f64], y: &[f64]) -> Result<Estimate> {
    check_rows(x.len(), 4)?;
    let r = stats::pearson(x, y)?;
    Ok(from_r(r, x.len(), 0, 1.0))
}

/// Spearman correlation; t with n − 2 degrees of freedom, interval on Fisher's scale with the variance of Bonett & Wright.
///
/// # Errors
/// as for [`pearson`]
/// # Source
/// Bonett & Wright (2000), Sample size requirements for estimating Pearson, Kendall and Spearman correlations
pub fn spearman(x: &[f64], y: &[f64]) -> Result<Estimate> {
    check_rows(x.len(), 4)?;
    let r = stats::spearman(x, y)?;
    Ok(from_r(r, x.len(), 0, 1.0 + r * r / 2.0))
}

/// Pearson correlation of what is left of x and y after a least-squares fit of some other quantities to both.
///
/// Each quantity costs a degree of freedom, in the test and in the interval.
///
/// # Errors
/// as for [`pearson`]; [`Error::TooFew`] also when the others leave fewer than four rows' worth
pub fn partial(x: &[f64], y: &[f64], given: &[&[f64]]) -> Result<Estimate> {
    check_rows(x.len(), 4 + given.len())?;
    for other in given {
        if other.len() != x.len() {
            return Err(Error::ShapeMismatch {
                what: "a quantity to hold fixed".to_owned(),
                found: format!("{} values", other.len()),
                expected: x.len().to_string(),
            });
        }
    }
    let design = Mat::from_fn(x.len(), given.len() + 1, |i, k| if k == 0 { 1.0 } else { given[k - 1][i] });
    let rest = |values: &[f64]| residuals(design.as_ref(), values);
    let r = stats::pearson(&rest(x), &rest(y))?;
    Ok(from_r(r, x.len(), given.len(), 1.0))
}

/// `variance` is that of Fisher's z times the degrees of freedom less one.
fn from_r(r: f64, n: usize, n_given: usize, variance: f64) -> Estimate {
    let r = r.clamp(-1.0, 1.0);
    let df = (n - 2 - n_given) as f64;
    let statistic = r * (df / (1.0 - r * r)).sqrt();
    let reach = student_quantile(0.5 + CONFIDENCE / 2.0, None) * (variance / (df - 1.0)).sqrt();
    let [lo, hi] = [-reach, reach].map(|by| (r.atanh() + by).tanh());
    Estimate { value: r, lo, hi, se: None, statistic, df: Some(df), p: two_sided(statistic, Some(df)), n }
}

/// A difference between two correlations that share a side and their rows: r(y, a) − r(y, b).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DependentDifference {
    /// The correlation of y with a,
    pub r_a: f64,
    /// with b,
    pub r_b: f64,
    /// and of a with b.
    pub r_ab: f64,
    /// The difference with Zou's interval and Williams' test.
    pub difference: Estimate,
    /// Steiger's z, with the correlations in its variance pooled,
    pub steiger_z: f64,
    /// and its two-sided probability.
    pub steiger_p: f64,
}

/// Compares the correlations of y with a and of y with b.
///
/// # Errors
/// as for [`pearson`]; [`Error::TooFew`] also when a and b are the same quantity
/// # Source
/// Williams (1959), The comparison of regression variables (T2 in Steiger's paper); Steiger (1980), Tests for comparing
/// elements of a correlation matrix, eq. 14; Zou (2007), Toward using confidence intervals to compare correlations
pub fn dependent_difference(y: &[f64], a: &[f64], b: &[f64]) -> Result<DependentDifference> {
    let (with_a, with_b, between) = (pearson(y, a)?, pearson(y, b)?, pearson(a, b)?);
    let (r_a, r_b, r_ab, n) = (with_a.value, with_b.value, between.value, y.len() as f64);
    if 1.0 - r_ab.abs() < 1e-12 {
        return Err(Error::TooFew { what: "different quantities to compare".to_owned(), found: 1, needed: 2 });
    }
    // Williams' T2, n − 3 degrees of freedom.
    let determinant = 1.0 - r_a * r_a - r_b * r_b - r_ab * r_ab + 2.0 * r_a * r_b * r_ab;
    let centre = (r_a + r_b) / 2.0;
    let spread = 2.0 * (n - 1.0) / (n - 3.0) * determinant + centre * centre * (1.0 - r_ab).powi(3);
    let statistic = (r_a - r_b) * ((n - 1.0) * (1.0 + r_ab) / spread).sqrt();
    let df = n - 3.0;
    // Steiger's z on Fisher's scale.
    let pooled = covariance(centre, centre, r_ab) / (1.0 - centre * centre).powi(2);
    let steiger_z = (r_a.atanh() - r_b.atanh()) * ((n - 3.0) / (2.0 - 2.0 * pooled)).sqrt();
    // Zou: how far each end lies from its own estimate, the correlation between the two taken off.
    let correlation = covariance(r_a, r_b, r_ab) / ((1.0 - r_a * r_a) * (1.0 - r_b * r_b));
    let reach = |a: f64, b: f64| (a * a + b * b - 2.0 * correlation * a * b).max(0.0).sqrt();
    let difference = Estimate {
        value: r_a - r_b,
        lo: r_a - r_b - reach(r_a - with_a.lo, with_b.hi - r_b),
        hi: r_a - r_b + reach(with_a.hi - r_a, r_b - with_b.lo),
        se: None,
        statistic,
        df: Some(df),
        p: two_sided(statistic, Some(df)),
        n: y.len(),
    };
    Ok(DependentDifference { r_a, r_b, r_ab, difference, steiger_z, steiger_p: two_sided(steiger_z, None) })
}

/// Asymptotic covariance, times n, of the correlations of y with a and of y with b (Pearson & Filon 1898).
fn covariance(r_a: f64, r_b: f64, r_ab: f64) -> f64 {
    r_ab * (1.0 - r_a * r_a - r_b * r_b) - 0.5 * r_a * r_b * (1.0 - r_a * r_a - r_b * r_b - r_ab * r_ab)
}

fn check_rows(found: usize, needed: usize) -> Result<()> {
    if found < needed {
        return Err(Error::TooFew { what: "rows to correlate".to_owned(), found, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const X: [f64; 7] = [1.0, 2.5, 2.0, 4.0, 5.5, 5.0, 7.0];
    const Y: [f64; 7] = [0.2, 0.1, 0.5, 0.4, 0.9, 0.5, 0.8];
    const Z: [f64; 7] = [3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0];

    #[test]
    fn a_partial_correlation_is_what_the_three_plain_ones_make_it() {
        let r = |a: &[f64], b: &[f64]| pearson(a, b).unwrap().value;
        let (xy, xz, yz) = (r(&X, &Y), r(&X, &Z), r(&Y, &Z));
        let expected = (xy - xz * yz) / ((1.0 - xz * xz) * (1.0 - yz * yz)).sqrt();
        let found = partial(&X, &Y, &[&Z]).unwrap();
        assert!((found.value - expected).abs() < 1e-12 && found.df == Some(4.0));
        assert_eq!(partial(&X, &Y, &[]).unwrap(), pearson(&X, &Y).unwrap());
    }

    #[test]
    fn differences_change_sign_with_their_sides() {
        let (one, other) = (dependent_difference(&Y, &X, &Z).unwrap(), dependent_difference(&Y, &Z, &X).unwrap());
        assert!((one.difference.value + other.difference.value).abs() < 1e-15);
        assert!((one.difference.lo + other.difference.hi).abs() < 1e-12);
        assert!((one.difference.p - other.difference.p).abs() < 1e-12 && one.steiger_z == -other.steiger_z);
        assert!(one.difference.lo < one.difference.value && one.difference.value < one.difference.hi);
    }

    #[test]
    fn too_little_to_correlate_is_an_error() {
        assert!(matches!(pearson(&X[..3], &Y[..3]), Err(Error::TooFew { found: 3, needed: 4, .. })));
        assert!(matches!(pearson(&X, &[1.0; 7]), Err(Error::TooFew { .. })));
        assert!(matches!(dependent_difference(&Y, &X, &X), Err(Error::TooFew { .. })));
        assert!(matches!(partial(&X[..4], &Y[..4], &[&Z[..4]]), Err(Error::TooFew { needed: 5, .. })));
        assert!(pearson(&X, &Y[..6]).is_err());
    }
}
