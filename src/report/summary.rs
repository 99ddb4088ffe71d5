//! The paragraph at the top of the page: what the numbers say, in plain words.

mod ingredients;

use super::data::{Kind, ReportData, fits, kind_of, preferred_fit, ranked};
use super::numbers::{count, decimals, p_value, percent};
use super::speeds;
use super::svg::shorten;
use crate::alignment::Measure;
use crate::alignment::agreement::Agreement;
use crate::presentations::Task;
use crate::store::alignment::AlignmentRow;

/// Above this p, alignment counts as chance.
const ALPHA: f64 = 0.05;

/// Between this p and [`ALPHA`] the evidence is weak: with a few fits and measures, one so small comes by luck.
const STRONG: f64 = 0.01;

/// Models that the summary names one by one; of more it counts the verdicts.
const NAMED: usize = 3;

/// What one row says about chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// p ≤ 0.01 and better than coin flips.
    Above,
    /// p ≤ 0.05 and better than coin flips.
    Weak,
    /// p > 0.05, or no better than coin flips.
    AtChance,
    /// No permutation test.
    Untested,
}

impl Verdict {
    /// The verdict as the tables show it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Above => "above chance",
            Self::Weak => "weak evidence",
            Self::AtChance => "at chance",
            Self::Untested => "not tested",
        }
    }
}

/// Whether a row is above chance.
pub(super) fn verdict(row: &AlignmentRow) -> Verdict {
    if !row.value.is_finite() {
        return Verdict::Untested;
    }
    let is_distance = row.measure.parse().is_ok_and(Measure::is_distance);
    let no_better = |chance: f64| if is_distance { row.value >= chance } else { row.value <= chance };
    if row.chance.is_some_and(no_better) {
        return Verdict::AtChance;
    }
    match row.p.filter(|p| p.is_finite()) {
        Some(p) if p <= STRONG => Verdict::Above,
        Some(p) if p <= ALPHA => Verdict::Weak,
        Some(_) => Verdict::AtChance,
        None => Verdict::Untested,
    }
}

/// The paragraph, not yet escaped; of ingredients alone where nobody was asked.
pub(super) fn paragraph(data: &ReportData) -> String {
    if data.respondents.is_empty()
        && let Some(ingredients) = &data.ingredients
    {
        return ingredients::paragraph(ingredients);
    }
    if data.respondents.is_empty()
        && let Some(bench) = &data.bench
    {
        return speeds::paragraph(bench);
    }
    let rows = preferred_fit(data).map(|fit| ranked(data, fit)).unwrap_or_default();
    let (models, simulated): (Vec<&AlignmentRow>, Vec<&AlignmentRow>) =
        rows.iter().partition(|row| kind_of(data, &row.respondent) == Kind::Model);

    let mut sentences = vec![opening(data)];
    match models.as_slice() {
        [] => sentences.push("No alignment of a model was measured.".into()),
        [one] => sentences.push(one_model(data, one, false)),
        few if few.len() <= NAMED => {
            let fit = name(&few[0].fit);
            sentences.push(format!("In Procrustes R² under the {fit} fit (normalised: 0 is chance, 1 the ceiling):"));
            sentences.extend(few.iter().map(|row| one_model(data, row, true)));
        }
        many => sentences.extend(many_models(many)),
    }
    if !simulated.is_empty() {
        let each: Vec<String> = simulated
            .iter()
            .take(4)
            .map(|row| format!("{} {}", name(&row.respondent), decimals(Some(row.value), 3)))
            .collect();
        sentences.push(format!("For comparison, simulated subjects under the same fit: {}.", each.join(", ")));
        // One subject alone may be the coin flipper, which belongs at chance.
        if simulated.len() > 1 && simulated.iter().all(|row| verdict(row) == Verdict::AtChance) {
            sentences.push(
                "None of them is above chance either, so this study could not have shown alignment if there were any: \
                 it needs more triplets."
                    .into(),
            );
        }
    }
    sentences.join(" ")
}

fn opening(data: &ReportData) -> String {
    let models: Vec<&str> =
        data.respondents.iter().filter(|one| one.kind == Kind::Model).map(|one| one.label.as_str()).collect();
    let n_simulated = data.respondents.len() - models.len();
    let who = match models.as_slice() {
        [] => String::new(),
        few if few.len() <= NAMED => few.iter().map(|label| name(label)).collect::<Vec<_>>().join(", "),
        many => format!("{} models", count(many.len())),
    };
    let beside = match n_simulated {
        0 => String::new(),
        1 => "one simulated subject".into(),
        n => format!("{} simulated subjects", count(n)),
    };
    let all = [who, beside].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" and ");
    let all = if all.is_empty() { "nobody".to_owned() } else { all };
    let reference = if data.reference_built_in {
        "the category structure of the concepts, which is not human data".to_owned()
    } else {
        name(&data.reference)
    };
    let (triplets, concepts) = (count(data.n_triplets), count(data.concepts.len()));
    let kind = match data.task {
        Task::Anchored => "",
        Task::OddOneOut => "odd-one-out ",
    };
    format!(
        "{triplets} {kind}triplets over {concepts} concepts were answered by {all}, \
         and the answers compared with {reference}."
    )
}

/// One model's verdict with its numbers; with others beside it (`brief`) only the most telling ones.
fn one_model(data: &ReportData, row: &AlignmentRow, brief: bool) -> String {
    let known = |value: Option<f64>| value.filter(|v| v.is_finite());
    let who = name(&row.respondent);
    if !row.value.is_finite() {
        return format!("{who} has no value.");
    }
    let agreement = data.respondents.iter().find(|one| one.label == row.respondent).map(|one| one.agreement);
    let agreement = agreement.unwrap_or_default();
    let finding = match (verdict(row), brief) {
        (Verdict::Weak, _) if like_a_coin(agreement, data.task) => {
            format!(
                "{who} sits at chance, for a p like this one comes by luck when a few fits and measures are looked at"
            )
        }
        (Verdict::Above, true) => format!("{who} is above chance"),
        (Verdict::Above, false) => {
            format!("{who} is above chance: its answers place the concepts partly as the reference does")
        }
        (Verdict::Weak, true) => format!("{who} is hardly above chance"),
        (Verdict::Weak, false) => {
            format!(
                "{who} is hardly above chance: a p this small comes by luck when a few fits and measures are looked at"
            )
        }
        (Verdict::AtChance, true) => format!("{who} is at chance"),
        (Verdict::AtChance, false) => {
            format!(
                "{who} is at chance: its answers show no more of the reference’s arrangement of the concepts \
                 than chance does"
            )
        }
        (Verdict::Untested, _) => format!("Whether {who} is above chance was not tested"),
    };
    let number = |value: f64| decimals(Some(value), 3);
    let mut numbers = vec![format!("Procrustes R² {} under the {} fit", number(row.value), name(&row.fit))];
    if brief {
        numbers = vec![format!("R² {}", number(row.value))];
        numbers.extend(known(row.normalised).map(|v| format!("normalised {}", decimals(Some(v), 2))));
    } else {
        numbers.extend(known(row.chance).map(|v| format!("coin flips reach {}", number(v))));
        numbers.extend(known(row.ceiling).map(|v| format!("the ceiling is {}", number(v))));
        numbers.extend(
            known(row.normalised)
                .map(|v| format!("normalised {}, where 0 is chance and 1 the ceiling", decimals(Some(v), 2))),
        );
    }
    numbers.extend(known(row.p).map(|p| format!("permutation p\u{a0}{}", equals(&p_value(Some(p))))));
    let mut text = format!("{finding} ({}).", numbers.join("; "));
    text.extend(single_choices(agreement, data.task));
    text.extend(forced(data, row));
    for fit in fits(data).into_iter().filter(|fit| *fit != row.fit) {
        let Some(other) = ranked(data, fit).into_iter().find(|other| other.respondent == row.respondent) else {
            continue;
        };
        let p = known(other.p).map(|p| format!(", p\u{a0}{}", equals(&p_value(Some(p))))).unwrap_or_default();
        let numbers = format!("(R² {}{p})", number(other.value));
        if verdict(other) == verdict(row) {
            if !brief {
                text.push_str(&format!(" The {} fit agrees {numbers}.", name(fit)));
            }
        } else {
            text.push_str(&format!(" Under the {} fit it is {} {numbers}.", name(fit), verdict(other).words()));
        }
    }
    text
}

/// Standard errors by which a share must exceed a coin's to be more than that.
const COIN_SE: f64 = 2.0;

/// Whether choices are no more often the reference's than a coin's would be.
fn like_a_coin(agreement: Agreement, task: Task) -> bool {
    let coin = 1.0 / task.options().len() as f64;
    agreement.share().is_some_and(|share| share - coin <= COIN_SE * (coin * (1.0 - coin) / agreement.n as f64).sqrt())
}

/// How many single choices the reference would make too, which needs no fit to be understood.
fn single_choices(agreement: Agreement, task: Task) -> Option<String> {
    let coin = decimals(Some(100.0 / task.options().len() as f64), 0);
    let beside = match like_a_coin(agreement, task) {
        true => "no more than a coin’s".to_owned(),
        false => format!("where a coin’s would be in {coin}\u{202f}%"),
    };
    Some(format!(
        " Its choices are the reference’s in {} of the {} judgments that the reference decides, {beside}.",
        percent(Some(agreement.share()?)),
        count(agreement.n)
    ))
}

/// Below this choice mass a model, left free, would hardly ever have named one of the options.
const FORCED_MASS: f64 = 0.1;

/// Says so when a model's choices are not what it would have answered.
fn forced(data: &ReportData, row: &AlignmentRow) -> Option<String> {
    let respondent = data.respondents.iter().find(|one| one.label == row.respondent)?;
    let mass = respondent.quality.median_choice_mass.filter(|mass| *mass < FORCED_MASS)?;
    let (options, of) = match data.task {
        Task::Anchored => ("two options", "more probable of two"),
        Task::OddOneOut => ("three concepts", "most probable of three"),
    };
    Some(format!(
        " Left free it would hardly ever have named one of the {options} (median probability {}): its choices are the \
         {of} answers it would not have given.",
        decimals(Some(mass), 4)
    ))
}

/// A label as it stands in a sentence: cut to a readable length, in quotes where it could be taken for its words.
fn name(label: &str) -> String {
    // Marks that turn the direction of writing would turn the rest of the sentence with them.
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let short = shorten(&label.replace(turns, "\u{fffd}"), 60);
    if label.contains(|c: char| c.is_whitespace() || c == ',') { format!("“{short}”") } else { short }
}

fn many_models(rows: &[&AlignmentRow]) -> Vec<String> {
    let of = |kind: Verdict| rows.iter().filter(|row| verdict(row) == kind).count();
    let (above, at_chance, untested) = (of(Verdict::Above), of(Verdict::AtChance), of(Verdict::Untested));
    let weak = of(Verdict::Weak);
    let fit = rows.first().map(|row| row.fit.as_str()).unwrap_or_default();
    let mut text = format!(
        "Under the {fit} fit {} of {} models are above chance (permutation p ≤ 0.01) and {} are at chance \
         (p > 0.05, or no better than coin flips)",
        count(above),
        count(rows.len()),
        count(at_chance)
    );
    if weak > 0 {
        text.push_str(&format!("; for {} the evidence is weak (p between 0.01 and 0.05)", count(weak)));
    }
    if untested > 0 {
        text.push_str(&format!("; {} were not tested", count(untested)));
    }
    text.push('.');
    let mut sentences = vec![text];
    if let Some(best) = rows.first().filter(|row| row.value.is_finite()) {
        let normalised = best.normalised.map(|v| format!(", normalised {}", decimals(Some(v), 2))).unwrap_or_default();
        let (who, value) = (name(&best.respondent), decimals(Some(best.value), 3));
        sentences.push(format!("The highest Procrustes R² is {value}{normalised} ({who}; {}).", verdict(best).words()));
    }
    if above > 0 && rows.len() >= 10 {
        let by_luck = decimals(Some(STRONG * rows.len() as f64), 1);
        sentences.push(format!(
            "Each p stands for itself: of {} models at chance about {by_luck} would pass by luck.",
            count(rows.len())
        ));
    }
    sentences
}

/// `= 0.012`, or `< 0.001` as it is.
fn equals(p: &str) -> String {
    if p.starts_with('<') { p.to_owned() } else { format!("= {p}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_said_when_p_is_large_or_coins_do_as_well() {
        let row = |value: f64, chance: Option<f64>, p: Option<f64>| AlignmentRow {
            value,
            chance,
            p,
            ..AlignmentRow::default()
        };
        assert_eq!(verdict(&row(0.4, Some(0.1), Some(0.001))), Verdict::Above);
        assert_eq!(verdict(&row(0.4, None, Some(0.05))), Verdict::Weak);
        assert_eq!(verdict(&row(0.4, None, Some(0.01))), Verdict::Above);
        assert_eq!(verdict(&row(0.13, Some(0.1), Some(0.2))), Verdict::AtChance);
        assert_eq!(verdict(&row(0.10, Some(0.12), Some(0.001))), Verdict::AtChance);
        assert_eq!(verdict(&row(0.10, Some(0.12), None)), Verdict::AtChance);
        assert_eq!(verdict(&row(0.4, Some(0.1), None)), Verdict::Untested);
        let distance =
            |value: f64| AlignmentRow { measure: "angular_distance".into(), ..row(value, Some(1.4), Some(0.001)) };
        assert_eq!([0.8, 1.5].map(|value| verdict(&distance(value))), [Verdict::Above, Verdict::AtChance]);
        assert_eq!(verdict(&row(f64::NAN, Some(0.1), Some(0.001))), Verdict::Untested);
        assert_eq!(verdict(&row(0.4, Some(f64::NAN), Some(f64::NAN))), Verdict::Untested);
    }
}
