//! Whether larger models are more human-like, by each quantity asked about.

use super::asked::{asked, found_lines, left_out, legend, mark, told};
use super::axes::{extent, from_zero};
use super::scatter::{Point, Scatter};
use crate::ingredients::Question;
use crate::report::csv::to_csv;
use crate::report::data::{Ingredients, ReportData};
use crate::report::figure::{Figure, Part};
use crate::report::names::{column_title, response_title};

/// A panel for each quantity that a claim correlates with the response, benchmarks apart.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let ingredients = data.ingredients.as_ref()?;
    let benchmarks = ingredients.asked.benchmarks.as_ref().map(|asked| asked.columns.as_slice()).unwrap_or_default();
    let is_benchmark = |column: &str| benchmarks.iter().any(|benchmark| benchmark == column);
    let asked: Vec<_> = asked(ingredients, quantity).filter(|(_, (column, _), _)| !is_benchmark(column)).collect();
    let scatters = asked.iter().enumerate().filter_map(|(index, (_, (column, ranks), answer))| {
        let what = if *ranks { "Spearman’s ρ" } else { "r" };
        let [estimate, tests] = found_lines(answer);
        let estimate = if answer.error.is_none() { format!("{what} = {estimate}") } else { estimate };
        scatter(ingredients, &format!("quantity-{index}"), column, vec![estimate, tests])
    });
    let left_out = left_out(asked.iter().map(|(_, (column, _), answer)| (column_title(column), *answer)));
    Some(Figure {
        name: "quantities",
        part: Part::Ingredients,
        title: "Whether larger models are more human-like".into(),
        caption: format!(
            "{} of models against a quantity each. Point at a dot for its name. The line is of least squares on the axis as it is drawn, \
             the band its pointwise 95 % interval. Below the heading: the correlation that was asked for, of values or, for ρ, of ranks, \
             with its 95 % interval (Fisher’s z; for ranks with the variance of Bonett and Wright), p alone and adjusted for the number \
             of claims (Holm). The line is another thing than r: on a log axis it can rise where the values themselves hardly \
             correlate.{left_out}",
            response_title(&ingredients.asked)
        ),
        ..drawn(ingredients, &scatters.collect::<Vec<_>>())?
    })
}

/// Panels, legend and numbers of scatter plots, for a figure that has its own words; nothing without a panel.
pub(super) fn drawn(data: &Ingredients, scatters: &[(String, Scatter<'_>)]) -> Option<Figure> {
    let panels: Vec<_> = scatters.iter().filter_map(|(_, scatter)| scatter.panel()).collect();
    let legend = legend(told(data).as_ref());
    (!panels.is_empty()).then(|| Figure { csv: csv(scatters), legend, panels, columns: 3, ..Figure::default() })
}

/// A quantity that the response is correlated with, nothing held fixed, and whether by ranks.
fn quantity(question: &Question) -> Option<(&str, bool)> {
    match question {
        Question::Correlation { with, ranks, given } if given.is_empty() => Some((with, *ranks)),
        _ => None,
    }
}

/// The response against a column, with the column's key; nothing where the column is not of numbers.
pub(super) fn scatter<'a>(
    data: &'a Ingredients,
    id: &str,
    column: &str,
    results: Vec<String>,
) -> Option<(String, Scatter<'a>)> {
    let (response, values, told) = (data.response(), data.numbers(column), told(data));
    let rows = data.models.rows().iter().zip(response.iter().zip(values)).enumerate();
    let points: Vec<Point> = rows
        .filter_map(|(row, (name, (y, x)))| Some(Point { name, x: x?, y: (*y)?, mark: mark(told.as_ref(), row) }))
        .collect();
    if points.is_empty() {
        return None;
    }
    let title = column_title(column);
    let scatter = Scatter {
        id: id.to_owned(),
        // What is in brackets is the unit, which the axis has.
        title: title.split(" (").next().unwrap_or(&title).to_owned(),
        results,
        x_title: title.clone(),
        y_title: response_title(&data.asked),
        y_domain: from_zero(extent(response.into_iter().flatten())?),
        may_be_log: true,
        points,
        named: false,
    };
    Some((column.to_owned(), scatter))
}

/// In the order drawn, with the line and its band at each model's place.
fn csv(scatters: &[(String, Scatter<'_>)]) -> Vec<u8> {
    let rows = scatters.iter().flat_map(|(column, scatter)| {
        scatter.fitted().into_iter().map(move |one| {
            let [line, lo, hi] = one.line.map_or([None; 3], |line| line.map(Some));
            (column, one.name, one.x, one.y, line, lo, hi)
        })
    });
    to_csv(&["column", "model", "value", "score", "line", "line_lo", "line_hi"], rows)
}
