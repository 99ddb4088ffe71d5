//! What a run of the graph gives, read into a pass's output.

use ndarray::{ArrayView1, ArrayView3, Ix3, s};
use ort::session::SessionOutputs;
use ort::value::DynValue;
use rayon::prelude::*;

use crate::engine::provider::runtime_error;
use crate::engine::{PassOutput, Top};
use crate::error::{Error, Result};
use crate::prompts::pass::Pass;

pub(super) fn read_log_probs(outputs: &SessionOutputs<'_>, pass: &Pass, vocab_size: usize) -> Result<PassOutput> {
    let log_probs = floats(&outputs["log_probs"])?[..pass.wanted.len()].to_vec();
    let ids = outputs["top_ids"].try_extract_tensor::<i64>().map_err(|e| runtime_error("reading top_ids", &e))?.1;
    let top = |(id, log_prob): (&i64, &f32)| Top { token: u32::try_from(*id).unwrap_or(u32::MAX), log_prob: *log_prob };
    let tops = ids.iter().zip(floats(&outputs["top_log_probs"])?).map(top).take(pass.scored.len()).collect();
    let logits = if pass.logits {
        let n_logits = pass.scored.len() * vocab_size;
        let logits = floats(&outputs["logits"])?;
        let short = || Error::ShapeMismatch {
            what: "logits".into(),
            found: format!("{} values", logits.len()),
            expected: format!("[{}, {vocab_size}]", pass.scored.len()),
        };
        logits.get(..n_logits).ok_or_else(short)?.to_vec()
    } else {
        Vec::new()
    };
    Ok(PassOutput { log_probs, tops, logits })
}

pub(super) fn read_logits(outputs: &SessionOutputs<'_>, pass: &Pass, vocab_size: usize) -> Result<PassOutput> {
    let logits = outputs["logits"].try_extract_array::<f32>().map_err(|e| runtime_error("reading logits", &e))?;
    let logits: ArrayView3<'_, f32> = logits.into_dimensionality::<Ix3>().map_err(|e| Error::ShapeMismatch {
        what: "logits".into(),
        found: e.to_string(),
        expected: format!("[{}, {}, {vocab_size}]", pass.n_rows(), pass.new_len),
    })?;
    let rows: Vec<ArrayView1<'_, f32>> =
        pass.scored.iter().map(|&(row, at)| logits.slice_move(s![row, at, ..])).collect();
    let log_sums: Vec<f64> = rows.par_iter().map(log_sum_exp).collect();
    let log_prob = |scored: usize, token: usize| to_f32(f64::from(rows[scored][token]) - log_sums[scored]);
    let log_probs = pass.wanted.iter().map(|w| log_prob(w.scored, w.token as usize)).collect();
    let tops = (0..rows.len())
        .map(|scored| {
            let best = argmax(&rows[scored]);
            Top { token: u32::try_from(best).unwrap_or(u32::MAX), log_prob: log_prob(scored, best) }
        })
        .collect();
    let logits = if pass.logits { rows.iter().flatten().copied().collect() } else { Vec::new() };
    Ok(PassOutput { log_probs, tops, logits })
}

pub(super) fn floats(value: &DynValue) -> Result<&[f32]> {
    Ok(value.try_extract_tensor::<f32>().map_err(|e| runtime_error("reading log-probabilities", &e))?.1)
}

/// ln Σ exp(x), in f64.
fn log_sum_exp(logits: &ArrayView1<'_, f32>) -> f64 {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    highest + logits.iter().map(|l| (f64::from(*l) - highest).exp()).sum::<f64>().ln()
}

/// Position of the largest value, the first of equals.
fn argmax(values: &ArrayView1<'_, f32>) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[allow(clippy::cast_possible_truncation, reason = "stored as f32")]
fn to_f32(value: f64) -> f32 {
    value as f32
}
