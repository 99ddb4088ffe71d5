//! `alike check`: what a model's graph accepts, how it is spoken to, and whether sharing prefixes changes its numbers.

use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::engine::LanguageModel;
use alike::engine::provider::ExecutionProvider;
use alike::engine::signature::CacheShape;
use alike::engine::{evaluate, session::OnnxModel};
use alike::judge::{Judge, JudgeSettings, Parity};
use alike::model_folder::ModelFolder;
use alike::presentations::Presentation;
use alike::prompts::plan::{Plan, Reuse};
use alike::prompts::template::{Style, Wording};
use alike::prompts::tokens::{Close, PromptTokenizer, Question};
use alike::triplets;
use clap::Args;

use crate::cli::Common;
use crate::cli::checked::{print_folder, print_providers};
use crate::cli::device::{Device, DeviceArgs};
use crate::cli::encoder;
use crate::cli::encoder_args::EncoderArgs;
use crate::cli::opened::{Opened, open};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Model folder: `model.onnx` and `tokenizer.json`
    #[arg(long, value_name = "DIR", required_unless_present = "suite")]
    model: Option<PathBuf>,
    /// Instead of a model: the lists of the paper's models [default: models/suite]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "models/suite", conflicts_with = "model")]
    suite: Option<PathBuf>,
    /// With --suite: the memory that a model must fit, in GB
    #[arg(long, value_name = "N", default_value_t = 24.0, requires = "suite")]
    memory_gb: f64,
    /// Concept list to ask about; a few animals and tools unless given
    #[arg(long, value_name = "FILE")]
    concepts: Option<PathBuf>,
    /// How the model is spoken to; what its folder says unless given
    #[arg(long, value_parser = |text: &str| text.parse::<Style>().map_err(|e| e.to_string()), value_name = "chat|plain|base")]
    style: Option<Style>,
    /// Presentations of the parity self-test
    #[arg(long, default_value_t = 8, value_name = "N")]
    self_test: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    encoder: EncoderArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

const EXAMPLES: [&str; 8] =
    ["bear", "butterfly", "cabbage", "chipmunk", "hammer", "ice cream", "motorcycle", "scissors"];

pub(crate) fn run(args: &CheckArgs, common: &Common) -> anyhow::Result<()> {
    match (&args.suite, &args.model) {
        (Some(suite), _) => crate::cli::suite::run(suite, args.memory_gb, common),
        (None, Some(model)) => check_model(args, model, common),
        (None, None) => unreachable!("clap requires one of them"),
    }
}

fn check_model(args: &CheckArgs, model: &Path, common: &Common) -> anyhow::Result<()> {
    let concepts = match &args.concepts {
        Some(path) => Concepts::read_csv(path)?,
        None => Concepts::from_names(EXAMPLES)?,
    };
    let device = args.device.over(Device::default());
    let folder = ModelFolder::open(model)?;
    if let Some(signature) = folder.encoder()? {
        encoder::refuse_style(args.style)?;
        let opened = encoder::Opened::new(folder, signature, common)?;
        return encoder::check(&opened, &args.encoder, &device, &concepts, common);
    }
    args.encoder.refuse(&model.display().to_string())?;
    let wording = Wording::new("paper", None)?;
    let opened = open(model, args.style, &wording, common)?;
    print_folder(&opened.folder, opened.runtime)?;
    let mut model = opened.start(&device, common)?;
    print_graph(&model);
    print_providers(&device, |other| opened.start(other, common).map(drop));
    let n = triplets::count(concepts.len());
    let sample = triplets::random(concepts.len(), args.self_test.clamp(1, usize::try_from(n)?), false, args.seed)?;
    let name = |id| concepts.name(id);
    let example = sample[0];
    let text = wording.ask(name(example.anchor), name(example.first), name(example.second));
    let question = opened.tokenizer.question(&text, &[name(example.first), name(example.second)], Close::Auto)?;
    print_prompt(&opened, &text, &question, name(example.first));

    let settings = JudgeSettings::plain(wording, args.seed, Reuse::Trie, device.batch_tokens());
    print_forms(&mut model, &opened.tokenizer, &text, name(example.first))?;
    let options = sample.iter().flat_map(|t| [t.first, t.second]);
    let mut judge = Judge::new(&mut model, &opened.tokenizer, &concepts, &settings, options)?;
    let sample: Vec<Presentation> = sample.iter().copied().map(Presentation::Anchored).collect();
    let log_probs = judge.log_probs(&sample, Reuse::Trie)?;
    print_parity("sharing prefixes against whole prompts", &log_probs, &judge.log_probs(&sample, Reuse::Off)?);
    let exact = judge.log_probs(&sample, Reuse::Question)?;
    print_parity("sharing prefixes against whole questions", &log_probs, &exact);
    if device.provider != ExecutionProvider::Cpu {
        let mut cpu = opened.start(&Device { provider: ExecutionProvider::Cpu, ..device.clone() }, common)?;
        let mut judge = Judge::new(&mut cpu, &opened.tokenizer, &concepts, &settings, [])?;
        let what = format!("{} against the CPU", device.provider);
        print_parity(&what, &log_probs, &judge.log_probs(&sample, Reuse::Trie)?);
    }
    Ok(())
}

fn print_parity(what: &str, one: &[Vec<f64>], other: &[Vec<f64>]) {
    let Parity { n, max_nats, mean_nats, flips } = Parity::between(one, other);
    println!(
        "parity     {what}, {n} presentations: max {max_nats:.1e}, mean {mean_nats:.1e} nats, {flips} choices differ"
    );
}

fn print_graph(model: &OnnxModel) {
    let (signature, info) = (model.signature(), model.info());
    println!(
        "graph      past {:?}, mask {:?}, gives {:?}, vocabulary {}",
        signature.past, signature.mask, signature.scores, signature.vocab_size
    );
    let slot_bytes = info.slot_bytes;
    if let Some(CacheShape { n_layers, n_heads, head_dim }) = signature.cache {
        println!("pool       {n_layers} layers × {n_heads} heads × {head_dim}, {slot_bytes} bytes a token");
    } else if let Some(pool) = &signature.pool {
        println!("pool       {} tensors, {slot_bytes} bytes a state", pool.widths.len());
    }
    println!("strategy   {}: {}", info.strategy, signature.reason());
    println!("precision  {}", info.precision);
}

/// Which providers start a session, by starting one.
fn print_prompt(opened: &Opened, text: &str, question: &Question, option: &str) {
    let tokenizer = &opened.tokenizer;
    let frame = tokenizer.frame();
    let shown = |ids: &[u32]| ids.iter().map(|id| format!("{:?}", tokenizer.text(*id))).collect::<Vec<_>>().join(" ");
    println!("style      {}", opened.style);
    println!("system     {}", frame.system.describe());
    for (name, value) in opened.template_settings() {
        println!("template   {name} = {value}");
    }
    println!("prompt     {:?}", format!("{}{text}{}", frame.before, frame.after));
    let first = &question.prompt[..question.prompt.len().min(6)];
    println!("first      {}   (ids {first:?})", shown(first));
    let named = opened.folder.special_tokens.iter().find(|(name, _)| name == "bos_token");
    match named.and_then(|(_, text)| Some((text, tokenizer.id(text)?))) {
        Some((text, id)) => {
            let n = question.prompt.iter().filter(|token| **token == id).count();
            println!("bos        {text:?} (id {id}), {n} in the prompt");
        }
        None => println!("bos        tokenizer_config.json names none"),
    }
    let repeated = question.prompt.iter().skip(1).take_while(|id| **id == first[0]).count();
    if repeated > 0 {
        println!("warning    the first token stands {} times in a row: a doubled BOS?", repeated + 1);
    }
    if !frame.lead.is_empty() {
        println!("lead       {:?}: where the template puts an answer", frame.lead);
    }
    let tail = &question.prompt[question.prompt.len().saturating_sub(3)..];
    println!(
        "join       {} | {}   (option {option:?}, delimiter {:?})",
        shown(tail),
        shown(&question.options[0]),
        frame.delimiter
    );
    println!("closing    {:?}", tokenizer.text(tokenizer.closing()));
}

/// Warns when another way of writing the option is much more probable than the one that is scored.
fn print_forms(model: &mut OnnxModel, tokenizer: &PromptTokenizer, text: &str, option: &str) -> anyhow::Result<()> {
    let mut capitalised = option.to_owned();
    if let Some(first) = option.chars().next() {
        capitalised = first.to_uppercase().chain(option.chars().skip(1)).collect();
    }
    let forms =
        [option.to_owned(), capitalised.clone(), format!(" {option}"), format!("The {option}"), format!("A {option}")];
    let forms: Vec<&str> = forms.iter().map(String::as_str).collect();
    let question = tokenizer.question(text, &forms, Close::Never)?;
    let info = model.info();
    let plan = Plan::new(&[question], Reuse::Trie, info.strategy, info.budget(ExecutionProvider::Cpu.batch_tokens()));
    let evaluation = evaluate(model, &plan, |_| {})?;
    let log_probs: Vec<f64> = plan.slots[0]
        .iter()
        .map(|slots| evaluation.log_probs[slots.clone()].iter().map(|l| f64::from(*l)).sum())
        .collect();
    let listed: Vec<String> = forms.iter().zip(&log_probs).map(|(form, l)| format!("{form:?} {l:.2}")).collect();
    println!("forms      log p in nats: {}", listed.join(", "));
    let top = evaluation.tops[0];
    println!("top token  {:?} {:.2}", tokenizer.text(top.token), top.log_prob);
    let best = (1..forms.len()).max_by(|a, b| log_probs[*a].total_cmp(&log_probs[*b])).unwrap_or(0);
    if log_probs[best] > log_probs[0] + FORM_WARNING_NATS {
        println!(
            "warning    the model would much rather write {:?} than {option:?}, which is what is scored",
            forms[best]
        );
    }
    Ok(())
}

/// A form more than e² times as probable as the one scored is worth a word.
const FORM_WARNING_NATS: f64 = 2.0;
