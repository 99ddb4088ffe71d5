//! How a model answers when it is left free.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::prompts::tokens::TokenId;

/// Settings of free answers, every one filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationSettings {
    /// Whether tokens are drawn, rather than the most probable one taken.
    pub do_sample: bool,
    /// Logits are divided by it.
    pub temperature: f64,
    /// Only so many of the most probable tokens are drawn from; 0 for all.
    pub top_k: usize,
    /// Only the most probable tokens that together reach this probability are drawn from.
    pub top_p: f64,
    /// Logits of tokens that are in the prompt or the answer already are divided (if negative, multiplied) by it.
    pub repetition_penalty: f64,
    /// The most tokens of an answer.
    pub max_new_tokens: usize,
    /// Tokens that end an answer.
    pub stop: Vec<TokenId>,
}

/// What somebody says about free answers; `None` where they are silent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GenerationChoices {
    /// See [`GenerationSettings::do_sample`].
    pub do_sample: Option<bool>,
    /// See [`GenerationSettings::temperature`].
    pub temperature: Option<f64>,
    /// See [`GenerationSettings::top_k`].
    pub top_k: Option<usize>,
    /// See [`GenerationSettings::top_p`].
    pub top_p: Option<f64>,
    /// See [`GenerationSettings::repetition_penalty`].
    pub repetition_penalty: Option<f64>,
}

/// What `generation_config.json` says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelGeneration {
    /// What alike follows.
    pub choices: GenerationChoices,
    /// End-of-sequence tokens.
    pub eos: Vec<TokenId>,
    /// Keys that would change answers, and that alike does not follow.
    pub not_followed: Vec<String>,
}

/// Keys that change which tokens are written, with the values under which they do nothing.
const NOT_FOLLOWED: [(&str, &[f64]); 16] = [
    ("num_beams", &[1.0]),
    ("typical_p", &[1.0]),
    ("min_p", &[0.0]),
    ("top_h", &[]),
    ("epsilon_cutoff", &[0.0]),
    ("eta_cutoff", &[0.0]),
    ("penalty_alpha", &[0.0]),
    ("no_repeat_ngram_size", &[0.0]),
    ("encoder_repetition_penalty", &[1.0]),
    ("min_length", &[0.0]),
    ("min_new_tokens", &[0.0]),
    ("guidance_scale", &[1.0]),
    ("suppress_tokens", &[]),
    ("begin_suppress_tokens", &[]),
    ("bad_words_ids", &[]),
    ("stop_strings", &[]),
];

impl ModelGeneration {
    /// Reads `generation_config.json`, already parsed; [`Value::Null`] where there is none.
    pub fn read(config: &Value) -> Self {
        let number = |name: &str| config[name].as_f64();
        let id = |value: &Value| value.as_u64().and_then(|id| TokenId::try_from(id).ok());
        let eos = &config["eos_token_id"];
        let changes = |(name, idle): &(&str, &[f64])| match &config[*name] {
            Value::Null => false,
            Value::Array(values) => !values.is_empty(),
            value => value.as_f64().is_none_or(|value| !idle.contains(&value)),
        };
        Self {
            choices: GenerationChoices {
                do_sample: config["do_sample"].as_bool(),
                temperature: number("temperature"),
                top_k: config["top_k"].as_u64().and_then(|k| usize::try_from(k).ok()),
                top_p: number("top_p"),
                repetition_penalty: number("repetition_penalty"),
            },
            eos: eos
                .as_array()
                .map_or_else(|| id(eos).into_iter().collect(), |ids| ids.iter().filter_map(id).collect()),
            not_followed: NOT_FOLLOWED.iter().filter(|key| changes(key)).map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}

impl GenerationSettings {
    /// What the study says, else what the model says, else Hugging Face's defaults: `do_sample` false, temperature 1,
    /// `top_k` 50, `top_p` 1, `repetition_penalty` 1.
    ///
    /// # Errors
    /// [`Error::Setting`] for a value with which no token could be drawn.
    pub fn new(
        study: &GenerationChoices,
        model: &GenerationChoices,
        max_new_tokens: usize,
        stop: Vec<TokenId>,
    ) -> Result<Self> {
        let settings = Self {
            do_sample: study.do_sample.or(model.do_sample).unwrap_or(false),
            temperature: study.temperature.or(model.temperature).unwrap_or(1.0),
            top_k: study.top_k.or(model.top_k).unwrap_or(50),
            top_p: study.top_p.or(model.top_p).unwrap_or(1.0),
            repetition_penalty: study.repetition_penalty.or(model.repetition_penalty).unwrap_or(1.0),
            max_new_tokens,
            stop,
        };
        settings.check()?;
        Ok(settings)
    }

    /// Whether the most probable token is not all that is needed.
    pub fn wants_logits(&self) -> bool {
        self.do_sample || self.repetition_penalty != 1.0
    }

    fn check(&self) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::Setting { field: field.into(), found, expected: expected.into() })
        };
        let above_zero = |value: f64| value > 0.0 && value.is_finite();
        // What is not used may be anything: configs of greedy models carry odd temperatures.
        if self.do_sample && !above_zero(self.temperature) {
            return wrong("temperature", self.temperature.to_string(), "above 0 (`do_sample = false` is greedy)");
        }
        if self.do_sample && !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return wrong("top_p", self.top_p.to_string(), "above 0, at most 1");
        }
        if !above_zero(self.repetition_penalty) {
            return wrong("repetition_penalty", self.repetition_penalty.to_string(), "above 0");
        }
        if self.max_new_tokens == 0 {
            return wrong("max_new_tokens", "0".into(), "1 or more");
        }
        Ok(())
    }
}

impl std::fmt::Display for GenerationSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { do_sample, temperature, top_k, top_p, repetition_penalty, max_new_tokens, stop } = self;
        if *do_sample {
            write!(f, "do_sample temperature={temperature} top_k={top_k} top_p={top_p}")?;
        } else {
            write!(f, "greedy")?;
        }
        write!(f, " repetition_penalty={repetition_penalty} max_new_tokens={max_new_tokens} stop={stop:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_study_speaks_before_the_model_and_the_model_before_the_defaults() {
        let config = serde_json::json!({"do_sample": true, "temperature": 0.6, "top_k": 20, "eos_token_id": [5, 7]});
        let model = ModelGeneration::read(&config);
        assert_eq!((model.eos, model.not_followed.len()), (vec![5, 7], 0));
        let study = GenerationChoices { top_k: Some(3), ..GenerationChoices::default() };
        let settings = GenerationSettings::new(&study, &model.choices, 20, vec![5]).unwrap();
        assert_eq!((settings.do_sample, settings.temperature, settings.top_k), (true, 0.6, 3));
        assert_eq!((settings.top_p, settings.repetition_penalty, settings.max_new_tokens), (1.0, 1.0, 20));

        let silent = ModelGeneration::read(&Value::Null);
        let settings = GenerationSettings::new(&silent.choices, &silent.choices, 20, vec![]).unwrap();
        assert_eq!((settings.do_sample, settings.temperature, settings.top_k), (false, 1.0, 50));
        assert!(!settings.wants_logits());
    }

    #[test]
    fn what_is_not_followed_is_named() {
        let config = serde_json::json!({
            "num_beams": 4, "min_p": 0.0, "typical_p": 1.0, "no_repeat_ngram_size": 3, "suppress_tokens": [], "top_h": null,
            "eos_token_id": 2,
        });
        let model = ModelGeneration::read(&config);
        assert_eq!(model.not_followed, ["num_beams", "no_repeat_ngram_size"]);
        assert_eq!(model.eos, [2]);
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        let error = |study: GenerationChoices| {
            GenerationSettings::new(&study, &GenerationChoices::default(), 20, vec![]).unwrap_err().to_string()
        };
        let sampling = GenerationChoices { do_sample: Some(true), ..GenerationChoices::default() };
        assert!(error(GenerationChoices { temperature: Some(0.0), ..sampling.clone() }).contains("`temperature` is 0"));
        assert!(error(GenerationChoices { top_p: Some(1.5), ..sampling }).contains("`top_p` is 1.5"));
    }
}
