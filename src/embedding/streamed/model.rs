//! What answers cost at some coordinates, answer by answer, and where they pull the three concepts.

use faer::traits::pulp::{Arch, Simd, WithSimd};

use super::coordinates::{Coordinates, Lanes, WIDTH};
use super::spool::Spooled;
use crate::embedding::Loss;
use crate::embedding::dissimilarity::Dissimilarity;
use crate::embedding::link::{CHUNK, Link};
use crate::embedding::loss::WithLoss;
use crate::embedding::sparse::{credit, softmax};
use crate::presentations::Task;

/// What is minimised: the mean cost of the answers plus a penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Model {
    /// A loss on distances, of odd-one-out answers by way of two comparisons each, and (l2 / n_concepts) Σ ‖x‖².
    Distances { loss: Loss, task: Task, l2: f64 },
    /// SPoSE: non-negative coordinates and (λ / n_concepts) Σ x.
    DotProducts { lambda: f64 },
}

/// What some answers sum to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Tally {
    /// Σ w ℓ
    pub(super) loss: f64,
    /// Σ w
    pub(super) weight: f64,
    /// Σ w over those that the coordinates reproduce.
    pub(super) right: f64,
    /// Σ w over those that have a side.
    pub(super) sided: f64,
    /// Comparisons without one.
    pub(super) n_ties: usize,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.weight += other.weight;
        self.right += other.right;
        self.sided += other.sided;
        self.n_ties += other.n_ties;
    }

    pub(super) fn mean_loss(&self) -> f64 {
        self.loss / self.weight
    }

    /// Share of the answers reproduced; none when none has a side.
    pub(super) fn accuracy(&self) -> Option<f64> {
        (self.sided > 0.0).then(|| self.right / self.sided)
    }
}

/// Answers that are taken at once: they make at most [`CHUNK`] comparisons.
pub(super) const RUN: usize = CHUNK / 2;

/// dℓ/d(squared distance) or dℓ/d(dot product) of the pairs (0, 1), (0, 2), (1, 2) of an answer's ids.
pub(super) type Slopes = [f64; 3];

impl Model {
    /// The same with another penalty.
    pub(super) fn with_penalty(self, penalty: f64) -> Self {
        match self {
            Self::Distances { loss, task, .. } => Self::Distances { loss, task, l2: penalty },
            Self::DotProducts { .. } => Self::DotProducts { lambda: penalty },
        }
    }

    /// Terms of the mean loss that one answer makes.
    pub(super) fn n_terms(self) -> usize {
        match self {
            Self::Distances { task: Task::OddOneOut, .. } => 2,
            _ => 1,
        }
    }

    pub(super) fn penalty(self, x: &Coordinates) -> f64 {
        let n = x.n_concepts() as f64;
        match self {
            Self::Distances { l2, .. } => l2 / n * x.numbers().iter().map(|x| x * x).sum::<f64>(),
            Self::DotProducts { lambda } => lambda / n * x.numbers().iter().sum::<f64>(),
        }
    }

    /// Σ over at most [`RUN`] answers; fills in their slopes.
    pub(super) fn costs(self, x: &Coordinates, answers: &[Spooled], slopes: &mut [Slopes]) -> Tally {
        match self {
            Self::Distances { loss, task, .. } => loss.visit(Comparisons { task, x, answers, slopes }),
            Self::DotProducts { .. } => Arch::new().dispatch(|| dot_products(x, answers, slopes)),
        }
    }

    /// The gradient in one panel: `scale` times that of the answers' costs, plus the penalty's.
    pub(super) fn gradient(
        self,
        panel: &[Lanes],
        (answers, slopes): (&[Spooled], &[Slopes]),
        scale: f64,
        gradient: &mut [Lanes],
    ) {
        let n = panel.len() as f64;
        gradient.fill([0.0; WIDTH]);
        Arch::new().dispatch(|| match self {
            Self::Distances { l2, .. } => {
                pull(panel, answers, slopes, gradient, |[ab, ac, bc], [a, b, c]| {
                    let (to_b, to_c, across) = (ab * (a - b), ac * (a - c), bc * (b - c));
                    [2.0 * (to_b + to_c), 2.0 * (across - to_b), -2.0 * (to_c + across)]
                });
                let numbers = gradient.as_flattened_mut().iter_mut().zip(panel.as_flattened());
                numbers.for_each(|(g, x)| *g = scale * *g + 2.0 * l2 / n * x);
            }
            Self::DotProducts { lambda } => {
                pull(panel, answers, slopes, gradient, |[ab, ac, bc], [a, b, c]| {
                    [ab * b + ac * c, ab * a + bc * c, ac * a + bc * b]
                });
                gradient.as_flattened_mut().iter_mut().for_each(|g| *g = scale * *g + lambda / n);
            }
        });
    }

    /// Brings coordinates back to where they may be.
    pub(super) fn project(self, panel: &mut [Lanes]) {
        if let Self::DotProducts { .. } = self {
            panel.as_flattened_mut().iter_mut().for_each(|x| *x = x.max(0.0));
        }
    }
}

/// Adds what each answer does to its three concepts in one panel, in the order of the answers.
#[inline(always)]
fn pull(
    panel: &[Lanes],
    answers: &[Spooled],
    slopes: &[Slopes],
    gradient: &mut [Lanes],
    of: impl Fn(Slopes, [f64; 3]) -> [f64; 3],
) {
    for (answer, slopes) in answers.iter().zip(slopes) {
        let ids = answer.ids.map(|id| id as usize);
        let [a, b, c] = ids.map(|id| panel[id]);
        let mut pulls = [[0.0; WIDTH]; 3];
        for k in 0..WIDTH {
            let at = of(*slopes, [a[k], b[k], c[k]]);
            (pulls[0][k], pulls[1][k], pulls[2][k]) = (at[0], at[1], at[2]);
        }
        for (id, pull) in ids.into_iter().zip(pulls) {
            gradient[id].iter_mut().zip(pull).for_each(|(g, pull)| *g += pull);
        }
    }
}

/// [`Model::costs`] by distances, compiled for each loss and each vector extension.
struct Comparisons<'a> {
    task: Task,
    x: &'a Coordinates,
    answers: &'a [Spooled],
    slopes: &'a mut [Slopes],
}

impl WithLoss for Comparisons<'_> {
    type Output = Tally;

    fn with<U: Dissimilarity, L: Link>(self, u: U, link: L) -> Tally {
        Arch::new().dispatch(Compiled { of: self, u, link })
    }
}

struct Compiled<'a, U, L> {
    of: Comparisons<'a>,
    u: U,
    link: L,
}

impl<U: Dissimilarity, L: Link> WithSimd for Compiled<'_, U, L> {
    type Output = Tally;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Tally {
        let Comparisons { task, x, answers, slopes } = self.of;
        let n = answers.len();
        let n_terms = if task == Task::Anchored { n } else { 2 * n };
        let (mut z, mut p_first, mut weight) = ([0.0; CHUNK], [1.0; CHUNK], [0.0; CHUNK]);
        let mut tally = Tally::default();
        for (at, (answer, slopes)) in answers.iter().zip(slopes.iter_mut()).enumerate() {
            let mut u = [0.0; 3];
            let dist2 = x.pairs(answer.ids, |a, b| (a - b) * (a - b));
            for pair in 0..3 {
                (u[pair], slopes[pair]) = self.u.at::<S>(dist2[pair]);
            }
            // (a: b over c), and of odd-one-out answers (b: a over c).
            for (term, other) in [(at, 1), (n + at, 2)].into_iter().take(n_terms / n) {
                z[term] = u[0] - u[other];
                p_first[term] = answer.p_first;
                weight[term] = answer.weight;
                if answer.p_first == 0.5 {
                    tally.n_ties += 1;
                } else {
                    tally.sided += answer.weight;
                    tally.right += answer.weight * side(dist2[0], dist2[other]);
                }
            }
        }
        tally.weight = weight[..n_terms].iter().sum();
        tally.loss = self.link.cost::<S>(&mut z[..n_terms], &p_first[..n_terms], &weight[..n_terms]);
        for (at, slopes) in slopes.iter_mut().enumerate() {
            let (one, other) = (z[at], if task == Task::Anchored { 0.0 } else { z[n + at] });
            slopes[0] *= one + other;
            slopes[1] *= -one;
            slopes[2] *= -other;
        }
        tally
    }
}

/// 1 where the option in front is nearer; half where both are as near.
fn side(near: f64, far: f64) -> f64 {
    if near < far {
        1.0
    } else if near == far {
        0.5
    } else {
        0.0
    }
}

/// [`Model::costs`] by dot products: the odd concept is the last, and the pair of the first two is left.
#[inline(always)]
fn dot_products(x: &Coordinates, answers: &[Spooled], slopes: &mut [Slopes]) -> Tally {
    let mut tally = Tally::default();
    for (answer, slopes) in answers.iter().zip(slopes) {
        let similarities = x.pairs(answer.ids, |a, b| a * b);
        let (mut p, loss) = softmax(similarities, 0);
        p[0] -= 1.0;
        *slopes = p.map(|p| answer.weight * p);
        tally.loss += answer.weight * loss;
        tally.weight += answer.weight;
        tally.right += answer.weight * credit(similarities, 0);
    }
    tally.sided = tally.weight;
    tally
}
