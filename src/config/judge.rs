//! `[judge]`: how answers become choices.

use serde::{Deserialize, Serialize};

use crate::config::{Model, Study};
use crate::engine::provider::ExecutionProvider;
use crate::error::{Error, Result};
use crate::generation::settings::GenerationChoices;
use crate::prompts::tokens::Close;
use crate::scoring::{Decision, ScoreKind};

/// `[judge]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeSection {
    /// What decides.
    pub score: ScoreKind,
    /// How it decides.
    pub decision: Decision,
    /// Whether the closing token counts.
    pub close: Close,
    /// Score every accepted form of an option: as written, with a capital, with an article.
    pub surface_forms: bool,
    /// How often `sample` and `generate` answer each presentation.
    pub repeats: u16,
    /// Temperature of `sample` (1 unless set) and of `generate` (the model's own unless set).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Whether `generate` draws tokens; the model's own setting unless set, as are the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_sample: Option<bool>,
    /// Of how many of the most probable tokens; 0 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Of the most probable tokens that together reach this probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// How much less probable tokens are that are there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// The most tokens that `generate` writes.
    pub max_new_tokens: usize,
    /// Judgments in one part, the unit that is written and resumed; [`ExecutionProvider::part_rows`] unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_rows: Option<usize>,
    /// Presentations on which reuse of prefixes is compared with whole prompts before judging; 0 for none.
    pub self_test: usize,
}

impl Default for JudgeSection {
    fn default() -> Self {
        Self {
            score: ScoreKind::default(),
            decision: Decision::default(),
            close: Close::default(),
            surface_forms: false,
            repeats: 1,
            temperature: None,
            do_sample: None,
            top_k: None,
            top_p: None,
            repetition_penalty: None,
            // What transformers takes where a model is silent; the longest of the 128 concepts has six tokens.
            max_new_tokens: 20,
            part_rows: None,
            self_test: 8,
        }
    }
}

impl JudgeSection {
    /// What is said about free answers.
    pub fn generation(&self) -> GenerationChoices {
        GenerationChoices {
            do_sample: self.do_sample,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
        }
    }

    /// Judgments in one part, of a model that runs there.
    pub fn part_rows_on(&self, provider: ExecutionProvider) -> usize {
        self.part_rows.unwrap_or(provider.part_rows())
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::Setting { field: format!("judge.{field}"), found, expected: expected.into() })
        };
        let generates = self.decision == Decision::Generate;
        let with = |text: &str| format!("{text} with decision {}", self.decision.name());
        if self.part_rows == Some(0) {
            return wrong("part_rows", "0".into(), "1 or more");
        }
        if let Some(temperature) = self.temperature.filter(|t| !(*t > 0.0 && t.is_finite())) {
            return wrong("temperature", temperature.to_string(), "above 0");
        }
        if self.max_new_tokens == 0 {
            return wrong("max_new_tokens", "0".into(), "1 or more");
        }
        if let Some(top_p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return wrong("top_p", top_p.to_string(), "above 0, at most 1");
        }
        if self.repeats == 0 || i16::try_from(self.repeats).is_err() {
            return wrong("repeats", self.repeats.to_string(), "1 to 32767");
        }
        if self.repeats > 1 && self.decision == Decision::Argmax {
            let expected = "1: the same scores decide the same every time (sample and generate repeat)";
            return wrong("repeats", with(&self.repeats.to_string()), expected);
        }
        if generates && self.score != ScoreKind::Sequence {
            return wrong("score", with(self.score.name()), "nothing: free answers have no scores");
        }
        if generates && self.surface_forms {
            return wrong("surface_forms", with("true"), "false: free answers have no scores");
        }
        if self.surface_forms && matches!(self.score, ScoreKind::PerToken | ScoreKind::PerByte) {
            let found = format!("{} with surface_forms", self.score.name());
            return wrong("score", found, "sequence, pmi or greedy-mask: the forms of an option differ in length");
        }
        if self.surface_forms && self.close == Close::Never {
            let expected = "auto or always: the forms of an option begin each other unless they are closed";
            return wrong("close", "never with surface_forms".into(), expected);
        }
        Ok(())
    }
}

impl Study {
    /// How one model is asked: `[judge]`, with what the model's own entry says instead.
    pub fn judge_of(&self, model: &Model) -> JudgeSection {
        let Model { decision, score, .. } = model;
        let same_decision = decision.is_none_or(|decision| decision == self.judge.decision);
        let own = decision.unwrap_or(self.judge.decision);
        let plain = JudgeSection::default();
        // What `[judge]` says for its own decision, and another one has no use for, is not meant for that one.
        let (score_of_others, repeats, surface_forms) = match own {
            _ if same_decision => (self.judge.score, self.judge.repeats, self.judge.surface_forms),
            Decision::Argmax => (self.judge.score, plain.repeats, self.judge.surface_forms),
            Decision::Sample => (self.judge.score, self.judge.repeats, self.judge.surface_forms),
            Decision::Generate => (plain.score, self.judge.repeats, plain.surface_forms),
        };
        let score = score.unwrap_or(score_of_others);
        JudgeSection { decision: own, score, repeats, surface_forms, ..self.judge.clone() }
    }
}
