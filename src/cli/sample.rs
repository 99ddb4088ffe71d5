//! `alike sample`: draw triplets.

use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::config::{Design, Study};
use alike::embedding::dimension::sample_size_bound;
use alike::presentations::{self, Presentation, Task};
use alike::store::manifest::Fingerprint;
use clap::Args;

use crate::cli::{Common, Existing, is_done};

#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    /// A study, whose triplets go to its output folder
    #[arg(value_name = "STUDY.toml", conflicts_with_all = ["concepts", "n", "exhaustive", "task"])]
    study: Option<PathBuf>,
    /// Concept list (CSV with a `concept` column)
    #[arg(long, value_name = "FILE", required_unless_present = "study")]
    concepts: Option<PathBuf>,
    /// Number of triplets to draw
    #[arg(long, required_unless_present_any = ["study", "exhaustive"])]
    n: Option<usize>,
    /// All triplets
    #[arg(long, conflicts_with = "n")]
    exhaustive: bool,
    /// What is asked of three concepts
    #[arg(long, value_parser = parse_task, default_value = "anchored", value_name = "anchored|odd-one-out")]
    task: Task,
    /// Ask both option orders; of odd-one-out triplets three, so that each concept stands in each place once
    #[arg(long)]
    counterbalance: bool,
    /// Dimensions of the embedding that the triplets are for: only for the bound that is printed
    #[arg(long, default_value_t = 30)]
    dims: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Output: a folder for a study, a Parquet file otherwise
    #[arg(long, value_name = "PATH", required_unless_present = "study")]
    out: Option<PathBuf>,
    #[command(flatten)]
    existing: Existing,
}

fn parse_task(text: &str) -> Result<Task, String> {
    text.parse().map_err(|e: alike::Error| e.to_string())
}

pub(crate) fn run(args: &SampleArgs, common: &Common) -> anyhow::Result<()> {
    if let Some(path) = &args.study {
        let study = crate::cli::open_study(path, args.out.as_ref())?;
        let concepts = Concepts::read_csv(&study.concepts.path)?;
        let drawn = study_triplets(&study, &concepts, args.existing)?;
        let out = study.folder().triplets();
        return report(study.triplets.task, drawn.len(), &concepts, study.embed.dims, &out, common);
    }
    let (Some(concepts), Some(out)) = (&args.concepts, &args.out) else {
        unreachable!("clap requires both without a study")
    };
    let concepts = Concepts::read_csv(concepts)?;
    let fingerprint = Fingerprint::default()
        .with_task(args.task)
        .with("concepts", concepts.digest())
        .with("design", if args.exhaustive { "exhaustive" } else { "random" })
        .with("n", args.n.unwrap_or_default())
        .with("counterbalance", args.counterbalance)
        .with("seed", args.seed);
    let drawn = match args.n {
        Some(n) => presentations::random(args.task, concepts.len(), n, args.counterbalance, args.seed)?,
        None => presentations::exhaustive(args.task, concepts.len(), args.counterbalance, args.seed),
    };
    if !is_done(out, &fingerprint, args.existing)? {
        alike::store::triplets::write(out, args.task, &drawn, &concepts, &fingerprint)?;
    }
    report(args.task, drawn.len(), &concepts, args.dims, out, common)
}

fn report(task: Task, n: usize, concepts: &Concepts, dims: usize, out: &Path, common: &Common) -> anyhow::Result<()> {
    let (bound, of) = (sample_size_bound(concepts.len(), dims), task.count(concepts.len()));
    if common.json {
        let summary = serde_json::json!({
            "task": task, "triplets": n, "concepts": concepts.len(), "of": of,
            "bound": bound, "dims": dims, "out": out,
        });
        println!("{summary}");
        return Ok(());
    }
    let what = match task {
        Task::Anchored => "triplets",
        Task::OddOneOut => "odd-one-out triplets",
    };
    println!("{n} of {of} {what} of {} concepts → {}", concepts.len(), out.display());
    match task {
        Task::Anchored => println!("an embedding in {dims} dimensions wants about n·d·log2 n = {bound:.0}"),
        // An answer gives two comparisons; being one answer, they say at least as much as one and less than two.
        Task::OddOneOut => println!(
            "an embedding in {dims} dimensions wants about n·d·log2 n = {bound:.0} anchored judgments; an odd-one-out \
             answer is converted into two that are not independent: {} to {bound:.0} of them",
            bound.div_ceil(2)
        ),
    }
    Ok(())
}

/// The triplets of a study: drawn and written, or found as they were drawn before.
pub(crate) fn study_triplets(
    study: &Study,
    concepts: &Concepts,
    existing: Existing,
) -> anyhow::Result<Vec<Presentation>> {
    let (drawn, task) = (draw(study, concepts)?, study.triplets.task);
    let fingerprint = Fingerprint::default()
        .with_task(task)
        .with("concepts", concepts.digest())
        .with("triplets", presentations::digest(&drawn));
    let path = study.folder().triplets();
    if !is_done(&path, &fingerprint, existing)? {
        alike::store::triplets::write(&path, task, &drawn, concepts, &fingerprint)?;
    }
    Ok(drawn)
}

/// The triplets of a study; nothing is written.
pub(crate) fn draw(study: &Study, concepts: &Concepts) -> alike::Result<Vec<Presentation>> {
    let source = &study.triplets;
    let (task, n, seed) = (source.task, concepts.len(), study.study.seed);
    match (source.design, source.n, &source.path) {
        (Design::Random, Some(count), _) => presentations::random(task, n, count, source.counterbalance, seed),
        (Design::File, _, Some(path)) => {
            let asked = alike::store::triplets::read(path, concepts, Some(task))?;
            Ok(if source.counterbalance { presentations::counterbalanced(asked) } else { asked })
        }
        _ => Ok(presentations::exhaustive(task, n, source.counterbalance, seed)),
    }
}
