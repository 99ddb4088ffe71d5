//! A small study, the program, and what it must have made in the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::SystemTime;

/// Parts of the study's only model.
pub(crate) const N_PARTS: usize = 40;

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) study: PathBuf,
    pub(crate) out: PathBuf,
}

pub(crate) fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Bench {
    /// Ten concepts, 160 presentations, 40 parts, and a simulated subject.
    pub(crate) fn new() -> Self {
        Self::with(&project("tests/it/golden/tiny-llama-scoring"))
    }

    pub(crate) fn with(model: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let concepts = "concept,category\nbear,animal\nbutterfly,animal\ncat,animal\nbaseball,thing\nbaseball glove,thing\n\
            cabbage,food\nbread,food\npineapple,food\nhammer,tool\nscissors,tool\n";
        std::fs::write(folder.path().join("concepts.csv"), concepts).unwrap();
        let study = folder.path().join("small.toml");
        let content = format!(
            "[study]\nname = \"small\"\n[concepts]\npath = \"concepts.csv\"\n[triplets]\nn = 80\ncounterbalance = true\n\
             [[models]]\npath = \"{}\"\nlabel = \"tiny\"\n[[simulated]]\nlabel = \"human-like\"\nresponse = \"noise-free\"\n\
             [judge]\npart_rows = 4\nself_test = 0\n[embed]\ndims = 2\n[align]\npermutations = 99\n",
            model.display()
        );
        std::fs::write(&study, content).unwrap();
        let out = folder.path().join("out");
        Self { folder, study, out }
    }

    /// The program with the study.
    pub(crate) fn judge(&self, out: &Path, more: &[&str]) -> Command {
        alike(&[&["judge", text(&self.study), "--out", text(out), "--resume"], more].concat())
    }

    /// The program with 160 requests of two choices each, which go to a file.
    pub(crate) fn score(&self, out: &Path, part_rows: &str) -> Command {
        let (requests, model) =
            (self.folder.path().join("requests.jsonl"), project("tests/it/golden/tiny-llama-scoring"));
        let line = |i: u32| format!("{{\"prompt\": \"{i} Which?\", \"choices\": [\"bear\", \"boat {i}\"]}}\n");
        std::fs::write(&requests, (0..160).map(line).collect::<String>()).unwrap();
        let paths = ["--model", text(&model), "--requests", text(&requests), "--out", text(out)];
        alike(&[&["score"], &paths[..], &["--style", "base", "--resume", "--part-rows", part_rows]].concat())
    }

    /// The parts of an unbroken run.
    pub(crate) fn unbroken(&self) -> BTreeMap<String, Vec<u8>> {
        let out = self.folder.path().join("unbroken");
        succeed(&mut self.judge(&out, &[]));
        let parts = parts(&out);
        assert_eq!(parts.len(), N_PARTS);
        parts
    }
}

pub(crate) fn alike(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alike"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", words(&output));
}

/// Runs what must fail with exit code 1 and an error, and returns what it says.
pub(crate) fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let words = words(&output);
    assert_eq!(output.status.code(), Some(1), "{command:?}\n{words}");
    assert!(words.contains("error: ") && !words.contains("panicked"), "{words}");
    words
}

pub(crate) fn respondent(out: &Path) -> PathBuf {
    out.join("judgments/respondent=tiny")
}

/// Finished files of judgments, with their bytes.
pub(crate) fn parts(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(respondent(out)) else { return BTreeMap::new() };
    let paths =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "parquet"));
    paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

/// When each finished file was written.
pub(crate) fn written(out: &Path) -> BTreeMap<String, SystemTime> {
    let time = |name: &String| std::fs::metadata(respondent(out).join(name)).unwrap().modified().unwrap();
    parts(out).keys().map(|name| (name.clone(), time(name))).collect()
}

/// Half-written files below a folder.
pub(crate) fn drafts(folder: &Path) -> Vec<PathBuf> {
    files_below(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "tmp")).collect()
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut pending) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(next) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Every finished file is the unbroken run's, byte for byte, and what was there before was not written again.
pub(crate) fn check_finished(out: &Path, expected: &BTreeMap<String, Vec<u8>>, before: &BTreeMap<String, SystemTime>) {
    for (name, bytes) in parts(out) {
        assert!(expected.get(&name) == Some(&bytes), "{name} is not that of an unbroken run");
    }
    let now = written(out);
    for (name, time) in before {
        assert_eq!(now.get(name), Some(time), "{name} was written again, or is gone");
    }
}

/// Whether every Parquet file below a folder is whole; the number of them.
pub(crate) fn whole_tables(folder: &Path) -> usize {
    let tables: Vec<PathBuf> =
        files_below(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "parquet")).collect();
    for path in &tables {
        alike::store::table::Table::read(path).unwrap_or_else(|error| panic!("{error}"));
    }
    tables.len()
}

/// Sends a signal by its name.
pub(crate) fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}
