//! Parts on disk: shards, signals, damage, compaction. Whatever happens, the finished data set is that of an unbroken run.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use alike::store::judgments::part_number;
use alike::store::lock::PartLock;

use crate::study::small_study;
use crate::support::{alike, fail, files_below, succeed, tiny};

/// A study of ten concepts whose model answers 400 presentations in 20 parts; its file and output folder.
fn study(folder: &Path) -> (PathBuf, PathBuf) {
    let (study, out) = small_study(folder, &tiny("scoring"));
    let text = std::fs::read_to_string(&study).unwrap().replace("part_rows = 150", "part_rows = 20\nself_test = 0");
    std::fs::write(&study, text).unwrap();
    (study, out)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn judge(study: &Path, out: &Path, more: &[&str]) -> String {
    succeed(&[&["judge", text(study), "--out", text(out), "--resume"], more].concat())
}

fn respondent(out: &Path) -> PathBuf {
    out.join("judgments/respondent=tiny")
}

/// The files of judgments with their bytes.
fn parts(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let tables =
        files_below(&respondent(out)).into_iter().filter(|path| path.extension().is_some_and(|e| e == "parquet"));
    tables.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

/// What an unbroken run writes.
fn unbroken(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (study, _) = study(folder);
    judge(&study, &folder.join("unbroken"), &[]);
    let parts = parts(&folder.join("unbroken"));
    assert_eq!(parts.len(), 20);
    parts
}

#[test]
fn shards_make_the_parts_of_an_unbroken_run() {
    let folder = tempfile::tempdir().unwrap();
    let expected = unbroken(folder.path());
    let (study, out) = study(folder.path());
    // In any order, and cut anew half-way.
    for shard in ["3/3", "1/3"] {
        judge(&study, &out, &["--shard", shard]);
    }
    assert_eq!(parts(&out).len(), 13);
    assert!(fail(&["validate", text(&out)]).contains("not whole"));
    let summary: serde_json::Value = serde_json::from_str(&judge(&study, &out, &["--shard", "1/2", "--json"])).unwrap();
    assert_eq!((&summary["made"], &summary["kept"], &summary["shard"]), (&80.into(), &120.into(), &"1/2".into()));
    judge(&study, &out, &["--shard", "2/2"]);
    assert!(parts(&out) == expected);
    // More shards than parts: some have nothing to do, and say so.
    let words = alike(&["judge", text(&study), "--out", text(&out), "--resume", "--shard", "1/64"]).output().unwrap();
    assert!(String::from_utf8_lossy(&words.stderr).contains("there are 20 parts"));
    succeed(&["validate", text(&out)]);
    // The records of shards are one on the page.
    succeed(&["run", text(&study), "--out", text(&out)]);
    assert!(out.join("runs/tiny.shard-1-of-3.json").is_file() && !out.join("runs/tiny.json").exists());
    let throughput = std::fs::read_to_string(out.join("figures/throughput.csv")).unwrap();
    assert!(throughput.lines().any(|line| line.starts_with("tiny,")), "{throughput}");
    assert!(parts(&out) == expected);
}

#[test]
fn a_task_of_an_array_takes_its_share() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = study(folder.path());
    let mut command = alike(&["judge", text(&study), "--out", text(&out), "--only", "tiny", "--shard", "slurm"]);
    let variables = [("ID", "4"), ("MIN", "1"), ("MAX", "4"), ("COUNT", "4")];
    command.envs(variables.map(|(name, value)| (format!("SLURM_ARRAY_TASK_{name}"), value)));
    assert!(command.output().unwrap().status.success());
    let numbers: Vec<usize> = parts(&out).keys().filter_map(|name| part_number(Path::new(name))).collect();
    assert_eq!(numbers, [15, 16, 17, 18, 19]);
    let words = fail(&["judge", text(&study), "--out", text(&out), "--only", "other"]);
    assert!(words.contains("a model of the study: tiny"), "{words}");
}

#[test]
fn status_tells_what_is_there_and_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = study(folder.path());
    let status = || -> serde_json::Value {
        let told: serde_json::Value = serde_json::from_str(&succeed(&["status", text(&out), "--json"])).unwrap();
        told["respondents"][0].clone()
    };
    let metrics = folder.path().join("alike.prom");
    judge(&study, &out, &["--shard", "1/2", "--metrics", text(&metrics)]);
    let (told, half) = (status(), &serde_json::json!("1/2"));
    assert_eq!(
        (&told["state"], &told["parts_done"], &told["missing"]),
        (&"incomplete".into(), &10.into(), &"10–19".into())
    );
    assert_eq!((&told["runs"][0]["state"], &told["runs"][0]["shard"]), (&"done".into(), half));
    let prometheus = std::fs::read_to_string(metrics).unwrap();
    assert!(prometheus.contains("alike_done{respondent=\"tiny\",shard=\"1/2\"} 200"), "{prometheus}");
    // A process that is killed cannot say so.
    let mut child = started(&study, &out, 11);
    assert_eq!(status()["state"], "running");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status()["runs"][1]["state"], "ended without a word");
    // One that fails does.
    std::fs::create_dir(respondent(&out).join("part-00000-00019.parquet")).unwrap();
    let output =
        alike(&["judge", text(&study), "--out", text(&out), "--resume", "--log-format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    let told: serde_json::Value = serde_json::from_str(words.lines().last().unwrap()).unwrap();
    assert_eq!((&told["level"], told["timestamp"].is_string()), (&"ERROR".into(), true));
    let failed = status();
    assert_eq!(failed["runs"][1]["state"], "failed");
    assert!(failed["runs"][1]["error"].as_str().unwrap().contains("00019"), "{failed}");
    std::fs::remove_dir(respondent(&out).join("part-00000-00019.parquet")).unwrap();
    judge(&study, &out, &[]);
    assert_eq!((&status()["state"], &status()["missing"]), (&"done".into(), &serde_json::Value::Null));
    let table = succeed(&["status", text(&out)]);
    assert!(table.contains("20 of 20") && table.contains("not begun"), "{table}");
}

/// Starts to judge and waits until there are some parts.
fn started(study: &Path, out: &Path, n_parts: usize) -> Child {
    let mut command = alike(&["judge", text(study), "--out", text(out), "--resume"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !respondent(out).is_dir() || parts(out).len() < n_parts {
        assert!(begun.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    child
}

#[test]
#[cfg(unix)]
fn signals_end_it_with_their_code_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let expected = unbroken(folder.path());
    let (study, out) = study(folder.path());
    for (signal, code) in [("TERM", 75), ("USR1", 75), ("INT", 130)] {
        let before = if out.exists() { parts(&out).len() } else { 0 };
        let child = started(&study, &out, before + 1);
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let asked = Instant::now();
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{signal}: {words}");
        assert!(asked.elapsed() < Duration::from_secs(20) && parts(&out).len() < 20, "{words}");
        if signal != "INT" {
            assert!(words.contains("--resume") && words.contains("of 20 parts of tiny are done"), "{words}");
        }
    }
    judge(&study, &out, &[]);
    assert!(parts(&out) == expected);
    assert!(files_below(&respondent(&out)).iter().all(|path| path.extension().is_none_or(|e| e != "tmp")));
}

#[test]
#[cfg(target_os = "linux")]
fn two_writers_are_kept_apart_where_they_would_write_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = study(folder.path());
    let lock = PartLock::new(&respondent(&out), 0..5).unwrap();
    for shard in ["1/1", "1/2", "1/20"] {
        let words = fail(&["judge", text(&study), "--out", text(&out), "--shard", shard]);
        assert!(words.contains("being written by another alike process"), "{words}");
    }
    // A draft of the other writer is not touched by who does not write that part.
    let draft = respondent(&out).join(".part-00000-00003.parquet.1-0a.tmp");
    std::fs::write(&draft, "half a part").unwrap();
    judge(&study, &out, &["--shard", "2/4"]);
    assert!(draft.is_file());
    drop(lock);
    judge(&study, &out, &[]);
    assert!(!draft.exists() && parts(&out).len() == 20);
}

#[test]
fn damaged_parts_are_made_again_and_others_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let expected = unbroken(folder.path());
    let (study, out) = study(folder.path());
    judge(&study, &out, &[]);
    let path = |part: usize| respondent(&out).join(format!("part-00000-{part:05}.parquet"));
    let edit = |part: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(path(part)).unwrap();
        change(&mut bytes);
        std::fs::write(path(part), bytes).unwrap();
    };
    let written = |part: usize| std::fs::metadata(path(part)).unwrap().modified().unwrap();
    edit(2, &|bytes| bytes.truncate(bytes.len() / 2));
    edit(5, &|bytes| {
        let half = bytes.len() / 3;
        bytes[half] ^= 16;
    });
    edit(7, &|bytes| bytes.clear());
    std::fs::remove_file(path(11)).unwrap();
    let untouched = [0, 1, 3, 4, 6, 8, 9, 10].map(|part| (part, written(part)));
    let output = alike(&["validate", text(&out)]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    for fault in
        ["00002.parquet", "00005.parquet: bytes that do not match", "00007.parquet", "missing of the parts of 20: 11"]
    {
        assert!(words.contains(fault), "{fault}: {words}");
    }
    let words = fail(&["compact", text(&out)]);
    assert!(words.contains("is not whole"), "{words}");
    // What reads them does not take them either.
    fail(&["embed", text(&respondent(&out)), "--out", text(&folder.path().join("e.parquet"))]);
    let output = alike(&["judge", text(&study), "--out", text(&out), "--resume"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(words.matches("it is made again").count(), 3, "{words}");
    assert!(parts(&out) == expected);
    untouched.iter().for_each(|(part, time)| assert_eq!(written(*part), *time));
}

#[test]
fn rows_twice_and_strange_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = study(folder.path());
    judge(&study, &out, &[]);
    let path = |part: usize| respondent(&out).join(format!("part-00000-{part:05}.parquet"));
    let faults = || {
        let output = alike(&["validate", text(&out), "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        told["respondents"][0]["faults"].to_string()
    };
    std::fs::copy(path(3), path(4)).unwrap();
    let words = faults();
    assert!(words.contains("says that it holds parts 3..4 of 20") && words.contains("is out of order"), "{words}");
    succeed(&["judge", text(&study), "--out", text(&out), "--force"]);
    std::fs::copy(path(3), path(20)).unwrap();
    assert!(faults().contains("says that it holds"));
    std::fs::remove_file(path(20)).unwrap();
    std::fs::copy(path(3), respondent(&out).join("mine.parquet")).unwrap();
    assert!(faults().contains("part 3 is also in another file"));
    std::fs::remove_file(respondent(&out).join("mine.parquet")).unwrap();
    // One of another run.
    judge(&study, &folder.path().join("other"), &["--batch-tokens", "64"]);
    std::fs::copy(folder.path().join("other/judgments/respondent=tiny/part-00000-00006.parquet"), path(6)).unwrap();
    assert!(faults().contains("another `batch_tokens`"));
}

#[test]
fn compacted_files_hold_the_same_rows_and_are_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = study(folder.path());
    for shard in ["2/2", "1/2"] {
        judge(&study, &out, &["--shard", shard]);
    }
    let whole = folder.path().join("unbroken");
    judge(&study, &whole, &[]);
    let fit = |out: &Path| {
        let place = folder.path().join("fit.parquet");
        let _ = std::fs::remove_file(&place);
        let fit = ["--dims", "2", "--loss", "crowd-kernel", "--out", text(&place)];
        succeed(&[&["embed", text(&respondent(out))], &fit[..]].concat());
        alike::store::embedding::read(&place).unwrap().coordinates
    };
    let before = fit(&out);
    let elsewhere = folder.path().join("elsewhere");
    succeed(&["compact", text(&out.join("judgments")), "--out", text(&elsewhere), "--rows", "150"]);
    assert_eq!(parts(&out).len(), 20);
    succeed(&["compact", text(&respondent(&out)), "--rows", "150"]);
    succeed(&["compact", text(&whole), "--rows", "150"]);
    // 150 rows are eight parts of twenty.
    assert_eq!(
        parts(&out).keys().collect::<Vec<_>>(),
        ["compact-00000.parquet", "compact-00001.parquet", "compact-00002.parquet"]
    );
    assert!(parts(&out) == parts(&whole), "whatever the shards were");
    for place in [&out, &elsewhere] {
        succeed(&["validate", text(place)]);
    }
    assert!(before.as_ref() == fit(&out).as_ref());
    // Nothing is left to do, and a run that would make other parts is refused.
    let compacted = parts(&out);
    let summary: serde_json::Value = serde_json::from_str(&judge(&study, &out, &["--json"])).unwrap();
    assert_eq!((&summary["made"], &summary["kept"]), (&0.into(), &400.into()));
    assert!(parts(&out) == compacted);
    assert!(fail(&["judge", text(&study), "--out", text(&out)]).contains("exists already"));
    assert!(fail(&["judge", text(&study), "--out", text(&out), "--resume", "--part-rows", "40"]).contains("part_rows"));
    assert!(
        fail(&["judge", text(&study), "--out", text(&out), "--force", "--shard", "1/2"]).contains("exists already")
    );
    // A damaged one is told; without it, its parts are made again, and only they.
    let damaged = respondent(&out).join("compact-00001.parquet");
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    assert!(fail(&["judge", text(&study), "--out", text(&out), "--resume"]).contains("compact-00001.parquet"));
    std::fs::remove_file(damaged).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&judge(&study, &out, &["--json"])).unwrap();
    assert_eq!((&summary["made"], &summary["kept"]), (&160.into(), &240.into()));
    succeed(&["validate", text(&out)]);
    succeed(&["compact", text(&out), "--rows", "1000"]);
    succeed(&["compact", text(&whole), "--rows", "1000"]);
    assert!(parts(&out) == parts(&whole) && parts(&out).len() == 1);
}
