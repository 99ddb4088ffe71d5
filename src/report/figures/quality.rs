//! How the judgments were given.

use super::dots::{Axis, Dot, dot_panel, mark_path};
use super::ranking::ranking_legend;
use crate::presentations::Task;
use crate::report::csv::{finite, kind_name, to_csv};
use crate::report::data::{ReportData, Respondent, in_rank_order};
use crate::report::figure::{Figure, LegendItem, Part};
use crate::report::numbers::{count, decimals, percent, significant};

/// How the judgments were given, a panel for each measure, respondents in the order of the ranking.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let respondents = in_rank_order(data);
    if respondents.is_empty() {
        return None;
    }
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
    type Measure = fn(&Respondent) -> Option<f64>;
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
    Some(Figure {
        name: "quality",
        part: Part::Judgments,
        title: "How the judgments were given".into(),
        caption: "Respondents in the order of the ranking. A dash: the respondent cannot have this number.".into(),
        terms: terms(data.task),
        csv: csv(data),
        defs: String::new(),
        style: String::new(),
        legend,
        panels: panels.collect(),
        columns: 2,
    })
}

/// What the panels show.
fn terms(task: Task) -> Vec<(String, String)> {
    let (agreement, options, place, decisiveness) = match task {
        Task::Anchored => (
            "Share of choices that took the option nearer to the anchor in the reference, of those triplets whose options are not \
             equally near. A coin gets 50 %.",
            "two options",
            ("Position bias", "Share of choices that took the option shown first. 50 % is no bias."),
            "Mean distance of the decision’s probability from one half, doubled",
        ),
        Task::OddOneOut => (
            "Share of answers that named the concept beside the pair that lies nearest in the reference, of those triplets with \
             one nearest pair. A coin gets a third.",
            "three concepts",
            (
                "First, second, third place",
                "Share of answers that named the concept shown there as the odd one. A third each is no bias.",
            ),
            "Mean of how far the highest probability lies between a third and one",
        ),
    };
    let mass = format!(
        "Probability that a free answer would be one of the {options}: the median over judgments. Where it is low, the model would \
         have said something else, and its choice is read off what little is left. An encoder answers by the cosines of its \
         vectors and has none."
    );
    let decisiveness = format!("{decisiveness}: 0 undecided, 1 certain. Decisive is not the same as right.");
    let top = "Share of judgments in which the model’s likeliest first token begins one of the options.";
    [
        ("Agreement with the reference", agreement),
        ("Choice mass", &mass),
        place,
        ("Decisiveness", &decisiveness),
        ("Top token permitted", top),
    ]
    .map(|(term, meaning)| (term.to_owned(), meaning.to_owned()))
    .to_vec()
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
    ];
    let rows = in_rank_order(data).into_iter().map(|one| {
        let q = &one.quality;
        let number = |value: Option<f64>| value.and_then(finite);
        (
            (&one.label, kind_name(one.kind), q.n, q.n_unparsed),
            number(q.median_choice_mass),
            (0..shares.len()).map(|place| number(q.share_at(place))).collect::<Vec<_>>(),
            (number(q.mean_decisiveness), number(q.top_token_permitted)),
            (number(q.swap_consistency), q.n_swapped, number(one.triplets_per_second)),
            (number(one.agreement.share()), one.agreement.n),
        )
    });
    to_csv(&[&before, shares, &after].concat(), rows)
}
