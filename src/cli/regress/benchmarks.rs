//! Correlations with benchmarks on a terminal.

use alike::config::BenchmarkSection;
use alike::ingredients::Estimate;
use alike::ingredients::benchmarks::{Correlated, Statistic};

use crate::cli::tables::{p_value, table};

/// A line for each measure and benchmark; below it, which benchmarks differ.
pub(super) fn text(rows: &[Correlated], asked: &BenchmarkSection) -> String {
    let header = [
        "alignment",
        "benchmark",
        "models",
        "Pearson r",
        "95 % interval",
        "p (Holm)",
        "Spearman",
        "partial r",
        "given",
    ];
    let of = |row: &Correlated, statistic| {
        rows.iter().find(|other| other.statistic == statistic && other.a == row.a && other.b == row.b)
    };
    let value = |row: Option<&Correlated>| {
        row.and_then(|row| row.estimate).map_or_else(|| "–".to_owned(), |estimate| format!("{:+.2}", estimate.value))
    };
    let interval = |estimate: Estimate| format!("{:+.2} to {:+.2}", estimate.lo, estimate.hi);
    let with_measure = |row: &&Correlated| {
        row.statistic == Statistic::Pearson && asked.measures.contains(&row.a) && asked.columns.contains(&row.b)
    };
    let lines = rows.iter().filter(with_measure).map(|row| {
        let partial = of(row, Statistic::Partial);
        vec![
            row.a.clone(),
            row.b.clone(),
            row.n.to_string(),
            value(Some(row)),
            row.estimate.map_or_else(|| row.error.clone().unwrap_or_default(), interval),
            row.p_holm.map_or_else(|| "–".to_owned(), p_value),
            value(of(row, Statistic::Spearman)),
            value(partial),
            partial.map_or_else(|| "–".to_owned(), |row| row.given.join(", ")),
        ]
    });
    format!("{}\n\n{}", table(&header, lines, 2), differences(rows))
}

/// The pairs of benchmarks of which one goes with alignment more than the other.
fn differences(rows: &[Correlated]) -> String {
    let compared: Vec<&Correlated> = rows.iter().filter(|row| row.statistic == Statistic::Difference).collect();
    let differ = compared.iter().filter_map(|row| {
        let (estimate, p, c) = (row.estimate?, row.p_holm.filter(|p| *p < 0.05)?, row.c.as_ref()?);
        let (more, less) = if estimate.value > 0.0 { (&row.b, c) } else { (c, &row.b) };
        Some(format!(
            "{} goes with {more} more than with {less} ({:.2}, p {}, {} models)",
            row.a,
            estimate.value.abs(),
            p_value(p),
            row.n
        ))
    });
    let differ: Vec<String> = differ.collect();
    match (compared.len(), differ.len()) {
        (0, _) => String::new(),
        (n, 0) => format!("No two benchmarks differ in how they go with alignment ({n} pairs, Williams’ test, Holm)."),
        (n, _) => format!("Of {n} pairs of benchmarks (Williams’ test, Holm): {}.", differ.join("; ")),
    }
}
