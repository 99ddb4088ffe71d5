//! The penalty chosen by the loss of one fold of the training triplets, left out once.

use super::coordinates::Coordinates;
use super::epochs::{Minibatches, Search};
use super::model::Model;
use super::passes::tally;
use super::spool::Spool;
use crate::error::{Error, Result};

/// As for choosing among penalties, whose left-out losses differ in the second decimal or the third.
const TOLERANCE: f64 = 3e-3;

/// The left-out loss of every penalty in a grid.
///
/// Penalties are fitted from the smallest up, each from where the last one ended: raising a penalty shrinks an embedding by a
/// little, and from one that it shrank to a point there is no way back.
///
/// # Errors
/// [`Error::TooFew`] when the fold has no answers, or leaves none
pub(super) fn losses(
    spool: &Spool,
    model: Model,
    start: &Coordinates,
    how: Minibatches,
    grid: &[f64],
) -> Result<Vec<f64>> {
    let (parts, fold): (Vec<_>, Vec<_>) = (spool.training(false), spool.fold.iter().collect());
    if [&parts, &fold].iter().any(|side| super::spool::weight(side) <= 0.0) {
        let what = format!("triplets in a fold of {} answers, or beside it", spool.n_train());
        return Err(Error::TooFew { what, found: 0, needed: 1 });
    }
    let mut ascending: Vec<usize> = (0..grid.len()).collect();
    ascending.sort_by(|&a, &b| grid[a].total_cmp(&grid[b]));
    let (mut losses, mut x) = (vec![0.0; grid.len()], start.clone());
    for (at, &which) in ascending.iter().enumerate() {
        let model = model.with_penalty(grid[which]);
        let (parts, number) = (parts.clone(), 1_000 + at as u64);
        let search = Search { spool, parts, model, how, tolerance: TOLERANCE, number, with_curve: false };
        x = search.run(x)?.x;
        losses[which] = tally(spool, &fold, model, &x)?.mean_loss();
    }
    Ok(losses)
}
