//! Respondents other than language models.

pub mod encoder;
pub mod simulated;

pub use simulated::{Answer, ResponseModel, SimulatedSubject, beta_for_agreement, tau_for_agreement};
