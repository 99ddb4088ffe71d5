//! From triplets to token ids: the text that is shown, its tokens, and the plan that shares their prefixes.

pub mod chat_template;
mod cutter;
pub mod forms;
pub mod frame;
pub mod pass;
pub mod plan;
pub mod prefill;
pub mod strategy;
pub mod template;
pub mod tokens;
pub(crate) mod trie;
