//! `--bootstrap N`: refits of resampled triplets, beside an embedding that was fitted.

use std::path::Path;
use std::time::Instant;

use alike::embedding::FitSettings;
use alike::embedding::bootstrap::Bootstrap;
use alike::store::choices::Choices;
use alike::store::manifest::Fingerprint;
use alike::store::refits::{self, RefitsWriter};
use anyhow::Context;
use rayon::prelude::*;

use crate::cli::{Existing, is_current};

/// Refits between two writes.
const AT_ONCE: u64 = 64;

/// Draws the triplets of an embedding's training side `n` times and refits each draw from the embedding, with its penalty.
/// What is there and was made from the same inputs is kept.
pub(crate) fn bootstrap(
    embedding: &Path,
    choices: &Choices,
    settings: &FitSettings,
    n: u64,
    fingerprint: &Fingerprint,
    existing: Existing,
) -> anyhow::Result<()> {
    let path = refits::path_beside(embedding);
    let fingerprint = fingerprint.clone().with("bootstrap", n);
    if is_current(&path, &fingerprint, existing) {
        return Ok(());
    }
    let started = Instant::now();
    let fitted = alike::store::embedding::read(embedding)?;
    let l2 = fitted.fit["l2"].as_f64();
    let l2 = l2.with_context(|| format!("{} does not say which penalty it was fitted with", embedding.display()))?;
    let comparisons = choices.answered.comparisons();
    let draws = Bootstrap::new(&comparisons, &settings.with_l2(l2), fitted.coordinates.as_ref())?;
    let mut writer = RefitsWriter::create(&path, &choices.concepts, settings.dims, &fingerprint)?;
    let mut n_unfinished = 0;
    for from in (0..n).step_by(usize::try_from(AT_ONCE).expect("64")) {
        let some: Vec<_> =
            (from..(from + AT_ONCE).min(n)).into_par_iter().map(|draw| draws.refit(draw)).collect::<Result<_, _>>()?;
        for refit in &some {
            n_unfinished += usize::from(!refit.record.stop.converged());
            writer.add(refit)?;
        }
    }
    writer.finish()?;
    if n_unfinished > 0 {
        tracing::warn!("{}: {n_unfinished} of {n} refits did not converge; `converged` says which", path.display());
    }
    tracing::info!("{n} bootstrap refits in {:.1} s → {}", started.elapsed().as_secs_f64(), path.display());
    Ok(())
}
