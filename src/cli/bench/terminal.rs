//! What a benchmark found, on the terminal.

use alike::bench::tune::Probed;
use alike::bench::{Agreement, Bench, Cell, Outcome, Summary};

use crate::cli::Common;
use crate::cli::bench::numbers::{dash, digits, nats, ranged};
use crate::cli::bench::roofline;
use crate::cli::tables::table;

/// `--dry-run`: the cells by number and name.
pub(crate) fn print_cells(cells: &[Cell], common: &Common) {
    let names = || cells.iter().map(ToString::to_string);
    if common.json {
        println!("{}", serde_json::json!({ "cells": names().collect::<Vec<_>>() }));
        return;
    }
    names().enumerate().for_each(|(place, name)| println!("{:>3}  {name}", place + 1));
}

/// All of it.
pub(crate) fn print(bench: &Bench) {
    print_machine(bench);
    for (title, shares) in [("prefixes shared", true), ("nothing shared between prompts", false)] {
        let rows = || bench.rows.iter().enumerate().filter(|(_, row)| row.cell.shares() == shares);
        if rows().next().is_none() {
            continue;
        }
        println!("\n{title}: speed\n{}", speeds(bench, shares));
        println!("\n{title}: memory, start, energy\n{}", sizes(bench, shares));
        println!("\n{title}: answers beside those of {}\n{}", reference(bench), answers(bench, shares));
    }
    let unavailable =
        || bench.rows.iter().enumerate().filter_map(|(i, row)| Some((i, &row.cell, row.outcome.reason()?)));
    if unavailable().next().is_some() {
        println!("\nunavailable");
        unavailable().for_each(|(place, cell, reason)| println!("{:>3}  {cell}: {reason}", place + 1));
    }
    roofline::print(bench);
    print_tuned(bench);
}

fn reference(bench: &Bench) -> &str {
    bench.reference.as_deref().unwrap_or("nobody")
}

fn print_machine(bench: &Bench) {
    let (machine, settings) = (&bench.machine, &bench.settings);
    let unknown = || "unknown".to_owned();
    let memory =
        machine.memory_bytes.map_or_else(unknown, |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)));
    println!(
        "{} presentations of {} concepts (seed {}), {} asked before the clock starts, {} times each cell, every time in a process of its own: medians (least to most)",
        settings.n, settings.n_concepts, settings.seed, settings.warm_up, settings.repeats
    );
    println!(
        "{}, {} processors, {memory}; {}, Linux {}; ONNX Runtime {}; alike {}",
        machine.cpu.clone().unwrap_or_else(unknown),
        machine.cores,
        machine.os.clone().unwrap_or_else(unknown),
        machine.kernel.clone().unwrap_or_else(unknown),
        machine.runtime,
        bench.alike
    );
    machine.gpus.iter().for_each(|gpu| println!("GPU {gpu}"));
    println!("energy: {}", machine.energy);
}

/// Number and name of a cell, as its tables begin.
fn named(place: usize, cell: &Cell) -> Vec<String> {
    let Cell { precision, provider, batch_tokens, reuse, .. } = cell;
    let texts = [cell.model_name().to_owned(), precision.clone(), provider.to_string(), reuse.name().to_owned()];
    let mut cells = vec![(place + 1).to_string()];
    cells.extend(texts);
    cells.extend([cell.threads_name(), batch_tokens.to_string()]);
    cells
}

const NAMES: [&str; 7] = ["#", "model", "precision", "provider", "reuse", "threads", "batch"];

/// Columns of text: those of [`NAMES`] but for threads and batch.
const N_TEXT: usize = 5;

/// A table of the rows that share or do not, with what `cells` says of measured ones; of others dashes.
fn rows(bench: &Bench, shares: bool, header: &[&str], cells: impl Fn(&Summary, &Agreement) -> Vec<String>) -> String {
    let all: Vec<&str> = NAMES.iter().chain(header).copied().collect();
    let of = bench.rows.iter().enumerate().filter(|(_, row)| row.cell.shares() == shares);
    let lines = of.map(|(place, row)| {
        let mut line = named(place, &row.cell);
        line.extend(match &row.outcome {
            Outcome::Measured { summary, agreement, .. } => cells(summary, agreement),
            Outcome::Unavailable { .. } => vec!["–".to_owned(); header.len()],
        });
        line
    });
    table(&all, lines, N_TEXT).to_string()
}

fn speeds(bench: &Bench, shares: bool) -> String {
    let header = [
        "triplets/s",
        "answers",
        "tokens/s computed",
        "distinct",
        "logical",
        "passes",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "load average",
    ];
    rows(bench, shares, &header, |summary, agreement| {
        let ms = |seconds: f64| digits(1e3 * seconds);
        vec![
            ranged(Some(summary.triplets_per_second), 1.0),
            said(agreement),
            digits(summary.computed_tokens_per_second.median),
            digits(summary.distinct_tokens_per_second.median),
            digits(summary.logical_tokens_per_second.median),
            summary.n_passes.to_string(),
            ms(summary.pass_p50_seconds),
            ms(summary.pass_p90_seconds),
            ms(summary.pass_p99_seconds),
            summary.most_load.map_or_else(dash, |load| format!("{load:.1}")),
        ]
    })
}

fn sizes(bench: &Bench, shares: bool) -> String {
    let header = ["load s", "first result s", "peak memory MB", "GPU MB", "J/triplet"];
    rows(bench, shares, &header, |summary, _| {
        vec![
            ranged(Some(summary.load_seconds), 1.0),
            ranged(Some(summary.first_result_seconds), 1.0),
            ranged(summary.peak_rss_bytes, 1e-6),
            ranged(summary.gpu_bytes, 1e-6),
            ranged(summary.joules_per_triplet, 1.0),
        ]
    })
}

fn answers(bench: &Bench, shares: bool) -> String {
    let header = [
        "triplets/s",
        "verdict",
        "max |Δ log p|",
        "mean",
        "KL of p_first",
        "flips",
        "Procrustes R²",
        "between repeats",
    ];
    let table = rows(bench, shares, &header, |summary, agreement| {
        vec![
            digits(summary.triplets_per_second.median),
            agreement.verdict().name().to_owned(),
            nats(agreement.max_nats),
            nats(agreement.mean_nats),
            nats(agreement.kl_nats),
            format!("{} of {}", agreement.flips, agreement.n),
            agreement.procrustes_r2.map_or_else(dash, |r2| format!("{r2:.3}")),
            nats(summary.repeat_max_nats),
        ]
    });
    let mut reasons: Vec<&str> =
        bench.rows.iter().filter(|row| row.cell.shares() == shares).filter_map(no_fit).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let reasons: String = reasons.iter().map(|reason| format!("\nno Procrustes R²: {reason}")).collect();
    table + &reasons
}

fn no_fit(row: &alike::bench::Row) -> Option<&str> {
    match &row.outcome {
        Outcome::Measured { agreement, .. } => agreement.no_procrustes.as_deref(),
        Outcome::Unavailable { .. } => None,
    }
}

fn print_tuned(bench: &Bench) {
    for tuned in &bench.tuned {
        println!("\ntuning {}: differences below {:.1} % are noise", tuned.what, 100.0 * tuned.noise);
        let line = |probe: &alike::bench::tune::Probe| {
            let said = match &probe.outcome {
                Probed::TripletsPerSecond(rate) => digits(*rate),
                Probed::Unavailable(reason) => reason.clone(),
            };
            vec![probe.setting.batch_tokens.to_string(), probe.setting.threads.to_string(), said]
        };
        println!("{}", table(&["batch", "threads", "triplets/s"], tuned.probes.iter().map(line), 0));
        match tuned.best {
            Some(best) if best == tuned.start => {
                println!("nothing beats the default: --batch-tokens {} --threads {}", best.batch_tokens, best.threads);
            }
            Some(best) => println!("use --batch-tokens {} --threads {}", best.batch_tokens, best.threads),
            None => println!("the default itself could not be measured"),
        }
    }
}

/// How far the answers are the reference's: a fast wrong answer is seen beside its speed.
fn said(agreement: &Agreement) -> String {
    match (agreement.verdict(), agreement.flips) {
        (verdict, 0) => verdict.name().to_owned(),
        (verdict, flips) => format!("{}: {flips} of {} flip", verdict.name(), agreement.n),
    }
}
