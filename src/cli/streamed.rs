//! `alike embed --optimiser adam`: the answers go to disk beside the output, and are fitted from there.

use std::path::Path;
use std::time::Instant;

use alike::embedding::Fitting;
use alike::embedding::streamed::{Layout, Minibatches, SpoolWriter, fit};
use alike::store::choices::AnswerFiles;

use crate::cli::fitted::{AnswerDigest, describe, fingerprint_of, timed, warn_of_unanswered, write};
use crate::cli::{Common, Existing, is_done};

/// Where such an embedding goes, and how it is come by.
pub(crate) struct Streamed<'a> {
    pub(crate) out: &'a Path,
    pub(crate) max_epochs: usize,
    pub(crate) existing: Existing,
}

impl Streamed<'_> {
    pub(crate) fn run(
        &self,
        files: impl FnOnce() -> alike::Result<AnswerFiles>,
        settings: &Fitting,
        common: &Common,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        // What is in the way is found before the first pass, what it was made from after it.
        if self.out.is_file() && !self.existing.force && !self.existing.resume {
            return Err(alike::Error::Exists { path: self.out.into() }.into());
        }
        let files = files()?;
        let (task, concepts) = (files.task(), files.concepts());
        let layout = Layout::of(settings, task, concepts.len(), files.n_rows()?, files.are_plain())?;
        let (mut digest, mut spool) = (AnswerDigest::default(), SpoolWriter::new(self.out, layout)?);
        warn_of_unanswered(files.each(|answer| {
            answer.comparisons().for_each(|comparison| digest.add(&comparison));
            spool.push(&answer)
        })?);
        let spool = spool.finish()?;
        tracing::debug!(
            "{} answers are on disk after {:.1} s",
            spool.n_train() + spool.n_heldout(),
            started.elapsed().as_secs_f64()
        );
        let how = Minibatches { max_epochs: self.max_epochs, ..Minibatches::for_answers(spool.n_train()) };
        let fingerprint = fingerprint_of(task, concepts, digest, settings)
            .with("optimiser", serde_json::to_string(&("adam", how)).expect("settings are JSON"));
        if is_done(self.out, &fingerprint, self.existing)? {
            tracing::info!("{} is there", self.out.display());
            return Ok(());
        }
        let (coordinates, record) = fit(&spool, settings, how)?;
        let seconds = write(self.out, concepts, coordinates.as_ref(), &record, &fingerprint, started)?;
        if common.json {
            println!("{}", serde_json::to_string(&timed(&record, seconds))?);
        } else {
            println!("{} in {seconds:.1} s → {}", describe(&record, task), self.out.display());
        }
        Ok(())
    }
}
