//! Scales: where a value lies on an axis, and at which values the ticks stand.

use super::svg::columns;

/// Maps values to pixels and puts its ticks at round numbers.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    /// Values at the two ends.
    pub(super) domain: [f64; 2],
    /// Pixels at the two ends.
    pub(super) range: [f64; 2],
    /// Whether equal distances are equal ratios.
    pub(super) log: bool,
}

impl Scale {
    /// The pixel of a value; values outside the domain land on its ends.
    pub(super) fn at(&self, value: f64) -> f64 {
        let position = |v: f64| if self.log { v.max(f64::MIN_POSITIVE).log10() } else { v };
        let [lo, hi] = self.domain.map(position);
        let share = if hi > lo { ((position(value) - lo) / (hi - lo)).clamp(0.0, 1.0) } else { 0.5 };
        self.range[0] + share * (self.range[1] - self.range[0])
    }

    /// About five round values inside the domain.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let [lo, hi] = if self.log { self.domain.map(f64::log10) } else { self.domain };
        let step = if self.log { ((hi - lo) / 5.0).ceil().max(1.0) } else { round_step((hi - lo) / 5.0) };
        let mut ticks = Vec::new();
        // Whole multiples of the step, counted down from the top on a log scale so that 1 = 10⁰ is always there.
        for k in 0..=12 {
            let value =
                if self.log { hi - f64::from(k) * step } else { (lo / step).ceil() * step + f64::from(k) * step };
            if value >= lo - 1e-9 && value <= hi + 1e-9 {
                ticks.push(if self.log { 10_f64.powi(exponent(value)) } else { value });
            }
        }
        ticks.sort_by(f64::total_cmp);
        ticks
    }

    /// Ticks of a horizontal axis with their labels, or, where these would touch, with every second one's, or third's.
    pub(super) fn with_room(&self, all: Vec<(f64, String)>) -> Vec<(f64, Option<String>)> {
        let every = |step: &usize| all.iter().step_by(*step).cloned().collect::<Vec<_>>();
        let step = (1..all.len()).find(|step| self.has_room(&every(step))).unwrap_or(all.len().max(1));
        all.into_iter().enumerate().map(|(i, (tick, text))| (tick, (i % step == 0).then_some(text))).collect()
    }

    /// Whether labels side by side leave a gap between each other.
    pub(super) fn has_room(&self, labels: &[(f64, String)]) -> bool {
        /// Of figures, which are the widest there.
        const COLUMN: f64 = 7.0;
        const GAP: f64 = 6.0;
        let half = |text: &str| COLUMN * columns(text) as f64 / 2.0;
        let apart = |a: f64, b: f64| (self.at(a) - self.at(b)).abs();
        labels.windows(2).all(|pair| apart(pair[0].0, pair[1].0) >= half(&pair[0].1) + half(&pair[1].1) + GAP)
    }
}

/// The nearest whole exponent.
#[expect(clippy::cast_possible_truncation, reason = "exponents of doubles lie within ±324")]
pub(super) fn exponent(log10: f64) -> i32 {
    log10.round() as i32
}

/// The smallest of 1, 2, 5 × 10ᵏ that is not below `rough`.
pub(super) fn round_step(rough: f64) -> f64 {
    if !rough.is_finite() || rough <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    factors.into_iter().map(|f| f * power).find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_put_ends_on_ends_and_ticks_on_round_numbers() {
        let linear = Scale { domain: [0.0, 0.8], range: [100.0, 300.0], log: false };
        assert_eq!([linear.at(0.0), linear.at(0.4), linear.at(0.8), linear.at(9.0)], [100.0, 200.0, 300.0, 300.0]);
        let shown: Vec<String> = linear.ticks().iter().map(|t| format!("{t:.1}")).collect();
        assert_eq!(shown, ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        let log = Scale { domain: [1e-4, 1.0], range: [0.0, 400.0], log: true };
        assert!((log.at(1e-2) - 200.0).abs() < 1e-9, "half of four decades");
        assert_eq!(log.at(0.0), 0.0, "zero has no logarithm and lands on the low end");
        assert_eq!(log.ticks(), [1e-4, 1e-3, 1e-2, 1e-1, 1.0]);
    }

    #[test]
    fn labels_that_would_touch_are_left_out_evenly() {
        let labels = |highest: f64, width: f64| -> Vec<String> {
            let scale = Scale { domain: [1.0, highest], range: [0.0, width], log: true };
            let all = scale.ticks().into_iter().map(|tick| (tick, format!("{tick}"))).collect();
            scale.with_room(all).into_iter().map(|(_, text)| text.unwrap_or_default()).collect()
        };
        // The last two of six have (5 + 6) / 2 columns of 7 pixels and a gap of 6 between their middles: 44.5.
        assert_eq!(labels(1e5, 5.0 * 44.5), ["1", "10", "100", "1000", "10000", "100000"]);
        assert_eq!(labels(1e5, 5.0 * 44.0), ["1", "", "100", "", "10000", ""]);
        assert_eq!(labels(1e5, 20.0), ["1", "", "", "", "", ""]);
    }
}
