//! The three figures, as SVG from plain data.

use std::fmt::Write as _;

use super::numbers::{NOTHING, count, decimals, p_value, percent, significant, with_range};
use super::svg::{Figure, LegendItem, Panel, Scale, escape, px, round_step, shorten};
use super::{
    ConceptLabel, ConceptMap, Kind, ReportData, drawn_maps, fit_heading, fits, in_rank_order, is_reference, kind_of,
    ranked,
};
use crate::presentations::Task;

const NO_CATEGORY: &str = "no category";

/// Colours and shapes of categories: as many as can be told apart by colour alone.
const N_STYLES: usize = 8;

/// Above this number of concepts the rules that link the maps would outweigh the maps: names are then tooltips only.
const MAX_LINKED: usize = 512;

/// Outlines of the category marks around (0, 0): disc, square, triangle, diamond, triangle down, plus, cross, pentagon.
const SHAPES: [&str; N_STYLES] = [
    "M-4.6 0A4.6 4.6 0 1 1 4.6 0A4.6 4.6 0 1 1-4.6 0Z",
    "M-4.1-4.1H4.1V4.1H-4.1Z",
    "M0-5.4L5.2 3.8H-5.2Z",
    "M0-5.8L5.8 0L0 5.8L-5.8 0Z",
    "M0 5.4L5.2-3.8H-5.2Z",
    "M-1.8-5.4H1.8V-1.8H5.4V1.8H1.8V5.4H-1.8V1.8H-5.4V-1.8H-1.8Z",
    "M-5.2-2.7L-2.7-5.2L0-2.5L2.7-5.2L5.2-2.7L2.5 0L5.2 2.7L2.7 5.2L0 2.5L-2.7 5.2L-5.2 2.7L-2.5 0Z",
    "M0-5.4L5.1-1.7L3.2 4.4H-3.2L-5.1-1.7Z",
];

/// Figure 1: Procrustes R² of every respondent, a panel for each fit, with what is reachable and what chance gives.
pub(super) fn ranking(data: &ReportData) -> Figure {
    let rows_of: Vec<(&str, Vec<_>)> = fits(data).into_iter().map(|fit| (fit, ranked(data, fit))).collect();
    let numbers = rows_of.iter().flat_map(|(_, rows)| rows.iter());
    let drawn = numbers.flat_map(|row| {
        [Some(row.value), row.hi, row.ceiling, row.ceiling_hi, row.chance, row.chance_hi, row.null_mean]
    });
    let highest = drawn.flatten().filter(|v| v.is_finite()).fold(0.1, f64::max);
    let step = round_step(highest / 5.0);
    // One axis for all panels, from zero, so that fits can be compared by eye.
    let domain = [0.0, ((highest / step - 1e-9).ceil() * step).min(1.0)];

    let panels = rows_of.iter().filter(|(_, rows)| !rows.is_empty()).enumerate().map(|(index, (fit, rows))| {
        let dots: Vec<Dot> = rows
            .iter()
            .map(|row| Dot {
                label: &row.respondent,
                kind: kind_of(data, &row.respondent),
                value: Some(row.value),
                interval: row.lo.zip(row.hi),
                ceiling: row.ceiling,
                ceiling_range: row.ceiling_lo.zip(row.ceiling_hi),
                chance: row.chance,
                chance_range: row.chance_lo.zip(row.chance_hi),
                null_mean: row.null_mean,
                details: format!(
                    "R² {}, ceiling {}, chance {}, normalised {}, mean of permutations {}, p {}",
                    decimals(Some(row.value), 3),
                    with_range(row.ceiling, row.ceiling_lo, row.ceiling_hi),
                    with_range(row.chance, row.chance_lo, row.chance_hi),
                    decimals(row.normalised, 2),
                    decimals(row.null_mean, 3),
                    p_value(row.p)
                ),
            })
            .collect();
        let sizes = (rows.iter().map(|r| r.n).min().unwrap_or(0), rows.iter().map(|r| r.n).max().unwrap_or(0));
        let n = if sizes.0 == sizes.1 { count(sizes.0) } else { format!("{}–{}", count(sizes.0), count(sizes.1)) };
        let axis = Axis {
            title: format!("Procrustes R² (share of variance), n = {n} concepts"),
            domain,
            log: false,
            line: None,
            format: |v| decimals(v, 3),
            tick: |v| decimals(Some(v), 1 + usize::from((v * 10.0 - (v * 10.0).round()).abs() > 1e-6)),
        };
        dot_panel(format!("ranking-{index}"), fit_heading(fit), &dots, &axis)
    });
    Figure {
        name: "ranking",
        title: format!("Alignment with {}", shorten(&data.reference, 60)),
        defs: String::new(),
        style: String::new(),
        legend: ranking_legend(),
        panels: panels.collect(),
        columns: 2,
    }
}

fn ranking_legend() -> Vec<LegendItem> {
    let item = |mark: String, text: &str| LegendItem { mark, text: text.into() };
    vec![
        item("<circle class=\"model\" r=\"5\"/>".into(), "model"),
        item("<circle class=\"simulated\" r=\"4.5\"/>".into(), "simulated subject"),
        item(
            mark_path("ceiling", &ceiling_mark(0.0, [-4.0, 4.0], 0.0, 6.0)),
            "ceiling: same accuracy, the reference’s geometry",
        ),
        item(mark_path("chance", &chance_mark(0.0, [-4.0, 4.0], 0.0, 6.0)), "chance: coin flips under the same fit"),
        item("<rect class=\"band\" x=\"-8\" y=\"-4\" width=\"16\" height=\"8\"/>".into(), "from chance to ceiling"),
        item(mark_path("null", &null_mark(0.0, 0.0, 1.0)), "mean when concepts are shuffled"),
    ]
}

/// Figure 2: the concepts on two axes, the reference first, then each respondent.
pub(super) fn maps(data: &ReportData) -> Figure {
    let drawn = drawn_maps(data);
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
    Figure {
        name: "maps",
        title: "Concept maps".into(),
        defs,
        style,
        legend,
        panels: panels.collect(),
        columns: if small { 6 } else { 3 },
    }
}

/// Figure 3: how the judgments were given, a panel for each measure, respondents in the order of figure 1.
pub(super) fn quality(data: &ReportData) -> Figure {
    let respondents = in_rank_order(data);
    let masses = respondents.iter().filter_map(|one| one.quality.median_choice_mass);
    let lowest = masses.filter(|mass| mass.is_finite() && *mass > 0.0).fold(0.01, f64::min);
    let low_end = 10_f64.powf(lowest.log10().floor().max(-12.0));
    let share = |title: &str, line| Axis {
        title: title.into(),
        domain: [0.0, 1.0],
        log: false,
        line,
        format: percent,
        tick: |v| format!("{}\u{202f}%", decimals(Some(v * 100.0), 0)),
    };
    let mass = Axis {
        title: "median probability of a permitted answer (log scale)".into(),
        domain: [low_end, 1.0],
        log: true,
        line: None,
        format: significant,
        tick: |v| significant(Some(v)),
    };
    let decided = Axis {
        title: "mean |2p − 1|: 0 undecided, 1 certain".into(),
        format: |v| decimals(v, 2),
        tick: |v| decimals(Some(v), 1),
        ..share("", None)
    };
    type Measure = fn(&super::Respondent) -> Option<f64>;
    let place = |heading, measure: Measure, shown: &str, coin| {
        (heading, measure, share(&format!("share of choices of the {shown}"), Some(coin)))
    };
    let places: Vec<(&str, Measure, Axis)> = match data.task {
        Task::Anchored => vec![place("Position bias", |one| one.quality.share_at(0), "option shown first", 0.5)],
        Task::OddOneOut => vec![
            place("First place", |one| one.quality.share_at(0), "concept shown first", 1.0 / 3.0),
            place("Second place", |one| one.quality.share_at(1), "concept shown second", 1.0 / 3.0),
            place("Third place", |one| one.quality.share_at(2), "concept shown third", 1.0 / 3.0),
        ],
    };
    let others: [(&str, Measure, Axis); 2] = [
        ("Decisiveness", |one| one.quality.mean_decisiveness, decided),
        (
            "Top token permitted",
            |one| one.quality.top_token_permitted,
            share("share whose likeliest first token begins an option", None),
        ),
    ];
    let coin = 1.0 / data.task.options().len() as f64;
    let agreement = share("share of choices that the reference would make too", Some(coin));
    let first: [(&str, Measure, Axis); 2] = [
        ("Agreement with the reference", |one| one.agreement.share(), agreement),
        ("Choice mass", |one| one.quality.median_choice_mass, mass),
    ];
    let measures: Vec<_> = first.into_iter().chain(places).chain(others).collect();
    let panels = measures.iter().enumerate().map(|(index, (heading, measure, axis))| {
        let dots: Vec<Dot> = respondents
            .iter()
            .map(|one| Dot {
                label: &one.label,
                kind: one.kind,
                value: measure(one),
                details: format!("{}, {} judgments", (axis.format)(measure(one)), count(one.quality.n)),
                ..Dot::default()
            })
            .collect();
        dot_panel(format!("quality-{index}"), (*heading).to_owned(), &dots, axis)
    });
    let mut legend: Vec<LegendItem> = ranking_legend().into_iter().take(2).collect();
    let unbiased = decimals(Some(100.0 / data.task.options().len() as f64), 0);
    let text = format!("what a coin gives ({unbiased}\u{202f}%)");
    legend.push(LegendItem { mark: mark_path("half", "M0-7V7"), text });
    Figure {
        name: "quality",
        title: "Judgment quality".into(),
        defs: String::new(),
        style: String::new(),
        legend,
        panels: if respondents.is_empty() { Vec::new() } else { panels.collect() },
        columns: 2,
    }
}

/// The categories in alphabetical order.
fn categories(concepts: &[ConceptLabel]) -> Vec<&str> {
    let mut names: Vec<&str> = concepts.iter().filter_map(|concept| concept.category.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Colour and shape of a category: past eight the colours come again with other shapes.
fn mark_style(category: usize) -> (usize, usize) {
    (category % N_STYLES, (category + category / N_STYLES) % N_STYLES)
}

/// One row of a dot panel.
#[derive(Default)]
struct Dot<'a> {
    label: &'a str,
    kind: Kind,
    value: Option<f64>,
    interval: Option<(f64, f64)>,
    ceiling: Option<f64>,
    ceiling_range: Option<(f64, f64)>,
    chance: Option<f64>,
    chance_range: Option<(f64, f64)>,
    null_mean: Option<f64>,
    details: String,
}

/// The horizontal axis of a dot panel.
struct Axis {
    title: String,
    domain: [f64; 2],
    log: bool,
    line: Option<f64>,
    format: fn(Option<f64>) -> String,
    tick: fn(f64) -> String,
}

/// Rows of dots over one axis: label, track, marks, number.
fn dot_panel(id: String, title: String, dots: &[Dot], axis: &Axis) -> Panel {
    const WIDTH: f64 = 460.0;
    const PLOT: [f64; 2] = [174.0, 394.0];
    const TOP: f64 = 34.0;
    let many = dots.len() > 25;
    let row_height = [(8, 30.0), (25, 22.0), (usize::MAX, 17.0)]
        .into_iter()
        .find(|(n, _)| dots.len() <= *n)
        .map_or(17.0, |(_, h)| h);
    // A long list has its tick labels at both ends.
    let top = if many { TOP + 20.0 } else { TOP };
    let bottom = top + row_height * dots.len() as f64;
    let scale = Scale { domain: axis.domain, range: PLOT, log: axis.log };

    let mut body = format!("<text class=\"head\" y=\"14\">{}</text>", escape(&shorten(&title, 60)));
    for tick in scale.ticks() {
        let (x, text) = (px(scale.at(tick)), (axis.tick)(tick));
        let _ = write!(body, "<path class=\"grid\" d=\"M{x} {}V{}\"/>", px(top - 4.0), px(bottom + 4.0));
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
    let dim = if dot.kind == Kind::Simulated { " dim" } else { "" };
    let (label_x, text_y) = (px(scale.range[0] - 12.0), px(y + 4.0));
    let _ = write!(
        row,
        "<text class=\"end{dim}\" x=\"{label_x}\" y=\"{text_y}\">{}</text>",
        escape(&shorten(dot.label, 22))
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
    if let Some(value) = finite(dot.value) {
        let (class, radius) = match dot.kind {
            Kind::Model => ("model", 1.0),
            Kind::Simulated => ("simulated", 0.9),
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
        (axis.format)(dot.value)
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
fn ceiling_mark(x: f64, [left, right]: [f64; 2], y: f64, half: f64) -> String {
    format!("M{} {}V{}M{} {}H{}", px(x), px(y + half), px(y - half), px(left), px(y - half), px(right))
}

/// A T upside down: the floor.
fn chance_mark(x: f64, [left, right]: [f64; 2], y: f64, half: f64) -> String {
    format!("M{} {}V{}M{} {}H{}", px(x), px(y - half / 2.0), px(y + half), px(left), px(y + half), px(right))
}

/// A small arrow above the row that points at the value.
fn null_mark(x: f64, y: f64, half: f64) -> String {
    format!("M{} {}h6l-3 5Z", px(x - 3.0), px(y - half - 2.0))
}

fn mark_path(class: &str, d: &str) -> String {
    format!("<path class=\"{class}\" d=\"{d}\"/>")
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

    #[test]
    fn rows_without_a_value_keep_their_place() {
        let axis = Axis {
            title: "x".into(),
            domain: [0.0, 1.0],
            log: false,
            line: None,
            format: |v| decimals(v, 2),
            tick: |v| decimals(Some(v), 1),
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
