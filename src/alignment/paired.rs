//! Two configurations with all that permuting the concepts of one leaves as it is.

use faer::{Mat, MatRef};

use super::concordance::{AnchoredOrders, PairOrders};
use super::cross::Sides;
use super::neighbours::Neighbours;
use super::{Measure, RdmCorrelation, cka, rsa};
use crate::error::Result;
use crate::linalg::frobenius;

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

/// Two symmetric `[n, n]` matrices whose inner product is the measure: CKA with kernels and RSA differ only in what the
/// matrices hold.
pub(super) struct PairedMatrices {
    /// Columns from the diagonal down, what is below it twice: the other triangle is the same.
    x: Vec<f64>,
    y: Mat<f64>,
}

impl PairedMatrices {
    /// Each divided by `norm` of itself.
    pub(super) fn scaled(x: &Mat<f64>, y: &Mat<f64>, norm: impl Fn(&Mat<f64>) -> f64) -> Self {
        let n = x.nrows();
        let (of_x, of_y) = (norm(x), norm(y));
        let weighted = |(i, j): (usize, usize)| if i == j { x[(i, j)] / of_x } else { 2.0 * x[(i, j)] / of_x };
        let x = (0..n).flat_map(|j| (j..n).map(move |i| (i, j))).map(weighted).collect();
        Self { x, y: Mat::from_fn(n, n, |i, j| y[(i, j)] / of_y) }
    }

    /// Each scaled to unit Frobenius norm, so that the inner product is a cosine.
    pub(super) fn of_unit_norm(x: &Mat<f64>, y: &Mat<f64>) -> Self {
        Self::scaled(x, y, |side| frobenius(side.as_ref(), side.as_ref()).sqrt())
    }

    /// The inner product with every concept facing itself.
    pub(super) fn unpermuted(&self) -> f64 {
        self.at(&(0..self.y.nrows()).collect::<Vec<_>>())
    }

    /// Σ_ij x_ij y_order(i)order(j).
    fn at(&self, order: &[usize]) -> f64 {
        let mut rest = &self.x[..];
        let mut sum = 0.0;
        for j in 0..order.len() {
            let (column, below) = rest.split_at(order.len() - j);
            let y = self.y.col_as_slice(order[j]);
            // Two partial sums, so that an addition need not wait for the one before it.
            let mut partial = [0.0; 2];
            for (x, i) in column.chunks(2).zip(order[j..].chunks(2)) {
                for (lane, (x, &i)) in x.iter().zip(i).enumerate() {
                    partial[lane] += x * y[i];
                }
            }
            sum += partial[0] + partial[1];
            rest = below;
        }
        sum
    }
}
