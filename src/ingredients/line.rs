//! A straight line through points, with the band in which the true line is believed to lie.

use super::estimate::CONFIDENCE;
use crate::error::{Error, Result};
use crate::stats::{mean, student_quantile};

/// A least-squares line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Mean of x,
    centre: f64,
    /// Σ (x − x̄)²,
    spread: f64,
    /// ŷ at the mean of x.
    level: f64,
    /// What y gains where x grows by one.
    pub slope: f64,
    /// Residual standard deviation, n − 2 degrees of freedom, times the quantile of Student's t.
    reach: f64,
    /// Number of points.
    pub n: usize,
}

impl Line {
    /// Fits a line to points.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for sides of different lengths, [`Error::TooFew`] for fewer than three points or one x,
    /// [`Error::NotFinite`]
    ///
    /// ```
    /// use alike::ingredients::line::Line;
    /// let line = Line::through(&[0.0, 1.0, 2.0], &[1.0, 3.0, 5.0])?;
    /// assert_eq!((line.slope, line.at(3.0)), (2.0, [7.0; 3]));
    /// # Ok::<(), alike::error::Error>(())
    /// ```
    pub fn through(x: &[f64], y: &[f64]) -> Result<Self> {
        if x.len() != y.len() {
            return Err(Error::ShapeMismatch {
                what: "points of a line".to_owned(),
                found: format!("{} and {} values", x.len(), y.len()),
                expected: "as many on both sides".to_owned(),
            });
        }
        if x.iter().chain(y).any(|value| !value.is_finite()) {
            return Err(Error::NotFinite { what: "a point of a line".to_owned() });
        }
        if x.len() < 3 {
            return Err(Error::TooFew { what: "points for a line".to_owned(), found: x.len(), needed: 3 });
        }
        let (centre, level) = (mean(x), mean(y));
        let spread: f64 = x.iter().map(|x| (x - centre).powi(2)).sum();
        if spread <= 0.0 {
            return Err(Error::TooFew { what: "different x for a line".to_owned(), found: 1, needed: 2 });
        }
        let slope = x.iter().zip(y).map(|(x, y)| (x - centre) * (y - level)).sum::<f64>() / spread;
        let rss: f64 = x.iter().zip(y).map(|(x, y)| (y - level - slope * (x - centre)).powi(2)).sum();
        let df = x.len() as f64 - 2.0;
        let reach = (rss / df).sqrt() * student_quantile(0.5 + CONFIDENCE / 2.0, Some(df));
        Ok(Self { centre, spread, level, slope, reach, n: x.len() })
    }

    /// ŷ and the ends of its pointwise 95 % interval: of the mean of y at that x, not of single points.
    ///
    /// ŷ ± t s √(1/n + (x − x̄)² / Σ (x − x̄)²)
    ///
    /// # Source
    /// Draper & Smith (1998), Applied Regression Analysis, eq. 3.1.4
    pub fn at(&self, x: f64) -> [f64; 3] {
        let away = x - self.centre;
        let (y, reach) =
            (self.level + self.slope * away, self.reach * (1.0 / self.n as f64 + away * away / self.spread).sqrt());
        [y, y - reach, y + reach]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// statsmodels 0.15.0, `OLS(y, add_constant(x)).fit().get_prediction([[1, 2.5], [1, 8]]).conf_int()`.
    #[test]
    fn the_band_is_that_of_statsmodels() {
        let line = Line::through(&[1.0, 2.5, 2.0, 4.0, 5.5, 5.0, 7.0], &[0.2, 0.1, 0.5, 0.4, 0.9, 0.5, 0.8]).unwrap();
        let expected = [
            [0.33759791122715405, 0.11231276019296446, 0.5628830622613437],
            [0.9378590078328981, 0.5065925961503392, 1.369125419515457],
        ];
        for (x, expected) in [2.5, 8.0].into_iter().zip(expected) {
            for (found, expected) in line.at(x).into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9, "{found} {expected}"); // eight digits of a table are enough
            }
        }
    }

    #[test]
    fn too_little_for_a_line_is_an_error() {
        assert!(matches!(Line::through(&[1.0, 2.0], &[1.0, 2.0]), Err(Error::TooFew { found: 2, .. })));
        assert!(matches!(Line::through(&[1.0; 3], &[1.0, 2.0, 3.0]), Err(Error::TooFew { found: 1, .. })));
        assert!(matches!(Line::through(&[1.0; 3], &[1.0, 2.0]), Err(Error::ShapeMismatch { .. })));
        assert!(matches!(Line::through(&[1.0, 2.0, f64::NAN], &[1.0; 3]), Err(Error::NotFinite { .. })));
    }
}
