//! What several test modules share.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::path::{Path, PathBuf};
use std::process::Command;

use alike::embedding::Comparison;
use alike::linalg::from_rows;
use alike::respondents::{ResponseModel, SimulatedSubject};
use alike::seed::Streams;
use alike::stats::standard_normal;
use faer::{Mat, MatRef};
use serde_json::Value;

/// Expected values from numpy and scipy; `golden/mathematics.py` makes them.
pub(crate) fn golden() -> Value {
    serde_json::from_str(include_str!("golden/mathematics.json")).unwrap()
}

pub(crate) fn matrix(rows: &Value) -> Mat<f64> {
    let row = |row: &Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    from_rows(&rows.as_array().unwrap().iter().map(row).collect::<Vec<Vec<f64>>>()).unwrap()
}

/// Triplets of (anchor, closer, farther) as comparisons won by the first.
pub(crate) fn comparisons(triplets: &Value) -> Vec<Comparison> {
    let triplet = |(id, row): (usize, &Value)| {
        let concept = |k: usize| u32::try_from(row[k].as_u64().unwrap()).unwrap();
        let (anchor, first, second) = (concept(0), concept(1), concept(2));
        Comparison { triplet: id as i64, anchor, first, second, p_first: 1.0, weight: 1.0 }
    };
    triplets.as_array().unwrap().iter().enumerate().map(triplet).collect()
}

/// A round Gaussian cloud.
pub(crate) fn cloud(n: usize, d: usize, seed: u64) -> Mat<f64> {
    let mut rng = Streams::new(seed, "test cloud").rng(0);
    Mat::from_fn(n, d, |_, _| standard_normal(&mut rng))
}

/// Random triplets of concepts, in random option order, as a subject with the reference's geometry answers them.
pub(crate) fn answered(
    reference: MatRef<'_, f64>,
    model: ResponseModel,
    n_triplets: usize,
    seed: u64,
) -> Vec<Comparison> {
    use rand::RngExt;
    let subject = SimulatedSubject::new(reference, model, seed).unwrap();
    let n = reference.nrows() as u32;
    let mut rng = Streams::new(seed, "test triplets").rng(0);
    let mut asked = std::collections::BTreeMap::new();
    while asked.len() < n_triplets {
        let [anchor, first, second] = [(); 3].map(|()| rng.random_range(0..n));
        if anchor != first && anchor != second && first != second {
            let id = (i64::from(anchor) * i64::from(n) + i64::from(first.min(second))) * i64::from(n)
                + i64::from(first.max(second));
            asked.insert(id, (anchor, first, second));
        }
    }
    let answer = |(triplet, (anchor, first, second)): (i64, (u32, u32, u32))| {
        let chose_first = subject.answer(anchor, first, second, triplet.cast_unsigned()).chose_first;
        Comparison { triplet, anchor, first, second, p_first: f64::from(chose_first), weight: 1.0 }
    };
    asked.into_iter().map(answer).collect()
}

/// `work` on a pool of its own with that many threads.
pub(crate) fn on_threads<R: Send>(n_threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap().install(work)
}

/// Column by column.
pub(crate) fn flat(x: MatRef<'_, f64>) -> Vec<f64> {
    (0..x.ncols()).flat_map(|k| (0..x.nrows()).map(move |i| x[(i, k)])).collect()
}

/// A file of the project.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A tiny model folder: `scoring` or `standard`.
pub(crate) fn tiny(layout: &str) -> PathBuf {
    path("tests/it/golden").join(format!("tiny-llama-{layout}"))
}

/// Copies a folder of files.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The program, as a user runs it.
pub(crate) fn alike(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alike"));
    command.args(arguments);
    command
}

/// Runs the program and expects it to succeed; returns standard output.
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = alike(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "alike {}\n{words}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program and expects it to fail with exit code 1 and no panic; returns standard error.
pub(crate) fn fail(arguments: &[&str]) -> String {
    let output = alike(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "alike {}\n{words}", arguments.join(" "));
    assert!(words.contains("error: ") && !words.contains("panicked"), "{words}");
    words
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut pending) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}
