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
    /// How the choice was made: `argmax`, `sample`, or `simulated`.
    pub decision: &'static str,
    /// What decided: a score kind, or `simulated`.
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
    /// What the model would have said first.
    pub top_token: String,
    /// Its id.
    pub top_token_id: i32,
    /// Its log-probability.
    pub top_log_prob: f32,
    /// Tokens of each option as written.
    pub n_tokens: [i16; 2],
    /// Unicode characters of each option.
    pub n_chars: [i16; 2],
    /// UTF-8 bytes of each option.
    pub n_bytes: [i16; 2],
    /// Tokens of the prompt.
    pub n_prompt_tokens: i32,
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
    let chosen: Vec<(&Judgment, bool)> = judgments.iter().filter_map(|j| Some((j, j.chose_first?))).collect();
    let mean = |sum: f64, n: usize| (n > 0).then(|| sum / n as f64);
    let masses: Vec<f64> = judgments.iter().filter_map(|j| Some(f64::from(j.model.as_ref()?.choice_mass))).collect();
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

    let mut choices: HashMap<(i64, i16), [Option<u32>; 2]> = HashMap::new();
    for (judgment, first) in &chosen {
        let triplet = judgment.triplet;
        let order = usize::from(triplet.order() == 1);
        let choice = if *first { triplet.first } else { triplet.second };
        choices.entry((triplet.id(n_concepts), judgment.repeat)).or_default()[order] = Some(choice);
    }
    let pairs: Vec<bool> = choices.values().filter_map(|[a, b]| Some((*a)? == (*b)?)).collect();
    let share = |flags: &[bool]| mean(flags.iter().filter(|f| **f).count() as f64, flags.len());
    Quality {
        n: judgments.len(),
        n_unparsed: judgments.len() - chosen.len(),
        first_share: mean(chosen.iter().filter(|(_, first)| *first).count() as f64, chosen.len()),
        median_choice_mass: crate::stats::quantile(&masses, 0.5).ok(),
        top_token_permitted: share(&permitted),
        mean_decisiveness: mean(decisive.iter().sum(), decisive.len()),
        swap_consistency: share(&pairs),
        n_swapped: pairs.len(),
    }
}
