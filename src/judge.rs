//! Asking a language model: presentations in, judgments out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use crate::concepts::{ConceptId, Concepts};
use crate::engine::{Evaluation, LanguageModel, evaluate};
use crate::error::{Error, Result};
use crate::judgments::{Judgment, ModelScores};
use crate::prompts::plan::{Budget, Plan, PlanSize, Reuse, Strategy};
use crate::prompts::template::Wording;
use crate::prompts::tokens::{Close, PromptTokenizer, Question};
use crate::scoring::{ChoiceScores, Decision, ScoreKind};
use crate::seed::{Streams, judgment_key};
use crate::stats::sigmoid;
use crate::triplets::Triplet;

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
    pub decision: Decision,
    /// Temperature of `sample`: p ∝ exp(score / T).
    pub temperature: f64,
    /// Seed of coins.
    pub seed: u64,
    /// Whether prefixes are shared.
    pub reuse: Reuse,
    /// New tokens in one pass.
    pub batch_tokens: usize,
}

/// Bytes of key-value cache that may be alive at once. Judging keeps its memory whatever the number of triplets.
const CACHE_BYTES: usize = 400 << 20;

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
    kv_bytes_per_token: usize,
    /// Log-probability after the neutral prompt of each concept, open and closed.
    priors: BTreeMap<ConceptId, [f64; 2]>,
}

/// One part, ready for the model.
struct Asked<'t> {
    number: usize,
    triplets: &'t [Triplet],
    questions: Vec<Question>,
    plan: Plan,
}

impl<'a> Judge<'a> {
    /// Prepares to ask: evaluates the neutral prompt for every concept of `options`.
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
            kv_bytes_per_token: info.kv_bytes_per_token,
            priors: BTreeMap::new(),
        };
        let mut ids: Vec<ConceptId> = options.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let ask = |id: &ConceptId| tokenizer.question(Wording::neutral(), &[concepts.name(*id)], Close::Always);
        let questions: Vec<Question> = ids.iter().map(ask).collect::<Result<_>>()?;
        let plan = asking.plan(&questions, settings.reuse);
        let name = |index: usize| format!("the neutral prompt, {}", concepts.name(ids[index]));
        let evaluation = asking.evaluate(model, &plan, name, |_| {})?;
        for (id, slots) in ids.iter().zip(&plan.slots) {
            let steps: Vec<f64> = evaluation.log_probs[slots[0].clone()].iter().map(|l| f64::from(*l)).collect();
            let closed: f64 = steps.iter().sum();
            asking.priors.insert(*id, [closed - steps[steps.len() - 1], closed]);
        }
        Ok(Self { model, asking })
    }

    /// Time spent in the runtime so far.
    pub fn running(&self) -> Duration {
        self.model.running()
    }

    /// Judges parts, one after the other, and hands each one's judgments to `write`; `progress` is told how many questions
    /// each pass has read the first token of.
    ///
    /// While the model runs one part, the next is tokenised and planned and the one before is scored and written.
    ///
    /// # Errors
    /// Those of tokenisation, of the model, and of `write`; parts before the failing one are written.
    pub fn judge<'t>(
        &mut self,
        parts: impl Iterator<Item = (usize, &'t [Triplet])> + Send,
        mut write: impl FnMut(usize, Vec<Judgment>) -> Result<()> + Send,
        mut progress: impl FnMut(usize),
    ) -> Result<PlanSize> {
        let Self { model, asking } = self;
        let asking = &*asking;
        std::thread::scope(|scope| {
            // One part of each kind waits at most, so that memory does not grow with the number of parts.
            let (to_model, asked) = sync_channel::<Result<Asked<'t>>>(0);
            let (to_writer, answered) = sync_channel::<(Asked<'t>, Evaluation)>(0);
            scope.spawn(move || {
                for (number, triplets) in parts {
                    let asked = asking.ask(number, triplets);
                    let failed = asked.is_err();
                    // A closed channel means that the model has failed; the reason is reported there.
                    if to_model.send(asked).is_err() || failed {
                        return;
                    }
                }
            });
            let writer = scope.spawn(move || {
                answered
                    .into_iter()
                    .try_for_each(|(asked, evaluation)| write(asked.number, asking.judgments(&asked, &evaluation)))
            });
            let run = || -> Result<PlanSize> {
                let mut size = PlanSize::default();
                for asked in asked {
                    let asked = asked?;
                    let name = |index: usize| shown(&asked.triplets[index], asking.concepts);
                    let evaluation = asking.evaluate(*model, &asked.plan, name, &mut progress)?;
                    size = size.plus(asked.plan.size);
                    if to_writer.send((asked, evaluation)).is_err() {
                        break;
                    }
                }
                drop(to_writer);
                Ok(size)
            };
            let size = run();
            writer.join().expect("a panic has ended the program")?;
            size
        })
    }

    /// Compares reuse of prefixes with whole prompts on some triplets.
    ///
    /// # Errors
    /// Those of tokenisation and of the model.
    pub fn parity(&mut self, triplets: &[Triplet]) -> Result<Parity> {
        Ok(Parity::between(&self.log_probs(triplets, Reuse::Trie)?, &self.log_probs(triplets, Reuse::Off)?))
    }

    /// Log-probabilities of both options of some triplets, in nats.
    ///
    /// # Errors
    /// Those of tokenisation and of the model.
    pub fn log_probs(&mut self, triplets: &[Triplet], reuse: Reuse) -> Result<Vec<[f64; 2]>> {
        let Self { model, asking } = self;
        let plan = asking.plan(&asking.questions(triplets)?, reuse);
        let name = |index: usize| shown(&triplets[index], asking.concepts);
        let evaluation = asking.evaluate(*model, &plan, name, |_| {})?;
        let sum = |slots: &Range<usize>| evaluation.log_probs[slots.clone()].iter().map(|l| f64::from(*l)).sum::<f64>();
        Ok(plan.slots.iter().map(|options| [sum(&options[0]), sum(&options[1])]).collect())
    }
}

impl Parity {
    /// Compares the log-probabilities of the same presentations.
    pub fn between(one: &[[f64; 2]], other: &[[f64; 2]]) -> Self {
        let pairs = one.iter().zip(other);
        let deltas: Vec<f64> = pairs.clone().flat_map(|(a, b)| [(a[0] - b[0]).abs(), (a[1] - b[1]).abs()]).collect();
        Self {
            n: one.len(),
            max_nats: deltas.iter().copied().fold(0.0, f64::max),
            mean_nats: deltas.iter().sum::<f64>() / deltas.len().max(1) as f64,
            flips: pairs.filter(|(a, b)| (a[0] > a[1]) != (b[0] > b[1])).count(),
        }
    }
}

impl Asking<'_> {
    fn questions(&self, triplets: &[Triplet]) -> Result<Vec<Question>> {
        questions(triplets, self.tokenizer, self.concepts, self.settings, self.context_tokens)
    }

    fn plan(&self, questions: &[Question], reuse: Reuse) -> Plan {
        plan(questions, reuse, self.strategy, self.settings.batch_tokens, self.kv_bytes_per_token)
    }

    fn ask<'t>(&self, number: usize, triplets: &'t [Triplet]) -> Result<Asked<'t>> {
        let questions = self.questions(triplets)?;
        let plan = self.plan(&questions, self.settings.reuse);
        Ok(Asked { number, triplets, questions, plan })
    }

    fn evaluate(
        &self,
        model: &mut dyn LanguageModel,
        plan: &Plan,
        name: impl Fn(usize) -> String,
        mut progress: impl FnMut(usize),
    ) -> Result<Evaluation> {
        evaluate(model, plan, |pass| progress(pass.tops.len())).map_err(|error| match error {
            Error::NotFiniteLogProb { value, provider, precision, presentation } => {
                let presentation = presentation.parse().map_or(presentation, &name);
                Error::NotFiniteLogProb { value, provider, precision, presentation }
            }
            other => other,
        })
    }

    fn judgments(&self, asked: &Asked<'_>, evaluation: &Evaluation) -> Vec<Judgment> {
        let numbered = asked.triplets.iter().zip(&asked.questions).enumerate();
        numbered
            .map(|(index, (triplet, question))| self.judgment(*triplet, question, index, &asked.plan, evaluation))
            .collect()
    }

    #[allow(clippy::cast_possible_truncation, reason = "stored as f32; token ids and prompts are far below 2^31")]
    fn judgment(
        &self,
        triplet: Triplet,
        question: &Question,
        index: usize,
        plan: &Plan,
        evaluation: &Evaluation,
    ) -> Judgment {
        let steps = [0, 1].map(|option: usize| &evaluation.log_probs[plan.slots[index][option].clone()]);
        let scores = ChoiceScores::new(question, steps);
        let names = [triplet.first, triplet.second].map(|id| self.concepts.name(id));
        let prior = [triplet.first, triplet.second].map(|id| self.priors[&id][usize::from(question.closed)]);
        let lengths = [0, 1].map(|option| (question.n_tokens(option), names[option].len()));
        let deciding = scores.deciding(self.settings.score, lengths, prior);
        let key = judgment_key(triplet.id(self.concepts.len()), triplet.order(), 0);
        let (chose_first, p_decision) = match deciding {
            None => (None, None),
            Some([first, second]) => {
                let p = match self.settings.decision {
                    Decision::Argmax => sigmoid(first - second),
                    Decision::Sample => sigmoid((first - second) / self.settings.temperature),
                };
                let draw = |purpose| Streams::new(self.settings.seed, purpose).rng(key);
                let choice = match self.settings.decision {
                    Decision::Argmax if first == second => draw("tie").random::<bool>(),
                    Decision::Argmax => first > second,
                    Decision::Sample => draw("sample").random::<f64>() < p,
                };
                (Some(choice), Some(p as f32))
            }
        };
        let top = evaluation.tops[index];
        let pair = |values: [f64; 2]| values.map(|v| v as f32);
        Judgment {
            triplet,
            repeat: 0,
            chose_first,
            decision: self.settings.decision.name(),
            score_kind: self.settings.score.name(),
            scores: deciding.map(pair),
            p_decision,
            model: Some(ModelScores {
                log_prob: pair(scores.log_prob),
                closed: question.closed,
                prior: pair(prior),
                p_first: scores.p_first as f32,
                p_first_greedy: scores.p_first_greedy.map(|p| p as f32),
                choice_mass: scores.choice_mass as f32,
                top_token: self.tokenizer.text(top.token),
                top_token_id: top.token as i32,
                top_log_prob: top.log_prob,
                n_tokens: [0, 1].map(|option| short(question.n_tokens(option))),
                n_chars: names.map(|name| short(name.chars().count())),
                n_bytes: names.map(|name| short(name.len())),
                n_prompt_tokens: question.prompt.len() as i32,
            }),
        }
    }
}

/// A length as it is stored; names longer than 32,767 bytes are told as that long.
fn short(length: usize) -> i16 {
    i16::try_from(length).unwrap_or(i16::MAX)
}

/// Tokenises the questions about triplets.
///
/// # Errors
/// Those of tokenisation; [`Error::ContextLength`] for a question that the model cannot hold.
pub fn questions(
    triplets: &[Triplet],
    tokenizer: &PromptTokenizer,
    concepts: &Concepts,
    settings: &JudgeSettings,
    context_tokens: Option<usize>,
) -> Result<Vec<Question>> {
    let one = |triplet: &Triplet| {
        let [anchor, first, second] = [triplet.anchor, triplet.first, triplet.second].map(|id| concepts.name(id));
        let text = settings.wording.ask(anchor, first, second);
        let question = tokenizer.question(&text, &[first, second], settings.close)?;
        match context_tokens {
            Some(available) if question.longest() > available => {
                Err(Error::ContextLength { what: shown(triplet, concepts), needed: question.longest(), available })
            }
            _ => Ok(question),
        }
    };
    triplets.par_iter().map(one).collect()
}

/// Plans questions for a model whose cache takes `kv_bytes_per_token`.
pub fn plan(
    questions: &[Question],
    reuse: Reuse,
    strategy: Strategy,
    batch_tokens: usize,
    kv_bytes_per_token: usize,
) -> Plan {
    let cache_tokens = CACHE_BYTES / kv_bytes_per_token.max(1);
    Plan::new(questions, reuse, strategy, Budget { batch_tokens, cache_tokens })
}

fn shown(triplet: &Triplet, concepts: &Concepts) -> String {
    let [anchor, first, second] = [triplet.anchor, triplet.first, triplet.second].map(|id| concepts.name(id));
    format!("{anchor}: {first} or {second}")
}
