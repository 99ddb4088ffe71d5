//! From the log-probabilities of choices to what each way of choosing chooses.

use crate::engine::Top;
use crate::multiple_choice::request::Request;
use crate::prompts::tokens::Question;
use crate::scoring::choice_mass;
use crate::stats::softmax;

/// A way of choosing: the choice with the highest score, the first of equal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Log-probability.
    Sum,
    /// The same per Unicode character of the choice.
    PerChar,
    /// The same per UTF-8 byte of the choice.
    PerByte,
    /// The same per token that is scored, without the closing one.
    PerToken,
    /// Log-probability less that after the empty context.
    MutualInfo,
}

impl Rule {
    /// All of them, in the order of columns.
    pub const ALL: [Self; 5] = [Self::Sum, Self::PerChar, Self::PerByte, Self::PerToken, Self::MutualInfo];

    /// The name of its accuracy: lm-evaluation-harness's, where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "acc",
            Self::PerChar => "acc_norm",
            Self::PerByte => "acc_bytes",
            Self::PerToken => "acc_token",
            Self::MutualInfo => "acc_mutual_info",
        }
    }

    /// A choice's score; `None` where it was not evaluated.
    fn score(self, score: &ChoiceScore, text: &str) -> Option<f64> {
        match self {
            Self::Sum => Some(score.log_prob),
            Self::PerChar => Some(score.log_prob / text.chars().count() as f64),
            Self::PerByte => Some(score.log_prob / text.len() as f64),
            Self::PerToken => Some(score.log_prob / score.n_tokens as f64),
            Self::MutualInfo => Some(score.log_prob - score.log_prob_empty?),
        }
    }
}

/// What a model says of one choice, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChoiceScore {
    /// Log-probability after the prompt.
    pub log_prob: f64,
    /// Log-probability after the empty context.
    pub log_prob_empty: Option<f64>,
    /// Tokens scored, without the closing one.
    pub n_tokens: usize,
    /// Whether each token is the most probable one at its place.
    pub greedy: bool,
}

/// A request with its scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The request.
    pub request: Request,
    /// In the order of its choices.
    pub choices: Vec<ChoiceScore>,
    /// Softmax over the log-probabilities.
    pub p: Vec<f64>,
    /// Total probability of the choices, no event counted twice.
    pub choice_mass: f64,
    /// What each of [`Rule::ALL`] chooses.
    pub chosen: [Option<usize>; 5],
    /// Whether the closing token is scored after each choice.
    pub closed: bool,
    /// Tokens of the prompt.
    pub n_prompt_tokens: usize,
    /// Tokens of the prompt alone beyond those: they changed or are scored with the choices.
    pub n_moved_tokens: usize,
    /// Most probable first token of an answer.
    pub top: Top,
    /// Its text.
    pub top_text: String,
}

impl Scored {
    /// Completes the scores of a request's choices.
    pub fn new(
        request: Request,
        question: &Question,
        choices: Vec<ChoiceScore>,
        n_moved_tokens: usize,
        (top, top_text): (Top, String),
    ) -> Self {
        let log_probs: Vec<f64> = choices.iter().map(|c| c.log_prob).collect();
        let choose = |rule: Rule| {
            let scores: Option<Vec<f64>> =
                choices.iter().zip(&request.choices).map(|(score, text)| rule.score(score, text)).collect();
            scores.map(|scores| first_highest(&scores))
        };
        Self {
            chosen: Rule::ALL.map(choose),
            p: softmax(&log_probs, 1.0),
            choice_mass: choice_mass(&question.options, &log_probs),
            closed: question.closed,
            n_prompt_tokens: question.prompt.len(),
            n_moved_tokens,
            request,
            choices,
            top,
            top_text,
        }
    }
}

/// Index of the highest value, the first of equal ones.
fn first_highest(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, index| if values[index] > values[best] { index } else { best })
}

/// How often each of [`Rule::ALL`] is right, over the requests with a right choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// Requests with a right choice.
    pub n: usize,
    right: [Option<usize>; 5],
}

impl Accuracy {
    /// Counts a request with a right choice: whether each of [`Rule::ALL`] chooses it.
    pub fn add(&mut self, right: [Option<bool>; 5]) {
        self.n += 1;
        for (sum, right) in self.right.iter_mut().zip(right) {
            if let Some(right) = right {
                *sum = Some(sum.unwrap_or(0) + usize::from(right));
            }
        }
    }

    /// Share of right choices by a rule, and its standard error where there are two requests or more; `None` where
    /// nothing was counted.
    ///
    /// The standard error is the sample standard deviation over √n, which for zeros and ones is √(p (1 − p) / (n − 1)).
    ///
    /// # Source
    /// lm-evaluation-harness, `mean_stderr`
    pub fn of(&self, rule: Rule) -> Option<(f64, Option<f64>)> {
        let at = Rule::ALL.iter().position(|r| *r == rule)?;
        let p = self.right[at]? as f64 / self.n as f64;
        let error = (self.n > 1).then(|| (p * (1.0 - p) / (self.n as f64 - 1.0)).sqrt());
        Some((p, error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choice(log_prob: f64, log_prob_empty: f64, n_tokens: usize) -> ChoiceScore {
        ChoiceScore { log_prob, log_prob_empty: Some(log_prob_empty), n_tokens, greedy: false }
    }

    fn scored(options: &[(&str, &[u32], ChoiceScore)], gold: usize) -> Scored {
        let texts: Vec<&str> = options.iter().map(|o| o.0).collect();
        let fields = json!({"prompt": "Q", "choices": texts, "gold": gold});
        let request = Request::from_fields(fields.as_object().unwrap().clone(), 0, "r").unwrap();
        let options_ids = options.iter().map(|o| o.1.to_vec()).collect();
        let question = Question { prompt: vec![1, 2], source_len: 0, options: options_ids, closed: false };
        let top = (Top { token: 5, log_prob: -0.1 }, "x".to_owned());
        Scored::new(request, &question, options.iter().map(|o| o.2).collect(), 0, top)
    }

    #[test]
    fn each_rule_chooses_its_own() {
        // Sums −4, −6, −7, −8; per character −4, −3, −1.75, −2; per byte −4, −3, −1.75, −1; per token −4, −6, −7, −0.8;
        // less the empty context −3, 0, −5, −6.
        let one = scored(
            &[
                ("a", &[1], choice(-4.0, -1.0, 1)),
                ("bb", &[2], choice(-6.0, -6.0, 1)),
                ("cccc", &[3], choice(-7.0, -2.0, 1)),
                ("éééé", &[4], choice(-8.0, -2.0, 10)),
            ],
            0,
        );
        assert_eq!(one.chosen, [Some(0), Some(2), Some(3), Some(3), Some(1)]);
        let total: f64 = [-4.0, -6.0, -7.0, -8.0].map(f64::exp).iter().sum();
        assert!((one.p[1] - (-6.0_f64).exp() / total).abs() < 1e-15 && (one.choice_mass - total).abs() < 1e-15);
        // numpy's argmax: of equal scores the first.
        let tie = scored(&[("a", &[1], choice(-2.0, -1.0, 1)), ("b", &[2], choice(-2.0, -1.0, 1))], 0);
        assert_eq!(tie.chosen, [Some(0); 5]);
    }

    #[test]
    fn what_begins_another_covers_it() {
        let options: [(&str, &[u32], ChoiceScore); 4] = [
            ("ball game", &[7, 8], choice(-2.0, 0.0, 2)),
            ("ball", &[7], choice(-1.0, 0.0, 1)),
            ("ball glove", &[7, 9], choice(-3.0, 0.0, 2)),
            ("cat", &[8], choice(-4.0, 0.0, 1)),
        ];
        let mass = (-1.0_f64).exp() + (-4.0_f64).exp();
        assert!((scored(&options, 0).choice_mass - mass).abs() < 1e-15);
    }

    #[test]
    fn accuracies_and_their_errors() {
        let mut accuracy = Accuracy::default();
        assert_eq!(accuracy.of(Rule::Sum), None);
        let (right, wrong) = ([Some(true); 5], [Some(true), Some(false), Some(false), Some(false), Some(false)]);
        accuracy.add(right);
        assert_eq!((accuracy.n, accuracy.of(Rule::Sum)), (1, Some((1.0, None))));
        [wrong, right, right].into_iter().for_each(|one| accuracy.add(one));
        // Of 1, 0, 1, 1: variance 3 · 0.25² + 0.75² over 3 = 0.25, over √4.
        assert_eq!(accuracy.of(Rule::MutualInfo), Some((0.75, Some(0.25))));
        assert_eq!(accuracy.of(Rule::Sum), Some((1.0, Some(0.0))));
        let mut partly = Accuracy::default();
        partly.add([Some(true), Some(true), Some(true), Some(true), None]);
        assert_eq!((partly.n, partly.of(Rule::MutualInfo)), (1, None));
    }
}
