//! `alike next`: the triplets whose answers are expected to tell most.

use std::collections::HashSet;
use std::path::PathBuf;

use alike::embedding::holds_out;
use alike::error::Error;
use alike::presentations::{self, Presentation, Task};
use alike::seed::Streams;
use clap::Args;
use rand::RngExt;

use crate::cli::fit_args::FitArgs;
use crate::cli::fitted::fingerprint;
use crate::cli::{Common, Existing, is_done};

#[derive(Debug, Args)]
pub(crate) struct NextArgs {
    /// Judgments so far: a `respondent=LABEL` folder, or a CSV or Parquet file with `anchor, first, second, chosen` or
    /// `a, b, c, odd`
    #[arg(value_name = "JUDGMENTS")]
    judgments: PathBuf,
    #[command(flatten)]
    fit: FitArgs,
    /// Number of triplets to choose
    #[arg(long, value_name = "N")]
    n: usize,
    /// Dimensions; of `spose` and `vice` those to begin with
    #[arg(long, default_value_t = 30, value_name = "D")]
    dims: usize,
    /// Fits whose disagreement is sought
    #[arg(long, default_value_t = 10, value_name = "N")]
    members: usize,
    /// Triplets are drawn with probabilities proportional to this power of their expected information
    #[arg(long, default_value_t = DEFAULT_POWER, value_name = "P")]
    power: f64,
    /// Triplets not asked yet to choose among: drawn at random where there are more
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    candidates: usize,
    /// Output: a Parquet file of triplets, none of which was asked before
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    existing: Existing,
}

/// Of 1, 4 and 16 the one that took the fewest triplets in the end (`benches/README.md`).
const DEFAULT_POWER: f64 = 4.0;

pub(crate) fn run(args: &NextArgs, common: &Common) -> anyhow::Result<()> {
    let fittings = args.fit.fittings(args.dims)?;
    let [fitting] = fittings.as_slice() else {
        anyhow::bail!(Error::Setting {
            field: "loss".into(),
            found: format!("{} losses", args.fit.loss.len()),
            expected: "one".into(),
        });
    };
    let choices = args.fit.choices(&args.judgments)?;
    let (n_concepts, seed) = (choices.concepts.len(), args.fit.seed);
    let inputs = fingerprint(&choices, fitting)
        .with("n", args.n)
        .with("members", args.members)
        .with("power", args.power)
        .with("candidates", args.candidates);
    if is_done(&args.out, &inputs, args.existing)? {
        tracing::info!("{} is there", args.out.display());
        return Ok(());
    }
    let task = choices.answered.task();
    let asked: HashSet<i64> = choices.answered.presentations().iter().map(|shown| shown.id(n_concepts)).collect();
    // Triplets on the held-out side are neither learned from nor asked: what accuracy is measured on stays a random set.
    let is_held_out = holds_out(args.fit.holdout, seed);
    let free = |id: &i64| !asked.contains(id) && !is_held_out(*id);
    let candidates = candidates(task, n_concepts, args.candidates, seed, free);
    if !(1..=candidates.len()).contains(&args.n) {
        anyhow::bail!(Error::Setting {
            field: "n".into(),
            found: args.n.to_string(),
            expected: format!("1 to {}, the candidates on the training side that were not asked", candidates.len()),
        });
    }

    let train = choices.answered.of_triplets(|id| !is_held_out(id));
    let (record, ensemble) = fitting.with_holdout(0.0).ensemble(n_concepts, &train, args.members, seed)?;
    let chosen = ensemble.choose(&candidates, args.n, n_concepts, args.power, seed)?;
    alike::store::triplets::write(&args.out, task, &chosen, &choices.concepts, &inputs)?;

    let (of_chosen, of_all) = (ensemble.mean_information(&chosen), ensemble.mean_information(&candidates));
    if common.json {
        let summary = serde_json::json!({
            "task": task, "triplets": chosen.len(), "candidates": candidates.len(), "asked": asked.len(), "penalty": record.penalty(),
            "information_nats": of_chosen, "information_of_candidates_nats": of_all, "out": args.out,
        });
        println!("{summary}");
        return Ok(());
    }
    println!(
        "{} of {} triplets that were not asked yet → {}; expected information {of_chosen:.4} nats an answer, {of_all:.4} at random",
        chosen.len(),
        candidates.len(),
        args.out.display()
    );
    Ok(())
}

/// All triplets that are free or, where there are more than `most` of any kind, those among as many drawn at random.
fn candidates(task: Task, n_concepts: usize, most: usize, seed: u64, free: impl Fn(&i64) -> bool) -> Vec<Presentation> {
    let total = task.count(n_concepts);
    if total <= i64::try_from(most).unwrap_or(i64::MAX) {
        return presentations::of_ids(task, (0..total).filter(free), n_concepts, seed);
    }
    let mut rng = Streams::new(seed, "candidates").rng(0);
    let mut drawn: Vec<i64> = (0..most).map(|_| rng.random_range(0..total)).collect();
    drawn.sort_unstable();
    drawn.dedup();
    presentations::of_ids(task, drawn.into_iter().filter(free), n_concepts, seed)
}
