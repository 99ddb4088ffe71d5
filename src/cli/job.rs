//! One model to be asked, and how its answers are told of in the end.

use std::path::{Path, PathBuf};
use std::time::Instant;

use alike::config::{JudgeSection, Prompt};
use alike::engine::provider::ExecutionProvider;
use alike::judgments::OrderTally;
use alike::presentations::Task;
use alike::prompts::plan::Reuse;
use alike::prompts::template::Style;
use alike::scoring::ScoreKind;
use alike::store::judgments as store;

use crate::cli::Common;
use crate::cli::device::Device;
use crate::cli::encoder_args::EncoderArgs;
use crate::cli::heartbeat::{Heartbeat, place, unix_seconds};
use crate::cli::parts::{Parts, Target};
use crate::cli::progress::Progress;

/// One model to be asked.
pub(crate) struct Job<'a> {
    pub(crate) model: &'a Path,
    pub(crate) style: Option<Style>,
    pub(crate) device: Device,
    pub(crate) reuse: Reuse,
    pub(crate) seed: u64,
    pub(crate) prompt: &'a Prompt,
    pub(crate) judge: JudgeSection,
    /// The score that is set for this model alone.
    pub(crate) own_score: Option<ScoreKind>,
    pub(crate) encoder: EncoderArgs,
    /// Whether the other settings are also those of language models.
    pub(crate) beside_language_models: bool,
    pub(crate) target: Target<'a>,
    /// Where the record of the run goes.
    pub(crate) record: PathBuf,
    /// Where signs of life for Prometheus go.
    pub(crate) metrics: Option<PathBuf>,
}

impl Job<'_> {
    /// Progress over the presentations of this process, watched from outside.
    pub(crate) fn progress(&self, parts: &Parts<'_>, common: &Common) -> anyhow::Result<Progress> {
        let Target { label, shard, .. } = self.target;
        let gpu = (self.device.provider != ExecutionProvider::Cpu).then_some(self.device.gpu.device);
        let heartbeat = Heartbeat::begin(&self.record, (label, shard), parts.counts(), gpu, self.metrics.as_ref())?;
        let progress = Progress::new(&format!("judge {label}"), parts.own_presentations().len(), "triplets", common);
        Ok(progress.watched(heartbeat))
    }
}

/// Ends a respondent: says what was made and how the choices depend on the order of options. Returns the part of the
/// summary that is the same for all kinds of models.
pub(crate) fn finish(
    target: &Target<'_>,
    parts: Parts<'_>,
    started: Instant,
    judge_seconds: f64,
) -> anyhow::Result<serde_json::Value> {
    let files = parts.files()?;
    let (made, kept) = parts.finish()?;
    let tally = store::order_tally(&files, target.task)?;
    let (label, rate) = (target.label, made as f64 / judge_seconds);
    if made > 0 {
        let folder = store::respondent_path(target.folder, label);
        let judging = format!("{judge_seconds:.0} s, {rate:.1} judgments/s");
        tracing::info!("{label}: {made} judgments in {judging} → {}", folder.display());
    } else {
        tracing::info!("{label}: all {kept} judgments were there");
    }
    tracing::info!("{label}: {}", described(target.task, &tally));
    let (n_both_orders, consistency) = tally.consistency();
    let mut summary = serde_json::json!({
        "respondent": label, "shard": target.shard.to_string(), "task": target.task, "made": made, "kept": kept, "seconds": started.elapsed().as_secs_f64(),
        "judge_seconds": judge_seconds, "triplets_per_second": (made > 0).then_some(rate / f64::from(target.repeats)),
        "repeats": target.repeats, "unparsed": tally.n - tally.n_chosen, "both_orders": n_both_orders, "order_consistency": consistency, "version": env!("CARGO_PKG_VERSION"),
    });
    summary["started"] = (unix_seconds() - started.elapsed().as_secs()).into();
    summary.as_object_mut().expect("a summary is an object").extend(place());
    match target.task {
        Task::Anchored => summary["first_share"] = tally.place_shares().map(|shares| shares[0]).into(),
        Task::OddOneOut => summary["place_shares"] = tally.place_shares().into(),
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
