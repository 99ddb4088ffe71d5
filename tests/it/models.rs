//! Models against transformers: the real one and two tiny ones. `golden/` holds the numbers and the scripts that made them.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::path::Path;
use std::process::Command;

use alike::concepts::Concepts;
use alike::engine::LanguageModel;
use alike::engine::evaluate;
use alike::engine::provider::{ExecutionProvider, Gpu, Runtime};
use alike::engine::session::{OnnxModel, SessionSettings};
use alike::model_folder::ModelFolder;
use alike::prompts::plan::{Budget, Plan, Reuse, Strategy};
use alike::prompts::template::{Frame, Style, Wording};
use alike::prompts::tokens::{Close, PromptTokenizer, Question};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{path, tiny};

pub(crate) struct Opened {
    pub(crate) model: OnnxModel,
    pub(crate) tokenizer: PromptTokenizer,
    pub(crate) wording: Wording,
}

pub(crate) fn open(folder: &Path, threads: usize) -> Opened {
    open_with_keys(folder, threads, 1)
}

/// The same, with a multiple of so many keys in every row's attention.
pub(crate) fn open_with_keys(folder: &Path, threads: usize, key_multiple: usize) -> Opened {
    let runtime = Runtime::load(None).expect("`make setup` installs the runtime library");
    let folder = ModelFolder::open(folder).expect("`make setup` builds the demo's model");
    let wording = Wording::new("paper", None).unwrap();
    let frame = Frame::new(Style::Chat, &wording, folder.chat_template.as_ref()).unwrap();
    let tokenizer = PromptTokenizer::new(&folder.tokenizer, frame, folder.eos).unwrap();
    let settings = SessionSettings {
        provider: ExecutionProvider::Cpu,
        gpu: Gpu::default(),
        batch_tokens: 512,
        threads,
        stated: folder.stated,
        context_tokens: folder.context_tokens,
        precision: folder.precision.clone(),
        key_multiple,
    };
    Opened { model: OnnxModel::open(&folder.graph, runtime, &settings).unwrap(), tokenizer, wording }
}

pub(crate) fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path("tests/it/golden").join(name)).unwrap()).unwrap()
}

fn texts(presentation: &Value) -> [&str; 3] {
    ["anchor", "first", "second"].map(|name| presentation[name].as_str().unwrap())
}

/// Log-probabilities of options, most probable first tokens, and log-probabilities of single tokens.
pub(crate) struct Scores {
    pub(crate) options: Vec<[f64; 2]>,
    tops: Vec<(u32, f64)>,
    steps: Vec<f32>,
}

impl Opened {
    pub(crate) fn questions(&self, golden: &Value, close: Close) -> Vec<Question> {
        let question = |presentation: &Value| {
            let [anchor, first, second] = texts(presentation);
            self.tokenizer.question(&self.wording.ask(anchor, first, second), &[first, second], close).unwrap()
        };
        golden["presentations"].as_array().unwrap().iter().map(question).collect()
    }

    pub(crate) fn evaluate(&mut self, questions: &[Question], reuse: Reuse) -> Scores {
        let cache_tokens = (256 << 20) / self.model.info().slot_bytes;
        let plan = Plan::new(
            questions,
            reuse,
            self.model.info().strategy,
            Budget { batch_tokens: 512, cache_tokens, pass_tokens: 30 },
        );
        let evaluation = evaluate(&mut self.model, &plan, |_| {}).unwrap();
        let sum = |slots: &std::ops::Range<usize>| {
            evaluation.log_probs[slots.clone()].iter().map(|l| f64::from(*l)).sum::<f64>()
        };
        let options = plan.slots.iter().map(|options| [sum(&options[0]), sum(&options[1])]).collect();
        let tops = evaluation.tops.iter().map(|top| (top.token, f64::from(top.log_prob))).collect();
        Scores { options, tops, steps: evaluation.log_probs }
    }
}

/// Prompts, ids and scores against transformers' own; `nats` is the tolerance on every option's log-probability.
pub(crate) fn agrees_with_transformers(folder: &Path, golden_file: &str, nats: f64) {
    let golden = golden(golden_file);
    let mut opened = open(folder, 0);
    let presentations = golden["presentations"].as_array().unwrap();

    let frame = opened.tokenizer.frame().clone();
    for (rendered, presentation) in golden["prompts"].as_array().unwrap().iter().zip(presentations) {
        let [anchor, first, second] = texts(presentation);
        let text = opened.wording.ask(anchor, first, second);
        assert_eq!(format!("{}{text}{}", frame.before, frame.after), rendered.as_str().unwrap());
    }

    let open_questions = opened.questions(&golden, Close::Never);
    for (question, presentation) in open_questions.iter().zip(presentations) {
        let ids: Vec<String> = question.prompt.iter().map(ToString::to_string).collect();
        let hash: String = Sha256::digest(ids.join(",")).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, presentation["prompt_sha256"].as_str().unwrap(), "prompt ids of {presentation}");
        for (option, name) in question.options.iter().zip(["ids_first", "ids_second"]) {
            let expected: Vec<u64> =
                presentation[name].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
            assert_eq!(option.iter().map(|id| u64::from(*id)).collect::<Vec<_>>(), expected);
        }
    }

    for (close, suffix) in [(Close::Never, ""), (Close::Always, "_closed")] {
        let questions = opened.questions(&golden, close);
        let Scores { options, tops, .. } = opened.evaluate(&questions, Reuse::Trie);
        let mut worst: f64 = 0.0;
        for ((ours, top), presentation) in options.iter().zip(&tops).zip(presentations) {
            let theirs =
                ["first", "second"].map(|side| presentation[format!("log_prob_{side}{suffix}")].as_f64().unwrap());
            for (ours, theirs) in ours.iter().zip(theirs) {
                worst = worst.max((ours - theirs).abs());
            }
            // Within a thousandth of a tie, either choice is right.
            if (theirs[0] - theirs[1]).abs() > 1e-3 {
                assert_eq!(ours[0] > ours[1], theirs[0] > theirs[1], "choice of {presentation}");
            }
            assert_eq!(u64::from(top.0), presentation["top_token_id"].as_u64().unwrap());
            assert!((top.1 - presentation["top_log_prob"].as_f64().unwrap()).abs() < nats);
        }
        assert!(worst < nats, "largest difference in log-probability {worst:.2e} nats");
        println!(
            "{golden_file}{suffix}: largest difference {worst:.1e} nats over {} presentations",
            presentations.len()
        );
    }
}

/// Logits up to the constant that softmax ignores: log-probabilities and logits of the same 64 tokens, both centred.
fn logits_agree(folder: &Path, golden_file: &str, limit: f64) {
    let golden = golden(golden_file);
    let mut opened = open(folder, 0);
    let ids: Vec<u32> = golden["logit_ids"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect();
    let prompts = opened.questions(&golden, Close::Never);
    let mut worst: f64 = 0.0;
    for (question, presentation) in prompts.iter().zip(golden["presentations"].as_array().unwrap()) {
        let Some(logits) = presentation["logits"].as_array() else { continue };
        let theirs: Vec<f64> = logits.iter().map(|v| v.as_f64().unwrap()).collect();
        let all = Question {
            prompt: question.prompt.clone(),
            source_len: 0,
            options: ids.iter().map(|id| vec![*id]).collect(),
            closed: false,
        };
        let ours = opened.evaluate(&[all], Reuse::Trie).steps;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / ids.len() as f64;
        let shift = mean(&mut ours.iter().map(|l| f64::from(*l))) - mean(&mut theirs.iter().copied());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            worst = worst.max((f64::from(*ours) - theirs - shift).abs());
        }
    }
    assert!(worst > 0.0 && worst < limit, "largest logit difference {worst:.2e}");
}

// f32 sums of 30 layers in another order: 3.5e-5 nats were measured; the bar of the project is 1e-3.
#[test]
fn smollm2_agrees_with_transformers() {
    agrees_with_transformers(&path("models/smollm2-135m-instruct"), "smollm2/golden.json", 1e-3);
    logits_agree(&path("models/smollm2-135m-instruct"), "smollm2/golden.json", 5e-4);
}

// Two layers of width 32: 5e-6 nats were measured.
#[test]
fn all_layouts_agree_with_transformers() {
    for layout in ["scoring", "standard", "gqa"] {
        agrees_with_transformers(&tiny(layout), "tiny-llama.json", 5e-5);
        logits_agree(&tiny(layout), "tiny-llama.json", 5e-5);
    }
}

/// `python -m export optimize` on graphs of two other exporters: the numbers stay, and rows may branch afterwards.
#[test]
fn optimized_graphs_agree_with_transformers() {
    let scratch = tempfile::tempdir().unwrap();
    for layout in ["standard", "gqa"] {
        let out = scratch.path().join(layout);
        let edit = Command::new(path(".env/venv/bin/python"))
            .current_dir(path("."))
            .args(["-m", "export", "optimize"])
            .args([&tiny(layout), Path::new("--out"), &out])
            .output()
            .expect("`make setup` makes the environment");
        assert!(edit.status.success(), "{}", String::from_utf8_lossy(&edit.stderr));
        assert_eq!(open(&out, 0).model.info().strategy, Strategy::Tree);
        agrees_with_transformers(&out, "tiny-llama.json", 5e-5);
    }
}

#[test]
fn sharing_prefixes_does_not_change_the_numbers() {
    let concepts = Concepts::read_csv(&path("data/concepts/things128.csv")).unwrap();
    let triplets = alike::triplets::random(concepts.len(), 150, false, 9).unwrap();
    for (layout, strategy) in [("scoring", Strategy::Tree), ("standard", Strategy::SharedPast), ("gqa", Strategy::Step)]
    {
        let mut opened = open(&tiny(layout), 0);
        assert_eq!(opened.model.info().strategy, strategy);
        let ask = |t: &alike::triplets::Triplet| {
            let [anchor, first, second] = [t.anchor, t.first, t.second].map(|id| concepts.name(id));
            opened
                .tokenizer
                .question(&opened.wording.ask(anchor, first, second), &[first, second], Close::Auto)
                .unwrap()
        };
        let questions: Vec<Question> = triplets.iter().map(ask).collect();
        let shared = opened.evaluate(&questions, Reuse::Trie).options;
        let whole = opened.evaluate(&questions, Reuse::Off).options;
        for (a, b) in shared.iter().zip(&whole) {
            // A row of another length adds its attention up in another order: 6e-6 nats were measured on the real model.
            assert!((a[0] - b[0]).abs() < 2e-5 && (a[1] - b[1]).abs() < 2e-5, "{layout}: {a:?} and {b:?}");
        }
        if strategy == Strategy::Tree {
            // The same question in a row of the same length: not one bit.
            assert_eq!(shared, opened.evaluate(&questions, Reuse::Question).options);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let golden = golden("tiny-llama.json");
    let numbers = |threads: usize| {
        let mut opened = open(&tiny("scoring"), threads);
        let questions = opened.questions(&golden, Close::Auto);
        opened.evaluate(&questions, Reuse::Trie).steps
    };
    assert_eq!(numbers(1), numbers(2));
}

#[test]
fn names_that_look_like_special_tokens_stay_text() {
    let opened = open(&tiny("scoring"), 1);
    let ask = |name: &str| {
        let text = opened.wording.ask("bear", name, "cat");
        opened.tokenizer.question(&text, &[name, "cat"], Close::Never).unwrap()
    };
    let (plain, hostile) = (ask("dog"), ask("<|im_end|>"));
    let end = opened.tokenizer.closing();
    let count = |question: &Question| question.prompt.iter().filter(|id| **id == end).count();
    assert_eq!(count(&plain), count(&hostile), "the name adds no end of turn");
    assert!(hostile.options[0].len() > 1 && !hostile.options[0].contains(&end));
    // Between the template's own special tokens the two ways of encoding agree.
    assert_eq!(hostile.options[1], plain.options[1]);
}
