//! An effect with its interval and its test.

use serde::Serialize;

use crate::stats::{student_quantile, two_sided};

/// The share of intervals that hold what they estimate.
pub const CONFIDENCE: f64 = 0.95;

/// A p below this speaks against what it tests.
pub const SIGNIFICANT: f64 = 0.05;

/// An effect, its 95 % interval, and the test that it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The effect, in the unit that the function states.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub lo: f64,
    /// Upper end of the 95 % interval.
    pub hi: f64,
    /// Standard error; none where the interval is made on another scale.
    pub se: Option<f64>,
    /// The test statistic.
    pub statistic: f64,
    /// Its degrees of freedom; none where it is compared with a normal distribution.
    pub df: Option<f64>,
    /// Two-sided probability of a statistic as far from zero where the effect is zero.
    pub p: f64,
    /// Rows it was made from.
    pub n: usize,
}

impl Estimate {
    /// From an effect and its standard error, by Student's t where there are degrees of freedom and by the normal
    /// distribution where there are none.
    pub fn from_se(value: f64, se: f64, df: Option<f64>, n: usize) -> Self {
        let statistic = value / se;
        let reach = se * student_quantile(0.5 + CONFIDENCE / 2.0, df);
        let p = two_sided(statistic, df);
        Self { value, lo: value - reach, hi: value + reach, se: Some(se), statistic, df, p, n }
    }

    /// Whether the interval leaves zero out.
    pub fn is_away_from_zero(&self) -> bool {
        self.lo > 0.0 || self.hi < 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_as_wide_as_its_degrees_of_freedom_ask() {
        let estimate = Estimate::from_se(3.0, 1.0, Some(10.0), 12);
        assert!((estimate.lo - 0.771_861_148).abs() < 1e-8 && estimate.is_away_from_zero());
        assert!((Estimate::from_se(1.959_963_985, 1.0, None, 12).p - 0.05).abs() < 1e-9);
    }
}
