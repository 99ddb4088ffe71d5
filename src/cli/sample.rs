//! `alike sample`: draw triplets.

use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::config::{Design, Study};
use alike::embedding::dimension::sample_size_bound;
use alike::store::manifest::Fingerprint;
use alike::triplets::{self, Triplet};
use clap::Args;

use crate::cli::{Common, Existing, is_done};

#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    /// A study, whose triplets go to its output folder
    #[arg(value_name = "STUDY.toml", conflicts_with_all = ["concepts", "n", "exhaustive"])]
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
    /// Ask both option orders
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

pub(crate) fn run(args: &SampleArgs, common: &Common) -> anyhow::Result<()> {
    if let Some(path) = &args.study {
        let study = crate::cli::open_study(path, args.out.as_ref())?;
        let concepts = Concepts::read_csv(&study.concepts.path)?;
        let triplets = study_triplets(&study, &concepts, args.existing)?;
        return report(&triplets, &concepts, study.embed.dims, &study.folder().triplets(), common);
    }
    let (Some(concepts), Some(out)) = (&args.concepts, &args.out) else {
        unreachable!("clap requires both without a study")
    };
    let concepts = Concepts::read_csv(concepts)?;
    let fingerprint = Fingerprint::default()
        .with("concepts", concepts.digest())
        .with("design", if args.exhaustive { "exhaustive" } else { "random" })
        .with("n", args.n.unwrap_or_default())
        .with("counterbalance", args.counterbalance)
        .with("seed", args.seed);
    let drawn = match args.n {
        Some(n) => triplets::random(concepts.len(), n, args.counterbalance, args.seed)?,
        None => triplets::exhaustive(concepts.len(), args.counterbalance, args.seed),
    };
    if !is_done(out, &fingerprint, args.existing)? {
        alike::store::triplets::write(out, &drawn, &concepts, &fingerprint)?;
    }
    report(&drawn, &concepts, args.dims, out, common)
}

fn report(triplets: &[Triplet], concepts: &Concepts, dims: usize, out: &Path, common: &Common) -> anyhow::Result<()> {
    let bound = sample_size_bound(concepts.len(), dims);
    if common.json {
        let summary = serde_json::json!({
            "triplets": triplets.len(), "concepts": concepts.len(), "of": triplets::count(concepts.len()),
            "bound": bound, "dims": dims, "out": out,
        });
        println!("{summary}");
    } else {
        println!(
            "{} of {} triplets of {} concepts → {}",
            triplets.len(),
            triplets::count(concepts.len()),
            concepts.len(),
            out.display()
        );
        println!("an embedding in {dims} dimensions wants about n·d·log2 n = {bound:.0}");
    }
    Ok(())
}

/// The triplets of a study: drawn and written, or found as they were drawn before.
pub(crate) fn study_triplets(study: &Study, concepts: &Concepts, existing: Existing) -> anyhow::Result<Vec<Triplet>> {
    let drawn = draw(study, concepts)?;
    let fingerprint =
        Fingerprint::default().with("concepts", concepts.digest()).with("triplets", triplets::digest(&drawn));
    let path = study.folder().triplets();
    if !is_done(&path, &fingerprint, existing)? {
        alike::store::triplets::write(&path, &drawn, concepts, &fingerprint)?;
    }
    Ok(drawn)
}

/// The triplets of a study; nothing is written.
pub(crate) fn draw(study: &Study, concepts: &Concepts) -> alike::Result<Vec<Triplet>> {
    let source = &study.triplets;
    let (n, seed) = (concepts.len(), study.study.seed);
    match (source.design, source.n, &source.path) {
        (Design::Random, Some(count), _) => triplets::random(n, count, source.counterbalance, seed),
        (Design::File, _, Some(path)) => {
            let mut triplets = alike::store::triplets::read(path, concepts)?;
            if source.counterbalance {
                triplets.extend(triplets.clone().into_iter().map(Triplet::swapped));
                triplets.sort_unstable();
                triplets.dedup();
            }
            Ok(triplets)
        }
        _ => Ok(triplets::exhaustive(n, source.counterbalance, seed)),
    }
}
