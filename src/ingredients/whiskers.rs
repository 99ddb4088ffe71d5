//! Box and whiskers: the spread of a group in five numbers.

use crate::error::Result;
use crate::stats::quantile;

/// What a box plot draws of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Whiskers {
    /// The lowest value no further below the box than 1.5 times its length.
    pub low: f64,
    /// First quartile.
    pub q1: f64,
    /// Second quartile.
    pub median: f64,
    /// Third quartile.
    pub q3: f64,
    /// The highest value no further above the box than 1.5 times its length.
    pub high: f64,
}

impl Whiskers {
    /// Quartiles by linear interpolation ([`quantile`]), and whiskers that end at values.
    ///
    /// # Errors
    /// [`Error::TooFew`](crate::Error::TooFew) for no values, [`Error::NotFinite`](crate::Error::NotFinite)
    /// # Source
    /// Tukey (1977), Exploratory Data Analysis
    pub fn of(values: &[f64]) -> Result<Self> {
        let [q1, median, q3] = [0.25, 0.5, 0.75].map(|q| quantile(values, q));
        let (q1, median, q3) = (q1?, median?, q3?);
        let reach = 1.5 * (q3 - q1);
        // The quartiles lie between values, so that some value is within reach on either side.
        let low = values.iter().copied().filter(|value| *value >= q1 - reach).fold(q1, f64::min);
        let high = values.iter().copied().filter(|value| *value <= q3 + reach).fold(q3, f64::max);
        Ok(Self { low, q1, median, q3, high })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::Error;

    #[test]
    fn whiskers_end_at_values_and_leave_what_is_far_out() {
        let found = Whiskers::of(&[20.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).unwrap();
        // numpy.percentile: 2.75, 4.5, 6.25; the fence is at 11.5.
        assert_eq!(found, Whiskers { low: 1.0, q1: 2.75, median: 4.5, q3: 6.25, high: 7.0 });
        let one = Whiskers::of(&[0.3]).unwrap();
        assert_eq!([one.low, one.q1, one.median, one.q3, one.high], [0.3; 5]);
        assert!(matches!(Whiskers::of(&[]), Err(Error::TooFew { .. })));
    }
}
