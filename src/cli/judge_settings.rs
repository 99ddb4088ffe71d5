//! How one model is asked, and what its judgments depend on.

use std::collections::BTreeMap;

use alike::error::Error;
use alike::generation::settings::GenerationSettings;
use alike::judge::{DecisionRule, JudgeSettings};
use alike::presentations;
use alike::prompts::template::{Style, Wording};
use alike::prompts::tokens::TokenId;
use alike::scoring::Decision;
use alike::store::manifest::Fingerprint;

use crate::cli::job::Job;
use crate::cli::opened::{Opened, SCORING_VERSION};

/// What the study and its model say, checked.
pub(crate) fn settings(job: &Job<'_>, wording: Wording, opened: &Opened) -> anyhow::Result<JudgeSettings> {
    let judge = &job.judge;
    Ok(JudgeSettings {
        wording,
        close: job.judge.close,
        score: job.judge.score,
        decision: match judge.decision {
            Decision::Argmax => DecisionRule::Argmax,
            Decision::Sample => DecisionRule::Sample { temperature: judge.temperature.unwrap_or(1.0) },
            Decision::Generate => DecisionRule::Generate(generation(job, opened)?),
        },
        surface_forms: judge.surface_forms,
        repeats: judge.repeats,
        seed: job.seed,
        reuse: job.reuse,
        batch_tokens: job.device.batch_tokens(),
    })
}

/// How a model answers freely: the study's word, the model's own, the defaults.
fn generation(job: &Job<'_>, opened: &Opened) -> anyhow::Result<GenerationSettings> {
    let (model, label) = (&opened.folder.generation, job.target.label);
    let mut stop: Vec<TokenId> = model.eos.iter().copied().chain(opened.folder.eos).collect();
    stop.push(opened.tokenizer.closing());
    stop.sort_unstable();
    stop.dedup();
    let settings = GenerationSettings::new(&job.judge.generation(), &model.choices, job.judge.max_new_tokens, stop)?;
    if job.judge.repeats > 1 && !settings.do_sample {
        anyhow::bail!(Error::Setting {
            field: "judge.repeats".into(),
            found: format!("{} for {label}, which answers greedily", job.judge.repeats),
            expected: "1, or do_sample = true: a greedy answer is the same every time".into(),
        });
    }
    if !model.not_followed.is_empty() {
        tracing::warn!(
            "{label}: generation_config.json sets {}, which alike does not follow: its answers may differ from \
             transformers'",
            model.not_followed.join(", ")
        );
    }
    tracing::debug!("{label}: answers freely, {settings}");
    Ok(settings)
}

/// What the bytes of a model's judgments depend on.
pub(crate) fn fingerprint(job: &Job<'_>, opened: &Opened, settings: &JudgeSettings) -> anyhow::Result<Fingerprint> {
    let digests: BTreeMap<String, String> = opened.folder.digests()?;
    let mut fingerprint = Fingerprint::default()
        .with("kind", "language model")
        .with_all("model.", &digests)
        .with("style", opened.style)
        .with("system", &settings.wording.system)
        .with("question", &settings.wording.question)
        .with("neutral", Wording::neutral())
        .with("close", settings.close.name())
        .with("concepts", job.target.concepts.digest())
        .with("triplets", presentations::digest(job.target.presentations))
        .with("decision", settings.decision.name())
        .with("score", settings.score.name())
        .with("temperature", job.judge.temperature.unwrap_or(1.0))
        .with("seed", settings.seed)
        .with("provider", job.device.provider)
        .with("provider_options", job.device.gpu.numeric(job.device.provider))
        .with("precision", &opened.folder.precision)
        .with("runtime", opened.runtime.version())
        .with("scoring_version", SCORING_VERSION)
        .with("reuse", settings.reuse.name())
        .with("batch_tokens", settings.batch_tokens)
        .with("part_rows", job.target.part_rows)
        .with_task(job.target.task);
    // Named only where they are used, so that what was judged without them is still recognised.
    if settings.repeats > 1 {
        fingerprint = fingerprint.with("repeats", settings.repeats);
    }
    if !settings.wording.examples.is_empty() {
        fingerprint = fingerprint.with("few_shot", serde_json::to_string(&settings.wording.examples)?);
    }
    if settings.surface_forms {
        fingerprint = fingerprint.with("surface_forms", true);
    }
    let frame = opened.tokenizer.frame();
    if opened.style == Style::Chat && !(frame.lead.is_empty() && frame.delimiter.is_empty()) {
        fingerprint = fingerprint.with("answer_lead", format!("{}{}", frame.lead, frame.delimiter));
    }
    if let DecisionRule::Generate(generation) = &settings.decision {
        fingerprint = fingerprint.with("generation", generation);
    }
    Ok(opened.with_template(fingerprint))
}
