//! What fits of fewer triplets give.

use std::fmt::Write as _;

use super::axes::extent;
use super::maps::{N_STYLES, SHAPES, mark_style};
use crate::report::csv::{finite, to_csv};
use crate::report::data::{CurvePoint, ReportData, Spread, in_rank_order};
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::numbers::{count, counts, decimals, percent, range};
use crate::report::scale::Scale;
use crate::report::svg::{escape, px, shorten};

/// What a panel shows of a point.
struct Measure {
    title: &'static str,
    of: fn(&CurvePoint) -> Option<Spread>,
    format: fn(Option<f64>) -> String,
    tick: fn(f64) -> String,
    /// Whether guessing has a line.
    has_chance: bool,
}

const MEASURES: [Measure; 2] = [
    Measure {
        title: "held-out accuracy",
        of: |point| point.accuracy,
        format: percent,
        tick: |v| format!("{}\u{202f}%", decimals(Some(100.0 * v), 0)),
        has_chance: true,
    },
    Measure {
        title: "Procrustes R²",
        of: |point| point.r2,
        format: |v| decimals(v, 3),
        tick: |v| decimals(Some(v), 1),
        has_chance: false,
    },
];

/// Accuracy and alignment against the number of triplets, two panels for each loss, a line for each respondent.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let with_curve = |label: &str| data.curves.iter().any(|point| point.respondent == label);
    let labels: Vec<&str> =
        in_rank_order(data).into_iter().map(|one| one.label.as_str()).filter(|label| with_curve(label)).collect();
    let mut losses: Vec<&str> = data.curves.iter().map(|point| point.loss.as_str()).collect();
    losses.sort_unstable();
    losses.dedup();
    let mut panels = Vec::new();
    for (loss, measure) in losses.iter().flat_map(|loss| MEASURES.iter().map(move |measure| (loss, measure))) {
        let points: Vec<&CurvePoint> =
            data.curves.iter().filter(|point| point.loss == *loss && (measure.of)(point).is_some()).collect();
        if !points.is_empty() {
            panels.push(panel(panels.len(), loss, measure, &points, domain(data, measure), &labels));
        }
    }
    if panels.is_empty() {
        return None;
    }
    let mut defs = String::new();
    for index in 0..labels.len() {
        let (colour, shape) = mark_style(index);
        let _ = write!(defs, "<path id=\"u{index}\" class=\"k{colour}\" d=\"{}\"/>", SHAPES[shape]);
    }
    let mut style = String::from(".figure .curve{fill:none;stroke-width:1.6}");
    for colour in 0..N_STYLES {
        let _ = write!(style, ".figure .s{colour}{{stroke:var(--k{colour})}}");
    }
    let legend = labels
        .iter()
        .enumerate()
        .map(|(index, label)| LegendItem { mark: format!("<use href=\"#u{index}\"/>"), text: shorten(label, 60) });
    Some(Figure {
        name: "curves",
        part: Part::Effort,
        title: "What fewer triplets would have given".into(),
        caption: format!(
            "Embeddings fitted to random draws of the triplets, the smaller ones parts of the larger (log scale). Each mark is the mean \
             over {} draws, its line reaches from the lowest to the highest; all triplets there are can be drawn once only. Accuracy is the \
             share of the same {} held-out comparisons that a fit reproduces; the dashed line is guessing. Where a line still rises at \
             its end, more triplets would give more.",
            counts(data.curves.iter().map(|point| point.n_draws)),
            counts(data.curves.iter().map(|point| point.n_heldout)),
        ),
        csv: csv(data),
        defs,
        style,
        legend: legend.collect(),
        panels,
        columns: 2,
        ..Figure::default()
    })
}

/// Both ends of a measure's axis, in the panels of all losses so that they can be compared by eye.
fn domain(data: &ReportData, measure: &Measure) -> [f64; 2] {
    let spreads = data.curves.iter().filter_map(|point| (measure.of)(point));
    let chances = data.curves.iter().map(|point| point.chance).filter(|_| measure.has_chance);
    let [lowest, highest] =
        extent(spreads.flat_map(|spread| [spread.lo, spread.hi]).chain(chances)).unwrap_or_default();
    // Accuracy begins below guessing, R² at zero.
    let floor = if measure.has_chance { (lowest * 10.0).floor() / 10.0 } else { 0.0 };
    [floor, (highest.max(0.1) * 10.0).ceil() / 10.0]
}

fn panel(
    index: usize,
    loss: &str,
    measure: &Measure,
    points: &[&CurvePoint],
    domain: [f64; 2],
    labels: &[&str],
) -> Panel {
    const WIDTH: f64 = 460.0;
    const PLOT: [f64; 4] = [52.0, 34.0, 444.0, 264.0];
    let [left, top, right, bottom] = PLOT;
    let mut sizes: Vec<usize> = points.iter().map(|point| point.n_triplets).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let ends = [sizes[0] as f64 / 1.15, sizes[sizes.len() - 1] as f64 * 1.15];
    let x = Scale { domain: ends, range: [left, right], log: true };
    let y = Scale { domain, range: [bottom, top], log: false };

    let mut body = format!("<text class=\"head\" y=\"14\">{}</text>", escape(&format!("{loss}: {}", measure.title)));
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = write!(body, "<path class=\"grid\" d=\"M{} {}H{}\"/>", px(left), px(at), px(right));
        let _ = write!(
            body,
            "<text class=\"dim end num\" x=\"{}\" y=\"{}\">{}</text>",
            px(left - 8.0),
            px(at + 4.0),
            (measure.tick)(tick)
        );
    }
    // Numbers of triplets that were fitted to, as many as there is room for, from the largest down.
    let mut free = f64::INFINITY;
    for size in sizes.iter().rev() {
        let at = x.at(*size as f64);
        let text = count(*size);
        let half = 3.5 * text.len() as f64 + 4.0;
        if at + half < free {
            free = at - half;
            let _ = write!(body, "<path class=\"grid\" d=\"M{} {}v5\"/>", px(at), px(bottom));
            let _ =
                write!(body, "<text class=\"dim mid num\" x=\"{}\" y=\"{}\">{text}</text>", px(at), px(bottom + 19.0));
        }
    }
    let middle = px(f64::midpoint(left, right));
    let _ = write!(
        body,
        "<text class=\"dim mid\" x=\"{middle}\" y=\"{}\">triplets fitted to (log scale)</text>",
        px(bottom + 38.0)
    );
    if measure.has_chance {
        let chance = px(y.at(points[0].chance));
        let _ = write!(body, "<path class=\"half\" d=\"M{} {chance}H{}\"/>", px(left), px(right));
    }
    for (index, label) in labels.iter().enumerate() {
        let mut own: Vec<&CurvePoint> = points.iter().filter(|point| point.respondent == *label).copied().collect();
        own.sort_by_key(|point| point.n_triplets);
        body.push_str(&line(index, labels.len(), &own, measure, &x, &y));
    }
    let last = |label: &&str| {
        let point = points.iter().filter(|point| point.respondent == **label).max_by_key(|point| point.n_triplets)?;
        Some(format!(
            "{} {} at {}",
            shorten(label, 60),
            (measure.format)(Some((measure.of)(point)?.mean)),
            count(point.n_triplets)
        ))
    };
    let each: Vec<String> = labels.iter().filter_map(last).take(5).collect();
    Panel {
        id: format!("curves-{index}"),
        width: WIDTH,
        height: bottom + 46.0,
        role: "img",
        title: format!("{loss}: {}", measure.title),
        description: format!("At the largest number of triplets: {}.", each.join(", ")),
        body,
    }
}

/// One respondent's line, with a mark at each number of triplets; lines lie a little beside each other, so that no range
/// hides another.
fn line(index: usize, n_lines: usize, points: &[&CurvePoint], measure: &Measure, x: &Scale, y: &Scale) -> String {
    let (colour, _) = mark_style(index);
    let beside = (index as f64 - (n_lines - 1) as f64 / 2.0) * (24.0 / n_lines as f64).min(5.0);
    let placed: Vec<(&CurvePoint, Spread, f64)> = points
        .iter()
        .filter_map(|point| Some((*point, (measure.of)(point)?, x.at(point.n_triplets as f64) + beside)))
        .collect();
    let path: Vec<String> =
        placed.iter().map(|(_, spread, at)| format!("{} {}", px(*at), px(y.at(spread.mean)))).collect();
    let mut text = match path.len() {
        0 | 1 => String::new(),
        _ => format!("<path class=\"curve s{colour}\" d=\"M{}\"/>", path.join("L")),
    };
    for (point, spread, at) in placed {
        let (at, mean) = (px(at), px(y.at(spread.mean)));
        let _ = write!(
            text,
            "<g class=\"row\"><title>{}, {} triplets: {} ({}, {} draws)</title>\
             <path class=\"curve s{colour}\" d=\"M{at} {}V{}\"/><use href=\"#u{index}\" x=\"{at}\" y=\"{mean}\"/></g>",
            escape(&point.respondent),
            count(point.n_triplets),
            (measure.format)(Some(spread.mean)),
            range((spread.lo, spread.hi), measure.format),
            count(point.n_draws),
            px(y.at(spread.lo)),
            px(y.at(spread.hi)),
        );
    }
    text
}

/// A line for each point.
fn csv(data: &ReportData) -> Vec<u8> {
    let header = [
        "respondent",
        "loss",
        "n_triplets",
        "n_draws",
        "n_heldout",
        "chance_accuracy",
        "heldout_accuracy",
        "heldout_accuracy_lo",
        "heldout_accuracy_hi",
        "procrustes_r2",
        "procrustes_r2_lo",
        "procrustes_r2_hi",
    ];
    let spread = |spread: Option<Spread>| spread.map_or([None; 3], |s| [s.mean, s.lo, s.hi].map(finite));
    let rows = data.curves.iter().map(|point| {
        let sizes = (point.n_triplets, point.n_draws, point.n_heldout);
        (&point.respondent, &point.loss, sizes, finite(point.chance), spread(point.accuracy), spread(point.r2))
    });
    to_csv(&header, rows)
}
