//! Looking for the tokens of a pass and the threads that judge fastest.

use serde::{Deserialize, Serialize};

/// What tuning turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// New tokens in one pass, at most.
    pub batch_tokens: usize,
    /// Threads of the model.
    pub threads: usize,
}

/// One process with one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What was tried.
    pub setting: Setting,
    /// What it gave; the reason where it gave nothing.
    pub outcome: Probed,
}

/// What a probe gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probed {
    /// Presentations a second.
    TripletsPerSecond(f64),
    /// Why there is no number, such as too little memory.
    Unavailable(String),
}

impl Probed {
    fn rate(&self) -> Option<f64> {
        match self {
            Self::TripletsPerSecond(rate) => Some(*rate),
            Self::Unavailable(_) => None,
        }
    }
}

/// What tuning of one model on one provider tried and found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// Model, precision and provider.
    pub what: String,
    /// Where it began.
    pub start: Setting,
    /// Share by which probes of the start differ: what is nearer than that is the same.
    pub noise: f64,
    /// Everything that was tried, in order.
    pub probes: Vec<Probe>,
    /// What to use: the fastest that was tried, or the start where nothing beats it beyond the noise; none where the start
    /// itself gave nothing.
    pub best: Option<Setting>,
}

/// Probes of the start, whose spread is the noise.
pub const START_PROBES: usize = 3;

/// The noise is never taken for less than this: three probes can agree by luck.
pub const LEAST_NOISE: f64 = 0.02;

/// Limits of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TuneLimits {
    /// Fewest and most tokens of a pass.
    pub batch_tokens: [usize; 2],
    /// Most threads.
    pub threads: usize,
}

/// Looks for the fastest setting by coordinate descent: from the start, tokens are doubled until that is slower beyond the noise,
/// then halved likewise, then the same with threads; again until a round finds nothing. Nothing is tried twice.
///
/// # Errors
/// Those of `probe` that are no property of the setting
pub fn tune<E>(
    what: &str,
    start: Setting,
    limits: TuneLimits,
    mut probe: impl FnMut(Setting) -> Result<Probed, E>,
) -> Result<Tuned, E> {
    let mut tuned = Tuned { what: what.to_owned(), start, noise: LEAST_NOISE, probes: Vec::new(), best: None };
    for _ in 0..START_PROBES {
        tuned.probes.push(Probe { setting: start, outcome: probe(start)? });
    }
    let Some(rates) = tuned.probes.iter().map(|p| p.outcome.rate()).collect::<Option<Vec<f64>>>() else {
        return Ok(tuned);
    };
    let (least, most) = rates.iter().fold((f64::INFINITY, 0.0_f64), |(lo, hi), r| (lo.min(*r), hi.max(*r)));
    tuned.noise = (most / least - 1.0).max(LEAST_NOISE);
    let at_start = median(&rates);
    let (mut best, mut best_rate) = (start, at_start);
    loop {
        let began = best;
        for step in STEPS {
            let mut setting = best;
            // A little slower may be noise: the step after the next decides.
            while let Some(next) = step(setting, limits) {
                let known = match next == start {
                    true => Some(Probed::TripletsPerSecond(at_start)),
                    false => tuned.probes.iter().find(|p| p.setting == next).map(|p| p.outcome.clone()),
                };
                let outcome = match known {
                    Some(outcome) => outcome,
                    None => {
                        let outcome = probe(next)?;
                        tuned.probes.push(Probe { setting: next, outcome: outcome.clone() });
                        outcome
                    }
                };
                let Some(rate) = outcome.rate().filter(|rate| rate * (1.0 + tuned.noise) >= best_rate) else { break };
                if rate > best_rate {
                    (best, best_rate) = (next, rate);
                }
                setting = next;
            }
        }
        if best == began {
            break;
        }
    }
    tuned.best = Some(if best_rate > at_start * (1.0 + tuned.noise) { best } else { start });
    Ok(tuned)
}

/// Ways to go; none at a limit.
const STEPS: [fn(Setting, TuneLimits) -> Option<Setting>; 4] = [
    |s, limits| {
        (2 * s.batch_tokens <= limits.batch_tokens[1]).then(|| Setting { batch_tokens: 2 * s.batch_tokens, ..s })
    },
    |s, limits| {
        (s.batch_tokens / 2 >= limits.batch_tokens[0]).then_some(Setting { batch_tokens: s.batch_tokens / 2, ..s })
    },
    |s, limits| (2 * s.threads <= limits.threads).then(|| Setting { threads: 2 * s.threads, ..s }),
    |s, _| (s.threads >= 2).then_some(Setting { threads: s.threads / 2, ..s }),
];

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TuneLimits = TuneLimits { batch_tokens: [64, 65_536], threads: 16 };
    const START: Setting = Setting { batch_tokens: 1024, threads: 16 };

    fn run(rate: impl Fn(Setting) -> Option<f64>) -> Tuned {
        let probe = |setting| {
            let outcome = rate(setting).map_or_else(|| Probed::Unavailable("memory".into()), Probed::TripletsPerSecond);
            Ok::<Probed, std::convert::Infallible>(outcome)
        };
        tune("m", START, LIMITS, probe).unwrap()
    }

    #[test]
    fn a_single_peak_is_found_and_nothing_is_tried_twice() {
        let hill = |s: Setting| {
            let off = |value: usize, peak: f64| (value as f64).log2() - peak;
            Some(100.0 - off(s.batch_tokens, 13.0).powi(2) - 4.0 * off(s.threads, 3.0).powi(2))
        };
        let found = run(hill);
        assert_eq!(found.best, Some(Setting { batch_tokens: 8192, threads: 8 }));
        let mut seen: Vec<Setting> = found.probes.iter().skip(START_PROBES - 1).map(|p| p.setting).collect();
        let n = seen.len();
        seen.sort_by_key(|s| (s.batch_tokens, s.threads));
        seen.dedup();
        assert_eq!((seen.len(), found.noise), (n, LEAST_NOISE));
    }

    #[test]
    fn the_start_stays_where_nothing_beats_it_beyond_the_noise() {
        let flat = run(|s| Some(100.0 + s.batch_tokens as f64 / 65_536.0));
        assert_eq!(flat.best, Some(START));
        // All the way in every direction: nothing was slower.
        assert!(
            flat.probes.iter().any(|p| p.setting.batch_tokens == 64)
                && flat.probes.iter().any(|p| p.setting.threads == 1)
        );
    }

    #[test]
    fn a_setting_without_memory_ends_its_direction_only() {
        let found = run(|s| (s.batch_tokens <= 2048).then_some(s.batch_tokens as f64));
        assert_eq!(found.best.unwrap().batch_tokens, 2048);
        assert!(found.probes.iter().any(|p| p.outcome == Probed::Unavailable("memory".into())));
        let nothing = run(|_| None);
        assert_eq!((nothing.best, nothing.probes.len()), (None, START_PROBES));
    }
}
