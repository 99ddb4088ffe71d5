//! Means of groups compared: two groups, pairs, and several groups.

use serde::Serialize;

use super::Estimate;
use super::tails::{chi_squared, fisher};
use crate::error::{Error, Result};
use crate::stats::{mean, ranks};

/// The difference of two means, a − b, whose variances need not be equal (Welch).
///
/// SE² = s_a²/n_a + s_b²/n_b, with ddof 1; degrees of freedom by Welch–Satterthwaite.
///
/// # Errors
/// [`Error::TooFew`] for a group of fewer than two values or when no value differs from its group's mean
/// # Source
/// Welch (1947), The generalization of Student's problem when several different population variances are involved
///
/// ```
/// use alike::ingredients::comparison::welch;
/// let tuned = welch(&[0.40, 0.36, 0.44], &[0.20, 0.30, 0.10])?;
/// assert!((tuned.value - 0.2).abs() < 1e-12 && tuned.p < 0.1);
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn welch(a: &[f64], b: &[f64]) -> Result<Estimate> {
    let of_mean = |group: &[f64]| Ok::<f64, Error>(variance(group, "values in a group")? / group.len() as f64);
    let (va, vb) = (of_mean(a)?, of_mean(b)?);
    check_spread(va + vb)?;
    let df = (va + vb).powi(2) / (va * va / (a.len() as f64 - 1.0) + vb * vb / (b.len() as f64 - 1.0));
    Ok(Estimate::from_se(mean(a) - mean(b), (va + vb).sqrt(), Some(df), a.len() + b.len()))
}

/// The mean of differences within pairs, by Student's t with one degree of freedom fewer than pairs.
///
/// # Errors
/// [`Error::TooFew`] for fewer than two pairs or differences that are all the same
pub fn paired(differences: &[f64]) -> Result<Estimate> {
    let variance = variance(differences, "pairs")?;
    check_spread(variance)?;
    let n = differences.len();
    Ok(Estimate::from_se(mean(differences), (variance / n as f64).sqrt(), Some(n as f64 - 1.0), n))
}

/// A test that several groups do not differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Omnibus {
    /// F, or H of Kruskal and Wallis.
    pub statistic: f64,
    /// Degrees of freedom: groups less one,
    pub df: f64,
    /// and those of the error; none for H.
    pub df_error: Option<f64>,
    /// Probability of a statistic as large where the groups do not differ.
    pub p: f64,
    /// Values in all groups.
    pub n: usize,
}

/// Whether the means of several groups differ, whose variances need not be equal.
///
/// # Errors
/// [`Error::TooFew`] for fewer than two groups, or a group of fewer than two values or without spread
/// # Source
/// Welch (1951), On the comparison of several mean values: an alternative approach
pub fn welch_anova(groups: &[Vec<f64>]) -> Result<Omnibus> {
    check_groups(groups)?;
    let k = groups.len() as f64;
    let mut weights = vec![];
    for group in groups {
        let variance = variance(group, "values in a group")?;
        check_spread(variance)?;
        weights.push(group.len() as f64 / variance);
    }
    let total: f64 = weights.iter().sum();
    let means: Vec<f64> = groups.iter().map(|group| mean(group)).collect();
    let centre = weights.iter().zip(&means).map(|(w, m)| w * m).sum::<f64>() / total;
    let between = weights.iter().zip(&means).map(|(w, m)| w * (m - centre).powi(2)).sum::<f64>() / (k - 1.0);
    let spare = |(w, group): (&f64, &Vec<f64>)| (1.0 - w / total).powi(2) / (group.len() as f64 - 1.0);
    let lambda: f64 = weights.iter().zip(groups).map(spare).sum();
    let statistic = between / (1.0 + 2.0 * (k - 2.0) / (k * k - 1.0) * lambda);
    let (df, df_error) = (k - 1.0, (k * k - 1.0) / (3.0 * lambda));
    let p = fisher(statistic, df, df_error);
    Ok(Omnibus { statistic, df, df_error: Some(df_error), p, n: groups.iter().map(Vec::len).sum() })
}

/// Whether values of several groups differ in rank; ties are corrected for, and H is compared with χ².
///
/// # Errors
/// [`Error::TooFew`] for fewer than two groups, an empty group or values that are all the same
/// # Source
/// Kruskal & Wallis (1952), Use of ranks in one-criterion variance analysis
pub fn kruskal_wallis(groups: &[Vec<f64>]) -> Result<Omnibus> {
    check_groups(groups)?;
    let all = groups.concat();
    let ranks = ranks(&all, 0.0)?;
    let n = all.len() as f64;
    let mut from = 0;
    let mut sum = 0.0;
    for group in groups {
        let of_group: f64 = ranks[from..from + group.len()].iter().sum();
        sum += of_group * of_group / group.len() as f64;
        from += group.len();
    }
    let mut sorted = ranks.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|tied| (tied.len() as f64).powi(3) - tied.len() as f64).sum();
    let correction = 1.0 - ties / (n.powi(3) - n);
    check_spread(correction)?;
    let statistic = (12.0 / (n * (n + 1.0)) * sum - 3.0 * (n + 1.0)) / correction;
    let df = groups.len() as f64 - 1.0;
    let p = chi_squared(statistic, df);
    Ok(Omnibus { statistic, df, df_error: None, p, n: all.len() })
}

/// With ddof 1.
fn variance(values: &[f64], what: &str) -> Result<f64> {
    if values.len() < 2 {
        return Err(Error::TooFew { what: what.to_owned(), found: values.len(), needed: 2 });
    }
    let centre = mean(values);
    Ok(values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0))
}

fn check_spread(spread: f64) -> Result<()> {
    if spread > 0.0 {
        return Ok(());
    }
    Err(Error::TooFew { what: "distinct values to compare".to_owned(), found: 1, needed: 2 })
}

fn check_groups(groups: &[Vec<f64>]) -> Result<()> {
    if groups.len() < 2 {
        return Err(Error::TooFew { what: "groups to compare".to_owned(), found: groups.len(), needed: 2 });
    }
    match groups.iter().position(Vec::is_empty) {
        Some(_) => Err(Error::TooFew { what: "values in a group".to_owned(), found: 0, needed: 1 }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn two_groups_are_the_several_group_test_of_two() {
        let (a, b) = (vec![1.0, 4.0, 2.0, 7.0, 3.0], vec![5.0, 9.0, 6.5]);
        let (two, several) = (welch(&a, &b).unwrap(), welch_anova(&[a, b]).unwrap());
        assert!((two.statistic.powi(2) - several.statistic).abs() < 1e-12);
        assert!((two.df.unwrap() - several.df_error.unwrap()).abs() < 1e-10 && (two.p - several.p).abs() < 1e-10);
    }

    #[test]
    fn ranks_that_are_apart_and_ranks_that_are_mixed() {
        // Without ties H = 12/(n(n+1)) Σ R²/n_g − 3(n+1): ranks 1 2 3 and 4 5 6 give 12/42 (36/3 + 225/3) − 21.
        let apart = kruskal_wallis(&[vec![0.1, 0.2, 0.3], vec![1.0, 2.0, 3.0]]).unwrap();
        assert!((apart.statistic - (12.0 / 42.0 * 87.0 - 21.0)).abs() < 1e-12);
        assert_eq!(kruskal_wallis(&[vec![1.0, 4.0], vec![2.0, 3.0]]).unwrap().statistic, 0.0);
    }

    #[test]
    fn pairs_are_one_sample() {
        let found = paired(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((found.value, found.df), (2.0, Some(2.0)));
        assert!((found.statistic - 2.0 * 3.0_f64.sqrt()).abs() < 1e-14);
    }

    #[test]
    fn too_little_to_compare_is_an_error() {
        assert!(matches!(welch(&[1.0], &[1.0, 2.0]), Err(Error::TooFew { found: 1, .. })));
        assert!(matches!(welch(&[1.0, 1.0], &[2.0, 2.0]), Err(Error::TooFew { .. })));
        assert!(matches!(paired(&[0.5]), Err(Error::TooFew { .. })));
        assert!(matches!(welch_anova(&[vec![1.0, 2.0]]), Err(Error::TooFew { .. })));
        assert!(matches!(kruskal_wallis(&[vec![1.0, 1.0], vec![1.0]]), Err(Error::TooFew { .. })));
        assert!(matches!(kruskal_wallis(&[vec![1.0], vec![]]), Err(Error::TooFew { found: 0, .. })));
    }
}
