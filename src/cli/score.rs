//! `alike score`: any prompts, each with any choices.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use alike::engine::LanguageModel;
use alike::engine::graph_file::GraphPorts;
use alike::engine::provider::ExecutionProvider;
use alike::engine::signature::{Pool, Signature};
use alike::error::Error;
use alike::model_folder::{ModelFolder, file_digest};
use alike::multiple_choice::{Accuracy, Group, Request, Rule, ScoreSettings, Scored, Scorer, groups};
use alike::presentations::Task;
use alike::prompts::plan::{Budget, Plan, PlanSize};
use alike::prompts::template::{Style, Wording};
use alike::prompts::tokens::{Close, PromptTokenizer, TokenId};
use alike::store::manifest::Fingerprint;
use alike::store::requests;
use alike::store::scores::{ScoreParts, read_accuracy};
use clap::{Args, ValueEnum};

use crate::cli::device::{Device, DeviceArgs};
use crate::cli::judge::{ReuseFlag, parse_style};
use crate::cli::opened::{Opened, SCORING_VERSION, open};
use crate::cli::plan::PlanReport;
use crate::cli::progress::Progress;
use crate::cli::stop::{self, Orderly};
use crate::cli::{Common, Existing, is_done};

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// Model folder: `model.onnx` and `tokenizer.json`
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Requests: Parquet, or JSON lines
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    /// Output: one row for each choice of each request
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name of the model in the output; the model folder's unless given
    #[arg(long)]
    label: Option<String>,
    /// How the model is spoken to; what its folder says unless given
    #[arg(long, value_parser = parse_style, value_name = "chat|plain|base")]
    style: Option<Style>,
    /// Whether the closing token counts as a choice's last token: "is this" rather than "begins with this"
    #[arg(long, value_enum, default_value_t = CloseFlag::Never)]
    close: CloseFlag,
    /// Leave out `log_prob_empty` and acc_mutual_info, which ask every choice a second time after the empty context
    #[arg(long)]
    no_mutual_info: bool,
    /// Choices that are planned, written and kept together
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(8192).expect("not 0"))]
    part_rows: NonZeroUsize,
    /// What is shared between prompts
    #[arg(long, value_enum, default_value_t = ReuseFlag::Trie)]
    reuse: ReuseFlag,
    /// Only the first N requests
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
enum CloseFlag {
    /// Where a choice of the request begins another
    Auto,
    /// Always
    Always,
    /// Never, as in lm-evaluation-harness
    Never,
}

impl From<CloseFlag> for Close {
    fn from(flag: CloseFlag) -> Self {
        match flag {
            CloseFlag::Auto => Self::Auto,
            CloseFlag::Always => Self::Always,
            CloseFlag::Never => Self::Never,
        }
    }
}

pub(crate) fn run(args: &ScoreArgs, common: &Common) -> anyhow::Result<()> {
    let started = Instant::now();
    if args.out.is_dir() {
        return Err(Error::Setting { field: "out".into(), found: "a folder".into(), expected: "a file".into() }.into());
    }
    if args.out.exists() && !args.existing.force && !args.existing.resume && !args.dry_run {
        return Err(Error::Exists { path: args.out.clone() }.into());
    }
    let folder_name = || args.model.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned);
    let label = args.label.clone().or_else(folder_name).unwrap_or_default();
    let unworded =
        Wording { task: Task::default(), system: String::new(), question: String::new(), examples: Vec::new() };
    let opened = open(&args.model, args.style, &unworded, common)?;
    let device = args.device.over(Device::default());
    let settings = ScoreSettings {
        close: args.close.into(),
        start: start_token(&opened.folder, &opened.tokenizer)?,
        mutual_info: !args.no_mutual_info,
        reuse: args.reuse.into(),
        batch_tokens: device.batch_tokens(),
        part_rows: args.part_rows.get(),
    };
    let scorer = Scorer {
        tokenizer: &opened.tokenizer,
        template: opened.folder.chat_template.as_ref().filter(|_| opened.style == Style::Chat),
        settings: &settings,
        context_tokens: opened.folder.context_tokens,
    };
    let part_requests = survey(args, &scorer)?;
    let n_requests: usize = part_requests.iter().sum();
    if args.dry_run {
        return print_plan(args, &label, n_requests, &opened, (&scorer, device.provider), common);
    }
    let fingerprint = fingerprint(args, &label, &opened, &settings, &device)?;
    let parts = ScoreParts::open(&args.out, &label, &fingerprint)?;
    let there = is_done(&args.out, &fingerprint, args.existing)?;
    let missing = match there {
        true => BTreeSet::new(),
        false => missing(&parts, part_requests.len(), &fingerprint, args.existing)?,
    };
    let made: usize = missing.iter().map(|part| part_requests[*part]).sum();
    let scored = score(args, &scorer, (&parts, &missing), (&label, made), &opened, &device, common)?;
    // What lies there may be another run's: only what was found whole or written now is done.
    let done = part_requests.len() - missing.len() + scored.n_parts;
    if done < part_requests.len() {
        return Err(Error::Stopped { what: label, done, of: part_requests.len() }.into());
    }
    match there {
        true => parts.remove()?,
        false => parts.put_together(part_requests.len())?,
    }
    let (n_choices, accuracy) = read_accuracy(&args.out)?;
    let Scoring { size, seconds, session_seconds, .. } = scored;
    let rate = (made > 0).then(|| made as f64 / seconds);
    let how = match rate {
        Some(rate) if made == n_requests => format!("in {seconds:.0} s, {rate:.1} requests/s"),
        Some(rate) => format!("of which {made} requests now in {seconds:.0} s, {rate:.1} requests/s"),
        None => "all of them there before".into(),
    };
    tracing::info!(
        "{label}: {n_requests} requests, {n_choices} choices, {how} → {}{}",
        args.out.display(),
        in_words(&accuracy)
    );
    if common.json {
        let mut summary = serde_json::json!({
            "model": label, "requests": n_requests, "made": made, "kept": n_requests - made, "choices": n_choices, "with_gold": accuracy.n,
            "seconds": started.elapsed().as_secs_f64(), "score_seconds": seconds,
            "session_seconds": session_seconds, "requests_per_second": rate,
            "tokens_computed": size.computed_tokens, "tokens_distinct": size.distinct_tokens,
            "tokens_logical": size.logical_tokens, "passes": size.passes, "scored_positions": size.scored_positions,
            "style": opened.style.to_string(), "template_settings": opened.template_settings(),
            "provider": device.provider.to_string(),
            "precision": opened.folder.precision, "runtime": opened.runtime.version(), "threads": common.threads,
            "fingerprint": fingerprint.digest(), "version": env!("CARGO_PKG_VERSION"),
        });
        for rule in Rule::ALL {
            let (share, error) = accuracy.of(rule).unzip();
            summary[rule.name()] = share.into();
            summary[format!("{}_stderr", rule.name())] = error.flatten().into();
        }
        println!("{summary}");
    }
    Ok(())
}

/// What scoring took.
#[derive(Default)]
struct Scoring {
    n_parts: usize,
    size: PlanSize,
    seconds: f64,
    session_seconds: f64,
}

/// Parts that are still to be made. With `--force` those of an earlier run go, or an interrupted one would go on with them.
fn missing(
    parts: &ScoreParts,
    n_parts: usize,
    fingerprint: &Fingerprint,
    existing: Existing,
) -> alike::Result<BTreeSet<usize>> {
    let mut missing = BTreeSet::new();
    for part in 0..n_parts {
        let path = parts.path(part);
        if !is_done(&path, fingerprint, existing)? {
            missing.insert(part);
            if path.is_file() {
                fs_err::remove_file(path)?;
            }
        }
    }
    Ok(missing)
}

/// Scores the parts that are missing, until all are there or somebody asks for a stop.
fn score(
    args: &ScoreArgs,
    scorer: &Scorer<'_>,
    (parts, missing): (&ScoreParts, &BTreeSet<usize>),
    (label, n_requests): (&str, usize),
    opened: &Opened,
    device: &Device,
    common: &Common,
) -> anyhow::Result<Scoring> {
    if missing.is_empty() {
        return Ok(Scoring::default());
    }
    let mut model = opened.start(device, common)?;
    let started = Instant::now();
    let mut progress = Progress::new(&format!("score {label}"), n_requests, "requests", common);
    let _orderly = Orderly::new();
    // Faults in the file come through: where the file changed since it was surveyed, there are some.
    let wanted = |group: &alike::Result<Group>| group.as_ref().map_or(true, |group| missing.contains(&group.number));
    let groups = groups(requests_of(args)?, scorer.settings.part_rows);
    let groups = groups.filter(wanted).take_while(|_| !stop::requested());
    let mut n_parts = 0;
    let write = |part: usize, scored: Vec<Scored>| {
        n_parts += 1;
        parts.write(part, &scored)
    };
    let size = scorer.score(&mut model, groups, write, |n| progress.advance(n))?;
    progress.finish();
    let (seconds, session_seconds) = (started.elapsed().as_secs_f64(), model.running().as_secs_f64());
    Ok(Scoring { n_parts, size, seconds, session_seconds })
}

/// The empty context of lm-evaluation-harness: BOS, or where there is none the end-of-sequence token.
fn start_token(folder: &ModelFolder, tokenizer: &PromptTokenizer) -> alike::Result<TokenId> {
    let named = |name: &str| folder.special_tokens.iter().find(|(n, _)| n == name);
    let id = ["bos_token", "eos_token"].into_iter().find_map(|name| tokenizer.id(&named(name)?.1));
    id.or(folder.eos).ok_or_else(|| Error::Tokenizer {
        path: folder.tokenizer.clone(),
        message: "no token can stand for the empty context: neither bos_token nor eos_token is set".into(),
    })
}

/// The requests that are scored.
fn requests_of(args: &ScoreArgs) -> alike::Result<impl Iterator<Item = alike::Result<Request>> + Send> {
    Ok(requests::read(&args.requests)?.take(args.limit.unwrap_or(usize::MAX)))
}

/// Reads the file once before any work, so that a fault at its end is not found after hours; returns how many requests each part has.
fn survey(args: &ScoreArgs, scorer: &Scorer<'_>) -> alike::Result<Vec<usize>> {
    let mut requests = requests::read(&args.requests)?;
    // A digest of each id: memory does not grow with their length.
    let (mut ids, mut parts) = (HashSet::new(), Vec::new());
    for group in groups(requests.by_ref().take(args.limit.unwrap_or(usize::MAX)), scorer.settings.part_rows) {
        let group = group?;
        parts.push(group.requests.len());
        for request in group.requests {
            scorer.check(&request)?;
            if !ids.insert(request.id_digest()) {
                return Err(Error::Request {
                    place: request.place,
                    what: "`id`".into(),
                    found: format!("{:?}, as that of an earlier one", request.id),
                    expected: "each id once".into(),
                });
            }
        }
    }
    if parts.is_empty() {
        return Err(Error::TooFew { what: format!("requests in {}", args.requests.display()), found: 0, needed: 1 });
    }
    if !requests.ignored.is_empty() {
        let names: Vec<&str> = requests.ignored.iter().map(String::as_str).collect();
        tracing::info!("{}: fields not read: {}", args.requests.display(), names.join(", "));
    }
    Ok(parts)
}

/// What the bytes of the scores depend on.
fn fingerprint(
    args: &ScoreArgs,
    label: &str,
    opened: &Opened,
    settings: &ScoreSettings,
    device: &Device,
) -> alike::Result<Fingerprint> {
    let fingerprint = Fingerprint::default()
        .with("kind", "scores")
        .with("label", label)
        .with_all("model.", &opened.folder.digests()?)
        .with("requests", file_digest(&args.requests)?)
        .with("limit", args.limit.map_or("none".into(), |n| n.to_string()))
        .with("style", opened.style)
        .with("close", settings.close.name())
        .with("start", settings.start)
        .with("mutual_info", settings.mutual_info)
        .with("provider", device.provider)
        .with("provider_options", device.gpu.numeric(device.provider))
        .with("precision", &opened.folder.precision)
        .with("runtime", opened.runtime.version())
        .with("scoring_version", SCORING_VERSION)
        .with("reuse", settings.reuse.name())
        .with("batch_tokens", settings.batch_tokens)
        .with("part_rows", settings.part_rows);
    Ok(opened.with_template(fingerprint))
}

/// Accuracies with their standard errors; nothing where no request has a right choice.
fn in_words(accuracy: &Accuracy) -> String {
    let mut words = String::new();
    for rule in Rule::ALL {
        if let Some((share, error)) = accuracy.of(rule) {
            let _ = write!(words, "{} {} {share:.4}", if words.is_empty() { ";" } else { "," }, rule.name());
            let _ = error.map(|error| write!(words, " ± {error:.4}"));
        }
    }
    if accuracy.n > 0 {
        let _ = write!(words, " (n = {})", accuracy.n);
    }
    words
}

/// `--dry-run`: the plan, without running it.
fn print_plan(
    args: &ScoreArgs,
    label: &str,
    n: usize,
    opened: &Opened,
    (scorer, provider): (&Scorer<'_>, ExecutionProvider),
    common: &Common,
) -> anyhow::Result<()> {
    let folder = &opened.folder;
    let signature = Signature::read(&folder.graph, &GraphPorts::read(&folder.graph)?, folder.stated)?;
    let (strategy, slot_bytes) = (signature.strategy(), signature.pool.as_ref().map_or(0, Pool::slot_bytes));
    let ScoreSettings { reuse, batch_tokens, .. } = *scorer.settings;
    let budget = Budget::new(batch_tokens, provider.resources(), slot_bytes);
    let (mut size, mut n_parts) = (PlanSize::default(), 0);
    let groups = groups(requests_of(args)?, scorer.settings.part_rows);
    for part in scorer.parts(groups, |asked| Plan::new(asked, reuse, strategy, budget)) {
        size = size.plus(part?.size());
        n_parts += 1;
    }
    PlanReport { label, what: "request", n, n_parts, size, signature: &signature, flops: folder.flops }.print(common);
    Ok(())
}
