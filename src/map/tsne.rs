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

/// P counts so many times in the first steps, so that clusters gather before they must keep apart.
const EXAGGERATION: f64 = 12.0;
/// The steps in which it does.
const EXAGGERATED: usize = 250;
/// The map begins as small as this: sd of the first principal component.
const FIRST_SD: f64 = 1e-4;
/// At rest: norm of the gradient.
const AT_REST: f64 = 1e-7;
/// Steps from one look at the divergence to the next.
const LOOK: usize = 50;
/// At rest as well: steps without a new lowest divergence.
const NO_PROGRESS: usize = 300;

/// The t-SNE map of an embedding: the places in two dimensions whose neighbourhoods diverge least from the embedding's.
///
/// Starts at the first two principal components; descends the gradient over all pairs ([`Affinities::divergence`]) with
/// momentum, a gain for each coordinate and the learning rate max(n / 12 / 4, 50), as scikit-learn's exact method does. The
/// same embedding gives the same bytes on any number of threads; an embedding of one dimension stays on a line. Time is
/// n² · iterations, memory n² numbers, for up to some 5,000 concepts.
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
    let mut speed = vec![[0.0; 2]; n];
    let mut gain = vec![[1.0_f64; 2]; n];
    let rate = (n as f64 / EXAGGERATION / 4.0).max(50.0);
    let (mut lowest, mut lowest_at) = (f64::INFINITY, 0);
    let (mut n_iterations, mut converged) = (0, false);
    while n_iterations < settings.max_iterations && !converged {
        if n_iterations == EXAGGERATED {
            // What was gathered under exaggeration is no guide to the descent that follows.
            (speed, gain) = (vec![[0.0; 2]; n], vec![[1.0; 2]; n]);
        }
        let (exaggeration, momentum) = if n_iterations < EXAGGERATED { (EXAGGERATION, 0.5) } else { (1.0, 0.8) };
        forces.at(&affinities, &y);
        let mut squares = 0.0;
        for i in 0..n {
            let gradient = forces.gradient(i, exaggeration);
            for k in 0..2 {
                let (speed, gain) = (&mut speed[i][k], &mut gain[i][k]);
                *gain = if *speed * gradient[k] < 0.0 { *gain + 0.2 } else { (*gain * 0.8).max(0.01) };
                let step = *gain * gradient[k];
                squares += step * step;
                *speed = momentum * *speed - rate * step;
                y[i][k] += *speed;
            }
        }
        n_iterations += 1;
        if n_iterations > EXAGGERATED && n_iterations.is_multiple_of(LOOK) {
            // The divergence is that of the step's start, whose sums are at hand.
            let kl = forces.divergence(&affinities);
            if std::env::var("TSNE_TRACE").is_ok() { eprintln!("{n_iterations} {kl} {}", squares.sqrt()); }
            if kl < lowest {
                (lowest, lowest_at) = (kl, n_iterations);
            }
            converged = squares.sqrt() <= AT_REST || n_iterations - lowest_at > NO_PROGRESS;
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

/// The first two principal components, scaled so that the first has the sd [`FIRST_SD`].
fn start(x: MatRef<'_, f64>) -> Result<Vec<[f64; 2]>> {
    let pca = pca(x, 2)?;
    let scale = FIRST_SD / pca.variances[0].sqrt();
    let place = |i: usize| [0, 1].map(|k| if k < pca.scores.ncols() { scale * pca.scores[(i, k)] } else { 0.0 });
    Ok((0..x.nrows()).map(place).collect())
}
