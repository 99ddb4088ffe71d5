//! The HTML page: plain strings handed to a template that escapes every one of them.
//!
//! The page has no script, and its content security policy allows none. The only markup that is not the template's own
//! is the figures', whose text [`svg::escape`](super::svg::escape) has passed.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::answers;
use super::data::{FitSummary, Kind, ReportData, Respondent, fit_heading, fits, in_rank_order, kind_of, ranked};
use super::figure::{FIGURE_CSS, Figure, Part};
use super::names::measure_name;
use super::numbers::{NOTHING, count, decimals, p_value, percent, significant, with_range};
use super::speeds::{SpeedView, speeds};
use super::summary;
use crate::ingredients::{Variant, Verdict};
use crate::judgments::Quality;
use crate::presentations::Task;
use crate::store::alignment::AlignmentRow;

/// The page as one string.
pub(super) fn render(data: &ReportData, figures: &[Figure]) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .add_template("page", include_str!("page.html"))
        .expect("the template is part of the program and parses");
    let page = Page {
        title: &data.title,
        study: &data.study,
        reference: &data.reference,
        built_in: data.reference_built_in,
        odd_one_out: data.task == Task::OddOneOut,
        n_triplets: count(data.n_triplets),
        n_concepts: count(data.concepts.len()),
        n_respondents: count(data.respondents.len()),
        summary: summary::paragraph(data),
        notes: &data.notes,
        figure_css: FIGURE_CSS,
        styles: figures.iter().map(|figure| figure.style.as_str()).collect(),
        parts: parts(figures, data),
        claims: claims(data),
        measures: measures(data),
        variants: variants(data),
        intervals: intervals(data),
        n_measures: data.alignment.len(),
        has_interval: data.alignment.iter().any(|row| interval(row).is_some()),
        speeds: data.bench.as_ref().map(speeds).unwrap_or_default(),
        respondents: in_rank_order(data).into_iter().map(RespondentView::new).collect(),
        provenance: &data.provenance,
    };
    let template = environment.get_template("page").expect("it was added above");
    template.render(Serde(&page)).expect("the template uses only fields that the page has")
}

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    study: &'a str,
    reference: &'a str,
    built_in: bool,
    odd_one_out: bool,
    n_triplets: String,
    n_concepts: String,
    n_respondents: String,
    summary: String,
    notes: &'a [String],
    figure_css: &'static str,
    styles: String,
    parts: Vec<PartView<'a>>,
    claims: Vec<ClaimView<'a>>,
    measures: Vec<FitMeasures<'a>>,
    variants: Vec<(String, String)>,
    intervals: Vec<(String, String)>,
    n_measures: usize,
    has_interval: bool,
    speeds: Vec<(&'static str, Vec<SpeedView>)>,
    respondents: Vec<RespondentView<'a>>,
    provenance: &'a [(String, String)],
}

/// A part of the page that has figures.
#[derive(Serialize)]
struct PartView<'a> {
    id: &'static str,
    heading: &'static str,
    figures: Vec<FigureView<'a>>,
}

/// A figure's markup, cut where the template puts its own.
#[derive(Serialize)]
struct FigureView<'a> {
    name: &'static str,
    number: usize,
    title: &'a str,
    caption: &'a str,
    terms: &'a [(String, String)],
    defs: &'a str,
    legend: Vec<(&'a str, &'a str)>,
    panels: Vec<String>,
    columns: usize,
    /// Whether the Tab key goes through it: there is a way around.
    reachable: bool,
}

/// Figures by their parts, numbered as they stand.
fn parts<'a>(figures: &'a [Figure], data: &ReportData) -> Vec<PartView<'a>> {
    let mut number = 0;
    let mut view = |figure| {
        number += 1;
        FigureView::new(figure, number)
    };
    let mut part = |part: Part| PartView {
        id: part.id(),
        heading: part.heading(),
        figures: figures.iter().filter(|figure| figure.part == part).map(&mut view).collect(),
    };
    let claimed = data.ingredients.as_ref().is_some_and(|ingredients| !ingredients.answers.is_empty());
    let shown = |part: &PartView| !part.figures.is_empty() || (claimed && part.id == Part::Ingredients.id());
    Part::ALL.into_iter().map(&mut part).filter(shown).collect()
}

impl<'a> FigureView<'a> {
    fn new(figure: &'a Figure, number: usize) -> Self {
        let panels = figure.panels.iter().enumerate();
        Self {
            name: figure.name,
            number,
            title: &figure.title,
            caption: &figure.caption,
            terms: &figure.terms,
            defs: &figure.defs,
            legend: figure.legend.iter().map(|item| (item.mark.as_str(), item.text.as_str())).collect(),
            panels: panels.map(|(at, panel)| panel.inline(figure.new_rows.contains(&at))).collect(),
            columns: figure.columns,
            reachable: figure.panels.iter().any(|panel| panel.role == "group"),
        }
    }
}

/// A claim: what it says, what was found, and what the data say of that.
#[derive(Serialize)]
struct ClaimView<'a> {
    key: &'a str,
    says: &'a str,
    source: &'a str,
    what: &'a str,
    /// Its words, which lines may end after.
    command: Vec<&'a str>,
    rows: Vec<AnswerView<'a>>,
}

/// The answer of one variant of the tables, as text.
#[derive(Serialize)]
struct AnswerView<'a> {
    variant: &'a str,
    estimate: String,
    interval: String,
    p: String,
    p_holm: String,
    n: String,
    verdict: &'a str,
}

/// The claims in their order, each with the variants that give other numbers than the tables as they are.
fn claims(data: &ReportData) -> Vec<ClaimView<'_>> {
    let mut claims: Vec<ClaimView> = vec![];
    let Some(ingredients) = &data.ingredients else { return claims };
    for row in &ingredients.answers {
        let as_given = row.variant == Variant::AS_GIVEN;
        if !as_given && ingredients.answer(&row.claim).is_some_and(|given| given.numbers == row.numbers) {
            continue;
        }
        let answer = AnswerView {
            variant: &row.variant,
            estimate: answers::estimate(&row.numbers),
            interval: answers::interval(&row.numbers).unwrap_or_else(|| NOTHING.into()),
            p: p_value(row.numbers.p),
            p_holm: p_value(row.p_holm),
            n: answers::n(&row.numbers),
            verdict: row.verdict.map(Verdict::text).or(row.error.as_deref()).unwrap_or(NOTHING),
        };
        match claims.last_mut().filter(|claim| claim.key == row.claim) {
            Some(claim) => claim.rows.push(answer),
            None => claims.push(ClaimView {
                key: &row.claim,
                says: &row.says,
                source: &row.source,
                what: &row.what,
                command: row.command.split(' ').collect(),
                rows: vec![answer],
            }),
        }
    }
    claims
}

/// All measures of one fit, respondents in the order of its ranking.
#[derive(Serialize)]
struct FitMeasures<'a> {
    fit: String,
    respondents: Vec<RespondentMeasures<'a>>,
}

#[derive(Serialize)]
struct RespondentMeasures<'a> {
    label: &'a str,
    simulated: bool,
    rows: Vec<MeasureView>,
}

/// One row of the table of measures, as text.
#[derive(Serialize)]
struct MeasureView {
    measure: String,
    value: String,
    interval: String,
    ceiling: String,
    chance: String,
    normalised: String,
    null_mean: String,
    p: String,
    verdict: &'static str,
}

fn measures(data: &ReportData) -> Vec<FitMeasures<'_>> {
    let of_fit = |fit: &str| {
        let mut labels: Vec<&str> = ranked(data, fit).iter().map(|row| row.respondent.as_str()).collect();
        for row in data.alignment.iter().filter(|row| row.fit == fit) {
            if !labels.contains(&row.respondent.as_str()) {
                labels.push(&row.respondent);
            }
        }
        let rows = |label: &str| {
            data.alignment.iter().filter(move |row| row.fit == fit && row.respondent == label).map(measure).collect()
        };
        let respondents = labels.into_iter().map(|label| RespondentMeasures {
            label,
            simulated: kind_of(data, label) == Kind::Simulated,
            rows: rows(label),
        });
        FitMeasures { fit: fit_heading(fit), respondents: respondents.collect() }
    };
    fits(data).into_iter().map(of_fit).collect()
}

fn measure(row: &AlignmentRow) -> MeasureView {
    let interval = interval(row).map(|(lo, hi)| format!("{}…{}", decimals(Some(lo), 2), decimals(Some(hi), 2)));
    MeasureView {
        measure: measure_name(&row.measure),
        value: decimals(Some(row.value), 3),
        interval: interval.unwrap_or_else(|| NOTHING.into()),
        ceiling: with_range(row.ceiling, row.ceiling_lo, row.ceiling_hi),
        chance: with_range(row.chance, row.chance_lo, row.chance_hi),
        normalised: decimals(row.normalised, 2),
        null_mean: decimals(row.null_mean, 3),
        p: p_value(row.p),
        verdict: summary::verdict(row).words(),
    }
}

fn interval(row: &AlignmentRow) -> Option<(f64, f64)> {
    row.lo.zip(row.hi).filter(|(lo, hi)| lo.is_finite() && hi.is_finite())
}

/// What the keys of the measures leave open, each said once below the table.
fn variants(data: &ReportData) -> Vec<(String, String)> {
    let said = data.alignment.iter().filter(|row| !row.variant.is_empty());
    said.map(|row| (measure_name(&row.measure), row.variant.clone())).collect::<BTreeSet<_>>().into_iter().collect()
}

/// How intervals were made, and, where that differs, those of which measures.
fn intervals(data: &ReportData) -> Vec<(String, String)> {
    let mut ways: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for row in &data.alignment {
        if let Some(how) = row.interval.as_deref().filter(|how| !how.is_empty()) {
            ways.entry(how).or_default().insert(measure_name(&row.measure));
        }
    }
    let alone = ways.len() == 1;
    let whose = |names: BTreeSet<String>| format!(" of {}", names.into_iter().collect::<Vec<_>>().join(", "));
    let said = |(how, names): (&str, _)| (if alone { String::new() } else { whose(names) }, how.to_owned());
    ways.into_iter().map(said).collect()
}

/// One respondent's rows in the tables of judgments and of fits, as text.
#[derive(Serialize)]
struct RespondentView<'a> {
    label: &'a str,
    simulated: bool,
    description: &'a str,
    n: String,
    unparsed: String,
    agreement: String,
    n_agreement: String,
    choice_mass: String,
    place_shares: String,
    decisiveness: String,
    top_token: String,
    consistency: String,
    n_swapped: String,
    transitivity: String,
    n_threes: String,
    fits: Vec<FitView<'a>>,
}

#[derive(Serialize)]
struct FitView<'a> {
    fit: &'a str,
    dims: String,
    penalty: String,
    train: String,
    heldout: String,
    guessing: String,
    effective: String,
    converged: bool,
    notes: String,
}

impl<'a> RespondentView<'a> {
    fn new(one: &'a Respondent) -> Self {
        let quality = &one.quality;
        let fit = |fit: &'a FitSummary| FitView {
            fit: &fit.fit,
            dims: count(fit.dims),
            penalty: significant(Some(fit.penalty)),
            train: percent(fit.train_accuracy),
            heldout: percent(fit.heldout_accuracy),
            guessing: percent(Some(fit.guessing)),
            effective: decimals(Some(fit.participation_ratio), 1),
            converged: fit.converged,
            notes: if fit.notes.is_empty() { NOTHING.into() } else { fit.notes.join("; ") },
        };
        Self {
            label: &one.label,
            simulated: one.kind == Kind::Simulated,
            description: &one.description,
            n: count(quality.n),
            unparsed: count(quality.n_unparsed),
            agreement: percent(one.agreement.share()),
            n_agreement: count(one.agreement.n),
            choice_mass: significant(quality.median_choice_mass),
            place_shares: place_shares(quality),
            decisiveness: decimals(quality.mean_decisiveness, 2),
            top_token: percent(quality.top_token_permitted),
            consistency: percent(quality.swap_consistency),
            n_swapped: count(quality.n_swapped),
            transitivity: percent(quality.transitivity.share()),
            n_threes: count(quality.transitivity.n),
            fits: one.fits.iter().map(fit).collect(),
        }
    }
}

/// The share of the option shown first; of three, those of all places.
fn place_shares(quality: &Quality) -> String {
    match quality.place_shares.as_deref() {
        Some([first, _]) => percent(Some(*first)),
        Some(shares) => shares.iter().map(|share| percent(Some(*share))).collect::<Vec<_>>().join(" · "),
        None => NOTHING.into(),
    }
}
