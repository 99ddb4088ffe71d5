//! Judgments by scores: the options' log-probabilities decide.

use rand::RngExt;
use rayon::prelude::*;

use crate::concepts::ConceptId;
use crate::engine::Evaluation;
use crate::error::{Error, Result};
use crate::judge::{Asking, DecisionRule, JudgeSettings, short, shown};
use crate::judgments::{Judgment, ModelScores, OptionScores};
use crate::prompts::forms::FormedQuestion;
use crate::prompts::plan::Plan;
use crate::prompts::template::Wording;
use crate::prompts::tokens::{Close, PromptTokenizer};
use crate::scoring::{ChoiceScores, log_sum_exp};
use crate::seed::Streams;
use crate::stats::sigmoid;
use crate::triplets::Triplet;

/// Log-probabilities of a concept after the neutral prompt, one for each form it is accepted in.
pub(super) type Priors = Vec<(String, Prior)>;

/// Log-probability of one form without and with the closing token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prior {
    open: f64,
    closed: f64,
}

impl Asking<'_> {
    /// The neutral prompt with each concept as its option.
    pub(super) fn neutral_questions(&self, ids: &[ConceptId]) -> Result<Vec<FormedQuestion>> {
        let ask = |id: &ConceptId| {
            let name = [self.concepts.name(*id)];
            match self.settings.surface_forms {
                true => self.tokenizer.formed_question(Wording::neutral(), &name),
                false => self.tokenizer.question(Wording::neutral(), &name, Close::Always).map(FormedQuestion::plain),
            }
        };
        ids.iter().map(ask).collect()
    }

    /// What the neutral prompt says about one concept.
    pub(super) fn priors_of(&self, id: ConceptId, asked: &FormedQuestion, steps: &[&[f32]]) -> Priors {
        let prior = |steps: &[f32]| {
            let closed: f64 = steps.iter().map(|l| f64::from(*l)).sum();
            Prior { open: closed - steps.last().map_or(0.0, |l| f64::from(*l)), closed }
        };
        let names = asked.texts(0, self.concepts.name(id));
        names.iter().map(|name| (*name).to_owned()).zip(steps.iter().map(|steps| prior(steps))).collect()
    }

    /// The prior of an option in the forms that a question accepts.
    fn prior(&self, id: ConceptId, question: &FormedQuestion, option: usize) -> f64 {
        let priors = &self.priors[&id];
        let of_form = |name: &&str| {
            let found = priors.iter().find(|(form, _)| form == name)?.1;
            Some(if question.question.closed { found.closed } else { found.open })
        };
        let priors: Vec<f64> = question.texts(option, self.concepts.name(id)).iter().filter_map(of_form).collect();
        log_sum_exp(&priors)
    }

    pub(super) fn scored_judgments(
        &self,
        triplets: &[Triplet],
        questions: &[FormedQuestion],
        plan: &Plan,
        evaluation: &Evaluation,
    ) -> Vec<Judgment> {
        let numbered = triplets.iter().zip(questions).enumerate();
        numbered.flat_map(|(index, (triplet, asked))| self.judged(*triplet, asked, index, plan, evaluation)).collect()
    }

    /// The judgments of one presentation, repeat after repeat: the scores are the same, the draws are not.
    #[allow(clippy::cast_possible_truncation, reason = "stored as f32; token ids and prompts are far below 2^31")]
    fn judged(
        &self,
        triplet: Triplet,
        asked: &FormedQuestion,
        index: usize,
        plan: &Plan,
        evaluation: &Evaluation,
    ) -> Vec<Judgment> {
        let question = &asked.question;
        let steps: Vec<&[f32]> = plan.slots[index].iter().map(|slots| &evaluation.log_probs[slots.clone()]).collect();
        let scores = match (&steps[..], self.settings.surface_forms) {
            (&[first, second], false) => ChoiceScores::new(question, [first, second]),
            _ => ChoiceScores::over_forms(&question.options, &steps, asked.n_forms(0)),
        };
        let ids = [triplet.first, triplet.second];
        let names = ids.map(|id| self.concepts.name(id));
        let prior = [0, 1].map(|option| self.prior(ids[option], asked, option));
        let n_tokens = [0, 1].map(|option| question.n_tokens(asked.written(option)));
        let lengths = [0, 1].map(|option| (n_tokens[option], names[option].len()));
        let deciding = scores.deciding(self.settings.score, lengths, prior);
        let top = evaluation.tops[index];
        let pair = |values: [f64; 2]| values.map(|v| v as f32);
        let judgment = |repeat: u16| {
            let decided = deciding.map(|scores| self.decide(scores, triplet, repeat));
            Judgment {
                triplet,
                repeat: i16::try_from(repeat).expect("repeats fit the column"),
                chose_first: decided.map(|(choice, _)| choice),
                decision: self.settings.decision.name(),
                score_kind: self.settings.score.name(),
                scores: deciding.map(pair),
                p_decision: decided.map(|(_, p)| p as f32),
                model: Some(ModelScores {
                    options: Some(OptionScores {
                        log_prob: pair(scores.log_prob),
                        closed: question.closed,
                        prior: pair(prior),
                        p_first: scores.p_first as f32,
                        p_first_greedy: scores.p_first_greedy.map(|p| p as f32),
                        choice_mass: scores.choice_mass as f32,
                        n_tokens: n_tokens.map(short),
                    }),
                    answer: None,
                    top_token: self.tokenizer.text(top.token),
                    top_token_id: top.token as i32,
                    top_log_prob: top.log_prob,
                    n_chars: names.map(|name| short(name.chars().count())),
                    n_bytes: names.map(|name| short(name.len())),
                    n_prompt_tokens: question.prompt.len() as i32,
                }),
            }
        };
        (0..self.settings.repeats).map(judgment).collect()
    }

    /// Whether the first option is chosen, and the probability of that.
    fn decide(&self, [first, second]: [f64; 2], triplet: Triplet, repeat: u16) -> (bool, f64) {
        let draw = |purpose| Streams::new(self.settings.seed, purpose).rng(self.key(triplet, repeat));
        match self.settings.decision {
            DecisionRule::Sample { temperature } => {
                let p = sigmoid((first - second) / temperature);
                (draw("sample").random::<f64>() < p, p)
            }
            _ if first == second => (draw("tie").random::<bool>(), sigmoid(first - second)),
            _ => (first > second, sigmoid(first - second)),
        }
    }
}

/// Tokenises the questions about triplets.
///
/// # Errors
/// Those of tokenisation; [`Error::ContextLength`] for a question that the model cannot hold.
pub fn questions(
    triplets: &[Triplet],
    tokenizer: &PromptTokenizer,
    concepts: &crate::concepts::Concepts,
    settings: &JudgeSettings,
    context_tokens: Option<usize>,
) -> Result<Vec<FormedQuestion>> {
    let one = |triplet: &Triplet| {
        let [anchor, first, second] = [triplet.anchor, triplet.first, triplet.second].map(|id| concepts.name(id));
        let text = settings.wording.ask(anchor, first, second);
        let asked = match settings.surface_forms {
            true => tokenizer.formed_question(&text, &[first, second])?,
            false => FormedQuestion::plain(tokenizer.question(&text, &[first, second], settings.close)?),
        };
        match context_tokens {
            Some(available) if asked.question.longest() > available => {
                let (what, needed) = (shown(triplet, concepts), asked.question.longest());
                Err(Error::ContextLength { what, needed, available })
            }
            _ => Ok(asked),
        }
    };
    triplets.par_iter().map(one).collect()
}
