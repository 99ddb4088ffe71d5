//! t-SNE by gradient descent over all pairs.

use faer::{Mat, MatRef};

use super::affinities::Affinities;
use super::forces::Forces;
use crate::error::Result;
use crate::linalg::pca;

/// What a t-SNE map depends on, beside the embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TsneSettings {
    /// The effective number of neighbours of a concept.
    pub perplexity: f64,
    /// Steps at most.
    pub max_iterations: usize,
}

impl TsneSettings {
    /// Perplexity 30, or a third of the others when they are fewer than 90; up to 1,000 steps.
    pub fn for_concepts(n_concepts: usize) -> Self {
        let others = n_concepts.saturating_sub(1) as f64;
        Self { perplexity: (others / 3.0).clamp(1.0, 30.0), max_iterations: 1000 }
    }
}

/// A map, and how it was come by.
#[derive(Debug, Clone)]
pub struct Tsne {
    /// `[n_concepts, 2]`, centred; distances have no unit.
    pub coordinates: Mat<f64>,
    /// Kullback–Leibler divergence of the map's neighbourhoods from the embedding's.
    pub kl_nats: f64,
    /// The perplexity asked for.
    pub perplexity: f64,
    /// Concepts whose neighbourhood is larger than that, see [`Affinities::n_crowded`].
    pub n_crowded: usize,
    /// Steps taken.
    pub n_iterations: usize,
    /// Whether the descent came to rest before the last step it was allowed.
    pub converged: bool,
}

/// P counts so many times at most in the first steps, so that clusters gather before they must keep apart.
const EXAGGERATION: f64 = 12.0;
/// The steps in which it does.
const EXAGGERATED: usize = 250;
/// The map begins as small as this: sd of the first principal component.
const FIRST_SD: f64 = 1e-4;
/// At rest: norm of the gradient, each coordinate with its gain.
const AT_REST: f64 = 1e-7;
/// Steps from one look at the divergence to the next.
const LOOK: usize = 50;
/// At rest as well: a look finds the divergence lower by no more than this part of it.
const NO_PROGRESS: f64 = 1e-5;

/// The t-SNE map of an embedding: the places in two dimensions whose neighbourhoods diverge least from the embedding's.
///
/// Starts at the first two principal components; descends the gradient over all pairs ([`Affinities::divergence`]) with
/// momentum and a gain for each coordinate, as scikit-learn's exact method does, whose exaggeration in the first steps, 12, and
/// learning rate, max(n / 12 / 4, 50), are upper bounds here. While a map is small, exaggeration e turns the growth of a component
/// into shrinking once it passes a balance that the neighbourhoods have (few groups: 30; no groups: 2 to 4). Past it everything is
/// pulled into one knot that opens badly or never: so e is at most half the balance of the first component, and the rate at
/// most n / e where that is below 50. Over 24 embeddings of 60 and 128 concepts the divergence was 9 % higher with 12.
///
/// The same embedding gives the same bytes on any number of threads; one that was turned gives the same map up to rounding, which
/// a long descent can grow into another map of the same divergence; an embedding of one dimension stays on a line. Time is
/// n² · iterations and memory n² numbers: for up to some 5,000 concepts.
///
/// A map shows who is whose neighbour. Distances between clusters, and their sizes, mean little.
///
/// # Shapes
/// `x`: `[n_concepts, dims]`
/// # Errors
/// as for [`Affinities::new`]
/// # Source
/// van der Maaten & Hinton (2008), Visualizing data using t-SNE; the start and the learning rate: Kobak & Berens (2019), The
/// art of using t-SNE for single-cell transcriptomics; Belkina et al. (2019)
///
/// ```
/// use alike::map::{TsneSettings, tsne};
/// let x = faer::Mat::from_fn(20, 3, |i, k| (10 * (i / 10)) as f64 + ((i * 7 + k * 5) % 11) as f64 / 11.0);
/// let map = tsne(x.as_ref(), &TsneSettings::for_concepts(20))?;
/// let place = |i: usize| map.coordinates[(i, 0)];
/// // Two groups of ten lie on two sides.
/// assert!((0..10).all(|i| place(i) * place(10 + i) < 0.0));
/// # Ok::<(), alike::Error>(())
/// ```
pub fn tsne(x: MatRef<'_, f64>, settings: &TsneSettings) -> Result<Tsne> {
    let affinities = Affinities::new(x, settings.perplexity)?;
    let n = x.nrows();
    let mut y = start(x)?;
    let mut forces = Forces::new(n);
    let early = (balance(&affinities, &y) / 2.0).clamp(1.0, EXAGGERATION);
    // Where scikit-learn's least rate would throw the few concepts of a small map about.
    let rate = (n as f64 / EXAGGERATION / 4.0).max((n as f64 / early).min(50.0));
    let mut motion = Motion::new(n);
    let mut last_kl = f64::INFINITY;
    let (mut n_iterations, mut converged) = (0, false);
    while n_iterations < settings.max_iterations && !converged {
        if n_iterations == EXAGGERATED {
            motion = Motion::new(n); // the forces are others from here on
        }
        let (exaggeration, momentum) = if n_iterations < EXAGGERATED { (early, 0.5) } else { (1.0, 0.8) };
        forces.at(&affinities, &y);
        let norm = motion.step(&mut y, rate, momentum, |i| forces.gradient(i, exaggeration));
        n_iterations += 1;
        if n_iterations > EXAGGERATED && n_iterations.is_multiple_of(LOOK) {
            // Where the step began: its sums are at hand.
            let kl = forces.divergence(&affinities);
            converged = norm <= AT_REST || (last_kl - kl).abs() <= NO_PROGRESS * kl;
            last_kl = kl;
        }
    }
    forces.at(&affinities, &y);
    Ok(Tsne {
        kl_nats: forces.divergence(&affinities),
        coordinates: Mat::from_fn(n, 2, |i, k| y[i][k]),
        perplexity: settings.perplexity,
        n_crowded: affinities.n_crowded(),
        n_iterations,
        converged,
    })
}

/// The exaggeration of P under which the first column of a small map neither grows nor shrinks.
///
/// There all w_ij are about 1 and q_ij about 1 / (n (n − 1)), and the gradient along the column y is
/// 4 (e Σ_i<j p_ij (y_i − y_j)² − Σ y_i² / (n − 1)).
fn balance(affinities: &Affinities, y: &[[f64; 2]]) -> f64 {
    let squares: f64 = y.iter().map(|y| y[0] * y[0]).sum();
    let of_row = |i: usize| -> f64 {
        affinities.row(i).iter().zip(y).map(|(p, to)| p * (y[i][0] - to[0]) * (y[i][0] - to[0])).sum()
    };
    let pull: f64 = (0..y.len()).map(of_row).sum::<f64>() / 2.0;
    squares / (y.len() - 1) as f64 / pull
}

/// How the concepts move: each coordinate has a speed, and a gain that grows while the gradient keeps its sign.
struct Motion {
    speed: Vec<[f64; 2]>,
    gain: Vec<[f64; 2]>,
}

impl Motion {
    fn new(n: usize) -> Self {
        Self { speed: vec![[0.0; 2]; n], gain: vec![[1.0; 2]; n] }
    }

    /// Moves all of them once; the norm of the gradient, each coordinate with its gain.
    fn step(&mut self, y: &mut [[f64; 2]], rate: f64, momentum: f64, gradient: impl Fn(usize) -> [f64; 2]) -> f64 {
        let mut squares = 0.0;
        for i in 0..y.len() {
            let gradient = gradient(i);
            for k in 0..2 {
                let (speed, gain) = (&mut self.speed[i][k], &mut self.gain[i][k]);
                *gain = if *speed * gradient[k] < 0.0 { *gain + 0.2 } else { (*gain * 0.8).max(0.01) };
                let slope = *gain * gradient[k];
                squares += slope * slope;
                *speed = momentum * *speed - rate * slope;
                y[i][k] += *speed;
            }
        }
        squares.sqrt()
    }
}

/// The first two principal components, scaled so that the first has the sd [`FIRST_SD`].
fn start(x: MatRef<'_, f64>) -> Result<Vec<[f64; 2]>> {
    let pca = pca(x, 2)?;
    let scale = FIRST_SD / pca.variances[0].sqrt();
    let place = |i: usize| [0, 1].map(|k| if k < pca.scores.ncols() { scale * pca.scores[(i, k)] } else { 0.0 });
    Ok((0..x.nrows()).map(place).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_square_by_hand() {
        // The corners of a simplex pick evenly, p = 1/12; a square of side 1 has w = 1/2 four times and 1/3 twice.
        let simplex = Mat::from_fn(4, 4, |i, k| f64::from(i == k));
        let affinities = Affinities::new(simplex.as_ref(), 1.0).unwrap();
        let (kl, gradient) = affinities.divergence(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]);
        let z: f64 = 8.0 / 2.0 + 4.0 / 3.0;
        let (side, diagonal): (f64, f64) = (1.0 / 2.0 / z, 1.0 / 3.0 / z);
        let expected = (8.0 * (1.0 / 12.0 / side).ln() + 4.0 * (1.0 / 12.0 / diagonal).ln()) / 12.0;
        assert!((kl - expected).abs() < 1e-15);
        let pull = -4.0 * ((1.0 / 12.0 - side) / 2.0 + (1.0 / 12.0 - diagonal) / 3.0);
        assert!((gradient[0][0] - pull).abs() < 1e-15 && (gradient[2][1] + pull).abs() < 1e-15);
    }

    #[test]
    fn components_grow_below_their_balance_and_shrink_above() {
        let x = Mat::from_fn(40, 5, |i, k| ((i * 31 + k * 17 + i * i) % 23) as f64);
        let affinities = Affinities::new(x.as_ref(), 8.0).unwrap();
        let y: Vec<[f64; 2]> = start(x.as_ref()).unwrap().iter().map(|y| [y[0], 0.0]).collect();
        let balance = balance(&affinities, &y);
        let mut forces = Forces::new(40);
        forces.at(&affinities, &y);
        let along = |e: f64| (0..40).map(|i| forces.gradient(i, e)[0] * y[i][0]).sum::<f64>();
        assert!(along(0.999 * balance) < 0.0 && along(1.001 * balance) > 0.0 && balance > 1.0);
    }

    #[test]
    fn the_start_is_small() {
        let x = Mat::from_fn(50, 4, |i, k| ((i * 31 + k * 17) % 23) as f64);
        let y = start(x.as_ref()).unwrap();
        let variance = |k: usize| y.iter().map(|y| y[k] * y[k]).sum::<f64>() / 50.0;
        assert!((variance(0).sqrt() / FIRST_SD - 1.0).abs() < 1e-12 && variance(1) < variance(0));
    }

    #[test]
    fn one_dimension_stays_on_a_line() {
        let line = Mat::from_fn(9, 1, |i, _| (i * i) as f64);
        let map = tsne(line.as_ref(), &TsneSettings::for_concepts(9)).unwrap();
        assert!((0..9).all(|i| map.coordinates[(i, 1)] == 0.0));
        assert!((0..9).any(|i| map.coordinates[(i, 0)].abs() > 1.0));
    }

    #[test]
    fn what_was_not_finished_is_not_called_so() {
        let x = Mat::from_fn(20, 4, |i, k| ((i * 31 + k * 17) % 23) as f64);
        let map = |max_iterations| {
            tsne(x.as_ref(), &TsneSettings { max_iterations, ..TsneSettings::for_concepts(20) }).unwrap()
        };
        let (early, late) = (map(260), map(2000));
        assert!(!early.converged && early.n_iterations == 260 && late.converged && late.n_iterations < 2000);
        assert!(late.kl_nats < early.kl_nats);
    }
}
