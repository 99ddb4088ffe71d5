//! Two configurations with all that permuting the concepts of one leaves as it is.

use faer::MatRef;

use super::concordance::{AnchoredOrders, PairOrders};
use super::cross::Sides;
use super::matrices::PairedMatrices;
use super::neighbours::Neighbours;
use super::{Measure, RdmCorrelation, cka, rsa};
use crate::error::Result;

/// Some measures of one pair of configurations. Centring, kernels, distances and ranks are computed once; what all
/// measures of the linear geometry need of a permutation (one product of the sides) is computed once a permutation.
pub(super) struct Paired {
    sides: Option<Sides>,
    measures: Vec<Prepared>,
}

/// What a measure needs beside the order of the concepts.
enum Prepared {
    /// A function of the sides' cross product.
    Cross(Measure),
    Matrices(PairedMatrices),
    Kendall(PairOrders),
    Triplets(AnchoredOrders),
    Neighbours(Neighbours),
}

impl Paired {
    pub(super) fn new(measures: &[Measure], x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Self> {
        let mut sides = None;
        let mut prepare = |measure: Measure| {
            Ok(match measure {
                Measure::ProcrustesR2
                | Measure::ProcrustesR2Rotation
                | Measure::ProcrustesR2NoScaling
                | Measure::ProcrustesR2NoScalingReversed
                | Measure::AngularDistance
                | Measure::CkaLinearBiased
                | Measure::CkaLinearDebiased => {
                    if sides.is_none() {
                        sides = Some(Sides::new(x, y)?);
                    }
                    if let (Measure::CkaLinearDebiased, Some(sides)) = (measure, &sides) {
                        sides.check_debiased()?;
                    }
                    Prepared::Cross(measure)
                }
                Measure::CkaRbfBiased => Prepared::Matrices(cka::rbf(x, y, super::RBF_BANDWIDTH, false)?),
                Measure::CkaRbfDebiased => Prepared::Matrices(cka::rbf(x, y, super::RBF_BANDWIDTH, true)?),
                Measure::Rsa { distance, correlation: RdmCorrelation::KendallTauA } => {
                    let [x, y] = rsa::rdms(x, y, distance)?;
                    Prepared::Kendall(PairOrders::new(x.as_ref(), y.as_ref())?)
                }
                Measure::Rsa { distance, correlation } => {
                    Prepared::Matrices(rsa::prepared(x, y, distance, correlation)?)
                }
                Measure::TripletAgreement => Prepared::Triplets(AnchoredOrders::new(x, y)?),
                Measure::NeighbourOverlap { k } => Prepared::Neighbours(Neighbours::new(x, y, k)?),
            })
        };
        let measures = measures.iter().map(|measure| prepare(*measure)).collect::<Result<_>>()?;
        Ok(Self { sides, measures })
    }

    /// Each measure with row i of x facing row `order[i]` of y.
    pub(super) fn at(&self, order: &[usize]) -> Result<Vec<f64>> {
        let crossed = self.sides.as_ref().map(|sides| sides.crossed(order));
        let value = |prepared: &Prepared| match prepared {
            Prepared::Cross(measure) => crossed.as_ref().expect("made when the measure was prepared").value(*measure),
            Prepared::Matrices(sides) => Ok(sides.at(order)),
            Prepared::Kendall(sides) => Ok(sides.tau_a(order)),
            Prepared::Triplets(sides) => Ok(sides.agreement(order)),
            Prepared::Neighbours(sides) => Ok(sides.overlap(order)),
        };
        self.measures.iter().map(value).collect()
    }
}
