//! Procrustes: how much of one configuration another explains after translation, rotation or reflection, and one scale.

use faer::MatRef;

use super::Measure;
use crate::error::Result;

/// Procrustes R².
///
/// R² = (Σ_i σ_i(XᵀY))² / (‖X‖²_F ‖Y‖²_F), both centred, the narrower padded with columns of zeros (which adds only
/// zero singular values). It equals 1 − scipy's disparity and is symmetric because the scale is free. It is far above 0
/// by chance when n is close to the widths: read it beside its permutation null.
///
/// [`Measure`] names the variants: without reflection, and without a scale, which makes it matter which side is fitted.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`crate::error::Error::ShapeMismatch`] when the two differ in concepts, [`crate::error::Error::TooFew`] when all
/// rows of either are equal, [`crate::error::Error::NotFinite`]
/// # Source
/// Schönemann & Carroll (1970), Fitting one matrix to another under choice of a central dilation and a rigid motion
pub fn procrustes_r2(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<f64> {
    Measure::ProcrustesR2.value(x, y)
}

/// The angle between two shapes: a metric, 0 for equal shapes and π/2 for those with nothing in common.
///
/// arccos √R², R² of [`procrustes_r2`]. Near 0 it resolves no better than the root of the rounding, 1e-8.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Units
/// radians
/// # Errors
/// as for [`procrustes_r2`]
/// # Source
/// Williams, Kunz, Kornblith & Linderman (2021), Generalized shape metrics on neural representations, equation 4
pub fn angular_distance(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<f64> {
    Measure::AngularDistance.value(x, y)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use faer::Mat;

    use super::*;
    use crate::linalg::{centred, frobenius, product, singular_values, zero_padded};

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
        for measure in [Measure::ProcrustesR2, Measure::ProcrustesR2Rotation, Measure::CkaLinearDebiased] {
            let value = |x: &Mat<f64>| measure.value(x.as_ref(), y.as_ref()).unwrap();
            assert!((value(&x) - value(&padded)).abs() < 1e-13, "{measure}");
        }
    }

    #[test]
    fn a_mirror_image_is_told_from_a_rotation_where_there_is_no_room_to_turn() {
        let x = cloud(9, 3, 1);
        let mirrored = Mat::from_fn(9, 3, |i, k| if k == 0 { -x[(i, k)] } else { x[(i, k)] });
        let value = |measure: Measure, y: &Mat<f64>| measure.value(x.as_ref(), y.as_ref()).unwrap();
        assert!((value(Measure::ProcrustesR2, &mirrored) - 1.0).abs() < 1e-12);
        assert!(value(Measure::ProcrustesR2Rotation, &mirrored) < 0.9);
        assert!((value(Measure::ProcrustesR2Rotation, &zero_padded(mirrored.as_ref(), 4)) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_a_scale_size_counts_and_it_matters_who_is_fitted() {
        let x = cloud(9, 3, 1);
        let twice = Mat::from_fn(9, 3, |i, k| 2.0 * x[(i, k)]);
        let value = |measure: Measure| measure.value(x.as_ref(), twice.as_ref()).unwrap();
        // ‖x − 2x‖² is all of ‖x‖², and a quarter of ‖2x‖².
        assert!(value(Measure::ProcrustesR2NoScaling).abs() < 1e-12);
        assert!((value(Measure::ProcrustesR2NoScalingReversed) - 0.75).abs() < 1e-12);
    }
}
