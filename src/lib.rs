//! alike asks language models the question that psychologists ask people: *which of these two things is more like this
//! one?* It writes every judgment to Parquet, fits an ordinal embedding to the judgments, and measures how human-like
//! that embedding is.
//!
//! The straight line, each arrow a type or a file:
//!
//! ```text
//! concepts → triplets → prompts → engine → choice scores → judgments → ordinal embedding → alignment → ingredients → report
//! ```
//!
//! Asking a model a handful of questions, without a model:
//!
//! ```
//! use alike::engine::{evaluate, scripted::ScriptedModel};
//! use alike::prompts::plan::{Budget, Plan, Reuse, Strategy};
//! use alike::prompts::tokens::Question;
//! use alike::scoring::ChoiceScores;
//!
//! let question = Question { prompt: vec![1, 2, 3], source_len: 0, options: vec![vec![7], vec![8, 9]], closed: false };
//! let questions = [question];
//! let plan = Plan::new(&questions, Reuse::Trie, Strategy::Tree, Budget { batch_tokens: 64, cache_tokens: 1024, pass_tokens: 30 });
//! let evaluation = evaluate(&mut ScriptedModel::new(16), &plan, |_| {})?;
//! let steps = [0, 1].map(|option: usize| &evaluation.log_probs[plan.slots[0][option].clone()]);
//! let scores = ChoiceScores::new(&questions[0], &steps);
//! assert!((0.0..=1.0).contains(&scores.p[0]));
//! # Ok::<(), alike::Error>(())
//! ```

pub mod alignment;
pub mod answers;
pub mod bench;
pub mod concepts;
pub mod config;
pub mod embedding;
pub mod engine;
pub mod error;
pub mod generation;
pub mod guard;
pub mod ingredients;
pub mod judge;
pub mod judgments;
pub mod linalg;
pub mod map;
pub mod model_folder;
pub mod multiple_choice;
pub mod odd_one_out;
pub mod optimize;
mod pipeline;
pub mod presentations;
pub mod prompts;
pub mod reference;
pub mod report;
pub mod respondents;
pub mod scoring;
pub mod seed;
pub mod stats;
pub mod store;
pub mod suite;
pub mod triplets;

pub use error::{Error, Result};

/// Bytes as hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A path without `.` and without `name/..`, by its text alone.
pub(crate) fn tidy(path: &std::path::Path) -> std::path::PathBuf {
    use std::path::{Component, PathBuf};
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidy.components().next_back(), Some(Component::Normal(_))) => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}
