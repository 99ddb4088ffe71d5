//! The parts of a figure written by hand as SVG: escaping, label widths, scales with ticks, panels.

use std::fmt::Write as _;

/// Text that is safe in XML and HTML, in content and in attributes.
///
/// Characters that XML forbids even when escaped become U+FFFD, line breaks and tabs become blanks.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' | '\r' => safe.push(' '),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Text cut to `width` columns with … at the end; East Asian characters and emoji count two.
pub(super) fn shorten(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += char_columns(c);
        if used > width {
            break;
        }
        short.push(c);
    }
    format!("{}…", short.trim_end())
}

/// Width of text in columns.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

fn char_columns(c: char) -> usize {
    let wide = matches!(c,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{1f300}'..);
    if wide { 2 } else { 1 }
}

/// A coordinate with at most one decimal.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".into() } else { text.to_owned() }
}

/// Maps values to pixels and puts its ticks at round numbers.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    /// Values at the two ends.
    pub(super) domain: [f64; 2],
    /// Pixels at the two ends.
    pub(super) range: [f64; 2],
    /// Whether equal distances are equal ratios.
    pub(super) log: bool,
}

impl Scale {
    /// The pixel of a value; values outside the domain land on its ends.
    pub(super) fn at(&self, value: f64) -> f64 {
        let position = |v: f64| if self.log { v.max(f64::MIN_POSITIVE).log10() } else { v };
        let [lo, hi] = self.domain.map(position);
        let share = if hi > lo { ((position(value) - lo) / (hi - lo)).clamp(0.0, 1.0) } else { 0.5 };
        self.range[0] + share * (self.range[1] - self.range[0])
    }

    /// About five round values inside the domain.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let [lo, hi] = if self.log { self.domain.map(f64::log10) } else { self.domain };
        let step = if self.log { ((hi - lo) / 5.0).ceil().max(1.0) } else { round_step((hi - lo) / 5.0) };
        let mut ticks = Vec::new();
        // Whole multiples of the step, counted down from the top on a log scale so that 1 = 10⁰ is always there.
        for k in 0..=12 {
            let value =
                if self.log { hi - f64::from(k) * step } else { (lo / step).ceil() * step + f64::from(k) * step };
            if value >= lo - 1e-9 && value <= hi + 1e-9 {
                ticks.push(if self.log { 10_f64.powi(exponent(value)) } else { value });
            }
        }
        ticks.sort_by(f64::total_cmp);
        ticks
    }
}

/// The nearest whole exponent.
#[expect(clippy::cast_possible_truncation, reason = "exponents of doubles lie within ±324")]
pub(super) fn exponent(log10: f64) -> i32 {
    log10.round() as i32
}

/// The smallest of 1, 2, 5 × 10ᵏ that is not below `rough`.
pub(super) fn round_step(rough: f64) -> f64 {
    if !rough.is_finite() || rough <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    factors.into_iter().map(|f| f * power).find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

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
    /// The panel as an element of an HTML page.
    pub(super) fn inline(&self) -> String {
        let Self { id, role, body, .. } = self;
        let (width, height) = (px(self.width), px(self.height));
        let (title, description) = (escape(&self.title), escape(&self.description));
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"{role}\" aria-labelledby=\"{id}-t {id}-d\">\
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

/// Panels with one legend: inline in the page, or as one sheet in a file of its own.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// File name without ending.
    pub(super) name: &'static str,
    /// Heading, not yet escaped.
    pub(super) title: String,
    /// Shapes that the panels use.
    pub(super) defs: String,
    /// Rules that only this figure needs.
    pub(super) style: String,
    /// What the marks mean.
    pub(super) legend: Vec<LegendItem>,
    /// The drawings, all of one width.
    pub(super) panels: Vec<Panel>,
    /// Panels side by side on the sheet.
    pub(super) columns: usize,
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
            let item_width = 26.0 + 7.0 * columns_f64(&text) + 14.0;
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
        for row in self.panels.chunks(columns) {
            let mut x = MARGIN;
            for panel in row {
                let (at_x, at_y, title) = (px(x), px(y), escape(&panel.title));
                let _ =
                    write!(body, "<g transform=\"translate({at_x} {at_y})\"><title>{title}</title>{}</g>", panel.body);
                x += panel_width + MARGIN;
            }
            y += row.iter().map(|p| p.height).fold(0.0, f64::max) + MARGIN;
        }
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

fn columns_f64(text: &str) -> f64 {
    columns(text) as f64
}

/// Style sheets may hold `>` and `&`, which in XML are markup.
fn css_in_xml(css: &str) -> String {
    css.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_xml_forbids_gets_through() {
        assert_eq!(escape("<script>\"'&"), "&lt;script&gt;&quot;&#39;&amp;");
        assert_eq!(escape("a\u{0}\u{8}b\nc\u{ffff}"), "a\u{fffd}\u{fffd}b c\u{fffd}");
    }

    #[test]
    fn long_names_are_cut_by_width() {
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(shorten("longer name", 8), "longer…");
        assert_eq!(shorten("日本語の名前", 6), "日本…");
    }

    #[test]
    fn scales_put_ends_on_ends_and_ticks_on_round_numbers() {
        let linear = Scale { domain: [0.0, 0.8], range: [100.0, 300.0], log: false };
        assert_eq!([linear.at(0.0), linear.at(0.4), linear.at(0.8), linear.at(9.0)], [100.0, 200.0, 300.0, 300.0]);
        let shown: Vec<String> = linear.ticks().iter().map(|t| format!("{t:.1}")).collect();
        assert_eq!(shown, ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        let log = Scale { domain: [1e-4, 1.0], range: [0.0, 400.0], log: true };
        assert!((log.at(1e-2) - 200.0).abs() < 1e-9, "half of four decades");
        assert_eq!(log.at(0.0), 0.0, "zero has no logarithm and lands on the low end");
        assert_eq!(log.ticks(), [1e-4, 1e-3, 1e-2, 1e-1, 1.0]);
    }
}
