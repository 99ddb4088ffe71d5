//! Free answers: tokens written one after the other, many rows at a time.
//!
//! Each step is a pass over rows of equal length that continue what they have written so far. A row's next token depends on
//! its own prompt, its own tokens and its own random numbers; rows that stop leave, and the passes shrink.

pub mod next_token;
pub mod settings;

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::ChaCha12Rng;

use crate::engine::{LanguageModel, ModelInfo, PassOutput, Top, run};
use crate::error::{Error, Result};
use crate::generation::next_token::sampled;
use crate::generation::settings::GenerationSettings;
use crate::prompts::pass::{Pass, Slot};
use crate::prompts::plan::{Budget, PlanSize, Reuse};
use crate::prompts::prefill::Prefill;
use crate::prompts::tokens::{PromptTokens, TokenId};

/// An answer to be written.
#[derive(Debug)]
pub struct Row {
    /// Index of its prompt.
    pub prompt: usize,
    /// Its random numbers, one for each step.
    pub rng: ChaCha12Rng,
}

/// An answer that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its tokens, without the one that ended it.
    pub tokens: Vec<TokenId>,
    /// Whether a stop token ended it, rather than the limit.
    pub stopped: bool,
    /// What the model would most probably have said first, by its own log-probabilities.
    pub top: Top,
}

/// Writes an answer for every row. `progress` is told how many rows have been finished.
///
/// # Errors
/// What the model returns; [`Error::NotFiniteLogProb`] for NaN or infinite logits, its `presentation` being the index of the
/// prompt.
pub fn generate(
    model: &mut dyn LanguageModel,
    prompts: &[PromptTokens],
    rows: Vec<Row>,
    settings: &GenerationSettings,
    (reuse, budget): (Reuse, Budget),
    mut progress: impl FnMut(usize),
) -> Result<(Vec<Written>, PlanSize)> {
    let mut size = PlanSize::default();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    // Rows of equal length side by side make wide passes, prompts with the same beginning share it.
    order.sort_by_key(|row| {
        let tokens = &prompts[rows[*row].prompt].tokens;
        (tokens.len(), tokens, rows[*row].prompt, *row)
    });
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    let mut written: Vec<Option<Written>> = vec![None; rows.len()];
    // Waves of rows that the pool holds together, in order.
    let mut waves = vec![&order[..]];
    while let Some(indices) = waves.pop() {
        if indices.is_empty() {
            continue;
        }
        let wave = Wave::plan(model, prompts, indices, &rows, settings, (reuse, budget));
        if wave.cache_tokens > budget.cache_tokens && indices.len() > 1 {
            let (now, later) = indices.split_at(indices.len() / 2);
            waves.extend([later, now]);
            continue;
        }
        let taken = indices.iter().map(|row| rows[*row].take().expect("a row is in one wave")).collect();
        let (done, of_wave) = wave.run(model, prompts, taken, settings, budget.batch_tokens)?;
        size = size.plus(of_wave);
        for (row, one) in indices.iter().zip(done) {
            written[*row] = Some(one);
        }
        progress(indices.len());
    }
    let written = written.into_iter().map(|one| one.expect("every row is in a wave")).collect();
    Ok((written, size))
}

/// Rows that are written together.
struct Wave {
    prefill: Prefill,
    /// For each prompt of the prefill, its index among all.
    prompts: Vec<usize>,
    /// Slots that prompts and answers can take.
    cache_tokens: usize,
}

/// What a row has written, and where its tokens lie.
struct Writing {
    row: Row,
    /// Slots of prompt and answer so far, or that of the state after them; empty where every step computes the whole
    /// sequence.
    slots: Vec<usize>,
    tokens: Vec<TokenId>,
    top: Top,
    stopped: bool,
}

impl Wave {
    fn plan(
        model: &dyn LanguageModel,
        prompts: &[PromptTokens],
        indices: &[usize],
        rows: &[Option<Row>],
        settings: &GenerationSettings,
        (reuse, budget): (Reuse, Budget),
    ) -> Self {
        let of_row = |row: &usize| rows[*row].as_ref().expect("a row is in one wave").prompt;
        let mut asked: Vec<usize> = indices.iter().map(of_row).collect();
        asked.dedup();
        let texts: Vec<&PromptTokens> = asked.iter().map(|prompt| &prompts[*prompt]).collect();
        let strategy = model.info().strategy;
        let prefill = Prefill::new(&texts, reuse, strategy, budget, settings.wants_logits());
        let mut lengths: Vec<usize> = texts.iter().map(|text| text.tokens.len()).collect();
        lengths.dedup();
        // A pass of a single token has its row twice, which takes another slot: the last one of each length, or every one.
        let doubled = if budget.batch_tokens == 1 { indices.len() } else { lengths.len() };
        let of_step = indices.len() + doubled;
        // Tokens stay; of states, those of this step and of the one before.
        let of_answers = match strategy.slot() {
            Slot::Token => of_step * (settings.max_new_tokens - 1),
            Slot::State => of_step * 2,
        };
        let cache_tokens = if prefill.n_slots == 0 { 0 } else { prefill.n_slots + of_answers };
        Self { prefill, prompts: asked, cache_tokens }
    }

    fn run(
        self,
        model: &mut dyn LanguageModel,
        prompts: &[PromptTokens],
        rows: Vec<Row>,
        settings: &GenerationSettings,
        batch_tokens: usize,
    ) -> Result<(Vec<Written>, PlanSize)> {
        let Self { prefill, prompts: asked, cache_tokens } = self;
        let info = model.info().clone();
        let mut size = PlanSize { cache_tokens, ..PlanSize::default() };
        model.begin(cache_tokens)?;
        let mut of_prompt = vec![Vec::new(); asked.len()];
        let mut writing = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let place = asked.iter().position(|prompt| *prompt == row.prompt).expect("its prompt is in the wave");
            of_prompt[place].push(index);
            let (slots, top) = (prefill.slots[place].clone(), Top { token: 0, log_prob: f32::NAN });
            writing.push(Writing { row, slots, tokens: Vec::new(), top, stopped: false });
        }
        for pass in &prefill.passes {
            size.count(pass);
            run(model, pass, &mut |part, output| {
                for (place, step) in steps(part, &output) {
                    for index in &of_prompt[place] {
                        writing[*index].top = step.top;
                        writing[*index].write(step, prompts, settings, &info)?;
                    }
                }
                Ok(())
            })?;
        }
        let of_step = (cache_tokens - prefill.n_slots) / 2;
        let mut free = prefill.n_slots;
        for step in 1..settings.max_new_tokens {
            if info.strategy.slot() == Slot::State {
                free = prefill.n_slots + step % 2 * of_step;
            }
            let live: Vec<usize> = (0..writing.len()).filter(|i| !writing[*i].stopped).collect();
            let slot = info.strategy.slot();
            for pass in passes((&live, slot), &mut writing, prompts, settings, batch_tokens, &mut free) {
                size.count(&pass);
                run(model, &pass, &mut |part, output| {
                    let mut read = steps(part, &output);
                    read.try_for_each(|(index, step)| writing[index].write(step, prompts, settings, &info))
                })?;
            }
        }
        let written = writing.into_iter().map(|w| Written { tokens: w.tokens, stopped: w.stopped, top: w.top });
        Ok((written.collect(), size))
    }
}

impl PlanSize {
    fn count(&mut self, pass: &Pass) {
        self.computed_tokens += pass.tokens.len();
        self.scored_positions += pass.scored.len();
        self.passes += 1;
    }
}

/// What a model says about the next token of one row.
#[derive(Clone, Copy)]
struct Step<'a> {
    top: Top,
    logits: &'a [f32],
}

/// What a pass says, with the index of each row.
fn steps<'a>(pass: &'a Pass, output: &'a PassOutput) -> impl Iterator<Item = (usize, Step<'a>)> {
    let vocab_size = output.logits.len() / pass.scored.len().max(1);
    pass.tops.iter().map(move |&(scored, index)| {
        let logits = &output.logits[scored * vocab_size..(scored + 1) * vocab_size];
        (index, Step { top: output.tops[scored], logits })
    })
}

impl Writing {
    /// Takes the next token.
    fn write(
        &mut self,
        step: Step<'_>,
        prompts: &[PromptTokens],
        settings: &GenerationSettings,
        info: &ModelInfo,
    ) -> Result<()> {
        let fault = |value: f32| Error::NotFiniteLogProb {
            value,
            provider: info.provider.clone(),
            precision: info.precision.clone(),
            presentation: self.row.prompt.to_string(),
        };
        if !step.top.log_prob.is_finite() {
            return Err(fault(step.top.log_prob));
        }
        let token = if settings.wants_logits() {
            if let Some(value) = step.logits.iter().find(|l| l.is_nan() || **l == f32::INFINITY) {
                return Err(fault(*value));
            }
            // transformers' penalty is about what the decoder has read.
            let PromptTokens { tokens, source_len } = &prompts[self.row.prompt];
            let before = tokens[*source_len..].iter().chain(&self.tokens).copied();
            // One number a step, wanted or not.
            let draw = self.row.rng.random::<f64>();
            sampled(step.logits, before, settings, draw)
        } else {
            step.top.token
        };
        if settings.stop.contains(&token) {
            self.stopped = true;
        } else {
            self.tokens.push(token);
        }
        Ok(())
    }
}

/// The passes of one step: the last token of every row that goes on, rows of equal length together; or the whole sequence
/// where nothing is kept.
fn passes(
    (live, slot): (&[usize], Slot),
    writing: &mut [Writing],
    prompts: &[PromptTokens],
    settings: &GenerationSettings,
    batch_tokens: usize,
    free: &mut usize,
) -> Vec<Pass> {
    let mut lengths: BTreeMap<(usize, usize, usize), Vec<usize>> = BTreeMap::new();
    for &index in live {
        let Writing { row, slots, tokens, .. } = &writing[index];
        let PromptTokens { tokens: prompt, source_len } = &prompts[row.prompt];
        let total_len = prompt.len() + tokens.len();
        let shape = match slot {
            Slot::State if !slots.is_empty() => (0, 1, 0),
            _ => (slots.len(), total_len - slots.len(), *source_len),
        };
        lengths.entry(shape).or_default().push(index);
    }
    let mut passes = Vec::new();
    for ((past_len, new_len, source_len), indices) in lengths {
        let most = (batch_tokens / new_len).max(1);
        let n_passes = indices.len().div_ceil(most);
        for rows in indices.chunks(indices.len().div_ceil(n_passes)) {
            // Where slots are named, they are for all rows.
            let kept = !writing[rows[0]].slots.is_empty();
            let mut pass = Pass {
                past_len,
                new_len,
                tokens: Vec::with_capacity(rows.len() * new_len),
                source_len,
                slot,
                follows: (0..rows.len()).flat_map(|_| 0..new_len).collect(),
                past: Vec::with_capacity(rows.len() * past_len),
                scored: (0..rows.len()).map(|row| (row, new_len - 1)).collect(),
                wanted: Vec::new(),
                tops: rows.iter().copied().enumerate().collect(),
                keep: kept.then_some(*free),
                logits: settings.wants_logits(),
            };
            for (row, &index) in rows.iter().enumerate() {
                let Writing { row: Row { prompt, .. }, slots, tokens, .. } = &mut writing[index];
                let sequence = prompts[*prompt].tokens.iter().chain(tokens.iter());
                let known = prompts[*prompt].tokens.len() + tokens.len() - new_len;
                pass.tokens.extend(sequence.skip(known));
                match slot {
                    // Before all tokens.
                    Slot::State if !kept => pass.past.push(0),
                    Slot::State => pass.past.append(slots),
                    Slot::Token => pass.past.extend_from_slice(slots),
                }
                if kept {
                    slots.push(*free + row);
                }
            }
            pass.double_single();
            if kept {
                *free += pass.slots(pass.n_rows());
            }
            passes.push(pass);
        }
    }
    passes
}

#[cfg(test)]
mod tests;
