//! Tail probabilities of the test distributions, exact far out: p-values are no differences from one.

use statrs::function::beta::beta_reg;
use statrs::function::erf::erfc;
use statrs::function::gamma::gamma_ur;

use super::root::root;

/// P(|T| ≥ |t|) of Student's t; the normal distribution for infinite `df`.
pub(super) fn student(t: f64, df: f64) -> f64 {
    if df.is_infinite() { erfc(t.abs() / std::f64::consts::SQRT_2) } else { beta_reg(df / 2.0, 0.5, df / (df + t * t)) }
}

/// P(F ≥ f) of Fisher's F.
pub(super) fn fisher(f: f64, df1: f64, df2: f64) -> f64 {
    if f <= 0.0 { 1.0 } else { beta_reg(df2 / 2.0, df1 / 2.0, df2 / (df2 + df1 * f)) }
}

/// P(X ≥ x) of chi squared.
pub(super) fn chi_squared(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma_ur(df / 2.0, x / 2.0) }
}

/// The t that |T| exceeds with probability `p` in (0, 1]; the normal distribution's for infinite `df`.
pub(super) fn student_quantile(p: f64, df: f64) -> f64 {
    let mut high = 1.0;
    while student(high, df) > p {
        high *= 2.0;
    }
    root(|t| student(t, df).ln() - p.ln(), 0.0, high, 1e-12 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_undo_the_tails() {
        for df in [0.8, 3.0, 41.7, f64::INFINITY] {
            for p in [1.0, 0.5, 0.05, 1e-8] {
                let t = student_quantile(p, df);
                assert!((student(t, df) - p).abs() < 1e-10 * p, "{p} {df} {t}");
            }
        }
        assert!((student_quantile(0.05, f64::INFINITY) - 1.959_963_984_540_054).abs() < 1e-11);
    }

    #[test]
    fn the_tails_are_those_of_the_tables() {
        // scipy 1.17: 2*t.sf, f.sf, chi2.sf
        for (found, expected) in [
            (student(2.0, 5.0), 0.101_939_478_829_858_35),
            (student(-12.0, 60.3), 1.273_609_472_808_147_8e-17),
            (student(1.959_963_984_540_054, f64::INFINITY), 0.05),
            (fisher(3.2, 2.0, 17.5), 0.065_403_545_622_973_94),
            (chi_squared(3.841_458_820_694_124, 1.0), 0.05),
        ] {
            assert!((found - expected).abs() < 1e-9 * expected, "{found} {expected}");
        }
        assert_eq!((student(0.0, 3.0), chi_squared(0.0, 2.0), fisher(0.0, 1.0, 2.0)), (1.0, 1.0, 1.0));
    }
}
