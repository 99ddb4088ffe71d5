//! Judgments by scores: the options' log-probabilities decide.

use rand::RngExt;
use rayon::prelude::*;

use crate::concepts::ConceptId;
use crate::engine::Evaluation;
use crate::error::{Error, Result};
use crate::judge::{Asking, DecisionRule, JudgeSettings, short};
use crate::judgments::{Judgment, ModelScores, OptionScores};
use crate::presentations::Presentation;
use crate::prompts::forms::FormedQuestion;
use crate::prompts::plan::Plan;
use crate::prompts::template::Wording;
use crate::prompts::tokens::{Close, PromptTokenizer};
use crate::scoring::{ChoiceScores, highest, log_sum_exp};
use crate::seed::Streams;
use crate::stats::{drawn, softmax};

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
        presentations: &[Presentation],
        questions: &[FormedQuestion],
        plan: &Plan,
        evaluation: &Evaluation,
    ) -> Vec<Judgment> {
        let numbered = presentations.iter().zip(questions).enumerate();
        numbered.flat_map(|(index, (asked, question))| self.judged(asked, question, index, plan, evaluation)).collect()
    }

    /// The judgments of one presentation, repeat after repeat: the scores are the same, the draws are not.
    #[allow(clippy::cast_possible_truncation, reason = "stored as f32; token ids and prompts are far below 2^31")]
    fn judged(
        &self,
        presentation: &Presentation,
        asked: &FormedQuestion,
        index: usize,
        plan: &Plan,
        evaluation: &Evaluation,
    ) -> Vec<Judgment> {
        let question = &asked.question;
        let steps: Vec<&[f32]> = plan.slots[index].iter().map(|slots| &evaluation.log_probs[slots.clone()]).collect();
        let ids = presentation.options();
        let options = 0..ids.len();
        let n_forms: Vec<usize> = options.clone().map(|option| asked.n_forms(option)).collect();
        let scores = ChoiceScores::over_forms(&question.options, &steps, &n_forms);
        let names: Vec<&str> = ids.iter().map(|id| self.concepts.name(*id)).collect();
        let prior: Vec<f64> = options.clone().map(|option| self.prior(ids[option], asked, option)).collect();
        let n_tokens: Vec<usize> = options.map(|option| question.n_tokens(asked.written(option))).collect();
        let lengths: Vec<(usize, usize)> = n_tokens.iter().copied().zip(names.iter().map(|name| name.len())).collect();
        let deciding = scores.deciding(self.settings.score, &lengths, &prior);
        let top = evaluation.tops[index];
        let of_two = ids.len() == 2;
        let stored = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        let judgment = |repeat: u16| {
            let decided = deciding.as_ref().map(|scores| self.decide(scores, presentation, repeat));
            Judgment {
                presentation: *presentation,
                repeat: i16::try_from(repeat).expect("repeats fit the column"),
                chosen: decided.as_ref().map(|(choice, _)| *choice),
                decision: self.settings.decision.name(),
                score_kind: self.settings.score.name(),
                scores: deciding.as_deref().map(stored),
                p: decided.as_ref().map(|(_, p)| stored(p)),
                model: Some(ModelScores {
                    options: Some(OptionScores {
                        log_prob: stored(&scores.log_prob),
                        closed: question.closed,
                        prior: stored(&prior),
                        p_first: of_two.then(|| scores.p[0] as f32),
                        p_first_greedy: scores.p_greedy.as_ref().filter(|_| of_two).map(|p| p[0] as f32),
                        choice_mass: scores.choice_mass as f32,
                        n_tokens: n_tokens.iter().map(|n| short(*n)).collect(),
                    }),
                    answer: None,
                    top_token: self.tokenizer.text(top.token),
                    top_token_id: top.token as i32,
                    top_log_prob: top.log_prob,
                    n_chars: names.iter().map(|name| short(name.chars().count())).collect(),
                    n_bytes: names.iter().map(|name| short(name.len())).collect(),
                    n_prompt_tokens: question.prompt.len() as i32,
                }),
            }
        };
        (0..self.settings.repeats).map(judgment).collect()
    }

    /// The option chosen, and the probability of each.
    fn decide(&self, scores: &[f64], presentation: &Presentation, repeat: u16) -> (usize, Vec<f64>) {
        let rng = |purpose| Streams::new(self.settings.seed, purpose).rng(self.key(presentation, repeat));
        if let DecisionRule::Sample { temperature } = self.settings.decision {
            let p = softmax(scores, temperature);
            return (drawn(&p, rng("sample").random()), p);
        }
        (highest(scores, || rng("tie")), softmax(scores, 1.0))
    }
}

/// Tokenises the questions of presentations.
///
/// # Errors
/// Those of tokenisation; [`Error::ContextLength`] for a question that the model cannot hold.
pub fn questions(
    presentations: &[Presentation],
    tokenizer: &PromptTokenizer,
    concepts: &crate::concepts::Concepts,
    settings: &JudgeSettings,
    context_tokens: Option<usize>,
) -> Result<Vec<FormedQuestion>> {
    let one = |presentation: &Presentation| {
        let names = presentation.concepts().map(|id| concepts.name(id));
        let text = settings.wording.ask(names[0], names[1], names[2]);
        let options = &names[3 - presentation.task().options().len()..];
        let asked = match settings.surface_forms {
            true => tokenizer.formed_question(&text, options)?,
            false => FormedQuestion::plain(tokenizer.question(&text, options, settings.close)?),
        };
        match context_tokens {
            Some(available) if asked.question.longest() > available => {
                let (what, needed) = (presentation.shown(concepts), asked.question.longest());
                Err(Error::ContextLength { what, needed, available })
            }
            _ => Ok(asked),
        }
    };
    presentations.par_iter().map(one).collect()
}
