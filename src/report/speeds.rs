//! The table of a benchmark, as text.

use serde::Serialize;

use super::numbers::{NOTHING, count, decimals, significant};
use crate::bench::agreement::Verdict;
use crate::bench::{Bench, Cell, Outcome, Row, Spread, Summary};

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

/// The paragraph at the top of a page of a benchmark alone: the fastest cells of those that answer as the reference does.
pub(super) fn paragraph(bench: &Bench) -> String {
    let measured: Vec<(&Cell, &Summary, Verdict)> = bench
        .rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Measured { summary, agreement, .. } => Some((&row.cell, &**summary, agreement.verdict())),
            Outcome::Unavailable { .. } => None,
        })
        .collect();
    let mut sentences = vec![format!("{} of {} cells were measured.", count(measured.len()), count(bench.rows.len()))];
    for (shares, words) in [(true, "With shared prefixes"), (false, "With nothing shared between prompts")] {
        let of = measured.iter().filter(|(cell, _, verdict)| cell.shares() == shares && *verdict != Verdict::Differs);
        let rate = |summary: &Summary| summary.triplets_per_second.median;
        if let Some((cell, summary, _)) = of.max_by(|a, b| rate(a.1).total_cmp(&rate(b.1))) {
            let rate = significant(Some(rate(summary)));
            sentences.push(format!(
                "{words} the fastest that answers like the reference is {cell}: {rate} triplets per second."
            ));
        }
    }
    let differing = measured.iter().filter(|(.., verdict)| *verdict == Verdict::Differs);
    let differing: Vec<String> = differing.map(|(cell, ..)| cell.to_string()).collect();
    if !differing.is_empty() {
        let which = differing.join(", ");
        sentences.push(format!("These give other answers, so that their speed is that of something else: {which}."));
    }
    sentences.join(" ")
}
