//! Free answers against transformers; decisions, repeats and forms in a study.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::path::Path;

use alike::engine::LanguageModel;
use alike::generation::next_token::candidates;
use alike::generation::settings::GenerationSettings;
use alike::generation::{Row, generate};
use alike::prompts::plan::{Budget, Reuse};
use alike::prompts::tokens::{Close, PromptTokens};
use alike::seed::Streams;
use alike::store::table::Table;
use serde_json::Value;

use crate::models::{Opened, open};
use crate::study::small_study;
use crate::support::{fail, path, succeed, tiny};

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(path("tests/it/golden/generations.json")).unwrap()).unwrap()
}

fn numbers<T>(values: &Value, number: impl Fn(&Value) -> T) -> Vec<T> {
    values.as_array().unwrap().iter().map(number).collect()
}

fn ids(values: &Value) -> Vec<u32> {
    numbers(values, |v| v.as_u64().unwrap() as u32)
}

/// Greedy answers, all prompts together, are those that transformers gives one by one.
fn answers_agree(folder: &Path, rows: &Value, reuse: Reuse) {
    let Opened { mut model, tokenizer, wording } = open(folder, 0);
    let budget = Budget { batch_tokens: 512, cache_tokens: (128 << 20) / model.info().slot_bytes, pass_tokens: 30 };
    let rows = rows.as_array().unwrap();
    let mut penalties: Vec<f64> = rows.iter().map(|row| row["repetition_penalty"].as_f64().unwrap()).collect();
    penalties.sort_by(f64::total_cmp);
    penalties.dedup();
    for penalty in penalties {
        let of_penalty: Vec<&Value> = rows.iter().filter(|row| row["repetition_penalty"] == penalty).collect();
        let prompt = |row: &&Value| {
            let [anchor, first, second] = ["anchor", "first", "second"].map(|name| row[name].as_str().unwrap());
            tokenizer.prompt(&wording.ask(anchor, first, second)).unwrap()
        };
        let prompts: Vec<PromptTokens> = of_penalty.iter().map(prompt).collect();
        let streams = Streams::new(0, "unused");
        let asked = (0..prompts.len()).map(|prompt| Row { prompt, rng: streams.rng(prompt as u64) }).collect();
        let settings = GenerationSettings {
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            repetition_penalty: penalty,
            max_new_tokens: 20,
            stop: vec![2],
        };
        let (written, size) = generate(&mut model, &prompts, asked, &settings, (reuse, budget), |_| {}).unwrap();
        for (ours, theirs) in written.iter().zip(&of_penalty) {
            assert_eq!(ours.tokens, ids(&theirs["ids"]), "{theirs}");
            assert_eq!(ours.stopped, theirs["stopped"].as_bool().unwrap());
            assert_eq!(tokenizer.decode(&ours.tokens).unwrap().trim(), theirs["text"].as_str().unwrap());
        }
        println!("{}: {} answers with penalty {penalty}, {size:?}", folder.display(), written.len());
    }
}

#[test]
fn tiny_answers_are_those_of_transformers() {
    let golden = golden();
    for layout in ["scoring", "standard", "gqa"] {
        for reuse in [Reuse::Trie, Reuse::Question, Reuse::Off] {
            answers_agree(&tiny(layout), &golden["tiny"], reuse);
        }
    }
}

#[test]
fn smollm2_answers_are_those_of_transformers() {
    answers_agree(&path("models/smollm2-135m-instruct"), &golden()["smollm2"], Reuse::Trie);
}

/// Which tokens stay and with which probability, under several settings, with ties.
#[test]
fn candidates_are_those_of_transformers() {
    for case in golden()["processors"].as_array().unwrap() {
        let number = |name: &str| case[name].as_f64().unwrap();
        let settings = GenerationSettings {
            do_sample: true,
            temperature: number("temperature"),
            top_k: number("top_k") as usize,
            top_p: number("top_p"),
            repetition_penalty: number("repetition_penalty"),
            max_new_tokens: 20,
            stop: vec![],
        };
        let logits: Vec<f32> = numbers(&case["logits"], |v| v.as_f64().unwrap() as f32);
        let ours = candidates(&logits, ids(&case["before"]), &settings);
        assert_eq!(ours.iter().map(|(token, _)| *token).collect::<Vec<_>>(), ids(&case["kept"]), "{settings}");
        for ((_, ours), theirs) in ours.iter().zip(numbers(&case["p"], |v| v.as_f64().unwrap())) {
            // Theirs go through f32.
            assert!((ours - theirs).abs() < 1e-6, "{settings}: {ours} and {theirs}");
        }
    }
}

struct Bench {
    folder: tempfile::TempDir,
    study: String,
    out: String,
}

/// The small study, asked with some settings under `[judge]` instead of its own.
fn bench(model: &Path, judge: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = small_study(folder.path(), model);
    let text = std::fs::read_to_string(&study).unwrap().replace("[judge]", &format!("[judge]\n{judge}"));
    std::fs::write(&study, text).unwrap();
    Bench { study: study.to_str().unwrap().into(), out: out.to_str().unwrap().into(), folder }
}

impl Bench {
    fn judge(&self, more: &[&str]) -> Value {
        let arguments = [&["judge", &self.study, "--out", &self.out, "--json"], more].concat();
        serde_json::from_str(&succeed(&arguments)).unwrap()
    }

    fn judge_fails(&self) -> String {
        fail(&["judge", &self.study, "--out", &self.out])
    }

    fn parts(&self) -> Vec<Table> {
        let folder = Path::new(&self.out).join("judgments");
        alike::store::judgments::parts(&folder, "tiny").unwrap().iter().map(|p| Table::read(p).unwrap()).collect()
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(&self.out).join("judgments");
        alike::store::judgments::parts(&folder, "tiny").unwrap().iter().map(|p| std::fs::read(p).unwrap()).collect()
    }

    /// The values of a column over all parts.
    fn column<T>(&self, read: impl Fn(&Table) -> alike::Result<Vec<T>>) -> Vec<T> {
        self.parts().iter().flat_map(|table| read(table).unwrap()).collect()
    }
}

const SAMPLING: &str = "decision = \"generate\"\ndo_sample = true\nmax_new_tokens = 6\nself_test = 2\n";

#[test]
fn free_answers_are_stored_read_and_the_same_again() {
    let bench = bench(&tiny("scoring"), SAMPLING);
    let summary = bench.judge(&[]);
    assert_eq!((summary["made"].as_u64(), summary["decision"].as_str()), (Some(400), Some("generate")));
    let (chosen, parses) = (bench.column(|t| t.text("chosen")), bench.column(|t| t.text("parse")));
    let responses = bench.column(|t| t.text("response"));
    assert!(responses.iter().all(Option::is_some));
    let distinct: std::collections::BTreeSet<_> = responses.iter().flatten().collect();
    assert!(distinct.len() > 100, "a random model says all sorts of things");
    for ((response, parse), chosen) in responses.iter().zip(&parses).zip(&chosen) {
        let parse = parse.as_deref().unwrap();
        assert_eq!(parse == "parsed", chosen.is_some(), "{response:?}");
        assert!(parse == "parsed" || parse.starts_with("unparsed: "), "{parse}");
    }
    let unparsed = chosen.iter().filter(|c| c.is_none()).count();
    assert_eq!(summary["unparsed"].as_u64(), Some(unparsed as u64));
    assert!(bench.column(|t| t.numbers("log_prob_first")).iter().all(Option::is_none));
    assert!(bench.column(|t| t.text("top_token")).iter().all(Option::is_some));

    // A part that is lost comes back the same; so does everything in parts of other sizes, on one thread, without reuse.
    let before = bench.bytes();
    let lost = Path::new(&bench.out).join("judgments/respondent=tiny/part-00000-00001.parquet");
    std::fs::remove_file(lost).unwrap();
    bench.judge(&["--resume"]);
    assert_eq!(bench.bytes(), before);
    for flags in [&["--part-rows", "1000"][..], &["--threads", "1", "--batch-tokens", "64"], &["--reuse", "off"]] {
        bench.judge(&[&["--force"], flags].concat());
        assert_eq!(bench.column(|t| t.text("response")), responses, "{flags:?}");
    }
    // What makes other answers is another run.
    let study = std::fs::read_to_string(&bench.study).unwrap().replace("max_new_tokens = 6", "max_new_tokens = 5");
    std::fs::write(&bench.study, study).unwrap();
    let refusal = fail(&["judge", &bench.study, "--out", &bench.out, "--resume"]);
    assert!(refusal.contains("was made with another"), "{refusal}");
}

/// A model that answers with a name it was asked about: what is unparsed is left out, and the study goes through.
#[test]
fn a_study_of_free_answers_reaches_its_page() {
    let model = path("models/smollm2-135m-instruct");
    let bench = bench(&model, "decision = \"generate\"\nmax_new_tokens = 6\nself_test = 0\n");
    // Left to itself it talks; an example or two show it that a name will do.
    let examples = "[prompt]\nfew_shot = [{ anchor = \"owl\", first = \"saw\", second = \"hawk\", answer = \"hawk\" },\
                    { anchor = \"soup\", first = \"stew\", second = \"boot\", answer = \"stew\" }]\n[judge]";
    let study = std::fs::read_to_string(&bench.study).unwrap();
    let study = study.replace("n = 200", "n = 30").replace("[judge]", examples);
    // Half of thirty answers are too few to cross-validate a penalty on.
    let study = study.replace("dims = 3", "dims = 3\nloss = [\"crowd-kernel\"]");
    std::fs::write(&bench.study, study).unwrap();
    succeed(&["run", &bench.study, "--out", &bench.out]);
    let chosen = bench.column(|t| t.text("chosen"));
    let parsed = chosen.iter().flatten().count();
    assert!((20..60).contains(&parsed), "{parsed} of 60 answers name one option: {chosen:?}");
    let page = std::fs::read_to_string(Path::new(&bench.out).join("report.html")).unwrap();
    assert!(page.contains("<svg"));
}

#[test]
fn repeats_draw_anew_from_the_same_scores() {
    let bench = bench(&tiny("scoring"), "decision = \"sample\"\nrepeats = 4\ntemperature = 8.0\n");
    let summary = bench.judge(&[]);
    assert_eq!((summary["made"].as_u64(), summary["repeats"].as_u64()), (Some(1600), Some(4)));
    assert!(bench.parts().iter().all(|part| part.len() <= 150 && part.len() % 4 == 0), "repeats stay together");
    let (ids, orders) = (bench.column(|t| t.integers("triplet_id")), bench.column(|t| t.integers("order")));
    let repeats = bench.column(|t| t.integers("repeat"));
    let (scores, chosen) = (bench.column(|t| t.numbers("log_prob_first")), bench.column(|t| t.booleans("chose_first")));
    let mut mixed = 0;
    for at in (0..1600).step_by(4) {
        let rows = at..at + 4;
        assert!(
            ids[rows.clone()].iter().all(|id| *id == ids[at]) && orders[rows.clone()].iter().all(|o| *o == orders[at])
        );
        assert_eq!(repeats[rows.clone()], [Some(0), Some(1), Some(2), Some(3)]);
        assert!(scores[rows.clone()].iter().all(|s| *s == scores[at]));
        mixed += usize::from(chosen[rows.clone()].iter().any(|c| *c != chosen[at]));
    }
    assert!(mixed > 100, "{mixed} of 400 presentations are not always answered alike");
    // The first of several is what a single one would have been.
    let single = self::bench(&tiny("scoring"), "decision = \"sample\"\ntemperature = 8.0\n");
    single.judge(&[]);
    let first: Vec<_> = chosen.iter().step_by(4).copied().collect();
    assert_eq!(single.column(|t| t.booleans("chose_first")), first);
}

#[test]
fn both_orders_are_summarised() {
    let bench = bench(&tiny("scoring"), "");
    let summary = bench.judge(&[]);
    assert_eq!(summary["both_orders"].as_u64(), Some(200));
    // By hand, from the file.
    let (ids, orders) = (bench.column(|t| t.integers("triplet_id")), bench.column(|t| t.integers("order")));
    let (chosen, first) = (bench.column(|t| t.text("chosen")), bench.column(|t| t.booleans("chose_first")));
    let mut by_id = std::collections::BTreeMap::new();
    for ((id, order), chosen) in ids.iter().zip(&orders).zip(&chosen) {
        by_id.entry(id).or_insert([None, None])[order.unwrap() as usize] = chosen.clone();
    }
    let alike = by_id.values().filter(|[a, b]| a == b).count();
    let share = summary["order_consistency"].as_f64().unwrap();
    assert!((share - alike as f64 / 200.0).abs() < 1e-12 && share < 1.0, "{share}");
    let first_share = first.iter().filter(|f| **f == Some(true)).count() as f64 / 400.0;
    assert!((summary["first_share"].as_f64().unwrap() - first_share).abs() < 1e-12);
    let again = alike_words(&["judge", &bench.study, "--out", &bench.out, "--resume"]);
    assert!(again.contains("200 pairs in both orders") && again.contains("% answered alike"), "{again}");
}

fn alike_words(arguments: &[&str]) -> String {
    String::from_utf8(crate::support::alike(arguments).output().unwrap().stderr).unwrap()
}

/// One folder, asked three times: each decision is a respondent.
#[test]
fn three_decisions_are_one_command() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = small_study(folder.path(), &tiny("scoring"));
    let text = std::fs::read_to_string(&study).unwrap();
    let entry = text.split("[[models]]").nth(1).unwrap().split("[[").next().unwrap();
    let other = |decision: &str| {
        format!("[[models]]{}decision = \"{decision}\"\n", entry.replace("\"tiny\"", &format!("\"tiny-{decision}\"")))
    };
    let text = text.replacen("[[simulated]]", &format!("{}{}[[simulated]]", other("sample"), other("generate")), 1);
    std::fs::write(&study, text.replace("part_rows", "max_new_tokens = 4\npart_rows")).unwrap();
    succeed(&["judge", study.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let decision = |label: &str| {
        let parts = alike::store::judgments::parts(&out.join("judgments"), label).unwrap();
        Table::read(&parts[0]).unwrap().names("decision").unwrap()[0].clone()
    };
    assert_eq!(["tiny", "tiny-sample", "tiny-generate"].map(decision), ["argmax", "sample", "generate"]);
}

#[test]
fn settings_that_do_not_go_together_are_named() {
    let says = |judge: &str, parts: &[&str]| {
        let words = bench(&tiny("scoring"), judge).judge_fails();
        for part in parts {
            assert!(words.contains(part), "{part:?} is not in\n{words}");
        }
    };
    says("repeats = 3\n", &["`judge.repeats` is 3 with decision argmax", "expected 1"]);
    says(
        "decision = \"generate\"\nrepeats = 3\n",
        &["judge.repeats", "tiny, which answers greedily", "do_sample = true"],
    );
    says("decision = \"generate\"\nscore = \"pmi\"\n", &["judge.score", "pmi with decision generate"]);
    says("surface_forms = true\nscore = \"per-token\"\n", &["judge.score", "per-token with surface_forms"]);
    says("top_p = 1.5\n", &["judge.top_p", "1.5"]);
    says("max_new_token = 5\n", &["unknown key `max_new_token`", "did you mean `max_new_tokens`?"]);
    says("decision = \"generate\"\nmax_new_tokens = 1000\n", &["tokens and the model's context holds 256"]);
}

/// Every accepted form counts, and none twice.
#[test]
fn forms_add_up() {
    let plain = bench(&tiny("scoring"), "close = \"always\"\n");
    let formed = bench(&tiny("scoring"), "surface_forms = true\n");
    plain.judge(&[]);
    formed.judge(&[]);
    for column in ["log_prob_first", "log_prob_second", "prior_first", "choice_mass"] {
        let (plain, formed) = (plain.column(|t| t.numbers(column)), formed.column(|t| t.numbers(column)));
        let more = plain.iter().zip(&formed).filter(|(a, b)| b.unwrap() > a.unwrap()).count();
        assert_eq!(more, 400, "{column}: six forms are more probable than one of them");
    }
    for column in ["n_tokens_first", "n_bytes_second", "n_prompt_tokens"] {
        assert_eq!(plain.column(|t| t.integers(column)), formed.column(|t| t.integers(column)), "{column}");
    }
    let mass = formed.column(|t| t.numbers("choice_mass"));
    let sums =
        formed.column(|t| t.numbers("log_prob_first")).into_iter().zip(formed.column(|t| t.numbers("log_prob_second")));
    for (mass, (first, second)) in mass.iter().zip(sums) {
        let sum = first.unwrap().exp() + second.unwrap().exp();
        assert!((mass.unwrap() / sum - 1.0).abs() < 1e-5, "stored as f32");
    }
    assert!(formed.column(|t| t.booleans("closed")).iter().all(|closed| *closed == Some(true)));
    let words = fail(&["judge", &formed.study, "--out", &plain.out, "--resume"]);
    assert!(words.contains("was made with another"), "{words}");
    drop((plain.folder, formed.folder));
}

#[test]
fn a_form_names_one_option() {
    let tokenizer = open(&tiny("scoring"), 1).tokenizer;
    let texts = |options: [&'static str; 2]| {
        let asked = tokenizer.formed_question("Which?", &options).unwrap();
        let distinct: std::collections::BTreeSet<_> = asked.question.options.iter().collect();
        assert_eq!(distinct.len(), asked.question.options.len(), "no event counts twice");
        assert!(asked.question.closed && asked.n_forms(0) + asked.n_forms(1) == distinct.len());
        // As written first, and where it says.
        for option in [0, 1] {
            let plain = tokenizer.question("Which?", &[options[option]], Close::Always).unwrap();
            assert_eq!(asked.question.options[asked.written(option)], plain.options[0]);
        }
        [0, 1].map(|option| asked.texts(option, options[option]).iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
    };
    let [apple, dog] = texts(["apple", "dog"]);
    assert_eq!(apple, ["apple", "Apple", "An apple", "an apple", "The apple", "the apple"]);
    assert_eq!(dog, ["dog", "Dog", "A dog", "a dog", "The dog", "the dog"]);
    // What one option is called is not a form of the other, and what could be either's is neither's.
    let [lower, upper] = texts(["turkey", "Turkey"]);
    assert_eq!(lower, ["turkey", "A turkey", "a turkey", "The turkey", "the turkey"]);
    assert_eq!(upper, ["Turkey", "A Turkey", "a Turkey", "The Turkey", "the Turkey"]);
    let [bare, with] = texts(["who", "the who"]);
    assert_eq!(bare, ["who", "Who", "A who", "a who"]);
    assert_eq!(with, ["the who", "A the who", "a the who", "The the who", "the the who"]);
}

/// Examples come before every question, change the numbers, and belong to the fingerprint.
#[test]
fn examples_come_first() {
    let plain = bench(&tiny("scoring"), "");
    let few_shot =
        "[prompt]\nfew_shot = [{ anchor = \"cat\", first = \"dog\", second = \"car\", answer = \"dog\" }]\n[judge]\n";
    let shown = bench(&tiny("scoring"), "");
    let text = std::fs::read_to_string(&shown.study).unwrap().replace("[judge]", few_shot);
    std::fs::write(&shown.study, text).unwrap();
    plain.judge(&[]);
    shown.judge(&[]);
    let tokens = |bench: &Bench| bench.column(|t| t.integers("n_prompt_tokens"));
    let more: Vec<i64> = tokens(&shown).iter().zip(tokens(&plain)).map(|(a, b)| a.unwrap() - b.unwrap()).collect();
    assert!(more[0] > 10 && more.iter().all(|n| *n == more[0]), "{more:?}");
    assert_ne!(plain.column(|t| t.numbers("log_prob_first")), shown.column(|t| t.numbers("log_prob_first")));
    let words = fail(&["judge", &shown.study, "--out", &plain.out, "--resume"]);
    assert!(words.contains("another `few_shot`"), "{words}");
}
