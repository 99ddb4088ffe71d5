//! One answered presentation, and what many of them say about the quality of a respondent's answers.

use std::collections::HashMap;

use crate::triplets::Triplet;

/// One answered presentation. What a respondent cannot have is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgment {
    /// What was asked, options in the order shown.
    pub triplet: Triplet,
    /// Which repetition of the same presentation.
    pub repeat: i16,
    /// Whether the first option was chosen; `None` if the answer names neither.
    pub chose_first: Option<bool>,
    /// How the choice was made: `argmax`, `sample`, `generate` or `simulated`.
    pub decision: &'static str,
    /// What decided: a score kind, `cosine`, `generate` or `simulated`.
    pub score_kind: &'static str,
    /// The two numbers that decided.
    pub scores: Option<[f32; 2]>,
    /// Probability of the first option under the decision.
    pub p_decision: Option<f32>,
    /// What a language model adds.
    pub model: Option<ModelScores>,
}

/// The part of a judgment that only a language model has, log-probabilities in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelScores {
    /// Scores of the options; `None` where the model answered freely.
    pub options: Option<OptionScores>,
    /// What the model answered, left free.
    pub answer: Option<Answer>,
    /// What the model would most probably have said first.
    pub top_token: String,
    /// Its id.
    pub top_token_id: i32,
    /// Its log-probability.
    pub top_log_prob: f32,
    /// Unicode characters of each option.
    pub n_chars: [i16; 2],
    /// UTF-8 bytes of each option.
    pub n_bytes: [i16; 2],
    /// Tokens of the prompt.
    pub n_prompt_tokens: i32,
}

/// A free answer and how it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text, trimmed.
    pub response: String,
    /// `parsed`, or `unparsed` with the reason.
    pub parse: &'static str,
}

/// How probable the options are, in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionScores {
    /// Log-probability of each option after the prompt.
    pub log_prob: [f32; 2],
    /// Whether the closing token is included.
    pub closed: bool,
    /// Log-probability of each option after the neutral prompt.
    pub prior: [f32; 2],
    /// Softmax over `log_prob`.
    pub p_first: f32,
    /// Probability of the first under step-by-step renormalisation.
    pub p_first_greedy: Option<f32>,
    /// Probability that the answer is one of the options.
    pub choice_mass: f32,
    /// Tokens of each option as written.
    pub n_tokens: [i16; 2],
}

/// How choices depend on the order in which options are shown.
#[derive(Debug, Clone, Default)]
pub struct OrderTally {
    /// Number of judgments.
    pub n: usize,
    /// Those with a choice.
    pub n_chosen: usize,
    /// Those that chose the option shown first.
    pub n_first: usize,
    /// By triplet and repeat, for each order: whether the option with the smaller id was chosen.
    choices: HashMap<(i64, i16), [Option<bool>; 2]>,
}

impl OrderTally {
    /// Counts one judgment; `order` is 0 when the first option shown has the smaller id.
    pub fn add(&mut self, triplet_id: i64, order: i8, repeat: i16, chose_first: Option<bool>) {
        self.n += 1;
        let Some(first) = chose_first else { return };
        self.n_chosen += 1;
        self.n_first += usize::from(first);
        let order = usize::from(order == 1);
        self.choices.entry((triplet_id, repeat)).or_default()[order] = Some(first == (order == 0));
    }

    /// Share of choices that took the first option: 0.5 without position bias.
    pub fn first_share(&self) -> Option<f64> {
        (self.n_chosen > 0).then(|| self.n_first as f64 / self.n_chosen as f64)
    }

    /// Of triplets answered in both orders, how many there are and the share with the same choice.
    pub fn consistency(&self) -> (usize, Option<f64>) {
        let pairs = self.choices.values().filter_map(|[a, b]| Some((*a)? == (*b)?));
        let (n, same) = pairs.fold((0, 0), |(n, same), one| (n + 1, same + usize::from(one)));
        (n, (n > 0).then(|| same as f64 / n as f64))
    }
}

/// What a set of judgments says about how they were given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quality {
    /// Number of judgments.
    pub n: usize,
    /// Those without a choice.
    pub n_unparsed: usize,
    /// Share of choices that took the first option: 0.5 without position bias.
    pub first_share: Option<f64>,
    /// Median probability that the free answer is one of the options.
    pub median_choice_mass: Option<f64>,
    /// Share of choices where the model's most probable first token begins a permitted option.
    pub top_token_permitted: Option<f64>,
    /// Mean |p_decision − ½|·2: 0 undecided, 1 certain.
    pub mean_decisiveness: Option<f64>,
    /// Of triplets asked in both orders, the share with the same choice.
    pub swap_consistency: Option<f64>,
    /// Number of such triplets.
    pub n_swapped: usize,
}

/// Summarises judgments of one respondent over `n_concepts` concepts.
///
/// `option_name` gives the name of a concept, to tell whether the model's top token begins an option.
pub fn quality(judgments: &[Judgment], n_concepts: usize, option_name: impl Fn(u32) -> String) -> Quality {
    let mean = |sum: f64, n: usize| (n > 0).then(|| sum / n as f64);
    let masses: Vec<f64> =
        judgments.iter().filter_map(|j| Some(f64::from(j.model.as_ref()?.options.as_ref()?.choice_mass))).collect();
    let permitted: Vec<bool> = judgments
        .iter()
        .filter_map(|j| {
            let top = j.model.as_ref()?.top_token.trim();
            let begins = |id: u32| option_name(id).starts_with(top);
            Some(!top.is_empty() && (begins(j.triplet.first) || begins(j.triplet.second)))
        })
        .collect();
    let decisive: Vec<f64> =
        judgments.iter().filter_map(|j| Some((f64::from(j.p_decision?) - 0.5).abs() * 2.0)).collect();

    let mut tally = OrderTally::default();
    for judgment in judgments {
        let triplet = judgment.triplet;
        tally.add(triplet.id(n_concepts), triplet.order(), judgment.repeat, judgment.chose_first);
    }
    let (n_swapped, swap_consistency) = tally.consistency();
    let share = |flags: &[bool]| mean(flags.iter().filter(|f| **f).count() as f64, flags.len());
    Quality {
        n: judgments.len(),
        n_unparsed: judgments.len() - tally.n_chosen,
        first_share: tally.first_share(),
        median_choice_mass: crate::stats::quantile(&masses, 0.5).ok(),
        top_token_permitted: share(&permitted),
        mean_decisiveness: mean(decisive.iter().sum(), decisive.len()),
        swap_consistency,
        n_swapped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_effects_by_hand() {
        let mut tally = OrderTally::default();
        assert_eq!((tally.first_share(), tally.consistency()), (None, (0, None)));
        // Triplet 1: the smaller id in both orders. 2: the first shown in both. 3: one answer missing. 4: asked once.
        for (triplet, order, chose_first) in [
            (1, 0, Some(true)),
            (1, 1, Some(false)),
            (2, 0, Some(true)),
            (2, 1, Some(true)),
            (3, 0, Some(true)),
            (3, 1, None),
            (4, 1, Some(false)),
        ] {
            tally.add(triplet, order, 0, chose_first);
        }
        assert_eq!((tally.n, tally.n_chosen, tally.n_first), (7, 6, 4));
        assert_eq!(tally.consistency(), (2, Some(0.5)));
        // Repeats are pairs of their own.
        tally.add(1, 0, 1, Some(false));
        tally.add(1, 1, 1, Some(true));
        assert_eq!(tally.consistency(), (3, Some(2.0 / 3.0)));
    }
}
