//! Respondents other than language models.

pub mod encoder;
pub mod noise;
pub mod simulated;

pub use noise::{beta_for_agreement, tau_for_agreement};
pub use simulated::{Answer, ResponseModel, SimulatedSubject};
