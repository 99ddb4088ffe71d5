//! From triplets to token ids: the text that is shown, its tokens, and the plan that shares their prefixes.

pub mod chat_template;
pub mod forms;
pub mod plan;
pub mod prefill;
pub mod template;
pub mod tokens;
pub(crate) mod trie;
