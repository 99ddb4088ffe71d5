//! Refits of resampled triplets: how far an embedding depends on which triplets happened to be asked.

use faer::{Mat, MatRef};
use rand::RngExt;
use serde::Serialize;

use super::objective::Objective;
use super::{Comparison, FitSettings, L2, RELATIVE_DECREASE, centred_on_judged, held_out, search};
use crate::error::{Error, Result};
use crate::optimize::StopReason;
use crate::seed::Streams;

/// The unordered triplets of a fit's training side, ready to be drawn again.
#[derive(Debug, Clone)]
pub struct Bootstrap<'a> {
    comparisons: &'a [Comparison],
    settings: FitSettings,
    l2: f64,
    /// Rank of each comparison's triplet among the training side's; none for what is held out.
    ranks: Vec<Option<u32>>,
    n_triplets: u32,
    /// Coordinates of the fit, column by column.
    start: Vec<f64>,
    n_concepts: usize,
}

/// One refit.
#[derive(Debug, Clone)]
pub struct Refit {
    /// Coordinates, centred, not rotated onto the fit; `[n_concepts, dims]`.
    pub coordinates: Mat<f64>,
    /// For each concept, whether the draw has a comparison that names it; the others are in the centre and say nothing.
    pub judged: Vec<bool>,
    /// How it went.
    pub record: RefitRecord,
}

/// How a refit went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RefitRecord {
    /// Number of the draw.
    pub draw: u64,
    /// Mean loss of the draw plus penalty.
    pub objective: f64,
    /// Evaluations of the objective.
    pub n_evaluations: usize,
    /// Why it stopped.
    pub stop: StopReason,
}

impl<'a> Bootstrap<'a> {
    /// The draws of a fit: its comparisons, its settings with the penalty it used (fixed), and its coordinates, from which
    /// every refit starts.
    ///
    /// # Shapes
    /// `coordinates`: `[n_concepts, dims]`
    /// # Errors
    /// [`Error::Setting`] for a penalty that is yet to be chosen, [`Error::ShapeMismatch`] for coordinates of other
    /// dimensions, and those of [`super::check_comparisons`]
    pub fn new(comparisons: &'a [Comparison], settings: &FitSettings, coordinates: MatRef<'_, f64>) -> Result<Self> {
        settings.check()?;
        let L2::Fixed(l2) = settings.l2 else {
            return Err(Error::Setting {
                field: "l2".into(),
                found: "a grid".into(),
                expected: "the penalty that the fit used: it is not chosen anew in every draw".into(),
            });
        };
        let (n_concepts, dims) = coordinates.shape();
        super::check_comparisons(n_concepts, comparisons)?;
        if dims != settings.dims {
            return Err(Error::ShapeMismatch {
                what: "dimensions of the fit to start from".into(),
                found: dims.to_string(),
                expected: settings.dims.to_string(),
            });
        }
        crate::linalg::check_finite(coordinates, "the fit to start from")?;
        let held_out = held_out(comparisons, settings.holdout, settings.seed);
        let trained = || comparisons.iter().zip(&held_out).map(|(c, held_out)| (!held_out).then_some(c.triplet));
        let mut triplets: Vec<i64> = trained().flatten().collect();
        triplets.sort_unstable();
        triplets.dedup();
        let n_triplets = u32::try_from(triplets.len()).expect("2^32 triplets take more memory than there is");
        if n_triplets == 0 {
            return Err(Error::TooFew { what: "triplets to draw from".into(), found: 0, needed: 1 });
        }
        #[allow(clippy::cast_possible_truncation, reason = "below n_triplets, which is a u32")]
        let rank = |id: i64| triplets.binary_search(&id).expect("every triplet was collected") as u32;
        let ranks = trained().map(|id| id.map(rank)).collect();
        let start = (0..dims).flat_map(|k| (0..n_concepts).map(move |i| coordinates[(i, k)])).collect();
        Ok(Self { comparisons, settings: settings.clone(), l2, ranks, n_triplets, start, n_concepts })
    }

    /// One refit: as many unordered triplets as there are, drawn with replacement, each with both orders and all repeats.
    ///
    /// A triplet that is drawn twice has twice the weight; nothing is copied. The result depends on the comparisons, the
    /// seed and the number of the draw.
    ///
    /// # Errors
    /// [`Error::TooFew`] when the draw has no comparison with a weight
    pub fn refit(&self, draw: u64) -> Result<Refit> {
        let mut rng = Streams::new(self.settings.seed, "bootstrap").rng(draw);
        let mut times = vec![0_u32; self.n_triplets as usize];
        (0..self.n_triplets).for_each(|_| times[rng.random_range(0..self.n_triplets) as usize] += 1);
        let weight = |place: usize| match self.ranks[place] {
            Some(rank) => f64::from(times[rank as usize]) * self.comparisons[place].weight,
            None => 0.0,
        };
        let FitSettings { loss, dims, .. } = self.settings;
        let mut objective = Objective::weighted(loss, self.l2, self.n_concepts, dims, self.comparisons, weight)?;
        let (x, descent) = search(&mut objective, self.start.clone(), &self.settings, RELATIVE_DECREASE, |_, _| ());
        let judged = objective.judged().to_vec();
        let coordinates = centred_on_judged(MatRef::from_column_major_slice(&x, self.n_concepts, dims), &judged);
        let record = RefitRecord {
            draw,
            objective: descent.objective,
            n_evaluations: descent.n_evaluations,
            stop: descent.stop,
        };
        Ok(Refit { coordinates, judged, record })
    }
}
