//! Files that cross stages: Parquet tables with what they were made from.

pub mod alignment;
pub mod bench;
mod checksum;
pub mod choices;
pub mod embedding;
pub mod export;
pub mod folder;
pub mod ingredients;
pub mod judgments;
pub mod lock;
pub mod manifest;
pub mod models;
pub mod npy;
pub mod place;
pub mod refits;
pub mod requests;
pub mod results;
pub mod scores;
pub mod table;
pub mod triplets;
