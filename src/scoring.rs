//! From log-probabilities of tokens to choice scores.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::prompts::tokens::{Question, TokenId};
use crate::stats::softmax;

/// What decides between the options.
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
    /// Each option with its probability: p ∝ exp(score / T).
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

/// Everything known of one question, in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceScores {
    /// Log-probability of each option.
    pub log_prob: Vec<f64>,
    /// Softmax over them: probability of each option.
    pub p: Vec<f64>,
    /// Probability of each option when each step is renormalised over the permitted tokens; `None` where one option ends
    /// inside another and nothing closes it.
    pub p_greedy: Option<Vec<f64>>,
    /// Total probability of the permitted answers, no event counted twice.
    pub choice_mass: f64,
}

impl ChoiceScores {
    /// Scores a question from the log-probabilities of its options' tokens.
    ///
    /// `steps[i][k]` = log p(token k of option i | prompt, tokens before it), as f32 from the model, summed in f64.
    pub fn new(question: &Question, steps: &[&[f32]]) -> Self {
        Self::over_forms(&question.options, steps, &vec![1; question.options.len()])
    }

    /// Scores options that may each be written in several forms: the first `n_forms[0]` of `forms` are those of the first
    /// option, and so on. No form begins another, or there is one of each option.
    ///
    /// `log_prob` = ln Σ over forms of p(form); `p_greedy` = Σ over forms of the product, along the trie of all forms, of
    /// probabilities among permitted tokens.
    pub fn over_forms(forms: &[Vec<TokenId>], steps: &[&[f32]], n_forms: &[usize]) -> Self {
        let log_probs: Vec<f64> = steps.iter().map(|steps| steps.iter().map(|l| f64::from(*l)).sum()).collect();
        let begins = |a: usize, b: usize| a != b && forms[b].starts_with(&forms[a]);
        let ends_inside = (0..forms.len()).any(|a| (0..forms.len()).any(|b| begins(a, b)));
        let p_greedy: Option<Vec<f64>> =
            (!ends_inside).then(|| (0..forms.len()).map(|form| masked(forms, steps, form)).collect());
        let log_prob = of_options(&log_probs, n_forms, log_sum_exp);
        Self {
            p: softmax(&log_prob, 1.0),
            p_greedy: p_greedy.map(|p| of_options(&p, n_forms, |p| p.iter().sum())),
            choice_mass: choice_mass(forms, &log_probs),
            log_prob,
        }
    }

    /// The numbers that decide, by kind. `lengths` are (tokens, bytes) of each option, `prior` its log-probability after
    /// the neutral prompt. `None` where the kind is not defined.
    pub fn deciding(&self, kind: ScoreKind, lengths: &[(usize, usize)], prior: &[f64]) -> Option<Vec<f64>> {
        let each = |score: fn(f64, (usize, usize), f64) -> f64| {
            let options = self.log_prob.iter().zip(lengths).zip(prior);
            Some(options.map(|((log_prob, lengths), prior)| score(*log_prob, *lengths, *prior)).collect())
        };
        match kind {
            ScoreKind::Sequence => Some(self.log_prob.clone()),
            ScoreKind::PerToken => each(|l, (tokens, _), _| l / tokens as f64),
            ScoreKind::PerByte => each(|l, (_, bytes), _| l / bytes as f64),
            ScoreKind::Pmi => each(|l, _, prior| l - prior),
            ScoreKind::GreedyMask => self.p_greedy.as_ref().map(|p| p.iter().map(|p| p.ln()).collect()),
        }
    }
}

/// One number for each option from those of its forms.
fn of_options(of_forms: &[f64], n_forms: &[usize], joined: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut rest = of_forms;
    let one = |n: &usize| {
        let (own, others) = rest.split_at(*n);
        rest = others;
        joined(own)
    };
    n_forms.iter().map(one).collect()
}

/// Probability of one form when every step is renormalised over the tokens that some form permits there.
fn masked(forms: &[Vec<TokenId>], steps: &[&[f32]], form: usize) -> f64 {
    let own = &forms[form];
    let at = |step: usize| {
        // Its own token first, then each other one once.
        let mut permitted = vec![(own[step], f64::from(steps[form][step]))];
        for (other, steps) in forms.iter().zip(steps) {
            if other.len() > step && other[..step] == own[..step] && permitted.iter().all(|(t, _)| *t != other[step]) {
                permitted.push((other[step], f64::from(steps[step])));
            }
        }
        let log_probs: Vec<f64> = permitted.iter().map(|(_, l)| *l).collect();
        softmax(&log_probs, 1.0)[0]
    };
    (0..own.len()).map(at).product()
}

/// Probability that an answer begins with one of several token sequences. One that another begins is part of its event.
pub(crate) fn choice_mass(options: &[Vec<TokenId>], log_probs: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..options.len()).collect();
    order.sort_by(|&a, &b| options[a].cmp(&options[b]));
    // Sorted, what a sequence begins comes right behind it.
    let mut covering: Option<usize> = None;
    let mut mass = 0.0;
    for index in order {
        if covering.is_none_or(|shorter| !options[index].starts_with(&options[shorter])) {
            mass += log_probs[index].exp();
            covering = Some(index);
        }
    }
    mass
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

/// The option with the highest score; of equal ones any, as `coin` has it.
pub fn highest<R: RngExt>(scores: &[f64], coin: impl FnOnce() -> R) -> usize {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let best: Vec<usize> = (0..scores.len()).filter(|option| scores[*option] == highest).collect();
    match best[..] {
        [one] => one,
        [one, other] => [other, one][usize::from(coin().random::<bool>())],
        _ => best[coin().random_range(0..best.len())],
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
        let scores = ChoiceScores::over_forms(&forms, &steps, &[2, 1]);
        assert!((scores.log_prob[0].exp() - (0.4 * 0.5 + 0.1 * 0.3)).abs() < 1e-7);
        assert!((scores.log_prob[1].exp() - 0.4 * 0.25 * 0.8).abs() < 1e-7);
        assert!((scores.choice_mass - 0.31).abs() < 1e-7);
        // 0.8 and 0.2 at the first step; after 5, two thirds and one third.
        let greedy = scores.p_greedy.unwrap();
        assert!((greedy[0] - (0.8 * 2.0 / 3.0 + 0.2)).abs() < 1e-6 && (greedy[1] - 0.8 / 3.0).abs() < 1e-6);
    }

    fn question(options: &[&[u32]]) -> Question {
        Question {
            prompt: vec![1],
            source_len: 0,
            options: options.iter().map(|o| o.to_vec()).collect(),
            closed: false,
        }
    }

    #[test]
    fn two_options_by_hand() {
        let scores = ChoiceScores::new(&question(&[&[5, 6], &[7]]), &[&[-1.0, -0.5], &[-2.0]]);
        assert_eq!(scores.log_prob, [-1.5, -2.0]);
        assert!((scores.p[0] - 1.0 / (1.0 + (-0.5_f64).exp())).abs() < 1e-15);
        assert!((scores.choice_mass - ((-1.5_f64).exp() + (-2.0_f64).exp())).abs() < 1e-15);
        let greedy = (-1.0_f64).exp() / ((-1.0_f64).exp() + (-2.0_f64).exp());
        assert!((scores.p_greedy.as_ref().unwrap()[0] - greedy).abs() < 1e-15);
        let lengths = [(2, 10), (1, 4)];
        let deciding = |kind, prior: [f64; 2]| scores.deciding(kind, &lengths, &prior).unwrap();
        assert_eq!(deciding(ScoreKind::PerToken, [0.0; 2]), [-0.75, -2.0]);
        assert_eq!(deciding(ScoreKind::PerByte, [0.0; 2]), [-0.15, -0.5]);
        assert_eq!(deciding(ScoreKind::Pmi, [-1.0, -3.0]), [-0.5, 1.0]);
    }

    #[test]
    fn three_options_by_hand() {
        // Two that begin with 5, one with 7.
        let asked = question(&[&[5, 6], &[7, 8], &[5, 9]]);
        let steps: [&[f32]; 3] = [&[-1.0, -0.5], &[-2.0, -0.25], &[-1.0, -1.5]];
        let scores = ChoiceScores::new(&asked, &steps);
        assert_eq!(scores.log_prob, [-1.5, -2.25, -2.5]);
        let weights = [1.0, (-0.75_f64).exp(), (-1.0_f64).exp()];
        for (p, weight) in scores.p.iter().zip(weights) {
            assert!((p - weight / weights.iter().sum::<f64>()).abs() < 1e-15);
        }
        let mass: f64 = scores.log_prob.iter().map(|l| l.exp()).sum();
        assert!((scores.choice_mass - mass).abs() < 1e-15);
        // 5 against 7, then 6 against 9; after 7 nothing else is permitted.
        let (five, six) = (1.0 / (1.0 + (-1.0_f64).exp()), 1.0 / (1.0 + (-1.0_f64).exp()));
        let expected = [five * six, 1.0 - five, five * (1.0 - six)];
        for (p, expected) in scores.p_greedy.as_ref().unwrap().iter().zip(expected) {
            assert!((p - expected).abs() < 1e-15);
        }
        let (lengths, prior) = ([(2, 3), (2, 9), (2, 5)], [-2.0, -2.0, -1.0]);
        assert_eq!(scores.deciding(ScoreKind::PerToken, &lengths, &prior).unwrap(), [-0.75, -1.125, -1.25]);
        assert_eq!(scores.deciding(ScoreKind::PerByte, &lengths, &prior).unwrap(), [-0.5, -0.25, -0.5]);
        assert_eq!(scores.deciding(ScoreKind::Pmi, &lengths, &prior).unwrap(), [0.5, -0.25, -1.5]);
        let greedy = scores.deciding(ScoreKind::GreedyMask, &lengths, &prior).unwrap();
        assert!((greedy.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn an_option_inside_another_is_one_event() {
        let scores = ChoiceScores::new(&question(&[&[5], &[5, 6]]), &[&[-1.0], &[-1.0, -0.7]]);
        assert!((scores.choice_mass - (-1.0_f64).exp()).abs() < 1e-15);
        assert_eq!(scores.p_greedy, None);
        assert_eq!(scores.deciding(ScoreKind::GreedyMask, &[(1, 1); 2], &[0.0; 2]), None);
        // Of three, one apart.
        let scores = ChoiceScores::new(&question(&[&[5, 6], &[7], &[5]]), &[&[-1.0, -0.7], &[-3.0], &[-1.0]]);
        assert!((scores.choice_mass - ((-1.0_f64).exp() + (-3.0_f64).exp())).abs() < 1e-15);
        assert_eq!(scores.p_greedy, None);
    }

    #[test]
    fn turning_options_turns_scores() {
        let (a, b, c): (&[f32], &[f32], &[f32]) = (&[-1.0, -0.5], &[-2.0], &[-1.0, -0.25]);
        let one = ChoiceScores::new(&question(&[&[5, 6], &[7], &[5, 8]]), &[a, b, c]);
        let other = ChoiceScores::new(&question(&[&[7], &[5, 8], &[5, 6]]), &[b, c, a]);
        for place in 0..3 {
            let turned = (place + 2) % 3;
            assert_eq!(one.log_prob[place], other.log_prob[turned]);
            assert!((one.p[place] - other.p[turned]).abs() < 1e-15);
            let greedy = |scores: &ChoiceScores, place: usize| scores.p_greedy.as_ref().unwrap()[place];
            assert!((greedy(&one, place) - greedy(&other, turned)).abs() < 1e-15);
        }
        assert!((one.choice_mass - other.choice_mass).abs() < 1e-15);
    }
}
