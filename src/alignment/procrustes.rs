//! Procrustes R²: how much of one configuration another explains after translation, rotation or reflection, and one
//! scale.

use faer::{Mat, MatRef};

use super::Side;
use crate::error::Result;
use crate::linalg::{centred, frobenius, pca, product, singular_values};

/// Procrustes R².
///
/// R² = (Σ_i σ_i(XᵀY))² / (‖X‖²_F ‖Y‖²_F), both centred, the narrower padded with columns of zeros (which adds only
/// zero singular values). It equals 1 − scipy's disparity and is symmetric because the scale is free. It is far above 0
/// by chance when n is close to the widths: read it beside its permutation null.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`crate::error::Error::ShapeMismatch`] when the two differ in concepts, [`crate::error::Error::TooFew`] when all
/// rows of either are equal, [`crate::error::Error::NotFinite`]
/// # Source
/// Schönemann & Carroll (1970), Fitting one matrix to another under choice of a central dilation and a rigid motion
pub fn procrustes_r2(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<f64> {
    Prepared::new(x, y)?.at(None)
}

/// Both sides centred and scaled to unit Frobenius norm, no wider than they have rows.
pub(super) struct Prepared {
    x: Mat<f64>,
    y: Mat<f64>,
}

impl Prepared {
    pub(super) fn new(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Self> {
        super::check_pair(x, y, 2)?;
        let unit = |x: MatRef<'_, f64>, side| -> Result<Mat<f64>> {
            super::check_spread(x, side)?;
            // A rotation to the rows' own span leaves R² as it is and keeps wide sides (hidden states, say) cheap.
            let x = if x.ncols() > x.nrows() { pca(x, x.nrows())?.scores } else { centred(x) };
            let norm = frobenius(x.as_ref(), x.as_ref()).sqrt();
            Ok(Mat::from_fn(x.nrows(), x.ncols(), |i, k| x[(i, k)] / norm))
        };
        Ok(Self { x: unit(x, Side::X)?, y: unit(y, Side::Y)? })
    }

    /// R² with row i of x facing row `order[i]` of y, or row i without an order.
    pub(super) fn at(&self, order: Option<&[usize]>) -> Result<f64> {
        let xy = match order {
            None => product(self.x.transpose(), self.y.as_ref()),
            Some(order) => {
                let y = Mat::from_fn(self.y.nrows(), self.y.ncols(), |i, k| self.y[(order[i], k)]);
                product(self.x.transpose(), y.as_ref())
            }
        };
        let nuclear: f64 = singular_values(xy.as_ref())?.iter().sum();
        Ok(nuclear * nuclear)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::linalg::zero_padded;

    fn cloud(n: usize, d: usize, seed: u64) -> Mat<f64> {
        let mut rng = crate::seed::Streams::new(seed, "test").rng(0);
        Mat::from_fn(n, d, |_, _| crate::stats::standard_normal(&mut rng))
    }

    #[test]
    fn a_wide_side_gives_the_same_value_as_its_own_rotation() {
        let (x, wide) = (cloud(9, 3, 1), cloud(9, 40, 2));
        let direct = {
            let (x, y) = (centred(x.as_ref()), centred(wide.as_ref()));
            let nuclear: f64 = singular_values(product(x.transpose(), y.as_ref()).as_ref()).unwrap().iter().sum();
            nuclear * nuclear / frobenius(x.as_ref(), x.as_ref()) / frobenius(y.as_ref(), y.as_ref())
        };
        assert!((procrustes_r2(x.as_ref(), wide.as_ref()).unwrap() - direct).abs() < 1e-12);
    }

    #[test]
    fn padding_with_zeros_changes_nothing() {
        let (x, y) = (cloud(9, 3, 1), cloud(9, 5, 2));
        let padded = zero_padded(x.as_ref(), 5);
        let (a, b) =
            (procrustes_r2(x.as_ref(), y.as_ref()).unwrap(), procrustes_r2(padded.as_ref(), y.as_ref()).unwrap());
        assert!((a - b).abs() < 1e-13);
    }
}
