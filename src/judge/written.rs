//! Judgments by free answers: the model writes, and what it wrote is read.

use rayon::prelude::*;

use crate::answers::parse;
use crate::engine::LanguageModel;
use crate::error::{Error, Result};
use crate::generation::settings::GenerationSettings;
use crate::generation::{Row, Written, generate};
use crate::judge::{Asking, short, shown};
use crate::judgments::{Answer, Judgment, ModelScores};
use crate::prompts::plan::PlanSize;
use crate::prompts::tokens::PromptTokens;
use crate::scoring::Decision;
use crate::seed::{Streams, judgment_key};
use crate::triplets::Triplet;

impl Asking<'_> {
    /// The prompts of some triplets, each with room for an answer.
    pub(super) fn prompts(&self, triplets: &[Triplet], settings: &GenerationSettings) -> Result<Vec<PromptTokens>> {
        let one = |triplet: &Triplet| {
            let [anchor, first, second] = self.names(*triplet);
            let prompt = self.tokenizer.prompt(&self.settings.wording.ask(anchor, first, second))?;
            // The last token of an answer is read off the one before it.
            let needed = prompt.tokens.len() + settings.max_new_tokens - 1;
            match self.context_tokens {
                Some(available) if needed > available => {
                    Err(Error::ContextLength { what: shown(triplet, self.concepts), needed, available })
                }
                _ => Ok(prompt),
            }
        };
        triplets.par_iter().map(one).collect()
    }

    /// Lets the model answer every prompt, repeat after repeat of each; `progress` is told of presentations.
    pub(super) fn write(
        &self,
        model: &mut dyn LanguageModel,
        (triplets, prompts): (&[Triplet], &[PromptTokens]),
        settings: &GenerationSettings,
        mut progress: impl FnMut(usize),
    ) -> Result<(Vec<Written>, PlanSize)> {
        let streams = Streams::new(self.settings.seed, "generate");
        let rows = triplets.iter().enumerate().flat_map(|(prompt, triplet)| {
            let streams = &streams;
            (0..self.settings.repeats).map(move |repeat| Row { prompt, rng: streams.rng(self.key(*triplet, repeat)) })
        });
        let reuse = (self.settings.reuse, self.budget());
        let (mut rows_done, repeats) = (0, usize::from(self.settings.repeats));
        let told = |n_rows: usize| {
            let before = rows_done / repeats;
            rows_done += n_rows;
            progress(rows_done / repeats - before);
        };
        let name = |prompt: usize| shown(&triplets[prompt], self.concepts);
        generate(model, prompts, rows.collect(), settings, reuse, told).map_err(|error| super::named(error, name))
    }

    /// What the answers say.
    #[allow(clippy::cast_possible_truncation, reason = "token ids and prompts are far below 2^31")]
    pub(super) fn written_judgments(
        &self,
        triplets: &[Triplet],
        prompts: &[PromptTokens],
        written: &[Written],
    ) -> Result<Vec<Judgment>> {
        let repeats = usize::from(self.settings.repeats);
        let one = |(row, written): (usize, &Written)| {
            let (triplet, prompt) = (triplets[row / repeats], &prompts[row / repeats]);
            let [anchor, first, second] = self.names(triplet);
            let response = self.tokenizer.decode(&written.tokens)?.trim().to_owned();
            let parsed = parse(&response, anchor, [first, second]);
            Ok(Judgment {
                triplet,
                repeat: i16::try_from(row % repeats).expect("repeats fit the column"),
                chose_first: parsed.chose_first(),
                decision: Decision::Generate.name(),
                score_kind: Decision::Generate.name(),
                scores: None,
                p_decision: None,
                model: Some(ModelScores {
                    options: None,
                    answer: Some(Answer { response, parse: parsed.name() }),
                    top_token: self.tokenizer.text(written.top.token),
                    top_token_id: written.top.token as i32,
                    top_log_prob: written.top.log_prob,
                    n_chars: [first, second].map(|name| short(name.chars().count())),
                    n_bytes: [first, second].map(|name| short(name.len())),
                    n_prompt_tokens: prompt.tokens.len() as i32,
                }),
            })
        };
        written.iter().enumerate().map(one).collect()
    }

    pub(super) fn key(&self, triplet: Triplet, repeat: u16) -> u64 {
        judgment_key(triplet.id(self.concepts.len()), triplet.order(), repeat)
    }
}
