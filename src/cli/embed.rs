//! `alike embed`: fit an ordinal embedding to judgments.

use std::path::{Path, PathBuf};
use std::time::Instant;

use alike::concepts::Concepts;
use alike::config::{EmbedSection, FitName, Study};
use alike::embedding::{Comparison, Fitting, Record};
use alike::store::choices::{AnswerFiles, Choices};
use alike::store::manifest::Fingerprint;
use clap::Args;

use crate::cli::bootstrap::bootstrap;
use crate::cli::fitted::{describe, fingerprint, timed, warn_of_unanswered, write};
use crate::cli::streamed::Streamed;
use crate::cli::{Common, Existing, is_current, is_done};

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// Judgments: a `respondent=LABEL` folder, a CSV or Parquet file with `anchor, first, second, chosen`, or THINGS' `.txt`
    /// of three numbers a line that count the concepts as listed, from 0, the odd one last; or a table with
    /// `a, b, c, odd`: by `spose` and `vice` as they are, by other losses as two anchored judgments each, (i: j over k) and
    /// (j: i over k) of odd k
    #[arg(value_name = "JUDGMENTS")]
    pub(super) judgments: PathBuf,
    /// Concept list; the names in the judgments unless given
    #[arg(long, value_name = "FILE")]
    pub(super) concepts: Option<PathBuf>,
    /// The embedding's Parquet file; how the fit went goes to a .json of the same name beside it
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// `crowd-kernel` as in the paper, or, with a cross-validated penalty, `logistic-distance`, `ste`, `t-ste`, `soe`, `gnmds`;
    /// of odd-one-out answers also `spose` and `vice`, whose coordinates are non-negative and not centred
    #[arg(long, default_value = "logistic-distance", value_parser = parse_loss, value_name = "NAME")]
    loss: FitName,
    /// Degrees of freedom of `t-ste`; dimensions − 1 unless given
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<f64>,
    /// Margin of `soe` (0.1 unless given) or `gnmds` (1 unless given): it sets the scale of the coordinates
    #[arg(long, value_name = "MARGIN")]
    margin: Option<f64>,
    /// Penalty λ of `spose`, in the unit of the published software; chosen by cross-validation unless given
    #[arg(long, value_name = "LAMBDA")]
    lambda: Option<f64>,
    /// Penalty of losses on distances; chosen by cross-validation unless given, but of `crowd-kernel` none
    #[arg(long, value_name = "L2")]
    l2: Option<f64>,
    /// How the objective is minimised: `quasi-newton` with all answers in memory, or `adam` in minibatches of answers on disk
    /// (not `vice`), for sets that do not fit
    #[arg(long, default_value = "quasi-newton", value_name = "NAME")]
    optimiser: Optimiser,
    /// Passes over the answers that one search of `adam` may spend
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub(super) max_epochs: usize,
    /// Dimensions; of `spose` and `vice` those to begin with, of which empty ones are dropped
    #[arg(long, default_value_t = 30, value_name = "D")]
    dims: usize,
    /// Share of unordered triplets held out
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    holdout: f64,
    /// Random starts
    #[arg(long, default_value_t = 1, value_name = "N")]
    restarts: usize,
    /// Refits of triplets drawn again with replacement, beside the embedding in `X.bootstrap.parquet`
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) bootstrap: u32,
    /// Column with the probability of the first option, as target instead of the choice
    #[arg(long, value_name = "COLUMN")]
    pub(super) soft_column: Option<String>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    pub(super) existing: Existing,
}

/// Optimisers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Optimiser {
    QuasiNewton,
    Adam,
}

/// From so many answers on, memory is worth a warning.
const MANY: u64 = 100_000_000;

fn parse_loss(text: &str) -> Result<FitName, String> {
    text.parse().map_err(|e: alike::Error| e.to_string())
}

pub(crate) fn run(args: &EmbedArgs, common: &Common) -> anyhow::Result<()> {
    let section = EmbedSection {
        loss: vec![args.loss],
        alpha: args.alpha,
        margin: args.margin,
        lambda: args.lambda,
        l2: args.l2,
        dims: args.dims,
        holdout: args.holdout,
        restarts: args.restarts,
        soft_column: args.soft_column.clone(),
        bootstrap: args.bootstrap,
    };
    section.check()?;
    let settings = section.fitting(args.loss, args.seed);
    if args.optimiser == Optimiser::Adam {
        if args.bootstrap > 0 {
            let found = format!("{} with optimiser adam", args.bootstrap);
            let expected = "0: refits take their answers from memory".to_owned();
            return Err(alike::Error::Setting { field: "bootstrap".to_owned(), found, expected }.into());
        }
        let streamed = Streamed { out: &args.out, max_epochs: args.max_epochs, existing: args.existing };
        return streamed.run(|| args.files(), &settings, common);
    }
    let files = args.files()?;
    if let Some(n @ MANY..) = files.n_rows_told() {
        tracing::warn!(
            "{n} answers take {} GB of memory before the fit: `--optimiser adam` keeps them on disk",
            n * size_of::<Comparison>() as u64 / 1_000_000_000
        );
    }
    let choices = files.read()?;
    let fingerprint = fingerprint(&choices, &settings);
    let refit = || match (&settings, args.bootstrap) {
        (Fitting::Distances(settings), n @ 1..) => {
            bootstrap(&args.out, &choices, settings, n.into(), &fingerprint, args.existing)
        }
        _ => Ok(()),
    };
    if is_done(&args.out, &fingerprint, args.existing)? {
        tracing::info!("{} is there", args.out.display());
        return refit();
    }
    let (record, seconds) = embed(&choices, &settings, &args.out, &fingerprint)?;
    refit()?;
    if common.json {
        println!("{}", serde_json::to_string(&timed(&record, seconds))?);
    } else {
        println!("{} in {seconds:.1} s → {}", describe(&record, choices.answered.task()), args.out.display());
    }
    Ok(())
}

impl EmbedArgs {
    pub(super) fn files(&self) -> alike::Result<AnswerFiles> {
        let concepts = self.concepts.as_deref().map(Concepts::read_csv).transpose()?;
        AnswerFiles::open(&self.judgments, concepts, self.soft_column.as_deref())
    }
}

fn embed(choices: &Choices, settings: &Fitting, out: &Path, fingerprint: &Fingerprint) -> alike::Result<(Record, f64)> {
    let started = Instant::now();
    warn_of_unanswered(choices.n_unanswered);
    let (coordinates, record) = settings.fit(choices.concepts.len(), &choices.answered)?;
    let seconds = write(out, &choices.concepts, coordinates.as_ref(), &record, fingerprint, started)?;
    Ok((record, seconds))
}

/// All fits of one respondent of a study.
pub(crate) fn embed_study(study: &Study, label: &str, choices: &Choices, existing: Existing) -> anyhow::Result<()> {
    for &loss in &study.embed.loss {
        let settings = study.fit_settings(loss);
        let path = study.folder().embedding(label, loss.name());
        let fingerprint = fingerprint(choices, &settings);
        if !is_current(&path, &fingerprint, existing) {
            let (record, seconds) = embed(choices, &settings, &path, &fingerprint)?;
            tracing::info!("{label}: {} in {seconds:.1} s", describe(&record, choices.answered.task()));
        }
        if let (Fitting::Distances(settings), n @ 1..) = (&settings, study.embed.bootstrap) {
            bootstrap(&path, choices, settings, n.into(), &fingerprint, existing)?;
        }
    }
    Ok(())
}
