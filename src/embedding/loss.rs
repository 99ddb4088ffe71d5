//! Losses on triplets: how a choice depends on the two squared distances.

use serde::{Deserialize, Serialize};

use super::dissimilarity::{Dissimilarity, Euclidean, Logarithm, Squared, StudentLogarithm};
use super::link::{Hinge, Link, Logistic, SquaredHinge};
use crate::error::{Error, Result};

/// What an answer costs: ℓ(z) when `first` was chosen, ℓ(−z) when `second` was, with
///
///   z = u(anchor, first) − u(anchor, second).
///
/// A loss is a dissimilarity u, which rises with the squared distance, and a link ℓ, which rises with z. The logistic
/// link ℓ(z) = ln(1 + e^z) makes it a model of the answers, P(first) = 1 / (1 + e^z), and its unit nats. The hinges only
/// want z below −margin; their unit is u's (of its square for the squared hinge).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loss", rename_all = "kebab-case")]
pub enum Loss {
    /// u = ln(μ + dist2), logistic: P(near) = (μ + dist2_far) / (2μ + dist2_near + dist2_far).
    ///
    /// It depends on a ratio of squared distances, so fits to consistent answers end in two or three effective
    /// dimensions. Source: Tamuz, Liu, Belongie, Shamir & Kalai (2011), Adaptively learning the crowd kernel, section
    /// 3.
    CrowdKernel {
        /// Keeps the ratio away from 0/0; 0.05 in the paper's software, 0 makes the loss independent of scale.
        mu: f64,
    },
    /// Stochastic triplet embedding: u = dist2, logistic. Source: van der Maaten & Weinberger (2012), Stochastic triplet
    /// embedding.
    Ste,
    /// STE with a Student-t kernel: u = ((α + 1) / 2) ln(1 + dist2 / α), logistic.
    ///
    /// α = 1 is crowd-kernel with μ = 1, and shares its fate; α → ∞ is STE at half the squared distances. Source: van
    /// der Maaten & Weinberger (2012).
    TSte {
        /// Degrees of freedom.
        alpha: f64,
    },
    /// Soft ordinal embedding: u = √(dist2 + 1e-9), ℓ(z) = max(0, margin + z)². Source: Terada & von Luxburg (2014),
    /// Local ordinal embedding.
    Soe {
        /// How much nearer is near enough. It sets the scale alone: a margin k times as large and the same penalty end
        /// in coordinates k times as large.
        margin: f64,
    },
    /// Generalised non-metric multidimensional scaling: u = dist2, ℓ(z) = max(0, margin + z), in coordinates where the
    /// source has a Gram matrix. Source: Agarwal et al. (2007), Generalized non-metric multidimensional scaling.
    Gnmds {
        /// How much nearer is near enough. It sets the scale alone: a margin k² times as large and the same penalty end
        /// in coordinates k times as large.
        margin: f64,
    },
    /// Logistic in the difference of Euclidean distances: u = √(dist2 + 1e-9); the constant keeps the gradient finite
    /// where points coincide.
    LogisticDistance,
}

impl Loss {
    /// The name used in settings, records and file names.
    pub fn key(self) -> &'static str {
        match self {
            Self::CrowdKernel { .. } => "crowd-kernel",
            Self::Ste => "ste",
            Self::TSte { .. } => "t-ste",
            Self::Soe { .. } => "soe",
            Self::Gnmds { .. } => "gnmds",
            Self::LogisticDistance => "logistic-distance",
        }
    }

    /// Work with the loss's dissimilarity and its link, compiled for each.
    pub(super) fn visit<W: WithLoss>(self, work: W) -> W::Output {
        match self {
            Self::CrowdKernel { mu } => work.with(Logarithm { mu }, Logistic),
            Self::Ste => work.with(Squared, Logistic),
            Self::TSte { alpha } => work.with(StudentLogarithm { alpha }, Logistic),
            Self::Soe { margin } => work.with(Euclidean, SquaredHinge { margin }),
            Self::Gnmds { margin } => work.with(Squared, Hinge { margin }),
            Self::LogisticDistance => work.with(Euclidean, Logistic),
        }
    }

    /// Refuses parameters that the loss is not defined for.
    pub(crate) fn check(self) -> Result<()> {
        let (field, value, zero_is_fine) = match self {
            Self::CrowdKernel { mu } => ("mu", mu, true),
            Self::TSte { alpha } => ("alpha", alpha, false),
            Self::Soe { margin } | Self::Gnmds { margin } => ("margin", margin, false),
            Self::Ste | Self::LogisticDistance => return Ok(()),
        };
        if value.is_finite() && (value > 0.0 || zero_is_fine && value == 0.0) {
            return Ok(());
        }
        let expected = if zero_is_fine { "0 or more" } else { "more than 0" };
        Err(Error::Setting { field: field.to_owned(), found: value.to_string(), expected: expected.to_owned() })
    }
}

/// Work that is the same for every loss, handed the two parts of one.
pub(super) trait WithLoss {
    /// What comes of it.
    type Output;

    /// The work.
    fn with<U: Dissimilarity, L: Link>(self, u: U, link: L) -> Self::Output;
}
