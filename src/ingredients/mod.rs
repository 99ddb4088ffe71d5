//! Ingredients: which properties of a model go with how human-like it is.

pub mod benchmarks;
pub mod claim;
pub mod comparison;
pub mod correlation;
pub mod design;
pub mod estimate;
pub mod formula;
pub mod line;
pub mod mixed;
pub mod multiplicity;
pub mod normality;
pub mod question;
mod root;
pub mod summary;
pub mod table;
mod tails;
pub mod variant;
pub mod whiskers;

pub use claim::{Expect, Verdict};
pub use comparison::Omnibus;
pub use correlation::DependentDifference;
pub use design::Design;
pub use estimate::Estimate;
pub use formula::Formula;
pub use mixed::{Fit, Method, fit};
pub use question::{Answer, Found, Gain, Question};
pub use summary::Summary;
pub use table::{Cells, Table};
pub use variant::Variant;
