//! Who is aligned with the reference.

use super::dots::{Axis, Dot, ceiling_mark, chance_mark, dot_panel, mark_path, null_mark};
use crate::report::csv::{finite, kind_name, to_csv};
use crate::report::data::{Kind, ReportData, fit_heading, fits, kind_of, ranked};
use crate::report::figure::{Figure, LegendItem, Part};
use crate::report::numbers::{counts, decimals, p_value, with_range};
use crate::report::scale::round_step;
use crate::report::svg::shorten;

/// Procrustes R² of every respondent, a panel for each fit, with what is reachable and what chance gives.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let rows_of: Vec<(&str, Vec<_>)> = fits(data).into_iter().map(|fit| (fit, ranked(data, fit))).collect();
    let numbers = rows_of.iter().flat_map(|(_, rows)| rows.iter());
    let drawn = numbers.flat_map(|row| {
        [Some(row.value), row.hi, row.ceiling, row.ceiling_hi, row.chance, row.chance_hi, row.null_mean]
    });
    let highest = drawn.flatten().filter(|v| v.is_finite()).fold(0.1, f64::max);
    let step = round_step(highest / 5.0);
    // One axis for all panels, from zero, so that fits can be compared by eye.
    let domain = [0.0, ((highest / step - 1e-9).ceil() * step).min(1.0)];

    let panels = rows_of.iter().filter(|(_, rows)| !rows.is_empty()).enumerate().map(|(index, (fit, rows))| {
        let dots: Vec<Dot> = rows
            .iter()
            .map(|row| Dot {
                label: &row.respondent,
                kind: kind_of(data, &row.respondent),
                value: Some(row.value),
                interval: row.lo.zip(row.hi),
                ceiling: row.ceiling,
                ceiling_range: row.ceiling_lo.zip(row.ceiling_hi),
                chance: row.chance,
                chance_range: row.chance_lo.zip(row.chance_hi),
                null_mean: row.null_mean,
                details: format!(
                    "R² {}, ceiling {}, chance {}, normalised {}, mean of permutations {}, p {}",
                    decimals(Some(row.value), 3),
                    with_range(row.ceiling, row.ceiling_lo, row.ceiling_hi),
                    with_range(row.chance, row.chance_lo, row.chance_hi),
                    decimals(row.normalised, 2),
                    decimals(row.null_mean, 3),
                    p_value(row.p)
                ),
                ..Dot::default()
            })
            .collect();
        let n = counts(rows.iter().map(|row| row.n));
        let axis = Axis {
            title: format!("Procrustes R² (share of variance), n = {n} concepts"),
            domain,
            log: false,
            line: None,
            format: |v| decimals(v, 3),
            tick: None,
        };
        dot_panel(format!("ranking-{index}"), fit_heading(fit), &dots, &axis)
    });
    let panels: Vec<_> = panels.collect();
    let intervals = match data.alignment.iter().any(|row| row.lo.zip(row.hi).is_some()) {
        true => " The line through a dot is its 95 % interval; what it is about is said below the table.",
        false => "",
    };
    (!panels.is_empty()).then(|| Figure {
        name: "ranking",
        part: Part::Alignment,
        title: format!("Who is aligned with {}", shorten(&data.reference, 60)),
        caption: format!(
            "Procrustes R² of each respondent’s embedding with the reference, a panel for each fit, sorted by value. The \
             band runs from chance to ceiling: how far along it a dot lies is the \
             normalised value. Ceiling and chance are means over three subjects each; their bars reach from the lowest to the \
             highest where that is wider than the mark.{intervals}"
        ),
        csv: csv(data),
        legend: legend(data),
        panels,
        columns: 2,
        ..Figure::default()
    })
}

/// What the dots of respondents mean, of those kinds that answered.
pub(super) fn kinds_legend(data: &ReportData) -> Vec<LegendItem> {
    let kinds = [
        (Kind::Model, "<circle class=\"model\" r=\"5\"/>", "model"),
        (Kind::Simulated, "<circle class=\"simulated\" r=\"4.5\"/>", "simulated subject"),
    ];
    let there = kinds.into_iter().filter(|(kind, ..)| data.respondents.iter().any(|one| one.kind == *kind));
    there.map(|(_, mark, text)| LegendItem { mark: mark.into(), text: text.into() }).collect()
}

fn legend(data: &ReportData) -> Vec<LegendItem> {
    let item = |mark: String, text: &str| LegendItem { mark, text: text.into() };
    let mut legend = kinds_legend(data);
    legend.extend([
        item(
            mark_path("ceiling", &ceiling_mark(0.0, [-4.0, 4.0], 0.0, 6.0)),
            "ceiling: same accuracy, the reference’s geometry",
        ),
        item(mark_path("chance", &chance_mark(0.0, [-4.0, 4.0], 0.0, 6.0)), "chance: coin flips under the same fit"),
        item("<rect class=\"band\" x=\"-8\" y=\"-4\" width=\"16\" height=\"8\"/>".into(), "from chance to ceiling"),
        item(mark_path("null", &null_mark(0.0, 0.0, 1.0)), "mean when concepts are shuffled"),
    ]);
    legend
}

/// In the order drawn.
fn csv(data: &ReportData) -> Vec<u8> {
    let header = [
        "fit",
        "respondent",
        "kind",
        "reference",
        "measure",
        "variant",
        "value",
        "lo",
        "hi",
        "ceiling",
        "chance",
        "normalised",
        "null_mean",
        "p",
        "n",
        "ceiling_lo",
        "ceiling_hi",
        "chance_lo",
        "chance_hi",
    ];
    let optional = |value: Option<f64>| value.and_then(finite);
    let rows = fits(data).into_iter().flat_map(|fit| ranked(data, fit)).map(|row| {
        (
            (
                &row.fit,
                &row.respondent,
                kind_name(kind_of(data, &row.respondent)),
                &row.reference,
                &row.measure,
                &row.variant,
            ),
            (finite(row.value), optional(row.lo), optional(row.hi), optional(row.ceiling), optional(row.chance)),
            (optional(row.normalised), optional(row.null_mean), optional(row.p), row.n),
            [row.ceiling_lo, row.ceiling_hi, row.chance_lo, row.chance_hi].map(optional),
        )
    });
    to_csv(&header, rows)
}
