//! The objective of a fit: the mean loss over comparisons, and its gradient in `[n_concepts, dims]` coordinates.
//!
//! An evaluation goes twice over blocks of concepts. The first pass takes the squared distances from each anchor to the
//! options in its list through u, lets the anchor's terms look their two values up, and leaves dℓ/d(dist2) in a
//! coefficient for each entry of the list. The second gathers what the coefficients make of each concept's gradient. What
//! the lists are, all concepts or only those that a term names, is the layout's choice and nothing to the terms.
//!
//! Blocks depend on the data alone and are summed in order, so the numbers are the same on any number of threads. A small
//! set is one block and stays on its thread.

mod dense;
mod pairs;
mod ratio;
mod terms;

use std::ops::Range;
use std::sync::Arc;

use faer::traits::pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::dissimilarity::Dissimilarity;
use super::link::{CHUNK, Link};
use super::loss::WithLoss;
use super::{Comparison, Loss};
use crate::error::{Error, Result};
use crate::linalg::dot;
use pairs::{Pairs, Rows};
use ratio::Ratio;
use terms::Terms;

/// The mean loss over weighted comparisons plus an L2 penalty, as a function of the coordinates.
///
/// f(X) = Σ w (p ℓ(z) + (1 − p) ℓ(−z)) / Σ w + (l2 / n) Σ_i ‖x_i‖²,  z = u(anchor, first) − u(anchor, second)
///
/// Copies share the terms; scratch memory lives in each of them, so that one objective serves one fit at a time.
#[derive(Debug, Clone)]
pub struct Objective {
    loss: Loss,
    l2: f64,
    n_dims: usize,
    data: Arc<Data>,
    /// dℓ/d(dist2) for each entry of the lists, anchor by anchor.
    coefficients: Vec<f64>,
}

/// What evaluations read.
#[derive(Debug)]
struct Data {
    terms: Terms,
    lists: Lists,
    /// Weight of the answers against each entry of the lists; empty for losses that do not ask.
    against: Vec<f64>,
    /// Concepts in consecutive blocks of about the same work.
    blocks: Vec<Range<usize>>,
}

/// Which options an anchor has a distance to.
#[derive(Debug)]
enum Lists {
    /// All concepts, in order.
    Dense,
    /// Those that a term names.
    Pairs(Pairs),
}

/// How an objective keeps its pairs. Both layouts give the same numbers, up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All pairs of concepts, by products of matrices.
    Dense,
    /// The pairs of anchor and option that occur.
    Pairs,
}

/// All pairs are cheaper than those that occur while they are at most this many times as many: products of matrices take
/// a pair that much faster than gathered rows do. In 30 dimensions dense is 2.6 times as fast at a ratio of 3 (1,854
/// concepts, 800,000 triplets) and half as fast at 18 (100,000 triplets); `cargo bench --bench mathematics` has both.
const PAIRS_CROSSOVER: usize = 8;

/// So many pairs take less time than to find out which of them occur.
const FEW_PAIRS: usize = 1 << 15;

/// Entries and terms of a block: some hundred microseconds, and an anchor's part of the matrices stays in the cache.
const BLOCK_WORK: usize = 1 << 17;

impl Objective {
    /// The objective of a set of comparisons, whose ids must be below `n_concepts`.
    ///
    /// # Errors
    /// [`Error::TooFew`] when the weights sum to nothing; see [`super::check_comparisons`] for what a comparison must
    /// be
    pub fn new(loss: Loss, l2: f64, n_concepts: usize, n_dims: usize, comparisons: &[Comparison]) -> Result<Self> {
        loss.check()?;
        super::check_comparisons(n_concepts, comparisons)?;
        Self::weighted(loss, l2, n_concepts, n_dims, comparisons, |place| comparisons[place].weight)
    }

    /// The objective of comparisons that were checked, with other weights: `weight` of the place of each. A weight of 0
    /// leaves a comparison out, which takes no copy of the others.
    ///
    /// # Errors
    /// [`Error::TooFew`] when the weights sum to nothing
    pub(super) fn weighted(
        loss: Loss,
        l2: f64,
        n_concepts: usize,
        n_dims: usize,
        comparisons: &[Comparison],
        weight: impl Fn(usize) -> f64,
    ) -> Result<Self> {
        let mut terms = Terms::new(n_concepts, comparisons, weight);
        if terms.len() == 0 {
            return Err(Error::TooFew { what: "comparisons with a weight".to_owned(), found: 0, needed: 1 });
        }
        let n_all = n_concepts.saturating_mul(n_concepts);
        let lists = if n_all <= FEW_PAIRS {
            Lists::Dense
        } else {
            let pairs = Pairs::of(&terms);
            let dense = n_all <= PAIRS_CROSSOVER * pairs.len();
            if dense { Lists::Dense } else { Lists::Pairs(pairs.number(&mut terms)) }
        };
        Ok(Self { loss, l2, n_dims, data: Arc::new(Data::new(loss, terms, lists)), coefficients: vec![] })
    }

    /// The same objective in a layout that was not chosen by its size.
    #[must_use]
    pub fn with_layout(self, layout: Layout) -> Self {
        let mut terms = self.data.terms.clone();
        if let Lists::Pairs(pairs) = &self.data.lists {
            pairs.name(&mut terms);
        }
        let lists = match layout {
            Layout::Dense => Lists::Dense,
            Layout::Pairs => Lists::Pairs(Pairs::of(&terms).number(&mut terms)),
        };
        Self { data: Arc::new(Data::new(self.loss, terms, lists)), coefficients: vec![], ..self }
    }

    /// The same objective with another penalty.
    #[must_use]
    pub fn with_l2(self, l2: f64) -> Self {
        Self { l2, ..self }
    }

    /// The layout in use: by its numbers, the one that costs less.
    pub fn layout(&self) -> Layout {
        match self.data.lists {
            Lists::Dense => Layout::Dense,
            Lists::Pairs(_) => Layout::Pairs,
        }
    }

    /// Σ w over the comparisons.
    pub fn total_weight(&self) -> f64 {
        self.data.terms.total_weight
    }

    /// For each concept, whether a comparison with a weight names it; `[n_concepts]`.
    pub fn judged(&self) -> &[bool] {
        &self.data.terms.judged
    }

    /// Value at `x`, in the unit of [`Loss`]; fills in the gradient.
    ///
    /// gradient_i = 2 Σ_j (c_ij + c_ji) (x_i − x_j) / Σw + (2 l2 / n) x_i for the coefficients c = dℓ/d(dist2). Both are
    /// NaN where squares of the coordinates would leave the range of numbers.
    ///
    /// # Shapes
    /// `x`, `gradient`: `[n_concepts, dims]`, column by column
    pub fn evaluate(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        self.run(x, Some(gradient))
    }

    /// Value at `x` alone, for half the work.
    pub(super) fn value(&mut self, x: &[f64]) -> f64 {
        self.run(x, None)
    }

    fn run(&mut self, x: &[f64], gradient: Option<&mut [f64]>) -> f64 {
        let loss = self.loss;
        let evaluation = Evaluation { objective: self, x, gradient };
        match loss {
            Loss::CrowdKernel { mu } => evaluation.run(Ratio { mu }),
            loss => loss.visit(evaluation),
        }
    }
}

/// [`Objective::evaluate`], compiled for each loss.
struct Evaluation<'a> {
    objective: &'a mut Objective,
    x: &'a [f64],
    gradient: Option<&'a mut [f64]>,
}

impl WithLoss for Evaluation<'_> {
    type Output = f64;

    fn with<U: Dissimilarity, L: Link>(self, u: U, link: L) -> f64 {
        self.run(Difference { u, link })
    }
}

impl Evaluation<'_> {
    fn run(self, form: impl Form) -> f64 {
        let Self { objective, x, gradient } = self;
        let data = &*objective.data;
        let n = data.n_concepts();
        assert_eq!(x.len(), n * objective.n_dims, "coordinates have the objective's shape");
        let squares = dot(x, x);
        if !squares.is_finite() || squares > LARGEST_SQUARES {
            gradient.into_iter().flatten().for_each(|g| *g = f64::NAN);
            return f64::NAN;
        }
        objective.coefficients.resize(data.list(0..n).len(), 0.0); // by the first evaluation alone
        let points = Points::new(&data.lists, x, n);

        let mut rest = &mut objective.coefficients[..];
        let blocks = data.blocks.iter().map(|block| {
            let (coefficients, after) = std::mem::take(&mut rest).split_at_mut(data.list(block.clone()).len());
            rest = after;
            (block.clone(), coefficients)
        });
        let losses = in_order(blocks.collect(), |(block, coefficients)| {
            Arch::new().dispatch(Losses { data, points: &points, form, block, coefficients })
        });
        let (scale, ridge) = (1.0 / data.terms.total_weight, objective.l2 / n as f64);
        if let Some(gradient) = gradient {
            let coefficients = &objective.coefficients[..];
            let pulls = in_order(data.blocks.clone(), |block| {
                Arch::new().dispatch(Pulls { points: &points, coefficients, block })
            });
            for (block, pulls) in data.blocks.iter().zip(&pulls) {
                for (k, pulls) in pulls.chunks_exact(block.len()).enumerate() {
                    let place = k * n + block.start..k * n + block.end;
                    for ((g, x), pull) in gradient[place.clone()].iter_mut().zip(&x[place]).zip(pulls) {
                        *g = 2.0 * (scale * pull + ridge * x);
                    }
                }
            }
        }
        scale * losses.iter().sum::<f64>() + ridge * squares
    }
}

/// Squared distances stay far below what a logarithm or a square of them can take.
const LARGEST_SQUARES: f64 = 1e140;

/// The results of jobs in their order, by all threads when there are several jobs.
fn in_order<J: Send, T: Send>(mut jobs: Vec<J>, work: impl Fn(J) -> T + Send + Sync) -> Vec<T> {
    match jobs.len() {
        1 => jobs.drain(..).map(work).collect(), // nothing to share: no other thread is woken
        _ => jobs.into_par_iter().map(work).collect(),
    }
}

impl Data {
    fn new(loss: Loss, terms: Terms, lists: Lists) -> Self {
        let n = terms.n_concepts();
        let mut data = Self { terms, lists, against: vec![], blocks: vec![] };
        if let Loss::CrowdKernel { .. } = loss {
            data.against = ratio::against(&data);
        }
        let work = data.list(0..n).len() + data.terms.len();
        let size = n.div_ceil((work / BLOCK_WORK).max(1));
        data.blocks = (0..n).step_by(size).map(|start| start..(start + size).min(n)).collect();
        data
    }

    fn n_concepts(&self) -> usize {
        self.terms.n_concepts()
    }

    /// The entries of some anchors' lists.
    #[inline(always)]
    fn list(&self, anchors: Range<usize>) -> Range<usize> {
        match &self.lists {
            Lists::Dense => anchors.start * self.n_concepts()..anchors.end * self.n_concepts(),
            Lists::Pairs(pairs) => pairs.starts[anchors.start]..pairs.starts[anchors.end],
        }
    }
}

/// The lists, and the coordinates as they want them.
enum Points<'a> {
    Dense { points: Vec<f64>, squared_norms: Vec<f64> },
    Pairs(&'a Pairs, Rows),
}

impl<'a> Points<'a> {
    fn new(lists: &'a Lists, x: &[f64], n: usize) -> Self {
        match lists {
            Lists::Dense => {
                let mut squared_norms = vec![0.0; n];
                for column in x.chunks_exact(n) {
                    squared_norms.iter_mut().zip(column).for_each(|(sum, x)| *sum += x * x);
                }
                Self::Dense { points: dense::points(x, n), squared_norms }
            }
            Lists::Pairs(pairs) => Self::Pairs(pairs, Rows::new(x, n)),
        }
    }
}

/// The losses of a block of anchors; fills in their coefficients.
///
/// Compiled for each loss, so that no term asks which it is, and for each vector extension.
struct Losses<'a, F> {
    data: &'a Data,
    points: &'a Points<'a>,
    form: F,
    block: Range<usize>,
    coefficients: &'a mut [f64],
}

impl<F: Form> WithSimd for Losses<'_, F> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let Self { data, points, form, block, coefficients } = self;
        match points {
            Points::Dense { points, squared_norms } => {
                dense::dist2(points, squared_norms, block.clone(), coefficients);
            }
            Points::Pairs(pairs, rows) => pairs.dist2(rows, block.clone(), coefficients),
        }
        let longest = block.clone().map(|anchor| data.list(anchor..anchor + 1).len()).max().unwrap_or(0);
        let mut scratch = [vec![0.0; longest], vec![0.0; longest]];
        let (mut total, mut done) = (0.0, 0);
        for anchor in block {
            let list = data.list(anchor..anchor + 1);
            let entries = &mut coefficients[done..done + list.len()];
            done += list.len();
            total += form.cost::<S>(data, anchor, entries, scratch.each_mut().map(|s| &mut s[..list.len()]));
        }
        total
    }
}

/// What the terms of an anchor cost, given its squared distances.
trait Form: Copy + Send + Sync {
    /// The anchor's loss; takes dist2 from the entries of its list and leaves dℓ/d(dist2) there. `scratch` is two slices of
    /// the same length, holding anything.
    fn cost<S: Simd>(self, data: &Data, anchor: usize, entries: &mut [f64], scratch: [&mut [f64]; 2]) -> f64;
}

/// A link of a difference of dissimilarities.
#[derive(Clone, Copy)]
struct Difference<U, L> {
    u: U,
    link: L,
}

impl<U: Dissimilarity, L: Link> Form for Difference<U, L> {
    #[inline(always)]
    fn cost<S: Simd>(self, data: &Data, anchor: usize, entries: &mut [f64], [values, slopes]: [&mut [f64]; 2]) -> f64 {
        for ((entry, value), slope) in entries.iter_mut().zip(values.iter_mut()).zip(slopes.iter_mut()) {
            (*value, *slope) = self.u.at::<S>(*entry);
            *entry = 0.0;
        }
        let total = add_up_terms::<S>(&data.terms, anchor, self.link, values, entries);
        entries.iter_mut().zip(slopes).for_each(|(entry, slope)| *entry *= *slope);
        total
    }
}

/// Σ w (p ℓ(z) + (1 − p) ℓ(−z)) over the terms of an anchor; adds their derivatives by u to the coefficients.
#[inline(always)]
fn add_up_terms<S: Simd>(terms: &Terms, anchor: usize, link: impl Link, u: &[f64], coefficients: &mut [f64]) -> f64 {
    let (mut z, mut p_first, mut weight) = ([0.0; CHUNK], [0.0; CHUNK], [0.0; CHUNK]);
    let mut total = 0.0;
    let all = terms.of(anchor);
    for start in all.clone().step_by(CHUNK) {
        let chunk = start..(start + CHUNK).min(all.end);
        let options = || terms.first[chunk.clone()].iter().zip(&terms.second[chunk.clone()]);
        let (z, p_first, weight) = (&mut z[..chunk.len()], &mut p_first[..chunk.len()], &mut weight[..chunk.len()]);
        for (z, (first, second)) in z.iter_mut().zip(options()) {
            *z = u[*first as usize] - u[*second as usize];
        }
        terms.p_first.copy(chunk.clone(), p_first);
        terms.weight.copy(chunk.clone(), weight);
        total += link.cost::<S>(z, p_first, weight);
        for (derivative, (first, second)) in z.iter().zip(options()) {
            coefficients[*first as usize] += derivative;
            coefficients[*second as usize] -= derivative;
        }
    }
    total
}

/// What the coefficients make of the gradients of a block of concepts, before scaling; `[block, dims]`, column by column.
struct Pulls<'a> {
    points: &'a Points<'a>,
    coefficients: &'a [f64],
    block: Range<usize>,
}

impl WithSimd for Pulls<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f64> {
        match self.points {
            Points::Dense { points, .. } => dense::pull(points, self.coefficients, self.block),
            Points::Pairs(pairs, rows) => pairs.pull(rows, self.coefficients, self.block),
        }
    }
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
    fn both_layouts_give_the_same_numbers() {
        let losses = [
            Loss::CrowdKernel { mu: 0.05 },
            Loss::Ste,
            Loss::TSte { alpha: 3.0 },
            Loss::Soe { margin: 0.1 },
            Loss::Gnmds { margin: 1.0 },
            Loss::LogisticDistance,
        ];
        let (n, n_dims) = (40, 11);
        let mut state = 1_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut answers = vec![];
        while answers.len() < 300 {
            let [anchor, first, second] = [(); 3].map(|()| draw(n as u64 - 1)).map(|id| u32::try_from(id).unwrap()); // one is never judged
            if anchor != first && anchor != second && first != second {
                let (p_first, weight) = (draw(101) as f64 / 100.0, 1.0 + draw(3) as f64);
                answers.push(Comparison { weight, ..comparison(anchor, first, second, p_first) });
            }
        }
        let x: Vec<f64> = (0..n * n_dims).map(|_| draw(1000) as f64 / 500.0 - 1.0).collect();
        for loss in losses {
            let objective = Objective::new(loss, 0.01, n, n_dims, &answers).unwrap();
            assert_eq!(objective.layout(), Layout::Dense);
            let layouts = [objective.clone(), objective.with_layout(Layout::Pairs)];
            let back = layouts[1].clone().with_layout(Layout::Dense);
            let [dense, pairs, back] = [layouts[0].clone(), layouts[1].clone(), back].map(|mut objective| {
                let mut gradient = vec![0.0; x.len()];
                (objective.evaluate(&x, &mut gradient), gradient)
            });
            assert!((dense.0 / pairs.0 - 1.0).abs() < 1e-12, "{loss:?}: {} and {}", dense.0, pairs.0);
            let largest = dense.1.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
            for (a, b) in dense.1.iter().zip(&pairs.1) {
                assert!((a - b).abs() < 1e-12 * largest, "{loss:?}: {a} and {b}");
            }
            assert_eq!(dense, back);
        }
    }

    #[test]
    fn nothing_to_fit_is_an_error() {
        let weightless = Comparison { weight: 0.0, ..comparison(0, 1, 2, 1.0) };
        let made = Objective::new(Loss::LogisticDistance, 0.0, 3, 1, &[weightless]);
        assert!(matches!(made, Err(Error::TooFew { .. })));
    }
}
