//! The command line: one file for each subcommand, which are the stages of the straight line.

mod align;
mod bench;
mod bootstrap;
mod check;
mod checked;
mod compact;
mod device;
mod dimensions;
mod embed;
mod encoder;
mod encoder_args;
mod export;
mod fit_args;
mod fitted;
mod heartbeat;
mod human_choices;
mod intervals;
mod job;
mod judge;
mod judge_settings;
mod language_model;
mod learning_curve;
mod next;
mod opened;
mod parts;
mod people;
mod plan;
mod progress;
mod regress;
mod report;
mod run;
mod sample;
mod schema;
mod score;
mod shard;
mod simulate;
mod slurm;
mod status;
pub(crate) mod stop;
mod streamed;
mod subjects;
mod suite;
mod tables;
mod validate;

use std::path::{Path, PathBuf};

use alike::config::Study;
use alike::store::manifest::Fingerprint;
use alike::store::place::Place;
use alike::store::table::checked_metadata;
use anyhow::Context;
use clap::{Args, Parser, Subcommand};

/// Ask language models which of two things is more like a third, and measure how human-like the answers are.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 75 stopped by SIGTERM or SIGUSR1 (what is finished is kept; start it again), 130 interrupted"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags that mean the same everywhere.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Threads of the model and of the mathematics; 0 is one a core. Results do not depend on it
    #[arg(long, global = true, default_value_t = 0, value_name = "N", help_heading = "Everywhere")]
    threads: usize,
    /// A summary for machines on standard output
    #[arg(long, global = true, help_heading = "Everywhere")]
    json: bool,
    /// No progress, only warnings and errors
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    quiet: bool,
    /// More words about what happens
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    verbose: bool,
    /// What the log on standard error is written as
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, help_heading = "Everywhere")]
    pub(crate) log_format: LogFormat,
    /// Seconds from one sign of life to the next, where there is no bar
    #[arg(long, global = true, default_value_t = 30, value_name = "SECONDS", help_heading = "Everywhere")]
    heartbeat: u64,
    /// The ONNX Runtime library to use instead of the one `make setup` installs
    #[arg(long, global = true, value_name = "PATH", help_heading = "Everywhere")]
    ort: Option<PathBuf>,
}

/// What the log is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// A line of JSON for each event, with its time
    Json,
}

/// What to do with output that is there already.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Existing {
    /// Go on with output that is there: what is finished and made from the same inputs is kept
    #[arg(long)]
    resume: bool,
    /// Replace output that is there
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

impl Existing {
    /// What `alike run` does without flags.
    const RESUME: Self = Self { resume: true, force: false };
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole line for every respondent of a study, skipping what is done
    Run(run::RunArgs),
    /// Draw triplets
    Sample(sample::SampleArgs),
    /// Ask a language model, or a sentence encoder
    Judge(judge::JudgeArgs),
    /// Score any prompts with any choices, as lm-evaluation-harness does
    ///
    /// A request is a line of JSON or a row of Parquet: `prompt` (text) or `messages` (a list of {role, content}),
    /// `choices` (a list of text), and, if there are, `id`, `gold` (index or text of the right choice), `delimiter`
    /// (between prompt and choice; none in chat, else a space), `context` (what mutual information compares with, instead
    /// of the empty context). In chat, a `prompt` is the user's message; otherwise it is taken as it stands. Text that
    /// looks like a special token is one.
    Score(score::ScoreArgs),
    /// Let a simulated subject answer from a reference, or by coin
    Simulate(simulate::SimulateArgs),
    /// Fit an ordinal embedding to judgments
    Embed(embed::EmbedArgs),
    /// Compare an embedding with a reference
    Align(align::AlignArgs),
    /// Choose the triplets whose answers are expected to tell most, given the answers so far
    Next(next::NextArgs),
    /// How many dimensions a reference needs, the answers ask for, and the number of triplets allows
    Dimensions(dimensions::DimensionsArgs),
    /// Accuracy, and alignment with a reference, against the number of triplets
    LearningCurve(learning_curve::LearningCurveArgs),
    /// Ask which ingredients of models go with their scores, and what becomes of claims about that
    Regress(regress::RegressArgs),
    /// Measure how fast models answer, over providers, precisions, threads and batch sizes, and whether the answers agree
    ///
    /// Every cell of the matrix is asked the same seeded presentations, each measurement in a process of its own, repeats
    /// interleaved over cells. What cannot be measured says why. docs/benchmarking.md has what is measured and what is not.
    Bench(bench::BenchArgs),
    /// The process that measures, which bench starts by itself
    #[command(hide = true)]
    BenchProcess,
    /// Write the page and figures of a finished study, or of a benchmark
    Report(report::ReportArgs),
    /// Tell whether what was written is whole: every file as it was written, every part there, every row once
    Validate(validate::ValidateArgs),
    /// Tell how far a study is: parts done and missing, who is at work, the last errors
    Status(status::StatusArgs),
    /// Put the parts of judgments together into fewer, larger files
    Compact(compact::CompactArgs),
    /// Write job scripts for a study on a cluster with Slurm: an array that asks its models, and a job for the rest
    ///
    /// Nothing is submitted: look the scripts over, then run `submit`, which is one of them.
    Slurm(slurm::SlurmArgs),
    /// Write answers as other programs take them: lm-evaluation-harness, cblearn, THINGS
    Export(export::ExportArgs),
    /// List the columns of a table that alike writes: name, type, null rule, meaning
    Schema(schema::SchemaArgs),
    /// Tell what a model's graph accepts, how it is spoken to, and whether sharing prefixes changes its numbers
    Check(check::CheckArgs),
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    let common = cli.common;
    if common.threads > 0 {
        rayon::ThreadPoolBuilder::new().num_threads(common.threads).build_global().context("starting threads")?;
    }
    match cli.command {
        Command::Run(args) => run::run(&args, &common),
        Command::Sample(args) => sample::run(&args, &common),
        Command::Judge(args) => judge::run(&args, &common),
        Command::Score(args) => score::run(&args, &common),
        Command::Simulate(args) => simulate::run(&args, &common),
        Command::Embed(args) => embed::run(&args, &common),
        Command::Align(args) => align::run(&args, &common),
        Command::Next(args) => next::run(&args, &common),
        Command::Dimensions(args) => dimensions::run(&args, &common),
        Command::LearningCurve(args) => learning_curve::run(&args, &common),
        Command::Regress(args) => regress::run(&args, &common),
        Command::Bench(args) => bench::run(&args, &common),
        Command::BenchProcess => bench::child::run(&common),
        Command::Report(args) => report::run(&args, &common),
        Command::Validate(args) => validate::run(&args, &common),
        Command::Status(args) => status::run(&args, &common),
        Command::Compact(args) => compact::run(&args, &common),
        Command::Slurm(args) => slurm::run(&args, &common),
        Command::Export(args) => export::run(&args, &common),
        Command::Schema(args) => {
            schema::run(&args, &common);
            Ok(())
        }
        Command::Check(args) => check::run(&args, &common),
    }
}

/// The library speaks through `tracing`; its words go to standard error.
pub(crate) fn logging(common: &Common) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => tracing::Level::WARN,
        (_, true) => tracing::Level::DEBUG,
        _ => tracing::Level::INFO,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    match common.log_format {
        LogFormat::Text => {
            log.without_time().with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// What ended the program: its words, what caused it, and what to do about it.
pub(crate) fn tell(error: &anyhow::Error, log_format: LogFormat) {
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let hint = error.chain().find_map(|cause| cause.downcast_ref::<alike::Error>()?.hint());
    match log_format {
        LogFormat::Json => tracing::error!(causes = causes.join(": "), hint, "{error}"),
        LogFormat::Text => {
            eprintln!("error: {error}");
            causes.iter().for_each(|cause| eprintln!("  caused by: {cause}"));
            hint.iter().for_each(|hint| eprintln!("hint: {hint}"));
        }
    }
}

/// A study's output folder, opened before long work starts: created, writable, with the resolved study in it.
fn open_study(path: &Path, out: Option<&PathBuf>) -> anyhow::Result<Study> {
    let mut study = Study::read(path)?;
    if let Some(out) = out {
        study.study.out.clone_from(out);
    }
    let resolved = study.resolved();
    alike::store::table::write_atomically(&study.folder().study(), |file| {
        std::io::Write::write_all(file, resolved.as_bytes())
    })?;
    Place::tell(study.folder().root());
    Ok(study)
}

/// Whether a file is there and was made from these inputs. A file made from others is refused or, with `--force`, replaced.
fn is_done(path: &Path, fingerprint: &Fingerprint, existing: Existing) -> alike::Result<bool> {
    if !path.is_file() || existing.force {
        return Ok(false);
    }
    match checked_metadata(path) {
        Ok(metadata) => {
            if existing.resume {
                fingerprint.check(path, &metadata)?;
                return Ok(true);
            }
            Err(alike::Error::Exists { path: path.into() })
        }
        // A damaged file is not done; making it again loses nothing.
        Err(error) if existing.resume => {
            tracing::warn!("{error}; it is made again");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Like [`is_done`], for a file that is cheap to make again: other inputs simply replace it.
fn is_current(path: &Path, fingerprint: &Fingerprint, existing: Existing) -> bool {
    path.is_file() && !existing.force && checked_metadata(path).is_ok_and(|metadata| fingerprint.matches(&metadata))
}

/// Writes a JSON file.
fn write_json(path: &Path, value: &serde_json::Value) -> alike::Result<()> {
    alike::store::table::write_atomically(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        std::io::Write::write_all(file, b"\n")
    })
}

/// A table of `name=value` flags.
fn parse_pairs(pairs: &[String]) -> alike::Result<std::collections::BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| alike::Error::Setting {
            field: "map".into(),
            found: format!("{text:?}"),
            expected: "concept=row".into(),
        })?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    pairs.iter().map(pair).collect()
}
