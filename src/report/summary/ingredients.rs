//! The paragraph at the top of a page of ingredients alone.

use super::name;
use crate::ingredients::estimate::SIGNIFICANT;
use crate::ingredients::{Variant, Verdict};
use crate::report::data::{Effect, Ingredients};
use crate::report::names::{response_title, term_title};
use crate::report::numbers::{count, decimals};
use crate::store::ingredients::AnswerRow;

/// What was asked of how many models, what became of the claims, and the largest effect.
pub(in crate::report) fn paragraph(data: &Ingredients) -> String {
    let given: Vec<&AnswerRow> = data.answers.iter().filter(|row| row.variant == Variant::AS_GIVEN).collect();
    let models = count(data.models.len());
    let response = response_title(&data.asked);
    let mut sentences = vec![match given.len() {
        0 => format!("The scores of {models} models ({response}) are set beside their properties."),
        1 => format!(
            "The scores of {models} models ({response}) are set beside their properties, and one claim about them is put to the test."
        ),
        n => format!(
            "The scores of {models} models ({response}) are set beside their properties, and {} claims about them are put to the test.",
            count(n)
        ),
    }];
    if !given.is_empty() {
        sentences.push(verdicts(&given));
        sentences.extend(standing(data, &given));
    }
    sentences.extend(largest(data));
    sentences.push("All of this is association across models that differ in many ways at once; nothing here shows what causes what.".into());
    sentences.join(" ")
}

/// How many claims have which verdict.
fn verdicts(given: &[&AnswerRow]) -> String {
    let of = |verdict: Verdict| given.iter().filter(|row| row.verdict == Some(verdict)).count();
    let words = |verdict: Verdict| match verdict {
        Verdict::Agrees => "agree with the data",
        Verdict::SignOnly => "have the right sign, but an interval that holds zero",
        Verdict::Undecided => "cannot be decided",
        Verdict::NotOnTheseData => "do not hold on these data",
    };
    let mut parts: Vec<String> =
        Verdict::ALL.into_iter().map(|verdict| format!("{} {}", count(of(verdict)), words(verdict))).collect();
    let unanswered = given.iter().filter(|row| row.verdict.is_none()).count();
    if unanswered > 0 {
        parts.push(format!("{} could not be asked of so few models", count(unanswered)));
    }
    let last = parts.pop().unwrap_or_default();
    format!("Of these {} and {last}.", parts.join(", "))
}

/// How many of those that agree do so after adjustment, and whatever is done about doubtful cells.
fn standing(data: &Ingredients, given: &[&AnswerRow]) -> Option<String> {
    let agreeing: Vec<&&AnswerRow> = given.iter().filter(|row| row.verdict == Some(Verdict::Agrees)).collect();
    if agreeing.is_empty() || given.len() < 2 {
        return None;
    }
    let adjusted = agreeing.iter().filter(|row| row.p_holm.is_some_and(|p| p < SIGNIFICANT)).count();
    let stand = match adjusted == agreeing.len() {
        true => format!("all {} that agree", count(adjusted)),
        false => format!("{} of the {} that agree", count(adjusted), count(agreeing.len())),
    };
    let mut text = format!(
        "Verdicts are by 95 % intervals one claim at a time: adjusted for the number of claims (Holm), {stand} stand \
         (p < {})",
        decimals(Some(SIGNIFICANT), 2)
    );
    let n_variants = data.asked.variants.len();
    if n_variants > 0 {
        let everywhere = agreeing.iter().filter(|row| {
            data.answers
                .iter()
                .filter(|other| other.claim == row.claim)
                .all(|other| other.verdict == Some(Verdict::Agrees))
        });
        let n = count(everywhere.count());
        text += &format!(", and {n} agree in each of the {} variants of the tables too", count(n_variants));
    }
    Some(text + ".")
}

/// The mixed model's largest effect.
fn largest(data: &Ingredients) -> Option<String> {
    let effects = data.effects.iter().filter(|effect| effect.term != "(Intercept)" && effect.value.is_finite());
    let Effect { term, value, interval, .. } = effects.max_by(|a, b| a.value.abs().total_cmp(&b.value.abs()))?;
    let interval = interval
        .map(|(lo, hi)| format!(" (95 % interval {} to {})", decimals(Some(lo), 3), decimals(Some(hi), 3)))
        .unwrap_or_default();
    Some(format!(
        "In the mixed model of {} models, in which properties are held fixed beside each other, the largest effect is that of {}: {}{interval}.",
        count(data.n_fitted),
        name(&term_title(term)),
        decimals(Some(*value), 3)
    ))
}
