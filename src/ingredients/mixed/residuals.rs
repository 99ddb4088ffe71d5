//! Whether the residuals look as the model says: normal, and as wide everywhere.

use faer::Mat;

use super::super::design::Design;
use super::super::normality::{ShapiroWilk, shapiro_wilk};
use super::super::tails::chi_squared;
use super::Fit;
use crate::linalg::product;
use crate::stats::{mean, student_quantile};

/// Tests of the residuals y − Xβ − Zb. With estimated random effects they are approximate.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualChecks {
    /// Third standardised moment; 0 for a normal distribution.
    pub skewness: f64,
    /// Fourth standardised moment less 3; 0 for a normal distribution.
    pub excess_kurtosis: f64,
    /// Jarque and Bera's n (skewness² / 6 + excess² / 24).
    pub jarque_bera: f64,
    /// P of it or more by chi squared with 2 degrees of freedom; small for residuals that are not normal. The distribution is
    /// that of many rows.
    pub jarque_bera_p: f64,
    /// The test that sees most departures from the normal in few rows; none for more than 5,000.
    pub shapiro_wilk: Option<ShapiroWilk>,
    /// The same of the groups' effects, by name such as `(Intercept) | family`; none for fewer than 3 groups or effects of zero. Effects
    /// are estimates that are drawn towards zero and towards the normal: a small p tells that they are not normal, a large one little.
    pub effects: Vec<(String, Option<ShapiroWilk>)>,
    /// Breusch and Pagan's n R² of the squared residuals on the fixed effects, with Koenker's studentisation.
    pub breusch_pagan: f64,
    /// P of it or more; small when the residuals' width depends on the fixed effects. NaN without columns but the intercept.
    pub breusch_pagan_p: f64,
    /// For each row, sorted: the normal quantile of its place and its residual divided by σ.
    pub quantiles: Vec<(f64, f64)>,
}

/// Checks the residuals of a fit.
///
/// Quantiles are at (i − a) / (n + 1 − 2a), a = 3/8 up to 10 rows and 1/2 beyond, as in R.
///
/// # Source
/// Jarque & Bera (1987), International Statistical Review 55; Royston (1995), Applied Statistics 44; Verbeke & Lesaffre (1996), Journal of
/// the American Statistical Association 91 (what estimated effects tell); Breusch & Pagan (1979), Econometrica 47; Koenker (1981), Journal of
/// Econometrics 17
pub fn residual_checks(design: &Design, fit: &Fit) -> ResidualChecks {
    let e = &fit.residuals;
    let n = e.len() as f64;
    let centre = mean(e);
    let moment = |power| e.iter().map(|e| (e - centre).powi(power)).sum::<f64>() / n;
    let skewness = moment(3) / moment(2).powf(1.5);
    let excess_kurtosis = moment(4) / moment(2).powi(2) - 3.0;
    let jarque_bera = n * (skewness.powi(2) / 6.0 + excess_kurtosis.powi(2) / 24.0);

    let squares: Vec<f64> = e.iter().map(|e| e * e).collect();
    let (centre, p) = (mean(&squares), design.x.ncols());
    let q = design.x.qr().compute_thin_Q();
    let target = Mat::from_fn(e.len(), 1, |i, _| squares[i]);
    let projected = product(q.as_ref(), product(q.transpose(), target.as_ref()).as_ref());
    let total: f64 = squares.iter().map(|square| (square - centre).powi(2)).sum();
    let left: f64 = squares.iter().enumerate().map(|(i, square)| (square - projected[(i, 0)]).powi(2)).sum();
    let breusch_pagan = n * (1.0 - left / total);

    let mut sorted: Vec<f64> = e.iter().map(|e| e / fit.sigma).collect();
    sorted.sort_by(f64::total_cmp);
    let a = if e.len() <= 10 { 0.375 } else { 0.5 };
    let place = |i: usize| (i as f64 + 1.0 - a) / (n + 1.0 - 2.0 * a);
    let effects = fit.components.iter().flat_map(|component| {
        let of_column = |(k, column): (usize, &String)| {
            let effects: Vec<f64> = (0..component.levels.len()).map(|g| component.effects[(g, k)]).collect();
            (format!("{column} | {}", component.group), shapiro_wilk(&effects).ok())
        };
        component.columns.iter().enumerate().map(of_column)
    });
    ResidualChecks {
        shapiro_wilk: shapiro_wilk(e).ok(),
        effects: effects.collect(),
        skewness,
        excess_kurtosis,
        jarque_bera,
        jarque_bera_p: chi_squared(jarque_bera, 2.0),
        breusch_pagan,
        breusch_pagan_p: if p > 1 { chi_squared(breusch_pagan, p as f64 - 1.0) } else { f64::NAN },
        quantiles: sorted.iter().enumerate().map(|(i, e)| (student_quantile(place(i), None), *e)).collect(),
    }
}
