//! Respondents other than language models.

pub mod encoder;
pub mod simulated;

pub use simulated::{Answer, ResponseModel, SimulatedSubject, tau_for_agreement};
