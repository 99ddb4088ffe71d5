//! How alignment goes with each benchmark.

use super::quantities::{drawn, scatter};
use super::scatter::Scatter;
use crate::ingredients::benchmarks::{Correlated, Statistic};
use crate::report::data::{Ingredients, ReportData};
use crate::report::figure::{Figure, Part};
use crate::report::names::response_title;
use crate::report::numbers::{NOTHING, count, decimals};

/// A panel for each benchmark: the response of models against their scores in it.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let ingredients = data.ingredients.as_ref()?;
    let columns = &ingredients.asked.benchmarks.as_ref()?.columns;
    let scatters = columns.iter().enumerate().filter_map(|(index, column)| {
        let result = result(correlation(ingredients, &ingredients.asked.response, column));
        let (column, scatter) = scatter(ingredients, &format!("benchmark-{index}"), column, vec![result])?;
        let x_title = format!("{} score", scatter.title);
        Some((column, Scatter { named: true, may_be_log: false, x_title, ..scatter }))
    });
    Some(Figure {
        name: "benchmark-scatter",
        part: Part::Benchmarks,
        title: "How alignment goes with each benchmark".into(),
        caption: format!(
            "{} of models against their scores in a benchmark, on the scale that the table has them in; models without a score are left out, \
             so that panels show different models. Named are the highest and the lowest model and those furthest from the line, where there is room; \
             point at the others. The line is of least squares, the band its pointwise 95 % interval. r is Pearson’s correlation with its \
             95 % interval (Fisher’s z).",
            response_title(&ingredients.asked)
        ),
        ..drawn(ingredients, &scatters.collect::<Vec<_>>())?
    })
}

/// The stored Pearson correlation of two columns, in either order.
pub(super) fn correlation<'a>(data: &'a Ingredients, a: &str, b: &str) -> Option<&'a Correlated> {
    data.correlations
        .iter()
        .find(|row| row.statistic == Statistic::Pearson && ((row.a == a && row.b == b) || (row.a == b && row.b == a)))
}

fn result(row: Option<&Correlated>) -> String {
    let Some(row) = row else { return NOTHING.into() };
    let n = count(row.n);
    match row.estimate {
        Some(e) => {
            let [r, lo, hi] = [e.value, e.lo, e.hi].map(|v| decimals(Some(v), 3));
            format!("r = {r} ({lo} to {hi}), n = {n}")
        }
        None => format!("no correlation: n = {n}"),
    }
}
