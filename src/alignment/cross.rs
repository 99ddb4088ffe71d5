//! What the measures of linear geometry share: both sides centred and of unit norm, and their cross product.
//!
//! Procrustes R² is a function of the singular values of XᵀY, linear CKA of its Frobenius norm, and debiased CKA needs only
//! the squared lengths of the rows beside it, so that one product `[d, n] × [n, k]` serves them all.

use std::cell::OnceCell;

use faer::{Mat, MatRef};

use super::{Measure, Side, check_pair, check_spread};
use crate::error::{Error, Result};
use crate::linalg::{centred, frobenius, pca, product, singular_values};
use crate::stats::FLAT;

/// A side of unit Frobenius norm, no wider than it has rows.
struct Unit {
    /// Centred; `[n, d]`.
    x: Mat<f64>,
    /// Frobenius norm before it was scaled.
    norm: f64,
    /// Squared length of each row.
    length2: Vec<f64>,
    /// ‖XᵀX‖²_F.
    gram2: f64,
}

impl Unit {
    fn new(x: MatRef<'_, f64>, side: Side) -> Result<Self> {
        check_spread(x, side)?;
        // A rotation to the rows' own span leaves every measure as it is and keeps wide sides (hidden states, say) cheap.
        let x = if x.ncols() > x.nrows() { pca(x, x.nrows())?.scores } else { centred(x) };
        let norm = frobenius(x.as_ref(), x.as_ref()).sqrt();
        let x = Mat::from_fn(x.nrows(), x.ncols(), |i, k| x[(i, k)] / norm);
        let length2 = (0..x.nrows()).map(|i| (0..x.ncols()).map(|k| x[(i, k)] * x[(i, k)]).sum()).collect();
        let gram = product(x.transpose(), x.as_ref());
        Ok(Self { norm, length2, gram2: frobenius(gram.as_ref(), gram.as_ref()), x })
    }

    /// The inner product of the side's U-centred Gram matrix with itself.
    fn u_norm2(&self) -> f64 {
        let n = self.length2.len();
        u_inner(n, self.gram2, self.length2.iter().map(|l| l * l).sum())
    }
}

/// ⟨K̃, L̃⟩ of the U-centred Gram matrices of two centred sides of unit norm, from ‖XᵀY‖²_F and Σ_i ‖x_i‖²‖y_i‖².
///
/// tr(K̊L̊) + 1ᵀK̊1 1ᵀL̊1/((n−1)(n−2)) − 2/(n−2) 1ᵀK̊L̊1 (Song et al. 2012, equation 5), K̊ and L̊ without their diagonals: of centred
/// sides K̊1 = −diag K, and the trace of either is 1.
fn u_inner(n: usize, cross2: f64, lengths: f64) -> f64 {
    let n = n as f64;
    cross2 - lengths * (1.0 + 2.0 / (n - 2.0)) + 1.0 / ((n - 1.0) * (n - 2.0))
}

/// Both sides.
pub(super) struct Sides {
    x: Unit,
    y: Unit,
}

impl Sides {
    pub(super) fn new(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Self> {
        check_pair(x, y, 2)?;
        Ok(Self { x: Unit::new(x, Side::X)?, y: Unit::new(y, Side::Y)? })
    }

    /// Refuses sides that debiased CKA is not defined for.
    pub(super) fn check_debiased(&self) -> Result<()> {
        let n = self.x.length2.len();
        if n < 4 {
            return Err(Error::TooFew { what: "concepts for debiased CKA".to_owned(), found: n, needed: 4 });
        }
        for (unit, side) in [(&self.x, Side::X), (&self.y, Side::Y)] {
            if unit.u_norm2() <= FLAT * unit.gram2 {
                let what = format!("distinct similarities between the concepts of {side}");
                return Err(Error::TooFew { what, found: 1, needed: 2 });
            }
        }
        Ok(())
    }

    /// The sides with row i of x facing row `order[i]` of y.
    pub(super) fn crossed<'a>(&'a self, order: &'a [usize]) -> Crossed<'a> {
        let y = &self.y.x;
        let faced = Mat::from_fn(y.nrows(), y.ncols(), |i, k| y[(order[i], k)]);
        Crossed { sides: self, order, xy: product(self.x.x.transpose(), faced.as_ref()), spectrum: OnceCell::new() }
    }
}

/// The cross product in one order of the concepts.
pub(super) struct Crossed<'a> {
    sides: &'a Sides,
    order: &'a [usize],
    /// `[d, k]`
    xy: Mat<f64>,
    spectrum: OnceCell<Vec<f64>>,
}

impl Crossed<'_> {
    /// Singular values of XᵀY, largest first; decomposed once, for the measures that ask.
    fn spectrum(&self) -> Result<&[f64]> {
        if let Some(values) = self.spectrum.get() {
            return Ok(values);
        }
        let values = singular_values(self.xy.as_ref())?;
        Ok(self.spectrum.get_or_init(|| values))
    }

    /// Largest inner product of the sides under rotation and reflection: Σ_i σ_i.
    fn nuclear(&self) -> Result<f64> {
        Ok(self.spectrum()?.iter().sum())
    }

    /// Largest inner product under rotation alone: where sides of equal width would have to be reflected, the smallest
    /// singular value counts against it. A side with room to spare turns into the other's mirror image through a dimension that is zero.
    fn rotated(&self) -> Result<f64> {
        let (d, k) = self.xy.shape();
        let smallest = *self.spectrum()?.last().unwrap_or(&0.0);
        let mirrored = d == k && self.xy.determinant() < 0.0;
        Ok(self.nuclear()? - if mirrored { 2.0 * smallest } else { 0.0 })
    }

    /// The measures that are functions of the cross product.
    pub(super) fn value(&self, measure: Measure) -> Result<f64> {
        let Sides { x, y } = self.sides;
        let cross2 = || frobenius(self.xy.as_ref(), self.xy.as_ref());
        // 1 − min_Q ‖A − BQ‖² / ‖A‖², `ratio` = ‖B‖ / ‖A‖.
        let no_scaling = |ratio: f64| Ok(2.0 * ratio * self.nuclear()? - ratio * ratio);
        match measure {
            Measure::ProcrustesR2 => Ok(self.nuclear()?.powi(2)),
            Measure::ProcrustesR2Rotation => Ok(self.rotated()?.powi(2)),
            Measure::ProcrustesR2NoScaling => no_scaling(y.norm / x.norm),
            Measure::ProcrustesR2NoScalingReversed => no_scaling(x.norm / y.norm),
            Measure::AngularDistance => Ok(self.nuclear()?.min(1.0).acos()),
            Measure::CkaLinearBiased => Ok(cross2() / (x.gram2 * y.gram2).sqrt()),
            Measure::CkaLinearDebiased => {
                let lengths = x.length2.iter().zip(self.order).map(|(l, &i)| l * y.length2[i]).sum();
                Ok(u_inner(self.order.len(), cross2(), lengths) / (x.u_norm2() * y.u_norm2()).sqrt())
            }
            _ => unreachable!("only measures of linear geometry are asked of the cross product"),
        }
    }
}
