//! A matrix of correlations: a colour and a number in each cell.

use std::fmt::Write as _;

use crate::report::figure::{LegendItem, Panel};
use crate::report::numbers::decimals;
use crate::report::svg::{self, escape, px, shorten};

/// A correlation with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub(super) r: f64,
    pub(super) lo: f64,
    pub(super) hi: f64,
    pub(super) n: usize,
}

impl Cell {
    /// Whether the interval leaves zero out.
    fn is_clear(&self) -> bool {
        self.lo > 0.0 || self.hi < 0.0
    }
}

/// A row of the matrix; `None` where there is no number, and short where the rest says nothing new.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<Option<Cell>>,
    /// Whether a gap sets it off from the next.
    pub(super) gap: bool,
}

/// Above this number of columns a matrix takes the whole width of the page.
pub(super) const WIDE: usize = 9;

/// How dense the colour of a perfect correlation is: text on it stays readable in both schemes.
const DENSEST: f64 = 0.62;

/// Names, colours and numbers.
pub(super) fn matrix_panel(id: &str, title: &str, columns: &[String], rows: &[Row]) -> Panel {
    const LONGEST: usize = 32;
    const GAP: f64 = 12.0;
    let wide = columns.len() > WIDE;
    let cell_size = if wide { [42.0, 30.0] } else { [56.0, 34.0] };
    let longest = |names: &mut dyn Iterator<Item = &String>| {
        names.map(|name| svg::columns(name).min(LONGEST)).max().unwrap_or_default() as f64
    };
    let left = (16.0 + 7.2 * longest(&mut rows.iter().map(|row| &row.name))).max(60.0);
    // Names of columns lean to the right by 38°: so much of their length goes up, and so much beyond the last column.
    let leaning = longest(&mut columns.iter());
    let (top, right) = (24.0 + 4.5 * leaning, 5.7 * leaning);
    let mut body = String::new();
    for (k, name) in columns.iter().enumerate() {
        let x = px(left + cell_size[0] * (k as f64 + 0.4));
        let name = escape(&shorten(name, LONGEST));
        let _ = write!(body, "<text transform=\"translate({x} {}) rotate(-38)\">{name}</text>", px(top - 8.0));
    }
    let mut y = top;
    for row in rows {
        let _ = write!(
            body,
            "<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>",
            px(left - 9.0),
            px(y + cell_size[1] / 2.0 + 4.0),
            escape(&shorten(&row.name, LONGEST))
        );
        for (k, cell) in row.cells.iter().enumerate() {
            let Some(column) = columns.get(k) else { break };
            let x = left + cell_size[0] * k as f64;
            body.push_str(&drawn(cell.as_ref(), &format!("{} and {column}", row.name), [x, y], cell_size));
        }
        y += cell_size[1] + if row.gap { GAP } else { 0.0 };
    }
    let known = rows.iter().flat_map(|row| row.cells.iter().flatten());
    let (n_known, n_clear) = (known.clone().count(), known.filter(|cell| cell.is_clear()).count());
    Panel {
        id: id.to_owned(),
        width: (left + cell_size[0] * columns.len() as f64 + right).max(if wide { 1040.0 } else { 520.0 }),
        height: y + 8.0,
        role: "img",
        title: title.to_owned(),
        description: format!("{n_known} correlations, of which {n_clear} have an interval without zero."),
        body,
    }
}

fn drawn(cell: Option<&Cell>, of: &str, [x, y]: [f64; 2], [width, height]: [f64; 2]) -> String {
    let place = format!(
        "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\"",
        px(x + 1.0),
        px(y + 1.0),
        px(width - 2.0),
        px(height - 2.0)
    );
    let Some(cell) = cell else {
        return format!(
            "<g class=\"cell\"><title>{}: no number</title><rect class=\"frame\" {place}/></g>",
            escape(of)
        );
    };
    let r = decimals(Some(cell.r), 2);
    let [lo, hi] = [cell.lo, cell.hi].map(|v| decimals(Some(v), 3));
    let title = escape(&format!("{of}: r {r} ({lo} to {hi}), {} models", cell.n));
    let (rect, class) = if cell.is_clear() {
        let sign = if cell.r < 0.0 { "below" } else { "above" };
        (format!("<rect class=\"{sign}\" style=\"fill-opacity:{:.2}\" {place}/>", DENSEST * cell.r.abs()), "")
    } else {
        (format!("<rect class=\"frame\" {place}/>"), " dim")
    };
    let (text_x, text_y) = (px(x + width / 2.0), px(y + height / 2.0 + 4.0));
    format!(
        "<g class=\"cell\"><title>{title}</title>{rect}<text class=\"mid num{class}\" x=\"{text_x}\" y=\"{text_y}\">{r}</text></g>"
    )
}

/// What the colours mean.
pub(super) fn legend() -> Vec<LegendItem> {
    let square = |class: &str, opacity: f64| {
        format!(
            "<rect class=\"{class}\" style=\"fill-opacity:{opacity:.2}\" x=\"-8\" y=\"-7\" width=\"16\" height=\"14\" rx=\"3\"/>"
        )
    };
    let item = |mark, text: &str| LegendItem { mark, text: text.to_owned() };
    vec![
        item(square("above", DENSEST), "r = 1"),
        item(square("above", DENSEST / 2.0), "r = 0.5"),
        item(square("below", DENSEST / 2.0), "r = −0.5"),
        item(square("below", DENSEST), "r = −1"),
        item(square("frame", 1.0), "no colour: the 95 % interval holds zero"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_colour_where_its_interval_leaves_zero_out() {
        let cell = |r, lo, hi| Some(Cell { r, lo, hi, n: 9 });
        let cells = vec![cell(0.5, 0.1, 0.8), cell(-0.5, -0.8, -0.1), cell(0.3, -0.1, 0.6), None];
        let columns = ["a", "b", "c", "d"].map(str::to_owned);
        let panel = matrix_panel("m", "m", &columns, &[Row { name: "x & y".into(), cells, gap: false }]);
        let n = |needle: &str| panel.body.matches(needle).count();
        assert_eq!((n("class=\"above\""), n("class=\"below\""), n("class=\"frame\"")), (1, 1, 2));
        assert!(panel.body.contains("x &amp; y and b: r −0.50 (−0.800 to −0.100), 9 models"));
        assert_eq!(panel.description, "3 correlations, of which 2 have an interval without zero.");
    }
}
