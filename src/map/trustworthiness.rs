//! How many of the neighbours that a map shows are neighbours in the embedding.

use faer::MatRef;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::linalg::{check_finite, dist2};

/// Neighbours that trustworthiness is taken over: 10, or the most that its formula allows for few concepts.
pub fn default_neighbours(n_concepts: usize) -> usize {
    (n_concepts.saturating_sub(1) / 2).clamp(1, 10)
}

/// Trustworthiness of a map: 1 when the k nearest of each concept on the map are its k nearest in the embedding, about a half
/// for a map at random.
///
/// 1 − 2 / (n k (2n − 3k − 1)) Σ_i Σ_j max(0, r(i, j) − k) over the k concepts j nearest to i on the map, r(i, j) being the
/// rank of j among the others by distance from i in the embedding, 1 for the nearest. Concepts at one distance share the best
/// of their ranks in the embedding, and come in order of their rows on the map.
///
/// # Shapes
/// `x`: `[n_concepts, dims]`, the embedding; `map`: `[n_concepts, 2]`
/// # Errors
/// [`Error::ShapeMismatch`], [`Error::Setting`] unless 1 ≤ k < n / 2, [`Error::NotFinite`]
/// # Source
/// Venna & Kaski (2001), Neighborhood preservation in nonlinear projection methods, equation 1
pub fn trustworthiness(x: MatRef<'_, f64>, map: MatRef<'_, f64>, k: usize) -> Result<f64> {
    let n = x.nrows();
    if map.nrows() != n {
        return Err(Error::ShapeMismatch {
            what: "concepts of a map and its embedding".to_owned(),
            found: format!("{} and {n}", map.nrows()),
            expected: "the same concepts".to_owned(),
        });
    }
    if k == 0 || 2 * k >= n {
        return Err(Error::Setting {
            field: "neighbours".to_owned(),
            found: k.to_string(),
            expected: format!("at least 1 and fewer than half of the {n} concepts"),
        });
    }
    check_finite(x, "the embedding behind a map")?;
    check_finite(map, "a map")?;
    let (in_x, on_map) = (dist2(x), dist2(map));
    let beyond = |i: usize| -> usize {
        let (far, near) = (in_x.col_as_slice(i), on_map.col_as_slice(i));
        let mut others: Vec<usize> = (0..n).filter(|j| *j != i).collect();
        others.select_nth_unstable_by(k - 1, |a, b| near[*a].total_cmp(&near[*b]).then(a.cmp(b)));
        let rank = |j: usize| (0..n).filter(|l| *l != i && far[*l] < far[j]).count() + 1;
        others[..k].iter().map(|j| rank(*j).saturating_sub(k)).sum()
    };
    let total: usize = (0..n).into_par_iter().map(beyond).sum();
    Ok(1.0 - 2.0 * total as f64 / (n * k * (2 * n - 3 * k - 1)) as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use faer::Mat;

    use super::*;

    fn line(places: &[f64]) -> Mat<f64> {
        Mat::from_fn(places.len(), 1, |i, _| places[i])
    }

    #[test]
    fn trust_by_hand() {
        let x = line(&[0.0, 1.0, 3.0, 7.0, 15.0]);
        assert_eq!(trustworthiness(x.as_ref(), x.as_ref(), 2).unwrap(), 1.0);
        // Nearest on the map of 0, 15, 3, 7, 1 (in rows' order): 4, 3, 4 and 3, 1 and 2 tied, 0. Their ranks in x: row 0 finds
        // 4 (rank 4), row 1 finds 3 (rank 3), row 2 finds 4 (rank 4), row 3 finds 2 (rank 1), row 4 finds 0 (rank 4).
        let map = line(&[0.0, 15.0, 3.0, 7.0, 1.0]);
        let expected = 1.0 - 2.0 / (5.0 * (10.0 - 3.0 - 1.0)) * (3.0 + 2.0 + 3.0 + 0.0 + 3.0);
        assert!((trustworthiness(x.as_ref(), map.as_ref(), 1).unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn equal_distances_are_all_trusted() {
        let simplex = Mat::from_fn(7, 7, |i, k| f64::from(i == k));
        let map = line(&[0.0, 3.0, 1.0, 7.0, 2.0, 9.0, 4.0]);
        assert_eq!(trustworthiness(simplex.as_ref(), map.as_ref(), 2).unwrap(), 1.0);
    }

    #[test]
    fn what_has_no_trustworthiness_is_named() {
        let x = line(&[0.0, 1.0, 2.0, 3.0]);
        let of = |map: &Mat<f64>, k| trustworthiness(x.as_ref(), map.as_ref(), k).map_err(|error| error.to_string());
        let few = "`neighbours` is 2, expected at least 1 and fewer than half of the 4 concepts";
        assert_eq!(of(&x, 2), Err(few.to_owned()));
        assert!(of(&x, 0).is_err() && of(&line(&[1.0, 2.0]), 1).is_err());
        assert!(of(&line(&[0.0, f64::NAN, 2.0, 3.0]), 1).is_err());
        assert_eq!(default_neighbours(128), 10);
        assert_eq!((default_neighbours(4), default_neighbours(5), default_neighbours(21)), (1, 2, 10));
    }
}
