//! Models that do not continue keys and values: state-space models and encoder–decoders, tiny, against transformers.
//! `golden/architectures/` holds the models, the numbers and the script that made both.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use alike::engine::provider::{ExecutionProvider, Gpu, Runtime};
use alike::engine::session::{OnnxModel, SessionSettings};
use alike::engine::{LanguageModel, evaluate};
use alike::generation::settings::GenerationSettings;
use alike::generation::{Row, generate};
use alike::model_folder::ModelFolder;
use alike::prompts::plan::{Budget, Plan, Reuse, Strategy};
use alike::prompts::template::{Frame, Wording};
use alike::prompts::tokens::{Close, PromptTokenizer, Question};
use alike::seed::Streams;
use serde_json::Value;

use crate::support::{path, succeed};

const MODELS: [(&str, Strategy); 4] = [
    ("mamba", Strategy::State),
    ("falcon-mamba", Strategy::State),
    ("t5", Strategy::EncoderOnce),
    ("flan-t5", Strategy::EncoderOnce),
];

fn folder(name: &str) -> PathBuf {
    path("tests/it/golden/architectures").join(name)
}

fn golden(name: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_slice(&std::fs::read(folder(name).join("golden.json")).unwrap()).unwrap();
    golden["presentations"].as_array().unwrap().clone()
}

struct Opened {
    model: OnnxModel,
    tokenizer: PromptTokenizer,
    wording: Wording,
}

fn open(name: &str) -> Opened {
    let runtime = Runtime::load(None).expect("`make setup` installs the runtime library");
    let folder = ModelFolder::open(&folder(name)).unwrap();
    let wording = Wording::new("paper", None).unwrap();
    let frame = Frame::new(folder.style(None).0, &wording, folder.chat_template.as_ref()).unwrap();
    let mut tokenizer = PromptTokenizer::new(&folder.tokenizer, frame, folder.eos).unwrap();
    if let Some(start) = folder.decoder_start {
        tokenizer = tokenizer.for_decoder(start);
    }
    let settings = SessionSettings {
        provider: ExecutionProvider::Cpu,
        gpu: Gpu::default(),
        batch_tokens: 512,
        threads: 0,
        stated: folder.stated,
        context_tokens: folder.context_tokens,
        precision: folder.precision.clone(),
        key_multiple: 1,
    };
    Opened { model: OnnxModel::open(&folder.graph, runtime, &settings).unwrap(), tokenizer, wording }
}

impl Opened {
    fn ask(&self, presentation: &Value) -> (String, [String; 2]) {
        let [anchor, first, second] = ["anchor", "first", "second"].map(|name| presentation[name].as_str().unwrap());
        (self.wording.ask(anchor, first, second), [first, second].map(str::to_owned))
    }

    fn questions(&self, golden: &[Value]) -> Vec<Question> {
        let question = |presentation: &Value| {
            let (text, [first, second]) = self.ask(presentation);
            self.tokenizer.question(&text, &[&first, &second], Close::Auto).unwrap()
        };
        golden.iter().map(question).collect()
    }

    fn log_probs(&mut self, questions: &[Question], reuse: Reuse) -> Vec<[f64; 2]> {
        let info = self.model.info();
        let budget = Budget { batch_tokens: 512, cache_tokens: (8 << 20) / info.slot_bytes.max(1), pass_tokens: 30 };
        let plan = Plan::new(questions, reuse, info.strategy, budget);
        let evaluation = evaluate(&mut self.model, &plan, |_| {}).unwrap();
        let sum = |range: &std::ops::Range<usize>| -> f64 {
            evaluation.log_probs[range.clone()].iter().map(|l| f64::from(*l)).sum()
        };
        plan.slots.iter().map(|slots| [sum(&slots[0]), sum(&slots[1])]).collect()
    }
}

fn furthest(one: &[[f64; 2]], other: &[[f64; 2]]) -> f64 {
    one.iter().flatten().zip(other.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn tokens_and_log_probabilities_are_those_of_transformers() {
    for (name, strategy) in MODELS {
        let (mut opened, golden) = (open(name), golden(name));
        assert_eq!(opened.model.info().strategy, strategy, "{name}");
        let questions = opened.questions(&golden);
        for (question, theirs) in questions.iter().zip(&golden) {
            let read = if strategy == Strategy::EncoderOnce { question.source_len } else { question.prompt.len() };
            assert_eq!(question.prompt[..read], ids(&theirs["prompt_ids"]), "{name}");
            assert_eq!(question.options, [ids(&theirs["ids_first"]), ids(&theirs["ids_second"])], "{name}");
            assert_eq!(theirs["closed"], question.closed, "{name}");
        }
        let ours = opened.log_probs(&questions, Reuse::Trie);
        let of = |p: &Value| ["log_prob_first", "log_prob_second"].map(|column| p[column].as_f64().unwrap());
        let theirs: Vec<[f64; 2]> = golden.iter().map(of).collect();
        let off = furthest(&ours, &theirs);
        println!("{name}: {off:.1e} nats at most from transformers");
        // f32 sums in another order, over up to nine tokens; the bar of the project.
        assert!(off < 1e-4, "{name}: {off}");
        for reuse in [Reuse::Question, Reuse::Off] {
            let off = furthest(&ours, &opened.log_probs(&questions, reuse));
            assert!(off < 2e-5, "{name}, {reuse:?}: {off}");
        }
    }
}

/// Word by word from states kept or the whole sequence again: the same answer.
#[test]
fn free_answers_do_not_depend_on_what_is_kept() {
    for (name, _) in MODELS {
        let (mut opened, golden) = (open(name), golden(name));
        let prompts: Vec<_> = golden.iter().map(|p| opened.tokenizer.prompt(&opened.ask(p).0).unwrap()).collect();
        let settings = GenerationSettings {
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            repetition_penalty: 1.0,
            max_new_tokens: 6,
            stop: vec![opened.tokenizer.closing()],
        };
        let streams = Streams::new(0, "unused");
        let mut written = |reuse: Reuse| {
            let rows = (0..prompts.len()).map(|prompt| Row { prompt, rng: streams.rng(prompt as u64) }).collect();
            let budget = Budget { batch_tokens: 512, cache_tokens: 512, pass_tokens: 30 };
            let (written, _) = generate(&mut opened.model, &prompts, rows, &settings, (reuse, budget), |_| {}).unwrap();
            written.into_iter().map(|one| one.tokens).collect::<Vec<_>>()
        };
        let kept = written(Reuse::Trie);
        assert!(kept.iter().any(|tokens| !tokens.is_empty()), "{name}");
        assert_eq!(kept, written(Reuse::Off), "{name}");
    }
}

/// The command, from triplets to judgments, and its parity.
#[test]
fn they_are_judged_like_any_other_model() {
    for (name, strategy) in MODELS {
        let out = tempfile::tempdir().unwrap();
        let triplets = out.path().join("triplets.csv");
        let rows = "anchor,first,second\nbear,cat,hammer\ncat,bear,wasp\nhammer,saw,bear\nwasp,saw,cat\n";
        std::fs::write(&triplets, rows).unwrap();
        let model = folder(name);
        let [model, triplets, out] = [&model, &triplets, out.path()].map(|path| path.to_str().unwrap().to_owned());
        let judged = succeed(&["judge", "--model", &model, "--triplets", &triplets, "--out", &out, "--json"]);
        let summary: Value = serde_json::from_str(&judged).unwrap();
        assert_eq!(summary["made"], 4, "{name}");
        assert!(summary["self_test"]["max_nats"].as_f64().unwrap() < 2e-5, "{name}: {summary}");
        let plan = succeed(&["judge", "--model", &model, "--triplets", &triplets, "--out", &out, "--dry-run"]);
        assert!(plan.contains(&format!("strategy {strategy}:")), "{plan}");
    }
}
