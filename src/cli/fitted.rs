//! A fit on disk and in words: what its bytes depend on, its files, and the line that tells of it.

use std::path::Path;
use std::time::Instant;

use alike::concepts::Concepts;
use alike::embedding::sparse::SparseRecord;
use alike::embedding::{Comparison, FitRecord, Fitting, Record};
use alike::presentations::Task;
use alike::store::choices::Choices;
use alike::store::manifest::Fingerprint;
use faer::MatRef;
use sha2::{Digest, Sha256};

/// What an embedding's bytes depend on.
pub(crate) fn fingerprint(choices: &Choices, settings: &Fitting) -> Fingerprint {
    let mut digest = AnswerDigest::default();
    choices.answered.comparisons().iter().for_each(|c| digest.add(c));
    fingerprint_of(choices.answered.task(), &choices.concepts, digest, settings)
}

/// The same of answers that were digested one by one.
pub(crate) fn fingerprint_of(
    task: Task,
    concepts: &Concepts,
    answers: AnswerDigest,
    settings: &Fitting,
) -> Fingerprint {
    let answers: String = answers.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Fingerprint::default()
        .with_task(task)
        .with("concepts", concepts.digest())
        .with("answers", answers)
        .with("fit", serde_json::to_string(settings).expect("settings are JSON"))
        .with("fit_version", FIT_VERSION)
}

/// A digest of answers in their order.
#[derive(Default)]
pub(crate) struct AnswerDigest(Sha256);

impl AnswerDigest {
    pub(crate) fn add(&mut self, c: &Comparison) {
        [c.anchor, c.first, c.second].iter().for_each(|id| self.0.update(id.to_le_bytes()));
        [c.p_first, c.weight].iter().for_each(|value| self.0.update(value.to_le_bytes()));
    }
}

/// Raised whenever the same answers would give other coordinates.
const FIT_VERSION: u32 = 5;

pub(crate) fn warn_of_unanswered(n_unanswered: usize) {
    if n_unanswered > 0 {
        tracing::warn!("{n_unanswered} judgments are without a choice and are left out");
    }
}

/// Writes an embedding, and its record beside it with the seconds since `started`, which it returns.
pub(crate) fn write(
    out: &Path,
    concepts: &Concepts,
    coordinates: MatRef<'_, f64>,
    record: &Record,
    fingerprint: &Fingerprint,
    started: Instant,
) -> alike::Result<f64> {
    record.notes().iter().for_each(|note| tracing::debug!("{}: {note}", out.display()));
    if !record.converged() {
        tracing::warn!("{}: the fit did not converge ({})", out.display(), record.stop());
    }
    let seconds = started.elapsed().as_secs_f64();
    // The embedding last: where it is, the fit is done, and nothing is written again.
    crate::cli::write_json(&out.with_extension("json"), &timed(record, seconds))?;
    alike::store::embedding::write(out, concepts.iter(), coordinates, Some(record), fingerprint)?;
    Ok(seconds)
}

/// The record of a fit with the time it took, which the embedding itself leaves out: the same fit has the same bytes.
pub(crate) fn timed(record: &Record, seconds: f64) -> serde_json::Value {
    let mut record = serde_json::to_value(record).expect("a record is JSON");
    record["seconds"] = seconds.into();
    record
}

/// One line about a fit.
pub(crate) fn describe(record: &Record, task: Task) -> String {
    match record {
        Record::Distances(record) => describe_distances(record, task),
        Record::DotProducts(record) => describe_dot_products(record),
    }
}

fn share(value: Option<f64>) -> String {
    value.map_or("none".into(), |v| format!("{:.1} %", 100.0 * v))
}

fn describe_dot_products(record: &SparseRecord) -> String {
    format!(
        "{}{}: {} of {} dimensions survived, held-out accuracy {} (chance {}), {} odd-one-out answers",
        record.loss,
        record.lambda.map(|lambda| format!(" (lambda {lambda:.3e})")).unwrap_or_default(),
        record.dims,
        record.start_dims,
        share(record.heldout_accuracy),
        share(Some(record.chance_accuracy)),
        record.n_train + record.n_heldout,
    )
}

fn describe_distances(record: &FitRecord, task: Task) -> String {
    let n = record.n_train + record.n_heldout;
    let answers = match task {
        Task::Anchored => format!("{n} triplets"),
        Task::OddOneOut => format!("{} odd-one-out answers as {n} anchored judgments", n / 2),
    };
    format!(
        "{} in {} dimensions: held-out accuracy {}, {:.1} effective dimensions, {answers}",
        record.loss.key(),
        record.dims,
        share(record.heldout_accuracy),
        record.participation_ratio,
    )
}
