//! What is shared between prompts, what a graph allows, and what a plan may take.

use serde::{Deserialize, Serialize};

use crate::prompts::pass::Slot;

/// How much is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// Shared prefixes are computed once.
    #[default]
    Trie,
    /// The options of a question share its prompt; questions share nothing.
    Question,
    /// Every prompt with every option is computed from its first token: the reference for parity.
    Off,
}

impl Reuse {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trie => "trie",
            Self::Question => "question",
            Self::Off => "off",
        }
    }
}

/// What a graph can do with a past: read off its inputs and operators, never off the model's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Rows continue cached tokens and may branch: the graph takes a mask for every new token.
    Tree,
    /// Rows continue cached tokens and are chains.
    SharedPast,
    /// Rows continue cached tokens by one token at a time: `GroupQueryAttention` refuses several tokens in several rows.
    Step,
    /// Rows continue the state at the end of another row, and are chains: state-space models.
    State,
    /// The encoder reads each prompt once, and the decoder all its options: encoder–decoders.
    EncoderOnce,
    /// No cache: every path is computed whole.
    None,
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tree => "tree",
            Self::SharedPast => "shared-past",
            Self::Step => "step",
            Self::State => "state",
            Self::EncoderOnce => "encoder-once",
            Self::None => "none",
        })
    }
}

impl Strategy {
    /// What a slot of the pool holds.
    pub fn slot(self) -> Slot {
        if self == Self::State { Slot::State } else { Slot::Token }
    }
}

/// Limits of a plan, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// New tokens in one pass.
    pub batch_tokens: usize,
    /// Slots that the pool may have.
    pub cache_tokens: usize,
}
