//! The program on a small study with a tiny model: from TOML to the page, resumed, read elsewhere.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alike::store::table::Table;

use crate::support::{alike, files_below, path, succeed, tiny};

const CONCEPTS: &str = "concept,category\nbear,animal\nbutterfly,animal\ncat,animal\nbaseball,thing\n\
    baseball glove,thing\ncabbage,food\nbread,food\npineapple,food\nhammer,tool\nscissors,tool\n";

/// Writes a study of ten concepts into a folder; returns the study's file and its output folder.
pub(crate) fn small_study(folder: &Path, model: &Path) -> (PathBuf, PathBuf) {
    std::fs::write(folder.join("concepts.csv"), CONCEPTS).unwrap();
    let text = format!(
        r#"
[study]
name = "small"
seed = 3
[concepts]
path = "concepts.csv"
[triplets]
n = 200
counterbalance = true
[[models]]
path = "{}"
label = "tiny"
[[simulated]]
label = "human-like"
response = "logistic"
agreement = 0.95
[[simulated]]
label = "coin"
response = "coin-flip"
[judge]
part_rows = 150
[embed]
dims = 3
[align]
permutations = 99
"#,
        model.display()
    );
    let study = folder.join("small.toml");
    std::fs::write(&study, text).unwrap();
    (study, folder.join("out"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(study: &Path, out: &Path) -> String {
    succeed(&["run", text(study), "--out", text(out)])
}

/// Bytes and modification time of every file below a folder, but for records of runs (which hold times).
fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut files = BTreeMap::new();
    for path in files_below(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "parquet")) {
        let time = path.metadata().unwrap().modified().unwrap();
        files.insert(path.strip_prefix(folder).unwrap().to_owned(), (std::fs::read(&path).unwrap(), time));
    }
    files
}

fn bytes(files: &BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)>) -> BTreeMap<&PathBuf, &Vec<u8>> {
    files.iter().map(|(path, (bytes, _))| (path, bytes)).collect()
}

#[test]
fn the_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = small_study(folder.path(), &tiny("scoring"));
    let table = run(&study, &out);
    assert!(table.contains("logistic-distance") && table.contains("human-like"), "{table}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("baseball glove"));

    // A second run does nothing twice.
    let first = contents(&out);
    run(&study, &out);
    assert!(first == contents(&out), "a second run touches no table");

    // A part that is lost or damaged is made again, the others are kept, and the data set is the same.
    let part = |n: usize| out.join(format!("judgments/respondent=tiny/part-00000-{n:05}.parquet"));
    std::fs::remove_file(part(1)).unwrap();
    std::fs::write(out.join("judgments/respondent=tiny/.part-00000-00001.parquet.1.tmp"), "half").unwrap();
    let whole = std::fs::read(part(2)).unwrap();
    std::fs::write(part(2), &whole[..whole.len() - 40]).unwrap();
    run(&study, &out);
    let resumed = contents(&out);
    assert!(bytes(&first) == bytes(&resumed), "a resumed data set is byte for byte the unbroken one");
    let drafts = std::fs::read_dir(out.join("judgments/respondent=tiny")).unwrap();
    let is_draft = |e: &std::fs::DirEntry| e.path().extension().is_some_and(|e| e == "tmp");
    assert_eq!(drafts.filter(|e| is_draft(e.as_ref().unwrap())).count(), 0, "a killed writer's draft is cleared away");
    let name = Path::new("judgments/respondent=tiny/part-00000-00000.parquet");
    assert_eq!(first[name].1, resumed[name].1, "finished parts are not written again");

    // Another machine's threads give the same bytes.
    let other = folder.path().join("other");
    succeed(&["run", text(&study), "--out", text(&other), "--threads", "1"]);
    assert!(bytes(&contents(&other)) == bytes(&first), "one thread gives the bytes of several");

    // Another seed is another study: refused, and nothing is lost.
    let changed = std::fs::read_to_string(&study).unwrap().replace("seed = 3", "seed = 4");
    std::fs::write(&study, changed).unwrap();
    let refusal = crate::support::fail(&["run", text(&study), "--out", text(&out)]);
    assert!(refusal.contains("was made with another `triplets`"), "{refusal}");
    assert!(bytes(&contents(&out)) == bytes(&first));
    succeed(&["run", text(&study), "--out", text(&out), "--force"]);
    assert!(bytes(&contents(&out)) != bytes(&first));
}

#[test]
fn human_like_geometry_is_found_and_a_coin_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = small_study(folder.path(), &tiny("standard"));
    run(&study, &out);
    let rows = alike::store::alignment::read(&out.join("alignment.parquet")).unwrap();
    let r2 = |label: &str| {
        let row =
            rows.iter().find(|r| r.respondent == label && r.fit == "logistic-distance" && r.measure == "procrustes_r2");
        row.unwrap().value
    };
    assert!(r2("human-like") > 0.7, "{}", r2("human-like"));
    assert!(r2("human-like") > r2("coin") + 0.2, "{} and {}", r2("human-like"), r2("coin"));
}

#[test]
fn stages_one_by_one_with_files_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let triplets = "who,anchor,first,second\nx,bear,cat,hammer\nx,cat,bear,bread\nx,hammer,bread,bear\n";
    std::fs::write(at("triplets.csv"), triplets).unwrap();
    let (file, model, out) = (at("triplets.csv"), tiny("scoring"), at("judgments"));
    let arguments =
        ["judge", "--model", text(&model), "--triplets", text(&file), "--out", text(&out), "--label", "tiny", "--json"];
    let summary: serde_json::Value = serde_json::from_str(&succeed(&arguments)).unwrap();
    assert_eq!(summary["made"], 3);
    let entries: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(entries, ["respondent=tiny"], "judge writes only its respondent's folder");
    let table = Table::read(&out.join("respondent=tiny/part-00000-00000.parquet")).unwrap();
    // Without a study, ids follow the UTF-8 order of the names in the file.
    assert_eq!(table.names("anchor").unwrap(), ["bear", "cat", "hammer"]);
    assert_eq!(table.integers("anchor_id").unwrap(), [Some(0), Some(2), Some(3)]);
    let refusal = crate::support::fail(&arguments);
    assert!(refusal.contains("exists already") && refusal.contains("--resume"), "{refusal}");

    let sampled = at("sampled.parquet");
    std::fs::write(at("concepts.csv"), CONCEPTS).unwrap();
    let concepts = at("concepts.csv");
    succeed(&["sample", "--concepts", text(&concepts), "--n", "300", "--out", text(&sampled)]);
    let simulated = at("simulated");
    succeed(&["simulate", "--concepts", text(&concepts), "--triplets", text(&sampled), "--out", text(&simulated)]);
    let embedding = at("embedding.parquet");
    let judged = simulated.join("respondent=simulated");
    succeed(&["embed", text(&judged), "--dims", "4", "--out", text(&embedding), "--concepts", text(&concepts)]);
    let aligned: BTreeMap<String, f64> = serde_json::from_str(&succeed(&[
        "align",
        text(&embedding),
        "--concepts",
        text(&concepts),
        "--reference",
        "category",
        "--all",
        "--json",
    ]))
    .unwrap();
    assert_eq!(aligned.len(), 40);
    assert!(aligned["procrustes_r2"] > 0.8, "{aligned:?}");
    let itself: BTreeMap<String, f64> =
        serde_json::from_str(&succeed(&["align", text(&embedding), "--reference", text(&embedding), "--json"]))
            .unwrap();
    assert!((itself["procrustes_r2"] - 1.0).abs() < 1e-12);
    succeed(&["judge", "--model", text(&model), "--triplets", text(&sampled), "--out", text(&out), "--dry-run"]);
    let check = succeed(&["check", "--model", text(&tiny("standard"))]);
    assert!(check.contains("shared-past") && check.contains("parity") && check.contains("closing"), "{check}");
}

/// DuckDB, Polars, pyarrow and pandas see the same columns, counts and sums, of parts and of compacted files, whatever an unfinished run left
/// beside them. `make test` sets the variable; `make test-spark` asks Spark.
#[test]
fn other_readers_see_the_same_judgments() {
    let Some(python) = std::env::var_os("ALIKE_READERS_PYTHON") else {
        println!(
            "skipped: ALIKE_READERS_PYTHON does not name a Python with duckdb, polars, pyarrow and pandas; `make test` does"
        );
        return;
    };
    for (task, data_set) in [("anchored", "judgments"), ("odd-one-out", "oddoneout")] {
        let folder = tempfile::tempdir().unwrap();
        let (study, out) = small_study(folder.path(), &tiny("scoring"));
        let asked = format!("task = \"{task}\"\nn = 100");
        std::fs::write(&study, std::fs::read_to_string(&study).unwrap().replace("n = 200", &asked)).unwrap();
        run(&study, &out);
        let (parts, compacted) = (out.join(data_set), folder.path().join("compacted"));
        succeed(&["compact", text(&parts), "--out", text(&compacted)]);
        // A draft, and compaction that was killed.
        std::fs::write(parts.join("respondent=tiny/.part-00000-00007.parquet.1-0a.tmp"), "half a part").unwrap();
        std::fs::create_dir(parts.join(".respondent=tiny.compact")).unwrap();
        let left = parts.join(".respondent=tiny.compact/compact-00000.parquet");
        std::fs::copy(compacted.join("respondent=tiny/compact-00000.parquet"), left).unwrap();
        let mut check = std::process::Command::new(&python);
        let check = check.arg(path("tests/readers/check.py")).args([&parts, &compacted]).output().unwrap();
        let words = format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
        assert!(check.status.success(), "{words}");
        println!("{words}");
    }
}

/// A smaller run never eats a larger one's parts: only `--force` replaces them.
#[test]
fn parts_of_a_larger_run_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = small_study(folder.path(), &tiny("scoring"));
    run(&study, &out);
    let before = contents(&out.join("judgments"));
    let judge = |more: &[&'static str]| [&["judge", text(&study), "--out", text(&out)], more].concat();
    assert!(crate::support::fail(&judge(&["--limit", "0", "--resume"])).contains("triplets to ask: 0"));
    // Even where its own first part is gone, so that nothing of its own is in the way.
    std::fs::remove_file(out.join("judgments/respondent=tiny/part-00000-00000.parquet")).unwrap();
    assert!(crate::support::fail(&judge(&["--limit", "100", "--resume"])).contains("exists already"));
    run(&study, &out);
    assert!(bytes(&contents(&out.join("judgments"))) == bytes(&before));
    succeed(&judge(&["--limit", "100", "--force"]));
    assert_eq!(contents(&out.join("judgments/respondent=tiny")).len(), 1);
}

#[test]
fn help_names_every_stage() {
    let output = alike(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for stage in ["run", "sample", "judge", "simulate", "embed", "align", "report", "check"] {
        assert!(help.contains(&format!("\n  {stage} ")), "{stage} in\n{help}");
    }
    assert_eq!(alike(&["judge"]).output().unwrap().status.code(), Some(2), "wrong usage exits with 2");
}
