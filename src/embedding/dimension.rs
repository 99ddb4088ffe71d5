//! How many dimensions: those an embedding uses, those a reference needs, and the triplets they take.

use faer::MatRef;

use crate::error::{Error, Result};
use crate::linalg::{centred, frobenius, pca, product};

/// Participation ratio: the effective number of dimensions of an embedding.
///
/// (Σ λ)² / Σ λ² over the eigenvalues of the covariance: d for a round cloud in d dimensions, 1 for a line, 0 for a
/// single point.
///
/// # Shapes
/// `x`: `[n_concepts, dims]`
/// # Source
/// Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement
///
/// ```
/// let square = alike::linalg::from_rows(&[vec![1.0, 1.0], vec![1.0, -1.0], vec![-1.0, 1.0], vec![-1.0, -1.0]])?;
/// assert_eq!(alike::embedding::dimension::participation_ratio(square.as_ref()), 2.0);
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn participation_ratio(x: MatRef<'_, f64>) -> f64 {
    let x = centred(x);
    // Trace and Frobenius norm give both sums without the eigenvalues; xᵀx and x xᵀ share them, and the smaller is
    // cheaper.
    let scatter =
        if x.ncols() <= x.nrows() { product(x.transpose(), x.as_ref()) } else { product(x.as_ref(), x.transpose()) };
    let trace: f64 = (0..scatter.nrows()).map(|k| scatter[(k, k)]).sum();
    if trace > 0.0 { trace * trace / frobenius(scatter.as_ref(), scatter.as_ref()) } else { 0.0 }
}

/// Triplets that n concepts in d dimensions take in order of magnitude: n · d · log2 n, rounded up.
///
/// # Source
/// Jain, Jamieson & Nowak (2016), Finite sample prediction and recovery bounds for ordinal embedding; the constant is
/// taken as 1
///
/// ```
/// assert_eq!(alike::embedding::dimension::sample_size_bound(128, 30), 26_880);
/// ```
pub fn sample_size_bound(n_concepts: usize, n_dims: usize) -> u64 {
    let bound = (n_concepts * n_dims) as f64 * (n_concepts.max(1) as f64).log2();
    // Rounded first: log2 of a power of two may come out an ulp too large.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // not negative, and far below 2^53
    let bound = (bound - 1e-9).ceil().max(0.0) as u64;
    bound
}

/// How much worse an embedding may predict than the best one does, by theory.
///
/// Of all embeddings whose Gram matrix G has trace at most λ and entries at most γ, the one with the least mean loss on m
/// triplets drawn at random has, with probability 1 − δ, an expected loss within
///
///   (4 L λ / m) (√(18 m ln n / n) + ln n / √3) + L γ √(288 ln(2/δ) / m)
///
/// of the best of them, for any loss that is L-Lipschitz in d²(anchor, first) − d²(anchor, second). (The theorem's text was
/// not at hand; the constants are those of its argument. Symmetrisation and contraction give 4 L; matrix Bernstein, with the
/// norm √3 of the matrix M of a triplet, ⟨M, G⟩ being that difference, and ‖E M²‖ ≤ 9/n, gives 2 · 9 and √3 / 3, strictly with
/// ln 2n for the norm; bounded differences, with |⟨M, G⟩| ≤ 6 γ, give (2 · 12)² / 2.) With a loss that rises from 0 to 1 while the difference crosses a margin, L = 1 / margin, and the bound is one on
/// prediction error. It is about the best fit under this loss and says nothing where it exceeds one half, a coin's error.
///
/// # Source
/// Jain, Jamieson & Nowak (2016), Finite sample prediction and recovery bounds for ordinal embedding, theorem 1
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PredictionBound {
    /// n.
    pub n_concepts: usize,
    /// λ / γ: n for any G at all, √d · n as the authors have it for rank d.
    pub trace: f64,
    /// The margin of the loss, in units of γ.
    pub margin: f64,
    /// δ.
    pub delta: f64,
}

impl PredictionBound {
    /// What holds of every Gram matrix with entries up to γ, its trace being at most n γ; a margin of γ and δ = 0.05.
    pub fn any_rank(n_concepts: usize) -> Self {
        Self { n_concepts, trace: n_concepts as f64, margin: 1.0, delta: 0.05 }
    }

    /// The authors' own way to bring in the dimensions, ‖G‖_* ≤ √d ‖G‖_F ≤ √d n γ; a margin of γ and δ = 0.05.
    pub fn of_rank(n_concepts: usize, dims: usize) -> Self {
        Self { trace: (dims as f64).sqrt() * n_concepts as f64, ..Self::any_rank(n_concepts) }
    }

    /// The bound after m triplets; infinite after none.
    pub fn excess(&self, n_triplets: u64) -> f64 {
        let (n, m) = (self.n_concepts as f64, n_triplets as f64);
        let complexity = 4.0 * self.trace / m * ((18.0 * m * n.ln() / n).sqrt() + n.ln() / 3.0_f64.sqrt());
        (complexity + (288.0 * (2.0 / self.delta).ln() / m).sqrt()) / self.margin
    }

    /// The fewest triplets that take the bound to `excess`, above 0.
    pub fn triplets_for(&self, excess: f64) -> u64 {
        // The bound falls with m.
        let enough = |m: u64| self.excess(m) <= excess;
        let mut high = 1;
        while !enough(high) && high < u64::MAX / 2 {
            high *= 2;
        }
        let mut low = high / 2;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if enough(middle) { high = middle } else { low = middle }
        }
        high
    }
}

/// The fewest principal components that hold a share of the variance.
///
/// # Shapes
/// `x`: `[n_concepts, dims]`
/// # Errors
/// [`Error::Setting`] for a share outside (0, 1], [`Error::TooFew`] when the rows do not vary, [`Error::NotFinite`]
pub fn dims_for_variance(x: MatRef<'_, f64>, share: f64) -> Result<usize> {
    if !(share > 0.0 && share <= 1.0) {
        let field = "share of variance".to_owned();
        return Err(Error::Setting { field, found: share.to_string(), expected: "above 0, at most 1".to_owned() });
    }
    let variances = pca(x, 0)?.variances;
    let total: f64 = variances.iter().sum();
    if total == 0.0 {
        return Err(Error::TooFew { what: "distinct rows for PCA".to_owned(), found: x.nrows().min(1), needed: 2 });
    }
    let mut held = 0.0;
    let enough = variances.iter().position(|variance| {
        held += variance;
        held >= share * total * (1.0 - 1e-12) // all of the variance, up to rounding, is all of it
    });
    Ok(enough.map_or(variances.len(), |k| k + 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use faer::Mat;

    use super::*;

    #[test]
    fn a_line_has_one_dimension_and_a_point_none() {
        let line = Mat::from_fn(5, 3, |i, k| (i * (k + 1)) as f64);
        assert!((participation_ratio(line.as_ref()) - 1.0).abs() < 1e-12);
        assert_eq!(participation_ratio(Mat::<f64>::zeros(4, 2).as_ref()), 0.0);
        assert_eq!(dims_for_variance(line.as_ref(), 1.0).unwrap(), 1);
    }

    #[test]
    fn dims_follow_the_variance() {
        // Variances along the axes: 16, 4 and 1 of 21.
        let axis = |i: usize, k: usize| {
            if i / 2 == k { [4.0, 2.0, 1.0][k] * [1.0, -1.0][i % 2] } else { 0.0 }
        };
        let x = Mat::from_fn(6, 3, axis);
        let dims = |share| dims_for_variance(x.as_ref(), share).unwrap();
        assert_eq!((dims(0.7), dims(0.8), dims(0.95), dims(0.96)), (1, 2, 2, 3));
        assert!(dims_for_variance(x.as_ref(), 0.0).is_err());
        assert!(dims_for_variance(Mat::<f64>::zeros(4, 2).as_ref(), 0.5).is_err());
    }

    /// What the constants of the bound are made of, on the matrix of a triplet itself.
    #[test]
    fn the_matrix_of_a_triplet_has_the_norms_that_the_bound_takes() {
        // ⟨M, G⟩ = G_jj − 2 G_ij − G_kk + 2 G_ik.
        let m = crate::linalg::from_rows(&[vec![0.0, -1.0, 1.0], vec![-1.0, 1.0, 0.0], vec![1.0, 0.0, -1.0]]).unwrap();
        let norms = crate::linalg::singular_values(m.as_ref()).unwrap();
        assert!((norms[0] - 3.0_f64.sqrt()).abs() < 1e-14);
        assert_eq!((0..3).flat_map(|i| (0..3).map(move |j| (i, j))).map(|at| m[at].abs()).sum::<f64>(), 6.0);
        // E M² over all triplets of n concepts: 6/n on the diagonal, −6/(n (n − 1)) beside it, and so 6/(n − 1) ≤ 9/n.
        let squared = product(m.as_ref(), m.as_ref());
        assert_eq!((0..3).map(|i| squared[(i, i)]).sum::<f64>(), 6.0);
        let n = 4;
        let mut expected = Mat::<f64>::zeros(n, n);
        let mut count = 0.0;
        for ids in (0..n).flat_map(|i| (0..n).flat_map(move |j| (0..n).map(move |k| [i, j, k]))) {
            if ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2] {
                (0..3).for_each(|a| (0..3).for_each(|b| expected[(ids[a], ids[b])] += squared[(a, b)]));
                count += 1.0;
            }
        }
        let largest = crate::linalg::singular_values(expected.as_ref()).unwrap()[0] / count;
        assert!((largest - 6.0 / (n - 1) as f64).abs() < 1e-12 && largest <= 9.0 / n as f64);
    }

    #[test]
    fn the_prediction_bound_by_hand() {
        let bound = PredictionBound { n_concepts: 8, trace: 8.0, margin: 2.0, delta: 2.0 / std::f64::consts::E };
        // √(18 · 72 ln 8 / 8) = 18 √(ln 8 / 2), √(288 / 72) = 2.
        let expected = 0.5 * (32.0 / 72.0 * (18.0 * (8.0_f64.ln() / 2.0).sqrt() + 8.0_f64.ln() / 3.0_f64.sqrt()) + 2.0);
        assert!((bound.excess(72) - expected).abs() < 1e-12, "{}", bound.excess(72));
        let needed = bound.triplets_for(0.5);
        assert!(bound.excess(needed) <= 0.5 && bound.excess(needed - 1) > 0.5);
        assert_eq!(bound.excess(0), f64::INFINITY);
        // The paper's size: no bound at all.
        assert!(PredictionBound::any_rank(128).excess(28_000) > 0.5);
        assert!(PredictionBound::of_rank(128, 30).excess(28_000) > PredictionBound::any_rank(128).excess(28_000));
    }

    #[test]
    fn bound_of_the_paper() {
        assert_eq!(sample_size_bound(128, 30), 26_880);
        assert_eq!(sample_size_bound(1, 30), 0);
    }
}
