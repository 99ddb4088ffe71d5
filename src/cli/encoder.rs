//! Sentence encoders, which are judged, planned and checked in their own way.

use std::time::{Duration, Instant};

use alike::concepts::Concepts;
use alike::engine::encoder::{EncoderSignature, embed};
use alike::engine::provider::Runtime;
use alike::engine::session::OnnxEncoder;
use alike::error::Error;
use alike::judgments::Judgment;
use alike::model_folder::{ModelFolder, Sentence};
use alike::presentations;
use alike::prompts::plan::Reuse;
use alike::prompts::template::Style;
use alike::prompts::tokens::{TextTokenizer, TextTokens};
use alike::respondents::encoder::{COSINE, DEFAULT_TEMPLATE, EncoderSettings, EncoderSubject};
use alike::scoring::{Decision, ScoreKind};
use alike::store::manifest::Fingerprint;
use anyhow::Context;
use ndarray::Array2;

use crate::cli::checked::{print_folder, print_providers};
use crate::cli::device::{Device, session_settings};
use crate::cli::encoder_args::EncoderArgs;
use crate::cli::job::{Job, finish};
use crate::cli::{Common, write_json};

/// An encoder's folder, opened: everything but the session.
pub(crate) struct Opened {
    folder: ModelFolder,
    signature: EncoderSignature,
    sentence: Sentence,
    runtime: &'static Runtime,
    tokenizer: TextTokenizer,
}

impl Opened {
    /// Opens a folder whose graph has been recognised.
    pub(crate) fn new(folder: ModelFolder, signature: EncoderSignature, common: &Common) -> anyhow::Result<Self> {
        let runtime = Runtime::load(common.ort.as_deref())?;
        let sentence = folder.sentence(&signature)?;
        let tokenizer = TextTokenizer::new(&folder.tokenizer)?;
        if let Some(vocab_size) = folder.stated.vocab_size {
            tokenizer.check_vocabulary(vocab_size)?;
        }
        Ok(Self { folder, signature, sentence, runtime, tokenizer })
    }

    /// The tokens of all concepts within a template.
    fn texts(&self, concepts: &Concepts, settings: &EncoderSettings) -> anyhow::Result<Vec<TextTokens>> {
        let one = |name: &str| -> alike::Result<TextTokens> {
            let text = settings.text(name);
            let text = if self.sentence.lower_case { text.to_lowercase() } else { text };
            let tokens = self.tokenizer.text(&text)?;
            match self.sentence.max_tokens {
                Some(available) if tokens.ids.len() > available => {
                    Err(Error::ContextLength { what: format!("{name:?}"), needed: tokens.ids.len(), available })
                }
                _ => Ok(tokens),
            }
        };
        Ok(concepts.iter().map(|concept| one(&concept.name)).collect::<alike::Result<_>>()?)
    }

    fn start(&self, device: &Device, common: &Common) -> anyhow::Result<OnnxEncoder> {
        let settings = session_settings(&self.folder, device, common);
        OnnxEncoder::open(&self.folder.graph, self.signature, self.runtime, &settings)
            .with_context(|| format!("opening the encoder in {}", self.folder.path.display()))
    }

    fn vectors(&self, encoder: &mut OnnxEncoder, texts: &[TextTokens], device: &Device) -> anyhow::Result<Array2<f64>> {
        embed(texts, self.sentence.pooling, device.batch_tokens(), |batch| encoder.run(batch))
            .with_context(|| format!("embedding {} concepts with {}", texts.len(), self.folder.path.display()))
    }
}

/// Raised whenever the same inputs would give other bytes.
const ENCODER_VERSION: u32 = 1;

/// Lets an encoder answer what it has not answered yet.
pub(crate) fn judge(job: &Job<'_>, opened: &Opened, common: &Common) -> anyhow::Result<serde_json::Value> {
    let started = Instant::now();
    refuse_keys_of_language_models(job)?;
    let (target, device) = (&job.target, &job.device);
    let settings = settings_of(job)?;
    let label = target.label;
    if let (None, Some(prompt)) = (&job.encoder.template, &opened.sentence.default_prompt) {
        tracing::warn!(
            "{label}: sentence-transformers would put {prompt:?} before every text; to do so, say \
             template = {:?}",
            format!("{prompt}{DEFAULT_TEMPLATE}")
        );
    }
    let fingerprint = fingerprint(job, opened, &settings)?;
    let parts = target.open(fingerprint.clone())?;
    // All concepts, whatever is missing: the vectors of a resumed run are made as those of the first.
    let texts = opened.texts(target.concepts, &settings)?;
    warn_of_equal_texts(label, target.concepts, &texts);
    let (mut load, mut judging, mut running, mut width) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0);
    if !parts.is_complete() {
        let loading = Instant::now();
        let mut encoder = opened.start(device, common)?;
        load = loading.elapsed();
        let judged = Instant::now();
        let vectors = opened.vectors(&mut encoder, &texts, device)?;
        (running, width) = (encoder.running(), vectors.ncols());
        let subject = EncoderSubject::new(vectors, settings.clone())?;
        let mut progress = job.progress(&parts, common)?;
        progress.skip(parts.own_presentations().len() - parts.to_do());
        for part in parts.missing() {
            let judgments: Vec<Judgment> =
                parts.presentations(part).iter().flat_map(|asked| subject.judgments(asked)).collect();
            parts.write(part, &judgments)?;
            progress.advance(parts.presentations(part).len());
        }
        progress.finish();
        judging = judged.elapsed();
    }
    let mut summary = finish(target, parts, started, judging.as_secs_f64())?;
    let own = serde_json::json!({
        "kind": "encoder", "decision": settings.decision.name(), "score": COSINE, "template": settings.template,
        "cosine_temperature": settings.temperature, "pooling": opened.sentence.pooling, "width": width,
        "concepts_embedded": texts.len(), "tokens_computed": texts.iter().map(|t| t.ids.len()).sum::<usize>(),
        "load_seconds": load.as_secs_f64(), "session_seconds": running.as_secs_f64(),
        "provider": device.provider.to_string(), "precision": opened.folder.precision,
        "runtime": opened.runtime.version(), "threads": common.threads, "fingerprint": fingerprint.digest(),
    });
    summary.as_object_mut().expect("a summary is an object").extend(own.as_object().cloned().unwrap_or_default());
    if summary["made"] != 0 {
        write_json(&job.record, &summary)?;
    }
    Ok(summary)
}

fn settings_of(job: &Job<'_>) -> anyhow::Result<EncoderSettings> {
    let settings = job.encoder.settings(job.judge.decision, job.judge.repeats, job.seed);
    settings.with_context(|| format!("asking {}", job.target.label))
}

/// What the bytes of an encoder's judgments depend on.
fn fingerprint(job: &Job<'_>, opened: &Opened, settings: &EncoderSettings) -> anyhow::Result<Fingerprint> {
    let mut fingerprint = Fingerprint::default()
        .with("kind", "encoder")
        .with_all("model.", &opened.folder.digests()?)
        .with("pooling", opened.sentence.pooling.name())
        .with("lower_case", opened.sentence.lower_case)
        .with("template", &settings.template)
        .with("cosine_temperature", settings.temperature)
        .with("concepts", job.target.concepts.digest())
        .with("triplets", presentations::digest(job.target.presentations))
        .with("decision", settings.decision.name())
        .with("seed", settings.seed)
        .with("provider", job.device.provider)
        .with("provider_options", job.device.gpu.numeric(job.device.provider))
        .with("precision", &opened.folder.precision)
        .with("runtime", opened.runtime.version())
        .with("encoder_version", ENCODER_VERSION)
        .with("batch_tokens", job.device.batch_tokens())
        .with("part_rows", job.target.part_rows)
        .with_task(job.target.task);
    if settings.repeats > 1 {
        fingerprint = fingerprint.with("repeats", settings.repeats);
    }
    Ok(fingerprint)
}

/// What is set for this encoder and only a language model could follow is refused by name; what a study sets for its
/// language models as well is told.
fn refuse_keys_of_language_models(job: &Job<'_>) -> alike::Result<()> {
    let label = job.target.label;
    let (judge, prompt) = (&job.judge, job.prompt);
    let (plain, paper) = (alike::config::JudgeSection::default(), alike::config::Prompt::default());
    // Of the entry itself, or of flags that name this model.
    let own = [
        ("style", job.style.map(|style: Style| style.to_string())),
        ("score", job.own_score.map(|score: ScoreKind| score.name().to_owned())),
    ];
    let set = |is: bool, value: &str| is.then(|| value.to_owned());
    let shared = [
        ("score", set(judge.score != plain.score, judge.score.name())),
        ("reuse", set(job.reuse != Reuse::Trie, job.reuse.name())),
        ("judge.close", set(judge.close != plain.close, judge.close.name())),
        ("judge.surface_forms", set(judge.surface_forms, "true")),
        ("judge.temperature", judge.temperature.map(|t| t.to_string())),
        ("prompt.wording", set(prompt.wording != paper.wording, &prompt.wording)),
        ("prompt.system", set(prompt.system != paper.system, &prompt.system)),
        ("prompt.few_shot", set(!prompt.few_shot.is_empty(), "a list of examples")),
    ];
    let (mut refused, mut told) = (own.to_vec(), Vec::new());
    if job.beside_language_models { &mut told } else { &mut refused }.extend(shared);
    let said =
        |keys: Vec<(&'static str, Option<String>)>| keys.into_iter().filter_map(|(key, value)| Some((key, value?)));
    if let Some((field, value)) = said(refused).next() {
        let expected = match field {
            "prompt.wording" => "nothing: an encoder has a `template` instead",
            "judge.temperature" => "nothing: an encoder has a `cosine_temperature` instead",
            _ => "nothing: only language models have it",
        };
        let found = format!("{value} for {label}, an encoder");
        return Err(Error::Setting { field: field.into(), found, expected: expected.into() });
    }
    let told: Vec<&str> = said(told).map(|(key, _)| key).collect();
    if !told.is_empty() {
        tracing::info!("{label} is an encoder: {} is for the language models of the study", told.join(", "));
    }
    Ok(())
}

/// Concepts that the tokenizer makes the same of are one thing to the encoder.
fn warn_of_equal_texts(label: &str, concepts: &Concepts, texts: &[TextTokens]) {
    let mut named: Vec<(&TextTokens, &str)> =
        texts.iter().zip(concepts.iter()).map(|(text, concept)| (text, concept.name.as_str())).collect();
    named.sort();
    for same in named.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
        let names: Vec<String> = same.iter().map(|(_, name)| format!("{name:?}")).collect();
        tracing::warn!("{label}: {} have the same tokens, so that nothing tells them apart", names.join(" and "));
    }
}

/// `--dry-run`
pub(crate) fn print_plan(job: &Job<'_>, opened: &Opened, common: &Common) -> anyhow::Result<()> {
    refuse_keys_of_language_models(job)?;
    let (target, settings) = (&job.target, settings_of(job)?);
    let texts = opened.texts(target.concepts, &settings)?;
    let n_tokens: usize = texts.iter().map(|text| text.ids.len()).sum();
    if common.json {
        let (label, triplets) = (target.label, target.presentations.len());
        println!(
            "{}",
            serde_json::json!({ "respondent": label, "triplets": triplets, "concepts": texts.len(), "tokens": n_tokens })
        );
        return Ok(());
    }
    println!("{}: {} triplets, answered by cosines", target.label, target.presentations.len());
    println!("  {} concepts are embedded once, {n_tokens} tokens together", texts.len());
    Ok(())
}

/// An encoder is not spoken to.
pub(crate) fn refuse_style(style: Option<Style>) -> alike::Result<()> {
    let Some(style) = style else { return Ok(()) };
    let expected = "nothing: an encoder has no style".into();
    Err(Error::Setting { field: "style".into(), found: style.to_string(), expected })
}

/// `alike check`
pub(crate) fn check(
    opened: &Opened,
    args: &EncoderArgs,
    device: &Device,
    concepts: &Concepts,
    common: &Common,
) -> anyhow::Result<()> {
    let settings = args.settings(Decision::Argmax, 1, 0)?;
    let Opened { signature, sentence, .. } = opened;
    print_folder(&opened.folder, opened.runtime)?;
    let inputs: Vec<&str> =
        [("attention_mask", signature.attention_mask), ("token_type_ids", signature.token_type_ids)]
            .into_iter()
            .filter_map(|(name, there)| there.then_some(name))
            .collect();
    println!("graph      a sentence encoder: input_ids, {} → {}", inputs.join(", "), signature.output);
    let mut encoder = opened.start(device, common)?;
    print_providers(device, |other| opened.start(other, common).map(drop));
    let texts = opened.texts(concepts, &settings)?;
    let vectors = opened.vectors(&mut encoder, &texts, device)?;
    println!("precision  {}", opened.folder.precision);
    println!("pooling    {}, width {}", sentence.pooling.name(), vectors.ncols());
    println!("template   {:?}{}", settings.template, if sentence.lower_case { ", in lower case" } else { "" });
    if let Some(prompt) = &sentence.default_prompt {
        println!("prompt     sentence-transformers would put {prompt:?} before every text; --template does");
    }
    let name = |id: u32| concepts.name(id);
    let longest = texts.iter().zip(0..).max_by_key(|(text, _)| text.ids.len());
    if let Some((text, id)) = longest {
        println!("tokens     {:?} is {}", name(id), opened.tokenizer.written(text).join(" "));
    }
    let subject = EncoderSubject::new(vectors, settings)?;
    let n = u32::try_from(concepts.len())?;
    let mut pairs: Vec<(f64, u32, u32)> =
        (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).map(|(a, b)| (subject.cosine(a, b), a, b)).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shown = |(cosine, a, b): &(f64, u32, u32)| format!("{} – {} {cosine:.3}", name(*a), name(*b));
    println!("nearest    {}", pairs.iter().take(3).map(shown).collect::<Vec<_>>().join(", "));
    println!("furthest   {}", pairs.iter().rev().take(3).map(shown).collect::<Vec<_>>().join(", "));
    Ok(())
}
