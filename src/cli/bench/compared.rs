//! `--compare A.json B.json`: what changed beyond the noise.

use std::path::Path;

use alike::bench::compare::{Comparison, Matched, compare};
use alike::bench::ratio::{Change, Ratio, SMALLEST};
use alike::store::bench::read;

use crate::cli::Common;
use crate::cli::bench::numbers::{digits, nats};
use crate::cli::tables::table;

pub(crate) fn run(before: &Path, after: &Path, common: &Common) -> anyhow::Result<()> {
    let found = compare(&read(before)?, &read(after)?);
    match common.json {
        true => println!("{}", summary(&found)?),
        false => print(&found, before, after),
    }
    Ok(())
}

fn summary(found: &Comparison) -> anyhow::Result<serde_json::Value> {
    let mut summary = serde_json::to_value(found)?;
    summary["changed"] = (!found.is_same()).into();
    Ok(summary)
}

fn print(found: &Comparison, before: &Path, after: &Path) {
    println!("{} against {}", after.display(), before.display());
    found.notes.iter().for_each(|note| println!("note: {note}"));
    if !found.matched.is_empty() {
        println!(
            "{}",
            table(
                &["cell", "what", "before", "after", "ratio (95 %)", "change"],
                found.matched.iter().flat_map(rows),
                2
            )
        );
    }
    for Matched { cell, answers, .. } in &found.matched {
        if let Some(answers) = answers.filter(|answers| answers.max_nats > 0.0) {
            println!(
                "answers of {cell} changed: by {} nats at most, {} of {} choices",
                nats(answers.max_nats),
                answers.flips,
                answers.n
            );
        }
    }
    found.appeared.iter().for_each(|cell| println!("new: {cell}"));
    found.vanished.iter().for_each(|cell| println!("gone: {cell}"));
    let n_of =
        |change: Change| found.matched.iter().flat_map(|m| &m.ratios).filter(|ratio| ratio.change == change).count();
    let n = found.matched.iter().map(|m| m.ratios.len()).sum::<usize>();
    match found.is_same() {
        true => println!("nothing changed beyond the noise: {n} ratios of {} cells", found.matched.len()),
        false => println!(
            "{n} ratios of {} cells: {} better, {} worse; the rest is within Welch's 95 % interval of the repeats, or below {:.0} %",
            found.matched.len(),
            n_of(Change::Better),
            n_of(Change::Worse),
            100.0 * SMALLEST
        ),
    }
}

fn rows(matched: &Matched) -> Vec<Vec<String>> {
    let row = |ratio: &Ratio| {
        let interval = ratio.interval.map(|(lo, hi)| format!(" ({lo:.3} to {hi:.3})")).unwrap_or_default();
        vec![
            matched.cell.clone(),
            ratio.measure.name().to_owned(),
            digits(ratio.before),
            digits(ratio.after),
            format!("{:.3}{interval}", ratio.ratio),
            ratio.change.name().to_owned(),
        ]
    };
    matched.ratios.iter().map(row).collect()
}
