//! Whether the measures of alignment say the same of the models.

use std::collections::BTreeMap;

use super::matrix::{Cell, Row, WIDE, legend, matrix_panel};
use crate::ingredients::correlation::pearson;
use crate::report::csv::to_csv;
use crate::report::data::{Kind, ReportData, kind_of, preferred_fit};
use crate::report::figure::{Figure, Part};
use crate::report::names::measure_name;

/// Of fewer models a correlation says nothing.
const FEWEST: usize = 5;

/// Correlations of measures over models under the preferred fit; nothing for few models, or where none varies.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let fit = preferred_fit(data)?;
    let rows = data.alignment.iter().filter(|row| row.fit == fit && kind_of(data, &row.respondent) == Kind::Model);
    let mut measures: Vec<&str> = vec![];
    let mut values: Vec<BTreeMap<&str, f64>> = vec![];
    for row in rows {
        let at = measures.iter().position(|measure| *measure == row.measure).unwrap_or_else(|| {
            measures.push(&row.measure);
            values.push(BTreeMap::new());
            measures.len() - 1
        });
        if row.value.is_finite() {
            values[at].insert(&row.respondent, row.value);
        }
    }
    let cell = |a: usize, b: usize| {
        let both = values[a].iter().filter_map(|(who, x)| Some((*x, *values[b].get(who)?)));
        let (x, y): (Vec<f64>, Vec<f64>) = both.unzip();
        let found = pearson(&x, &y).ok().filter(|_| x.len() >= FEWEST)?;
        Some(Cell { r: found.value, lo: found.lo, hi: found.hi, n: x.len() })
    };
    let drawn: Vec<Row> = measures
        .iter()
        .enumerate()
        .skip(1)
        .map(|(at, a)| Row { name: measure_name(a), cells: (0..at).map(|b| cell(at, b)).collect(), gap: false })
        .collect();
    if drawn.iter().all(|row| row.cells.iter().all(Option::is_none)) {
        return None;
    }
    let columns: Vec<String> = measures[..measures.len() - 1].iter().map(|name| measure_name(name)).collect();
    let numbers = drawn.iter().zip(&measures[1..]).flat_map(|(row, a)| {
        row.cells.iter().zip(&measures).filter_map(move |(cell, b)| cell.map(|c| (a, b, c.r, c.lo, c.hi, c.n)))
    });
    Some(Figure {
        name: "measure-correlations",
        part: Part::Alignment,
        title: "Whether the measures agree about the models".into(),
        caption: format!(
            "Pearson correlations of the measures over models, simulated subjects left out, under the {fit} fit; point at a cell for its \
             95 % interval (Fisher’s z) and n. A cell whose interval holds zero has no colour."
        ),
        csv: to_csv(&["a", "b", "r", "lo", "hi", "n"], numbers),
        legend: legend(),
        panels: vec![matrix_panel("measure-correlations-0", "Correlations of measures over models", &columns, &drawn)],
        columns: if columns.len() > WIDE { 1 } else { 2 },
        ..Figure::default()
    })
}
