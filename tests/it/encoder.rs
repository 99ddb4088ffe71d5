//! Sentence encoders: vectors against transformers, judging from end to end, and what is refused.
//! `golden/tiny-encoder/` and `golden/minilm.json` hold the numbers, `golden/encoders.py` makes them.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::engine::encoder::embed;
use alike::engine::provider::{ExecutionProvider, Gpu, Runtime};
use alike::engine::session::{OnnxEncoder, SessionSettings};
use alike::model_folder::ModelFolder;
use alike::prompts::tokens::{TextTokenizer, TextTokens};
use alike::respondents::encoder::{DEFAULT_COSINE_TEMPERATURE, DEFAULT_TEMPLATE, EncoderSettings, EncoderSubject};
use alike::scoring::Decision;
use alike::store::table::Table;
use ndarray::Array2;
use serde_json::Value;

use crate::study::small_study;
use crate::support::{copy_folder, fail, path, succeed, tiny};

fn tiny_encoder() -> PathBuf {
    path("tests/it/golden/tiny-encoder")
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path("tests/it/golden").join(name)).unwrap()).unwrap()
}

fn texts(golden: &Value) -> Vec<(&str, Vec<u32>)> {
    let id = |id: &Value| u32::try_from(id.as_u64().unwrap()).unwrap();
    let ids = |text: &Value| text["ids"].as_array().unwrap().iter().map(id).collect();
    golden["texts"].as_array().unwrap().iter().map(|text| (text["text"].as_str().unwrap(), ids(text))).collect()
}

/// Vectors of the golden texts, whose tokens are transformers'.
fn vectors(model: &Path, golden: &Value, batch_tokens: usize, threads: usize) -> Array2<f64> {
    let tokenizer = TextTokenizer::new(&ModelFolder::open(model).unwrap().tokenizer).unwrap();
    let token_ids = |text: &str| tokenizer.text(text).unwrap().ids;
    let texts = texts(golden);
    for (text, ids) in &texts {
        assert_eq!(token_ids(text), *ids, "tokens of {text:?}");
    }
    let texts: Vec<&str> = texts.iter().map(|(text, _)| *text).collect();
    embedded(model, &texts, batch_tokens, threads)
}

/// An encoder that answers about concepts by their names.
pub(crate) fn subject(model: &Path, concepts: &Concepts) -> EncoderSubject {
    let names: Vec<&str> = concepts.iter().map(|concept| concept.name.as_str()).collect();
    let settings = EncoderSettings {
        template: DEFAULT_TEMPLATE.into(),
        temperature: DEFAULT_COSINE_TEMPERATURE,
        decision: Decision::Argmax,
        repeats: 1,
        seed: 1,
    };
    EncoderSubject::new(embedded(model, &names, 1024, 0), settings).unwrap()
}

fn embedded(model: &Path, texts: &[&str], batch_tokens: usize, threads: usize) -> Array2<f64> {
    let folder = ModelFolder::open(model).unwrap();
    let signature = folder.encoder().unwrap().expect("an encoder's graph");
    let tokenizer = TextTokenizer::new(&folder.tokenizer).unwrap();
    let tokens: Vec<TextTokens> = texts.iter().map(|text| tokenizer.text(text).unwrap()).collect();
    let settings = SessionSettings {
        provider: ExecutionProvider::Cpu,
        gpu: Gpu::default(),
        batch_tokens,
        threads,
        stated: folder.stated,
        context_tokens: folder.context_tokens,
        precision: folder.precision.clone(),
        key_multiple: 1,
    };
    let runtime = Runtime::load(None).expect("`make setup` installs the runtime library");
    let mut encoder = OnnxEncoder::open(&folder.graph, signature, runtime, &settings).unwrap();
    let pooling = folder.sentence(&signature).unwrap().pooling;
    embed(&tokens, pooling, batch_tokens, |batch| encoder.run(batch)).unwrap()
}

fn cosine(vectors: &Array2<f64>, i: usize, j: usize) -> f64 {
    vectors.row(i).dot(&vectors.row(j))
}

/// A copy of the tiny encoder that may be changed; its checksums, which would tell first, are forgotten.
fn copied(to: &Path) -> PathBuf {
    let model = to.join("encoder");
    copy_folder_deep(&tiny_encoder(), &model);
    let mut record = read(&model.join("alike.json"));
    record["files"] = serde_json::json!({});
    write(&model.join("alike.json"), &record);
    model
}

fn copy_folder_deep(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn write(file: &Path, value: &Value) {
    std::fs::write(file, value.to_string()).unwrap();
}

/// Without `alike.json`'s word, so that the files of sentence-transformers decide.
fn forget_pooling(model: &Path) {
    let mut record = read(&model.join("alike.json"));
    record.as_object_mut().unwrap().remove("pooling");
    write(&model.join("alike.json"), &record);
}

#[test]
fn cosines_are_those_of_transformers_for_both_poolings_and_a_graph_that_pools() {
    let golden = golden("tiny-encoder/golden.json");
    let folder = tempfile::tempdir().unwrap();
    let cls = copied(folder.path());
    forget_pooling(&cls);
    let config = cls.join("1_Pooling/config.json");
    let mut modes = read(&config);
    (modes["pooling_mode_cls_token"], modes["pooling_mode_mean_tokens"]) = (true.into(), false.into());
    write(&config, &modes);
    for (model, pooling) in [(tiny_encoder(), "mean"), (cls, "cls"), (tiny_encoder().join("pooled.onnx"), "mean")] {
        let vectors = vectors(&model, &golden, 512, 0);
        let n = vectors.nrows();
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        let expected = golden["cosines"][pooling].as_array().unwrap();
        assert_eq!(expected.len(), n * (n - 1) / 2);
        let off = pairs.zip(expected).map(|((i, j), theirs)| (cosine(&vectors, i, j) - theirs.as_f64().unwrap()).abs());
        let worst = off.fold(0.0, f64::max);
        println!("{}: cosines are {worst:.1e} at most from transformers'", model.display());
        // f32 sums in another order over two layers of width 32; the bar of the project.
        assert!(worst < 1e-5, "{}: {worst}", model.display());
    }
}

#[test]
fn minilm_agrees_with_transformers() {
    let golden = golden("minilm.json");
    let vectors = vectors(&path("models/all-minilm-l6-v2"), &golden, 1024, 0);
    let mut worst: f64 = 0.0;
    for pair in golden["pairs"].as_array().unwrap() {
        let at = |k: usize| usize::try_from(pair[k].as_u64().unwrap()).unwrap();
        worst = worst.max((cosine(&vectors, at(0), at(1)) - pair[2].as_f64().unwrap()).abs());
    }
    println!("all-MiniLM-L6-v2: cosines are {worst:.1e} at most from transformers'");
    assert!(worst < 1e-5, "{worst}");
}

#[test]
fn neither_threads_nor_batches_of_one_length_matter() {
    let golden = golden("tiny-encoder/golden.json");
    let one = vectors(&tiny_encoder(), &golden, 512, 1);
    assert_eq!(one, vectors(&tiny_encoder(), &golden, 512, 8), "the same bits for any number of threads");
    let alone = vectors(&tiny_encoder(), &golden, 1, 1);
    // A single row goes through another kernel, which adds up in another order.
    assert!((&one - &alone).iter().all(|d| d.abs() < 1e-6));
}

struct Bench {
    folder: tempfile::TempDir,
    study: PathBuf,
    out: PathBuf,
}

/// The small study with an encoder for its model, and more lines in its entry.
fn bench(model: &Path, more: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = small_study(folder.path(), model);
    let bench = Bench { folder, study, out };
    bench.edit("label = \"tiny\"", &format!("label = \"tiny\"\n{more}"));
    bench
}

impl Bench {
    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.study).unwrap();
        assert!(text.contains(from));
        std::fs::write(&self.study, text.replace(from, to)).unwrap();
    }

    fn arguments<'a>(&'a self, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&[command, self.study.to_str().unwrap(), "--out", self.out.to_str().unwrap()], more].concat()
    }

    fn judge(&self, more: &[&str]) -> Value {
        serde_json::from_str(&succeed(&self.arguments("judge", &[&["--json"], more].concat()))).unwrap()
    }

    fn judge_fails(&self) -> String {
        fail(&self.arguments("judge", &["--resume"]))
    }

    fn parts(&self) -> Vec<PathBuf> {
        alike::store::judgments::parts(&self.out.join("judgments"), "tiny").unwrap()
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        self.parts().iter().map(|part| std::fs::read(part).unwrap()).collect()
    }
}

#[test]
fn an_encoder_is_judged_resumed_and_reported_like_any_other_respondent() {
    let bench = bench(&tiny_encoder(), "");
    let summary = bench.judge(&["--threads", "1"]);
    assert_eq!(
        (&summary["kind"], &summary["made"], &summary["concepts_embedded"]),
        (&"encoder".into(), &400.into(), &10.into())
    );
    // Cosines are symmetric in the options, so that both orders are answered alike.
    assert_eq!((&summary["both_orders"], &summary["order_consistency"]), (&200.into(), &1.0.into()));
    let unbroken = bench.bytes();

    // A lost part is made again, the same to the last byte and on any number of threads.
    std::fs::remove_file(&bench.parts()[1]).unwrap();
    assert_eq!(bench.judge(&["--resume", "--threads", "8"])["made"], 150);
    assert!(bench.bytes() == unbroken);

    let table = Table::read(&bench.parts()[0]).unwrap();
    assert!(table.names("score_kind").unwrap().iter().all(|kind| kind == "cosine"));
    let numbers = |name: &str| table.numbers(name).unwrap();
    let (first, second, p) = (numbers("score_first"), numbers("score_second"), numbers("p_decision"));
    for (row, chose_first) in table.booleans("chose_first").unwrap().into_iter().enumerate() {
        let lead = first[row].unwrap() - second[row].unwrap();
        assert_eq!(chose_first, Some(lead > 0.0));
        // Cosines are stored as f32, of which a twentieth is taken.
        assert!((p[row].unwrap() - 1.0 / (1.0 + (-lead / 0.05).exp())).abs() < 1e-5);
    }
    for column in ["log_prob_first", "prior_second", "p_first", "choice_mass", "top_log_prob"] {
        assert!(numbers(column).iter().all(Option::is_none), "{column}: an encoder has no log-probabilities");
    }

    succeed(&bench.arguments("run", &[]));
    assert!(bench.bytes() == unbroken);
    let page = std::fs::read_to_string(bench.out.join("report.html")).unwrap();
    assert!(page.contains("sentence encoder, fp32, answers by cosine on cpu"));
    assert!(page.contains("Its choices are the reference’s in"));
    // What it was asked with is told apart.
    for (change, field) in
        [("template = \"a {concept}\"", "template"), ("cosine_temperature = 0.1", "cosine_temperature")]
    {
        bench.edit("label = \"tiny\"", &format!("label = \"tiny\"\n{change}"));
        let refusal = bench.judge_fails();
        assert!(refusal.contains(&format!("was made with another `{field}`")), "{refusal}");
        bench.edit(&format!("\n{change}"), "");
    }
}

#[test]
fn samples_and_repeats_depend_on_their_presentation_alone() {
    let bench = bench(&tiny_encoder(), "decision = \"sample\"\ncosine_temperature = 0.2");
    bench.edit("[judge]", "[judge]\nrepeats = 3");
    assert_eq!(bench.judge(&[])["made"], 1200);
    let chosen = |name: &str| -> Vec<_> {
        let tables = bench.parts().into_iter().map(|part| Table::read(&part).unwrap());
        tables.flat_map(|table| table.text(name).unwrap()).collect()
    };
    let whole = chosen("chosen");
    assert!(whole.chunks(3).any(|repeats| repeats[0] != repeats[1]));
    std::fs::remove_dir_all(&bench.out).unwrap();
    bench.judge(&["--part-rows", "7"]);
    assert_eq!(chosen("chosen"), whole);
}

/// Flags instead of a study; names in the file instead of a list.
#[test]
fn an_encoder_is_judged_checked_and_planned_by_flags() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("t.csv"), "anchor,first,second\nbear,cat,hammer\ncat,Cat,bear\n").unwrap();
    let model = tiny_encoder();
    let (model, triplets, out) = (model.to_str().unwrap(), at("t.csv"), at("out"));
    let judge = ["judge", "--model", model, "--triplets", &triplets, "--out", &out];
    let plan = succeed(&[&judge[..], &["--dry-run"]].concat());
    assert!(plan.contains("4 concepts are embedded once"), "{plan}");
    let summary = succeed(&[&judge[..], &["--label", "e", "--template", "a {concept}", "--json"]].concat());
    assert!(summary.contains("\"template\":\"a {concept}\""), "{summary}");
    let table = Table::read(&folder.path().join("out/respondent=e/part-00000-00000.parquet")).unwrap();
    // The tokenizer's lower case makes one of the two.
    let same = table.numbers("score_first").unwrap()[1].unwrap();
    assert!((same - 1.0).abs() < 1e-6, "{same}");
    // Of three, the odd one is left by the pair with the largest cosine.
    std::fs::write(at("odd.csv"), "a,b,c\nbear,cat,hammer\nhammer,bear,saw\n").unwrap();
    succeed(&["judge", "--model", model, "--triplets", &at("odd.csv"), "--out", &at("odd"), "--label", "e"]);
    let table = Table::read(&folder.path().join("odd/respondent=e/part-00000-00000.parquet")).unwrap();
    let scores = ["a", "b", "c"].map(|name| table.numbers(&format!("score_{name}")).unwrap());
    let options = ["a", "b", "c"].map(|name| table.names(name).unwrap());
    for (row, odd) in table.text("odd").unwrap().into_iter().enumerate() {
        let best = (0..3).max_by(|i, j| scores[*i][row].unwrap().total_cmp(&scores[*j][row].unwrap())).unwrap();
        assert_eq!(odd.as_ref(), Some(&options[best][row]));
    }
    let check = succeed(&["check", "--model", model]);
    for line in [
        "a sentence encoder: input_ids, attention_mask, token_type_ids → last_hidden_state",
        "pooling    mean, width 32",
        "nearest",
    ] {
        assert!(check.contains(line), "{line} in\n{check}");
    }
    let score = fail(&["score", "--model", model, "--requests", &triplets, "--out", &at("s.parquet")]);
    assert!(score.contains("encoders answer triplets only"), "{score}");
    for (flags, key) in [
        (["--decision", "generate"], "`decision` is generate"),
        (["--score", "pmi"], "`score` is pmi"),
        (["--style", "chat"], "`style` is chat"),
        (["--reuse", "off"], "`reuse` is off"),
        (["--template", "a photo"], "`template` is \"a photo\", expected a text with `{concept}` in it"),
        (["--cosine-temperature", "0"], "`cosine_temperature` is 0"),
    ] {
        let refusal = fail(&[&judge[..], &flags].concat());
        assert!(refusal.contains(key), "{key} in\n{refusal}");
    }
    let language_model = tiny("scoring");
    let other = fail(&[
        "judge",
        "--model",
        language_model.to_str().unwrap(),
        "--triplets",
        &triplets,
        "--out",
        &out,
        "--template",
        "a {concept}",
    ]);
    assert!(other.contains("`template` is \"a {concept}\" for") && other.contains("a language model"), "{other}");
}

#[test]
fn keys_that_an_encoder_has_no_use_for_are_refused_by_name() {
    for (section, line, said) in [
        ("label = \"tiny\"", "style = \"chat\"", "`style` is chat for tiny, an encoder"),
        ("label = \"tiny\"", "score = \"pmi\"", "`score` is pmi for tiny, an encoder"),
        ("label = \"tiny\"", "decision = \"generate\"", "`decision` is generate"),
        ("label = \"tiny\"", "template = \"a photo\"", "`template` is \"a photo\""),
        ("[judge]", "surface_forms = true", "`judge.surface_forms` is true"),
        ("[judge]", "temperature = 2.0", "an encoder has a `cosine_temperature` instead"),
        (
            "[prompt]",
            "few_shot = [{ anchor = \"cat\", first = \"dog\", second = \"car\", answer = \"dog\" }]",
            "`prompt.few_shot`",
        ),
        ("[prompt]", "wording = \"instruction-first\"", "an encoder has a `template` instead"),
    ] {
        let bench = bench(&tiny_encoder(), "");
        bench.edit("[judge]", "[prompt]\n[judge]");
        bench.edit(section, &format!("{section}\n{line}"));
        let refusal = bench.judge_fails();
        assert!(refusal.contains(said), "{said} in\n{refusal}");
    }
}

/// What a study says to its language models stands, and the encoder beside them says that it is not meant.
#[test]
fn an_encoder_stands_beside_language_models() {
    let bench = bench(&tiny("scoring"), "");
    let entry =
        format!("[[models]]\npath = \"{}\"\nlabel = \"enc\"\n[judge]\nsurface_forms = true", tiny_encoder().display());
    bench.edit("[judge]", &entry);
    let arguments = bench.arguments("run", &[]);
    let output = crate::support::alike(&arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert!(
        words.contains("enc is an encoder: judge.surface_forms is for the language models of the study"),
        "{words}"
    );
    let quality = std::fs::read_to_string(bench.out.join("figures/quality.csv")).unwrap();
    let of = |label: &str| quality.lines().find(|line| line.starts_with(label)).unwrap().split(',').nth(4).unwrap();
    assert!(of("enc").is_empty(), "no choice mass: {quality}");
    assert!(of("tiny").parse::<f64>().unwrap() > 0.0);
    drop(bench.folder);
}

#[test]
fn folders_that_leave_something_open_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |change: &dyn Fn(&Path)| {
        let model = copied(folder.path());
        forget_pooling(&model);
        change(&model);
        let words = fail(&["check", "--model", model.to_str().unwrap()]);
        std::fs::remove_dir_all(model).unwrap();
        words
    };
    let silent = check(&|model| std::fs::remove_file(model.join("1_Pooling/config.json")).unwrap());
    assert!(silent.contains("1_Pooling/config.json") && silent.contains("into alike.json"), "{silent}");
    let both = check(&|model| {
        let file = model.join("1_Pooling/config.json");
        let mut modes = read(&file);
        modes["pooling_mode_max_tokens"] = true.into();
        write(&file, &modes);
    });
    assert!(
        both.contains("mean_tokens") && both.contains("max_tokens") && both.contains("expected mean or cls"),
        "{both}"
    );
    let dense = check(&|model| {
        let file = model.join("modules.json");
        let mut modules = read(&file);
        modules[2]["type"] = "sentence_transformers.models.Dense".into();
        write(&file, &modules);
    });
    assert!(dense.contains("a module \"Dense\""), "{dense}");
    let outside = check(&|model| {
        let file = model.join("modules.json");
        let mut modules = read(&file);
        modules[1]["path"] = "../1_Pooling".into();
        write(&file, &modules);
    });
    assert!(outside.contains("a pooling module in \"../1_Pooling\""), "{outside}");
    let other = check(&|model| {
        let file = model.join("config.json");
        let mut config = read(&file);
        config["vocab_size"] = 100.into();
        write(&file, &config);
    });
    assert!(other.contains("not this model's tokenizer"), "{other}");
    let short =
        check(&|model| write(&model.join("sentence_bert_config.json"), &serde_json::json!({ "max_seq_length": 3 })));
    assert!(short.contains("tokens and the model's context holds 3"), "{short}");
}
