//! Passes over answers: through parts on disk block by block, or over a batch in memory.

use rayon::prelude::*;

use super::coordinates::{Coordinates, Lanes, WIDTH};
use super::model::{Model, RUN, Slopes, Tally};
use super::spool::{Part, Spool, Spooled};
use crate::error::Result;

/// So many numbers in a batch are worth several threads.
const LARGE: usize = 1 << 15;

/// Whether a batch is worth several threads. No number depends on it.
pub(super) fn is_large(x: &Coordinates, answers: &[Spooled]) -> bool {
    answers.len() * x.n_dims() >= LARGE
}

/// Σ over a batch; fills in the slopes of its answers. Runs of answers are cut by their places and added in order.
pub(super) fn costs(model: Model, x: &Coordinates, answers: &[Spooled], slopes: &mut Vec<Slopes>) -> Tally {
    slopes.resize(answers.len(), [0.0; 3]);
    let mut total = Tally::default();
    if is_large(x, answers) {
        let runs = answers.par_chunks(RUN).zip(slopes.par_chunks_mut(RUN));
        let tallies: Vec<Tally> = runs.map(|(answers, slopes)| model.costs(x, answers, slopes)).collect();
        tallies.iter().for_each(|tally| total.add(tally));
    } else {
        let runs = answers.chunks(RUN).zip(slopes.chunks_mut(RUN));
        runs.for_each(|(answers, slopes)| total.add(&model.costs(x, answers, slopes)));
    }
    total
}

/// Σ over all answers of some parts, exact but for rounding.
pub(super) fn tally(spool: &Spool, parts: &[&Part], model: Model, x: &Coordinates) -> Result<Tally> {
    let (mut total, mut slopes) = (Tally::default(), vec![]);
    for part in parts {
        spool.blocks(part, |block| total.add(&costs(model, x, block, &mut slopes)))?;
    }
    Ok(total)
}

/// Euclidean norm of the objective's gradient, without what points out of where coordinates may be.
pub(super) fn gradient_norm(spool: &Spool, parts: &[&Part], model: Model, x: &Coordinates, weight: f64) -> Result<f64> {
    let n = x.n_concepts();
    let (mut total, mut slopes) = (vec![[0.0; WIDTH]; n * x.n_panels()], vec![]);
    let without_penalty = model.with_penalty(0.0);
    let add = |panel: &[Lanes], total: &mut [Lanes], answers: &[Spooled], slopes: &[Slopes]| {
        let mut gradient = vec![[0.0; WIDTH]; n];
        without_penalty.gradient(panel, (answers, slopes), 1.0 / weight, &mut gradient);
        total.as_flattened_mut().iter_mut().zip(gradient.as_flattened()).for_each(|(t, g)| *t += g);
    };
    for part in parts {
        spool.blocks(part, |block| {
            costs(model, x, block, &mut slopes);
            let panels: Vec<&[Lanes]> = x.panels().collect();
            let panels = panels.into_par_iter().zip(total.par_chunks_exact_mut(n));
            panels.for_each(|(panel, total)| add(panel, total, block, &slopes));
        })?;
    }
    let mut of_penalty = vec![[0.0; WIDTH]; n];
    let mut squares = 0.0;
    for (panel, total) in x.panels().zip(total.chunks_exact(n)) {
        model.gradient(panel, (&[], &[]), 0.0, &mut of_penalty);
        for ((total, penalty), x) in
            total.as_flattened().iter().zip(of_penalty.as_flattened()).zip(panel.as_flattened())
        {
            let gradient = total + penalty;
            let outward = matches!(model, Model::DotProducts { .. }) && *x == 0.0 && gradient > 0.0;
            squares += if outward { 0.0 } else { gradient * gradient };
        }
    }
    Ok(squares.sqrt())
}
