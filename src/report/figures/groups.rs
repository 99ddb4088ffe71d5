//! Whether models with one property are more human-like than models with another.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::asked::{asked, dot, found, left_out, legend, mark, told};
use super::axes::{extent, from_zero, ticks};
use super::dots::Mark;
use crate::ingredients::Question;
use crate::ingredients::whiskers::Whiskers;
use crate::report::csv::to_csv;
use crate::report::data::{Ingredients, ReportData};
use crate::report::figure::{Figure, Panel, Part};
use crate::report::names::{column_title, response_title};
use crate::report::numbers::{count, decimals};
use crate::report::scale::Scale;
use crate::report::svg::{escape, px, shorten};

/// Groups of fewer models have dots alone: their quartiles would say little.
const BOXED: usize = 5;

/// A panel for each property that a claim compares groups by.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let ingredients = data.ingredients.as_ref()?;
    let response = ingredients.response();
    let domain = from_zero(extent(response.iter().copied().flatten())?);
    let properties: Vec<Property> = properties(ingredients, &response);
    let told = told(ingredients);
    let axis_title = response_title(&ingredients.asked);
    let mark = |row| mark(told.as_ref(), row);
    let panel = |(index, property)| panel(index, property, domain, &axis_title, ingredients, &mark);
    let panels: Vec<Panel> = properties.iter().enumerate().map(panel).collect();
    let left_out =
        left_out(asked(ingredients, compared).map(|(_, (column, _), answer)| (column_title(column), answer)));
    (!panels.is_empty()).then(|| Figure {
        name: "groups",
        part: Part::Ingredients,
        title: "Which kinds of models are more human-like".into(),
        caption: format!(
            "{axis_title} of models by a property each, with the number of models in brackets. A dot is a model; its height in a row means \
             nothing. A box reaches from the first to the third quartile with the median in it, the whiskers to the last model within \
             1.5 box lengths; groups of fewer than {BOXED} have none. The line below a heading has the difference of means (Welch) with \
             its 95 % interval, or the test that any group differs (H of Kruskal and Wallis, F of Welch), p alone and adjusted for the \
             number of claims (Holm). Groups differ in more than the one property: what holds with others fixed is in the figure of \
             effects.{left_out}"
        ),
        csv: csv(&properties, ingredients, &response),
        legend: legend(told.as_ref()),
        panels,
        columns: 2,
        ..Figure::default()
    })
}

/// A column of levels with what was asked of it.
struct Property<'a> {
    column: &'a str,
    results: Vec<String>,
    /// Levels with the rows of their models, the highest median first.
    levels: Vec<(&'a str, Vec<(usize, f64)>)>,
}

/// A column of levels that are compared, and the one that is compared with the others.
fn compared(question: &Question) -> Option<(&str, Option<&str>)> {
    match question {
        Question::Groups { column, level } => Some((column, Some(level))),
        Question::Levels { column, .. } => Some((column, None)),
        _ => None,
    }
}

fn properties<'a>(data: &'a Ingredients, response: &[Option<f64>]) -> Vec<Property<'a>> {
    let mut properties: Vec<Property> = vec![];
    for (_, (column, level), answer) in asked(data, compared) {
        let result = match level {
            Some(level) => format!("{level} less others: {}", found(answer)),
            None => format!("any group differs: {}", found(answer)),
        };
        if let Some(property) = properties.iter_mut().find(|property| property.column == column) {
            property.results.push(result);
            continue;
        }
        let Ok(cells) = data.models.levels(column) else { continue };
        let mut levels: BTreeMap<&str, Vec<(usize, f64)>> = BTreeMap::new();
        for (row, (cell, value)) in cells.iter().zip(response).enumerate() {
            if let Some((level, value)) = cell.as_deref().zip(*value) {
                levels.entry(level).or_default().push((row, value));
            }
        }
        let mut levels: Vec<_> = levels.into_iter().collect();
        levels.sort_by(|a, b| median(&b.1).total_cmp(&median(&a.1)));
        properties.push(Property { column, results: vec![result], levels });
    }
    properties.retain(|property| !property.levels.is_empty());
    properties
}

fn whiskers(models: &[(usize, f64)]) -> Option<Whiskers> {
    Whiskers::of(&models.iter().map(|(_, value)| *value).collect::<Vec<_>>()).ok()
}

fn median(models: &[(usize, f64)]) -> f64 {
    whiskers(models).map_or(f64::NEG_INFINITY, |found| found.median)
}

/// A row for each level.
fn panel(
    index: usize,
    property: &Property<'_>,
    domain: [f64; 2],
    axis_title: &str,
    data: &Ingredients,
    mark: &dyn Fn(usize) -> Mark,
) -> Panel {
    const WIDTH: f64 = 460.0;
    const PLOT: [f64; 2] = [150.0, 450.0];
    const ROW: f64 = 42.0;
    let top = 26.0 + 16.0 * property.results.len() as f64;
    let bottom = top + ROW * property.levels.len() as f64;
    let scale = Scale { domain, range: PLOT, log: false };
    let title = column_title(property.column);
    let mut body = format!("<text class=\"head\" y=\"14\">{}</text>", escape(&shorten(&title, 60)));
    for (line, result) in property.results.iter().enumerate() {
        let y = 32.0 + 16.0 * line as f64;
        let _ = write!(body, "<text class=\"dim num\" y=\"{}\">{}</text>", px(y), escape(&shorten(result, 76)));
    }
    for (value, text) in ticks(&scale) {
        let x = px(scale.at(value));
        let _ = write!(
            body,
            "<path class=\"grid\" d=\"M{x} {}V{}\"/><text class=\"dim mid num\" x=\"{x}\" y=\"{}\">{text}</text>",
            px(top),
            px(bottom),
            px(bottom + 16.0)
        );
    }
    for (at, (level, models)) in property.levels.iter().enumerate() {
        let y = top + ROW * (at as f64 + 0.5);
        let _ = write!(
            body,
            "<text class=\"end\" x=\"{}\" y=\"{}\">{} <tspan class=\"dim\">({})</tspan></text>",
            px(PLOT[0] - 10.0),
            px(y + 4.0),
            escape(&shorten(level, 17)),
            count(models.len())
        );
        if let Some(found) = whiskers(models).filter(|_| models.len() >= BOXED) {
            let [low, q1, median, q3, high] =
                [found.low, found.q1, found.median, found.q3, found.high].map(|value| scale.at(value));
            let _ = write!(
                body,
                "<path class=\"axis\" d=\"M{} {y}H{}M{} {y}H{}\"/><rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"28\"/>\
                 <path class=\"line\" d=\"M{} {}v28\"/>",
                px(low),
                px(q1),
                px(q3),
                px(high),
                px(q1),
                px(y - 14.0),
                px(q3 - q1),
                px(median),
                px(y - 14.0),
                y = px(y),
            );
        }
        let mut sorted = models.clone();
        sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (place, (row, value)) in sorted.iter().enumerate() {
            let name = &data.models.rows()[*row];
            let title = format!("{name}: {}", decimals(Some(*value), 3));
            body.push_str(&dot(scale.at(*value), y + 22.0 * (spread(place) - 0.5), mark(*row), &title));
        }
    }
    let _ = write!(
        body,
        "<text class=\"dim mid\" x=\"{}\" y=\"{}\">{}</text>",
        px(f64::midpoint(PLOT[0], PLOT[1])),
        px(bottom + 35.0),
        escape(axis_title)
    );
    let sizes: Vec<String> =
        property.levels.iter().map(|(level, models)| format!("{} {level}", count(models.len()))).collect();
    let description = format!("{}. Models: {}.", property.results.join("; "), sizes.join(", "));
    Panel { id: format!("groups-{index}"), width: WIDTH, height: bottom + 42.0, role: "img", title, description, body }
}

/// Places in [0, 1) in which neighbours are far from each other: multiples of the golden ratio.
fn spread(place: usize) -> f64 {
    (place as f64 * 0.618_033_988_749_894_9 + 0.5).fract()
}

/// In the order drawn.
fn csv(properties: &[Property<'_>], data: &Ingredients, response: &[Option<f64>]) -> Vec<u8> {
    let rows = properties.iter().flat_map(|property| {
        let of_level = |(level, models): &(&str, Vec<(usize, f64)>)| {
            let level = (*level).to_owned();
            let of_model = move |(row, _): &(usize, f64)| {
                (property.column, level.clone(), &data.models.rows()[*row], response[*row])
            };
            models.iter().map(of_model).collect::<Vec<_>>()
        };
        property.levels.iter().flat_map(of_level).collect::<Vec<_>>()
    });
    to_csv(&["column", "level", "model", "score"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_spread() {
        assert_eq!(spread(0), 0.5);
        for place in 0..100 {
            assert!((0.0..1.0).contains(&spread(place)));
            assert!((spread(place) - spread(place + 1)).abs() > 0.3, "{place}");
        }
    }
}
