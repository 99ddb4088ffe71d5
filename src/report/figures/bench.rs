//! How fast each cell of a benchmark answered, and whether it answered the same.

use super::dots::{Axis, Dot, Mark, dot_panel};
use crate::bench::agreement::Verdict;
use crate::bench::{Bench, Outcome, Row};
use crate::report::csv::to_csv;
use crate::report::data::ReportData;
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::numbers::{count, significant};
use crate::report::scale::round_step;

/// Presentations a second of every cell, those that share prefixes apart from those that do not.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let bench = data.bench.as_ref()?;
    let axis = || axis(bench);
    let panel = |(id, title, shares): (&str, &str, bool)| panel(bench, id, title, shares, &axis());
    let panels = [("bench-shared", "Prefixes shared", true), ("bench-whole", "Nothing shared between prompts", false)];
    let panels: Vec<Panel> = panels.into_iter().filter_map(panel).collect();
    let settings = &bench.settings;
    let reference = bench.reference.as_deref().unwrap_or("nobody");
    Some(Figure {
        name: "bench",
        part: Part::Speed,
        title: "How fast each cell answered, and whether it answered the same".into(),
        caption: format!(
            "Presentations a second, from tokenising the first to the scores of the last: {} presentations of {} concepts, {} asked \
             before the clock started, {} processes for each cell. The dot is their median, the line reaches from the least to \
             the most. The mark says how far the answers are from those of {reference}; rows with shared prefixes do less \
             work for the same answers and stand apart. Labels begin with the cell’s number in the table.",
            count(settings.n),
            count(settings.n_concepts),
            count(settings.warm_up),
            count(settings.repeats),
        ),
        csv: csv(bench),
        legend: legend(bench),
        panels,
        columns: 2,
        ..Figure::default()
    })
}

fn verdict(row: &Row) -> Option<Verdict> {
    match &row.outcome {
        Outcome::Measured { agreement, .. } => Some(agreement.verdict()),
        Outcome::Unavailable { .. } => None,
    }
}

fn mark(verdict: Verdict) -> Mark {
    match verdict {
        Verdict::Same => Mark::Filled,
        Verdict::Close => Mark::Hollow,
        Verdict::Differs => Mark::Grey,
    }
}

fn legend(bench: &Bench) -> Vec<LegendItem> {
    let words = [
        (Verdict::Same, "same answers: within a thousandth of a nat"),
        (Verdict::Close, "at most one choice in a hundred another"),
        (Verdict::Differs, "≠ more choices differ: the speed of other answers"),
    ];
    let there = words.into_iter().filter(|(one, _)| bench.rows.iter().any(|row| verdict(row) == Some(*one)));
    let item = |(verdict, text): (Verdict, &str)| LegendItem {
        mark: format!("<circle class=\"{}\" r=\"5\"/>", mark(verdict).class()),
        text: text.into(),
    };
    there.map(item).collect()
}

/// From zero where all cells are of one order of size, else by powers of ten; one axis for both panels.
fn axis(bench: &Bench) -> Axis {
    /// A bar of a thirtieth of the axis is hardly seen.
    const WIDE: f64 = 30.0;
    let rates = bench.measured().map(|(_, _, summary)| summary.triplets_per_second);
    let (least, most) = rates.fold((f64::INFINITY, 0.0_f64), |(lo, hi), rate| (lo.min(rate.least), hi.max(rate.most)));
    let most = if most > 0.0 { most } else { 1.0 };
    let log = most > WIDE * least;
    let power = |exponent: f64| 10_f64.powf(exponent);
    let step = round_step(most / 4.0);
    Axis {
        title: format!("triplets per second{}", if log { " (log scale)" } else { "" }),
        domain: match log {
            true => [power((least.log10() - 1e-9).floor()), power((most.log10() + 1e-9).ceil())],
            false => [0.0, (most / step - 1e-9).ceil() * step],
        },
        log,
        line: None,
        format: significant,
        tick: None,
    }
}

fn panel(bench: &Bench, id: &str, title: &str, shares: bool, axis: &Axis) -> Option<Panel> {
    let rows: Vec<(usize, &Row)> =
        bench.rows.iter().enumerate().filter(|(_, row)| row.cell.shares() == shares).collect();
    let labels: Vec<String> = rows.iter().map(|(place, row)| label(*place, row)).collect();
    let dots: Vec<Dot> = rows.iter().zip(&labels).map(|((_, row), label)| dot(row, label)).collect();
    (!dots.is_empty()).then(|| dot_panel(id.into(), title.into(), &dots, axis))
}

/// Number, precision, provider, threads and tokens of a pass; the model is in the table.
fn label(place: usize, row: &Row) -> String {
    let cell = &row.cell;
    format!("{} {} {} {}×{}", place + 1, cell.precision, cell.provider, cell.threads_name(), cell.batch_tokens)
}

fn dot<'a>(row: &Row, label: &'a str) -> Dot<'a> {
    match &row.outcome {
        Outcome::Measured { summary, agreement, .. } => {
            let rate = summary.triplets_per_second;
            let differs = agreement.verdict() == Verdict::Differs;
            Dot {
                label,
                value: Some(rate.median),
                interval: Some((rate.least, rate.most)),
                mark: mark(agreement.verdict()),
                at_end: differs.then(|| format!("≠ {}", significant(Some(rate.median)))),
                details: format!(
                    "{}: {} triplets per second ({} to {}), answers {}: {} nats at most, {} of {} choices differ",
                    row.cell,
                    significant(Some(rate.median)),
                    significant(Some(rate.least)),
                    significant(Some(rate.most)),
                    agreement.verdict().name(),
                    significant(Some(agreement.max_nats)),
                    count(agreement.flips),
                    count(agreement.n)
                ),
                ..Dot::default()
            }
        }
        Outcome::Unavailable { reason } => {
            Dot { label, details: format!("{}: unavailable, {reason}", row.cell), ..Dot::default() }
        }
    }
}

fn csv(bench: &Bench) -> Vec<u8> {
    let header = [
        "number",
        "cell",
        "triplets_per_second",
        "least",
        "most",
        "max_nats",
        "mean_nats",
        "kl_nats",
        "flips",
        "n",
        "procrustes_r2",
        "verdict",
        "reason",
    ];
    let rows = bench.rows.iter().enumerate().map(|(place, row)| {
        let (summary, agreement) = match &row.outcome {
            Outcome::Measured { summary, agreement, .. } => (Some(summary.triplets_per_second), Some(agreement)),
            Outcome::Unavailable { .. } => (None, None),
        };
        let speed = summary.map(|rate| (rate.median, rate.least, rate.most));
        let (median, least, most) = (speed.map(|s| s.0), speed.map(|s| s.1), speed.map(|s| s.2));
        let nats = agreement.map(|a| (a.max_nats, a.mean_nats, a.kl_nats));
        (
            (place + 1, row.cell.to_string(), median, least, most),
            (nats.map(|n| n.0), nats.map(|n| n.1), nats.map(|n| n.2)),
            (agreement.map(|a| a.flips), agreement.map(|a| a.n), agreement.and_then(|a| a.procrustes_r2)),
            (agreement.map(|a| a.verdict().name()), row.outcome.reason()),
        )
    });
    to_csv(&header, rows)
}
