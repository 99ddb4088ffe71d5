//! Whether values look drawn from a normal distribution.

use crate::error::{Error, Result};
use crate::stats::{normal_cdf, standardised, student_quantile};

/// Shapiro and Wilk's test of normality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShapiroWilk {
    /// The squared correlation of the sorted values with what a normal sample would be, nearly: 1 for a normal shape.
    pub w: f64,
    /// P of it or less by Royston's approximation; small for values that are not normal.
    pub p: f64,
}

/// Tests values for normality, whatever their mean and spread.
///
/// W = (Σ a_i x_(i))² / Σ (x_i − x̄)², with a the normal order statistics mᵢ = Φ⁻¹((i − 3/8) / (n + 1/4)) of unit length, but the
/// outermost one (of 6 values and more, two) on either side by a polynomial in 1/√n. The logarithm of 1 − W, or for up to 11 values a
/// function of it, is nearly normal with a mean and spread that are polynomials of n or log n.
///
/// # Errors
/// [`Error::Setting`] for fewer than 3 values or more than 5,000, for which the polynomials were not made; [`Error::TooFew`] when all
/// are equal up to rounding; [`Error::NotFinite`]
/// # Source
/// Shapiro & Wilk (1965), Biometrika 52; Royston (1995), Applied Statistics 44, remark AS R94
pub fn shapiro_wilk(values: &[f64]) -> Result<ShapiroWilk> {
    let n = values.len();
    if !(3..=5_000).contains(&n) {
        let (field, expected) = ("values to test for normality".to_owned(), "3 to 5000".to_owned());
        return Err(Error::Setting { field, found: n.to_string(), expected });
    }
    // Of unit length, and sorted: W is the squared product with the weights.
    let mut sorted = standardised(values)?;
    sorted.sort_by(f64::total_cmp);
    let weights = weights(n);
    let halves = sorted.iter().rev().zip(&sorted).zip(&weights);
    let w = halves.map(|((high, low), weight)| weight * (high - low)).sum::<f64>().powi(2).min(1.0);
    Ok(ShapiroWilk { w, p: p_value(w, n) })
}

/// Weights of the highest value, the one below it and so on down to the middle; the lowest ones' are the same with a minus.
fn weights(n: usize) -> Vec<f64> {
    if n == 3 {
        return vec![0.5_f64.sqrt()];
    }
    let place = |i: usize| (i as f64 + 0.625) / (n as f64 + 0.25);
    let m: Vec<f64> = (0..n / 2).map(|i| -student_quantile(place(i), None)).collect();
    let length2 = 2.0 * m.iter().map(|m| m * m).sum::<f64>();
    let u = 1.0 / (n as f64).sqrt();
    let outermost: [[f64; 6]; 2] = [
        [0.0, 0.221_157, -0.147_981, -2.071_190, 4.434_685, -2.706_056],
        [0.0, 0.042_981, -0.293_762, -1.752_461, 5.682_633, -3.582_633],
    ];
    let n_fitted = if n > 5 { 2 } else { 1 };
    let fitted: Vec<f64> = (0..n_fitted).map(|i| m[i] / length2.sqrt() + polynomial(&outermost[i], u)).collect();
    let squares = |values: &[f64]| 2.0 * values.iter().map(|v| v * v).sum::<f64>();
    let scale = ((length2 - squares(&m[..n_fitted])) / (1.0 - squares(&fitted))).sqrt();
    let rest = m[n_fitted..].iter().map(|m| m / scale);
    fitted.iter().copied().chain(rest).collect()
}

fn p_value(w: f64, n: usize) -> f64 {
    if n == 3 {
        // Exact: W of three values lies between 3/4 and 1.
        return (6.0 / std::f64::consts::PI * (w.sqrt().asin() - 0.75_f64.sqrt().asin())).clamp(0.0, 1.0);
    }
    let n = n as f64;
    let y = (1.0 - w).ln();
    let (y, centre, log_sd) = if n <= 11.0 {
        let limit = polynomial(&[-2.273, 0.459], n);
        if y >= limit {
            return 0.0;
        }
        (
            -(limit - y).ln(),
            polynomial(&[0.544, -0.399_78, 0.025_054, -6.714e-4], n),
            polynomial(&[1.3822, -0.778_57, 0.062_767, -0.002_032_2], n),
        )
    } else {
        (
            y,
            polynomial(&[-1.5861, -0.310_82, -0.083_751, 0.003_891_5], n.ln()),
            polynomial(&[-0.4803, -0.082_676, 0.003_030_2], n.ln()),
        )
    };
    normal_cdf((centre - y) / log_sd.exp())
}

/// Σ_k c_k x^k
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shapiro and Wilk's own example, the weights of eleven men in pounds, and three values, of which all is known.
    #[test]
    fn the_published_example_and_three_values() {
        let men = [148.0, 154.0, 158.0, 160.0, 161.0, 162.0, 166.0, 170.0, 182.0, 195.0, 236.0];
        let ShapiroWilk { w, p } = shapiro_wilk(&men).unwrap();
        // W = 0.79 with their tabled weights, below the 1 % point of 0.792.
        assert!((w - 0.79).abs() < 0.002 && p < 0.01, "{w} {p}");
        // Evenly spaced: the range is √2 times the length, W = 1.
        let even = shapiro_wilk(&[5.0, 1.0, 3.0]).unwrap();
        assert!((even.w - 1.0).abs() < 1e-12 && (even.p - 1.0).abs() < 1e-6, "{even:?}");
        // Two alike and one apart: W = (1/√2)² / (2/3) = 3/4, the least there is.
        let apart = shapiro_wilk(&[0.0, 0.0, 1.0]).unwrap();
        assert!((apart.w - 0.75).abs() < 1e-12 && apart.p < 1e-6, "{apart:?}");
    }

    #[test]
    fn place_and_scale_do_not_matter_and_no_sample_is_taken_that_cannot_be_judged() {
        let values: Vec<f64> = (0..40_u32).map(|i| f64::from(i * i % 37)).collect();
        let moved: Vec<f64> = values.iter().map(|v| 7.0 - 0.01 * v).collect();
        let (a, b) = (shapiro_wilk(&values).unwrap(), shapiro_wilk(&moved).unwrap());
        assert!((a.w - b.w).abs() < 1e-12 && (a.p - b.p).abs() < 1e-9, "{a:?} {b:?}");
        assert!(shapiro_wilk(&values[..2]).unwrap_err().to_string().contains("3 to 5000"));
        assert!(shapiro_wilk(&vec![1.0; 5_001]).is_err() && shapiro_wilk(&[0.1; 10]).is_err());
        assert!(matches!(shapiro_wilk(&[1.0, f64::NAN, 2.0]), Err(Error::NotFinite { .. })));
    }
}
