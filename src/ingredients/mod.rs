//! Ingredients: which properties of a model go with how human-like it is.

pub mod table;

pub use table::{Cells, Table};
