//! The table of a benchmark, as text.

use serde::Serialize;

use super::numbers::{NOTHING, count, decimals, significant};
use crate::bench::agreement::Verdict;
use crate::bench::{Bench, Outcome, Row, Spread};

/// One cell.
#[derive(Serialize)]
pub(super) struct SpeedView {
    number: usize,
    model: String,
    cell: String,
    rate: String,
    tokens: String,
    passes: String,
    load: String,
    first_result: String,
    memory: String,
    max_nats: String,
    kl_nats: String,
    flips: String,
    procrustes: String,
    verdict: &'static str,
    differs: bool,
    reason: Option<String>,
}

/// Rows that share prefixes, then those that do not.
pub(super) fn speeds(bench: &Bench) -> Vec<(&'static str, Vec<SpeedView>)> {
    let numbered = || bench.rows.iter().enumerate();
    let of = |shares: bool| numbered().filter(move |(_, row)| row.cell.shares() == shares).map(view).collect();
    let groups = [("Prefixes shared", of(true)), ("Nothing shared between prompts", of(false))];
    groups.into_iter().filter(|(_, rows): &(_, Vec<SpeedView>)| !rows.is_empty()).collect()
}

fn view((place, row): (usize, &Row)) -> SpeedView {
    let cell = &row.cell;
    let nothing = || NOTHING.to_owned();
    let described = format!(
        "{} on {}, {} threads, {} tokens a pass, reuse {}",
        cell.precision,
        cell.provider,
        cell.threads_name(),
        count(cell.batch_tokens),
        cell.reuse.name()
    );
    let empty = SpeedView {
        number: place + 1,
        model: cell.model_name().to_owned(),
        cell: described,
        rate: nothing(),
        tokens: nothing(),
        passes: nothing(),
        load: nothing(),
        first_result: nothing(),
        memory: nothing(),
        max_nats: nothing(),
        kl_nats: nothing(),
        flips: nothing(),
        procrustes: nothing(),
        verdict: "unavailable",
        differs: false,
        reason: row.outcome.reason().map(str::to_owned),
    };
    let Outcome::Measured { summary, agreement, .. } = &row.outcome else { return empty };
    let number = |value: f64| significant(Some(value));
    let ranged =
        |spread: Spread| format!("{} ({} to {})", number(spread.median), number(spread.least), number(spread.most));
    let ms = |seconds: f64| number(1e3 * seconds);
    SpeedView {
        rate: ranged(summary.triplets_per_second),
        tokens: format!(
            "{} · {}",
            number(summary.computed_tokens_per_second.median),
            number(summary.logical_tokens_per_second.median)
        ),
        passes: format!(
            "{} · {} · {}",
            ms(summary.pass_p50_seconds),
            ms(summary.pass_p90_seconds),
            ms(summary.pass_p99_seconds)
        ),
        load: number(summary.load_seconds.median),
        first_result: number(summary.first_result_seconds.median),
        memory: summary.peak_rss_bytes.map_or_else(nothing, |bytes| number(bytes.median / 1e6)),
        max_nats: number(agreement.max_nats),
        kl_nats: number(agreement.kl_nats),
        flips: format!("{} of {}", count(agreement.flips), count(agreement.n)),
        procrustes: decimals(agreement.procrustes_r2, 3),
        verdict: agreement.verdict().name(),
        differs: agreement.verdict() == Verdict::Differs,
        ..empty
    }
}

/// The paragraph at the top of a page of a benchmark alone.
pub(super) fn paragraph(bench: &Bench) -> String {
    let (n_measured, n) = (bench.measured().count(), bench.rows.len());
    let fastest = |shares: bool| {
        let of = bench.measured().filter(|(cell, ..)| cell.shares() == shares);
        of.max_by(|a, b| a.2.triplets_per_second.median.total_cmp(&b.2.triplets_per_second.median))
    };
    let mut sentences = vec![format!("{} of {} cells were measured.", count(n_measured), count(n))];
    for (shares, words) in [(true, "With shared prefixes"), (false, "With nothing shared between prompts")] {
        if let Some((cell, _, summary)) = fastest(shares) {
            let rate = significant(Some(summary.triplets_per_second.median));
            sentences.push(format!("{words} the fastest is {cell}: {rate} triplets per second."));
        }
    }
    let differing: Vec<String> = bench
        .rows
        .iter()
        .filter(|row| matches!(&row.outcome, Outcome::Measured { agreement, .. } if agreement.verdict() == Verdict::Differs))
        .map(|row| row.cell.to_string())
        .collect();
    if !differing.is_empty() {
        sentences.push(format!(
            "These give other answers than the reference, so that their speed is that of something else: {}.",
            differing.join(", ")
        ));
    }
    sentences.join(" ")
}
