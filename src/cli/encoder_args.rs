//! What only an encoder is told, as flags and as keys.

use alike::error::Error;
use alike::respondents::encoder::{DEFAULT_COSINE_TEMPERATURE, DEFAULT_TEMPLATE, EncoderSettings};
use alike::scoring::Decision;
use clap::Args;

/// What only an encoder is told.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How an encoder is asked")]
pub(crate) struct EncoderArgs {
    /// What it is given for a concept, with `{concept}` [default: the concept's name]
    #[arg(long, value_name = "TEXT")]
    pub(crate) template: Option<String>,
    /// What a difference of cosines is divided by for the probability of the first option [default: 0.05]
    #[arg(long, value_name = "T")]
    pub(crate) cosine_temperature: Option<f64>,
}

impl EncoderArgs {
    /// Refuses what is said to a language model, which has no use for it.
    pub(crate) fn refuse(&self, label: &str) -> alike::Result<()> {
        let said = [
            ("template", self.template.as_ref().map(|text| format!("{text:?}"))),
            ("cosine_temperature", self.cosine_temperature.map(|t| t.to_string())),
        ];
        match said.into_iter().find_map(|(field, value)| Some((field, value?))) {
            Some((field, value)) => Err(Error::Setting {
                field: field.into(),
                found: format!("{value} for {label}, a language model"),
                expected: "nothing: only encoders have it".into(),
            }),
            None => Ok(()),
        }
    }

    /// The settings, checked.
    pub(crate) fn settings(&self, decision: Decision, repeats: u16, seed: u64) -> alike::Result<EncoderSettings> {
        let settings = EncoderSettings {
            template: self.template.clone().unwrap_or_else(|| DEFAULT_TEMPLATE.into()),
            temperature: self.cosine_temperature.unwrap_or(DEFAULT_COSINE_TEMPERATURE),
            decision,
            repeats,
            seed,
        };
        settings.check()?;
        Ok(settings)
    }
}
