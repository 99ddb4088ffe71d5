//! A mixed model on a terminal.

use std::fmt::Write;

use alike::ingredients::Summary;

use super::left_out;
use crate::cli::tables::{p_value, table};

/// Coefficients as a table, and everything else in lines below it.
pub(super) fn text(summary: &Summary) -> String {
    let header = ["coefficient", "estimate", "SE", "95 % interval", "df", "t", "p", "p (Holm)", "VIF"];
    let coefficients = summary.coefficients.iter().map(|c| {
        let e = &c.estimate;
        vec![
            c.term.clone(),
            format!("{:+.4}", e.value),
            e.se.map_or_else(String::new, |se| format!("{se:.4}")),
            format!("{:+.3} to {:+.3}", e.lo, e.hi),
            e.df.map_or_else(String::new, |df| format!("{df:.1}")),
            format!("{:+.2}", e.statistic),
            p_value(e.p),
            c.p_holm.map_or_else(|| "–".to_owned(), p_value),
            c.vif.map_or_else(|| "–".to_owned(), |vif| format!("{vif:.1}")),
        ]
    });
    let mut text = format!(
        "{} ({}, {} models)\n\n{}\n",
        summary.formula,
        summary.method,
        summary.n,
        table(&header, coefficients, 1)
    );
    let mut line = |words: String| writeln!(text, "{words}").expect("a String takes everything");
    line(String::new());
    let variances: Vec<String> = summary
        .variances
        .iter()
        .map(|v| {
            let interval =
                v.profile.map(|[lo, hi]| format!(" ({lo:.3} to {hi:.3} by the profile of ML)")).unwrap_or_default();
            format!("{} {:.4}{interval}", v.name, v.value)
        })
        .collect();
    line(variances.join(", "));
    line(format!(
        "R² {:.3} by the fixed effects, {:.3} with the random ones (Nakagawa); log likelihood {:.3}, AIC {:.1}, BIC {:.1}",
        summary.r2_marginal, summary.r2_conditional, summary.log_likelihood, summary.aic, summary.bic
    ));
    line(format!(
        "residuals: normal p = {} (Shapiro–Wilk), {} (Jarque–Bera), of one width p = {} (Breusch–Pagan)",
        summary.residuals_shapiro_wilk_p.map_or_else(|| "–".to_owned(), p_value),
        p_value(summary.residuals_normal_p),
        p_value(summary.residuals_even_p)
    ));
    for (name, p) in summary.effects_shapiro_wilk_p.iter().filter_map(|(name, p)| Some((name, (*p)?))) {
        line(format!("effects {name}: normal p = {} (Shapiro–Wilk)", p_value(p)));
    }
    summary.singular.iter().for_each(|words| line(format!("singular: {words}")));
    for influence in &summary.influence {
        let distance = influence.cooks_distance.map(|d| format!("Cook's distance {d:.2}; ")).unwrap_or_default();
        let changes = match influence.changes.is_empty() {
            true => "no conclusion changes".to_owned(),
            false => influence.changes.join(", "),
        };
        line(format!("without {} ({} rows): {distance}{changes}", influence.without, influence.n_rows));
    }
    if !summary.left_out.is_empty() {
        line(format!("left out: {}", left_out(&summary.left_out)));
    }
    text
}
