//! From log-probabilities of tokens to choice scores.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::prompts::tokens::{Question, TokenId};
use crate::stats::sigmoid;

/// What decides between two options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreKind {
    /// Log-probability of the whole option.
    #[default]
    Sequence,
    /// The same divided by its number of tokens.
    PerToken,
    /// The same divided by its number of UTF-8 bytes.
    PerByte,
    /// The same less the option's log-probability after the neutral prompt.
    Pmi,
    /// Product of the probabilities among permitted tokens, step by step.
    GreedyMask,
}

impl ScoreKind {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::PerToken => "per-token",
            Self::PerByte => "per-byte",
            Self::Pmi => "pmi",
            Self::GreedyMask => "greedy-mask",
        }
    }
}

impl std::str::FromStr for ScoreKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::Sequence, Self::PerToken, Self::PerByte, Self::Pmi, Self::GreedyMask];
        known.into_iter().find(|kind| kind.name() == text).ok_or_else(|| Error::Setting {
            field: "score".into(),
            found: text.into(),
            expected: "sequence, per-token, per-byte, pmi or greedy-mask".into(),
        })
    }
}

/// How a score becomes a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The higher score; equal scores by a seeded coin.
    #[default]
    Argmax,
    /// The first option with probability `p_decision`.
    Sample,
    /// Whichever a free answer names.
    Generate,
}

impl Decision {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Argmax => "argmax",
            Self::Sample => "sample",
            Self::Generate => "generate",
        }
    }
}

impl std::str::FromStr for Decision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::Argmax, Self::Sample, Self::Generate];
        known.into_iter().find(|decision| decision.name() == text).ok_or_else(|| Error::Setting {
            field: "decision".into(),
            found: text.into(),
            expected: "argmax, sample or generate".into(),
        })
    }
}

/// Everything known of one question about two options, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChoiceScores {
    /// Log-probability of each option.
    pub log_prob: [f64; 2],
    /// Softmax over the two: probability of the first.
    pub p_first: f64,
    /// Probability of the first when each step is renormalised over the permitted tokens; `None` where one option ends
    /// inside the other and nothing closes it.
    pub p_first_greedy: Option<f64>,
    /// Total probability of the permitted answers, no event counted twice.
    pub choice_mass: f64,
}

impl ChoiceScores {
    /// Scores a question about two options from the log-probabilities of their tokens.
    ///
    /// `steps[i][k]` = log p(token k of option i | prompt, tokens before it), as f32 from the model, summed in f64.
    pub fn new(question: &Question, steps: [&[f32]; 2]) -> Self {
        let sum = |steps: &[f32]| steps.iter().map(|l| f64::from(*l)).sum::<f64>();
        let log_prob = [sum(steps[0]), sum(steps[1])];
        let (first, second) = (&question.options[0], &question.options[1]);
        let parted = first.iter().zip(second).position(|(a, b)| a != b);
        // Without a step where they part, one option begins the other, and its event contains the other's.
        let choice_mass = match parted {
            Some(_) => log_prob[0].exp() + log_prob[1].exp(),
            None => log_prob[0].max(log_prob[1]).exp(),
        };
        // Before the options part there is one permitted token, after it too: only the parting step has a choice.
        let p_first_greedy = parted.map(|step| sigmoid(f64::from(steps[0][step]) - f64::from(steps[1][step])));
        Self { log_prob, p_first: sigmoid(log_prob[0] - log_prob[1]), p_first_greedy, choice_mass }
    }

    /// Scores two options that may each be written in several forms, none of which begins another: the first `n_first` of
    /// `forms` are those of the first option.
    ///
    /// `log_prob` = ln Σ over forms of p(form); `p_first_greedy` = Σ over forms of the product, along the trie of all forms,
    /// of probabilities among permitted tokens.
    pub fn over_forms(forms: &[Vec<TokenId>], steps: &[&[f32]], n_first: usize) -> Self {
        let log_probs: Vec<f64> = steps.iter().map(|steps| steps.iter().map(|l| f64::from(*l)).sum()).collect();
        let log_prob = [log_sum_exp(&log_probs[..n_first]), log_sum_exp(&log_probs[n_first..])];
        let p_first_greedy = (0..n_first).map(|form| masked(forms, steps, form)).sum();
        Self {
            log_prob,
            p_first: sigmoid(log_prob[0] - log_prob[1]),
            p_first_greedy: Some(p_first_greedy),
            choice_mass: log_probs.iter().map(|l| l.exp()).sum(),
        }
    }

    /// The two numbers that decide, by kind. `lengths` are (tokens, bytes) of each option, `prior` its log-probability
    /// after the neutral prompt. `None` where the kind is not defined.
    pub fn deciding(&self, kind: ScoreKind, lengths: [(usize, usize); 2], prior: [f64; 2]) -> Option<[f64; 2]> {
        let each = |score: fn(f64, (usize, usize), f64) -> f64| {
            [score(self.log_prob[0], lengths[0], prior[0]), score(self.log_prob[1], lengths[1], prior[1])]
        };
        match kind {
            ScoreKind::Sequence => Some(self.log_prob),
            ScoreKind::PerToken => Some(each(|l, (tokens, _), _| l / tokens as f64)),
            ScoreKind::PerByte => Some(each(|l, (_, bytes), _| l / bytes as f64)),
            ScoreKind::Pmi => Some(each(|l, _, prior| l - prior)),
            ScoreKind::GreedyMask => self.p_first_greedy.map(|p| [p.ln(), (1.0 - p).ln()]),
        }
    }
}

/// Probability of one form when every step is renormalised over the tokens that some form permits there.
fn masked(forms: &[Vec<TokenId>], steps: &[&[f32]], form: usize) -> f64 {
    let own = &forms[form];
    let at = |step: usize| {
        let mut permitted: Vec<(TokenId, f64)> = Vec::new();
        for (other, steps) in forms.iter().zip(steps) {
            if other.len() > step && other[..step] == own[..step] && permitted.iter().all(|(t, _)| *t != other[step]) {
                permitted.push((other[step], f64::from(steps[step])));
            }
        }
        let log_probs: Vec<f64> = permitted.iter().map(|(_, l)| *l).collect();
        f64::from(steps[form][step]) - log_sum_exp(&log_probs)
    };
    (0..own.len()).map(at).sum::<f64>().exp()
}

/// ln Σ exp(x); −∞ for nothing.
pub fn log_sum_exp(values: &[f64]) -> f64 {
    match values {
        // Not a rounding error off.
        [one] => *one,
        _ => {
            let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if highest == f64::NEG_INFINITY {
                return highest;
            }
            highest + values.iter().map(|value| (value - highest).exp()).sum::<f64>().ln()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_add_up_by_hand() {
        // First: 5 9 and 6 9; second: 5 7 9. Steps after the prompt: 5 and 6; after 5: 9 and 7.
        let forms = [vec![5, 9], vec![6, 9], vec![5, 7, 9]];
        let ln = |p: f32| p.ln();
        let (five, six) = (ln(0.4), ln(0.1));
        let steps: [&[f32]; 3] = [&[five, ln(0.5)], &[six, ln(0.3)], &[five, ln(0.25), ln(0.8)]];
        let scores = ChoiceScores::over_forms(&forms, &steps, 2);
        assert!((scores.log_prob[0].exp() - (0.4 * 0.5 + 0.1 * 0.3)).abs() < 1e-7);
        assert!((scores.log_prob[1].exp() - 0.4 * 0.25 * 0.8).abs() < 1e-7);
        assert!((scores.choice_mass - 0.31).abs() < 1e-7);
        // 0.8 and 0.2 at the first step; after 5, two thirds and one third.
        assert!((scores.p_first_greedy.unwrap() - (0.8 * 2.0 / 3.0 + 0.2)).abs() < 1e-6);
        // One form each is the plain question.
        let plain = ChoiceScores::new(&question(&[5, 9], &[5, 7, 9]), [steps[0], steps[2]]);
        let formed = ChoiceScores::over_forms(&[forms[0].clone(), forms[2].clone()], &[steps[0], steps[2]], 1);
        assert_eq!((plain.log_prob, plain.p_first), (formed.log_prob, formed.p_first));
        assert!((plain.p_first_greedy.unwrap() - formed.p_first_greedy.unwrap()).abs() < 1e-12);
    }

    fn question(first: &[u32], second: &[u32]) -> Question {
        Question { prompt: vec![1], source_len: 0, options: vec![first.to_vec(), second.to_vec()], closed: false }
    }

    #[test]
    fn two_options_by_hand() {
        let scores = ChoiceScores::new(&question(&[5, 6], &[7]), [&[-1.0, -0.5], &[-2.0]]);
        assert_eq!(scores.log_prob, [-1.5, -2.0]);
        assert!((scores.p_first - 1.0 / (1.0 + (-0.5_f64).exp())).abs() < 1e-15);
        assert!((scores.choice_mass - ((-1.5_f64).exp() + (-2.0_f64).exp())).abs() < 1e-15);
        let greedy = (-1.0_f64).exp() / ((-1.0_f64).exp() + (-2.0_f64).exp());
        assert!((scores.p_first_greedy.unwrap() - greedy).abs() < 1e-15);
        let lengths = [(2, 10), (1, 4)];
        assert_eq!(scores.deciding(ScoreKind::PerToken, lengths, [0.0; 2]), Some([-0.75, -2.0]));
        assert_eq!(scores.deciding(ScoreKind::PerByte, lengths, [0.0; 2]), Some([-0.15, -0.5]));
        assert_eq!(scores.deciding(ScoreKind::Pmi, lengths, [-1.0, -3.0]), Some([-0.5, 1.0]));
    }

    #[test]
    fn an_option_inside_the_other_is_one_event() {
        let scores = ChoiceScores::new(&question(&[5], &[5, 6]), [&[-1.0], &[-1.0, -0.7]]);
        assert!((scores.choice_mass - (-1.0_f64).exp()).abs() < 1e-15);
        assert_eq!(scores.p_first_greedy, None);
        assert_eq!(scores.deciding(ScoreKind::GreedyMask, [(1, 1); 2], [0.0; 2]), None);
    }

    #[test]
    fn swapping_options_swaps_scores() {
        let (a, b): (&[f32], &[f32]) = (&[-1.0, -0.5], &[-2.0]);
        let one = ChoiceScores::new(&question(&[5, 6], &[7]), [a, b]);
        let other = ChoiceScores::new(&question(&[7], &[5, 6]), [b, a]);
        assert_eq!(one.log_prob, [other.log_prob[1], other.log_prob[0]]);
        assert!((one.p_first + other.p_first - 1.0).abs() < 1e-15);
    }
}
