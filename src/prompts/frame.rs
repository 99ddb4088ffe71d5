//! The fixed text around a question.

use serde::Serialize;

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
