//! What the estimates would be without one row, or without one group.

use std::fmt;

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use rayon::prelude::*;

use super::super::design::Design;
use super::deviance::Problem;
use super::satterthwaite::coefficient_tests;
use super::{Fit, fit_from, off_the_edge};
use crate::error::{Error, Result};

/// Something about a coefficient that stands or falls with the rows left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It changes its sign.
    Sign(String),
    /// It is significant only with them.
    NoLongerSignificant(String),
    /// It is significant only without them.
    NowSignificant(String),
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sign(term) => write!(f, "{term} changes its sign"),
            Self::NoLongerSignificant(term) => write!(f, "{term} is no longer significant"),
            Self::NowSignificant(term) => write!(f, "{term} becomes significant"),
        }
    }
}

/// Estimates without some rows.
#[derive(Debug, Clone)]
pub struct Refit {
    /// Change of each coefficient: without − with.
    pub delta: Vec<f64>,
    /// p of each coefficient, with Satterthwaite's degrees of freedom.
    pub p: Vec<f64>,
    /// Cook's distance: δᵀ cov(β)⁻¹ δ / p, with the covariance of the fit to all rows.
    pub cooks_distance: f64,
    /// Conclusions that change.
    pub turns: Vec<Turn>,
}

/// One row or group, left out.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub n_rows: usize,
    /// What the rest gives; the reason in words where the rest cannot give it, as when only these rows have a level.
    pub refit: std::result::Result<Refit, String>,
}

/// Leaves out each row.
///
/// The design stays as it is otherwise: z() is still over all rows. `alpha` is the level below which a p counts as
/// significant.
///
/// # Errors
/// as for [`coefficient_tests`], of the fit to all rows
/// # Source
/// Cook (1977), Technometrics 19; Christensen, Pearson & Johnson (1992), Technometrics 34 (mixed models)
pub fn by_row(design: &Design, fit: &Fit, alpha: f64) -> Result<Vec<Deletion>> {
    let rows = design.rows.iter().enumerate().map(|(at, name)| (name.clone(), vec![at])).collect();
    deletions(design, fit, alpha, rows)
}

/// Leaves out each group of a grouping, all its rows at once.
///
/// # Errors
/// as for [`by_row`]; [`Error::Setting`] for a grouping that the model does not have
pub fn by_group(design: &Design, fit: &Fit, group: &str, alpha: f64) -> Result<Vec<Deletion>> {
    let Some(effects) = design.random.iter().find(|effects| effects.group == group) else {
        let groups: Vec<&str> = design.random.iter().map(|effects| effects.group.as_str()).collect();
        return Err(Error::Setting {
            field: "group".to_owned(),
            found: group.to_owned(),
            expected: format!("a grouping of the model: {}", groups.join(", ")),
        });
    };
    let of = |level: usize| (0..fit.n).filter(|&at| effects.level_of[at] == level).collect();
    let groups = effects.levels.iter().enumerate().map(|(level, name)| (name.clone(), of(level))).collect();
    deletions(design, fit, alpha, groups)
}

fn deletions(design: &Design, fit: &Fit, alpha: f64, sets: Vec<(String, Vec<usize>)>) -> Result<Vec<Deletion>> {
    let whole = Whole {
        p: coefficient_tests(design, fit)?.iter().map(|test| test.p).collect(),
        precision: inverse(&fit.cov_beta, design)?,
    };
    let delete = |(name, rows): (String, Vec<usize>)| Deletion {
        name,
        n_rows: rows.len(),
        refit: refit(design, fit, &whole, &rows, alpha).map_err(|error| error.to_string()),
    };
    Ok(sets.into_par_iter().map(delete).collect())
}

/// What is compared with, once for all.
struct Whole {
    p: Vec<f64>,
    /// cov(β)⁻¹
    precision: Mat<f64>,
}

fn inverse(cov: &Mat<f64>, design: &Design) -> Result<Mat<f64>> {
    let llt = cov.llt(Side::Lower).map_err(|_| Error::NotFinite {
        what: format!("the inverse covariance of the coefficients of {}", design.formula),
    })?;
    Ok(llt.solve(&Mat::<f64>::identity(cov.nrows(), cov.nrows())))
}

fn refit(design: &Design, fit: &Fit, whole: &Whole, rows: &[usize], alpha: f64) -> Result<Refit> {
    let rest = design.without(rows)?;
    let problem = Problem::new(&rest);
    let near = off_the_edge(&problem, &problem.scaled(&fit.theta));
    let without = fit_from(&rest, &problem, fit.method, &[near, problem.identity(1.0)])?;
    let p: Vec<f64> = coefficient_tests(&rest, &without)?.iter().map(|test| test.p).collect();
    let delta: Vec<f64> = without.beta.iter().zip(&fit.beta).map(|(without, with)| without - with).collect();
    let n = delta.len();
    let distance: f64 =
        (0..n).map(|i| (0..n).map(|j| delta[i] * whole.precision[(i, j)] * delta[j]).sum::<f64>()).sum();
    let mut turns = vec![];
    for (k, name) in fit.columns.iter().enumerate() {
        if fit.beta[k] * without.beta[k] < 0.0 {
            turns.push(Turn::Sign(name.clone()));
        }
        match (whole.p[k] < alpha, p[k] < alpha) {
            (true, false) => turns.push(Turn::NoLongerSignificant(name.clone())),
            (false, true) => turns.push(Turn::NowSignificant(name.clone())),
            _ => {}
        }
    }
    Ok(Refit { delta, p, cooks_distance: distance / n as f64, turns })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{design, made};
    use super::super::{Method, fit};
    use super::*;
    use crate::linalg::product;

    /// For least squares Cook's distance has a closed form: e² h / (p σ² (1 − h)²).
    #[test]
    fn least_squares_has_the_closed_form() {
        let design = design("y ~ x + h", &made(1.0));
        let fitted = fit(&design, Method::Reml).unwrap();
        let q = design.x.qr().compute_thin_Q();
        let hat = product(q.as_ref(), q.transpose());
        let p = fitted.beta.len() as f64;
        for (i, deletion) in by_row(&design, &fitted, 0.05).unwrap().iter().enumerate() {
            let h: f64 = hat[(i, i)];
            let expected = fitted.residuals[i].powi(2) * h / (p * fitted.sigma.powi(2) * (1.0 - h).powi(2));
            let found = deletion.refit.as_ref().unwrap().cooks_distance;
            assert!((found - expected).abs() < 1e-9 * expected, "{found} {expected}");
            assert_eq!((deletion.name.as_str(), deletion.n_rows), (design.rows[i].as_str(), 1));
        }
    }

    #[test]
    fn an_outlier_turns_a_conclusion_and_is_named() {
        let mut design = design("y ~ x + (1 | g)", &made(0.3));
        let at = (0..60).max_by(|&a, &b| design.x[(a, 1)].total_cmp(&design.x[(b, 1)])).unwrap();
        design.y[at] = -20.0;
        let fitted = fit(&design, Method::Reml).unwrap();
        let deletions = by_row(&design, &fitted, 0.05).unwrap();
        let turns = &deletions[at].refit.as_ref().unwrap().turns;
        assert!(turns.contains(&Turn::NowSignificant("x".to_owned())), "{turns:?}");
        let distance = |deletion: &Deletion| deletion.refit.as_ref().unwrap().cooks_distance;
        assert!(deletions.iter().enumerate().all(|(i, other)| i == at || distance(other) < distance(&deletions[at])));
        assert_eq!(by_group(&design, &fitted, "g", 0.05).unwrap().len(), 10);
        let error = by_group(&design, &fitted, "h", 0.05).unwrap_err().to_string();
        assert!(error.contains("a grouping of the model: g"), "{error}");
    }

    #[test]
    fn what_the_rest_cannot_tell_is_said() {
        let table = made(1.0);
        let mut design = design("y ~ x + (1 | g)", &table);
        (0..60).for_each(|i| design.x[(i, 1)] = f64::from(u8::from(i == 4)));
        let fitted = fit(&design, Method::Reml).unwrap();
        let deletions = by_row(&design, &fitted, 0.05).unwrap();
        let reason = deletions[4].refit.as_ref().unwrap_err();
        assert!(reason.contains("x is zero in all rows"), "{reason}");
        assert!(deletions[5].refit.is_ok());
    }
}
