//! What the dimensions of non-negative embeddings are about: the concepts that weigh most on each.

use std::fmt::Write as _;

use super::maps::heading;
use crate::report::csv::{finite, to_csv};
use crate::report::data::ReportData;
use crate::report::figure::{Figure, Panel, Part};
use crate::report::numbers::{count, decimals, percent};
use crate::report::structure::{SparseDimension, SparseDimensions};
use crate::report::svg::{escape, px, shorten};

/// Dimensions of an embedding that are drawn.
const MAX_DIMENSIONS: usize = 12;

/// Embeddings whose dimensions are drawn.
const MAX_EMBEDDINGS: usize = 4;

/// The largest dimensions of the first embeddings, a panel for each.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let drawn = &data.sparse[..data.sparse.len().min(MAX_EMBEDDINGS)];
    let (mut panels, mut new_rows) = (vec![], vec![]);
    for (index, one) in drawn.iter().enumerate() {
        new_rows.push(panels.len());
        let largest = one.dimensions.iter().take(MAX_DIMENSIONS).filter(|dimension| dimension.total > 0.0);
        let id = |rank: usize| format!("dimensions-{index}-{rank}");
        panels.extend(largest.enumerate().map(|(rank, dimension)| panel(id(rank), data, one, dimension, rank)));
    }
    let n_largest = drawn.iter().map(|one| one.dimensions.len().min(MAX_DIMENSIONS)).max().unwrap_or(0);
    let embeddings = match data.sparse.len() - drawn.len() {
        0 => String::new(),
        _ => format!(" of the first {} embeddings of {}", count(drawn.len()), count(data.sparse.len())),
    };
    (!panels.is_empty()).then(|| Figure {
        name: "dimensions",
        part: Part::Concepts,
        title: "What the dimensions are about".into(),
        caption: format!(
            "Of each non-negative embedding the dimensions by total weight over all {n} concepts, the {n_largest} largest \
             drawn{embeddings}; on each the concepts that weigh most. Bars share one scale in each embedding. Weights have no unit; the \
             share is that of all weights of the embedding. The file has every dimension of every embedding.",
            n = count(data.concepts.len()),
        ),
        csv: csv(data),
        panels,
        columns: 3,
        new_rows,
        ..Figure::default()
    })
}

fn panel(id: String, data: &ReportData, of: &SparseDimensions, dimension: &SparseDimension, rank: usize) -> Panel {
    const WIDTH: f64 = 320.0;
    const LEFT: f64 = 112.0;
    const RIGHT: f64 = 276.0;
    const ROW: f64 = 19.0;
    const HEAD: f64 = 46.0;
    let all: f64 = of.dimensions.iter().map(|one| one.total).sum();
    let largest = of.dimensions.iter().filter_map(|one| one.top.first()).map(|(_, weight)| *weight).fold(0.0, f64::max);
    let whose = heading(data, &of.respondent, 26);
    let fit = if of.fit.is_empty() { String::new() } else { format!(", {}", of.fit) };
    let title = format!("{whose}{fit} · dimension {}", rank + 1);
    let about = format!("column {}, {} of all weights", count(dimension.column), percent(Some(dimension.total / all)));
    let mut body = format!(
        "<text class=\"head\" y=\"14\">{}</text><text class=\"dim\" y=\"32\">{about}</text>",
        escape(&shorten(&title, 46))
    );
    for (row, (concept, weight)) in dimension.top.iter().enumerate() {
        let y = HEAD + ROW * row as f64;
        let name = data.concepts.get(*concept).map_or("", |concept| &concept.name);
        let (text_y, width) = (px(y + 12.0), px((RIGHT - LEFT) * weight / largest));
        let _ = write!(
            body,
            "<text class=\"end\" x=\"{}\" y=\"{text_y}\">{}</text><rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{width}\" \
             height=\"11\"/><text class=\"end num dim\" x=\"{WIDTH}\" y=\"{text_y}\">{}</text>",
            px(LEFT - 8.0),
            escape(&shorten(name, 16)),
            px(LEFT),
            px(y + 2.5),
            decimals(Some(*weight), 2),
        );
    }
    let names: Vec<&str> =
        dimension.top.iter().filter_map(|(concept, _)| data.concepts.get(*concept)).map(|c| c.name.as_str()).collect();
    let description = format!("{about}; heaviest: {}.", names.join(", "));
    Panel { id, width: WIDTH, height: HEAD + ROW * 8.0, role: "img", title, description, body }
}

/// A line for each concept that stands for a dimension.
fn csv(data: &ReportData) -> Vec<u8> {
    let rows = data.sparse.iter().flat_map(|one| {
        one.dimensions.iter().enumerate().flat_map(move |(rank, dimension)| {
            dimension.top.iter().enumerate().map(move |(place, (concept, weight))| {
                let name = data.concepts.get(*concept).map_or("", |concept| &concept.name);
                (
                    &one.respondent,
                    &one.fit,
                    rank + 1,
                    dimension.column,
                    finite(dimension.total),
                    place + 1,
                    name,
                    finite(*weight),
                )
            })
        })
    });
    to_csv(&["respondent", "fit", "dimension", "column", "total", "place", "concept", "weight"], rows)
}
