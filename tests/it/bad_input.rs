//! What is wrong is named: file, field, found, expected, what to do; and nothing already written is lost.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use crate::study::small_study;
use crate::support::{copy_folder, fail, files_below, path, succeed, tiny};

/// A study of ten concepts on a copy of a tiny model that may be damaged.
struct Bench {
    folder: tempfile::TempDir,
    model: PathBuf,
    study: PathBuf,
    out: PathBuf,
}

impl Bench {
    fn new(layout: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        copy_folder(&tiny(layout), &model);
        let (study, out) = small_study(folder.path(), &model);
        Self { folder, model, study, out }
    }

    fn run_fails(&self) -> String {
        fail(&["run", self.study.to_str().unwrap(), "--out", self.out.to_str().unwrap()])
    }

    fn run_succeeds(&self) {
        succeed(&["run", self.study.to_str().unwrap(), "--out", self.out.to_str().unwrap()]);
    }

    /// Changes a file of the model folder; its checksums, which would tell first, are forgotten.
    fn change(&self, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let file = self.model.join(name);
        std::fs::write(&file, change(std::fs::read(&file).unwrap())).unwrap();
        let record = self.model.join("alike.json");
        if let Ok(text) = std::fs::read_to_string(&record) {
            let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
            json["files"] = serde_json::json!({});
            std::fs::write(record, json.to_string()).unwrap();
        }
    }

    fn edit_study(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.study).unwrap();
        assert!(text.contains(from));
        std::fs::write(&self.study, text.replace(from, to)).unwrap();
    }
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in\n{message}");
    }
}

/// Replaces every occurrence of some bytes by as many others.
fn replaced(bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes;
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        bytes[at + found..at + found + to.len()].copy_from_slice(to);
        at += found + to.len();
    }
    bytes
}

#[test]
fn a_missing_model_is_told_how_to_get() {
    let bench = Bench::new("scoring");
    std::fs::remove_file(bench.model.join("model.onnx")).unwrap();
    says(&bench.run_fails(), &["the model graph is missing", "model.onnx", "hint:", "make setup"]);
    std::fs::remove_dir_all(&bench.model).unwrap();
    says(&bench.run_fails(), &["the model folder is missing", "hint:"]);
}

#[test]
fn a_damaged_model_is_told_by_its_checksum_or_by_the_runtime() {
    let bench = Bench::new("scoring");
    let data = bench.model.join("model.onnx.data");
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&data, &bytes).unwrap();
    says(&bench.run_fails(), &["model.onnx.data", "sha256", "alike.json", "hint:"]);

    bench.change("model.onnx.data", |bytes| bytes[..bytes.len() / 2].to_vec());
    says(&bench.run_fails(), &["opening the model", "ONNX Runtime failed"]);
    std::fs::remove_file(&data).unwrap();
    says(&bench.run_fails(), &["the model's weights file is missing", "model.onnx.data", "hint:"]);
    // A graph that keeps its weights anywhere but beside itself.
    bench.change("model.onnx", |bytes| replaced(bytes, b"model.onnx.data", b"../model.onnx.d"));
    says(&bench.run_fails(), &["weights in \"../model.onnx.d\"", "expected weights in the graph's own folder"]);
    bench.change("model.onnx", |_| b"not a graph".to_vec());
    says(&bench.run_fails(), &["model.onnx", "expected an ONNX model"]);
}

#[test]
fn wrong_input_names_are_listed() {
    let bench = Bench::new("standard");
    bench.change("model.onnx", |bytes| replaced(bytes, b"input_ids", b"input_idz"));
    says(
        &bench.run_fails(),
        &["model input `input_ids` is missing", "input_idz", "expected int64", "hint:", "alike check"],
    );
    let bench = Bench::new("standard");
    bench.change("model.onnx", |bytes| replaced(bytes, b"position_ids", b"positions_id"));
    says(&bench.run_fails(), &["positions_id", "no such input"]);
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let bench = Bench::new("scoring");
    let other = path("models/smollm2-135m-instruct/tokenizer.json");
    bench.change("tokenizer.json", |_| std::fs::read(other).unwrap());
    says(&bench.run_fails(), &["tokenizer.json", "49151", "400", "not this model's tokenizer", "hint:"]);
    bench.change("tokenizer.json", |_| b"{}".to_vec());
    says(&bench.run_fails(), &["tokenizer.json", "not a tokenizer.json"]);
}

#[test]
fn a_template_that_raises_is_quoted() {
    let bench = Bench::new("scoring");
    let with = |template: &str| {
        bench.change("tokenizer_config.json", |bytes| {
            let mut json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            json["chat_template"] = template.into();
            json.to_string().into_bytes()
        });
        bench.run_fails()
    };
    says(
        &with("{{ raise_exception('only for tools') }}"),
        &["tokenizer_config.json", "only for tools", "hint: try --style"],
    );
    says(&with("{% for m in messages %}"), &["tokenizer_config.json", "line 1"]);
    says(&with("{{ messages[0].content | nosuchfilter }}"), &["nosuchfilter"]);
}

#[test]
fn a_concept_list_that_is_none() {
    let bench = Bench::new("scoring");
    let with = |text: &[u8]| {
        std::fs::write(bench.folder.path().join("concepts.csv"), text).unwrap();
        bench.run_fails()
    };
    says(&with(b"concept\nbear\ncat\nbear\n"), &["concepts.csv, row 4", "`concept`", "\"bear\"", "each name once"]);
    says(&with(b"concept\nbear\n"), &["concepts in", "concepts.csv", ": 1, at least 3 needed"]);
    says(&with(b"concept\nbear\nc\xe9t\ndog\n"), &["concepts.csv, row 3", "not UTF-8", r"c\xe9t"]);
    says(&with(b"name\nbear\ncat\ndog\n"), &["the columns name", "a column named `concept`"]);
}

#[test]
fn unknown_keys_of_a_study_name_the_nearest() {
    let bench = Bench::new("scoring");
    bench.edit_study("dims = 3", "dimensions = 3");
    says(&bench.run_fails(), &["small.toml: unknown key `dimensions` on line", "hint: did you mean `dims`?"]);
    bench.edit_study("dimensions = 3", "dims = \"many\"");
    says(&bench.run_fails(), &["small.toml", "invalid type", "on line"]);
    assert!(!bench.out.exists(), "nothing is written for a study that cannot be read");
}

#[test]
fn unmatched_reference_names_list_candidates() {
    let bench = Bench::new("scoring");
    let names = [
        "bear",
        "butterfly",
        "cat1",
        "cat2",
        "baseball",
        "baseball_glove",
        "cabbage",
        "bread",
        "pineaple",
        "hammer",
        "scissors",
    ];
    let rows: Vec<String> = names.iter().enumerate().map(|(i, n)| format!("{n},{i},{}\n", i * i % 7)).collect();
    std::fs::write(bench.folder.path().join("human.csv"), format!("concept,d00,d01\n{}", rows.concat())).unwrap();
    bench.edit_study("[align]", "[align]\nreference = \"human.csv\"");
    let message = bench.run_fails();
    says(
        &message,
        &["human.csv", "\"cat\" (candidates: cat1, cat2)", "\"pineapple\" (candidates: pineaple", "hint:", "--map"],
    );
    bench.edit_study("[align]", "[align]\nmap = { cat = \"cat2\", pineapple = \"pineaple\" }");
    bench.run_succeeds();
    bench.edit_study("cat = \"cat2\"", "cow = \"cat2\"");
    says(&bench.run_fails(), &["\"cow\"", "a concept of the study"]);
}

#[test]
fn truncated_tables_are_named() {
    let bench = Bench::new("scoring");
    bench.run_succeeds();
    let cut = |file: PathBuf| {
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 30]).unwrap();
    };
    let part = bench.out.join("judgments/respondent=tiny/part-00000-00001.parquet");
    let whole = std::fs::read(&part).unwrap();
    cut(part.clone());
    let folder = part.parent().unwrap().to_str().unwrap();
    let out = bench.folder.path().join("e.parquet");
    let message = fail(&["embed", folder, "--dims", "3", "--out", out.to_str().unwrap()]);
    says(&message, &["part-00000-00001.parquet", "a whole Parquet file", "hint:"]);
    let alignment = bench.out.join("alignment.parquet");
    cut(alignment.clone());
    says(&fail(&["report", bench.out.to_str().unwrap()]), &["alignment.parquet", "a whole Parquet file"]);
    // The study mends what is damaged and keeps the rest.
    bench.run_succeeds();
    assert_eq!(std::fs::read(&part).unwrap(), whole);
    assert!(alike::store::alignment::read(&alignment).is_ok());
}

#[test]
fn a_place_that_cannot_be_written_is_named_before_any_work() {
    let bench = Bench::new("scoring");
    let file = bench.folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let below = file.join("out");
    let message = fail(&["run", bench.study.to_str().unwrap(), "--out", below.to_str().unwrap()]);
    says(&message, &[below.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "in the way");
}

/// A disk that fills up in the middle: a clear error, only whole parts, and the same command goes on elsewhere.
#[test]
fn a_full_disk_loses_nothing() {
    let bench = Bench::new("scoring");
    let (disk, copy) = (bench.folder.path().join("disk"), bench.folder.path().join("copy"));
    std::fs::create_dir(&disk).unwrap();
    // A small file system of its own, seen by this command alone. Wide enough for some parts, too small for all.
    let script = format!(
        "mount -t tmpfs -o size=64k none {disk} || exit 99; {alike} run {study} --out {disk}/out; code=$?; cp -r {disk}/out {copy}; exit $code",
        disk = disk.display(),
        alike = env!("CARGO_BIN_EXE_alike"),
        study = bench.study.display(),
        copy = copy.display(),
    );
    let private = |script: &str| std::process::Command::new("unshare").args(["-rm", "sh", "-c", script]).output();
    let probe = format!("mount -t tmpfs -o size=64k none {}", disk.display());
    if !private(&probe).is_ok_and(|output| output.status.success()) {
        println!("skipped: this system gives no private file system (unshare -rm, mount)");
        return;
    }
    let output = private(&script).unwrap();
    assert_eq!(output.status.code(), Some(1), "the disk was large enough for everything");
    says(&String::from_utf8_lossy(&output.stderr), &["No space left on device", "hint: free some space"]);
    let kept = whole_parts(&copy);
    assert!(kept > 0, "some parts were finished before the disk was full");
    succeed(&["run", bench.study.to_str().unwrap(), "--out", copy.to_str().unwrap()]);
    bench.run_succeeds();
    let name = "judgments/respondent=tiny/part-00000-00002.parquet";
    assert_eq!(std::fs::read(copy.join(name)).unwrap(), std::fs::read(bench.out.join(name)).unwrap());
}

/// Counts the Parquet files below a folder, every one of which must be whole; drafts must be gone.
fn whole_parts(folder: &Path) -> usize {
    let mut count = 0;
    for path in files_below(folder) {
        if path.extension().is_some_and(|e| e == "parquet") {
            alike::store::table::Table::read(&path).unwrap();
            count += 1;
        } else {
            assert!(path.extension().is_none_or(|e| e != "tmp"), "{} is left", path.display());
        }
    }
    count
}

#[test]
fn a_runtime_that_is_missing_or_broken_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("libonnxruntime.so");
    let check = |library: &Path| {
        let model = tiny("scoring");
        fail(&["check", "--model", model.to_str().unwrap(), "--ort", library.to_str().unwrap()])
    };
    says(&check(&broken), &["the ONNX Runtime library is missing", "libonnxruntime.so", "hint:", "make setup"]);
    std::fs::write(&broken, b"not really").unwrap();
    says(&check(&broken), &["cannot use the ONNX Runtime library", "not a shared library", "hint:"]);
    // The header of a library for another machine (s390x).
    let mut header = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x16\0";
    std::fs::write(&broken, header).unwrap();
    says(&check(&broken), &["built for another architecture", std::env::consts::ARCH]);
    header[18..].copy_from_slice(&if cfg!(target_arch = "aarch64") { 183_u16 } else { 62 }.to_le_bytes());
    std::fs::write(&broken, header).unwrap();
    says(&check(&broken), &["cannot use the ONNX Runtime library", "file too short"]);
    // A library of this machine that is not ONNX Runtime.
    let program = PathBuf::from(env!("CARGO_BIN_EXE_alike"));
    says(&check(&program), &["cannot use the ONNX Runtime library"]);
    // Away from the project, the program finds none and says where it would have to be.
    let alone = folder.path().join("alone");
    std::fs::create_dir(&alone).unwrap();
    std::fs::copy(&program, alone.join("alike")).unwrap();
    let model = tiny("scoring");
    let output =
        std::process::Command::new(alone.join("alike")).args(["check", "--model"]).arg(model).output().unwrap();
    says(&String::from_utf8_lossy(&output.stderr), &["the ONNX Runtime library is missing", "alone/libonnxruntime.so"]);
}
