//! Judgments by free answers: the model writes, and what it wrote is read.

use rayon::prelude::*;

use crate::answers::parse;
use crate::engine::LanguageModel;
use crate::error::{Error, Result};
use crate::generation::settings::GenerationSettings;
use crate::generation::{Row, Written, generate};
use crate::judge::{Asking, short};
use crate::judgments::{Answer, Judgment, ModelScores};
use crate::presentations::Presentation;
use crate::prompts::plan::PlanSize;
use crate::prompts::tokens::PromptTokens;
use crate::scoring::Decision;
use crate::seed::Streams;

impl Asking<'_> {
    /// The prompts of some presentations, each with room for an answer.
    pub(super) fn prompts(
        &self,
        presentations: &[Presentation],
        settings: &GenerationSettings,
    ) -> Result<Vec<PromptTokens>> {
        let one = |presentation: &Presentation| {
            let prompt = self.tokenizer.prompt(&self.text(presentation))?;
            // The last token of an answer is read off the one before it.
            let needed = prompt.tokens.len() + settings.max_new_tokens - 1;
            match self.context_tokens {
                Some(available) if needed > available => {
                    Err(Error::ContextLength { what: presentation.shown(self.concepts), needed, available })
                }
                _ => Ok(prompt),
            }
        };
        presentations.par_iter().map(one).collect()
    }

    /// Lets the model answer every prompt, repeat after repeat of each; `progress` is told of presentations.
    pub(super) fn write(
        &self,
        model: &mut dyn LanguageModel,
        (presentations, prompts): (&[Presentation], &[PromptTokens]),
        settings: &GenerationSettings,
        mut progress: impl FnMut(usize),
    ) -> Result<(Vec<Written>, PlanSize)> {
        let streams = Streams::new(self.settings.seed, "generate");
        let rows = presentations.iter().enumerate().flat_map(|(prompt, asked)| {
            let streams = &streams;
            (0..self.settings.repeats).map(move |repeat| Row { prompt, rng: streams.rng(self.key(asked, repeat)) })
        });
        let reuse = (self.settings.reuse, self.budget);
        let (mut rows_done, repeats) = (0, usize::from(self.settings.repeats));
        let told = |n_rows: usize| {
            let before = rows_done / repeats;
            rows_done += n_rows;
            progress(rows_done / repeats - before);
        };
        let name = |prompt: usize| presentations[prompt].shown(self.concepts);
        generate(model, prompts, rows.collect(), settings, reuse, told).map_err(|error| super::named(error, name))
    }

    /// What the answers say.
    #[allow(clippy::cast_possible_truncation, reason = "token ids and prompts are far below 2^31")]
    pub(super) fn written_judgments(
        &self,
        presentations: &[Presentation],
        prompts: &[PromptTokens],
        written: &[Written],
    ) -> Result<Vec<Judgment>> {
        let repeats = usize::from(self.settings.repeats);
        let one = |(row, written): (usize, &Written)| {
            let (presentation, prompt) = (presentations[row / repeats], &prompts[row / repeats]);
            let names = presentation.concepts().map(|id| self.concepts.name(id));
            let (others, options) = names.split_at(names.len() - presentation.task().options().len());
            let response = self.tokenizer.decode(&written.tokens)?.trim().to_owned();
            let parsed = parse(&response, others, options);
            Ok(Judgment {
                presentation,
                repeat: i16::try_from(row % repeats).expect("repeats fit the column"),
                chosen: parsed.chosen(),
                decision: Decision::Generate.name(),
                score_kind: Decision::Generate.name(),
                scores: None,
                p: None,
                model: Some(ModelScores {
                    options: None,
                    answer: Some(Answer { response, parse: parsed.name() }),
                    top_token: self.tokenizer.text(written.top.token),
                    top_token_id: written.top.token as i32,
                    top_log_prob: written.top.log_prob,
                    n_chars: options.iter().map(|name| short(name.chars().count())).collect(),
                    n_bytes: options.iter().map(|name| short(name.len())).collect(),
                    n_prompt_tokens: prompt.tokens.len() as i32,
                }),
            })
        };
        written.iter().enumerate().map(one).collect()
    }

    pub(super) fn key(&self, presentation: &Presentation, repeat: u16) -> u64 {
        presentation.key(self.concepts.len(), repeat)
    }
}
