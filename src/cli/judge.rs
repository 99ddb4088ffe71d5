//! `alike judge`: ask a language model, part by part.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alike::concepts::Concepts;
use alike::config::{JudgeSection, Model, Prompt, Study};
use alike::engine::LanguageModel;
use alike::engine::graph_file::GraphPorts;
use alike::engine::provider::Runtime;
use alike::engine::session::{OnnxModel, SessionSettings};
use alike::engine::signature::{Pool, Signature};
use alike::error::Error;
use alike::judge::{DecisionRule, Judge, JudgeSettings, Parity, plan, questions};
use alike::judgments::{Judgment, OrderTally};
use alike::model_folder::ModelFolder;
use alike::presentations::{self, Presentation, Task};
use alike::prompts::chat_template::{ChatTemplate, TemplateOptions};
use alike::prompts::plan::{PlanSize, Reuse};
use alike::prompts::template::{Frame, Style, SystemText, Wording};
use alike::prompts::tokens::{PromptTokenizer, Question};
use alike::scoring::{Decision, ScoreKind};
use alike::store::judgments as store;
use alike::store::manifest::Fingerprint;
use anyhow::Context;
use clap::{Args, ValueEnum};
use rayon::prelude::*;

use crate::cli::device::{Device, DeviceArgs};
use crate::cli::judge_settings::{fingerprint, settings};
use crate::cli::parts::{Parts, Target};
use crate::cli::plan::PlanReport;
use crate::cli::progress::Progress;
use crate::cli::{Common, Existing, sample, write_json};

#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    /// A study: its models are asked its triplets
    #[arg(value_name = "STUDY.toml", conflicts_with_all = ["model", "triplets", "concepts", "label", "seed", "style"])]
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
    /// Judgments in one part [default: the study's, or 2048]
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
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
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

/// One model to be asked.
pub(crate) struct Job<'a> {
    pub(crate) model: &'a Path,
    pub(crate) style: Option<Style>,
    pub(crate) device: Device,
    pub(crate) reuse: Reuse,
    pub(crate) seed: u64,
    pub(crate) prompt: &'a Prompt,
    pub(crate) judge: JudgeSection,
    pub(crate) target: Target<'a>,
    /// Where the record of the run goes.
    pub(crate) record: PathBuf,
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
    let target = Target {
        folder: out,
        label: &label,
        concepts: &concepts,
        task: named.task,
        presentations: &asked,
        part_rows: judge.part_rows,
        repeats: judge.repeats,
        existing: args.existing,
    };
    let job = Job {
        model,
        style: args.style,
        device: args.device.over(Device::default()),
        reuse: args.reuse.into(),
        seed: args.seed,
        prompt: &Prompt::default(),
        judge,
        target,
        record: store::respondent_path(out, &label).join("_run.json"),
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
    for model in &study.models {
        let judge = args.over(study.judge_of(model));
        judge.check()?;
        let (label, part_rows, repeats) = (&model.label, judge.part_rows, judge.repeats);
        let (concepts, presentations, existing) = (&concepts, &asked[..], args.existing);
        let target = Target { folder: &folder, label, concepts, task, presentations, part_rows, repeats, existing };
        let job = Job {
            device: args.device.over(Device::of(model)),
            reuse: args.reuse.into(),
            judge,
            ..study_job(&study, model, target)
        };
        judge_or_plan(&job, args.dry_run, common)?;
    }
    Ok(())
}

impl JudgeArgs {
    /// The settings with what the flags say instead.
    fn over(&self, settings: JudgeSection) -> JudgeSection {
        JudgeSection {
            part_rows: self.part_rows.map_or(settings.part_rows, NonZeroUsize::get),
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
        target,
        record: study.folder().run_record(&model.label),
    }
}

/// A model folder, opened: everything but the session, which is slow to start.
pub(crate) struct Opened {
    pub(crate) folder: ModelFolder,
    pub(crate) runtime: &'static Runtime,
    pub(crate) tokenizer: PromptTokenizer,
    pub(crate) style: Style,
}

/// Opens a model folder and puts its tokenizer into the frame of a wording.
pub(crate) fn open(model: &Path, style: Option<Style>, wording: &Wording, common: &Common) -> anyhow::Result<Opened> {
    let runtime = Runtime::load(common.ort.as_deref())?;
    let folder = ModelFolder::open(model)?;
    let (style, stated) = folder.style(style);
    if !stated {
        tracing::warn!(
            "{} does not say how it is spoken to; using `{style}`. Say --style chat, plain or base to be sure",
            model.display()
        );
    }
    let frame = Frame::new(style, wording, folder.chat_template.as_ref())?;
    if matches!(frame.system, SystemText::Folded | SystemText::Dropped) {
        tracing::warn!("{}: the system text is {}", model.display(), frame.system.describe());
    }
    let mut tokenizer = PromptTokenizer::new(&folder.tokenizer, frame, folder.eos)?;
    if let Some(start) = folder.decoder_start {
        tokenizer = tokenizer.for_decoder(start);
    }
    Ok(Opened { folder, runtime, tokenizer, style })
}

impl Opened {
    /// What the chat template was told beside the conversation, where there is one in use.
    pub(crate) fn template_settings(&self) -> TemplateOptions {
        let template = self.folder.chat_template.as_ref().filter(|_| self.style == Style::Chat);
        template.map(ChatTemplate::settings).unwrap_or_default()
    }

    /// Adds what the chat template was told, where it reads anything: what was made without is still recognised.
    pub(crate) fn with_template(&self, fingerprint: Fingerprint) -> Fingerprint {
        let settings = self.template_settings();
        if settings.is_empty() {
            return fingerprint;
        }
        fingerprint.with("template_settings", serde_json::json!(settings))
    }

    /// Starts the session.
    pub(crate) fn start(&self, device: &Device, common: &Common) -> anyhow::Result<OnnxModel> {
        let settings = SessionSettings {
            provider: device.provider,
            gpu: device.gpu.clone(),
            batch_tokens: device.batch_tokens,
            threads: common.threads,
            stated: self.folder.stated,
            context_tokens: self.folder.context_tokens,
            precision: self.folder.precision.clone(),
        };
        let model = OnnxModel::open(&self.folder.graph, self.runtime, &settings)
            .with_context(|| format!("opening the model in {}", self.folder.path.display()))?;
        if model.signature().encoder && self.folder.decoder_start.is_none() {
            let (path, found) = (self.folder.path.join("config.json"), "no `decoder_start_token_id`".into());
            return Err(Error::Format {
                path,
                found,
                expected: "what an encoder–decoder begins its answer with".into(),
            }
            .into());
        }
        // The config may be silent, the graph never is.
        self.tokenizer.check_vocabulary(model.info().vocab_size)?;
        Ok(model)
    }
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

/// Raised whenever the same inputs would give other bytes.
pub(crate) const SCORING_VERSION: u32 = 3;

/// Asks one model what has not been answered yet.
pub(crate) fn judge(job: &Job<'_>, common: &Common) -> anyhow::Result<serde_json::Value> {
    let started = Instant::now();
    let wording = job.prompt.wording(job.target.task)?;
    let opened = open(job.model, job.style, &wording, common)?;
    let settings = settings(job, wording, &opened)?;
    let fingerprint = fingerprint(job, &opened, &settings)?;
    let parts = job.target.open(fingerprint.clone())?;
    let record =
        if parts.missing().is_empty() { Record::default() } else { ask(job, &opened, &settings, &parts, common)? };
    let (made, kept) = parts.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    let tally = store::order_tally(job.target.folder, job.target.task, job.target.label)?;
    let rate = made as f64 / record.judge_seconds;
    if made > 0 {
        let judging = format!("{:.0} s, {rate:.1} judgments/s", record.judge_seconds);
        tracing::info!(
            "{}: {made} judgments in {judging} → {}",
            job.target.label,
            store::respondent_path(job.target.folder, job.target.label).display()
        );
    } else {
        tracing::info!("{}: all {kept} judgments were there", job.target.label);
    }
    tracing::info!("{}: {}", job.target.label, described(job.target.task, &tally));
    let (n_both_orders, consistency) = tally.consistency();
    let mut summary = serde_json::json!({
        "respondent": job.target.label, "task": job.target.task, "made": made, "kept": kept, "seconds": seconds,
        "judge_seconds": record.judge_seconds, "session_seconds": record.session_seconds, "load_seconds": record.load_seconds,
        "self_test_seconds": record.self_test_seconds, "self_test": record.parity,
        "triplets_per_second": (made > 0).then_some(rate / f64::from(settings.repeats)),
        "decision": settings.decision.name(), "repeats": settings.repeats,
        "unparsed": tally.n - tally.n_chosen,
        "both_orders": n_both_orders, "order_consistency": consistency,
        "tokens_computed": record.size.computed_tokens,
        "tokens_distinct": record.size.distinct_tokens, "tokens_logical": record.size.logical_tokens,
        "passes": record.size.passes, "scored_positions": record.size.scored_positions,
        "style": opened.style.to_string(), "system_text": opened.tokenizer.frame().system,
        "template_settings": opened.template_settings(), "provider": job.device.provider.to_string(),
        "precision": opened.folder.precision, "runtime": opened.runtime.version(),
        "threads": common.threads, "fingerprint": fingerprint.digest(), "version": env!("CARGO_PKG_VERSION"),
    });
    match job.target.task {
        Task::Anchored => summary["first_share"] = tally.place_shares().map(|shares| shares[0]).into(),
        Task::OddOneOut => summary["place_shares"] = tally.place_shares().into(),
    }
    if made > 0 {
        write_json(&job.record, &summary)?;
    }
    Ok(summary)
}

/// What the choices say about the order of options, in a line.
fn described(task: Task, tally: &OrderTally) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let shares: Vec<String> = tally.place_shares().unwrap_or_default().into_iter().map(percent).collect();
    let mut line = match (task, &shares[..]) {
        (_, []) => "nothing was chosen".to_owned(),
        (Task::Anchored, shares) => format!("the option shown first was chosen in {}", shares[0]),
        (Task::OddOneOut, shares) => {
            format!("the concepts shown first, second and third were named in {}", shares.join(", "))
        }
    };
    if let (n, Some(consistency)) = tally.consistency() {
        let pairs = match task {
            Task::Anchored => "pairs in both orders",
            Task::OddOneOut => "pairs of orders of one triplet",
        };
        line += &format!("; {n} {pairs}, {} answered alike", percent(consistency));
    }
    if tally.n_chosen < tally.n {
        line += &format!("; {} of {} without a choice", tally.n - tally.n_chosen, tally.n);
    }
    line
}

/// What a run of the model measured.
#[derive(Debug, Default)]
struct Record {
    load_seconds: f64,
    self_test_seconds: f64,
    judge_seconds: f64,
    session_seconds: f64,
    parity: Option<Parity>,
    size: PlanSize,
}

fn ask(
    job: &Job<'_>,
    opened: &Opened,
    settings: &JudgeSettings,
    parts: &Parts<'_>,
    common: &Common,
) -> anyhow::Result<Record> {
    let mut record = Record::default();
    let loading = Instant::now();
    let mut model = opened.start(&job.device, common)?;
    record.load_seconds = loading.elapsed().as_secs_f64();
    tracing::debug!("{}: {}", job.target.label, model.signature().reason());

    let judging = Instant::now();
    let options = parts.missing().iter().flat_map(|part| parts.presentations(*part)).flat_map(Presentation::options);
    let mut judge = Judge::new(&mut model, &opened.tokenizer, job.target.concepts, settings, options)?;
    let mut self_test_running = Duration::ZERO;
    if job.judge.self_test > 0 && settings.reuse == Reuse::Trie {
        let (testing, running) = (Instant::now(), judge.running());
        let step = job.target.presentations.len().div_ceil(job.judge.self_test);
        let sample: Vec<Presentation> = job.target.presentations.iter().step_by(step).copied().collect();
        let parity = judge.parity(&sample)?;
        record.self_test_seconds = testing.elapsed().as_secs_f64();
        self_test_running = judge.running() - running;
        tracing::debug!(
            "{}: sharing prefixes changes log-probabilities by {:.1e} nats at most",
            job.target.label,
            parity.max_nats
        );
        // Every strategy known stays below a ten-thousandth; more means that the graph does not do what it seems to.
        if parity.max_nats > PARITY_WARNING_NATS {
            tracing::warn!(
                "{}: sharing prefixes changes log-probabilities by up to {:.1e} nats ({} of {} choices); --reuse off gives the reference",
                job.target.label,
                parity.max_nats,
                parity.flips,
                parity.n
            );
        }
        record.parity = Some(parity);
    }

    let mut progress =
        Progress::new(&format!("judge {}", job.target.label), job.target.presentations.len(), "triplets", common);
    progress.skip(job.target.presentations.len() - parts.to_do());
    let missing = parts.missing().iter().map(|&part| (part, parts.presentations(part)));
    let write = |part: usize, judgments: Vec<Judgment>| parts.write(part, &judgments);
    record.size = judge.judge(missing, write, |n| progress.advance(n))?;
    progress.finish();
    record.judge_seconds = judging.elapsed().as_secs_f64() - record.self_test_seconds;
    record.session_seconds = (judge.running() - self_test_running).as_secs_f64();
    Ok(record)
}

/// See `ask`.
const PARITY_WARNING_NATS: f64 = 1e-3;

/// `--dry-run`: the plan, without running it.
fn print_plan(job: &Job<'_>, common: &Common) -> anyhow::Result<()> {
    let wording = job.prompt.wording(job.target.task)?;
    let opened = open(job.model, job.style, &wording, common)?;
    let settings = settings(job, wording, &opened)?;
    let (folder, target) = (&opened.folder, &job.target);
    let signature = Signature::read(&folder.graph, &GraphPorts::read(&folder.graph)?, folder.stated)?;
    let (strategy, slot_bytes) = (signature.strategy(), signature.pool.as_ref().map_or(0, Pool::slot_bytes));
    let of_part = |presentations: &[Presentation]| -> alike::Result<PlanSize> {
        let asked = questions(presentations, &opened.tokenizer, target.concepts, &settings, folder.context_tokens)?;
        let asked: Vec<Question> = asked.into_iter().map(|asked| asked.question).collect();
        Ok(plan(&asked, settings.reuse, strategy, settings.batch_tokens, slot_bytes).size)
    };
    let sizes = target.presentations.par_chunks(target.part_rows).map(of_part);
    let size = sizes.try_reduce(PlanSize::default, |a, b| Ok(a.plus(b)))?;
    if let DecisionRule::Generate(generation) = &settings.decision
        && !common.json
    {
        println!(
            "{}: answers freely, {generation}; the plan below is that of scoring the same questions",
            target.label
        );
    }
    let report = PlanReport {
        label: target.label,
        what: "triplet",
        n: target.presentations.len(),
        n_parts: target.presentations.len().div_ceil(target.part_rows),
        size,
        signature: &signature,
        flops: folder.flops,
    };
    report.print(common);
    Ok(())
}
