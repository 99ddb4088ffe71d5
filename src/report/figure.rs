//! A figure: the question it answers, its drawings with one legend, its caption, and the numbers behind it.

use std::fmt::Write as _;

use super::svg::{self, escape, px, shorten};

/// One drawing with a name and a description for those who cannot see it.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    /// Unique in the page.
    pub(super) id: String,
    /// Width of the coordinates.
    pub(super) width: f64,
    /// Height of the coordinates.
    pub(super) height: f64,
    /// `img`, or `group` where parts can be reached with the keyboard.
    pub(super) role: &'static str,
    /// Name, not yet escaped.
    pub(super) title: String,
    /// What it shows, not yet escaped.
    pub(super) description: String,
    /// SVG elements.
    pub(super) body: String,
}

impl Panel {
    /// The panel as an element of an HTML page, beside the one before it or below.
    pub(super) fn inline(&self, new_row: bool) -> String {
        let Self { id, role, body, .. } = self;
        let place = if new_row { " style=\"grid-column-start:1\"" } else { "" };
        let (width, height) = (px(self.width), px(self.height));
        let (title, description) = (escape(&self.title), escape(&self.description));
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"{role}\"{place} aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{description}</desc>{body}</svg>"
        )
    }
}

/// One entry of a legend.
#[derive(Debug, Clone)]
pub(super) struct LegendItem {
    /// SVG elements around (0, 0), at most 16 wide.
    pub(super) mark: String,
    /// What the mark stands for, not yet escaped.
    pub(super) text: String,
}

/// The parts of the page that hold figures, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Part {
    /// How human-like each respondent is.
    #[default]
    Alignment,
    /// Which properties of models go with that.
    Ingredients,
    /// What benchmarks have to do with it.
    Benchmarks,
    /// Where the concepts lie.
    Concepts,
    /// How the judgments were given.
    Judgments,
    /// How many triplets were needed, and how much time.
    Effort,
    /// A benchmark.
    Speed,
}

impl Part {
    /// All, in the order of the page.
    pub(super) const ALL: [Self; 7] = [
        Self::Alignment,
        Self::Ingredients,
        Self::Benchmarks,
        Self::Concepts,
        Self::Judgments,
        Self::Effort,
        Self::Speed,
    ];

    /// Its anchor in the page.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Alignment => "alignment",
            Self::Ingredients => "ingredients",
            Self::Benchmarks => "benchmarks",
            Self::Concepts => "concepts",
            Self::Judgments => "judgments",
            Self::Effort => "effort",
            Self::Speed => "speed",
        }
    }

    /// Its heading.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Alignment => "Alignment",
            Self::Ingredients => "Ingredients",
            Self::Benchmarks => "Benchmarks",
            Self::Concepts => "Concepts",
            Self::Judgments => "Judgments",
            Self::Effort => "Triplets and time",
            Self::Speed => "Speed",
        }
    }
}

/// Panels with one legend: inline in the page, or as one sheet in a file of its own. Few have terms, shapes or rules of their own.
#[derive(Debug, Clone, Default)]
pub(super) struct Figure {
    /// File name without ending, and the class of its panels in the page.
    pub(super) name: &'static str,
    /// Where it stands.
    pub(super) part: Part,
    /// What it shows, as a heading, not yet escaped.
    pub(super) title: String,
    /// How to read it, with n and what intervals mean, not yet escaped; the page adds its number and where the numbers are.
    pub(super) caption: String,
    /// Words of the panels and what they mean, not yet escaped.
    pub(super) terms: Vec<(String, String)>,
    /// The numbers behind it.
    pub(super) csv: Vec<u8>,
    /// Shapes that the panels use.
    pub(super) defs: String,
    /// Rules that only this figure needs.
    pub(super) style: String,
    /// What the marks mean.
    pub(super) legend: Vec<LegendItem>,
    /// The drawings, all of one width.
    pub(super) panels: Vec<Panel>,
    /// Panels side by side on the sheet, and how wide they are in the page: 1, 2, 3 or 6.
    pub(super) columns: usize,
    /// Panels that begin a row though there is room beside the one before, by place.
    pub(super) new_rows: Vec<usize>,
}

/// Colours and strokes of all figures, for the page and for the sheets.
pub(super) const FIGURE_CSS: &str = include_str!("figure.css");

impl Figure {
    /// The whole figure as a file that needs nothing else, on white.
    pub(super) fn sheet(&self) -> String {
        const MARGIN: f64 = 24.0;
        let columns = self.columns.clamp(1, self.panels.len().max(1));
        let panel_width = self.panels.iter().map(|p| p.width).fold(320.0, f64::max);
        let width = MARGIN + columns as f64 * (panel_width + MARGIN);
        let mut body = format!("<text class=\"sheet\" x=\"{MARGIN}\" y=\"38\">{}</text>", escape(&self.title));

        let (mut x, mut y) = (MARGIN, 64.0);
        for item in &self.legend {
            let text = shorten(&item.text, 60);
            let item_width = 26.0 + 7.0 * svg::columns(&text) as f64 + 14.0;
            if x > MARGIN && x + item_width > width - MARGIN {
                (x, y) = (MARGIN, y + 22.0);
            }
            let (mark_x, text_x, text_y) = (px(x + 8.0), px(x + 22.0), px(y + 4.0));
            let _ = write!(
                body,
                "<g transform=\"translate({mark_x} {})\">{}</g><text x=\"{text_x}\" y=\"{text_y}\">{}</text>",
                px(y),
                item.mark,
                escape(&text)
            );
            x += item_width;
        }
        y += 24.0;
        let (mut column, mut row_height) = (0, 0.0);
        for (index, panel) in self.panels.iter().enumerate() {
            if column == columns || (column > 0 && self.new_rows.contains(&index)) {
                (y, column, row_height) = (y + row_height + MARGIN, 0, 0.0);
            }
            let x = MARGIN + column as f64 * (panel_width + MARGIN);
            let (x, y, title) = (px(x), px(y), escape(&panel.title));
            let _ = write!(body, "<g transform=\"translate({x} {y})\"><title>{title}</title>{}</g>", panel.body);
            (column, row_height) = (column + 1, panel.height.max(row_height));
        }
        y += row_height + MARGIN;
        let (width, height) = (px(width), px(y));
        let (title, name) = (escape(&self.title), self.name);
        let description: Vec<String> =
            self.panels.iter().map(|p| escape(&format!("{}. {}", p.title, p.description))).collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" class=\"figure\" role=\"img\" aria-labelledby=\"t d\">\
             <title id=\"t\">{title}</title><desc id=\"d\">{}</desc><style>{}{}</style><defs>{}</defs>\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/><g class=\"{name}\">{body}</g></svg>\n",
            description.join(" "),
            css_in_xml(FIGURE_CSS),
            css_in_xml(&self.style),
            self.defs,
        )
    }
}

/// Style sheets may hold `>` and `&`, which in XML are markup.
fn css_in_xml(css: &str) -> String {
    css.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
