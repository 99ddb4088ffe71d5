//! Anyone's multiple choice: any prompts, each with any choices, scored by the same engine.
//!
//! The numbers are those of lm-evaluation-harness: a choice's log-probability after the prompt, the same after the empty
//! context, and what each accuracy of the harness would choose.

mod request;
mod scores;

use std::iter;
use std::ops::Range;

use rayon::prelude::*;

use crate::engine::{Evaluation, LanguageModel, evaluate};
use crate::error::{Error, Result};
use crate::pipeline::pipeline;
use crate::prompts::chat_template::ChatTemplate;
use crate::prompts::pass::Pass;
use crate::prompts::plan::{Plan, PlanSize, Reuse};
use crate::prompts::tokens::{Close, PromptTokenizer, Question, TokenId};

pub(crate) use request::FIELDS;
pub use request::{Prompt, Request};
pub use scores::{Accuracy, ChoiceScore, Rule, Scored};

/// How requests are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreSettings {
    /// Whether the closing token counts; lm-evaluation-harness never counts it.
    pub close: Close,
    /// The empty context: BOS, or where there is none the end-of-sequence token.
    pub start: TokenId,
    /// Whether choices are scored after the empty context too.
    pub mutual_info: bool,
    /// Whether prefixes are shared.
    pub reuse: Reuse,
    /// New tokens in one pass.
    pub batch_tokens: usize,
    /// Choices that are planned together.
    pub part_rows: usize,
}

/// Turns requests into questions, and their answers into scores.
#[derive(Debug, Clone, Copy)]
pub struct Scorer<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a PromptTokenizer,
    /// The model's chat template, where it is spoken to in chat.
    pub template: Option<&'a ChatTemplate>,
    /// How requests are scored.
    pub settings: &'a ScoreSettings,
    /// Longest sequence of the model, where it is known.
    pub context_tokens: Option<usize>,
}

/// Consecutive requests that are planned, scored and kept together.
#[derive(Debug)]
pub struct Group {
    /// From 0, in the order of the file.
    pub number: usize,
    /// One or more.
    pub requests: Vec<Request>,
}

/// Cuts requests into groups: as many at a time as make `part_rows` choices.
pub fn groups(
    requests: impl Iterator<Item = Result<Request>>,
    part_rows: usize,
) -> impl Iterator<Item = Result<Group>> {
    let (mut requests, mut numbers) = (requests.fuse(), 0..);
    iter::from_fn(move || {
        let (mut group, mut n_rows) = (Vec::new(), 0);
        while n_rows < part_rows
            && let Some(request) = requests.next()
        {
            match request {
                Ok(request) => {
                    n_rows += request.choices.len();
                    group.push(request);
                }
                Err(error) => return Some(Err(error)),
            }
        }
        if group.is_empty() {
            return None;
        }
        Some(Ok(Group { number: numbers.next()?, requests: group }))
    })
}

/// A group with its plan.
#[derive(Debug)]
pub struct Part {
    number: usize,
    /// Each with the number of its tokens that [`Scored::n_moved_tokens`] tells.
    requests: Vec<(Request, usize)>,
    /// A question for each request; then, where asked for, the same choices after the empty context.
    questions: Vec<Question>,
    plan: Plan,
}

impl Part {
    /// Sizes of its plan.
    pub fn size(&self) -> PlanSize {
        self.plan.size
    }

    /// Which request a question is about, for error messages.
    fn place(&self, question: usize) -> String {
        let n = self.requests.len();
        let place = &self.requests[question % n].0.place;
        if question < n { place.clone() } else { format!("{place}, its choices after the empty context") }
    }

    fn scored(self, evaluation: &Evaluation, tokenizer: &PromptTokenizer) -> Vec<Scored> {
        let Self { requests, questions, plan, .. } = self;
        let n_requests = requests.len();
        let sum = |slots: &Range<usize>| evaluation.log_probs[slots.clone()].iter().map(|l| f64::from(*l)).sum::<f64>();
        let scored = |(index, (request, n_moved_tokens)): (usize, (Request, usize))| {
            let question = &questions[index];
            let choice = |option: usize| {
                let slots = &plan.slots[index][option];
                ChoiceScore {
                    log_prob: sum(slots),
                    log_prob_empty: plan.slots.get(n_requests + index).map(|options| sum(&options[option])),
                    n_tokens: question.n_tokens(option),
                    greedy: evaluation.greedy[slots.clone()].iter().all(|greedy| *greedy),
                }
            };
            let choices = (0..question.options.len()).map(choice).collect();
            let top = evaluation.tops[index];
            Scored::new(request, question, choices, n_moved_tokens, (top, tokenizer.text(top.token)))
        };
        requests.into_iter().enumerate().map(scored).collect()
    }
}

impl Scorer<'_> {
    /// Checks what can be checked of a request without much work: that it can be rendered, and, where its text is long
    /// enough for doubt, that the model can hold it.
    ///
    /// # Errors
    /// Those of rendering and tokenisation, naming the request.
    pub fn check(&self, request: &Request) -> Result<()> {
        let text = self.render(&request.prompt, request).map_err(|error| at(&request.place, error))?;
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let before = text.len().max(length(&request.context)) + length(&request.delimiter);
        let longest = request.choices.iter().map(String::len).max().unwrap_or(0);
        // A token is a byte of text at least, but for a few that frame it.
        if self.context_tokens.is_some_and(|tokens| before + longest + 8 > tokens) {
            self.ask(request)?;
        }
        Ok(())
    }

    /// Tokenises and plans groups of requests.
    pub fn parts(
        &self,
        groups: impl Iterator<Item = Result<Group>>,
        plan: impl Fn(&[Question]) -> Plan,
    ) -> impl Iterator<Item = Result<Part>> {
        groups.map(move |group| self.part(group?, &plan))
    }

    fn part(&self, Group { number, requests }: Group, plan: impl Fn(&[Question]) -> Plan) -> Result<Part> {
        let tokenised: Vec<Tokenised> = requests.par_iter().map(|request| self.ask(request)).collect::<Result<_>>()?;
        let (mut questions, mut empty, mut n_moved) = (Vec::with_capacity(2 * requests.len()), Vec::new(), Vec::new());
        for one in tokenised {
            questions.push(one.question);
            empty.extend(one.empty);
            n_moved.push(one.n_moved);
        }
        questions.append(&mut empty);
        let plan = plan(&questions);
        Ok(Part { number, requests: requests.into_iter().zip(n_moved).collect(), questions, plan })
    }

    /// Scores groups of requests, and hands each with its number to `write`; `progress` is told how many requests each pass has read the
    /// first token of.
    ///
    /// While the model runs one part, the next is tokenised and planned and the one before is scored and written.
    ///
    /// # Errors
    /// Those of reading, of tokenisation, of the model, and of `write`.
    pub fn score(
        &self,
        model: &mut dyn LanguageModel,
        groups: impl Iterator<Item = Result<Group>> + Send,
        mut write: impl FnMut(usize, Vec<Scored>) -> Result<()> + Send,
        mut progress: impl FnMut(usize),
    ) -> Result<PlanSize> {
        let (strategy, budget) = (model.info().strategy, model.info().budget(self.settings.batch_tokens));
        let reuse = self.settings.reuse;
        let mut size = PlanSize::default();
        let run = |part: &Part| {
            let n_requests = part.requests.len();
            let first = |pass: &Pass| pass.tops.iter().filter(|top| top.1 < n_requests).count();
            let evaluation = evaluate(model, &part.plan, |pass| progress(first(pass)));
            size = size.plus(part.size());
            evaluation.map_err(|error| match error {
                Error::NotFiniteLogProb { value, provider, precision, presentation } => {
                    let presentation = presentation.parse().map_or(presentation, |index| part.place(index));
                    Error::NotFiniteLogProb { value, provider, precision, presentation }
                }
                other => other,
            })
        };
        let parts = self.parts(groups, |questions| Plan::new(questions, reuse, strategy, budget));
        pipeline(parts, run, |part, evaluation| write(part.number, part.scored(&evaluation, self.tokenizer)))?;
        Ok(size)
    }

    /// Tokenises a request.
    fn ask(&self, request: &Request) -> Result<Tokenised> {
        self.tokenised(request).map_err(|error| at(&request.place, error))
    }

    fn tokenised(&self, request: &Request) -> Result<Tokenised> {
        let ScoreSettings { close, start, mutual_info, .. } = *self.settings;
        // As the harness: in chat, a choice follows the generation prompt at once.
        let own = if self.template.is_some() { "" } else { self.tokenizer.frame().delimiter.as_str() };
        let delimiter = request.delimiter.as_deref().unwrap_or(own);
        let choices: Vec<&str> = request.choices.iter().map(String::as_str).collect();
        let ask = |text: &str, close: Close| self.tokenizer.continued(text, delimiter, &choices, start, close);
        let (question, n_moved) = ask(&self.render(&request.prompt, request)?, close)?;
        let empty = if mutual_info {
            let context = match &request.context {
                Some(text) => self.render(&Prompt::Text(text.clone()), request)?,
                None => String::new(),
            };
            // Both numbers of a choice are about the same event.
            Some(ask(&context, if question.closed { Close::Always } else { Close::Never })?.0)
        } else {
            None
        };
        let needed = iter::once(&question).chain(&empty).map(Question::longest).max().unwrap_or(0);
        match self.context_tokens {
            Some(available) if needed > available => {
                Err(Error::ContextLength { what: request.place.clone(), needed, available })
            }
            _ => Ok(Tokenised { question, n_moved, empty }),
        }
    }

    /// The text that choices follow.
    fn render(&self, prompt: &Prompt, request: &Request) -> Result<String> {
        let messages: Vec<(&str, &str)> = match (prompt, self.template) {
            (Prompt::Text(text), None) => return Ok(text.clone()),
            (Prompt::Text(text), Some(_)) => vec![("user", text)],
            (Prompt::Messages(messages), _) => messages.iter().map(|(role, text)| (&**role, &**text)).collect(),
        };
        let template = self.template.ok_or_else(|| Error::Request {
            place: request.place.clone(),
            what: "`messages`".into(),
            found: "a conversation".into(),
            expected: "`prompt`: styles plain and base take text, --style chat takes messages".into(),
        })?;
        template.render(&messages, true)
    }
}

/// A request as the model is asked it.
struct Tokenised {
    question: Question,
    n_moved: usize,
    /// The same choices after the empty context.
    empty: Option<Question>,
}

/// Names the request that an error is about.
fn at(place: &str, error: Error) -> Error {
    match error {
        Error::EmptyOption { option, prompt_end } => Error::Request {
            place: place.to_owned(),
            what: "`choices`".into(),
            found: format!("{option:?}, which has no token of its own after {prompt_end:?}"),
            expected: "choices that begin a new token".into(),
        },
        Error::Template { path, message } => Error::Template { path, message: format!("{message}, for {place}") },
        Error::Tokenizer { path, message } => Error::Tokenizer { path, message: format!("{message}, for {place}") },
        other => other,
    }
}
