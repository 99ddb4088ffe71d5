//! Ingredients: which properties of a model go with how human-like it is.

pub mod design;
pub mod formula;
pub mod mixed;
pub mod multiplicity;
mod root;
pub mod table;
mod tails;

pub use design::Design;
pub use formula::Formula;
pub use mixed::{Fit, Method, fit};
pub use table::{Cells, Table};
