//! What the repeats of a cell measured in two benchmarks, as ratios with their noise.
//!
//! Welch's interval at 95 % on the logarithms, whose difference is the logarithm of a ratio. A ratio is a change where its interval
//! leaves 1 out and it is further from 1 than [`SMALLEST`]; of some dozens of ratios one or two pass by luck.

use serde::Serialize;

use crate::bench::Repeat;
use crate::stats::{mean, student_quantile};

/// Changes of less than this share are none, however sure.
pub const SMALLEST: f64 = 0.01;

/// What a repeat says of a measure.
type Said = fn(&Repeat) -> Option<f64>;

/// What is compared of each row.
const MEASURES: [(Measure, Said); 5] = [
    (Measure::TripletsPerSecond, |r| Some(r.timing.triplets_per_second())),
    (Measure::LoadSeconds, |r| Some(r.timing.load_seconds)),
    (Measure::FirstResultSeconds, |r| Some(r.timing.first_result_seconds)),
    (Measure::PeakRssBytes, |r| r.timing.peak_rss_bytes.map(|bytes| bytes as f64)),
    (Measure::GpuBytes, |r| r.timing.gpu_bytes.map(|bytes| bytes as f64)),
];

/// Something that every repeat measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Presentations a second: more is better. Of the others less is.
    TripletsPerSecond,
    /// Seconds to open the graph.
    LoadSeconds,
    /// Seconds from the process's start to its first answer.
    FirstResultSeconds,
    /// Most memory.
    PeakRssBytes,
    /// Most memory of the GPU.
    GpuBytes,
}

impl Measure {
    /// As it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::TripletsPerSecond => "triplets/s",
            Self::LoadSeconds => "load, s",
            Self::FirstResultSeconds => "first result, s",
            Self::PeakRssBytes => "peak memory, bytes",
            Self::GpuBytes => "GPU memory, bytes",
        }
    }
}

/// What a ratio amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Beyond the noise, for the better.
    Better,
    /// Beyond the noise, for the worse.
    Worse,
    /// Within the noise, or too small to matter.
    None,
    /// One of the two has a single repeat: there is no noise to hold it against.
    Unknown,
}

impl Change {
    /// As it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::None => "no change",
            Self::Unknown => "one repeat: unknown",
        }
    }
}

/// The later over the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Of what.
    pub measure: Measure,
    /// Geometric mean of the earlier repeats.
    pub before: f64,
    /// Geometric mean of the later.
    pub after: f64,
    /// The later over the earlier.
    pub ratio: f64,
    /// Its interval at 95 %; none with a single repeat.
    pub interval: Option<(f64, f64)>,
    /// What it amounts to.
    pub change: Change,
}

impl Ratio {
    /// Of positive values of repeats. Two sets without any spread have an interval of no width.
    ///
    /// # Source
    /// Welch (1947), The generalization of `Student's' problem when several different population variances are involved
    pub fn of(measure: Measure, before: &[f64], after: &[f64]) -> Self {
        let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
        let (a, b) = (logs(before), logs(after));
        let of_mean = |logs: &[f64]| {
            let (n, centre) = (logs.len() as f64, mean(logs));
            logs.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / (n - 1.0) / n
        };
        let difference = mean(&b) - mean(&a);
        let interval = (a.len() > 1 && b.len() > 1).then(|| {
            let (va, vb) = (of_mean(&a), of_mean(&b));
            let df = (va + vb).powi(2) / (va.powi(2) / (a.len() as f64 - 1.0) + vb.powi(2) / (b.len() as f64 - 1.0));
            let half = if va + vb > 0.0 { student_quantile(0.975, Some(df)) * (va + vb).sqrt() } else { 0.0 };
            ((difference - half).exp(), (difference + half).exp())
        });
        let ratio = difference.exp();
        let better = (ratio > 1.0) == (measure == Measure::TripletsPerSecond);
        let change = match interval {
            None => Change::Unknown,
            Some((lo, hi)) if lo <= 1.0 && 1.0 <= hi => Change::None,
            Some(_) if difference.abs() < SMALLEST.ln_1p() => Change::None,
            Some(_) if better => Change::Better,
            Some(_) => Change::Worse,
        };
        Self { measure, before: mean(&a).exp(), after: mean(&b).exp(), ratio, interval, change }
    }
}

/// What both sets of repeats measured. Speeds of other presentations are not comparable.
pub(super) fn ratios(before: &[Repeat], after: &[Repeat], same_questions: bool) -> Vec<Ratio> {
    let of = |(measure, value): &(Measure, Said)| {
        if *measure == Measure::TripletsPerSecond && !same_questions {
            return None;
        }
        let values = |repeats: &[Repeat]| repeats.iter().map(value).collect::<Option<Vec<f64>>>();
        Some(Ratio::of(*measure, &values(before)?, &values(after)?))
    };
    MEASURES.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Welch's interval by hand: logs 0, 0.2, 0.4 and 1, 1.1, 1.2.
    #[test]
    fn ratios_have_welchs_interval() {
        let of = |logs: &[f64]| logs.iter().map(|x: &f64| x.exp()).collect::<Vec<f64>>();
        let (a, b) = (of(&[0.0, 0.2, 0.4]), of(&[1.0, 1.1, 1.2]));
        let ratio = Ratio::of(Measure::TripletsPerSecond, &a, &b);
        // Variances of the means 0.04 / 3 and 0.01 / 3; df = (0.05/3)² / ((0.04/3)²/2 + (0.01/3)²/2) = 2.94.
        let half = student_quantile(0.975, Some(25.0 / 17.0 * 2.0)) * (0.05_f64 / 3.0).sqrt();
        let (lo, hi) = ratio.interval.unwrap();
        assert!((lo.ln() - (0.9 - half)).abs() < 1e-9 && (hi.ln() - (0.9 + half)).abs() < 1e-9);
        assert_eq!(ratio.change, Change::Better);
        assert_eq!(Ratio::of(Measure::LoadSeconds, &a, &b).change, Change::Worse);
        assert_eq!(Ratio::of(Measure::LoadSeconds, &a, &b[..1]).change, Change::Unknown);
        // Sure, and too small to matter.
        assert_eq!(Ratio::of(Measure::LoadSeconds, &[1.0, 1.0], &[1.001, 1.001]).change, Change::None);
        assert_eq!(Ratio::of(Measure::LoadSeconds, &a, &[1.1, 1.2, 1.3]).change, Change::None);
    }
}
