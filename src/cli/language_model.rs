//! Language models, which are judged and planned part by part.

use std::time::{Duration, Instant};

use alike::engine::graph_file::GraphPorts;
use alike::engine::signature::{Pool, Signature};
use alike::judge::{DecisionRule, Judge, JudgeSettings, Parity, questions};
use alike::judgments::Judgment;
use alike::presentations::Presentation;
use alike::prompts::plan::{Budget, Plan, PlanSize, Reuse};
use alike::prompts::tokens::Question;
use rayon::prelude::*;

use crate::cli::job::{Job, finish};
use crate::cli::judge_settings::{fingerprint, settings};
use crate::cli::opened::{Opened, open};
use crate::cli::parts::Parts;
use crate::cli::plan::PlanReport;
use crate::cli::{Common, write_json};

/// Asks one model what has not been answered yet.
pub(crate) fn judge(job: &Job<'_>, common: &Common) -> anyhow::Result<serde_json::Value> {
    let started = Instant::now();
    job.encoder.refuse(job.target.label)?;
    let wording = job.prompt.wording(job.target.task)?;
    let opened = open(job.model, job.style, &wording, common)?;
    let settings = settings(job, wording, &opened)?;
    let fingerprint = fingerprint(job, &opened, &settings)?;
    let parts = job.target.open(fingerprint.clone())?;
    let record = if parts.is_complete() { Record::default() } else { ask(job, &opened, &settings, &parts, common)? };
    let mut summary = finish(&job.target, parts, started, record.judge_seconds)?;
    let own = serde_json::json!({
        "session_seconds": record.session_seconds, "load_seconds": record.load_seconds,
        "self_test_seconds": record.self_test_seconds, "self_test": record.parity,
        "decision": settings.decision.name(), "tokens_computed": record.size.computed_tokens,
        "tokens_distinct": record.size.distinct_tokens, "tokens_logical": record.size.logical_tokens,
        "passes": record.size.passes, "scored_positions": record.size.scored_positions,
        "style": opened.style.to_string(), "system_text": opened.tokenizer.frame().system,
        "template_settings": opened.template_settings(), "provider": job.device.provider.to_string(),
        "precision": opened.folder.precision, "runtime": opened.runtime.version(),
        "threads": common.threads, "fingerprint": fingerprint.digest(),
    });
    summary.as_object_mut().expect("a summary is an object").extend(own.as_object().cloned().unwrap_or_default());
    if summary["made"] != 0 {
        write_json(&job.record, &summary)?;
    }
    Ok(summary)
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
    // Of all presentations, whatever is missing: what is evaluated together must not depend on shards and interruptions.
    let options = job.target.presentations.iter().flat_map(Presentation::options);
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

    let mut progress = job.progress(parts, common)?;
    progress.skip(parts.own_presentations().len() - parts.to_do());
    let missing = parts.missing().map(|part| (part, parts.presentations(part)));
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
pub(crate) fn print_plan(job: &Job<'_>, common: &Common) -> anyhow::Result<()> {
    job.encoder.refuse(job.target.label)?;
    let wording = job.prompt.wording(job.target.task)?;
    let opened = open(job.model, job.style, &wording, common)?;
    let settings = settings(job, wording, &opened)?;
    let (folder, target) = (&opened.folder, &job.target);
    let signature = Signature::read(&folder.graph, &GraphPorts::read(&folder.graph)?, folder.stated)?;
    let (strategy, slot_bytes) = (signature.strategy(), signature.pool.as_ref().map_or(0, Pool::slot_bytes));
    let budget = Budget::new(settings.batch_tokens, job.device.provider.resources(), slot_bytes);
    let of_part = |presentations: &[Presentation]| -> alike::Result<PlanSize> {
        let asked = questions(presentations, &opened.tokenizer, target.concepts, &settings, folder.context_tokens)?;
        let asked: Vec<Question> = asked.into_iter().map(|asked| asked.question).collect();
        Ok(Plan::new(&asked, settings.reuse, strategy, budget).size)
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
