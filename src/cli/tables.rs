//! Tables on a terminal, in Markdown so that they can be pasted.

use alike::store::alignment::AlignmentRow;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

fn number(value: Option<f64>) -> String {
    // Adding zero turns −0 into 0.
    value.map_or_else(|| "–".to_owned(), |v| format!("{:.3}", (v * 1000.0).round() / 1000.0 + 0.0))
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

/// Procrustes R² of every fit, the highest first.
pub(crate) fn ranking_table(rows: &[AlignmentRow]) -> Table {
    let mut rows: Vec<&AlignmentRow> = rows.iter().filter(|r| r.measure == "procrustes_r2").collect();
    rows.sort_by(|a, b| a.fit.cmp(&b.fit).then(b.value.total_cmp(&a.value)));
    let header = ["fit", "respondent", "Procrustes R²", "p", "chance", "ceiling", "normalised"];
    let cells = |r: &&AlignmentRow| {
        let text = [r.fit.clone(), r.respondent.clone()];
        let chance = with_range(r.chance, r.chance_lo, r.chance_hi);
        let ceiling = with_range(r.ceiling, r.ceiling_lo, r.ceiling_hi);
        text.into_iter().chain([number(Some(r.value)), number(r.p), chance, ceiling, number(r.normalised)]).collect()
    };
    table(&header, rows.iter().map(cells), 2)
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
