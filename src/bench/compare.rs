//! What changed from one benchmark to another beyond the noise.
//!
//! Rows of the same cell are compared by Welch's interval at 95 % on the logarithms of what their repeats measured, whose
//! difference is the logarithm of a ratio. A ratio is a change where its interval leaves 1 out and it is further from 1 than
//! [`SMALLEST`]; of some dozens of ratios one or two pass by luck.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::bench::{Answers, Bench, BenchSettings, Cell, Machine, Outcome, Repeat, Row};
use crate::stats::{mean, student_quantile};

/// Changes of less than this share are none, however sure.
pub const SMALLEST: f64 = 0.01;

/// A load average above this share of the processors, in either benchmark, is a warning: somebody else was at work.
pub const HIGH_LOAD: f64 = 1.5;

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

/// A cell that both benchmarks measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Matched {
    /// Its name.
    pub cell: String,
    /// What the repeats say.
    pub ratios: Vec<Ratio>,
    /// Largest |Δ log p| between the two benchmarks' answers to the same presentations, in nats, and how many choices differ
    /// of how many; none where they were asked other presentations.
    pub answers: Option<AnswerChange>,
}

/// The same presentations answered twice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AnswerChange {
    /// Presentations that both files hold answers to.
    pub n: usize,
    /// Largest |Δ log p| of an option, in nats.
    pub max_nats: f64,
    /// Choices that differ.
    pub flips: usize,
}

/// Two benchmarks beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Cells that both measured.
    pub matched: Vec<Matched>,
    /// Cells that only the later measured, with the reason where the earlier tried.
    pub appeared: Vec<String>,
    /// Cells that only the earlier measured, with the reason where the later tried.
    pub vanished: Vec<String>,
    /// What differs beside the numbers, and what makes them doubtful.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether nothing changed: no number, no answer, no cell.
    pub fn is_same(&self) -> bool {
        let quiet = |m: &Matched| {
            m.ratios.iter().all(|r| matches!(r.change, Change::None | Change::Unknown))
                && m.answers.is_none_or(|answers| answers.max_nats == 0.0)
        };
        self.matched.iter().all(quiet) && self.appeared.is_empty() && self.vanished.is_empty()
    }
}

/// Holds a later benchmark against an earlier one.
pub fn compare(before: &Bench, after: &Bench) -> Comparison {
    let same_questions = before.settings.presentations == after.settings.presentations
        && before.settings.concepts == after.settings.concepts;
    let matched = before.rows.iter().filter_map(|a| {
        let b = after.rows.iter().find(|b| b.cell == a.cell)?;
        let (
            Outcome::Measured { repeats: of_a, answers: said_a, .. },
            Outcome::Measured { repeats: of_b, answers: said_b, .. },
        ) = (&a.outcome, &b.outcome)
        else {
            return None;
        };
        Some(Matched {
            cell: a.cell.to_string(),
            ratios: ratios(of_a, of_b, same_questions),
            answers: same_questions.then(|| answer_change(said_a, said_b)),
        })
    });
    Comparison {
        matched: matched.collect(),
        appeared: only_in(after, before),
        vanished: only_in(before, after),
        notes: notes(before, after, same_questions),
    }
}

/// What both sets of repeats measured. Speeds of other presentations are not comparable.
fn ratios(before: &[Repeat], after: &[Repeat], same_questions: bool) -> Vec<Ratio> {
    let of = |(measure, value): &(Measure, Said)| {
        if *measure == Measure::TripletsPerSecond && !same_questions {
            return None;
        }
        let values = |repeats: &[Repeat]| repeats.iter().map(value).collect::<Option<Vec<f64>>>();
        Some(Ratio::of(*measure, &values(before)?, &values(after)?))
    };
    MEASURES.iter().filter_map(of).collect()
}

fn answer_change(before: &Answers, after: &Answers) -> AnswerChange {
    let n = before.len().min(after.len());
    let (a, b) = (before.first(n), after.first(n));
    let flips = a.chose_first.iter().zip(&b.chose_first).filter(|(a, b)| a != b).count();
    AnswerChange { n, max_nats: a.max_nats(&b), flips }
}

/// Cells that one measured and the other did not, with the other's reason.
fn only_in(one: &Bench, other: &Bench) -> Vec<String> {
    let unmeasured = |cell: &Cell| match other.rows.iter().find(|row| row.cell == *cell) {
        Some(Row { outcome: Outcome::Unavailable { reason }, .. }) => Some(format!("{cell}: {reason}")),
        Some(_) => None,
        None => Some(cell.to_string()),
    };
    one.measured().filter_map(|(cell, ..)| unmeasured(cell)).collect()
}

fn notes(before: &Bench, after: &Bench, same_questions: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if before.alike != after.alike {
        notes.push(format!("alike {} and {}", before.alike, after.alike));
    }
    notes.extend(differing_machines(&before.machine, &after.machine));
    for model in &before.models {
        if let Some(other) = after.models.iter().find(|other| other.name == model.name) {
            let names: BTreeSet<&String> = model.digests.keys().chain(other.digests.keys()).collect();
            let changed: Vec<&str> = names
                .into_iter()
                .filter(|name| model.digests.get(*name) != other.digests.get(*name))
                .map(String::as_str)
                .collect();
            if !changed.is_empty() {
                notes.push(format!(
                    "{} is another model under the same name: {} differ",
                    model.name,
                    changed.join(", ")
                ));
            }
        }
    }
    let ways = |settings: &BenchSettings| {
        let style = settings.style.map_or_else(|| "the folders' styles".into(), |style| format!("style {style}"));
        let part = settings.part_rows.map_or_else(String::new, |n| format!(", parts of {n}"));
        format!("{style}{part}{}", if settings.tf32 { ", TF32" } else { "" })
    };
    let (earlier, later) = (ways(&before.settings), ways(&after.settings));
    if earlier != later {
        notes.push(format!("asked otherwise: {earlier} and {later}"));
    }
    if !same_questions {
        notes.push(format!(
            "other presentations ({} and {}): neither speeds nor answers are compared",
            asked(&before.settings),
            asked(&after.settings)
        ));
    }
    for (which, bench) in [("the earlier", before), ("the later", after)] {
        let most = bench.measured().filter_map(|(_, _, summary)| summary.most_load).reduce(f64::max);
        let limit = HIGH_LOAD * bench.machine.cores as f64;
        if let Some(load) = most.filter(|load| *load > limit) {
            notes.push(format!(
                "{which} ran beside others' work: load average up to {load:.1} on {} processors",
                bench.machine.cores
            ));
        }
    }
    notes
}

fn asked(settings: &BenchSettings) -> String {
    format!("{} of {} concepts, seed {}", settings.n, settings.n_concepts, settings.seed)
}

fn differing_machines(before: &Machine, after: &Machine) -> Vec<String> {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
    let gib = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".into(), |bytes| format!("{} GiB", bytes >> 30));
    let facts = |machine: &Machine| {
        [
            ("processor", shown(&machine.cpu)),
            ("processors", machine.cores.to_string()),
            ("memory", gib(machine.memory_bytes)),
            ("system", shown(&machine.os)),
            ("kernel", shown(&machine.kernel)),
            ("GPUs", machine.gpus.join("; ")),
            ("ONNX Runtime", machine.runtime.clone()),
        ]
    };
    let pairs = facts(before).into_iter().zip(facts(after));
    pairs.filter(|(a, b)| a != b).map(|((name, a), (_, b))| format!("{name}: {a} and {b}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::agreement::Agreement;
    use crate::bench::cell::Matrix;
    use crate::bench::row::tests::repeat;
    use crate::bench::{BENCH_VERSION, ModelRecord, Summary};
    use crate::engine::provider::ExecutionProvider;
    use crate::prompts::plan::Reuse;

    fn bench(seconds: &[f64]) -> Bench {
        let matrix = Matrix {
            models: vec![("m".into(), "fp32".into())],
            providers: vec![ExecutionProvider::Cpu, ExecutionProvider::Cuda],
            threads: vec![0],
            reuse: vec![Reuse::Trie],
            ..Matrix::default()
        };
        let repeats: Vec<Repeat> = seconds.iter().map(|s| repeat(*s)).collect();
        let answers = Answers { log_probs: vec![[-1.0, -2.0]; 3], chose_first: vec![true; 3] };
        let summary = Box::new(Summary::of(&repeats, &vec![answers.clone(); repeats.len()]).unwrap());
        let agreement = Agreement::between(&answers, &answers, &Err("few".into())).unwrap();
        let mut outcomes = [
            Outcome::Measured { repeats, summary, agreement, answers },
            Outcome::Unavailable { reason: "no GPU".into() },
        ]
        .into_iter();
        let row = |cell| Row { cell, outcome: outcomes.next().unwrap() };
        Bench {
            bench_version: BENCH_VERSION,
            alike: "1".into(),
            started_unix: 0,
            settings: BenchSettings {
                n: 3,
                n_concepts: 9,
                concepts: "c".into(),
                presentations: "p".into(),
                seed: 1,
                warm_up: 1,
                repeats: seconds.len(),
                part_rows: None,
                style: None,
                tf32: false,
            },
            machine: Machine { cores: 2, runtime: "1.31".into(), ..Machine::default() },
            models: vec![ModelRecord {
                name: "m".into(),
                precision: "fp32".into(),
                digests: [("model.onnx".to_owned(), "0".to_owned())].into(),
                weight_bytes: 1,
                flops_per_token: None,
                flops_per_scored: None,
            }],
            reference: None,
            rows: matrix.cells().into_iter().map(row).collect(),
            tuned: vec![],
            ceilings: vec![],
        }
    }

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

    #[test]
    fn a_benchmark_beside_itself_shows_nothing() {
        let one = bench(&[4.0, 4.1, 4.2]);
        let same = compare(&one, &one);
        assert!(same.is_same() && same.notes.is_empty(), "{same:?}");
        assert_eq!(same.matched.len(), 1);
        let speed = same.matched[0].ratios[0];
        assert_eq!((speed.ratio, speed.change), (1.0, Change::None));
        assert_eq!(same.matched[0].answers, Some(AnswerChange { n: 3, max_nats: 0.0, flips: 0 }));
    }

    #[test]
    fn what_was_changed_is_told() {
        let (before, mut after) = (bench(&[4.0, 4.1, 4.2]), bench(&[2.0, 2.05, 2.1]));
        after.alike = "2".into();
        after.machine.kernel = Some("7.0".into());
        after.models[0].digests.insert("model.onnx".into(), "1".into());
        let Outcome::Measured { answers, summary, .. } = &mut after.rows[0].outcome else { unreachable!() };
        answers.log_probs[1][0] = -3.0;
        answers.chose_first[1] = false;
        summary.most_load = Some(9.0);
        let found = compare(&before, &after);
        assert!(!found.is_same());
        assert_eq!(found.matched[0].ratios[0].change, Change::Better);
        assert_eq!(found.matched[0].answers, Some(AnswerChange { n: 3, max_nats: 2.0, flips: 1 }));
        let notes = found.notes.join("\n");
        for said in ["alike 1 and 2", "kernel: unknown and 7.0", "m is another model", "load average up to 9.0"] {
            assert!(notes.contains(said), "{said}: {notes}");
        }
        let mut moved = before.clone();
        moved.rows.swap_remove(0);
        assert_eq!(compare(&before, &moved).vanished, ["m/fp32/cpu/all/1024/trie"]);
        let mut broken = before.clone();
        broken.rows[0].outcome = Outcome::Unavailable { reason: "gone".into() };
        assert_eq!(compare(&before, &broken).vanished, ["m/fp32/cpu/all/1024/trie: gone"]);
        assert_eq!(compare(&broken, &before).appeared, ["m/fp32/cpu/all/1024/trie: gone"]);
        let mut others = before.clone();
        others.settings.presentations = "q".into();
        others.settings.tf32 = true;
        let found = compare(&before, &others);
        assert!(found.matched[0].answers.is_none() && found.notes[1].contains("other presentations"));
        assert_eq!(found.notes[0], "asked otherwise: the folders' styles and the folders' styles, TF32");
        assert!(found.matched[0].ratios.iter().all(|ratio| ratio.measure != Measure::TripletsPerSecond));
    }
}
