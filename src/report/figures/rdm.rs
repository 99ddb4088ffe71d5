//! How unlike the concepts are, each to each: dissimilarity matrices as heat maps.

use std::fmt::Write as _;

use super::maps::heading;
use crate::report::csv::{finite, to_csv};
use crate::report::data::ReportData;
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::numbers::{count, decimals};
use crate::report::png::{VIRIDIS, data_uri, hex};
use crate::report::structure::{Dissimilarities, Rdm};
use crate::report::svg::{escape, px, shorten};
use crate::stats::quantile;

/// Matrices that are drawn large when there are no more; else the first two are, and all of them small.
const FEW: usize = 6;

/// Height of a line of category names.
const LINE: f64 = 10.0;

/// The matrices with the names of the categories: all when there are few, else the reference's and the first respondent's.
pub(in crate::report) fn large(data: &ReportData) -> Option<Figure> {
    let all = &data.dissimilarities;
    let few = all.matrices.len() <= FEW;
    let drawn = if few { &all.matrices[..] } else { &all.matrices[..2] };
    let others = if few { "" } else { " The matrices of all stand in the next figure, in the same colours." };
    figure(data, "rdm", drawn, "How unlike the concepts are", others, 2)
}

/// All matrices, without names.
pub(in crate::report) fn small(data: &ReportData) -> Option<Figure> {
    let all = &data.dissimilarities;
    let drawn = if all.matrices.len() > FEW { &all.matrices[..] } else { &[] };
    let left_out = match (data.respondents.len() + 1).saturating_sub(drawn.len()) {
        0 => String::new(),
        _ => format!(" Drawn are the first {} in the order of the ranking.", count(drawn.len())),
    };
    figure(data, "rdms", drawn, "How unlike the concepts are to each respondent", &left_out, 6)
}

fn figure(
    data: &ReportData,
    name: &'static str,
    drawn: &[Rdm],
    title: &str,
    others: &str,
    columns: usize,
) -> Option<Figure> {
    let all = &data.dissimilarities;
    let colours = Colours::of(&all.matrices)?;
    if drawn.is_empty() {
        return None;
    }
    let bands = bands(data);
    let frame = Frame { data, bands: &bands, colours, small: columns > 2 };
    let panels = drawn.iter().enumerate().map(|(index, rdm)| frame.panel(format!("{name}-{index}"), rdm)).collect();
    let fit = drawn.iter().map(|rdm| rdm.fit.as_str()).find(|fit| !fit.is_empty()).unwrap_or("only");
    let cell = match all.per_cell {
        0 | 1 => "a cell for each pair".to_owned(),
        per_cell => format!("each cell the mean over {per_cell} by {per_cell} concepts that follow one another"),
    };
    let order = if bands.len() > 1 {
        "ordered by category, rows and columns alike; white lines part the categories"
    } else {
        "in the order of the list"
    };
    Some(Figure {
        name,
        part: Part::Concepts,
        title: title.to_owned(),
        caption: format!(
            "Dissimilarity matrices ({fit} fit), n = {n} concepts and {pairs} pairs, {cell}, {order}. Dissimilarity is the squared \
             Euclidean distance in the embedding, divided by its mean over all pairs: 1 is the average pair. One scale for all; \
             colours end where 5 % of all cells lie beyond, on either side. Within and between are means over the pairs of one \
             category and of two.{others} The file has the cells above the diagonal, to four decimals.",
            n = count(data.concepts.len()),
            pairs = count(data.concepts.len() * data.concepts.len().saturating_sub(1) / 2),
        ),
        csv: csv(data, drawn),
        legend: colours.legend(),
        panels,
        columns,
        ..Figure::default()
    })
}

/// From values to colours.
#[derive(Clone, Copy)]
struct Colours {
    low: f64,
    high: f64,
}

impl Colours {
    /// Over the cells of all matrices beside their diagonals, without the last twentieth at each end; nothing without a cell.
    fn of(matrices: &[Rdm]) -> Option<Self> {
        let mut cells: Vec<f64> = vec![];
        for rdm in matrices {
            let n = rdm.cells.len().isqrt();
            cells.extend((0..n).flat_map(|row| &rdm.cells[row * n + row + 1..(row + 1) * n]));
        }
        let tenth = |value: f64| (10.0 * value).round() / 10.0;
        let (low, high) = (tenth(quantile(&cells, 0.05).ok()?), tenth(quantile(&cells, 0.95).ok()?));
        Some(Self { low, high: high.max(low + 0.1) })
    }

    /// Which of the sixteen colours.
    fn level(self, value: f64) -> u8 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let level = (share * 16.0).floor().min(15.0);
        (0..16).find(|step| f64::from(*step) >= level).unwrap_or(15)
    }

    fn legend(self) -> Vec<LegendItem> {
        let item = |step: usize| {
            let value = self.low + (self.high - self.low) * step as f64 / 15.0;
            let value = decimals(Some(value), 2);
            let text = match step {
                0 => format!("{value} and less: alike"),
                15 => format!("{value} and more: unlike"),
                _ => value,
            };
            let colour = hex(VIRIDIS[step]);
            LegendItem {
                mark: format!(
                    "<rect x=\"-8\" y=\"-8\" width=\"16\" height=\"16\" fill=\"{colour}\" stroke=\"#808080\" stroke-width=\".5\"/>"
                ),
                text,
            }
        };
        [0, 3, 6, 9, 12, 15].map(item).to_vec()
    }
}

/// Categories with the concepts that they hold, in the order of the matrices: name, first row, row after the last.
fn bands(data: &ReportData) -> Vec<(&str, usize, usize)> {
    let mut bands: Vec<(&str, usize, usize)> = vec![];
    for (row, id) in data.dissimilarities.order.iter().enumerate() {
        let category = data.concepts[*id].category.as_deref().unwrap_or("no category");
        match bands.last_mut() {
            Some((name, _, end)) if *name == category => *end = row + 1,
            _ => bands.push((category, row, row + 1)),
        }
    }
    bands
}

/// What the panels of a figure have in common.
struct Frame<'a> {
    data: &'a ReportData,
    bands: &'a [(&'a str, usize, usize)],
    colours: Colours,
    small: bool,
}

impl Frame<'_> {
    fn panel(&self, id: String, rdm: &Rdm) -> Panel {
        let named = !self.small && self.bands.len() > 1;
        let (left, size, head) = match (self.small, named) {
            (true, _) => (0.0, 320.0, 56.0),
            (false, true) => (100.0, 360.0, 64.0),
            (false, false) => (0.0, 460.0, 42.0),
        };
        let n = self.data.dissimilarities.order.len() as f64;
        let at = |row: usize| size * row as f64 / n;
        let heading = heading(self.data, &rdm.respondent, if self.small { 24 } else { 60 });
        let number = |value| decimals(value, 2);
        let means = match (rdm.within, rdm.between) {
            (None, _) | (_, None) => String::new(),
            (within, between) if self.small => format!("within {} · between {}", number(within), number(between)),
            (within, between) => format!("mean within categories {}, between them {}", number(within), number(between)),
        };
        let mut body = format!(
            "<g class=\"{}\"><text class=\"head\" y=\"{}\">{}</text><text class=\"dim\" y=\"{}\">{means}</text>",
            if self.small { "small" } else { "rdm" },
            if self.small { 20 } else { 14 },
            escape(&heading),
            if self.small { 46 } else { 32 },
        );
        let n_cells = self.data.dissimilarities.n_cells();
        let levels: Vec<u8> = rdm.cells.iter().map(|value| self.colours.level(*value)).collect();
        let sharp = if self.small { "" } else { " class=\"sharp\"" };
        let _ = write!(
            body,
            "<svg x=\"{}\" y=\"{}\" width=\"{size}\" height=\"{size}\"><image{sharp} width=\"{size}\" height=\"{size}\" \
             href=\"{}\"/></svg>",
            px(left),
            px(head),
            data_uri(n_cells, &levels)
        );
        let mut cuts = String::new();
        for (_, start, _) in &self.bands[1..] {
            let (x, y) = (px(left + at(*start)), px(head + at(*start)));
            let _ = write!(cuts, "M{x} {}v{size}M{} {y}h{size}", px(head), px(left));
        }
        let _ = write!(body, "<path class=\"cut\" d=\"{cuts}\"/>");
        if named {
            body.push_str(&self.names(left, head, &at));
        }
        body.push_str("</g>");
        let description = format!(
            "Dissimilarities of {} concepts{}{means}. The cells are in figures/rdm.csv.",
            count(self.data.concepts.len()),
            if means.is_empty() { "" } else { ": " },
        );
        Panel { id, width: left + size, height: head + size, role: "img", title: heading, description, body }
    }

    /// Names beside the rows and, turned, above the columns, as far as they have the room.
    fn names(&self, left: f64, head: f64, at: &impl Fn(usize) -> f64) -> String {
        let mut names = String::new();
        let (mut free, mut free_above) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        for (name, start, end) in self.bands {
            let middle = f64::midpoint(at(*start), at(*end));
            if middle - LINE / 2.0 >= free {
                let text = escape(&shorten(name, 14));
                let y = px(head + middle + 4.0);
                let _ = write!(names, "<text class=\"dim end\" x=\"{}\" y=\"{y}\">{text}</text>", px(left - 6.0));
                free = middle + LINE / 2.0;
            }
            let text = shorten(name, 14);
            let width = 6.5 * crate::report::svg::columns(&text) as f64;
            if at(*end) - at(*start) >= width && middle - width / 2.0 >= free_above {
                let (x, y) = (px(left + middle), px(head - 6.0));
                let _ = write!(names, "<text class=\"dim mid\" x=\"{x}\" y=\"{y}\">{}</text>", escape(&text));
                free_above = middle + width / 2.0 + 4.0;
            }
        }
        names
    }
}

/// A line for each cell above the diagonal, a column for each matrix.
fn csv(data: &ReportData, drawn: &[Rdm]) -> Vec<u8> {
    let Dissimilarities { order, per_cell, .. } = &data.dissimilarities;
    let n_cells = data.dissimilarities.n_cells();
    let name = |cell: usize| {
        let ids = &order[cell * per_cell..((cell + 1) * per_cell).min(order.len())];
        let name = |id: &usize| data.concepts[*id].name.clone();
        match ids {
            [first, .., last] => format!("{} … {}", name(first), name(last)),
            ids => ids.iter().map(name).collect(),
        }
    };
    let names: Vec<String> = (0..n_cells).map(name).collect();
    let rounded = |value: f64| finite((1e4 * value).round() / 1e4);
    let rows = (0..n_cells).flat_map(|row| (row + 1..n_cells).map(move |column| (row, column)));
    let rows = rows.map(|(row, column)| {
        let values: Vec<Option<f64>> = drawn.iter().map(|rdm| rounded(rdm.cells[row * n_cells + column])).collect();
        (&names[row], &names[column], values)
    });
    let mut header = vec!["concept_a", "concept_b"];
    header.extend(drawn.iter().map(|rdm| rdm.respondent.as_str()));
    to_csv(&header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_colours_share_the_scale_evenly() {
        let colours = Colours { low: 0.4, high: 2.0 };
        for (value, level) in [(-1.0, 0), (0.4, 0), (0.49, 0), (0.51, 1), (1.99, 15), (2.0, 15), (9.0, 15)] {
            assert_eq!(colours.level(value), level, "{value}");
        }
    }

    #[test]
    fn the_scale_leaves_out_the_diagonal() {
        let cells = vec![0.0, 1.0, 2.0, 1.0, 0.0, 1.5, 2.0, 1.5, 0.0];
        let colours = Colours::of(&[Rdm { cells, ..Rdm::default() }]).expect("there are cells");
        // The twentieths of 1, 1.5 and 2 lie at 1.05 and 1.95.
        assert_eq!((colours.low, colours.high), (1.1, 2.0));
        assert!(Colours::of(&[]).is_none());
    }
}
