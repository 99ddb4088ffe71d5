//! What training adds: from stage to stage of a chain, and from a model to the one made from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::asked::{asked, found};
use super::axes::{Axes, apart, extent, from_zero};
use crate::ingredients::Question;
use crate::report::csv::to_csv;
use crate::report::data::{Ingredients, ReportData};
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::names::response_title;
use crate::report::numbers::{count, decimals};
use crate::report::scale::Scale;
use crate::report::svg::{escape, px, shorten};
use crate::stats::mean;

const HEADING: &str = "Stages";
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 380.0;
/// Bottom and top of the plots.
const PLOT: [f64; 2] = [HEIGHT - 34.0, 34.0];
/// Where names at the end of lines may stand.
const NAMES: [f64; 2] = [40.0, HEIGHT - 34.0];

/// Chains over their stages, and pairs of models beside them.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let ingredients = data.ingredients.as_ref()?;
    let domain = from_zero(extent(ingredients.response().into_iter().flatten())?);
    let title = response_title(&ingredients.asked);
    let (chains, pairs) = (Chains::of(ingredients), pairs(ingredients));
    let mut caption = format!("{title}.");
    let mut panels = vec![];
    let mut legend = vec![];
    let mut rows: Vec<(&str, String, String, f64)> = vec![];
    if let Some(chains) = &chains {
        panels.push(chains.panel(domain, &title));
        let steps = asked(ingredients, step);
        let steps: Vec<String> =
            steps.map(|(_, (.., from, to), answer)| format!("{from} to {to} {}", found(answer))).collect();
        let _ = write!(
            caption,
            " {}: a line for each chain of models that were trained on from one another, over the stages that claims step between, as \
             the column {} has them. Mean steps: {}.",
            HEADING,
            chains.stage_column,
            steps.join("; ")
        );
        for (name, places) in &chains.lines {
            let stages =
                places.iter().map(|(stage, value)| ("stage", name.clone(), chains.stages[*stage].to_owned(), *value));
            rows.extend(stages);
        }
    }
    if let Some((pairs, answers)) = &pairs {
        panels.push(pairs_panel(pairs, domain, &title));
        let item = |class: &str, text: &str| LegendItem {
            mark: format!("<path class=\"{class}\" d=\"M-8 0H8\"/>"),
            text: text.to_owned(),
        };
        legend = vec![item("ci", "more human-like than its base"), item("half", "less so, or no more")];
        let _ = write!(
            caption,
            " Base and tuned: each model beside the one it was made from. Mean of a model less its base: {}.",
            answers.join("; ")
        );
        for pair in pairs {
            rows.push(("pair", pair.base.to_owned(), "base".into(), pair.from));
            rows.push(("pair", pair.name.to_owned(), "tuned".into(), pair.to));
        }
    }
    let _ = write!(
        caption,
        " In brackets 95 % intervals by Student’s t on the steps; n is the number of chains or pairs; p alone and adjusted for the \
         number of claims (Holm)."
    );
    (!panels.is_empty()).then(|| Figure {
        name: "stages",
        part: Part::Ingredients,
        title: "What each stage of training adds".into(),
        caption,
        csv: to_csv(&["kind", "name", "stage", "score"], rows),
        style: (0..8)
            .map(|i| format!(".stages .l{i}{{stroke:var(--k{i});stroke-width:2;fill:none}}.stages .t{i}{{font-weight:600;fill:var(--k{i})}}"))
            .collect(),
        legend,
        panels,
        columns: 2,
        ..Figure::default()
    })
}

/// Columns of chain and stage, and the two stages.
fn step(question: &Question) -> Option<(&str, &str, &str, &str)> {
    match question {
        Question::Step { chain, stage, from, to } => Some((chain, stage, from, to)),
        _ => None,
    }
}

/// Chains of models, with the mean score of each at the stages it has.
struct Chains<'a> {
    stage_column: &'a str,
    stages: Vec<&'a str>,
    lines: Vec<(String, Vec<(usize, f64)>)>,
}

impl<'a> Chains<'a> {
    /// Those of the first step asked about; steps of other columns would be another figure.
    fn of(data: &'a Ingredients) -> Option<Self> {
        let steps: Vec<_> = asked(data, step).map(|(_, step, _)| step).collect();
        let (chain_column, stage_column, ..) = *steps.first()?;
        let mut stages: Vec<&str> = vec![];
        for (_, _, from, to) in
            steps.iter().filter(|(chain, stage, ..)| (*chain, *stage) == (chain_column, stage_column))
        {
            let at = |stages: &[&str], name: &str| stages.iter().position(|stage| *stage == name);
            if at(&stages, from).is_none() {
                let place = at(&stages, to).unwrap_or(stages.len());
                stages.insert(place, from);
            }
            if at(&stages, to).is_none() {
                let place = at(&stages, from).map_or(stages.len(), |place| place + 1);
                stages.insert(place, to);
            }
        }
        let (chains, places) = (data.models.levels(chain_column).ok()?, data.models.levels(stage_column).ok()?);
        let mut scores: BTreeMap<&str, BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
        for ((chain, stage), value) in chains.iter().zip(places).zip(data.response()) {
            let place = stage.as_deref().and_then(|stage| stages.iter().position(|known| *known == stage));
            if let (Some(chain), Some(place), Some(value)) = (chain, place, value) {
                scores.entry(chain).or_default().entry(place).or_default().push(value);
            }
        }
        let line =
            |stages: BTreeMap<usize, Vec<f64>>| stages.into_iter().map(|(at, values)| (at, mean(&values))).collect();
        let lines: Vec<_> = scores.into_iter().map(|(chain, stages)| (chain.to_owned(), line(stages))).collect();
        (!lines.is_empty()).then_some(Self { stage_column, stages, lines })
    }

    fn panel(&self, domain: [f64; 2], y_title: &str) -> Panel {
        const RIGHT: f64 = 330.0;
        let n = self.stages.len() as f64;
        let places = Scale { domain: [0.0, n - 1.0], range: [76.0, RIGHT - 26.0], log: false };
        let x = |place: usize| places.at(place as f64);
        let framed = Axes {
            x: Scale { range: [50.0, RIGHT], ..places.clone() },
            y: Scale { domain, range: PLOT, log: false },
            x_title: String::new(),
            y_title: y_title.to_owned(),
        };
        let mut body = format!("<text class=\"head\" y=\"14\">{}</text>{}", HEADING, framed.y_axis());
        for (place, stage) in self.stages.iter().enumerate() {
            body.push_str(&stage_label(x(place), stage, 14));
        }
        let ends: Vec<f64> = self
            .lines
            .iter()
            .map(|(_, places)| places.last().map_or(f64::NAN, |(_, value)| framed.y.at(*value)))
            .collect();
        let at = apart(&ends, 16.0, NAMES);
        for (index, (name, places)) in self.lines.iter().enumerate() {
            let points: Vec<String> =
                places.iter().map(|(place, value)| format!("{} {}", px(x(*place)), px(framed.y.at(*value)))).collect();
            let colour = index % 8;
            let _ = write!(body, "<path class=\"l{colour}\" d=\"M{}\"/>", points.join("L"));
            for (place, value) in places {
                let _ = write!(
                    body,
                    "<circle class=\"k{colour} pt\" cx=\"{}\" cy=\"{}\" r=\"4\"><title>{}</title></circle>",
                    px(x(*place)),
                    px(framed.y.at(*value)),
                    escape(&format!("{name}, {}: {}", self.stages[*place], decimals(Some(*value), 3)))
                );
            }
            if let Some((place, _)) = places.last() {
                body.push_str(&end_label(
                    x(*place),
                    ends[index],
                    RIGHT + 4.0,
                    at[index],
                    name,
                    &format!("t{colour}"),
                    18,
                ));
            }
        }
        let description = format!("{} chains over the stages {}.", count(self.lines.len()), self.stages.join(", "));
        Panel {
            id: "stages-0".into(),
            width: WIDTH,
            height: HEIGHT,
            role: "img",
            title: HEADING.into(),
            description,
            body,
        }
    }
}

/// A model beside the one that it was made from.
struct Pair<'a> {
    name: &'a str,
    base: &'a str,
    from: f64,
    to: f64,
}

/// The pairs of the first claim about them, with what came of every such claim.
fn pairs<'a>(data: &'a Ingredients) -> Option<(Vec<Pair<'a>>, Vec<String>)> {
    let asked: Vec<_> =
        asked(data, |question| if let Question::Pairs { base } = question { Some(base) } else { None }).collect();
    let bases = data.models.levels(asked.first()?.1).ok()?;
    let (names, response) = (data.models.rows(), data.response());
    let pair = |(row, name): (usize, &'a str)| {
        let base = bases[row].as_deref()?;
        let from = response[names.iter().position(|other| other == base)?]?;
        Some(Pair { name, base, from, to: response[row]? })
    };
    let pairs: Vec<Pair> = names.iter().map(String::as_str).enumerate().filter_map(pair).collect();
    let answers = asked.iter().map(|(.., answer)| found(answer)).collect();
    (!pairs.is_empty()).then_some((pairs, answers))
}

fn pairs_panel(pairs: &[Pair<'_>], domain: [f64; 2], y_title: &str) -> Panel {
    const LEFT: f64 = 76.0;
    const RIGHT: f64 = 236.0;
    const LABELS: f64 = 276.0;
    let axes = Axes {
        x: Scale { domain: [0.0, 1.0], range: [50.0, 258.0], log: false },
        y: Scale { domain, range: PLOT, log: false },
        x_title: String::new(),
        y_title: y_title.to_owned(),
    };
    let mut body = format!("<text class=\"head\" y=\"14\">Base and tuned</text>{}", axes.y_axis());
    body.push_str(&stage_label(LEFT, "base", 14));
    body.push_str(&stage_label(RIGHT, "tuned", 14));
    let ends: Vec<f64> = pairs.iter().map(|pair| axes.y.at(pair.to)).collect();
    let at = apart(&ends, 14.0, NAMES);
    for (index, pair) in pairs.iter().enumerate() {
        let class = if pair.to > pair.from { "ci" } else { "half" };
        let (from, to) = (px(axes.y.at(pair.from)), px(ends[index]));
        let title = format!(
            "{}: {}, made from {} with {}",
            pair.name,
            decimals(Some(pair.to), 3),
            pair.base,
            decimals(Some(pair.from), 3)
        );
        let title = escape(&title);
        let _ = write!(
            body,
            "<g><title>{title}</title><path class=\"{class}\" d=\"M{LEFT} {from}L{RIGHT} {to}\"/>\
             <circle class=\"hollow pt\" cx=\"{LEFT}\" cy=\"{from}\" r=\"3.5\"/><circle class=\"model pt\" cx=\"{RIGHT}\" cy=\"{to}\" r=\"4\"/></g>"
        );
        body.push_str(&end_label(RIGHT, ends[index], LABELS, at[index], pair.name, "pair", 26));
    }
    let n_up = pairs.iter().filter(|pair| pair.to > pair.from).count();
    let description = format!(
        "{} of {} models are more human-like than the model each was made from.",
        count(n_up),
        count(pairs.len())
    );
    Panel {
        id: "stages-1".into(),
        width: WIDTH,
        height: HEIGHT,
        role: "img",
        title: "Base and tuned".into(),
        description,
        body,
    }
}

/// A stage's name below the plot.
fn stage_label(x: f64, name: &str, width: usize) -> String {
    format!(
        "<path class=\"grid\" d=\"M{x} {}V{}\"/><text class=\"dim mid\" x=\"{x}\" y=\"{}\">{}</text>",
        px(PLOT[1]),
        px(PLOT[0]),
        px(PLOT[0] + 20.0),
        escape(&shorten(name, width)),
        x = px(x),
    )
}

/// A line's name beside its end, tied to it by a thin line where it had to move.
fn end_label(x: f64, y: f64, label_x: f64, label_y: f64, name: &str, class: &str, width: usize) -> String {
    let (x, label_x) = (px(x + 7.0), px(label_x));
    format!(
        "<path class=\"grid\" d=\"M{x} {}L{label_x} {}\"/><text class=\"on {class}\" x=\"{label_x}\" y=\"{}\" dx=\"4\">{}</text>",
        px(y),
        px(label_y),
        px(label_y + 4.0),
        escape(&shorten(name, width))
    )
}
