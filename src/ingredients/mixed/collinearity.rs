//! How much larger the variance of a coefficient is because its column goes along with the others.

use faer::Mat;

use super::super::design::Design;
use crate::stats::mean;

/// Variance inflation of one term.
#[derive(Debug, Clone, PartialEq)]
pub struct Inflation {
    /// The term.
    pub name: String,
    /// Its columns.
    pub n_columns: usize,
    /// The variance inflation factor, generalised for several columns; 1 when the term is uncorrelated with the others.
    pub vif: f64,
    /// vif^(1 / (2 `n_columns`)): how much wider the intervals are, comparable between terms. Above √5 to √10 is called much.
    pub per_column: f64,
}

/// Variance inflation of each term.
///
/// vif = |R₁₁| |R₂₂| / |R|, where R are the correlations of all columns but the intercept, R₁₁ those of the term's columns and
/// R₂₂ those of the others; for one column 1 / (1 − R²) of its regression on the others. Without an intercept the columns are
/// not centred, as there is nothing that would take up their means. The random effects do not enter.
///
/// # Source
/// Fox & Monette (1992), Generalized Collinearity Diagnostics, JASA 87
pub fn inflation(design: &Design) -> Vec<Inflation> {
    let (n, p) = design.x.shape();
    let columns: Vec<usize> = (0..p).filter(|&k| design.term_of[k].is_some()).collect();
    let values = |k: usize| -> Vec<f64> {
        let mut values: Vec<f64> = (0..n).map(|i| design.x[(i, k)]).collect();
        let centre = if design.formula.intercept { mean(&values) } else { 0.0 };
        values.iter_mut().for_each(|x| *x -= centre);
        let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
        values.iter_mut().for_each(|x| *x /= norm);
        values
    };
    let unit: Vec<Vec<f64>> = columns.iter().map(|&k| values(k)).collect();
    let log_det = |of: &[usize]| -> f64 {
        let x = Mat::from_fn(n, of.len(), |i, k| unit[of[k]][i]);
        let r = x.qr().thin_R().to_owned();
        (0..of.len()).map(|k| 2.0 * r[(k, k)].abs().ln()).sum()
    };
    let all: Vec<usize> = (0..columns.len()).collect();
    let whole = log_det(&all);
    let of_term = |at: usize| {
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            all.iter().partition(|&&k| design.term_of[columns[k]] == Some(at));
        let vif = (log_det(&inside) + log_det(&outside) - whole).exp();
        Inflation {
            name: design.formula.terms[at].to_string(),
            n_columns: inside.len(),
            vif,
            per_column: vif.powf(0.5 / inside.len() as f64),
        }
    };
    (0..design.formula.terms.len()).map(of_term).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{design, made};
    use super::super::{Method, fit};
    use super::*;

    #[test]
    fn one_column_has_the_factor_of_its_regression_on_the_others() {
        let table = made(1.0);
        let found = inflation(&design("y ~ x + h", &table));
        assert_eq!((found[0].name.as_str(), found[1].n_columns), ("x", 5));
        let regression = fit(&design("x ~ h", &table), Method::Ml).expect("a regression");
        let x = design("x ~ h", &table).y;
        let total: f64 = x.iter().map(|value| (value - mean(&x)).powi(2)).sum();
        let left: f64 = regression.residuals.iter().map(|e| e * e).sum();
        assert!((found[0].vif - total / left).abs() < 1e-12 && found[0].per_column == found[0].vif.sqrt());
        // With two terms both inflate each other by as much.
        assert!((found[0].vif - found[1].vif).abs() < 1e-12, "{found:?}");
    }
}
