//! The integration tests, one module for each stage.
#![allow(missing_docs)]

mod alignment;
mod ceiling;
mod embedding;
mod support;
