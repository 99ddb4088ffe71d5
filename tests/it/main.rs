//! The integration tests, one module for each stage.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "a test that skips says why")]

mod align_command;
mod alignment;
mod architectures;
mod bad_input;
mod ceiling;
mod decisions;
mod embedding;
mod encoder;
mod export;
mod first_version;
mod found_folders;
mod handed_on;
mod human;
mod ingredients;
mod learning_curve;
mod maps;
mod mixed;
mod models;
mod odd_one_out;
mod parts;
mod plan;
mod report;
mod score;
mod simulate;
mod sources;
mod sparse;
mod sparse_studies;
mod states_and_encoders;
mod streamed;
mod study;
mod suite;
mod support;
mod templates;
