//! Where the concepts lie.

use std::fmt::Write as _;

use crate::report::csv::{finite, to_csv};
use crate::report::data::{ConceptLabel, ConceptMap, Kind, ReportData, drawn_maps, is_reference, kind_of};
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::numbers::{NOTHING, count, percent};
use crate::report::svg::{escape, px, shorten};

const NO_CATEGORY: &str = "no category";

/// Colours and shapes of categories: as many as can be told apart by colour alone.
pub(super) const N_STYLES: usize = 8;

/// Above this number of concepts the rules that link the maps would outweigh the maps: names are then tooltips only.
const MAX_LINKED: usize = 512;

/// Outlines of the category marks around (0, 0): disc, square, triangle, diamond, triangle down, plus, cross, pentagon.
pub(super) const SHAPES: [&str; N_STYLES] = [
    "M-4.6 0A4.6 4.6 0 1 1 4.6 0A4.6 4.6 0 1 1-4.6 0Z",
    "M-4.1-4.1H4.1V4.1H-4.1Z",
    "M0-5.4L5.2 3.8H-5.2Z",
    "M0-5.8L5.8 0L0 5.8L-5.8 0Z",
    "M0 5.4L5.2-3.8H-5.2Z",
    "M-1.8-5.4H1.8V-1.8H5.4V1.8H1.8V5.4H-1.8V1.8H-5.4V-1.8H-1.8Z",
    "M-5.2-2.7L-2.7-5.2L0-2.5L2.7-5.2L5.2-2.7L2.5 0L5.2 2.7L2.7 5.2L0 2.5L-2.7 5.2L-5.2 2.7L-2.5 0Z",
    "M0-5.4L5.1-1.7L3.2 4.4H-3.2L-5.1-1.7Z",
];

/// The concepts on two axes, the reference first, then each respondent.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let drawn = drawn_maps(data);
    if drawn.is_empty() {
        return None;
    }
    let categories = categories(&data.concepts);
    let small = drawn.len() > 9;
    let panels = drawn.iter().enumerate().map(|(index, map)| map_panel(index, map, data, &categories, small));

    let mut defs = String::new();
    for (index, _) in categories.iter().enumerate() {
        let (colour, shape) = mark_style(index);
        let _ = write!(defs, "<path id=\"m{index}\" class=\"k{colour}\" d=\"{}\"/>", SHAPES[shape]);
    }
    defs.push_str("<circle id=\"m-\" class=\"kx\" r=\"3.4\"/>");
    // Pointing at a concept shows its name in every map, so that its places can be compared, without a script.
    let mut style = String::new();
    let n_linked = if data.concepts.len() <= MAX_LINKED { data.concepts.len() } else { 0 };
    for i in 0..n_linked {
        let _ = write!(
            style,
            ".maps:has(.c{i}:is(:hover,:focus)){{.c{i}{{stroke:var(--ink);stroke-width:2}}.n{i}{{display:block}}}}"
        );
    }

    let legend_item =
        |id: String, text: &str| LegendItem { mark: format!("<use href=\"#m{id}\"/>"), text: text.into() };
    let mut legend: Vec<LegendItem> =
        categories.iter().enumerate().map(|(index, name)| legend_item(index.to_string(), name)).collect();
    if !legend.is_empty() && data.concepts.iter().any(|c| c.category.is_none()) {
        legend.push(legend_item("-".into(), NO_CATEGORY));
    }
    let fit = drawn.iter().map(|map| map.fit.as_str()).find(|fit| !fit.is_empty()).unwrap_or(NOTHING);
    let (who, turned) = match drawn.first().is_some_and(|map| is_reference(data, map)) {
        true => (
            "The reference first, then each",
            " Maps are turned to lie best on the reference’s, so that even unrelated ones look a little like it.",
        ),
        false => ("Each", ""),
    };
    Some(Figure {
        name: "maps",
        part: Part::Concepts,
        title: "Where the concepts lie".into(),
        caption: format!(
            "{who} respondent’s embedding ({fit} fit), on the two axes that carry most variance; colour and shape show the category. \
             Point at a concept, or move through the first map with the Tab key, to see its name in every map. Directions mean \
             nothing, and each map has its own scale.{turned} Two axes show part of the picture: the alignment uses all dimensions."
        ),
        terms: vec![],
        csv: csv(data),
        defs,
        style,
        legend,
        panels: panels.collect(),
        columns: if small { 6 } else { 3 },
    })
}

/// The categories in alphabetical order.
fn categories(concepts: &[ConceptLabel]) -> Vec<&str> {
    let mut names: Vec<&str> = concepts.iter().filter_map(|concept| concept.category.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Colour and shape of a category: past eight the colours come again with other shapes.
pub(super) fn mark_style(category: usize) -> (usize, usize) {
    (category % N_STYLES, (category + category / N_STYLES) % N_STYLES)
}

/// One map: every concept at its place, its name shown on pointing or on focus.
fn map_panel(index: usize, map: &ConceptMap, data: &ReportData, categories: &[&str], small: bool) -> Panel {
    const SIZE: f64 = 320.0;
    const INSET: f64 = 14.0;
    let head = if small { 56.0 } else { 42.0 };
    let placed: Vec<(usize, &ConceptLabel, [f64; 2])> = (data.concepts.iter().enumerate())
        .zip(&map.points)
        .map(|((id, concept), point)| (id, concept, *point))
        .filter(|(_, _, [x, y])| x.is_finite() && y.is_finite())
        .collect();
    let range = |axis: usize| {
        let values = placed.iter().map(|(_, _, point)| point[axis]);
        values.fold([f64::INFINITY, f64::NEG_INFINITY], |[lo, hi], v| [lo.min(v), hi.max(v)])
    };
    let ([left, right], [low, high]) = (range(0), range(1));
    // Both axes have the same scale: distances on paper mean what they mean in the map.
    let half = ((right - left).max(high - low) / 2.0).max(f64::MIN_POSITIVE);
    let place = |value: f64, lo: f64, hi: f64| (value - f64::midpoint(lo, hi)) / half * (SIZE / 2.0 - INSET);

    let is_reference = is_reference(data, map);
    let heading = if is_reference { format!("Reference: {}", map.respondent) } else { map.respondent.clone() };
    let about = match (is_reference, kind_of(data, &map.respondent)) {
        (true, _) if data.reference_built_in => "not human data, ",
        (false, Kind::Simulated) => "simulated, ",
        _ => "",
    };
    let explained = match (small, data.reference_built_in && is_reference) {
        (true, true) => "not human data".to_owned(),
        (true, false) => format!("{about}{} of variance", percent(Some(map.explained))),
        (false, _) => format!("{about}axes carry {} of variance", percent(Some(map.explained))),
    };
    let mut body = format!(
        "<g class=\"{}\"><text class=\"head\" y=\"{}\">{}</text><text class=\"dim\" y=\"{}\">{explained}</text>\
         <rect class=\"frame\" x=\".5\" y=\"{head}\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
        if small { "small" } else { "map" },
        if small { 20 } else { 14 },
        escape(&shorten(&heading, if small { 24 } else { 38 })),
        if small { 46 } else { 32 },
        px(SIZE - 1.0),
        px(SIZE - 1.0),
    );
    // Names lie above all marks, so that no neighbour covers them.
    let mut names = String::new();
    for (id, concept, [x, y]) in &placed {
        let (x, y) = (SIZE / 2.0 + place(*x, left, right), head + SIZE / 2.0 - place(*y, low, high));
        let category = concept.category.as_deref();
        let mark = category.and_then(|c| categories.binary_search(&c).ok()).map_or("-".into(), |c| c.to_string());
        let name = escape(&concept.name);
        let title = category.map_or(name.clone(), |c| format!("{name} ({})", escape(c)));
        // One map takes the keyboard; the others answer to it.
        let focus = if index == 0 { " tabindex=\"0\" role=\"img\"" } else { "" };
        let side = if x < SIZE * 0.25 {
            ""
        } else if x > SIZE * 0.75 {
            " end"
        } else {
            " mid"
        };
        let label_dy = if y < head + 40.0 { if small { 26 } else { 18 } } else { -9 };
        let (x, y) = (px(x), px(y));
        let _ = write!(
            body,
            "<g class=\"c c{id}\"{focus} transform=\"translate({x} {y})\"><title>{title}</title>\
             <use href=\"#m{mark}\"/></g>"
        );
        let text = escape(&shorten(&concept.name, 28));
        let _ = write!(names, "<text class=\"n n{id}{side}\" x=\"{x}\" y=\"{y}\" dy=\"{label_dy}\">{text}</text>");
    }
    body.push_str(&names);
    body.push_str("</g>");
    if placed.is_empty() {
        let _ = write!(
            body,
            "<text class=\"dim mid\" x=\"{}\" y=\"{}\">{NOTHING}</text>",
            px(SIZE / 2.0),
            px(head + SIZE / 2.0)
        );
    }
    let description = format!(
        "{} concepts on the first two axes of {}; the axes carry {} of the variance. \
         The coordinates are in figures/maps.csv.",
        count(placed.len()),
        shorten(&heading, 60),
        percent(Some(map.explained))
    );
    let role = if index == 0 { "group" } else { "img" };
    Panel {
        id: format!("map-{index}"),
        width: SIZE,
        height: head + SIZE,
        role,
        title: shorten(&heading, 120),
        description,
        body,
    }
}

/// One line for each concept of each map.
fn csv(data: &ReportData) -> Vec<u8> {
    let rows = drawn_maps(data).into_iter().flat_map(|map| {
        data.concepts.iter().zip(&map.points).map(move |(concept, [x, y])| {
            (&map.respondent, &map.fit, &concept.name, &concept.category, finite(*x), finite(*y), finite(map.explained))
        })
    });
    to_csv(&["respondent", "fit", "concept", "category", "x", "y", "explained"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_past_eight_repeat_colours_with_other_shapes() {
        let mut styles: Vec<_> = (0..64).map(mark_style).collect();
        assert_eq!(styles[0], (0, 0));
        assert_eq!(styles[8], (0, 1));
        styles.sort_unstable();
        styles.dedup();
        assert_eq!(styles.len(), 64);
    }
}
