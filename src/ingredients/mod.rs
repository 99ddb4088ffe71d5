//! Ingredients: which properties of a model go with how human-like it is.

pub mod comparison;
pub mod correlation;
pub mod estimate;
pub mod table;

pub use comparison::Omnibus;
pub use correlation::DependentDifference;
pub use estimate::Estimate;
pub use table::{Cells, Table};
