//! A mixed model with everything that a reader of its numbers needs to judge them.

use serde::Serialize;

use super::mixed::collinearity::inflation;
use super::mixed::explained::explained;
use super::mixed::influence::{Deletion, by_group, by_row};
use super::mixed::profile::profile;
use super::mixed::residuals::residual_checks;
use super::mixed::satterthwaite::coefficient_tests;
use super::multiplicity::Adjustment;
use super::question::left_out;
use super::{Design, Estimate, Fit, Formula, Method, Table, mixed};
use crate::error::Result;
use crate::ingredients::estimate::{CONFIDENCE, SIGNIFICANT};

/// A fitted model, told.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The model.
    pub formula: String,
    /// `REML` or `ML`
    pub method: &'static str,
    /// Rows used, and those left out with the columns that are empty there.
    pub n: usize,
    /// See `n`.
    pub left_out: Vec<(String, String)>,
    /// Fixed effects.
    pub coefficients: Vec<Coefficient>,
    /// Standard deviations and correlations of the random effects, and of the residuals; with profile intervals.
    pub variances: Vec<Variance>,
    /// Groups of each random term, with their effects.
    pub groups: Vec<Group>,
    /// Natural logarithm of the (restricted) likelihood.
    pub log_likelihood: f64,
    /// −2 log likelihood + 2 k
    pub aic: f64,
    /// −2 log likelihood + k log n
    pub bic: f64,
    /// Nakagawa's R² of the fixed effects,
    pub r2_marginal: f64,
    /// and of fixed and random effects.
    pub r2_conditional: f64,
    /// What lies on the edge of what is possible, in words.
    pub singular: Vec<String>,
    /// P that normal residuals are as skewed or heavy (Jarque & Bera),
    pub residuals_normal_p: f64,
    /// that the shape of normal residuals is as far off (Shapiro & Wilk; none for more than 5,000 rows),
    pub residuals_shapiro_wilk_p: Option<f64>,
    /// and that residuals of one width are as uneven (Breusch & Pagan).
    pub residuals_even_p: f64,
    /// The shape of the groups' effects likewise, by name; none where it cannot be told.
    pub effects_shapiro_wilk_p: Vec<(String, Option<f64>)>,
    /// Rows and groups without which a conclusion changes, and those that move the coefficients most (Cook's distance).
    pub influence: Vec<Influence>,
}

/// A fixed effect.
#[derive(Debug, Clone, Serialize)]
pub struct Coefficient {
    /// Its name.
    pub term: String,
    /// β with Satterthwaite's degrees of freedom.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// p adjusted for all coefficients but the intercept (Holm); none for the intercept.
    pub p_holm: Option<f64>,
    /// Ends of the profile-likelihood interval (of a fit by ML).
    pub profile: Option<[f64; 2]>,
    /// Variance inflation factor; none for the intercept.
    pub vif: Option<f64>,
}

/// A standard deviation or correlation.
#[derive(Debug, Clone, Serialize)]
pub struct Variance {
    /// Such as `sd((Intercept) | family)`.
    pub name: String,
    /// Its estimate.
    pub value: f64,
    /// Ends of its profile-likelihood interval (of a fit by ML).
    pub profile: Option<[f64; 2]>,
}

/// The effects of the groups of one random term.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// Of which grouping,
    pub grouping: String,
    /// which group,
    pub level: String,
    /// and its effects, by name.
    pub effects: Vec<(String, f64)>,
}

/// What leaving something out does.
#[derive(Debug, Clone, Serialize)]
pub struct Influence {
    /// The row, or the group.
    pub without: String,
    /// How many rows that is.
    pub n_rows: usize,
    /// Cook's distance; none where the rest gives no fit.
    pub cooks_distance: Option<f64>,
    /// Conclusions that change, in words; or why the rest gives none.
    pub changes: Vec<String>,
}

/// Rows and groups told beside those that change a conclusion.
const MOST_INFLUENTIAL: usize = 3;

/// Fits a formula to a table and tells everything.
///
/// # Errors
/// those of the formula, the design and the fit
pub fn summary(formula: &Formula, table: &Table, method: Method) -> Result<Summary> {
    let design = Design::new(formula, table)?;
    let fit = mixed::fit(&design, method)?;
    let tests = coefficient_tests(&design, &fit)?;
    let (explained, checks, inflation) = (explained(&design, &fit), residual_checks(&design, &fit), inflation(&design));
    let profiles = profile(&design, CONFIDENCE)?;
    let profile_of = |name: &str| profiles.iter().find(|interval| interval.name == name).map(|i| [i.low, i.high]);
    let terms: Vec<usize> = (0..tests.len()).filter(|&k| design.term_of[k].is_some()).collect();
    let p: Vec<f64> = terms.iter().map(|&k| tests[k].p).collect();
    let adjusted = Adjustment::Holm.adjusted(&p);
    let coefficient = |(k, test): (usize, &mixed::satterthwaite::CoefficientTest)| Coefficient {
        term: test.name.clone(),
        estimate: Estimate::from_se(test.estimate, test.standard_error, Some(test.df), fit.n),
        p_holm: terms.iter().position(|&term| term == k).map(|at| adjusted[at]),
        profile: profile_of(&test.name),
        vif: design.term_of[k].map(|term| inflation[term].vif),
    };
    let variances = fit.parameters().split_off(fit.beta.len());
    Ok(Summary {
        formula: formula.to_string(),
        method: match method {
            Method::Ml => "ML",
            Method::Reml => "REML",
        },
        n: fit.n,
        left_out: left_out(&design),
        coefficients: tests.iter().enumerate().map(coefficient).collect(),
        variances: variances
            .into_iter()
            .map(|(name, value)| Variance { profile: profile_of(&name), name, value })
            .collect(),
        groups: groups(&fit),
        log_likelihood: fit.log_likelihood,
        aic: fit.aic(),
        bic: fit.bic(),
        r2_marginal: explained.marginal,
        r2_conditional: explained.conditional,
        singular: fit.singular.clone(),
        residuals_normal_p: checks.jarque_bera_p,
        residuals_shapiro_wilk_p: checks.shapiro_wilk.map(|test| test.p),
        residuals_even_p: checks.breusch_pagan_p,
        effects_shapiro_wilk_p: checks.effects.into_iter().map(|(name, test)| (name, test.map(|t| t.p))).collect(),
        influence: influence(&design, &fit)?,
    })
}

fn groups(fit: &Fit) -> Vec<Group> {
    let of_component = |component: &mixed::Component| {
        let effects = |g: usize| {
            let named = component.columns.iter().enumerate();
            named.map(|(k, column)| (column.clone(), component.effects[(g, k)])).collect()
        };
        let level = |(g, level): (usize, &String)| Group {
            grouping: component.group.clone(),
            level: level.clone(),
            effects: effects(g),
        };
        component.levels.iter().enumerate().map(level).collect::<Vec<_>>()
    };
    fit.components.iter().flat_map(of_component).collect()
}

/// Deletions that matter, the most influential first; groups before rows.
fn influence(design: &Design, fit: &Fit) -> Result<Vec<Influence>> {
    let mut told = vec![];
    let mut groupings: Vec<&str> = design.random.iter().map(|effects| effects.group.as_str()).collect();
    groupings.dedup();
    for group in groupings {
        told.extend(those_that_matter(by_group(design, fit, group, SIGNIFICANT)?, &format!("{group} ")));
    }
    told.extend(those_that_matter(by_row(design, fit, SIGNIFICANT)?, ""));
    Ok(told)
}

fn those_that_matter(deletions: Vec<Deletion>, prefix: &str) -> Vec<Influence> {
    let mut all: Vec<Influence> = deletions
        .into_iter()
        .map(|deletion| {
            let (cooks_distance, changes) = match deletion.refit {
                Ok(refit) => (Some(refit.cooks_distance), refit.turns.iter().map(ToString::to_string).collect()),
                Err(reason) => (None, vec![reason]),
            };
            Influence {
                without: format!("{prefix}{}", deletion.name),
                n_rows: deletion.n_rows,
                cooks_distance,
                changes,
            }
        })
        .collect();
    let distance = |influence: &Influence| influence.cooks_distance.unwrap_or(f64::INFINITY);
    all.sort_by(|a, b| distance(b).total_cmp(&distance(a)));
    all.into_iter()
        .enumerate()
        .filter(|(at, influence)| *at < MOST_INFLUENTIAL || !influence.changes.is_empty())
        .map(|(_, influence)| influence)
        .collect()
}
