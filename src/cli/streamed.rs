//! `alike embed --optimiser adam`: the answers go to disk beside the output, and are fitted from there.

use std::time::Instant;

use alike::embedding::Fitting;
use alike::embedding::streamed::{Layout, Minibatches, SpoolWriter, fit};

use crate::cli::embed::{AnswerDigest, EmbedArgs, describe, fingerprint_of, timed, warn_of_unanswered, write};
use crate::cli::{Common, is_done};

pub(super) fn run(args: &EmbedArgs, settings: &Fitting, common: &Common) -> anyhow::Result<()> {
    let started = Instant::now();
    if args.bootstrap > 0 {
        let found = format!("{} with optimiser adam", args.bootstrap);
        let expected = "0: refits take their answers from memory".to_owned();
        return Err(alike::Error::Setting { field: "bootstrap".to_owned(), found, expected }.into());
    }
    // What is in the way is found before the first pass, what it was made from after it.
    if args.out.is_file() && !args.existing.force && !args.existing.resume {
        return Err(alike::Error::Exists { path: args.out.clone() }.into());
    }
    let files = args.files()?;
    let (task, concepts) = (files.task(), files.concepts());
    let layout = Layout::of(settings, task, concepts.len(), files.n_rows()?, files.are_plain())?;
    let (mut digest, mut spool) = (AnswerDigest::default(), SpoolWriter::new(&args.out, layout)?);
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
    let how = Minibatches { max_epochs: args.max_epochs, ..Minibatches::for_answers(spool.n_train()) };
    let fingerprint = fingerprint_of(task, concepts, digest, settings)
        .with("optimiser", serde_json::to_string(&("adam", how)).expect("settings are JSON"));
    if is_done(&args.out, &fingerprint, args.existing)? {
        tracing::info!("{} is there", args.out.display());
        return Ok(());
    }
    let (coordinates, record) = fit(&spool, settings, how)?;
    let seconds = write(&args.out, concepts, coordinates.as_ref(), &record, &fingerprint, started)?;
    if common.json {
        println!("{}", serde_json::to_string(&timed(&record, seconds))?);
    } else {
        println!("{} in {seconds:.1} s → {}", describe(&record, task), args.out.display());
    }
    Ok(())
}
