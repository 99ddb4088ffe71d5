//! Where the concepts lie.

use std::fmt::Write as _;

use crate::report::csv::{finite, to_csv};
use crate::report::data::{ConceptLabel, Kind, ReportData, drawn_maps, is_reference, kind_of};
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::numbers::{NOTHING, count, decimals, percent, significant};
use crate::report::structure::{Axes, ConceptMap};
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

/// What the two axes of a figure's maps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Components,
    Tsne,
}

impl Method {
    /// Name of the figure, and what the ids of its marks begin with.
    fn name(self) -> &'static str {
        match self {
            Self::Components => "maps",
            Self::Tsne => "tsne",
        }
    }

    fn of(axes: &Axes) -> Self {
        match axes {
            Axes::Components { .. } => Self::Components,
            Axes::Neighbours { .. } => Self::Tsne,
        }
    }
}

/// The concepts on the two axes that carry most variance, the reference first, then each respondent.
pub(in crate::report) fn components(data: &ReportData) -> Option<Figure> {
    figure(data, Method::Components)
}

/// The concepts with their neighbours, by t-SNE, the reference first, then each respondent.
pub(in crate::report) fn neighbours(data: &ReportData) -> Option<Figure> {
    figure(data, Method::Tsne)
}

fn figure(data: &ReportData, method: Method) -> Option<Figure> {
    let drawn = drawn_maps(data, |axes| Method::of(axes) == method);
    if drawn.is_empty() {
        return None;
    }
    let categories = categories(&data.concepts);
    let small = drawn.len() > 9;
    let panels = drawn.iter().enumerate().map(|(index, map)| map_panel(index, map, data, &categories, small));

    let name = method.name();
    let crowded = data.concepts.len() > MAX_LINKED;
    let scale = if crowded { " transform=\"scale(.6)\"" } else { "" };
    let mut defs = String::new();
    for (index, _) in categories.iter().enumerate() {
        let (colour, shape) = mark_style(index);
        let _ = write!(defs, "<path id=\"{name}{index}\" class=\"k{colour}\"{scale} d=\"{}\"/>", SHAPES[shape]);
    }
    let _ = write!(defs, "<circle id=\"{name}-\" class=\"kx\"{scale} r=\"3.4\"/>");
    // Pointing at a concept shows its name in every map, so that its places can be compared, without a script.
    let mut style = String::new();
    for i in 0..n_linked(data) {
        let _ = write!(
            style,
            ".{name}:has(.c{i}:is(:hover,:focus)){{.c{i}{{stroke:var(--ink);stroke-width:2}}.n{i}{{display:block}}}}"
        );
    }

    let legend_item =
        |id: String, text: &str| LegendItem { mark: format!("<use href=\"#{name}{id}\"/>"), text: text.into() };
    let mut legend: Vec<LegendItem> =
        categories.iter().enumerate().map(|(index, name)| legend_item(index.to_string(), name)).collect();
    if !legend.is_empty() && data.concepts.iter().any(|c| c.category.is_none()) {
        legend.push(legend_item("-".into(), NO_CATEGORY));
    }
    let (title, caption) = texts(data, method, &drawn);
    Some(Figure {
        name,
        part: Part::Concepts,
        title,
        caption,
        csv: csv(&drawn, data, method),
        defs,
        style,
        legend,
        panels: panels.collect(),
        columns: if small { 6 } else { 3 },
        ..Figure::default()
    })
}

/// Concepts whose marks answer to one another.
fn n_linked(data: &ReportData) -> usize {
    if data.concepts.len() <= MAX_LINKED { data.concepts.len() } else { 0 }
}

/// Title and caption.
fn texts(data: &ReportData, method: Method, drawn: &[&ConceptMap]) -> (String, String) {
    let fit = drawn.iter().map(|map| map.fit.as_str()).find(|fit| !fit.is_empty()).unwrap_or(NOTHING);
    let has_reference = is_reference(data, &drawn[0].respondent);
    let who = if has_reference { "The reference first, then each" } else { "Each" };
    let n = count(data.concepts.len());
    let n_drawn = drawn.len() - usize::from(has_reference);
    let left_out = match data.respondents.len().saturating_sub(n_drawn) {
        0 => String::new(),
        _ => format!(
            " Drawn are the first {} of {} respondents in the order of the ranking.",
            count(n_drawn),
            count(data.respondents.len())
        ),
    };
    let names = match n_linked(data) {
        0 => "Point at a mark to see its concept.",
        _ => "Point at a concept, or move through the first map with the Tab key, to see its name in every map.",
    };
    let turned = match has_reference {
        true => {
            " Maps are turned and mirrored to lie best on the reference’s, so that even unrelated ones look a little like it."
        }
        false => "",
    };
    let trust = drawn.iter().find_map(|map| map.trust).map_or_else(String::new, |trust| {
        format!(
            " Trustworthiness (Venna & Kaski 2001) falls from 1 as the {} nearest on a map are not near in the embedding; a map \
             at random has about one half.",
            trust.neighbours
        )
    });
    let (title, what, reading) = match method {
        Method::Components => (
            "Where the concepts lie",
            format!("on the two axes that carry most variance, n = {n} concepts"),
            format!(
                "Directions mean nothing, and each map has its own scale.{turned}{trust} Two axes show part of the picture: the \
                 alignment uses all dimensions."
            ),
        ),
        Method::Tsne => {
            let not_at_rest =
                drawn.iter().filter(|map| matches!(map.axes, Axes::Neighbours { converged: false, .. })).count();
            let rest = match not_at_rest {
                0 => String::new(),
                1 => " One descent had not come to rest.".to_owned(),
                n => format!(" {} descents had not come to rest.", count(n)),
            };
            (
                "Which concepts are neighbours",
                format!("as a t‑SNE map of all its dimensions, n = {n} concepts"),
                format!(
                    "Near on the map is near in the embedding; how far apart groups lie, and how large they are, means little.{turned} \
                     Perplexity is the effective number of neighbours of a concept; KL is how far (in nats) the map’s neighbourhoods \
                     diverge from the embedding’s.{trust}{rest}"
                ),
            )
        }
    };
    let caption = format!(
        "{who} respondent’s embedding ({fit} fit), {what}; colour and shape show the category. {names} {reading}{left_out}"
    );
    (title.to_owned(), caption)
}

/// Whose drawing it is, with a word where it is no model's and there is room for it, within `width` columns.
pub(super) fn heading(data: &ReportData, respondent: &str, width: usize) -> String {
    let (before, after) = match (is_reference(data, respondent), kind_of(data, respondent)) {
        (true, _) if data.reference_built_in && width >= 30 => ("Reference: ", " (not human)"),
        (true, _) => ("Reference: ", ""),
        (false, Kind::Simulated) => ("", if width < 30 { " (sim.)" } else { " (simulated)" }),
        (false, Kind::Model) => ("", ""),
    };
    format!("{before}{}{after}", shorten(respondent, width.saturating_sub(before.len() + after.len()).max(8)))
}

/// The categories in alphabetical order.
pub(super) fn categories(concepts: &[ConceptLabel]) -> Vec<&str> {
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
    let mut placed: Vec<(usize, &ConceptLabel, [f64; 2])> = (data.concepts.iter().enumerate())
        .zip(&map.points)
        .map(|((id, concept), point)| (id, concept, *point))
        .filter(|(_, _, [x, y])| x.is_finite() && y.is_finite())
        .collect();
    // What has a category lies above what has none.
    placed.sort_by_key(|(_, concept, _)| concept.category.is_some());
    let range = |axis: usize| {
        let values = placed.iter().map(|(_, _, point)| point[axis]);
        values.fold([f64::INFINITY, f64::NEG_INFINITY], |[lo, hi], v| [lo.min(v), hi.max(v)])
    };
    let ([left, right], [low, high]) = (range(0), range(1));
    // Both axes have the same scale: distances on paper mean what they mean in the map.
    let half = ((right - left).max(high - low) / 2.0).max(f64::MIN_POSITIVE);
    let place = |value: f64, lo: f64, hi: f64| (value - f64::midpoint(lo, hi)) / half * (SIZE / 2.0 - INSET);

    let heading = heading(data, &map.respondent, if small { 24 } else { 44 });
    let about = about(map, small);
    let mut body = format!(
        "<g class=\"{}\"><text class=\"head\" y=\"{}\">{}</text><text class=\"dim\" y=\"{}\">{about}</text>\
         <rect class=\"frame\" x=\".5\" y=\"{head}\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
        if small { "small" } else { "map" },
        if small { 20 } else { 14 },
        escape(&heading),
        if small { 46 } else { 32 },
        px(SIZE - 1.0),
        px(SIZE - 1.0),
    );
    // Names lie above all marks, so that no neighbour covers them.
    let (mut marks, mut names) = (String::new(), String::new());
    let (linked, prefix) = (n_linked(data) > 0, Method::of(&map.axes).name());
    for (id, concept, [x, y]) in &placed {
        let (x, y) = (SIZE / 2.0 + place(*x, left, right), head + SIZE / 2.0 - place(*y, low, high));
        let category = concept.category.as_deref();
        let mark = category.and_then(|c| categories.binary_search(&c).ok()).map_or("-".into(), |c| c.to_string());
        let name = escape(&concept.name);
        let title = category.map_or(name.clone(), |c| format!("{name} ({})", escape(c)));
        let (mark_x, mark_y) = (px(x), px(y));
        let _ = write!(marks, "<use href=\"#{prefix}{mark}\" x=\"{mark_x}\" y=\"{mark_y}\"");
        if !linked {
            let _ = write!(marks, "><title>{title}</title></use>");
            continue;
        }
        let _ = write!(marks, " class=\"c{id}\"");
        // One map takes the keyboard; the others answer to it.
        if index == 0 {
            let _ = write!(marks, " tabindex=\"0\" role=\"img\" aria-label=\"{title}\"");
        }
        marks.push_str("/>");
        let side = if x < SIZE * 0.25 {
            " start"
        } else if x > SIZE * 0.75 {
            " end"
        } else {
            ""
        };
        let dy = if y < head + 40.0 { if small { 26.0 } else { 18.0 } } else { -9.0 };
        let text = escape(&shorten(&concept.name, 28));
        let (x, y) = (x.round(), (y + dy).round());
        let _ = write!(names, "<text class=\"n{id}{side}\" x=\"{x}\" y=\"{y}\">{text}</text>");
    }
    let _ = write!(body, "<g class=\"marks\">{marks}</g><g class=\"names\">{names}</g></g>");
    if placed.is_empty() {
        let _ = write!(
            body,
            "<text class=\"dim mid\" x=\"{}\" y=\"{}\">{NOTHING}</text>",
            px(SIZE / 2.0),
            px(head + SIZE / 2.0)
        );
    }
    let (what, file) = match Method::of(&map.axes) {
        Method::Components => ("the first two axes", "maps"),
        Method::Tsne => ("a t‑SNE map", "tsne"),
    };
    let description = format!(
        "{} concepts on {what} of {}; {}. The coordinates are in figures/{file}.csv.",
        count(placed.len()),
        heading,
        self::about(map, false),
    );
    let role = if index == 0 && linked { "group" } else { "img" };
    Panel { id: format!("{prefix}-{index}"), width: SIZE, height: head + SIZE, role, title: heading, description, body }
}

/// How good a map is; a small one has short words.
fn about(map: &ConceptMap, small: bool) -> String {
    let trust = decimals(map.trust.map(|trust| trust.value), 2);
    match (&map.axes, small) {
        (Axes::Components { explained }, false) => {
            format!("axes carry {} of variance · trustworthiness {trust}", percent(Some(*explained)))
        }
        (Axes::Components { explained }, true) => format!("{} of variance · trust {trust}", percent(Some(*explained))),
        (Axes::Neighbours { perplexity, kl_nats, .. }, small) => {
            let (kl, perplexity) = (decimals(Some(*kl_nats), 2), significant(Some(*perplexity)));
            match small {
                false => format!("perplexity {perplexity} · KL {kl} nats · trustworthiness {trust}"),
                true => format!("perp. {perplexity} · KL {kl} · trust {trust}"),
            }
        }
    }
}

/// One line for each concept of each map.
fn csv(drawn: &[&ConceptMap], data: &ReportData, method: Method) -> Vec<u8> {
    let rows = drawn.iter().flat_map(|map| {
        let trust = map.trust.and_then(|trust| finite(trust.value));
        let quality = match &map.axes {
            Axes::Components { explained } => vec![finite(*explained), trust],
            Axes::Neighbours { perplexity, kl_nats, .. } => vec![finite(*perplexity), finite(*kl_nats), trust],
        };
        data.concepts.iter().zip(&map.points).map(move |(concept, [x, y])| {
            (&map.respondent, &map.fit, &concept.name, &concept.category, finite(*x), finite(*y), quality.clone())
        })
    });
    let quality: &[&str] = match method {
        Method::Components => &["explained", "trustworthiness"],
        Method::Tsne => &["perplexity", "kl_nats", "trustworthiness"],
    };
    to_csv(&[&["respondent", "fit", "concept", "category", "x", "y"], quality].concat(), rows)
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
