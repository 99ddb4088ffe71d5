//! Tail probabilities of the test distributions, exact far out: p-values are no differences from one.

use statrs::distribution::{ChiSquared, ContinuousCDF, FisherSnedecor};

/// P(F ≥ f) of Fisher's F.
pub(super) fn fisher(f: f64, df1: f64, df2: f64) -> f64 {
    if f <= 0.0 { 1.0 } else { FisherSnedecor::new(df1, df2).map_or(f64::NAN, |fisher| fisher.sf(f)) }
}

/// P(X ≥ x) of chi squared.
pub(super) fn chi_squared(x: f64, df: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { ChiSquared::new(df).map_or(f64::NAN, |chi_squared| chi_squared.sf(x)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tails_are_those_of_the_tables() {
        // scipy 1.18: f.sf, chi2.sf
        for (found, expected) in
            [(fisher(3.2, 2.0, 17.5), 0.065_403_545_622_973_94), (chi_squared(3.841_458_820_694_124, 1.0), 0.05)]
        {
            assert!((found - expected).abs() < 1e-9 * expected, "{found} {expected}");
        }
        assert_eq!((chi_squared(0.0, 2.0), fisher(0.0, 1.0, 2.0)), (1.0, 1.0));
    }
}
