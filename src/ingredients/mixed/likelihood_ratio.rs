//! Whether a model is better than a simpler one that it contains.

use faer::Mat;

use super::super::design::{Design, RandomEffects, is_combination};
use super::super::tails::chi_squared;
use super::{Fit, Method};
use crate::error::{Error, Result};
use crate::linalg::row;

/// Two nested models compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LikelihoodRatio {
    /// Difference of the deviances.
    pub chi2: f64,
    /// Parameters that the larger model has more.
    pub df: f64,
    /// P(χ² or larger). Too large where variances are tested, as they cannot fall below zero.
    pub p: f64,
    /// When the models differ by one variance alone: p from equal parts of χ² with 0 and 1 degrees of freedom.
    pub p_variance: Option<f64>,
}

/// Compares a model with a simpler one.
///
/// χ² = deviance(small) − deviance(large), asymptotically chi squared when the simpler model holds.
///
/// # Errors
/// [`Error::Setting`] when the rows or responses differ, when the simpler model is not contained in the larger one, when the
/// methods differ, or when fits by REML have other fixed effects; also when a fit did not converge
/// # Source
/// Wilks (1938); Self & Liang (1987), JASA 82 (variances); Stram & Lee (1994), Biometrics 50
pub fn likelihood_ratio(small: (&Design, &Fit), large: (&Design, &Fit)) -> Result<LikelihoodRatio> {
    check_nested(small, large)?;
    let ((small_design, small), (large_design, large)) = (small, large);
    let chi2 = small.deviance() - large.deviance();
    if chi2 < -LOWER {
        return Err(Error::Setting {
            field: large_design.formula.to_string(),
            found: format!("a deviance {:.2e} above that of the simpler model", -chi2),
            expected: "one at most as high: the search ended in a local minimum".to_owned(),
        });
    }
    let chi2 = chi2.max(0.0);
    let df = (large.n_parameters - small.n_parameters) as f64;
    let p = chi_squared(chi2, df);
    let one_variance = large.n_parameters == small.n_parameters + 1 && small_design.x.ncols() == large_design.x.ncols();
    let p_variance = one_variance.then_some(if chi2 == 0.0 { 1.0 } else { 0.5 * p });
    Ok(LikelihoodRatio { chi2, df, p, p_variance })
}

/// What searches may leave of a difference of deviances that is zero.
const LOWER: f64 = 1e-6;

fn check_nested(small: (&Design, &Fit), large: (&Design, &Fit)) -> Result<()> {
    let ((small, small_fit), (large, large_fit)) = (small, large);
    let wrong = |found: &str, expected: &str| {
        Err(Error::Setting {
            field: format!("{} in {}", small.formula, large.formula),
            found: found.to_owned(),
            expected: expected.to_owned(),
        })
    };
    if small.rows != large.rows || small.y != large.y {
        return wrong("on other rows or another response", "two models of the same data");
    }
    if !(small_fit.converged && large_fit.converged) {
        return wrong("compared though a search did not converge", "two fits at their minima");
    }
    let contained = |x: &Mat<f64>, of: &Mat<f64>| {
        (0..x.ncols()).map(|k| is_combination(&row(x.transpose(), k), of.as_ref())).collect::<Result<Vec<_>>>()
    };
    let all_contained = |x: &Mat<f64>, of: &Mat<f64>| contained(x, of).map(|each| each.iter().all(|yes| *yes));
    if !all_contained(&small.x, &large.x)? {
        return wrong("with fixed effects that the larger model lacks", "a model that the larger one contains");
    }
    if small_fit.method != large_fit.method {
        return wrong("fitted by another method", "two fits by the same method");
    }
    let same_fixed = small.x.ncols() == large.x.ncols();
    if small_fit.method == Method::Reml && !same_fixed {
        return wrong("fitted by REML with other fixed effects", "fits by maximum likelihood");
    }
    let within = |effects: &RandomEffects| {
        large.random.iter().any(|other| {
            other.group == effects.group && effects.columns.iter().all(|column| other.columns.contains(column))
        })
    };
    if !small.random.iter().all(within) {
        return wrong("with random effects that the larger model lacks", "a model that the larger one contains");
    }
    if large_fit.n_parameters <= small_fit.n_parameters {
        return wrong("as large", "a model with fewer parameters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fit;
    use super::super::tests::{design, made};
    use super::*;

    fn compared(small: &str, large: &str, method: Method) -> Result<LikelihoodRatio> {
        let table = made(1.0);
        let (small, large) = (design(small, &table), design(large, &table));
        let (a, b) = (fit(&small, method).unwrap(), fit(&large, method).unwrap());
        likelihood_ratio((&small, &a), (&large, &b))
    }

    #[test]
    fn nested_models_are_compared_and_others_refused() {
        let test = compared("y ~ x", "y ~ x + h", Method::Ml).unwrap();
        assert_eq!((test.df, test.p_variance), (5.0, None));
        let variance = compared("y ~ x", "y ~ x + (1 | h)", Method::Reml).unwrap();
        assert_eq!((variance.df, variance.p_variance), (1.0, Some(0.5 * variance.p)));
        assert!(variance.chi2 > 0.0 && variance.p < 0.5);
        let slope = compared("y ~ x + (1 | g)", "y ~ x + (1 + x | g)", Method::Ml).unwrap();
        assert_eq!((slope.df, slope.p_variance), (2.0, None));
        for (small, large, method, said) in [
            ("y ~ h", "y ~ x + (1 | g)", Method::Ml, "fixed effects that the larger model lacks"),
            ("y ~ 1", "y ~ x", Method::Reml, "by REML"),
            ("y ~ 1 + (1 | h)", "y ~ x + (1 | g)", Method::Ml, "random effects that the larger model lacks"),
            ("y ~ x", "y ~ x", Method::Ml, "as large"),
            ("x ~ 1", "y ~ h", Method::Ml, "another response"),
        ] {
            let error = compared(small, large, method).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
