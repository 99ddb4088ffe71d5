//! What changed from one benchmark to another beyond the noise: numbers, answers, cells, machines.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::bench::ratio::{Change, Ratio, ratios};
use crate::bench::{Answers, Bench, BenchSettings, Cell, Machine, Outcome, Row};

/// A load average above this share of the processors, in either benchmark, is a warning: somebody else was at work.
pub const HIGH_LOAD: f64 = 1.5;

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
    use crate::bench::ratio::Measure;
    use crate::bench::row::tests::repeat;
    use crate::bench::{BENCH_VERSION, ModelRecord, Repeat, Summary};
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
