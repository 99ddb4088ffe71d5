//! Asking a language model: presentations in, judgments out.

mod scored;
mod stages;
mod written;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use crate::concepts::{ConceptId, Concepts};
use crate::engine::{Evaluation, LanguageModel, evaluate};
use crate::error::{Error, Result};
use crate::generation::Written;
use crate::generation::settings::GenerationSettings;
use crate::judgments::Judgment;
use crate::pipeline::{ahead, pipeline};
use crate::presentations::Presentation;
use crate::prompts::forms::FormedQuestion;
use crate::prompts::plan::{Budget, Plan, PlanSize, Reuse, Strategy};
use crate::prompts::template::Wording;
use crate::prompts::tokens::{Close, PromptTokenizer, PromptTokens, Question};
use crate::scoring::{Decision, ScoreKind};

pub use scored::questions;
pub use stages::StageSeconds;

/// How a choice is made, with what that needs.
#[derive(Debug, Clone, PartialEq)]
pub enum DecisionRule {
    /// The higher score; equal scores by a seeded coin.
    Argmax,
    /// Each option with its probability: p ∝ exp(score / T).
    Sample {
        /// T, above 0.
        temperature: f64,
    },
    /// Whichever a free answer names.
    Generate(GenerationSettings),
}

impl DecisionRule {
    /// Its name in files and flags.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Argmax => Decision::Argmax,
            Self::Sample { .. } => Decision::Sample,
            Self::Generate(_) => Decision::Generate,
        }
        .name()
    }
}

/// How questions are put and choices made.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeSettings {
    /// What is asked.
    pub wording: Wording,
    /// Whether the closing token counts.
    pub close: Close,
    /// What decides.
    pub score: ScoreKind,
    /// How it decides.
    pub decision: DecisionRule,
    /// Whether every accepted form of an option counts.
    pub surface_forms: bool,
    /// How often each presentation is answered, 1 or more.
    pub repeats: u16,
    /// Seed of coins.
    pub seed: u64,
    /// Whether prefixes are shared.
    pub reuse: Reuse,
    /// New tokens in one pass.
    pub batch_tokens: usize,
}

impl JudgeSettings {
    /// As the paper asks, the score of whole options deciding: what `check` and `bench` measure with.
    pub fn plain(wording: Wording, seed: u64, reuse: Reuse, batch_tokens: usize) -> Self {
        Self {
            wording,
            close: Close::Auto,
            score: ScoreKind::Sequence,
            decision: DecisionRule::Argmax,
            surface_forms: false,
            repeats: 1,
            seed,
            reuse,
            batch_tokens,
        }
    }
}

/// How far reuse of prefixes changes the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Parity {
    /// Presentations compared.
    pub n: usize,
    /// Largest |Δ log p| of an option, in nats.
    pub max_nats: f64,
    /// Mean |Δ log p|.
    pub mean_nats: f64,
    /// Presentations whose higher option differs.
    pub flips: usize,
}

/// A language model being asked about concepts.
pub struct Judge<'a> {
    model: &'a mut dyn LanguageModel,
    asking: Asking<'a>,
}

/// Everything but the model: what can be done beside it.
struct Asking<'a> {
    tokenizer: &'a PromptTokenizer,
    concepts: &'a Concepts,
    settings: &'a JudgeSettings,
    context_tokens: Option<usize>,
    strategy: Strategy,
    budget: Budget,
    /// Log-probabilities after the neutral prompt of each concept.
    priors: BTreeMap<ConceptId, scored::Priors>,
    clock: stages::StageClock,
}

/// One part, ready for the model.
struct Asked<'t> {
    number: usize,
    presentations: &'t [Presentation],
    work: Work,
}

/// What the model is to do.
enum Work {
    Score { questions: Vec<FormedQuestion>, plan: Plan },
    Write { prompts: Vec<PromptTokens> },
}

/// What it did.
enum Done {
    Scored(Evaluation),
    Wrote(Vec<Written>),
}

impl<'a> Judge<'a> {
    /// Prepares to ask: where scores decide, evaluates the neutral prompt for every concept of `options`.
    ///
    /// # Errors
    /// Those of tokenisation and of the model.
    pub fn new(
        model: &'a mut dyn LanguageModel,
        tokenizer: &'a PromptTokenizer,
        concepts: &'a Concepts,
        settings: &'a JudgeSettings,
        options: impl IntoIterator<Item = ConceptId>,
    ) -> Result<Self> {
        let info = model.info();
        let mut asking = Asking {
            tokenizer,
            concepts,
            settings,
            context_tokens: info.context_tokens,
            strategy: info.strategy,
            budget: info.budget(settings.batch_tokens),
            priors: BTreeMap::new(),
            clock: stages::StageClock::default(),
        };
        let mut ids: Vec<ConceptId> = options.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        if !matches!(settings.decision, DecisionRule::Generate(_)) {
            let asked = asking.neutral_questions(&ids)?;
            let questions: Vec<Question> = asked.iter().map(|asked| asked.question.clone()).collect();
            let plan = asking.plan(&questions, settings.reuse);
            let name = |index: usize| format!("the neutral prompt, {}", concepts.name(ids[index]));
            let evaluation = asking.evaluate(model, &plan, name, |_| {})?;
            for ((id, asked), slots) in ids.iter().zip(&asked).zip(&plan.slots) {
                let steps: Vec<&[f32]> = slots.iter().map(|slots| &evaluation.log_probs[slots.clone()]).collect();
                asking.priors.insert(*id, asking.priors_of(*id, asked, &steps));
            }
        }
        Ok(Self { model, asking })
    }

    /// Time spent in the runtime so far.
    pub fn running(&self) -> Duration {
        self.model.running()
    }

    /// Time that each stage worked so far, on the neutral prompts as well.
    pub fn stages(&self) -> StageSeconds {
        self.asking.clock.read()
    }

    /// Judges parts, one after the other, and hands each one's judgments to `write`; `progress` is told how many questions
    /// each pass has read the first token of.
    ///
    /// While the model runs one part, the next are tokenised and planned and the one before is scored and written.
    ///
    /// # Errors
    /// Those of tokenisation, of the model, and of `write`; parts before the failing one are written.
    pub fn judge<'t>(
        &mut self,
        parts: impl Iterator<Item = (usize, &'t [Presentation])> + Send,
        mut write: impl FnMut(usize, Vec<Judgment>) -> Result<()> + Send,
        mut progress: impl FnMut(usize),
    ) -> Result<PlanSize> {
        let Self { model, asking } = self;
        let asking = &*asking;
        let mut size = PlanSize::default();
        let run = |asked: &Asked<'t>| {
            let (done, of_part) = asking.answer(*model, asked, &mut progress)?;
            size = size.plus(of_part);
            Ok(done)
        };
        pipeline(ahead(parts, |(number, asked)| asking.ask(number, asked)), run, |asked, done| {
            write(asked.number, asking.judgments(&asked, &done)?)
        })?;
        Ok(size)
    }

    /// Compares reuse of prefixes with whole prompts on some presentations.
    ///
    /// # Errors
    /// Those of tokenisation and of the model.
    pub fn parity(&mut self, presentations: &[Presentation]) -> Result<Parity> {
        Ok(Parity::between(&self.log_probs(presentations, Reuse::Trie)?, &self.log_probs(presentations, Reuse::Off)?))
    }

    /// Log-probabilities of the options of some presentations as written, in nats.
    ///
    /// # Errors
    /// Those of tokenisation and of the model.
    pub fn log_probs(&mut self, presentations: &[Presentation], reuse: Reuse) -> Result<Vec<Vec<f64>>> {
        let Self { model, asking } = self;
        let asked = asking.questions(presentations)?;
        let plan = asking.plan(&bare(&asked), reuse);
        let name = |index: usize| presentations[index].shown(asking.concepts);
        let evaluation = asking.evaluate(*model, &plan, name, |_| {})?;
        let sum = |slots: &Range<usize>| evaluation.log_probs[slots.clone()].iter().map(|l| f64::from(*l)).sum::<f64>();
        let of = |(slots, asked): (&Vec<Range<usize>>, &FormedQuestion)| {
            (0..asked.n_options()).map(|option| sum(&slots[asked.written(option)])).collect()
        };
        Ok(plan.slots.iter().zip(&asked).map(of).collect())
    }
}

impl Parity {
    /// Compares the log-probabilities of the same presentations.
    pub fn between(one: &[Vec<f64>], other: &[Vec<f64>]) -> Self {
        let pairs = one.iter().zip(other);
        let deltas: Vec<f64> = pairs.clone().flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs())).collect();
        let highest = |scores: &[f64]| (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        Self {
            n: one.len(),
            max_nats: deltas.iter().copied().fold(0.0, f64::max),
            mean_nats: deltas.iter().sum::<f64>() / deltas.len().max(1) as f64,
            flips: pairs.filter(|(a, b)| highest(a) != highest(b)).count(),
        }
    }
}

impl Asking<'_> {
    fn questions(&self, presentations: &[Presentation]) -> Result<Vec<FormedQuestion>> {
        let ask = || questions(presentations, self.tokenizer, self.concepts, self.settings, self.context_tokens);
        self.clock.tokenise.time(ask)
    }

    fn plan(&self, questions: &[Question], reuse: Reuse) -> Plan {
        self.clock.plan.time(|| Plan::new(questions, reuse, self.strategy, self.budget))
    }

    /// The question about three concepts.
    fn text(&self, presentation: &Presentation) -> String {
        let [one, two, three] = presentation.concepts().map(|id| self.concepts.name(id));
        self.settings.wording.ask(one, two, three)
    }

    fn ask<'t>(&self, number: usize, presentations: &'t [Presentation]) -> Result<Asked<'t>> {
        let work = match &self.settings.decision {
            DecisionRule::Generate(settings) => Work::Write { prompts: self.prompts(presentations, settings)? },
            _ => {
                let questions = self.questions(presentations)?;
                let plan = self.plan(&bare(&questions), self.settings.reuse);
                Work::Score { questions, plan }
            }
        };
        Ok(Asked { number, presentations, work })
    }

    fn answer(
        &self,
        model: &mut dyn LanguageModel,
        asked: &Asked<'_>,
        progress: impl FnMut(usize),
    ) -> Result<(Done, PlanSize)> {
        match (&asked.work, &self.settings.decision) {
            (Work::Write { prompts }, DecisionRule::Generate(settings)) => {
                let (written, size) = self.write(model, (asked.presentations, prompts), settings, progress)?;
                Ok((Done::Wrote(written), size))
            }
            (Work::Score { plan, .. }, _) => {
                let name = |index: usize| asked.presentations[index].shown(self.concepts);
                Ok((Done::Scored(self.evaluate(model, plan, name, progress)?), plan.size))
            }
            (Work::Write { .. }, _) => unreachable!("answers are written where the decision is to generate"),
        }
    }

    fn judgments(&self, asked: &Asked<'_>, done: &Done) -> Result<Vec<Judgment>> {
        match (&asked.work, done) {
            (Work::Score { questions, plan }, Done::Scored(evaluation)) => {
                let score = || self.scored_judgments(asked.presentations, questions, plan, evaluation);
                Ok(self.clock.score.time(score))
            }
            (Work::Write { prompts }, Done::Wrote(written)) => {
                self.written_judgments(asked.presentations, prompts, written)
            }
            _ => unreachable!("what is done is what was asked"),
        }
    }

    fn evaluate(
        &self,
        model: &mut dyn LanguageModel,
        plan: &Plan,
        name: impl Fn(usize) -> String,
        mut progress: impl FnMut(usize),
    ) -> Result<Evaluation> {
        let run = || evaluate(model, plan, |pass| progress(pass.tops.len()));
        self.clock.model.time(run).map_err(|error| named(error, name))
    }
}

/// Says which presentation was the first bad one, instead of its index.
fn named(error: Error, name: impl Fn(usize) -> String) -> Error {
    match error {
        Error::NotFiniteLogProb { value, provider, precision, presentation } => {
            let presentation = presentation.parse().map_or(presentation, name);
            Error::NotFiniteLogProb { value, provider, precision, presentation }
        }
        other => other,
    }
}

/// The questions alone.
fn bare(asked: &[FormedQuestion]) -> Vec<Question> {
    asked.iter().map(|asked| asked.question.clone()).collect()
}

/// A length as it is stored; names longer than 32,767 bytes are told as that long.
fn short(length: usize) -> i16 {
    i16::try_from(length).unwrap_or(i16::MAX)
}
