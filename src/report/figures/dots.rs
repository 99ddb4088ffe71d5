//! Rows of dots over one axis: what every list of respondents looks like.

use std::fmt::Write as _;

use super::axes::ticks;
use crate::report::data::Kind;
use crate::report::figure::Panel;
use crate::report::scale::Scale;
use crate::report::svg::{escape, px, shorten};

/// How models of one kind are told from those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mark {
    /// Those that the comparison is about; all where there is none.
    #[default]
    Filled,
    /// The others.
    Hollow,
    /// Those of which it is not known.
    Grey,
}

impl Mark {
    /// Its class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Filled => "model",
            Self::Hollow => "hollow",
            Self::Grey => "unknown",
        }
    }
}

/// One row of a dot panel.
#[derive(Default)]
pub(super) struct Dot<'a> {
    pub(super) label: &'a str,
    pub(super) kind: Kind,
    pub(super) value: Option<f64>,
    pub(super) interval: Option<(f64, f64)>,
    pub(super) ceiling: Option<f64>,
    pub(super) ceiling_range: Option<(f64, f64)>,
    /// Over the whole height of the row, so that rows with the same have one band.
    pub(super) noise_ceiling: Option<(f64, f64)>,
    pub(super) chance: Option<f64>,
    pub(super) chance_range: Option<(f64, f64)>,
    pub(super) null_mean: Option<f64>,
    /// The value of the model it was made from: a line leads from there to its own.
    pub(super) made_from: Option<f64>,
    /// The mark of a model.
    pub(super) mark: Mark,
    /// What stands at the end of the row in place of the value.
    pub(super) at_end: Option<String>,
    pub(super) details: String,
}

/// The horizontal axis of a dot panel.
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) domain: [f64; 2],
    pub(super) log: bool,
    pub(super) line: Option<f64>,
    pub(super) format: fn(Option<f64>) -> String,
    /// How a tick reads; with the digits that all ticks need unless set.
    pub(super) tick: Option<fn(f64) -> String>,
}

/// Width of a panel of rows.
pub(super) const WIDTH: f64 = 460.0;

/// Where its marks begin and end, between labels and numbers.
pub(super) const PLOT: [f64; 2] = [174.0, 394.0];

/// Where its rows begin.
pub(super) const TOP: f64 = 34.0;

/// Above this number of rows they are small and have their ticks at both ends.
pub(super) const MANY: usize = 25;

/// Height of each of a number of rows.
pub(super) fn row_height(n_rows: usize) -> f64 {
    match n_rows {
        0..=8 => 30.0,
        9..=MANY => 22.0,
        _ => 17.0,
    }
}

/// Rows of dots over one axis: label, track, marks, number.
pub(super) fn dot_panel(id: String, title: String, dots: &[Dot], axis: &Axis) -> Panel {
    let many = dots.len() > MANY;
    let row_height = row_height(dots.len());
    // A long list has its tick labels at both ends.
    let top = if many { TOP + 20.0 } else { TOP };
    let bottom = top + row_height * dots.len() as f64;
    let scale = Scale { domain: axis.domain, range: PLOT, log: axis.log };

    let mut body = format!("<text class=\"head\" y=\"14\">{}</text>", escape(&shorten(&title, 60)));
    let labelled = match axis.tick {
        Some(text) => scale.ticks().into_iter().map(|tick| (tick, text(tick))).collect(),
        None => ticks(&scale),
    };
    for (tick, text) in scale.with_room(labelled) {
        let x = px(scale.at(tick));
        let _ = write!(body, "<path class=\"grid\" d=\"M{x} {}V{}\"/>", px(top - 4.0), px(bottom + 4.0));
        let Some(text) = text else { continue };
        let _ = write!(body, "<text class=\"dim mid num\" x=\"{x}\" y=\"{}\">{text}</text>", px(bottom + 19.0));
        if many {
            let _ = write!(body, "<text class=\"dim mid num\" x=\"{x}\" y=\"{}\">{text}</text>", px(top - 9.0));
        }
    }
    if let Some(line) = axis.line {
        let _ =
            write!(body, "<path class=\"half\" d=\"M{} {}V{}\"/>", px(scale.at(line)), px(top - 4.0), px(bottom + 4.0));
    }
    let middle = px(f64::midpoint(PLOT[0], PLOT[1]));
    let _ = write!(
        body,
        "<text class=\"dim mid\" x=\"{middle}\" y=\"{}\">{}</text>",
        px(bottom + 38.0),
        escape(&axis.title)
    );

    let _ = write!(body, "<g class=\"{}\">", if many { "dense" } else { "rows" });
    for (index, dot) in dots.iter().enumerate() {
        let y = top + row_height * (index as f64 + 0.5);
        body.push_str(&dot_row(dot, axis, &scale, y, row_height, WIDTH));
    }
    body.push_str("</g>");
    let description = describe(dots, axis);
    Panel { id, width: WIDTH, height: bottom + 46.0, role: "img", title, description, body }
}

fn dot_row(dot: &Dot, axis: &Axis, scale: &Scale, y: f64, height: f64, width: f64) -> String {
    let finite = |value: Option<f64>| value.filter(|v| v.is_finite());
    let half = (height * 0.3).min(8.0);
    let (top, middle) = (px(y - height / 2.0), px(y));
    let mut row = format!(
        "<g class=\"row\"><title>{}: {}</title><rect class=\"hit\" y=\"{top}\" width=\"{}\" height=\"{}\"/>",
        escape(dot.label),
        escape(&dot.details),
        px(width),
        px(height)
    );
    if let Some((lo, hi)) = dot.noise_ceiling.filter(|(lo, hi)| lo.is_finite() && hi.is_finite()) {
        let (x, width) = (px(scale.at(lo)), px((scale.at(hi) - scale.at(lo)).max(1.0)));
        let _ = write!(row, "<rect class=\"band\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{}\"/>", px(height));
    }
    let dim = if dot.kind == Kind::Simulated { " dim" } else { "" };
    let (label_x, text_y) = (px(scale.range[0] - 12.0), px(y + 4.0));
    let _ = write!(
        row,
        "<text class=\"end{dim}\" x=\"{label_x}\" y=\"{text_y}\">{}</text>",
        escape(&shorten(dot.label, if height < 20.0 { 26 } else { 22 }))
    );
    let _ = write!(row, "<path class=\"grid\" d=\"M{} {middle}H{}\"/>", px(scale.range[0]), px(scale.range[1]));
    if let (Some(chance), Some(ceiling)) = (finite(dot.chance), finite(dot.ceiling)) {
        let (left, right) = (scale.at(chance.min(ceiling)), scale.at(chance.max(ceiling)));
        let (x, band_top) = (px(left), px(y - half * 0.6));
        let _ = write!(
            row,
            "<rect class=\"band\" x=\"{x}\" y=\"{band_top}\" width=\"{}\" height=\"{}\"/>",
            px(right - left),
            px(half * 1.2)
        );
    }
    if let Some(ceiling) = finite(dot.ceiling) {
        let bar = bar(ceiling, dot.ceiling_range, scale);
        row.push_str(&mark_path("ceiling", &ceiling_mark(scale.at(ceiling), bar, y, half)));
    }
    if let Some(chance) = finite(dot.chance) {
        let bar = bar(chance, dot.chance_range, scale);
        row.push_str(&mark_path("chance", &chance_mark(scale.at(chance), bar, y, half)));
    }
    if let Some(null_mean) = finite(dot.null_mean) {
        row.push_str(&mark_path("null", &null_mark(scale.at(null_mean), y, half)));
    }
    if let Some((lo, hi)) = dot.interval.filter(|(lo, hi)| lo.is_finite() && hi.is_finite()) {
        row.push_str(&mark_path("ci", &format!("M{} {middle}H{}", px(scale.at(lo)), px(scale.at(hi)))));
    }
    if let Some((from, to)) = finite(dot.made_from).zip(finite(dot.value)) {
        let (from, to) = (px(scale.at(from)), px(scale.at(to)));
        row.push_str(&mark_path("ci", &format!("M{from} {middle}H{to}")));
        let _ = write!(row, "<circle class=\"hollow\" cx=\"{from}\" cy=\"{middle}\" r=\"2.6\"/>");
    }
    if let Some(value) = finite(dot.value) {
        let (class, radius) = match (dot.kind, dot.mark) {
            (Kind::Simulated, _) => ("simulated", 0.9),
            (Kind::Model, Mark::Filled) => ("model", 1.0),
            (Kind::Model, other) => (other.class(), 0.9),
        };
        let _ = write!(
            row,
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{middle}\" r=\"{}\"/>",
            px(scale.at(value)),
            px(radius * half.clamp(4.5, 6.0))
        );
    }
    let _ = write!(
        row,
        "<text class=\"end num{dim}\" x=\"{}\" y=\"{text_y}\">{}</text></g>",
        px(width),
        escape(&dot.at_end.clone().unwrap_or_else(|| (axis.format)(dot.value)))
    );
    row
}

/// One sentence for those who cannot see the panel.
fn describe(dots: &[Dot], axis: &Axis) -> String {
    let mut known: Vec<(&str, f64)> =
        dots.iter().filter_map(|d| Some((d.label, d.value.filter(|v| v.is_finite())?))).collect();
    known.sort_by(|a, b| b.1.total_cmp(&a.1));
    let name = |label: &str| shorten(label, 60);
    let value = |v: f64| (axis.format)(Some(v));
    match known.as_slice() {
        [] => format!("{}: no values.", axis.title),
        [(label, v)] => format!("{}: {} {}.", axis.title, name(label), value(*v)),
        [(first, high), .., (last, low)] => {
            format!(
                "{}: {} values, from {} ({}) to {} ({}).",
                axis.title,
                known.len(),
                value(*high),
                name(first),
                value(*low),
                name(last)
            )
        }
    }
}

/// Where the bar of a T at a mean lies: from the lowest to the highest of what it is the mean of, and wide enough for a T.
fn bar(mean: f64, range: Option<(f64, f64)>, scale: &Scale) -> [f64; 2] {
    let x = scale.at(mean);
    let (lo, hi) = range.filter(|(lo, hi)| lo.is_finite() && hi.is_finite()).unwrap_or((mean, mean));
    [scale.at(lo).max(scale.range[0]).min(x - 4.0), scale.at(hi).min(scale.range[1]).max(x + 4.0)]
}

/// A T: nothing is above it.
pub(super) fn ceiling_mark(x: f64, [left, right]: [f64; 2], y: f64, half: f64) -> String {
    format!("M{} {}V{}M{} {}H{}", px(x), px(y + half), px(y - half), px(left), px(y - half), px(right))
}

/// A T upside down: the floor.
pub(super) fn chance_mark(x: f64, [left, right]: [f64; 2], y: f64, half: f64) -> String {
    format!("M{} {}V{}M{} {}H{}", px(x), px(y - half / 2.0), px(y + half), px(left), px(y + half), px(right))
}

/// A small arrow above the row that points at the value.
pub(super) fn null_mark(x: f64, y: f64, half: f64) -> String {
    format!("M{} {}h6l-3 5Z", px(x - 3.0), px(y - half - 2.0))
}

/// A mark of a class.
pub(super) fn mark_path(class: &str, d: &str) -> String {
    format!("<path class=\"{class}\" d=\"{d}\"/>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::numbers::decimals;

    #[test]
    fn rows_without_a_value_keep_their_place() {
        let axis = Axis {
            title: "x".into(),
            domain: [0.0, 1.0],
            log: false,
            line: None,
            format: |v| decimals(v, 2),
            tick: None,
        };
        let dots = [
            Dot { label: "a", value: Some(f64::NAN), ..Dot::default() },
            Dot { label: "b", value: Some(0.5), ..Dot::default() },
        ];
        let panel = dot_panel("p".into(), "t".into(), &dots, &axis);
        assert_eq!(panel.body.matches("class=\"row\"").count(), 2);
        assert_eq!(panel.body.matches("<circle").count(), 1);
        assert!(!panel.body.contains("NaN"));
        assert_eq!(panel.description, "x: b 0.50.");
    }
}
