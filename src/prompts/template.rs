//! The text of a prompt: its wording, its style, and the frame around a question.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::prompts::chat_template::ChatTemplate;

/// How a model is spoken to: a property of the model, not guessed from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// The model's chat template over system and user text.
    Chat,
    /// System text, newline, question: tuned models without a template.
    Plain,
    /// A question to be completed after `Answer:`: base models.
    Base,
}

impl FromStr for Style {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "chat" => Ok(Self::Chat),
            "plain" => Ok(Self::Plain),
            "base" => Ok(Self::Base),
            _ => Err(Error::Setting {
                field: "style".into(),
                found: text.into(),
                expected: "chat, plain or base".into(),
            }),
        }
    }
}

impl std::fmt::Display for Style {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chat => "chat",
            Self::Plain => "plain",
            Self::Base => "base",
        })
    }
}

/// The system text of the paper.
pub const PAPER_SYSTEM: &str = "You are a helpful assistant who gives responses to questions";

/// What is asked: a system text and a question with the places `{anchor}`, `{first}` and `{second}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// System text; the `base` style leaves it out.
    pub system: String,
    /// The question.
    pub question: String,
    /// Answered questions that come before it.
    pub examples: Vec<Example>,
}

/// A question with its answer, shown before the one that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The thing compared with.
    pub anchor: String,
    /// The option named first.
    pub first: String,
    /// The option named second.
    pub second: String,
    /// The option that is the answer.
    pub answer: String,
}

/// The instruction that every built-in wording carries, and the whole user text of the neutral prompt.
const INSTRUCTION: &str = "Respond only with the item name.";

impl Wording {
    /// The named wording `paper` or `instruction-first`, or the text itself if it has the three places.
    ///
    /// # Errors
    /// [`Error::Setting`] for a custom text in which a place is missing or stands twice.
    pub fn new(wording: &str, system: Option<&str>) -> Result<Self> {
        const ASK: &str = "QUESTION: Which item is most similar to {anchor}: {first} or {second}?";
        let question = match wording {
            "paper" => format!("{ASK} {INSTRUCTION}"),
            "instruction-first" => format!("{INSTRUCTION} {ASK}"),
            custom => {
                for place in ["{anchor}", "{first}", "{second}"] {
                    if custom.matches(place).count() != 1 {
                        return Err(Error::Setting {
                            field: "prompt.wording".into(),
                            found: format!("{custom:?}"),
                            expected: format!("paper, instruction-first, or a text with {place} in it once"),
                        });
                    }
                }
                custom.trim().to_owned()
            }
        };
        Ok(Self { system: system.unwrap_or(PAPER_SYSTEM).trim().to_owned(), question, examples: Vec::new() })
    }

    /// The same after some answered questions.
    ///
    /// # Errors
    /// [`Error::Setting`] for an example whose answer is none of its options, or whose names are not three.
    pub fn after(self, examples: Vec<Example>) -> Result<Self> {
        for example in &examples {
            let Example { anchor, first, second, answer } = example;
            let names = [anchor, first, second];
            let wrong = |found: String, expected: &str| Error::Setting {
                field: "prompt.few_shot".into(),
                found,
                expected: expected.into(),
            };
            if names.iter().any(|name| name.trim().is_empty()) || anchor == first || anchor == second || first == second
            {
                return Err(wrong(format!("{anchor:?}, {first:?}, {second:?}"), "three different names"));
            }
            if answer != first && answer != second {
                return Err(wrong(format!("the answer {answer:?}"), &format!("{first:?} or {second:?}")));
            }
        }
        Ok(Self { examples, ..self })
    }

    /// The examples as (question, answer).
    pub(crate) fn turns(&self) -> Vec<(String, &str)> {
        self.examples.iter().map(|e| (self.ask(&e.anchor, &e.first, &e.second), e.answer.as_str())).collect()
    }

    /// The question about three names.
    pub fn ask(&self, anchor: &str, first: &str, second: &str) -> String {
        // One pass, so that a name that looks like a place stays a name.
        let mut text = String::with_capacity(self.question.len() + anchor.len() + first.len() + second.len());
        let mut rest = self.question.as_str();
        while let Some(at) = rest.find('{') {
            text.push_str(&rest[..at]);
            let place = [("{anchor}", anchor), ("{first}", first), ("{second}", second)];
            if let Some((place, name)) = place.iter().find(|(place, _)| rest[at..].starts_with(place)) {
                text.push_str(name);
                rest = &rest[at + place.len()..];
            } else {
                text.push('{');
                rest = &rest[at + 1..];
            }
        }
        text.push_str(rest);
        text
    }

    /// The user text that asks for an answer without asking anything: the condition of `prior_*`.
    pub fn neutral() -> &'static str {
        INSTRUCTION
    }
}

/// Where the system text went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemText {
    /// There is none, or the style has no place for one.
    Absent,
    /// Where the style or the template puts it.
    Kept,
    /// Into the user's message: the template refuses a system message.
    Folded,
    /// Nowhere: the template passes over a system message without a word.
    Dropped,
}

impl SystemText {
    /// What happened, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Absent => "none",
            Self::Kept => "in its place",
            Self::Folded => "in the user's message: the template refuses a system message",
            Self::Dropped => "left out: the template passes over system messages",
        }
    }
}

/// The fixed text around a question, and how an option follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Text before the question.
    pub before: String,
    /// Text after the question, up to where the answer begins; `lead` is its end.
    pub after: String,
    /// What the template writes before an answer beyond its generation prompt: the channel of GPT-OSS's final answer.
    pub lead: String,
    /// Text between prompt and option.
    pub delimiter: String,
    /// What the template writes after an assistant's message; empty where the end-of-sequence token closes an answer.
    pub closing: String,
    /// Whether the tokenizer's own special tokens (BOS) are added: a chat template writes its own.
    pub add_special_tokens: bool,
    /// Where the system text went.
    pub system: SystemText,
}

impl Frame {
    /// The frame of the `plain` and `base` styles, or of a chat template.
    ///
    /// # Errors
    /// [`Error::Template`] when the template fails for both ways of passing the system text, or alters the question.
    pub fn new(style: Style, wording: &Wording, template: Option<&ChatTemplate>) -> Result<Self> {
        let untemplated = |before: String, after: &str, system: SystemText| Self {
            before,
            after: after.into(),
            lead: String::new(),
            delimiter: " ".into(),
            closing: String::new(),
            add_special_tokens: true,
            system,
        };
        let lines = |after: &str| -> String {
            wording.turns().iter().map(|(question, answer)| format!("{question}{after} {answer}\n")).collect()
        };
        match (style, template) {
            (Style::Base, _) => Ok(untemplated(lines(" Answer:"), " Answer:", SystemText::Absent)),
            (Style::Plain, _) if wording.system.is_empty() => Ok(untemplated(lines(""), "", SystemText::Absent)),
            (Style::Plain, _) => Ok(untemplated(format!("{}\n{}", wording.system, lines("")), "", SystemText::Kept)),
            (Style::Chat, Some(template)) => template.frame(&wording.system, &wording.turns()),
            (Style::Chat, None) => Err(Error::Setting {
                field: "style".into(),
                found: "chat".into(),
                expected: "plain or base: this model has no chat template".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wordings() {
        let paper = Wording::new("paper", None).unwrap();
        assert_eq!(
            paper.ask("bear", "cat", "{first}"),
            "QUESTION: Which item is most similar to bear: cat or {first}? Respond only with the item name."
        );
        assert!(Wording::new("Is {anchor} like {first}?", None).is_err());
        assert_eq!(Wording::new("{second}? {first}? {anchor}!", None).unwrap().ask("a", "b", "c"), "c? b? a!");
    }
}
