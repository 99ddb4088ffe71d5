//! Adam over parts in a random order, each shuffled in memory, with a step size that falls when it has done what it can.

use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::coordinates::{Coordinates, Lanes, WIDTH};
use super::model::{Model, Slopes, Tally};
use super::passes::{costs, is_large, tally};
use super::spool::{Part, Spool, Spooled, n_answers, weight};
use crate::embedding::{CurvePoint, FitStop};
use crate::error::{Error, Result};
use crate::optimize::adam::{Adam, Rates};
use crate::seed::Streams;

/// How minibatches are taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Minibatches {
    /// Step size of Adam to begin with.
    pub learning_rate: f64,
    /// Answers in a batch, at least; fewer where a part has fewer, and less than twice as many.
    pub batch: usize,
    /// Passes over the answers that one search may spend.
    pub max_epochs: usize,
}

impl Minibatches {
    /// For a number of training answers: some hundred steps in an epoch, in batches that are worth a step.
    pub fn for_answers(n_train: u64) -> Self {
        let batch = (n_train / 256).next_power_of_two().clamp(128, 8_192);
        Self { learning_rate: 0.1, batch: usize::try_from(batch).expect("at most 8,192"), max_epochs: 1_000 }
    }

    /// Refuses what no search can have.
    ///
    /// # Errors
    /// [`Error::Setting`], naming the field
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::Setting { field: field.to_owned(), found, expected: expected.to_owned() })
        };
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return wrong("learning_rate", self.learning_rate.to_string(), "a finite number above 0");
        }
        for (field, value) in [("batch", self.batch), ("max_epochs", self.max_epochs)] {
            if value == 0 {
                return wrong(field, value.to_string(), "1 or more");
            }
        }
        Ok(())
    }
}

/// What a search ended in.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Where the exact objective was lowest.
    pub(super) x: Coordinates,
    /// The exact objective there.
    pub(super) objective: f64,
    pub(super) n_epochs: usize,
    pub(super) n_steps: usize,
    /// Step size at the end.
    pub(super) learning_rate: f64,
    pub(super) stop: FitStop,
    pub(super) curve: Vec<CurvePoint>,
}

/// The step size has done what it can when the mean objective of a window is not this share below the window's before.
const FLAT: f64 = 1e-3;

/// Steps in a window, at least: of fewer, little can be seen.
const WINDOW_STEPS: u64 = 256;

/// What the step size is divided by then.
///
/// The noise of the steps keeps the objective above its minimum by about a multiple of the step size. Dividing that by
/// three gains two thirds of the distance: where a whole level gains a share g, half of g is left.
const DECAY: f64 = 3.0;

/// A search over some parts of a spool.
pub(super) struct Search<'a> {
    pub(super) spool: &'a Spool,
    pub(super) parts: Vec<&'a Part>,
    pub(super) model: Model,
    pub(super) how: Minibatches,
    /// The search has arrived when a level of the step size lowers the exact objective by no more than this share.
    pub(super) tolerance: f64,
    /// Which of several searches this is: each has its own order of answers.
    pub(super) number: u64,
    /// Whether held-out answers are looked at after each epoch.
    pub(super) with_curve: bool,
}

/// What steps work with: Adam and a gradient for each panel.
struct Scratch {
    adams: Vec<Adam>,
    gradients: Vec<Vec<Lanes>>,
    slopes: Vec<Slopes>,
    answers: Vec<Spooled>,
}

impl Search<'_> {
    /// The lowest point of the search by the exact objective, which is taken in a pass of its own at the end of each level.
    ///
    /// # Errors
    /// [`Error::Io`] for the spool, [`Error::NotFinite`] when the objective left the range of numbers
    pub(super) fn run(&self, mut x: Coordinates) -> Result<Run> {
        let streams = Streams::new(self.spool.layout.seed, &format!("minibatches {}", self.number));
        let panel = vec![[0.0; WIDTH]; x.n_concepts()];
        let mut learning_rate = self.how.learning_rate;
        let mut scratch = Scratch {
            adams: vec![Adam::new(Rates::new(learning_rate), WIDTH * panel.len()); x.n_panels()],
            gradients: vec![panel; x.n_panels()],
            slopes: vec![],
            answers: vec![],
        };
        let steps_per_epoch = (n_answers(&self.parts) / self.how.batch as u64).max(1);
        let window = WINDOW_STEPS.div_ceil(steps_per_epoch);
        let mut best = (f64::INFINITY, x.clone());
        let (mut n_epochs, mut n_steps, mut curve) = (0, 0, vec![]);
        let (mut before, mut sum, mut n_summed) = (f64::INFINITY, 0.0, 0);
        let stop = loop {
            if n_epochs == self.how.max_epochs {
                self.offer(&mut best, &x)?;
                break FitStop::MaxEpochs;
            }
            let seen = self.epoch(&mut x, &streams, n_epochs, &mut scratch, &mut n_steps)?;
            n_epochs += 1;
            let running = seen.mean_loss() + self.model.penalty(&x);
            if !running.is_finite() {
                return Err(Error::NotFinite { what: format!("the objective after {n_steps} steps") });
            }
            if self.with_curve {
                curve.push(self.point(&x, running, n_steps)?);
            }
            (sum, n_summed) = (sum + running, n_summed + 1);
            if n_summed < window {
                continue;
            }
            let mean = sum / n_summed as f64;
            let is_flat = mean >= before - FLAT * before.abs();
            (before, sum, n_summed) = (mean, 0.0, 0);
            if !is_flat {
                continue;
            }
            let was = best.0;
            self.offer(&mut best, &x)?;
            if was - best.0 <= self.tolerance * best.0.abs() {
                break FitStop::ObjectiveFlat;
            }
            before = f64::INFINITY;
            learning_rate /= DECAY;
            scratch.adams.iter_mut().for_each(|adam| adam.set_learning_rate(learning_rate));
        };
        let (objective, x) = best;
        if self.with_curve {
            curve.push(self.point(&x, objective, n_steps)?);
        }
        Ok(Run { x, objective, n_epochs, n_steps, learning_rate, stop, curve })
    }

    /// Keeps `x` where its exact objective is the lowest.
    fn offer(&self, best: &mut (f64, Coordinates), x: &Coordinates) -> Result<()> {
        let objective = tally(self.spool, &self.parts, self.model, x)?.mean_loss() + self.model.penalty(x);
        if objective < best.0 {
            *best = (objective, x.clone());
        }
        Ok(())
    }

    fn point(&self, x: &Coordinates, objective: f64, n_steps: usize) -> Result<CurvePoint> {
        let heldout = tally(self.spool, &[&self.spool.heldout], self.model, x)?;
        Ok(CurvePoint {
            n_evaluations: n_steps,
            objective,
            heldout_loss: (heldout.weight > 0.0).then(|| heldout.mean_loss()),
            heldout_accuracy: heldout.accuracy(),
        })
    }

    /// Every answer once; what it cost when its turn came.
    fn epoch(
        &self,
        x: &mut Coordinates,
        streams: &Streams,
        epoch: usize,
        scratch: &mut Scratch,
        n_steps: &mut usize,
    ) -> Result<Tally> {
        let mut rng = streams.rng(epoch as u64);
        let mut order: Vec<&Part> = self.parts.iter().copied().filter(|part| part.n > 0).collect();
        order.shuffle(&mut rng);
        let mean_weight = self.model.n_terms() as f64 * weight(&self.parts) / n_answers(&self.parts) as f64;
        let mut total = Tally::default();
        let mut answers = std::mem::take(&mut scratch.answers);
        for part in order {
            self.spool.read(part, &mut answers)?;
            answers.shuffle(&mut rng);
            // Batches of a part are alike, so that none at its end steps on a handful of answers.
            let n_batches = (answers.len() / self.how.batch).max(1);
            for batch in answers.chunks(answers.len().div_ceil(n_batches)) {
                total.add(&costs(self.model, x, batch, &mut scratch.slopes));
                self.step(x, batch, 1.0 / (batch.len() as f64 * mean_weight), scratch);
                *n_steps += 1;
            }
        }
        scratch.answers = answers;
        Ok(total)
    }

    /// One step of Adam against the gradient of a batch whose slopes are in the scratch.
    fn step(&self, x: &mut Coordinates, batch: &[Spooled], scale: f64, scratch: &mut Scratch) {
        let Scratch { adams, gradients, slopes, .. } = scratch;
        let step = |((panel, adam), gradient): ((&mut [Lanes], &mut Adam), &mut Vec<Lanes>)| {
            self.model.gradient(panel, (batch, slopes), scale, gradient);
            adam.step(panel.as_flattened_mut(), gradient.as_flattened());
            self.model.project(panel);
        };
        let large = is_large(x, batch);
        let panels = x.panels_mut().zip(adams).zip(gradients);
        if large { panels.collect::<Vec<_>>().into_par_iter().for_each(step) } else { panels.for_each(step) }
    }
}
