//! Ingredients: which properties of a model go with how human-like it is.

pub mod claim;
pub mod comparison;
pub mod correlation;
pub mod estimate;
pub mod question;
pub mod table;
pub mod variant;

pub use claim::{Expect, Verdict};
pub use comparison::Omnibus;
pub use correlation::DependentDifference;
pub use estimate::Estimate;
pub use question::{Answer, Found, Question};
pub use table::{Cells, Table};
pub use variant::Variant;
