//! The measures of alignment: their names, and what each says beside its value.

use std::fmt;
use std::str::FromStr;

use faer::MatRef;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::paired::Paired;
use super::{PermutationNull, permutation_nulls};
use crate::alignment::rsa::{RdmCorrelation, RdmDistance};
use crate::error::{Error, Result};

/// A measure of alignment between x `[n, d]` (the reference) and y `[n, k]`. All are 1 for sides that are equal up to the
/// measure's own invariances, but the angular distance, which is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// [`procrustes::procrustes_r2`](super::procrustes::procrustes_r2).
    ProcrustesR2,
    /// Procrustes R² without reflections.
    ProcrustesR2Rotation,
    /// Procrustes R² without a scale, y fitted to x: 1 − min_Q ‖X − YQ‖² / ‖X‖²; below 0 where y is too large.
    ProcrustesR2NoScaling,
    /// The same, x fitted to y.
    ProcrustesR2NoScalingReversed,
    /// [`procrustes::angular_distance`](super::procrustes::angular_distance): 0 for equal shapes.
    AngularDistance,
    /// [`cka::cka_linear_biased`](super::cka::cka_linear_biased).
    CkaLinearBiased,
    /// [`cka::cka_linear_debiased`](super::cka::cka_linear_debiased).
    CkaLinearDebiased,
    /// [`cka::cka_rbf_biased`](super::cka::cka_rbf_biased), [`RBF_BANDWIDTH`] wide.
    CkaRbfBiased,
    /// [`cka::cka_rbf_debiased`](super::cka::cka_rbf_debiased), [`RBF_BANDWIDTH`] wide.
    CkaRbfDebiased,
    /// [`rsa::rsa`](super::rsa::rsa).
    Rsa {
        /// Within each side.
        distance: RdmDistance,
        /// Between the sides.
        correlation: RdmCorrelation,
    },
    /// [`neighbours::triplet_agreement`](super::neighbours::triplet_agreement).
    TripletAgreement,
    /// [`neighbours::neighbour_overlap`](super::neighbours::neighbour_overlap).
    NeighbourOverlap {
        /// Neighbours of each concept.
        k: usize,
    },
}

/// Standard deviation of the RBF kernel as a share of the side's median distance. Kornblith et al. (2019) tried 0.2, 0.4 and
/// 0.8 and found the widest the best at telling layers apart.
pub const RBF_BANDWIDTH: f64 = 0.8;

/// Neighbours whose overlap is reported.
const NEIGHBOURS: [usize; 2] = [5, 10];

const N_RSA: usize = RdmDistance::ALL.len() * RdmCorrelation::ALL.len();

impl Measure {
    /// Every measure, in the order in which tables show them.
    pub const ALL: [Self; 12 + N_RSA] = {
        let mut all = [Self::ProcrustesR2; 12 + N_RSA];
        all[1] = Self::CkaLinearBiased;
        all[2] = Self::CkaLinearDebiased;
        let mut i = 0;
        while i < N_RSA {
            let n = RdmCorrelation::ALL.len();
            let (distance, correlation) = (RdmDistance::ALL[i / n], RdmCorrelation::ALL[i % n]);
            all[3 + i] = Self::Rsa { distance, correlation };
            i += 1;
        }
        let rest = [
            Self::ProcrustesR2Rotation,
            Self::ProcrustesR2NoScaling,
            Self::ProcrustesR2NoScalingReversed,
            Self::AngularDistance,
            Self::CkaRbfBiased,
            Self::CkaRbfDebiased,
            Self::TripletAgreement,
            Self::NeighbourOverlap { k: NEIGHBOURS[0] },
            Self::NeighbourOverlap { k: NEIGHBOURS[1] },
        ];
        let mut i = 0;
        while i < rest.len() {
            all[3 + N_RSA + i] = rest[i];
            i += 1;
        }
        all
    };

    /// What is reported unless told otherwise: the paper's measures, and those without a chance offset beside them.
    pub const DEFAULTS: [Self; 4] = [Self::ALL[0], Self::ALL[1], Self::ALL[2], Self::ALL[3]];

    /// The name used in settings, columns and file names.
    ///
    /// ```
    /// use alike::alignment::Measure;
    /// assert_eq!("rsa_cosine_pearson".parse::<Measure>()?.key(), "rsa_cosine_pearson");
    /// # Ok::<(), alike::error::Error>(())
    /// ```
    pub fn key(self) -> String {
        let name = match self {
            Self::ProcrustesR2 => "procrustes_r2",
            Self::ProcrustesR2Rotation => "procrustes_r2_rotation",
            Self::ProcrustesR2NoScaling => "procrustes_r2_no_scaling",
            Self::ProcrustesR2NoScalingReversed => "procrustes_r2_no_scaling_reversed",
            Self::AngularDistance => "angular_distance",
            Self::CkaLinearBiased => "cka_linear_biased",
            Self::CkaLinearDebiased => "cka_linear_debiased",
            Self::CkaRbfBiased => "cka_rbf_biased",
            Self::CkaRbfDebiased => "cka_rbf_debiased",
            Self::Rsa { distance, correlation } => return format!("rsa_{}_{}", distance.name(), correlation.name()),
            Self::TripletAgreement => "triplet_agreement",
            Self::NeighbourOverlap { k } => return format!("neighbour_overlap_{k}"),
        };
        name.to_owned()
    }

    /// What the key leaves open, for tables.
    pub fn variant(self) -> String {
        let text = match self {
            Self::ProcrustesR2 => "reflection, free scale, embedding fitted to reference",
            Self::ProcrustesR2Rotation => "no reflection, free scale, embedding fitted to reference",
            Self::ProcrustesR2NoScaling => "reflection, no scale, embedding fitted to reference",
            Self::ProcrustesR2NoScalingReversed => "reflection, no scale, reference fitted to embedding",
            Self::AngularDistance => "arccos of the root of procrustes_r2, radians; 0 for equal shapes",
            Self::CkaLinearBiased | Self::CkaLinearDebiased => "linear",
            Self::CkaRbfBiased | Self::CkaRbfDebiased => return format!("RBF, {RBF_BANDWIDTH} of the median distance"),
            Self::Rsa { .. } => "upper triangle",
            Self::TripletAgreement => "all triplets that the reference decides; ties of the embedding count half",
            Self::NeighbourOverlap { .. } => "Euclidean; neighbours that tie share the last places",
        };
        text.to_owned()
    }

    /// Whether smaller values are closer.
    pub fn is_distance(self) -> bool {
        self == Self::AngularDistance
    }

    /// The measure's value.
    ///
    /// # Shapes
    /// `x`: `[n, d]`; `y`: `[n, k]`
    /// # Errors
    /// [`Error::ShapeMismatch`] when the two differ in concepts, [`Error::TooFew`] for too few concepts or a side that
    /// does not vary, [`Error::NotFinite`]
    ///
    /// ```
    /// use alike::alignment::Measure;
    /// let x = alike::linalg::from_rows(&[vec![0.0, 0.0], vec![2.0, 0.0], vec![0.0, 1.0], vec![3.0, 3.0]])?;
    /// assert!((Measure::ProcrustesR2.value(x.as_ref(), x.as_ref())? - 1.0).abs() < 1e-12);
    /// # Ok::<(), alike::error::Error>(())
    /// ```
    pub fn value(self, x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<f64> {
        let order: Vec<usize> = (0..x.nrows()).collect();
        Ok(Paired::new(&[self], x, y)?.at(&order)?[0])
    }

    /// The measure's value beside those of permuted concepts: [`permutation_nulls`] of one measure.
    ///
    /// # Errors
    /// as for [`permutation_nulls`]
    pub fn permutation_null(
        self,
        x: MatRef<'_, f64>,
        y: MatRef<'_, f64>,
        n_permutations: usize,
        seed: u64,
    ) -> Result<PermutationNull> {
        permutation_nulls(&[self], x, y, n_permutations, seed).map(|mut nulls| nulls.remove(0))
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(key: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|measure| measure.key() == key).ok_or_else(|| Error::Setting {
            field: "measure".to_owned(),
            found: key.to_owned(),
            expected: Self::ALL.map(Self::key).join(", "),
        })
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_unique_and_parse_back() {
        for (i, measure) in Measure::ALL.into_iter().enumerate() {
            assert_eq!(measure.key().parse::<Measure>().unwrap(), measure);
            assert!(Measure::ALL[..i].iter().all(|other| other.key() != measure.key()));
        }
        assert!("cka".parse::<Measure>().unwrap_err().to_string().contains("cka_linear_debiased"));
        assert_eq!(
            Measure::DEFAULTS.map(Measure::key),
            ["procrustes_r2", "cka_linear_biased", "cka_linear_debiased", "rsa_euclidean_spearman"]
        );
    }
}
