//! Tables on a terminal, in Markdown so that they can be pasted.

use alike::report::data::Effect;
use alike::store::alignment::AlignmentRow;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

fn number(value: Option<f64>) -> String {
    // Adding zero turns −0 into 0.
    value.map_or_else(|| "–".to_owned(), |v| format!("{:.3}", (v * 1000.0).round() / 1000.0 + 0.0))
}

/// Three decimals, or one digit and a power of ten.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.0e}") } else { format!("{p:.3}") }
}

pub(crate) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>, n_text: usize) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.to_vec());
    rows.for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(n_text) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A mean over simulated subjects, with the lowest and highest of them where these are known.
fn with_range(mean: Option<f64>, lo: Option<f64>, hi: Option<f64>) -> String {
    let range = lo.zip(hi).map(|(lo, hi)| format!(" ({lo:.2} to {hi:.2})"));
    number(mean) + &range.unwrap_or_default()
}

/// The two ends of an interval.
fn interval(ends: Option<(f64, f64)>) -> String {
    ends.map_or_else(|| "–".to_owned(), |(lo, hi)| format!("{} to {}", number(Some(lo)), number(Some(hi))))
}

/// Procrustes R² of every fit, the highest first; with its 95 % interval where any has one.
pub(crate) fn ranking_table(rows: &[AlignmentRow]) -> Table {
    let mut rows: Vec<&AlignmentRow> = rows.iter().filter(|r| r.measure == "procrustes_r2").collect();
    rows.sort_by(|a, b| a.fit.cmp(&b.fit).then(b.value.total_cmp(&a.value)));
    let with_intervals = rows.iter().any(|r| r.lo.zip(r.hi).is_some());
    let mut header = vec!["fit", "respondent", "Procrustes R²", "p", "chance", "ceiling", "normalised"];
    if with_intervals {
        header.insert(3, "95 %");
    }
    let cells = |r: &&AlignmentRow| {
        let chance = with_range(r.chance, r.chance_lo, r.chance_hi);
        let ceiling = with_range(r.ceiling, r.ceiling_lo, r.ceiling_hi);
        let mut cells = vec![r.fit.clone(), r.respondent.clone(), number(Some(r.value))];
        cells.extend(with_intervals.then(|| interval(r.lo.zip(r.hi))));
        cells.extend([number(r.p), chance, ceiling, number(r.normalised)]);
        cells
    };
    table(&header, rows.iter().map(cells), 2)
}

/// The fixed effects of a mixed model.
pub(crate) fn effects_table(effects: &[Effect]) -> Table {
    let cells = |effect: &Effect| {
        let p = |p: Option<f64>| p.map_or_else(|| "–".to_owned(), p_value);
        vec![effect.term.clone(), number(Some(effect.value)), interval(effect.interval), p(effect.p), p(effect.p_holm)]
    };
    table(&["term", "β", "95 %", "p", "p (Holm)"], effects.iter().map(cells), 1)
}

/// Every measure of one comparison; the subjects' columns only where there are any.
pub(crate) fn alignment_table(rows: &[AlignmentRow]) -> Table {
    let mut header = vec!["measure", "reference", "concepts", "value", "lo", "hi", "null mean", "p"];
    let of_subjects = rows.iter().any(|r| r.subject_mean.is_some());
    if of_subjects {
        header.extend(["subjects", "noise ceiling"]);
    }
    let cells = |r: &AlignmentRow| {
        let mut cells = vec![r.measure.clone(), r.reference.clone(), r.n.to_string()];
        cells.extend([Some(r.value), r.lo, r.hi, r.null_mean, r.p].map(number));
        if of_subjects {
            let ceiling = r.noise_ceiling_lo.zip(r.noise_ceiling_hi).map(|(lo, hi)| format!("{lo:.3} to {hi:.3}"));
            cells.extend([number(r.subject_mean), ceiling.unwrap_or_else(|| number(None))]);
        }
        cells
    };
    table(&header, rows.iter().map(cells), 2)
}
