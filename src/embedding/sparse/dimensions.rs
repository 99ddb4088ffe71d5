//! The dimensions of sparse embeddings: which are empty, how they are ordered, and whether another run finds them.

use faer::{Mat, MatRef};

use crate::error::Result;
use crate::stats::standardised;

/// A dimension in which no weight is above this is empty: it changes no dot product by more than 0.01. The bound of the
/// published software.
pub const EMPTY: f64 = 0.1;

/// The dimensions that are kept, ordered by their sums, largest first.
pub(super) fn ordered(w: &[f64], n_dims: usize, mut kept: Vec<usize>) -> Vec<usize> {
    let sum = |dim: usize| w.iter().skip(dim).step_by(n_dims).sum::<f64>();
    kept.sort_by(|&a, &b| sum(b).total_cmp(&sum(a)).then(a.cmp(&b)));
    kept
}

/// Some columns.
///
/// # Shapes
/// `w`: `[n_concepts, n_dims]`, row by row; returns `[n_concepts, n_kept]`, or one column of zeros when none is kept
pub(in crate::embedding) fn columns(w: &[f64], n_dims: usize, kept: &[usize]) -> Mat<f64> {
    let at = |row: usize, dim: usize| kept.get(dim).map_or(0.0, |k| w[row * n_dims + k]);
    Mat::from_fn(w.len() / n_dims, kept.len().max(1), at)
}

/// The dimensions that are not [`EMPTY`], ordered by their sums.
pub(in crate::embedding) fn not_empty(w: &[f64], n_dims: usize) -> Vec<usize> {
    let kept = (0..n_dims).filter(|dim| w.iter().skip(*dim).step_by(n_dims).any(|w| *w > EMPTY)).collect();
    ordered(w, n_dims, kept)
}

/// For each column of `x`, the largest absolute Pearson correlation with a column of `y`; 0 for a column that does not
/// vary.
///
/// # Shapes
/// `x`: `[n_concepts, n_dims]`; `y`: `[n_concepts, any]`; returns n_dims values
/// # Errors
/// [`crate::Error::NotFinite`]
pub fn best_matches(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Vec<f64>> {
    let columns = |m: MatRef<'_, f64>| -> Result<Vec<Option<Vec<f64>>>> {
        let column = |k: usize| {
            let values: Vec<f64> = (0..m.nrows()).map(|i| m[(i, k)]).collect();
            match standardised(&values) {
                Ok(values) => Ok(Some(values)),
                Err(crate::Error::TooFew { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        (0..m.ncols()).map(column).collect()
    };
    let (x, y) = (columns(x)?, columns(y)?);
    let correlation = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>().abs().min(1.0);
    let best = |a: &Option<Vec<f64>>| {
        let a = a.as_deref()?;
        Some(y.iter().flatten().map(|b| correlation(a, b)).fold(0.0, f64::max))
    };
    Ok(x.iter().map(|a| best(a).unwrap_or(0.0)).collect())
}

/// How reproducible each dimension of a run is: its largest absolute correlation with a dimension of each other run, averaged
/// over the runs by way of Fisher's z (tanh of the mean artanh).
///
/// # Errors
/// [`crate::Error::NotFinite`]
/// # Source
/// Hebart, Zheng, Pereira & Baker (2020), Revealing the multidimensional mental representations of natural objects underlying
/// human similarity judgements, Methods
pub fn reproducibility(run: MatRef<'_, f64>, others: &[Mat<f64>]) -> Result<Vec<f64>> {
    let matches: Vec<Vec<f64>> = others.iter().map(|other| best_matches(run, other.as_ref())).collect::<Result<_>>()?;
    // A correlation of one has no z: rounding's distance from it stands in.
    let z = |r: f64| r.min(1.0 - 1e-12).atanh();
    let mean = |dim: usize| (matches.iter().map(|m| z(m[dim])).sum::<f64>() / others.len() as f64).tanh();
    Ok(if others.is_empty() { vec![] } else { (0..run.ncols()).map(mean).collect() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn empty_dimensions_go_and_the_others_are_ordered() {
        let w = [0.1, 0.3, 0.0, 2.0, 0.05, 0.2, 0.0, 1.0]; // two concepts, four dimensions
        assert_eq!(not_empty(&w, 4), [3, 1]);
        let kept = columns(&w, 4, &[3, 1]);
        assert_eq!(crate::linalg::to_rows(kept.as_ref()), [[2.0, 0.3], [1.0, 0.2]]);
        assert_eq!(columns(&[0.0; 6], 3, &[]), Mat::<f64>::zeros(2, 1));
    }

    #[test]
    fn a_permuted_run_reproduces_and_an_unrelated_column_does_not() {
        let run = Mat::from_fn(6, 2, |i, k| [[1.0, 0.0, 0.0, 2.0, 0.0, 1.0], [0.0, 1.0, 3.0, 0.0, 0.0, 2.0]][k][i]);
        let turned = Mat::from_fn(6, 3, |i, k| if k == 0 { 5.0 } else { 4.0 * run[(i, 2 - k)] });
        let index = reproducibility(run.as_ref(), &[turned.clone(), turned]).unwrap();
        assert!(index.iter().all(|r| *r > 1.0 - 1e-9), "{index:?}");
        let flat = Mat::from_fn(6, 1, |_, _| 1.0);
        assert_eq!(best_matches(run.as_ref(), flat.as_ref()).unwrap(), [0.0, 0.0]);
        assert_eq!(best_matches(flat.as_ref(), run.as_ref()).unwrap(), [0.0]);
        assert!(reproducibility(run.as_ref(), &[]).unwrap().is_empty());
    }
}
