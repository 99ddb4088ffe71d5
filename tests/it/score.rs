//! `alike score` against lm-evaluation-harness, and as a user runs it. `golden/make_score.py` made the numbers.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use alike::engine::scripted::ScriptedModel;
use alike::engine::{LanguageModel, ModelInfo, PassOutput};
use alike::model_folder::ModelFolder;
use alike::multiple_choice::{Request, ScoreSettings, Scored, Scorer, groups};
use alike::prompts::pass::Pass;
use alike::prompts::plan::Reuse;
use alike::prompts::template::{Frame, Style, Wording};
use alike::prompts::tokens::{Close, PromptTokenizer, TokenId};
use alike::store::scores::columns;
use alike::store::table::Table;
use serde_json::{Value, json};

use crate::support::{alike, fail, succeed, tiny};

/// A folder of its own with a file of requests, one a line.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(requests: &[Value]) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let lines: Vec<String> = requests.iter().map(|request| format!("{request}\n")).collect();
        std::fs::write(bench.at("requests.jsonl"), lines.concat()).unwrap();
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, model: &Path, more: &[&str]) -> Vec<String> {
        let (requests, out) = (self.at("requests.jsonl"), self.at("scores.parquet"));
        let paths = ["--model", text(model), "--requests", text(&requests), "--out", text(&out)];
        [&["score"], &paths[..], more].concat().into_iter().map(str::to_owned).collect()
    }

    /// Scores with a tiny model; the summary.
    fn score(&self, layout: &str, more: &[&str]) -> Value {
        let arguments = self.arguments(&tiny(layout), &[&["--json"], more].concat());
        serde_json::from_str(&succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>())).unwrap()
    }

    fn fails(&self, more: &[&str]) -> String {
        let message = fail(&self.arguments(&tiny("scoring"), more).iter().map(String::as_str).collect::<Vec<_>>());
        let left: Vec<PathBuf> = crate::support::files_below(self.folder.path());
        assert!(left.iter().all(|file| file.extension().is_none_or(|e| e != "tmp")), "{left:?}");
        message
    }

    /// Starts scoring, and sends a signal when one more part is there; the exit code, if it is the program's own.
    fn interrupted(&self, signal: &str, more: &[&str]) -> Option<i32> {
        let parts = || {
            std::fs::read_dir(self.at("scores.parquet.parts")).map_or(0, |folder| {
                folder
                    .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "parquet"))
                    .count()
            })
        };
        let (before, arguments) = (parts(), self.arguments(&tiny("scoring"), more));
        let mut program = alike(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while parts() == before {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it had made a part");
            std::thread::sleep(Duration::from_millis(1));
        }
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        child.wait().unwrap().code()
    }

    fn table(&self) -> Table {
        Table::read(&self.at("scores.parquet")).unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn golden(style: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("golden/score.json")).unwrap();
    all[style].clone()
}

fn requests(golden: &Value) -> Vec<Value> {
    golden["requests"].as_array().unwrap().iter().map(|row| row["request"].clone()).collect()
}

/// One column of one request.
fn of_request<T: Clone>(table: &Table, values: &[Option<T>], request: usize) -> Vec<T> {
    let rows = table.integers("request").unwrap();
    let own = rows.iter().zip(values).filter(|(row, _)| **row == Some(request as i64));
    own.map(|(_, value)| value.clone().unwrap()).collect()
}

/// Two runtimes sum the same f32 products in other orders: about 1e-6 for each of up to 90 tokens.
const NATS: f64 = 5e-5;

#[test]
fn scores_are_those_of_lm_evaluation_harness() {
    for style in ["base", "chat"] {
        let golden = golden(style);
        let bench = Bench::new(&requests(&golden));
        for (layout, more) in [("scoring", &["--part-rows", "6"][..]), ("standard", &[])] {
            let summary = bench.score(layout, &[&["--style", style, "--force"], more].concat());
            for (name, expected) in golden["summary"].as_object().unwrap() {
                let found = summary[if name == "n" { "with_gold" } else { name }].as_f64().unwrap();
                assert!((found - expected.as_f64().unwrap()).abs() < 1e-12, "{style}: {name} is {found}");
            }
            let table = bench.table();
            agrees(&table, golden["requests"].as_array().unwrap());
        }
    }
}

fn agrees(table: &Table, expected: &[Value]) {
    let numbers = |column: &str| table.numbers(column).unwrap();
    let (log_probs, empty, p) = (numbers("log_prob"), numbers("log_prob_empty"), numbers("p"));
    let (greedy, moved) = (table.booleans("greedy").unwrap(), table.integers("n_moved_tokens").unwrap());
    let mut largest: f64 = 0.0;
    for (request, row) in expected.iter().enumerate() {
        let near = |values: &[Option<f64>], name: &str, tolerance: f64| {
            let values = of_request(table, values, request);
            let expected = row[name].as_array().unwrap();
            assert_eq!(values.len(), expected.len(), "{row}");
            values.iter().zip(expected).fold(0.0, |largest: f64, (value, expected)| {
                let difference = (value - expected.as_f64().unwrap()).abs();
                assert!(difference < tolerance, "{name}: {value} where {expected} is expected, of {row}");
                largest.max(difference)
            })
        };
        largest = largest.max(near(&log_probs, "log_probs", NATS)).max(near(&empty, "log_probs_empty", NATS));
        near(&p, "p", NATS);
        assert_eq!(json!(of_request(table, &greedy, request)), row["greedy"], "{row}");
        for (name, expected) in row["chosen"].as_object().unwrap() {
            let chosen = of_request(table, &table.booleans(&format!("chosen_{name}")).unwrap(), request);
            let which: Vec<usize> = (0..chosen.len()).filter(|choice| chosen[*choice]).collect();
            assert_eq!(which, [expected.as_u64().unwrap() as usize], "{name} of {row}");
        }
        let n_moved = of_request(table, &moved, request)[0];
        let ends_in_space = ["space at the end", "newline at the end", "a chat by hand", "a join that moves"];
        assert_eq!(n_moved > 0, row["request"]["id"].as_str().is_some_and(|id| ends_in_space.contains(&id)), "{row}");
    }
    println!("{} requests, largest difference {largest:.1e} nats", expected.len());
}

#[test]
fn a_file_of_scores() {
    let asked = [
        json!({"id": "a", "prompt": "A bear is", "choices": ["an animal", "a tool"], "gold": "a tool", "subject": "x"}),
        json!({"prompt": "Name it.", "choices": ["baseball", "baseball glove", "é"]}),
    ];
    let bench = Bench::new(&asked);
    let summary = bench.score("scoring", &["--style", "base", "--close", "auto"]);
    assert_eq!((&summary["requests"], &summary["choices"], &summary["with_gold"]), (&json!(2), &json!(5), &json!(1)));
    assert_eq!(summary["acc_stderr"], Value::Null, "of one request");
    let table = bench.table();
    assert_eq!(table.columns(), columns().iter().map(|c| c.name.to_owned()).collect::<Vec<_>>());
    assert_eq!(table.metadata["alike.schema_version"], "2");
    assert_eq!(table.metadata["alike.fingerprint"], summary["fingerprint"].as_str().unwrap());
    assert_eq!(table.names("id").unwrap(), ["a", "a", "1", "1", "1"]);
    let integers = |name: &str| table.integers(name).unwrap().into_iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!(integers("choice"), [0, 1, 0, 1, 2]);
    assert_eq!((integers("n_chars")[4], integers("n_bytes")[4], integers("n_choices")[4]), (1, 2, 3));
    assert_eq!(table.names("model").unwrap()[0], "tiny-llama-scoring");
    let gold = table.booleans("is_gold").unwrap();
    assert_eq!(gold, [Some(false), Some(true), None, None, None]);
    // Only where a choice begins another are they closed, both numbers of each.
    assert_eq!(table.booleans("closed").unwrap(), [false, false, true, true, true].map(Some));
    let closed = table.numbers("log_prob").unwrap();
    let mass = table.numbers("choice_mass").unwrap()[2].unwrap();
    let sum: f64 = closed[2..].iter().map(|l| l.unwrap().exp()).sum();
    assert!((mass - sum).abs() < 1e-6 * sum);

    // Other requests beside a request, other parts and passes, and whole prompts, do not change its numbers.
    for more in [
        &["--limit", "1"][..],
        &["--part-rows", "1"],
        &["--batch-tokens", "16"],
        &["--reuse", "off"],
        &["--reuse", "question"],
    ] {
        bench.score("scoring", &[&["--style", "base", "--close", "auto", "--force"], more].concat());
        let again = bench.table();
        for (one, other) in closed.iter().zip(again.numbers("log_prob").unwrap()) {
            assert!((one.unwrap() - other.unwrap()).abs() < NATS, "{more:?}");
        }
        assert_eq!(again.len(), if more[0] == "--limit" { 2 } else { 5 });
    }

    let open = bench.score("scoring", &["--style", "base", "--no-mutual-info", "--force"]);
    assert_eq!(open["acc_mutual_info"], Value::Null);
    let table = bench.table();
    assert!(table.numbers("log_prob_empty").unwrap().iter().all(Option::is_none));
    assert!(table.booleans("closed").unwrap().iter().all(|closed| *closed == Some(false)));
    assert!(table.numbers("log_prob").unwrap()[2] > closed[2], "to begin with it is more probable than to be it");
    // The same command writes the same bytes.
    let bytes = std::fs::read(bench.at("scores.parquet")).unwrap();
    bench.score("scoring", &["--style", "base", "--no-mutual-info", "--force", "--threads", "1"]);
    assert_eq!(std::fs::read(bench.at("scores.parquet")).unwrap(), bytes);
}

#[test]
fn a_plan_of_requests() {
    let asked: Vec<Value> = (0..50)
        .map(|i| json!({"prompt": format!("Of all the animals, which is number {i}?"), "choices": ["bear", "cat"]}))
        .collect();
    let bench = Bench::new(&asked);
    let plan = bench.score("scoring", &["--style", "base", "--dry-run", "--no-mutual-info"]);
    assert!(!bench.at("scores.parquet").exists());
    assert_eq!(plan["requests"], 50);
    let summary = bench.score("scoring", &["--style", "base", "--no-mutual-info"]);
    assert_eq!(plan["plan"]["computed_tokens"], summary["tokens_computed"]);
    // Fifty questions share all but a few tokens, and their choices.
    let computed = summary["tokens_computed"].as_u64().unwrap();
    assert!(4 * computed < summary["tokens_logical"].as_u64().unwrap(), "{summary}");
}

#[test]
fn output_that_is_there_is_kept() {
    let bench = Bench::new(&[json!({"prompt": "A", "choices": ["b"]})]);
    std::fs::write(bench.at("scores.parquet"), "mine").unwrap();
    let message = bench.fails(&["--style", "base"]);
    assert!(message.contains("scores.parquet exists already") && message.contains("--force"), "{message}");
    assert_eq!(std::fs::read_to_string(bench.at("scores.parquet")).unwrap(), "mine");
    std::fs::write(bench.at("requests.jsonl"), "{\"prompt\": \"A\"}").unwrap();
    bench.fails(&["--style", "base", "--force"]);
    assert_eq!(std::fs::read_to_string(bench.at("scores.parquet")).unwrap(), "mine", "until there is something better");
}

/// A batch system's warning, then a kill, then a damaged part.
#[test]
fn what_was_interrupted_goes_on_to_the_same_bytes() {
    let request =
        |i: usize| json!({"prompt": format!("{i} Which?"), "choices": ["bear", format!("boat {i}")], "gold": i % 2});
    let requests: Vec<Value> = (0..800).map(request).collect();
    let bench = Bench::new(&requests);
    let (out, parts) = (bench.at("scores.parquet"), bench.at("scores.parquet.parts"));
    let flags = ["--style", "base", "--part-rows", "16"];
    let (fresh, resume) = ([&flags[..], &["--force"]].concat(), [&flags[..], &["--resume"]].concat());
    let unbroken = bench.score("scoring", &fresh);
    let bytes = std::fs::read(&out).unwrap();
    assert!(!parts.exists() && unbroken["made"] == 800 && unbroken["kept"] == 0, "{unbroken}");
    std::fs::remove_file(&out).unwrap();

    assert_eq!(bench.interrupted("TERM", &resume), Some(75));
    assert!(!out.exists());
    let message = bench.fails(&flags);
    assert!(message.contains("part-00000.parquet exists already") && message.contains("--resume"), "{message}");
    let message = bench.fails(&[&resume[..], &["--close", "always"]].concat());
    assert!(message.contains("close"), "{message}");
    assert_eq!(bench.interrupted("KILL", &resume), None);
    assert!(!out.exists());
    let first = parts.join("part-00000.parquet");
    let mut damaged = std::fs::read(&first).unwrap();
    damaged[100] ^= 1;
    std::fs::write(&first, damaged).unwrap();
    let resumed = bench.score("scoring", &resume);
    let (made, kept) = (resumed["made"].as_u64().unwrap(), resumed["kept"].as_u64().unwrap());
    assert!(made + kept == 800 && made >= 8 && kept >= 8, "{resumed}");
    assert_eq!(std::fs::read(&out).unwrap(), bytes);
    assert!(!parts.exists() && resumed["acc"] == unbroken["acc"], "{resumed}");

    let again = bench.score("scoring", &resume);
    assert!(again["made"] == 0 && again["acc_norm"] == unbroken["acc_norm"] && !parts.exists(), "{again}");
    assert_eq!(std::fs::read(&out).unwrap(), bytes);

    // Parts of other inputs are nobody's: a forced run that is stopped counts its own alone.
    std::fs::create_dir(&parts).unwrap();
    for part in 0..100 {
        std::fs::copy(&out, parts.join(format!("part-{part:05}.parquet"))).unwrap();
    }
    assert_eq!(bench.interrupted("TERM", &[&fresh[..], &["--close", "always"]].concat()), Some(75));
    assert_eq!(std::fs::read(&out).unwrap(), bytes, "until there is something better");
    let closed = bench.score("scoring", &[&fresh[..], &["--close", "always"]].concat());
    assert!(closed["made"] == 800 && std::fs::read(&out).unwrap() != bytes && !parts.exists(), "{closed}");
}

#[test]
fn faults_of_requests_are_named_before_any_work() {
    let good = json!({"id": "fine", "prompt": "A", "choices": ["b", "c"]});
    let says = |requests: &[Value], more: &[&str], parts: &[&str]| {
        let message = Bench::new(requests).fails(more);
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in\n{message}");
        }
    };
    let base = &["--style", "base"][..];
    let with = |bad: Value| [good.clone(), bad];
    says(
        &with(json!({"id": "fine", "prompt": "A", "choices": ["b"]})),
        base,
        &["requests.jsonl, line 2 (id \"fine\"): `id` is \"fine\", as that of an earlier one, expected each id once"],
    );
    says(&with(json!({"id": 1, "prompt": "A", "choices": ["b", "b"]})), base, &["line 2 (id \"1\")", "stands twice"]);
    says(
        &with(json!({"id": 1, "prompt": "A", "choices": ["b"], "gold": 1})),
        base,
        &["line 2 (id \"1\"): `gold` is 1"],
    );
    says(&with(json!({"id": 1, "prompt": "A"})), base, &["line 2 (id \"1\"): `choices` is missing"]);
    says(
        &with(json!({"id": 1, "prompt": "bear ".repeat(300), "choices": ["b"]})),
        base,
        &["requests.jsonl, line 2 (id \"1\") needs", "the model's context holds 256", "hint: shorten the text"],
    );
    let talk = json!({"id": 1, "messages": [{"role": "user", "content": "A"}], "choices": ["b"]});
    says(&with(talk), base, &["line 2 (id \"1\"): `messages` is a conversation", "--style chat"]);
    says(&[], base, &["requests in", "0, at least 1 needed"]);
    says(
        &with(json!(["A"])),
        base,
        &["requests.jsonl, line 2: the line is another kind of JSON value, expected a JSON object"],
    );

    let bench = Bench::new(&[good]);
    let (missing, model) = (bench.at("missing.jsonl"), tiny("scoring"));
    let score = |requests: &Path, out: &Path| {
        fail(&["score", "--model", text(&model), "--requests", text(requests), "--out", text(out), "--style", "base"])
    };
    assert!(score(&missing, &bench.at("scores.parquet")).contains("missing.jsonl"));
    assert!(score(&bench.at("requests.jsonl"), bench.folder.path()).contains("`out` is a folder, expected a file"));
}

/// A model that overflows on one token.
struct Overflowing(ScriptedModel, TokenId);

impl LanguageModel for Overflowing {
    fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    fn begin(&mut self, cache_tokens: usize) -> alike::Result<()> {
        self.0.begin(cache_tokens)
    }

    fn run(&mut self, pass: &Pass) -> alike::Result<PassOutput> {
        let mut output = self.0.run(pass)?;
        for (wanted, log_prob) in pass.wanted.iter().zip(&mut output.log_probs) {
            if wanted.token == self.1 {
                *log_prob = f32::NAN;
            }
        }
        Ok(output)
    }

    fn running(&self) -> Duration {
        self.0.running()
    }
}

#[test]
fn what_is_not_finite_names_its_request() {
    let folder = ModelFolder::open(&tiny("scoring")).unwrap();
    let frame = Frame::new(Style::Base, &Wording::new("paper", None).unwrap(), None).unwrap();
    let tokenizer = PromptTokenizer::new(&folder.tokenizer, frame, folder.eos).unwrap();
    let settings = ScoreSettings {
        close: Close::Never,
        start: 1,
        mutual_info: true,
        reuse: Reuse::Trie,
        batch_tokens: 64,
        part_rows: 100,
    };
    let scorer = Scorer { tokenizer: &tokenizer, template: None, settings: &settings, context_tokens: None };
    let request = |row: usize, choice: &str, delimiter: &str| {
        let fields = json!({"prompt": "An x", "choices": [choice, "cat"], "delimiter": delimiter, "context": "x"});
        Request::from_fields(fields.as_object().unwrap().clone(), row, &format!("line {}", row + 1))
    };
    // "Q" is a token of its own; so it is scored after the prompt and after the context.
    let asked = || [request(0, "bear", " "), request(1, "Q", "\n"), request(2, "hat", " ")].into_iter();
    let bad = tokenizer.id("Q").unwrap();
    let mut model = Overflowing(ScriptedModel::new(400), bad);
    let asked = || groups(asked(), settings.part_rows);
    let error = scorer.score(&mut model, asked(), |_, _| Ok(()), |_| {}).unwrap_err().to_string();
    assert!(error.contains("NaN") && error.ends_with("first bad presentation: line 2"), "{error}");
    let mut written = 0;
    let write = |_: usize, scored: Vec<Scored>| {
        written += scored.len();
        Ok(())
    };
    let mut seen = 0;
    let size = scorer.score(&mut ScriptedModel::new(400), asked(), write, |n| seen += n).unwrap();
    assert_eq!((written, seen), (3, 3), "progress counts requests, not what is asked beside them");
    assert!(size.computed_tokens < size.logical_tokens);
}

#[test]
fn a_template_that_refuses_a_conversation_names_the_request() {
    let bench = Bench::new(&[json!({"id": "odd", "choices": ["a"], "messages": [{"role": "tool", "content": "x"}]})]);
    let model = bench.at("model");
    crate::support::copy_folder(&tiny("scoring"), &model);
    let file = model.join("tokenizer_config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let refuses = "{% if messages[0]['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}";
    config["chat_template"] = format!("{refuses}{}", config["chat_template"].as_str().unwrap()).into();
    std::fs::write(file, config.to_string()).unwrap();
    let arguments = bench.arguments(&model, &["--style", "chat"]);
    let message = fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(message.contains("no tools here") && message.contains("requests.jsonl, line 1 (id \"odd\")"), "{message}");
}

/// A hundred choices, one of them long, in both layouts and without sharing.
#[test]
fn many_choices_of_any_length() {
    let long = "Respond only with the item name. ".repeat(5);
    let choices: Vec<String> =
        (0..99).map(|i| format!("item {i}{}", " bear".repeat(i % 7))).chain([long.trim().to_owned()]).collect();
    let bench = Bench::new(&[json!({"prompt": "Which?", "choices": choices, "gold": 99})]);
    let mut all = Vec::new();
    for (layout, reuse) in [("scoring", "trie"), ("standard", "trie"), ("scoring", "off")] {
        bench.score(layout, &["--style", "base", "--reuse", reuse, "--force"]);
        all.push(bench.table().numbers("log_prob").unwrap());
    }
    let apart = |a: &[Option<f64>], b: &[Option<f64>]| {
        a.iter().zip(b).map(|(a, b)| (a.unwrap() - b.unwrap()).abs()).fold(0.0, f64::max)
    };
    assert_eq!(all[0].len(), 100);
    assert!(apart(&all[0], &all[1]) < 5.0 * NATS && apart(&all[0], &all[2]) < 5.0 * NATS);
}
