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
    /// What a pass costs beside its tokens, in tokens.
    pub pass_tokens: usize,
}

/// What a machine holds, and what a pass costs there however few its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Bytes of the pool that may be alive at once. Judging keeps its memory whatever the number of triplets.
    pub cache_bytes: usize,
    /// What a pass costs beside its tokens, in tokens.
    pub pass_tokens: usize,
}

impl Resources {
    /// Every weight is read once in a pass, however few rows there are. Passes of 304, 1,026 and 2,052 tokens of
    /// SmolLM2-135M on two cores lie on a line that starts at 30.
    pub const CPU: Self = Self { cache_bytes: 400 << 20, pass_tokens: 30 };

    /// Some hundreds of kernels are launched in a pass. Passes of 1,026 to 65,531 tokens of SmolLM2-135M on an H100 lie on
    /// a line that starts at 10 ms, the time of 3,300 tokens.
    pub const GPU: Self = Self { cache_bytes: 4 << 30, pass_tokens: 4096 };
}

/// Slots whatever they take: the states of a large state-space model are tens of megabytes each, and passes of a few rows
/// would cost more than memory.
const MIN_SLOTS: usize = 64;

impl Budget {
    /// So many new tokens in a pass, on a machine, of a model whose slots take so many bytes.
    pub fn new(batch_tokens: usize, resources: Resources, slot_bytes: usize) -> Self {
        let Resources { cache_bytes, pass_tokens } = resources;
        Self { batch_tokens, cache_tokens: (cache_bytes / slot_bytes.max(1)).max(MIN_SLOTS), pass_tokens }
    }
}
