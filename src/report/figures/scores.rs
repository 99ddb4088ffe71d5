//! How human-like each model is, where only scores are there: published ones, say.

use super::asked::{asked, legend, mark, named, told};
use super::axes::{extent, from_zero};
use super::dots::{Axis, Dot, dot_panel};
use crate::ingredients::Question;
use crate::report::csv::to_csv;
use crate::report::data::{Ingredients, ReportData};
use crate::report::figure::{Figure, LegendItem, Part};
use crate::report::names::response_title;
use crate::report::numbers::{count, decimals};

/// Above this number of models the list goes on in a second column.
const LONG: usize = 30;

/// All models by their score; nothing where the ranking of an alignment is there, which shows more.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let ingredients = data.ingredients.as_ref().filter(|_| data.alignment.is_empty())?;
    let scores = ranked(ingredients);
    let domain = from_zero(extent(scores.iter().map(|score| score.value))?);
    let told = told(ingredients);
    let title = response_title(&ingredients.asked);
    let axis = || Axis {
        title: format!("{title}, {} models", count(scores.len())),
        domain,
        log: false,
        line: None,
        format: |v| decimals(v, 3),
        tick: None,
    };
    let n_columns = if scores.len() > LONG { 2 } else { 1 };
    let of_column = scores.len().div_ceil(n_columns);
    let panels = scores.chunks(of_column).enumerate().map(|(index, scores)| {
        let dots: Vec<Dot> = scores
            .iter()
            .map(|score| Dot {
                label: score.name,
                value: Some(score.value),
                made_from: score.base.map(|(_, value)| value),
                mark: mark(told.as_ref(), score.row),
                details: match score.base {
                    None => decimals(Some(score.value), 3),
                    Some((base, value)) => format!(
                        "{}, made from {base} with {}",
                        decimals(Some(score.value), 3),
                        decimals(Some(value), 3)
                    ),
                },
                ..Dot::default()
            })
            .collect();
        let first = index * of_column + 1;
        let last = index * of_column + scores.len();
        dot_panel(format!("scores-{index}"), format!("Ranks {first} to {last}"), &dots, &axis())
    });
    let panels: Vec<_> = panels.collect();
    let n_pairs = scores.iter().filter(|score| score.base.is_some()).count();
    let mut legend = legend(told.as_ref());
    let mut pairs = String::new();
    if n_pairs > 0 {
        let mark = "<path class=\"ci\" d=\"M-6 0H6\"/><circle class=\"hollow\" cx=\"-6\" r=\"2.6\"/>".into();
        legend.push(LegendItem { mark, text: "from the model it was made from".into() });
        pairs = format!(" A line leads to {n_pairs} of them from the score of the model that each was made from.");
    }
    let names = ingredients.models.rows().iter().map(String::as_str);
    let without: Vec<&str> = names.filter(|name| scores.iter().all(|score| score.name != *name)).collect();
    let without = match without.as_slice() {
        [] => String::new(),
        names => format!(" Left out, without a score – {}.", named(names)),
    };
    Some(Figure {
        name: "scores",
        part: Part::Alignment,
        title: "Who is human-like".into(),
        caption: format!(
            "{title} of {} models, the highest first.{pairs} These are scores as they stand in a table: no intervals, ceilings or \
             chance levels come with them, so that small differences in rank may mean nothing.{without}",
            count(scores.len())
        ),
        csv: to_csv(
            &["rank", "model", "score", "base", "base_score"],
            scores.iter().enumerate().map(|(rank, score)| {
                (
                    rank + 1,
                    score.name,
                    score.value,
                    score.base.map(|(name, _)| name),
                    score.base.map(|(_, value)| value),
                )
            }),
        ),
        legend,
        panels,
        columns: 2,
        ..Figure::default()
    })
}

/// A model with its score, and the model that it was made from.
struct Score<'a> {
    row: usize,
    name: &'a str,
    value: f64,
    base: Option<(&'a str, f64)>,
}

/// The highest score first.
fn ranked(data: &Ingredients) -> Vec<Score<'_>> {
    let response = data.response();
    let names = data.models.rows();
    let base_column = asked(data, |question| if let Question::Pairs { base } = question { Some(base) } else { None });
    let bases = base_column.map(|(_, base, _)| base).next().and_then(|base| data.models.levels(base).ok());
    let base = |row: usize| {
        let name = bases?[row].as_deref()?;
        Some((name, response[names.iter().position(|other| other == name)?]?))
    };
    let mut scores: Vec<Score> = (0..names.len())
        .filter_map(|row| Some(Score { row, name: &names[row], value: response[row]?, base: base(row) }))
        .collect();
    scores.sort_by(|a, b| b.value.total_cmp(&a.value).then_with(|| a.name.cmp(b.name)));
    scores
}
