//! The objective of a fit: the mean loss over comparisons, and its gradient in `[n_concepts, dims]` coordinates.
//!
//! All pairs of concepts go through u once per evaluation (a dense Gram matrix), the triplets only look their two values
//! up, and the gradient is one matrix product: cheap while n² is not far above the number of triplets.

use faer::traits::pulp::{Arch, Simd, WithSimd};
use faer::{Mat, MatMut, MatRef};

use super::dissimilarity::{Dissimilarity, Euclidean, Logarithm, Squared, StudentLogarithm};
use super::link::{Hinge, LinkSum, Logistic, SquaredHinge};
use super::{Comparison, Loss};
use crate::error::{Error, Result};
use crate::linalg::{dot, product_into};

/// All answers to one unordered triplet, brought to the order first < second.
#[derive(Debug, Clone, Copy)]
struct Term {
    first: u32,
    second: u32,
    p_first: f64,
    weight: f64,
}

/// The mean loss over weighted comparisons plus an L2 penalty, as a function of the coordinates.
///
/// f(X) = Σ w (p ℓ(z) + (1 − p) ℓ(−z)) / Σ w + (l2 / n) Σ_i ‖x_i‖²,  z = u(anchor, first) − u(anchor, second)
///
/// Comparisons of one triplet (both orders, repeats) are merged, which leaves f unchanged because it is linear in p, and
/// terms are sorted, so that f does not depend on the order of the input. Scratch matrices live inside: one objective
/// serves one fit at a time.
#[derive(Debug, Clone)]
pub struct Objective {
    loss: Loss,
    l2: f64,
    n_dims: usize,
    /// Sorted by anchor, first, second.
    terms: Vec<Term>,
    /// The terms of anchor a are `terms[starts[a]..starts[a + 1]]`.
    starts: Vec<usize>,
    total_weight: f64,
    /// dist2 at first, then u, `[n, n]`.
    dissimilarity: Mat<f64>,
    /// du/d(dist2), `[n, n]`.
    slope: Mat<f64>,
    /// Column a holds dℓ/du(a, ·), then dℓ/d(dist2), then both directions summed, `[n, n]`.
    coefficient: Mat<f64>,
}

impl Objective {
    /// The objective of a set of comparisons, whose ids must be below `n_concepts`.
    ///
    /// # Errors
    /// [`Error::TooFew`] when the weights sum to nothing; see [`super::check_comparisons`] for what a comparison must
    /// be
    pub fn new(loss: Loss, l2: f64, n_concepts: usize, n_dims: usize, comparisons: &[Comparison]) -> Result<Self> {
        loss.check()?;
        super::check_comparisons(n_concepts, comparisons)?;
        let merged = merge(comparisons);
        let total_weight: f64 = merged.iter().map(|(_, term)| term.weight).sum();
        if merged.is_empty() {
            return Err(Error::TooFew { what: "comparisons with a weight".to_owned(), found: 0, needed: 1 });
        }
        let starts = (0..=n_concepts).map(|a| merged.partition_point(|(anchor, _)| (*anchor as usize) < a)).collect();
        let square = || Mat::zeros(n_concepts, n_concepts);
        Ok(Self {
            loss,
            l2,
            n_dims,
            terms: merged.into_iter().map(|(_, term)| term).collect(),
            starts,
            total_weight,
            dissimilarity: square(),
            slope: square(),
            coefficient: square(),
        })
    }

    /// The same objective with another penalty.
    #[must_use]
    pub fn with_l2(self, l2: f64) -> Self {
        Self { l2, ..self }
    }

    /// Σ w over the comparisons.
    pub fn total_weight(&self) -> f64 {
        self.total_weight
    }

    /// For each concept, whether a comparison with a weight names it; `[n_concepts]`.
    pub fn judged(&self) -> Vec<bool> {
        let mut judged: Vec<bool> = self.starts.windows(2).map(|w| w[0] < w[1]).collect();
        for term in &self.terms {
            judged[term.first as usize] = true;
            judged[term.second as usize] = true;
        }
        judged
    }

    /// Value at `x`, in the unit of [`Loss`]; fills in the gradient.
    ///
    /// dist2 = diag(G)1ᵀ + 1diag(G)ᵀ − 2G with G = X Xᵀ; with S = C + Cᵀ for C the coefficients dℓ/d(dist2),
    /// gradient = 2 (diag(S1) − S) X / Σw + (2 l2 / n) X.
    ///
    /// # Shapes
    /// `x`, `gradient`: `[n_concepts, dims]`, column by column
    pub fn evaluate(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        match self.loss {
            Loss::CrowdKernel { mu } => self.dispatch(Logarithm { mu }, Logistic::new(), x, gradient),
            Loss::Ste => self.dispatch(Squared, Logistic::new(), x, gradient),
            Loss::TSte { alpha } => self.dispatch(StudentLogarithm { alpha }, Logistic::new(), x, gradient),
            Loss::Soe { margin } => self.dispatch(Euclidean, SquaredHinge::new(margin), x, gradient),
            Loss::Gnmds { margin } => self.dispatch(Squared, Hinge::new(margin), x, gradient),
            Loss::LogisticDistance => self.dispatch(Euclidean, Logistic::new(), x, gradient),
        }
    }

    fn dispatch(&mut self, u: impl Dissimilarity, no_terms: impl LinkSum, x: &[f64], gradient: &mut [f64]) -> f64 {
        Arch::new().dispatch(Evaluate { objective: self, u, no_terms, x, gradient })
    }

    #[inline(always)]
    fn evaluate_here(&mut self, u: impl Dissimilarity, no_terms: impl LinkSum, x: &[f64], gradient: &mut [f64]) -> f64 {
        let n = self.slope.nrows();
        let coordinates = MatRef::from_column_major_slice(x, n, self.n_dims);
        self.fill_dissimilarities(u, coordinates);
        let loss = self.add_up_terms(no_terms);
        self.fill_laplacian();
        let into = MatMut::from_column_major_slice_mut(&mut *gradient, n, self.n_dims);
        product_into(into, self.coefficient.as_ref(), coordinates);
        let (scale, ridge) = (1.0 / self.total_weight, self.l2 / n as f64);
        gradient.iter_mut().zip(x).for_each(|(g, x)| *g = 2.0 * (scale * *g + ridge * x));
        scale * loss + ridge * dot(x, x)
    }

    #[inline(always)]
    fn fill_dissimilarities(&mut self, u: impl Dissimilarity, x: MatRef<'_, f64>) {
        product_into(self.dissimilarity.as_mut(), x, x.transpose());
        let n = self.slope.nrows();
        let squared_norms: Vec<f64> = (0..n).map(|i| self.dissimilarity[(i, i)]).collect();
        for j in 0..n {
            let (column, slopes) = (self.dissimilarity.col_as_slice_mut(j), self.slope.col_as_slice_mut(j));
            for (value, squared_norm) in column.iter_mut().zip(&squared_norms) {
                // Rounding can take the distance of coincident points below zero.
                *value = (squared_norm + squared_norms[j] - 2.0 * *value).max(0.0);
            }
            for (value, slope) in column.iter_mut().zip(slopes) {
                (*value, *slope) = u.at(*value);
            }
        }
    }

    /// Σ w (p ℓ(z) + (1 − p) ℓ(−z)); leaves its derivatives by u in the coefficients.
    #[inline(always)]
    fn add_up_terms(&mut self, no_terms: impl LinkSum) -> f64 {
        let mut total = 0.0;
        for anchor in 0..self.slope.nrows() {
            let u = self.dissimilarity.col_as_slice(anchor);
            let coefficients = self.coefficient.col_as_slice_mut(anchor);
            coefficients.fill(0.0);
            let mut sum = no_terms;
            for term in &self.terms[self.starts[anchor]..self.starts[anchor + 1]] {
                let (first, second) = (term.first as usize, term.second as usize);
                let derivative = term.weight * sum.add(u[first] - u[second], term.p_first, term.weight);
                coefficients[first] += derivative;
                coefficients[second] -= derivative;
            }
            total += sum.total();
        }
        total
    }

    /// From dℓ/du per (option, anchor) to diag(S1) − S.
    #[inline(always)]
    fn fill_laplacian(&mut self) {
        let n = self.slope.nrows();
        for j in 0..n {
            let slopes = self.slope.col_as_slice(j);
            self.coefficient.col_as_slice_mut(j).iter_mut().zip(slopes).for_each(|(c, slope)| *c *= slope);
        }
        for j in 0..n {
            for i in 0..j {
                let both = -(self.coefficient[(i, j)] + self.coefficient[(j, i)]);
                self.coefficient[(i, j)] = both;
                self.coefficient[(j, i)] = both;
            }
        }
        for j in 0..n {
            let column = self.coefficient.col_as_slice_mut(j);
            column[j] = 0.0;
            column[j] = -column.iter().sum::<f64>();
        }
    }
}

/// [`Objective::evaluate`], compiled for each loss, so that no term asks which it is, and for each vector extension that
/// faer's products may use.
///
/// The latter is about speed alone, by a factor of three. The kernels of those products leave the upper halves of the vector
/// registers in use, and while they are, every call of `ln` or `exp` costs 50 ns more. A loop over the product's
/// result, compiled for the same extension, ends by clearing them; so one follows each product.
struct Evaluate<'a, U, L> {
    objective: &'a mut Objective,
    u: U,
    no_terms: L,
    x: &'a [f64],
    gradient: &'a mut [f64],
}

impl<U: Dissimilarity, L: LinkSum> WithSimd for Evaluate<'_, U, L> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        self.objective.evaluate_here(self.u, self.no_terms, self.x, self.gradient)
    }
}

/// Comparisons with a weight as (anchor, term), sorted, one for each unordered triplet.
fn merge(comparisons: &[Comparison]) -> Vec<(u32, Term)> {
    let ordered = |c: &Comparison| {
        let (first, second, p_first) =
            if c.first < c.second { (c.first, c.second, c.p_first) } else { (c.second, c.first, 1.0 - c.p_first) };
        (c.anchor, Term { first, second, p_first, weight: c.weight })
    };
    let mut terms: Vec<(u32, Term)> = comparisons.iter().filter(|c| c.weight > 0.0).map(ordered).collect();
    let key = |(anchor, term): &(u32, Term)| (*anchor, term.first, term.second);
    terms.sort_unstable_by(|a, b| {
        let answers = a.1.p_first.total_cmp(&b.1.p_first).then(a.1.weight.total_cmp(&b.1.weight));
        key(a).cmp(&key(b)).then(answers)
    });
    let sum = |answers: &[(u32, Term)]| {
        let (anchor, term) = answers[0];
        if answers.len() == 1 {
            return (anchor, term);
        }
        let weight: f64 = answers.iter().map(|(_, t)| t.weight).sum();
        let p_first = answers.iter().map(|(_, t)| t.weight * t.p_first).sum::<f64>() / weight;
        (anchor, Term { p_first, weight, ..term })
    };
    terms.chunk_by(|a, b| key(a) == key(b)).map(sum).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn comparison(anchor: u32, first: u32, second: u32, p_first: f64) -> Comparison {
        Comparison { triplet: 0, anchor, first, second, p_first, weight: 1.0 }
    }

    fn value(loss: Loss, x: &[f64], n_dims: usize, comparisons: &[Comparison]) -> f64 {
        let mut objective = Objective::new(loss, 0.0, x.len() / n_dims, n_dims, comparisons).unwrap();
        objective.evaluate(x, &mut vec![0.0; x.len()])
    }

    #[test]
    fn one_triplet_by_hand() {
        // Points 0, 1 and 3 on a line: squared distances 1 and 9 from the first.
        let x = [0.0, 1.0, 3.0];
        let crowd_kernel = Loss::CrowdKernel { mu: 0.5 };
        let near = [comparison(0, 1, 2, 1.0)];
        assert!((value(crowd_kernel, &x, 1, &near) + (9.5_f64 / 11.0).ln()).abs() < 1e-14);
        let far = [comparison(0, 1, 2, 0.0)];
        assert!((value(crowd_kernel, &x, 1, &far) + (1.5_f64 / 11.0).ln()).abs() < 1e-14);
        // t-STE with α = 2: kernels (1 + 1/2)^-1.5 and (1 + 9/2)^-1.5.
        let (kernel_near, kernel_far) = (1.5_f64.powf(-1.5), 5.5_f64.powf(-1.5));
        let expected = -(kernel_near / (kernel_near + kernel_far)).ln();
        assert!((value(Loss::TSte { alpha: 2.0 }, &x, 1, &near) - expected).abs() < 1e-14);
        assert!((value(Loss::Ste, &x, 1, &near) - (-8.0_f64).exp().ln_1p()).abs() < 1e-15);
        assert_eq!(value(Loss::Gnmds { margin: 1.0 }, &x, 1, &near), 0.0);
        assert_eq!(value(Loss::Gnmds { margin: 1.0 }, &x, 1, &far), 9.0);
        assert_eq!(value(Loss::Gnmds { margin: 9.0 }, &x, 1, &near), 1.0);
        // Distances 1 and 3; the smoothing of 1e-9 is far below the tolerance's square root.
        assert!((value(Loss::LogisticDistance, &x, 1, &near) - (-2.0_f64).exp().ln_1p()).abs() < 1e-9);
        assert!((value(Loss::Soe { margin: 0.5 }, &x, 1, &far) - 2.5_f64.powi(2)).abs() < 1e-8);
    }

    #[test]
    fn swapping_options_and_merging_repeats_change_nothing() {
        let x = [0.3, -1.0, 2.0, 0.7, 0.1, -0.4, 0.9, 1.1];
        let (loss, a) = (Loss::LogisticDistance, comparison(0, 1, 2, 0.8));
        let swapped = comparison(0, 2, 1, 1.0 - 0.8);
        assert_eq!(value(loss, &x, 2, &[a]), value(loss, &x, 2, &[swapped]));
        let apart =
            (value(loss, &x, 2, &[comparison(0, 1, 2, 1.0)]) + value(loss, &x, 2, &[comparison(0, 1, 2, 0.0)])) / 2.0;
        let merged = value(loss, &x, 2, &[comparison(0, 1, 2, 1.0), comparison(0, 2, 1, 1.0)]);
        assert!((apart - merged).abs() < 1e-15);
    }

    #[test]
    fn coincident_and_distant_points_give_finite_numbers() {
        let losses = [
            Loss::CrowdKernel { mu: 0.0 },
            Loss::CrowdKernel { mu: 0.05 },
            Loss::Ste,
            Loss::TSte { alpha: 29.0 },
            Loss::Soe { margin: 0.1 },
            Loss::Gnmds { margin: 1.0 },
            Loss::LogisticDistance,
        ];
        for loss in losses {
            for x in [[1.0, 1.0, 1.0], [1.0, 1.0, 2.0], [0.0, 1e8, -3e8]] {
                let mut objective = Objective::new(loss, 1e-3, 3, 1, &[comparison(0, 1, 2, 0.3)]).unwrap();
                let mut gradient = [0.0; 3];
                let value = objective.evaluate(&x, &mut gradient);
                assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()), "{loss:?} at {x:?}");
            }
        }
    }

    #[test]
    fn nothing_to_fit_is_an_error() {
        let weightless = Comparison { weight: 0.0, ..comparison(0, 1, 2, 1.0) };
        let made = Objective::new(Loss::LogisticDistance, 0.0, 3, 1, &[weightless]);
        assert!(matches!(made, Err(Error::TooFew { .. })));
    }
}
