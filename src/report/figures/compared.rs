//! How often two respondents choose the same.

use std::fmt::Write as _;

use crate::judgments::SameChoice;
use crate::report::csv::{finite, to_csv};
use crate::report::data::{Kind, ReportData, Respondent, in_rank_order};
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::numbers::{NOTHING, count, decimals, percent, range};
use crate::report::svg::{escape, px, shorten};

/// Up to this many respondents each cell has its number, and each pair two cells.
const MAX_NUMBERED: usize = 12;

/// A cell's colour at the ends of the scale: text stays readable on half of it.
const FULL: f64 = 0.5;

/// A cell for every two respondents, in the order of the ranking.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let respondents = in_rank_order(data);
    let same: Vec<Vec<Option<SameChoice>>> = respondents
        .iter()
        .map(|one| respondents.iter().map(|other| between(data, &one.label, &other.label)).collect())
        .collect();
    if same.iter().flatten().all(Option::is_none) {
        return None;
    }
    let coin = 1.0 / data.task.options().len() as f64;
    let numbered = respondents.len() <= MAX_NUMBERED;
    let swatch = |class: &str, text: String| LegendItem {
        mark: format!("<rect class=\"{class}\" x=\"-8\" y=\"-8\" width=\"16\" height=\"16\" fill-opacity=\"{FULL}\"/>"),
        text,
    };
    let by_chance = decimals(Some(100.0 * coin), 0);
    Some(Figure {
        name: "compared",
        part: Part::Judgments,
        title: "How often two respondents choose the same".into(),
        caption: format!(
            "Share of the same choice, in percent, over presentations that both answered with a choice: the same options in the same \
             order. Answers at random agree in {by_chance} %, and two respondents that always take the first option in 100 %, so that a \
             shared position bias looks like agreement. Of repeated answers every one is compared with every one of the other. \
             One model asked with several decisions (argmax, sample, generate) is several respondents. Columns have the numbers \
             of the rows."
        ),
        csv: csv(data),
        legend: vec![
            swatch("model", "always the same".into()),
            swatch("none", format!("as often as at random ({by_chance}\u{202f}%)")),
            swatch("less", "never the same".into()),
        ],
        panels: vec![panel(&respondents, &same, coin, numbered)],
        columns: if numbered { 2 } else { 1 },
        ..Figure::default()
    })
}

/// What two labels have in common.
fn between(data: &ReportData, one: &str, other: &str) -> Option<SameChoice> {
    let of = |[a, b]: &[String; 2]| (a == one && b == other) || (a == other && b == one);
    data.compared.iter().find(|pair| of(&pair.labels)).map(|pair| pair.same)
}

fn panel(respondents: &[&Respondent], same: &[Vec<Option<SameChoice>>], coin: f64, numbered: bool) -> Panel {
    const HEAD: f64 = 22.0;
    let n = respondents.len();
    let (width, left) = if numbered { (560.0, 190.0) } else { (1040.0, 190.0) };
    let column = ((width - left) / n as f64).min(if numbered { 64.0 } else { 22.0 });
    let row = if numbered { 30.0 } else { column.max(12.0) };
    // Numbers of columns that would run into each other are left out.
    let every = (16.0 / column).ceil().max(1.0);
    let mut body = String::from("<g class=\"dense\">");
    for (i, one) in respondents.iter().enumerate() {
        let (x, y) = (left + column * i as f64, HEAD + row * i as f64);
        let dim = if one.kind == Kind::Simulated { " dim" } else { "" };
        let (name, short) = (escape(&one.label), escape(&shorten(&one.label, 22)));
        let (text_y, label_x, number_x) = (px(y + row / 2.0 + 4.0), px(left - 32.0), px(left - 8.0));
        let _ = write!(
            body,
            "<g class=\"row\"><title>{name}</title><text class=\"end{dim}\" x=\"{label_x}\" y=\"{text_y}\">{short}</text>\
             <text class=\"end dim num\" x=\"{number_x}\" y=\"{text_y}\">{}</text></g>",
            i + 1
        );
        if (i as f64 % every) == 0.0 {
            let middle = px(x + column / 2.0);
            let _ =
                write!(body, "<text class=\"dim mid num\" x=\"{middle}\" y=\"{}\">{}</text>", px(HEAD - 6.0), i + 1);
        }
        // Both halves say the same: of many respondents one is enough.
        for j in 0..if numbered { n } else { i } {
            if let Some(found) = same[i][j] {
                let [one, other] = [i, j].map(|at| respondents[at].label.as_str());
                let place = [left + column * j as f64, y, column - 1.0, row - 1.0];
                body.push_str(&cell(place, found, coin, numbered, &format!("{one} and {other}")));
            }
        }
    }
    body.push_str("</g>");
    Panel {
        id: "compared".into(),
        width,
        height: HEAD + row * n as f64 + 8.0,
        role: "img",
        title: "Share of the same choice of every two respondents".into(),
        description: describe(respondents, same),
        body,
    }
}

fn cell([x, y, width, height]: [f64; 4], found: SameChoice, coin: f64, numbered: bool, who: &str) -> String {
    let value = found.share.filter(|share| share.is_finite());
    let within = found.interval().map(|ends| format!(" (95 % interval {})", range(ends, percent))).unwrap_or_default();
    let (class, strength) = match value {
        Some(share) if share >= coin => ("model", (share - coin) / (1.0 - coin)),
        Some(share) => ("less", (coin - share) / coin),
        None => ("none", 0.0),
    };
    let mut cell = format!(
        "<g><title>{}: {}{within}, n = {}</title><rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" \
         fill-opacity=\"{:.2}\"/>",
        escape(who),
        percent(value),
        count(found.n),
        px(x),
        px(y),
        px(width.max(1.0)),
        px(height),
        FULL * strength
    );
    if numbered {
        let text = value.map_or(NOTHING.into(), |share| decimals(Some(100.0 * share), 0));
        let (x, y) = (px(x + width / 2.0), px(y + height / 2.0 + 4.0));
        let _ = write!(cell, "<text class=\"mid num\" x=\"{x}\" y=\"{y}\">{text}</text>");
    }
    cell + "</g>"
}

/// One sentence for those who cannot see the panel.
fn describe(respondents: &[&Respondent], same: &[Vec<Option<SameChoice>>]) -> String {
    let pairs = (0..same.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    let mut known: Vec<(f64, usize, usize)> =
        pairs.filter_map(|(i, j)| Some((same[i][j]?.share.filter(|share| share.is_finite())?, i, j))).collect();
    known.sort_by(|a, b| b.0.total_cmp(&a.0));
    let name = |i: usize| shorten(&respondents[i].label, 60);
    let pair =
        |(share, i, j): &(f64, usize, usize)| format!("{} and {} ({})", name(*i), name(*j), percent(Some(*share)));
    match known.as_slice() {
        [] => "No two respondents answered the same presentation.".into(),
        [one] => format!("{}.", pair(one)),
        [most, .., least] => {
            format!("{} pairs of respondents, from {} to {}.", count(known.len()), pair(most), pair(least))
        }
    }
}

/// A line for each pair.
fn csv(data: &ReportData) -> Vec<u8> {
    let rows = data.compared.iter().map(|pair| {
        let ends = pair.same.interval().map_or([None; 2], |(lo, hi)| [Some(lo), Some(hi)]);
        (&pair.labels, pair.same.share.and_then(finite), ends, pair.same.n)
    });
    to_csv(&["respondent", "other", "same_choice", "lo", "hi", "n"], rows)
}
