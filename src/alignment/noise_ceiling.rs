//! The noise ceiling of several RDMs of the same concepts: how alike any model could be to subjects who differ.

use faer::Mat;

use super::Measure;
use super::concordance::TIE;
use super::rsa::{RdmCorrelation, compare, rdm, upper_triangle};
use crate::error::{Error, Result};
use crate::stats::{mean, ranks};

/// Bounds on the mean correlation that the best model could have with the subjects' RDMs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseCeiling {
    /// Mean correlation of each subject with the pool of the others: what the others predict.
    pub lower: f64,
    /// Mean correlation of each subject with the pool of all, itself included: what nothing exceeds by much.
    pub upper: f64,
}

/// The noise ceiling of subjects, or of bootstrap refits of one respondent.
///
/// The pool is the mean of the RDMs: of each over its root mean square for cosines, z-scored for Pearson, of average ranks for
/// Spearman, ρ-a and τ-a (for which it is not the best pool, so that the upper bound is approximate).
///
/// # Shapes
/// `rdms`: upper triangles of equal length, as [`super::rsa::upper_triangle`] gives them
/// # Errors
/// [`Error::TooFew`] for fewer than 2 RDMs, and those of [`compare`]
/// # Source
/// Nili et al. (2014), A toolbox for representational similarity analysis; pools as in rsatoolbox 0.3
pub fn noise_ceiling(rdms: &[Vec<f64>], correlation: RdmCorrelation) -> Result<NoiseCeiling> {
    if rdms.len() < 2 {
        let what = "subjects for a noise ceiling".to_owned();
        return Err(Error::TooFew { what, found: rdms.len(), needed: 2 });
    }
    // Refuses RDMs that differ in length, do not vary or are not finite before any of them is pooled.
    rdms.iter().try_for_each(|rdm| compare(rdm, &rdms[0], correlation).map(|_| ()))?;
    let scaled: Vec<Vec<f64>> = rdms.iter().map(|rdm| scaled(rdm, correlation)).collect::<Result<_>>()?;
    let mut total = vec![0.0; rdms[0].len()];
    scaled.iter().for_each(|rdm| total.iter_mut().zip(rdm).for_each(|(sum, value)| *sum += value));
    let (mut lower, mut upper) = (0.0, 0.0);
    for (own, scaled) in rdms.iter().zip(&scaled) {
        let others: Vec<f64> = total.iter().zip(scaled).map(|(sum, own)| sum - own).collect();
        lower += compare(&others, own, correlation)?;
        upper += compare(&total, own, correlation)?;
    }
    let n = rdms.len() as f64;
    Ok(NoiseCeiling { lower: lower / n, upper: upper / n })
}

/// The noise ceiling of a measure, of subjects given as embeddings. There is none but for RSA, and none for its whitened
/// correlations, which are not defined for the single distances that are pooled.
///
/// # Shapes
/// `subjects`: `[n_concepts, n_dims]` each, of the same concepts
/// # Errors
/// those of [`noise_ceiling`], and [`Error::NotFinite`] where a distance is not defined
pub fn of_embeddings(measure: Measure, subjects: &[Mat<f64>]) -> Result<Option<NoiseCeiling>> {
    let Measure::Rsa { distance, correlation } = measure else { return Ok(None) };
    if matches!(correlation, RdmCorrelation::WhitenedCosine | RdmCorrelation::WhitenedPearson) {
        return Ok(None);
    }
    let rdms = subjects.iter().map(|subject| Ok(upper_triangle(rdm(subject.as_ref(), distance)?.as_ref())));
    noise_ceiling(&rdms.collect::<Result<Vec<_>>>()?, correlation).map(Some)
}

/// What is averaged in the pool; no correlation here changes with the pool's scale.
fn scaled(rdm: &[f64], correlation: RdmCorrelation) -> Result<Vec<f64>> {
    let root_mean_square = |values: &[f64]| mean(&values.iter().map(|v| v * v).collect::<Vec<_>>()).sqrt();
    Ok(match correlation {
        RdmCorrelation::Cosine => {
            let size = root_mean_square(rdm);
            rdm.iter().map(|d| d / size).collect()
        }
        RdmCorrelation::Pearson => {
            let centre = mean(rdm);
            let centred: Vec<f64> = rdm.iter().map(|d| d - centre).collect();
            let sd = root_mean_square(&centred);
            centred.iter().map(|d| d / sd).collect()
        }
        _ => ranks(rdm, TIE * rdm.iter().copied().fold(0.0, f64::max))?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn subjects_who_agree_leave_nothing_to_explain() {
        let rdm = vec![1.0, 2.0, 4.0];
        for correlation in [RdmCorrelation::Pearson, RdmCorrelation::KendallTauA, RdmCorrelation::RhoA] {
            let NoiseCeiling { lower, upper } = noise_ceiling(&vec![rdm.clone(); 3], correlation).unwrap();
            assert!((lower - 1.0).abs() < 1e-12 && (upper - 1.0).abs() < 1e-12, "{correlation:?}");
        }
        assert!(noise_ceiling(std::slice::from_ref(&rdm), RdmCorrelation::Pearson).is_err());
        assert!(noise_ceiling(&[rdm.clone(), vec![1.0, 2.0]], RdmCorrelation::Pearson).is_err());
        assert!(noise_ceiling(&[rdm.clone(), vec![1.0; 3]], RdmCorrelation::Pearson).is_err());
        assert!(noise_ceiling(&[rdm.clone(), rdm], RdmCorrelation::WhitenedCosine).is_err());
    }

    #[test]
    fn measures_without_a_ceiling_have_none() {
        // Points 0, 1, 3 and 0, 2, 3: distances 1, 3, 2 and 2, 3, 1, whose ranks correlate by 1 − 6 · 2 / 24 = ½. Alone in its pool
        // the other gives ½ each; the pool of both has ranks 1½, 3, 1½, and 1.5 / √(2 · 1.5) with each.
        let line = |b: f64| Mat::from_fn(3, 1, |i, _| [0.0, b, 3.0][i]);
        let subjects = [line(1.0), line(2.0)];
        let of = |key: &str| of_embeddings(key.parse().unwrap(), &subjects).unwrap();
        let NoiseCeiling { lower, upper } = of("rsa_euclidean_spearman").unwrap();
        assert!((lower - 0.5).abs() < 1e-12 && (upper - 0.75_f64.sqrt()).abs() < 1e-12, "{lower} {upper}");
        assert_eq!([of("procrustes_r2"), of("rsa_euclidean_whitened_cosine")], [None, None]);
    }
}
