//! How the judgments were given.

use super::dots::{Axis, Dot, dot_panel, mark_path};
use super::ranking::kinds_legend;
use crate::judgments::Transitivity;
use crate::presentations::Task;
use crate::report::csv::{finite, kind_name, to_csv};
use crate::report::data::{ReportData, Respondent, in_rank_order};
use crate::report::figure::{Figure, LegendItem, Part};
use crate::report::numbers::{count, decimals, percent, range, significant};
use crate::stats::wilson_95_of;

/// A number of a respondent's, with the interval and the count where it is a share.
#[derive(Default)]
struct Shown {
    value: Option<f64>,
    interval: Option<(f64, f64)>,
    n: usize,
}

/// One panel.
struct Measure {
    heading: &'static str,
    /// What it says, with what a coin gives.
    meaning: String,
    of: fn(&Respondent) -> Shown,
    axis: Axis,
}

/// How the judgments were given, a panel for each measure, respondents in the order of the ranking.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let respondents = in_rank_order(data);
    let known = |measure: &Measure| respondents.iter().any(|one| (measure.of)(one).value.is_some());
    let measures: Vec<Measure> = measures(data.task, low_end(&respondents)).into_iter().filter(known).collect();
    if measures.is_empty() {
        return None;
    }
    let panels = measures.iter().enumerate().map(|(index, measure)| {
        let dots: Vec<Dot> = respondents.iter().map(|one| dot(one, measure)).collect();
        dot_panel(format!("quality-{index}"), measure.heading.to_owned(), &dots, &measure.axis)
    });
    let mut legend = kinds_legend(data);
    legend.push(LegendItem { mark: mark_path("half", "M0-7V7"), text: "what answers at random give".into() });
    legend.push(LegendItem { mark: mark_path("ci", "M-8 0H8"), text: "95 % interval".into() });
    Some(Figure {
        name: "quality",
        part: Part::Judgments,
        title: "How the judgments were given".into(),
        caption: "Respondents in the order of the ranking. A dash: the respondent cannot have this number; \
                  what nobody has is left out. The line through a dot is \
                  the 95 % interval of its share (Wilson), with judgments taken as independent; where it is narrower than the dot, it \
                  is hidden."
            .into(),
        panels: panels.collect(),
        terms: measures.into_iter().map(|measure| (measure.heading.to_owned(), measure.meaning)).collect(),
        csv: csv(data),
        legend,
        columns: 2,
        ..Figure::default()
    })
}

/// A respondent's row in a panel.
fn dot<'a>(one: &'a Respondent, measure: &Measure) -> Dot<'a> {
    let Shown { value, interval, n } = (measure.of)(one);
    let within = interval.map(|ends| format!(" (95 % interval {})", range(ends, percent))).unwrap_or_default();
    let details = format!("{}{within}, n = {}", (measure.axis.format)(value), count(n));
    Dot { label: &one.label, kind: one.kind, value, interval, details, ..Dot::default() }
}

/// A share of `n` with Wilson's interval.
fn share_of(value: Option<f64>, n: usize) -> Shown {
    Shown { value, interval: value.filter(|_| n > 0).map(|share| wilson_95_of(share, n as f64)), n }
}

fn agreement(one: &Respondent) -> Shown {
    share_of(one.agreement.share(), one.agreement.n)
}

fn place(one: &Respondent, place: usize) -> Shown {
    share_of(one.quality.share_at(place), one.quality.n_chosen())
}

fn top_token(one: &Respondent) -> Shown {
    share_of(one.quality.top_token_permitted, one.quality.n)
}

fn consistency(one: &Respondent) -> Shown {
    share_of(one.quality.swap_consistency, one.quality.n_swapped)
}

fn transitivity(one: &Respondent) -> Shown {
    let found = &one.quality.transitivity;
    Shown { value: found.share(), interval: found.interval, n: found.n }
}

/// Where the axis of choice masses begins: a power of ten below the lowest.
fn low_end(respondents: &[&Respondent]) -> f64 {
    let masses = respondents.iter().filter_map(|one| one.quality.median_choice_mass);
    let lowest = masses.filter(|mass| mass.is_finite() && *mass > 0.0).fold(0.01, f64::min);
    10_f64.powf(lowest.log10().floor().max(-12.0))
}

/// What is shown of a task, in order.
fn measures(task: Task, lowest_mass: f64) -> Vec<Measure> {
    let share = |title: &str, line| Axis {
        title: title.into(),
        domain: [0.0, 1.0],
        log: false,
        line,
        format: percent,
        tick: Some(|v| format!("{}\u{202f}%", decimals(Some(v * 100.0), 0))),
    };
    let mass = Axis {
        title: "median probability of a permitted answer (log scale)".into(),
        domain: [lowest_mass, 1.0],
        log: true,
        line: None,
        format: significant,
        tick: None,
    };
    let decided = Axis {
        title: "mean |2p − 1|: 0 undecided, 1 certain".into(),
        format: |v| decimals(v, 2),
        tick: None,
        ..share("", None)
    };
    let coin = Some(1.0 / task.options().len() as f64);
    let measure = |heading, meaning: &str, of, axis| Measure { heading, meaning: meaning.into(), of, axis };
    let one_of = |shown| format!("share of choices of the {shown}");

    let (options, agrees, same, decisive) = match task {
        Task::Anchored => (
            "two options",
            "Share of choices that took the option nearer to the anchor in the reference, of those triplets whose options are not \
             equally near. A coin gets 50 %.",
            (
                "Same choice after swap",
                "Of triplets asked in both orders, the share with the same choice. A coin gets 50 %; whoever always takes the \
                 first gets none.",
            ),
            "Mean distance of the decision’s probability from one half, doubled",
        ),
        Task::OddOneOut => (
            "three concepts",
            "Share of answers that named the concept beside the pair that lies nearest in the reference, of those triplets with \
             one nearest pair. A coin gets a third.",
            (
                "Same choice after turning",
                "Of pairs of orders in which one triplet was asked, the share with the same answer. Answers at random get a third.",
            ),
            "Mean of how far the highest probability lies between a third and one",
        ),
    };
    let mut measures = vec![
        measure(
            "Agreement with the reference",
            agrees,
            agreement,
            share("share of choices that the reference would make too", coin),
        ),
        Measure {
            heading: "Choice mass",
            meaning: format!(
                "Probability that a free answer would be one of the {options}: the median over judgments. Where it is low, the \
                 model would have said something else, and its choice is read off what little is left. An encoder answers by \
                 the cosines of its vectors and has none."
            ),
            of: |one| Shown { value: one.quality.median_choice_mass, n: one.quality.n, ..Shown::default() },
            axis: mass,
        },
    ];
    match task {
        Task::Anchored => measures.push(measure(
            "Position bias",
            "Share of choices that took the option shown first. 50 % is no bias.",
            |one| place(one, 0),
            share(&one_of("option shown first"), coin),
        )),
        Task::OddOneOut => measures.extend([
            measure(
                "First place",
                "Share of answers that named the concept shown first as the odd one. A third is no bias.",
                |one| place(one, 0),
                share(&one_of("concept shown first"), coin),
            ),
            measure(
                "Second place",
                "The same of the concept shown second.",
                |one| place(one, 1),
                share(&one_of("concept shown second"), coin),
            ),
            measure(
                "Third place",
                "The same of the concept shown third.",
                |one| place(one, 2),
                share(&one_of("concept shown third"), coin),
            ),
        ]),
    }
    measures.push(measure(same.0, same.1, consistency, share("share of pairs of orders with the same choice", coin)));
    measures.push(measure(
            "Transitivity",
            "Of threes of options under one anchor of which every two were decided, the share that can be put in an order: x over y, \
             y over z, z over x is a cycle. Two options are decided by the majority of their choices, over orders and repeats; \
             ties are left out. Choices at random get 75 %. The interval allows for threes of one anchor that share choices.",
            transitivity,
            share("share of closed threes of options without a cycle", Some(Transitivity::BY_COIN)),
        ));
    measures.push(measure(
        "Decisiveness",
        &format!("{decisive}: 0 undecided, 1 certain. Decisive is not the same as right."),
        |one| Shown { value: one.quality.mean_decisiveness, n: one.quality.n, ..Shown::default() },
        decided,
    ));
    measures.push(measure(
        "Top token permitted",
        "Share of judgments in which the model’s likeliest first token begins one of the options.",
        top_token,
        share("share whose likeliest first token begins an option", None),
    ));
    measures
}

/// In the order drawn.
fn csv(data: &ReportData) -> Vec<u8> {
    let shares: &[&str] = match data.task {
        Task::Anchored => &["first_share"],
        Task::OddOneOut => &["a_share", "b_share", "c_share"],
    };
    let before = ["respondent", "kind", "n", "n_unparsed", "median_choice_mass"];
    let after = [
        "mean_decisiveness",
        "top_token_permitted",
        "swap_consistency",
        "n_swapped",
        "triplets_per_second",
        "agreement",
        "n_agreement",
        "transitivity",
        "n_threes",
    ];
    let intervals =
        shares.iter().copied().chain(["top_token_permitted", "swap_consistency", "agreement", "transitivity"]);
    let intervals: Vec<String> = intervals.flat_map(|name| [format!("{name}_lo"), format!("{name}_hi")]).collect();
    let header: Vec<&str> =
        before.iter().chain(shares).chain(&after).copied().chain(intervals.iter().map(String::as_str)).collect();
    let rows = in_rank_order(data).into_iter().map(|one| {
        let q = &one.quality;
        let number = |value: Option<f64>| value.and_then(finite);
        let places: Vec<Shown> = (0..shares.len()).map(|at| place(one, at)).collect();
        let others = [top_token(one), consistency(one), agreement(one), transitivity(one)];
        let ends = |shown: &Shown| shown.interval.map_or([None; 2], |(lo, hi)| [Some(lo), Some(hi)]);
        (
            (&one.label, kind_name(one.kind), q.n, q.n_unparsed),
            number(q.median_choice_mass),
            places.iter().map(|shown| number(shown.value)).collect::<Vec<_>>(),
            (number(q.mean_decisiveness), number(q.top_token_permitted), number(q.swap_consistency), q.n_swapped),
            number(one.run.as_ref().and_then(|run| run.triplets_per_second)),
            (number(one.agreement.share()), one.agreement.n, q.transitivity.share(), q.transitivity.n),
            places.iter().chain(&others).map(ends).collect::<Vec<_>>(),
        )
    });
    to_csv(&header, rows)
}
