//! `alike bench` on tiny models: what is measured, what cannot be, how answers and benchmarks are compared.
#![allow(clippy::cast_possible_truncation)]

use std::path::{Path, PathBuf};

use alike::bench::{Bench, Outcome, Repeat, Row};
use alike::store::bench as store;
use alike::store::table::Table;
use serde_json::Value;

use crate::support::{alike, copy_folder, fail, files_below, path, succeed, tiny};

/// Concepts, triplets of them, the tiny model, and the same with its weights rounded to bfloat.
struct Setup {
    folder: tempfile::TempDir,
    model: PathBuf,
    rounded: PathBuf,
    triplets: PathBuf,
}

const CONCEPTS: &str = "data/concepts/things128.csv";
const N: usize = 60;

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, rounded) = (folder.path().join("exact"), folder.path().join("rounded"));
        copy_folder(&tiny("scoring"), &model);
        copy_folder(&tiny("scoring"), &rounded);
        round(&rounded);
        let triplets = folder.path().join("triplets.parquet");
        let (concepts, n) = (path(CONCEPTS), N.to_string());
        let out = triplets.to_str().unwrap();
        succeed(&["sample", "--concepts", concepts.to_str().unwrap(), "--n", &n, "--seed", "7", "--out", out]);
        Self { folder, model, rounded, triplets }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Measures the model, with further flags.
    fn bench(&self, name: &str, flags: &[&str]) -> (Bench, String) {
        let (out, concepts) = (self.out(name), path(CONCEPTS));
        let mut arguments = vec!["bench", "--model", self.model.to_str().unwrap(), "--out", out.to_str().unwrap()];
        arguments.extend(["--concepts", concepts.to_str().unwrap(), "--triplets", self.triplets.to_str().unwrap()]);
        arguments.extend(["--threads", "2", "--warm-up", "8", "--quiet"]);
        arguments.extend(flags);
        let said = succeed(&arguments);
        (store::read(&out.join("bench.json")).unwrap(), said)
    }
}

/// Takes 16 bits from every weight; small whole numbers, whose bits are no weight's, stay.
fn round(model: &Path) {
    let data = model.join("model.onnx.data");
    let mut bytes = std::fs::read(&data).unwrap();
    for word in bytes.chunks_exact_mut(4) {
        let value = f32::from_le_bytes([word[0], word[1], word[2], word[3]]).abs();
        if (1e-6..1e6).contains(&value) {
            word[..2].fill(0);
        }
    }
    std::fs::write(&data, bytes).unwrap();
    let record = model.join("alike.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    json["precision"] = "bf16".into();
    json["files"] = serde_json::json!({});
    std::fs::write(record, json.to_string()).unwrap();
}

/// The repeats of a row that was measured.
fn repeats(row: &Row) -> &[Repeat] {
    match &row.outcome {
        Outcome::Measured { repeats, .. } => repeats,
        Outcome::Unavailable { reason } => panic!("{}: {reason}", row.cell),
    }
}

fn row<'a>(bench: &'a Bench, name: &str) -> &'a Row {
    bench.rows.iter().find(|row| row.cell.to_string() == name).unwrap_or_else(|| panic!("no cell {name}"))
}

#[test]
fn every_cell_is_measured_or_says_why_not() {
    let setup = Setup::new();
    let rounded = setup.rounded.to_str().unwrap();
    let flags = ["--model", rounded, "--provider", "cpu,cuda", "--precision", "fp32,bf16,int8", "--repeats", "2"];
    let (bench, said) = setup.bench("all", &flags);
    // Three precisions, two providers, sharing or not.
    assert_eq!(bench.rows.len(), 12);
    assert_eq!(bench.measured().count() % 4, 0);
    for row in &bench.rows {
        let name = row.cell.to_string();
        if row.cell.precision == "int8" {
            let reason = row.outcome.reason().unwrap();
            assert!(reason.contains("no folder states int8") && reason.contains("exact fp32"), "{reason}");
        } else if row.cell.provider.to_string() == "cpu" {
            assert_eq!(repeats(row).len(), 2);
        } else if !cuda_is_there() {
            assert!(row.outcome.reason().is_some_and(|reason| !reason.is_empty()), "{name}");
            assert!(said.contains(&format!("{name}: {}", row.outcome.reason().unwrap())), "{said}");
        }
    }
    assert!(said.contains("prefixes shared: speed") && said.contains("nothing shared between prompts: speed"));

    // Every process has a place; the second round goes back.
    let places = |name: &str| repeats(row(&bench, name)).iter().map(|r| r.place).collect::<Vec<_>>();
    let (first, last) = (places("exact/fp32/cpu/2/1024/trie"), places("rounded/bf16/cpu/2/1024/off"));
    assert!(first[0] < last[0] && last[1] < first[1], "{first:?} {last:?}");

    // The reference shares nothing; the same weights agree with it to rounding, rounded ones do not.
    assert_eq!(bench.reference.as_deref(), Some("exact/fp32/cpu/2/1024/off"));
    let agreement = |name: &str| match &row(&bench, name).outcome {
        Outcome::Measured { agreement, .. } => agreement.clone(),
        Outcome::Unavailable { .. } => panic!("{name}"),
    };
    let own = agreement("exact/fp32/cpu/2/1024/off");
    assert_eq!((own.n, own.max_nats, own.mean_nats, own.kl_nats, own.flips), (N, 0.0, 0.0, 0.0, 0));
    let shared = agreement("exact/fp32/cpu/2/1024/trie");
    // Other kernels for other shapes: some last digits of log-probabilities around -20.
    assert!(shared.max_nats < 1e-4 && shared.flips == 0, "{shared:?}");
    let rounded = agreement("rounded/bf16/cpu/2/1024/trie");
    assert!(rounded.max_nats > 1e-3 && rounded.max_nats >= rounded.mean_nats && rounded.kl_nats > 0.0, "{rounded:?}");
    assert!(rounded.no_procrustes.unwrap().contains("60 presentations"));
}

/// Whether the runtime library is the build with CUDA beside it.
fn cuda_is_there() -> bool {
    let runtime = path(".env/runtime");
    runtime.is_dir() && files_below(&runtime).iter().any(|file| file.ends_with("libonnxruntime_providers_cuda.so"))
}

#[test]
fn what_is_timed_is_what_judge_does() {
    let setup = Setup::new();
    let (bench, _) = setup.bench("one", &["--repeats", "1", "--batch-tokens", "512"]);
    let (judged, concepts) = (setup.out("judged"), path(CONCEPTS));
    let summary = succeed(&[
        "judge",
        "--model",
        setup.model.to_str().unwrap(),
        "--triplets",
        setup.triplets.to_str().unwrap(),
        "--concepts",
        concepts.to_str().unwrap(),
        "--out",
        judged.to_str().unwrap(),
        "--label",
        "m",
        "--seed",
        "1",
        "--batch-tokens",
        "512",
        "--self-test",
        "0",
        "--json",
        "--quiet",
    ]);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let shared = row(&bench, "exact/fp32/cpu/2/512/trie");
    let size = repeats(shared)[0].timing.size;
    for (name, n) in [
        ("tokens_computed", size.computed_tokens),
        ("tokens_distinct", size.distinct_tokens),
        ("tokens_logical", size.logical_tokens),
        ("scored_positions", size.scored_positions),
        ("passes", size.passes),
    ] {
        assert_eq!(summary[name], n, "{name}");
    }
    // Judgments are sorted by name as presentations are drawn in that order: the same rows, the same bits.
    let parts: Vec<PathBuf> =
        files_below(&judged).into_iter().filter(|file| file.extension().is_some_and(|e| e == "parquet")).collect();
    assert_eq!(parts.len(), 1);
    let table = Table::read(&parts[0]).unwrap();
    let column = |name: &str| table.numbers(name).unwrap().into_iter().map(|x| x.unwrap() as f32).collect::<Vec<f32>>();
    let stored: Vec<[f32; 2]> =
        column("log_prob_first").into_iter().zip(column("log_prob_second")).map(|(a, b)| [a, b]).collect();
    let Outcome::Measured { answers, .. } = &shared.outcome else { panic!() };
    let sorted = |mut rows: Vec<[f32; 2]>| {
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        rows
    };
    assert_eq!(sorted(stored), sorted(answers.log_probs.clone()));

    // Without sharing everything is computed, and nothing else changes.
    let whole = &repeats(row(&bench, "exact/fp32/cpu/2/512/off"))[0].timing;
    assert_eq!(whole.size.computed_tokens, whole.size.logical_tokens);
    assert_eq!((whole.size.logical_tokens, whole.size.distinct_tokens), (size.logical_tokens, size.distinct_tokens));
    assert!(size.distinct_tokens <= size.computed_tokens && size.computed_tokens < whole.size.computed_tokens);
    for timing in [whole, &repeats(shared)[0].timing] {
        assert_eq!((timing.n, timing.warm_up, timing.pass_seconds.len()), (N, 8, timing.size.passes));
        let passes: f64 = timing.pass_seconds.iter().sum();
        // One is inside the other.
        assert!(
            timing.session_seconds <= passes && passes <= timing.stages.model && timing.stages.model <= timing.seconds
        );
        assert!(timing.load_seconds < timing.first_result_seconds);
        assert!(timing.peak_rss_bytes.is_none_or(|bytes| bytes > 1 << 20));
    }
}

/// A benchmark without what no two runs share: times, loads, memory.
fn timeless(bench: &Bench) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| {
                    let timed = ["seconds", "per_second", "bytes", "load", "joules", "started"];
                    key == "weight_bytes" || key == "stages" || !timed.iter().any(|word| key.contains(word))
                });
                map.remove("stages");
                map.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(bench).unwrap();
    strip(&mut value);
    value
}

#[test]
fn two_benchmarks_differ_in_times_alone_and_are_compared() {
    let setup = Setup::new();
    let (one, _) = setup.bench("one", &["--repeats", "2"]);
    let (two, _) = setup.bench("two", &["--repeats", "2"]);
    assert_eq!(timeless(&one), timeless(&two));
    let Outcome::Measured { summary, .. } = &one.rows[0].outcome else { panic!() };
    assert_eq!(summary.repeat_max_nats, 0.0, "the same question gets the same bits");

    let file = |name: &str| setup.out(name).join("bench.json").to_str().unwrap().to_owned();
    let compare = |a: &str, b: &str| succeed(&["bench", "--compare", a, b]);
    let said = compare(&file("one"), &file("one"));
    assert!(said.contains("nothing changed beyond the noise"), "{said}");
    // Tests run beside each other.
    assert!(said.lines().all(|line| !line.starts_with("note:") || line.contains("load average")), "{said}");

    // A fifth of the speed, other answers, a cell gone, another machine.
    let mut doctored = one.clone();
    doctored.machine.kernel = Some("0.1".into());
    doctored.rows.truncate(1);
    let Outcome::Measured { repeats, answers, .. } = &mut doctored.rows[0].outcome else { panic!() };
    for (i, repeat) in repeats.iter_mut().enumerate() {
        // Without spread, however noisy the machine was.
        repeat.timing.seconds = 1.0 + 1e-3 * i as f64;
    }
    answers.log_probs[3][0] += 0.5;
    answers.chose_first[3] = !answers.chose_first[3];
    let mut even = one.clone();
    let Outcome::Measured { repeats, .. } = &mut even.rows[0].outcome else { panic!() };
    for (i, repeat) in repeats.iter_mut().enumerate() {
        repeat.timing.seconds = 0.2 + 2e-4 * i as f64;
    }
    let (even_file, other_file) = (setup.out("even.json"), setup.out("other.json"));
    store::write(&even_file, &even).unwrap();
    store::write(&other_file, &doctored).unwrap();
    let said = compare(even_file.to_str().unwrap(), other_file.to_str().unwrap());
    for words in [
        "0.200",
        "worse",
        "changed: by 5.0e-1 nats at most, 1 of 60 choices",
        "note: kernel:",
        "gone: exact/fp32/cpu/2/1024/off",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let json = succeed(&["bench", "--json", "--compare", even_file.to_str().unwrap(), other_file.to_str().unwrap()]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (json["changed"].as_bool(), json["matched"][0]["ratios"][0]["change"].as_str()),
        (Some(true), Some("worse"))
    );

    // A file of a version to come, one that is none, one that was cut off.
    let text = std::fs::read_to_string(file("one")).unwrap();
    let other = setup.out("damaged.json");
    let damaged = other.to_str().unwrap();
    for (text, words) in [
        (text.replacen("\"bench_version\":1", "\"bench_version\":2", 1), "`bench_version` 2, expected 1"),
        ("{}".to_owned(), "no `bench_version`"),
        (text[..text.len() / 2].to_owned(), "a benchmark in JSON"),
        (text.replacen("\"repeats\":[", "\"repeats\":[],\"x\":[", 1), "expected at least one of each measured cell"),
    ] {
        std::fs::write(&other, text).unwrap();
        let said = fail(&["bench", "--compare", damaged, damaged]);
        assert!(said.contains(words) && said.contains("damaged.json"), "{words}: {said}");
    }
}

#[test]
fn the_table_is_what_its_schema_says_and_the_page_has_the_figure() {
    let setup = Setup::new();
    let (bench, _) = setup.bench("one", &["--repeats", "2", "--precision", "fp32,int4"]);
    let out = setup.out("one");
    let table = Table::read(&out.join("bench.parquet")).unwrap();
    // Two cells of two repeats, two without a folder.
    assert_eq!(table.len(), 6);
    let schema: Value = serde_json::from_str(&succeed(&["schema", "bench", "--json"])).unwrap();
    let columns = schema["columns"].as_array().unwrap();
    let names: Vec<&str> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(table.columns(), names);
    for column in columns {
        let (name, kind) = (column["name"].as_str().unwrap(), column["type"].as_str().unwrap());
        let nulls = match kind {
            "utf8" => table.text(name).unwrap().iter().filter(|v| v.is_none()).count(),
            "boolean" => table.booleans(name).unwrap().iter().filter(|v| v.is_none()).count(),
            "int64" => table.integers(name).unwrap().iter().filter(|v| v.is_none()).count(),
            "float64" => table.numbers(name).unwrap().iter().filter(|v| v.is_none()).count(),
            other => panic!("{name}: {other}"),
        };
        assert!(nulls == 0 || column["nullable"] == true, "{name} has {nulls} nulls");
        assert!(!column["meaning"].as_str().unwrap().is_empty());
    }
    let rates = table.numbers("triplets_per_second").unwrap();
    let first = &repeats(&bench.rows[0])[0].timing;
    assert_eq!(rates[0], Some(first.triplets_per_second()));
    assert_eq!(rates[4], None);
    assert!(table.text("reason").unwrap()[4].as_ref().unwrap().contains("no folder states int4"));

    let said = succeed(&["report", out.to_str().unwrap()]);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(said.contains("report.html") && page.contains("How fast each cell answered"));
    assert!(page.contains("unavailable: no folder states int4") && page.contains("Nothing shared between prompts"));
    let mut figure = csv::Reader::from_path(out.join("figures/bench.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = figure.records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), &rows[0][1]), (4, "exact/fp32/cpu/2/1024/trie"));
    assert!(std::fs::read_to_string(out.join("figures/bench.svg")).unwrap().contains("<svg"));
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_measured() {
    let setup = Setup::new();
    let model = setup.model.to_str().unwrap();
    let out = setup.out("refused");
    let refused = |flags: &[&str]| {
        let mut arguments = vec!["bench", "--out", out.to_str().unwrap(), "--n", "20", "--repeats", "1", "--quiet"];
        arguments.extend(flags);
        fail(&arguments)
    };
    let encoder = path("tests/it/golden/tiny-encoder");
    let encoder = files_below(&encoder).into_iter().find(|file| file.ends_with("model.onnx")).unwrap();
    let said = refused(&["--model", encoder.parent().unwrap().to_str().unwrap()]);
    assert!(said.contains("a sentence encoder") && said.contains("language models"), "{said}");
    assert!(refused(&["--model", model, "--model", model]).contains("folders whose names differ"));
    assert!(refused(&["--model", model, "--model", "nowhere"]).contains("the model folder is missing"));
    let nothing = refused(&["--model", model, "--precision", "int4"]);
    assert!(nothing.contains("no cell could be measured: no folder states int4"), "{nothing}");
    // That was written down all the same, and is in the way of the next.
    assert!(refused(&["--model", model]).contains("bench.json exists already"));
    let unknown = refused(&["--model", model, "--force", "--reference", "m/fp32/cpu/1/1/off"]);
    assert!(unknown.contains("a cell of the matrix: exact/fp32/cpu/all/1024/trie"), "{unknown}");

    // A damaged model is told of by its checksum.
    let data = setup.model.join("model.onnx.data");
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&data, bytes).unwrap();
    assert!(refused(&["--model", model, "--force"]).contains("damaged or was replaced"));
}

#[test]
fn tuning_tells_what_it_tried_and_measures_what_it_found() {
    let setup = Setup::new();
    let (bench, said) = setup.bench("tuned", &["--repeats", "1", "--tune", "--reuse", "on"]);
    let tuned = &bench.tuned[0];
    assert_eq!((bench.tuned.len(), tuned.what.as_str()), (1, "exact/fp32/cpu"));
    assert!(tuned.probes.len() > 3 && tuned.probes[..3].iter().all(|probe| probe.setting == tuned.start));
    let best = tuned.best.unwrap();
    assert!(said.contains(&format!("--batch-tokens {} --threads {}", best.batch_tokens, best.threads)), "{said}");
    let cells: Vec<(usize, usize)> = bench.rows.iter().map(|row| (row.cell.batch_tokens, row.cell.threads)).collect();
    assert!(cells.contains(&(best.batch_tokens, best.threads)), "{cells:?}");
}

#[test]
fn judging_is_held_against_what_the_runtime_reaches() {
    let setup = Setup::new();
    let (bench, said) = setup.bench("roofline", &["--repeats", "1", "--roofline", "--reuse", "on"]);
    // Before and after the only round, of the only place.
    let places: Vec<usize> = bench.ceilings.iter().map(|run| run.place).collect();
    assert_eq!((places, repeats(&bench.rows[0])[0].place), (vec![0, 2], 1));
    assert!(
        bench.ceilings.iter().all(|run| run.ceilings.flops_per_second > 1e8 && run.ceilings.bytes_per_second > 1e8)
    );
    let standings = alike::bench::roofline::standings(&bench);
    let standing = standings[0].2[0];
    let timing = &repeats(&bench.rows[0])[0].timing;
    // 2 layers of 2 · (32 · (2 · 32 + 2 · 16) + 3 · 32 · 64) operations a token, 2 · 32 · 400 a scored position.
    let per_token = 2 * 2 * (32 * (2 * 32 + 2 * 16) + 3 * 32 * 64);
    let flops = (timing.size.distinct_tokens * per_token + timing.size.scored_positions * 2 * 32 * 400) as f64;
    assert!((standing.arithmetic_seconds * standing.flops_per_second / flops - 1.0).abs() < 1e-12);
    assert!(said.contains("roofline of exact/fp32/cpu/2/1024/trie") && said.contains("stage: tokenise"), "{said}");
}

/// Processes that a process has started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let of = |entry: std::fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        (fields[1] == parent.to_string()).then_some(pid)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_stop_leaves_no_process_and_nothing_half_written() {
    use std::time::{Duration, Instant};

    let setup = Setup::new();
    for signal in ["TERM", "INT", "KILL"] {
        let out = setup.out(signal);
        let (model, out_text) = (setup.model.to_str().unwrap(), out.to_str().unwrap());
        // More presentations than a tiny model answers in the time this takes.
        let mut command = alike(&["bench", "--model", model, "--out", out_text, "--n", "300000", "--quiet"]);
        let mut parent = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let wait_for = |what: &str, done: &mut dyn FnMut() -> bool| {
            let began = Instant::now();
            while !done() {
                assert!(began.elapsed() < Duration::from_secs(60), "{signal}: {what}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let mut child = 0;
        wait_for("a process that measures", &mut || {
            child = children(parent.id()).first().copied().unwrap_or(0);
            child > 0
        });
        std::process::Command::new("kill").args([&format!("-{signal}"), &parent.id().to_string()]).status().unwrap();
        let status = parent.wait().unwrap();
        match signal {
            "TERM" => assert_eq!(status.code(), Some(75)),
            "INT" => assert_eq!(status.code(), Some(130)),
            _ => assert_eq!(status.code(), None),
        }
        let ended = |stat: String| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'));
        wait_for("its end", &mut || std::fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, ended));
        assert!(!out.exists() || files_below(&out).is_empty(), "{:?}", files_below(&out));
    }
}
