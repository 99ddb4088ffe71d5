//! `alike judge`: ask a model, part by part.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::config::{JudgeSection, Model, Prompt, Study};
use alike::error::Error;
use alike::model_folder::ModelFolder;
use alike::presentations;
use alike::prompts::plan::Reuse;
use alike::prompts::template::Style;
use alike::scoring::{Decision, ScoreKind};
use alike::store::judgments as store;
use clap::{Args, ValueEnum};

use crate::cli::device::{Device, DeviceArgs};
use crate::cli::encoder;
use crate::cli::encoder_args::EncoderArgs;
use crate::cli::heartbeat;
use crate::cli::job::Job;
use crate::cli::language_model;
use crate::cli::parts::Target;
use crate::cli::shard::Shard;
use crate::cli::{Common, Existing, sample};

#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    /// A study: its models are asked its triplets
    #[arg(value_name = "STUDY.toml", conflicts_with_all = ["model", "triplets", "concepts", "label", "seed", "style", "template", "cosine_temperature"])]
    study: Option<PathBuf>,
    /// Model folder: `model.onnx` and `tokenizer.json`
    #[arg(long, value_name = "DIR", required_unless_present = "study")]
    model: Option<PathBuf>,
    /// Triplets: CSV or Parquet with `anchor, first, second`, or odd-one-out triplets with `a, b, c`
    #[arg(long, value_name = "FILE", required_unless_present = "study")]
    triplets: Option<PathBuf>,
    /// Concept list; the names in the triplets unless given
    #[arg(long, value_name = "FILE")]
    concepts: Option<PathBuf>,
    /// Output: judgments go to DIR/respondent=LABEL/ (of a study: to its output folder)
    #[arg(long, value_name = "DIR", required_unless_present = "study")]
    out: Option<PathBuf>,
    /// Name of the respondent; the model folder's unless given
    #[arg(long)]
    label: Option<String>,
    /// How the model is spoken to; what its folder says unless given
    #[arg(long, value_parser = parse_style, value_name = "chat|plain|base")]
    style: Option<Style>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Judgments in one part [default: the study's, or 2048, and 65536 on a GPU]
    #[arg(long, value_name = "N")]
    part_rows: Option<NonZeroUsize>,
    /// How a choice is made [default: the study's, or argmax]
    #[arg(long, value_parser = parse_decision, value_name = "argmax|sample|generate")]
    decision: Option<Decision>,
    /// What decides [default: the study's, or sequence]
    #[arg(long, value_parser = parse_score, value_name = "sequence|per-token|per-byte|pmi|greedy-mask")]
    score: Option<ScoreKind>,
    /// How often sample and generate answer each presentation [default: the study's, or 1]
    #[arg(long, value_name = "N")]
    repeats: Option<u16>,
    /// What is shared between prompts
    #[arg(long, value_enum, default_value_t = ReuseFlag::Trie)]
    reuse: ReuseFlag,
    /// Presentations on which sharing is compared with whole prompts first, 0 for none [default: the study's, or 8]
    #[arg(long, value_name = "N")]
    self_test: Option<usize>,
    /// Only the first N presentations
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Of a study, only the models with these labels; may be repeated
    #[arg(long, value_name = "LABEL", requires = "study")]
    only: Vec<String>,
    /// The share of the parts that this process makes: the I-th of N, or `slurm` for what a job array or srun says
    #[arg(long, value_name = "I/N|slurm", value_parser = parse_shard)]
    shard: Option<Shard>,
    /// Signs of life in Prometheus' text format, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE.prom")]
    metrics: Option<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    encoder: EncoderArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    existing: Existing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReuseFlag {
    /// Shared prefixes are computed once
    Trie,
    /// The options of a question share its prompt
    Question,
    /// Every prompt with every option is computed whole
    Off,
}

pub(crate) fn parse_style(text: &str) -> Result<Style, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

fn parse_decision(text: &str) -> Result<Decision, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

fn parse_score(text: &str) -> Result<ScoreKind, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

pub(crate) fn run(args: &JudgeArgs, common: &Common) -> anyhow::Result<()> {
    if let Some(path) = &args.study {
        return run_study(args, path, common);
    }
    let (Some(model), Some(file), Some(out)) = (&args.model, &args.triplets, &args.out) else {
        unreachable!("clap requires these without a study")
    };
    let named = alike::store::triplets::read_named(file, None)?;
    if !named.ignored.is_empty() {
        tracing::info!("{}: columns not read: {}", file.display(), named.ignored.join(", "));
    }
    let concepts = match &args.concepts {
        Some(path) => Concepts::read_csv(path)?,
        None => {
            let mut names: Vec<&String> = named.rows.iter().flatten().collect();
            names.sort();
            names.dedup();
            Concepts::from_names(names)?
        }
    };
    let mut asked = presentations::resolve(&named, &concepts, file)?;
    if asked.len() < named.rows.len() {
        tracing::info!("{}: {} repeated rows are asked once", file.display(), named.rows.len() - asked.len());
    }
    asked.truncate(args.limit.unwrap_or(usize::MAX));
    let folder_name = || model.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned);
    let label = args.label.clone().or_else(folder_name).unwrap_or_default();
    let judge = args.over(JudgeSection::default());
    judge.check()?;
    let device = args.device.over(Device::default());
    let target = Target {
        folder: out,
        label: &label,
        concepts: &concepts,
        task: named.task,
        presentations: &asked,
        part_rows: judge.part_rows_on(device.provider),
        repeats: judge.repeats,
        shard: args.shard(),
        existing: args.existing,
    };
    let job = Job {
        model,
        style: args.style,
        device,
        reuse: args.reuse.into(),
        seed: args.seed,
        prompt: &Prompt::default(),
        judge,
        own_score: args.score,
        encoder: args.encoder.clone(),
        beside_language_models: false,
        target,
        record: store::respondent_path(out, &label).join(format!("_run{}.json", args.shard().suffix())),
        metrics: args.metrics.clone(),
    };
    judge_or_plan(&job, args.dry_run, common)
}

/// Asks every model of a study; flags that are given override what the study says.
fn run_study(args: &JudgeArgs, path: &Path, common: &Common) -> anyhow::Result<()> {
    // A dry run writes nothing.
    let study = if args.dry_run { Study::read(path)? } else { crate::cli::open_study(path, args.out.as_ref())? };
    let concepts = Concepts::read_csv(&study.concepts.path)?;
    let mut asked = if args.dry_run {
        sample::draw(&study, &concepts)?
    } else {
        sample::study_triplets(&study, &concepts, Existing::RESUME)?
    };
    asked.truncate(args.limit.unwrap_or(usize::MAX));
    let task = study.triplets.task;
    let folder = study.folder().judgments(task);
    for model in chosen(&study, &args.only)? {
        let judge = args.over(study.judge_of(model));
        judge.check()?;
        let device = args.device.over(Device::of(model));
        let (label, part_rows, repeats) = (&model.label, judge.part_rows_on(device.provider), judge.repeats);
        let (concepts, presentations, existing) = (&concepts, &asked[..], args.existing);
        let target = Target {
            folder: &folder,
            label,
            concepts,
            task,
            presentations,
            part_rows,
            repeats,
            shard: args.shard(),
            existing,
        };
        let metrics = args.metrics.clone();
        let job = Job { device, reuse: args.reuse.into(), judge, metrics, ..study_job(&study, model, target) };
        judge_or_plan(&job, args.dry_run, common)?;
    }
    Ok(())
}

/// The models with these labels, or all of them where there are none.
///
/// # Errors
/// [`Error::Setting`] for a label that no model has
pub(crate) fn chosen<'a>(study: &'a Study, only: &[String]) -> alike::Result<Vec<&'a Model>> {
    for label in only {
        if !study.models.iter().any(|model| model.label == *label) {
            let labels: Vec<&str> = study.models.iter().map(|model| model.label.as_str()).collect();
            let (found, expected) = (format!("{label:?}"), format!("a model of the study: {}", labels.join(", ")));
            return Err(Error::Setting { field: "only".into(), found, expected });
        }
    }
    Ok(study.models.iter().filter(|model| only.is_empty() || only.contains(&model.label)).collect())
}

impl JudgeArgs {
    fn shard(&self) -> Shard {
        self.shard.unwrap_or(Shard::WHOLE)
    }

    /// The settings with what the flags say instead.
    fn over(&self, settings: JudgeSection) -> JudgeSection {
        JudgeSection {
            part_rows: self.part_rows.map(NonZeroUsize::get).or(settings.part_rows),
            self_test: self.self_test.unwrap_or(settings.self_test),
            decision: self.decision.unwrap_or(settings.decision),
            score: self.score.unwrap_or(settings.score),
            repeats: self.repeats.unwrap_or(settings.repeats),
            ..settings
        }
    }
}

impl From<ReuseFlag> for Reuse {
    fn from(flag: ReuseFlag) -> Self {
        match flag {
            ReuseFlag::Trie => Self::Trie,
            ReuseFlag::Question => Self::Question,
            ReuseFlag::Off => Self::Off,
        }
    }
}

/// The job of one model of a study.
pub(crate) fn study_job<'a>(study: &'a Study, model: &'a Model, target: Target<'a>) -> Job<'a> {
    Job {
        model: &model.path,
        style: model.style,
        device: Device::of(model),
        reuse: Reuse::Trie,
        seed: study.study.seed,
        prompt: &study.prompt,
        judge: study.judge_of(model),
        own_score: model.score,
        encoder: EncoderArgs { template: model.template.clone(), cosine_temperature: model.cosine_temperature },
        // A folder that cannot be read is told of when its turn comes.
        beside_language_models: study.models.iter().any(|model| is_language_model(&model.path).unwrap_or(true)),
        target,
        record: study.folder().run_record(&model.label, &target.shard.suffix()),
        metrics: None,
    }
}

fn is_language_model(path: &Path) -> alike::Result<bool> {
    Ok(ModelFolder::open(path)?.encoder()?.is_none())
}

/// An encoder's folder, opened; `None` for a language model's.
fn open_encoder(path: &Path, common: &Common) -> anyhow::Result<Option<encoder::Opened>> {
    let folder = ModelFolder::open(path)?;
    folder.encoder()?.map(|signature| encoder::Opened::new(folder, signature, common)).transpose()
}

fn judge_or_plan(job: &Job<'_>, dry_run: bool, common: &Common) -> anyhow::Result<()> {
    if dry_run {
        return print_plan(job, common);
    }
    let summary = judge(job, common)?;
    if common.json {
        println!("{summary}");
    }
    Ok(())
}

/// Asks one model what has not been answered yet.
pub(crate) fn judge(job: &Job<'_>, common: &Common) -> anyhow::Result<serde_json::Value> {
    let judged = match open_encoder(job.model, common) {
        Ok(Some(opened)) => encoder::judge(job, &opened, common),
        Ok(None) => language_model::judge(job, common),
        Err(error) => Err(error),
    };
    heartbeat::end(&job.record, job.target.label, job.target.shard, &judged);
    judged
}

/// `--dry-run`: the plan, without running it.
fn print_plan(job: &Job<'_>, common: &Common) -> anyhow::Result<()> {
    match open_encoder(job.model, common)? {
        Some(opened) => encoder::print_plan(job, &opened, common),
        None => language_model::print_plan(job, common),
    }
}
