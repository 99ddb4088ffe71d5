//! How well the concepts' categories are set apart in one embedding.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::{PermutationNull, permutation};
use crate::error::{Error, Result};
use crate::linalg::{check_finite, dist2, symmetric};
use crate::seed::Streams;
use crate::stats::{mean, permutation_p};

/// Mean silhouette of the concepts in their categories, and what it is when the categories are dealt out anew.
///
/// s_i = (b_i − a_i) / max(a_i, b_i): a_i the mean Euclidean distance to the others of the same category, b_i to those of the
/// nearest other category; 0 for a concept that is alone in its category. From −1 to 1; near 0 by chance. It is of the embedding
/// alone: how well people's own embedding does is a value to put beside it, not a ceiling.
///
/// # Shapes
/// `x`: `[n, d]`; `categories`: n ids
/// # Errors
/// [`Error::ShapeMismatch`] when there are not as many ids as concepts, [`Error::TooFew`] for fewer than 2 categories, or when no
/// category has 2 concepts, [`Error::NotFinite`]
/// # Source
/// Rousseeuw (1987), Silhouettes: a graphical aid to the interpretation and validation of cluster analysis
pub fn category_silhouette(
    x: MatRef<'_, f64>,
    categories: &[usize],
    n_permutations: usize,
    seed: u64,
) -> Result<PermutationNull> {
    check_finite(x, "the embedding whose categories are looked at")?;
    let n = x.nrows();
    if categories.len() != n {
        return Err(Error::ShapeMismatch {
            what: "categories of the concepts".to_owned(),
            found: categories.len().to_string(),
            expected: n.to_string(),
        });
    }
    let n_categories = categories.iter().max().map_or(0, |last| last + 1);
    let mut sizes = vec![0_usize; n_categories];
    categories.iter().for_each(|category| sizes[*category] += 1);
    let used = sizes.iter().filter(|size| **size > 0).count();
    if used < 2 || used == n {
        let (found, needed) = (used.min(n - used), 2);
        return Err(Error::TooFew { what: "categories with concepts to set apart".to_owned(), found, needed });
    }
    let dist2 = dist2(x);
    let distances = symmetric(n, |i, j| dist2[(i, j)].sqrt());
    let identity: Vec<usize> = (0..n).collect();
    let value = silhouette(&distances, categories, &sizes, &identity);
    let streams = Streams::new(seed, "permutation");
    let draw = |k: usize| silhouette(&distances, categories, &sizes, &permutation(&streams, k as u64, n));
    let draws: Vec<f64> = (0..n_permutations).into_par_iter().map(draw).collect();
    Ok(PermutationNull { value, mean: mean(&draws), p: permutation_p(value, &draws), draws })
}

/// Concept i in the category of concept `order[i]`.
fn silhouette(distances: &Mat<f64>, categories: &[usize], sizes: &[usize], order: &[usize]) -> f64 {
    let n = order.len();
    let mut sums = vec![0.0; sizes.len()];
    let of_concept = |i: usize| {
        sums.fill(0.0);
        distances.col_as_slice(i).iter().zip(order).for_each(|(distance, &other)| sums[categories[other]] += distance);
        let own = categories[order[i]];
        if sizes[own] < 2 {
            return 0.0;
        }
        let within = sums[own] / (sizes[own] - 1) as f64;
        let others = (0..sizes.len()).filter(|category| *category != own && sizes[*category] > 0);
        let nearest = others.map(|category| sums[category] / sizes[category] as f64).fold(f64::INFINITY, f64::min);
        let larger = within.max(nearest);
        if larger > 0.0 { (nearest - within) / larger } else { 0.0 }
    };
    (0..n).map(of_concept).sum::<f64>() / n as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn silhouettes_by_hand() {
        // 0 and 1 in one category, 3 and 4 in the other: (3.5 − 1)/3.5 for the outer ones, (2.5 − 1)/2.5 for the inner.
        let x = Mat::from_fn(4, 1, |i, _| [0.0, 1.0, 3.0, 4.0][i]);
        let null = category_silhouette(x.as_ref(), &[0, 0, 1, 1], 50, 1).unwrap();
        assert!((null.value - (2.5 / 3.5 + 1.5 / 2.5) / 2.0).abs() < 1e-15);
        assert!(null.mean < 0.2 && null.p > 0.1); // a third of the arrangements is this one
        // A category of one concept counts zero.
        let alone = category_silhouette(x.as_ref(), &[0, 0, 0, 2], 1, 1).unwrap().value;
        let inner = |within: f64, to: f64| (to - within) / within.max(to);
        assert!((alone - (inner(2.0, 4.0) + inner(1.5, 3.0) + inner(2.5, 1.0)) / 4.0).abs() < 1e-15);
    }

    #[test]
    fn categories_that_set_nothing_apart_are_refused() {
        let x = Mat::from_fn(4, 1, |i, _| i as f64);
        for categories in [&[0, 0, 0, 0][..], &[0, 1, 2, 3], &[0, 1]] {
            assert!(category_silhouette(x.as_ref(), categories, 1, 1).is_err(), "{categories:?}");
        }
    }
}
