//! What benchmarks have to do with alignment and with each other.

use super::benchmark_scatter::correlation;
use super::matrix::{Cell, Row, WIDE, legend, matrix_panel};
use crate::ingredients::benchmarks::Statistic;
use crate::report::csv::to_csv;
use crate::report::data::{Ingredients, ReportData};
use crate::report::figure::{Figure, Part};
use crate::report::names::{column_title, response_title};
use crate::report::numbers::count;

/// Correlations of measures with benchmarks, and of benchmarks with each other below.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let ingredients = data.ingredients.as_ref()?;
    let asked = ingredients.asked.benchmarks.as_ref()?;
    let title = |name: &String| match *name == ingredients.asked.response {
        true => response_title(&ingredients.asked),
        false => column_title(name),
    };
    let cells = |a: &String, columns: &[String]| columns.iter().map(|b| cell(ingredients, a, b)).collect::<Vec<_>>();
    let measures = asked.measures.iter().enumerate().map(|(at, name)| Row {
        name: title(name),
        cells: cells(name, &asked.columns),
        gap: at + 1 == asked.measures.len(),
    });
    let benchmarks = asked.columns.iter().enumerate().skip(1).map(|(at, name)| Row {
        name: title(name),
        cells: cells(name, &asked.columns[..at]),
        gap: false,
    });
    let rows: Vec<Row> = measures.chain(benchmarks).collect();
    let n = rows.iter().flat_map(|row| row.cells.iter().flatten().map(|cell| cell.n));
    let (least, most) = (n.clone().min()?, n.max()?);
    let columns: Vec<String> = asked.columns.iter().map(&title).collect();
    Some(Figure {
        name: "benchmark-correlations",
        part: Part::Benchmarks,
        title: "What benchmarks have to do with alignment and with each other".into(),
        caption: format!(
            "Pearson correlations over models: alignment with benchmarks above the gap, benchmarks with each other below. Each is over \
             the models that have both numbers, {} to {} of them (point at a cell for its n and its 95 % interval, by Fisher’s z); a cell \
             whose interval holds zero has no colour. Intervals are not adjusted for the number of cells.",
            count(least),
            count(most)
        ),
        csv: csv(ingredients),
        legend: legend(),
        panels: vec![matrix_panel("correlations-0", "Correlations with and of benchmarks", &columns, &rows)],
        columns: if columns.len() > WIDE { 1 } else { 2 },
        ..Figure::default()
    })
}

fn cell(data: &Ingredients, a: &str, b: &str) -> Option<Cell> {
    let row = correlation(data, a, b)?;
    row.estimate.map(|e| Cell { r: e.value, lo: e.lo, hi: e.hi, n: row.n })
}

/// Every Pearson correlation stored.
fn csv(data: &Ingredients) -> Vec<u8> {
    let rows = data.correlations.iter().filter(|row| row.statistic == Statistic::Pearson).map(|row| {
        let e = row.estimate;
        (&row.a, &row.b, e.map(|e| e.value), e.map(|e| e.lo), e.map(|e| e.hi), e.map(|e| e.p), row.p_holm, row.n)
    });
    to_csv(&["a", "b", "r", "lo", "hi", "p", "p_holm", "n"], rows)
}
