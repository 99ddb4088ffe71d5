//! `alike simulate`: every response, both tasks, references in any format, and what is refused.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use alike::store::table::Table;
use faer::Mat;

use crate::support::{cloud, fail, succeed};

/// Twelve concepts, a reference of them as CSV, 200 triplets of a task.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) reference: Mat<f64>,
    task: &'static str,
}

pub(crate) const N: usize = 12;

impl Place {
    pub(crate) fn new(task: &'static str, n_triplets: usize) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), reference: cloud(N, 2, 4), task };
        let rows: Vec<String> =
            (0..N).map(|i| format!("c{i:02},{},{}\n", place.reference[(i, 0)], place.reference[(i, 1)])).collect();
        std::fs::write(place.at("reference.csv"), format!("concept,d00,d01\n{}", rows.concat())).unwrap();
        let names: Vec<String> = (0..N).map(|i| format!("c{i:02}\n")).collect();
        std::fs::write(place.at("concepts.csv"), format!("concept\n{}", names.concat())).unwrap();
        std::fs::write(place.at("names.txt"), names.concat()).unwrap();
        let spose: Vec<String> =
            (0..N).map(|i| format!("{} {} \n", place.reference[(i, 0)], place.reference[(i, 1)])).collect();
        std::fs::write(place.at("spose.txt"), spose.concat()).unwrap();
        succeed(&[
            "sample",
            "--concepts",
            &place.text("concepts.csv"),
            "--n",
            &n_triplets.to_string(),
            "--task",
            task,
            "--out",
            &place.text("triplets.parquet"),
        ]);
        place
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    fn arguments(&self, label: &str, more: &[&str]) -> Vec<String> {
        let (concepts, triplets) = (self.text("concepts.csv"), self.text("triplets.parquet"));
        let (out, reference) = (self.text("judgments"), self.text("reference.csv"));
        let mut arguments = vec!["simulate", "--concepts", &concepts, "--triplets", &triplets, "--out", &out];
        arguments.extend(["--label", label]);
        if !more.contains(&"--reference") {
            arguments.extend(["--reference", &reference]);
        }
        arguments.iter().chain(more).map(|word| (*word).to_owned()).collect()
    }

    pub(crate) fn simulate(&self, label: &str, more: &[&str]) -> Table {
        let arguments = self.arguments(label, more);
        succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        Table::read(&self.at(&format!("judgments/respondent={label}/part-00000-00000.parquet"))).unwrap()
    }

    fn refused(&self, more: &[&str]) -> String {
        let arguments = self.arguments("refused", more);
        let words = fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!self.at("judgments/respondent=refused").exists(), "{words}");
        words
    }

    fn answers(&self, table: &Table) -> Vec<String> {
        table.names(if self.task == "anchored" { "chosen" } else { "odd" }).unwrap()
    }
}

fn share_alike(a: &[String], b: &[String]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}

#[test]
fn responses_agree_as_often_as_asked() {
    for (task, n) in [("anchored", 660), ("odd-one-out", 220)] {
        let place = Place::new(task, n);
        let answers = |label: &str, more: &[&str]| place.answers(&place.simulate(label, more));
        let noise_free = answers("noise-free", &[]);
        let agrees = |label: &str, more: &[&str]| share_alike(&noise_free, &answers(label, more));
        let close = |found: f64, expected: f64| {
            let four_standard_errors = 4.0 * (expected * (1.0 - expected) / n as f64).sqrt();
            assert!((found - expected).abs() < four_standard_errors, "{task}: {found}, expected {expected}");
        };
        close(agrees("logistic", &["--response", "logistic", "--agreement", "0.8"]), 0.8);
        close(agrees("lapsing", &["--response", "logistic", "--agreement", "0.8", "--lapses", "0.2"]), 0.8);
        let coin = if task == "anchored" { 0.5 } else { 1.0 / 3.0 };
        close(agrees("absent", &["--lapses", "0.5"]), 0.5 + 0.5 * coin);
        close(agrees("coin", &["--response", "coin-flip"]), coin);
        // A softmax that is nearly sure names the largest dot product; one at 80 % agrees with that.
        let largest = answers("largest", &["--response", "softmax", "--temperature", "1e-9"]);
        let softmax = answers("softmax", &["--response", "softmax", "--agreement", "0.8"]);
        close(share_alike(&largest, &softmax), 0.8);
        assert!(share_alike(&largest, &noise_free) < 0.99, "dot products are no distances");
        let again = |label: &str, seed: &str| {
            answers(label, &["--response", "softmax", "--agreement", "0.8", "--seed", seed, "--force"])
        };
        assert_ne!(softmax, again("softmax", "2"));
        assert_ne!(softmax, again("other", "0"), "every subject has coins of its own");
        assert_eq!(softmax, again("softmax", "0"), "the seed and the label decide");
    }
}

/// SPoSE's text, NumPy's array, a table and our own embedding of the same rows are the same subject.
#[test]
fn any_reference_will_do() {
    let place = Place::new("anchored", 400);
    let noise_free = place.answers(&place.simulate("csv", &[]));
    let names = place.text("names.txt");
    let spose = place.text("spose.txt");
    let from_text = place.simulate("spose", &["--reference", &spose, "--reference-names", &names]);
    assert_eq!(place.answers(&from_text), noise_free);
    let values: Vec<u8> =
        (0..N).flat_map(|i| [0, 1].map(|k| place.reference[(i, k)])).flat_map(f64::to_le_bytes).collect();
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({N}, 2), }}\n");
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    npy.extend(header.bytes());
    npy.extend(values);
    std::fs::write(place.at("reference.npy"), npy).unwrap();
    let npy = place.text("reference.npy");
    let from_npy = place.simulate("npy", &["--reference", &npy, "--reference-names", &names]);
    assert_eq!(place.answers(&from_npy), noise_free);

    let judged = place.text("judgments/respondent=csv");
    let out = place.text("own.parquet");
    succeed(&["embed", &judged, "--dims", "2", "--out", &out]);
    let own = place.answers(&place.simulate("own", &["--reference", &out]));
    assert!(share_alike(&own, &noise_free) > 0.93, "{}", share_alike(&own, &noise_free)); // as a fit of 400 answers has it
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(&out).with_extension("json")).unwrap()).unwrap();
    assert!(record["seconds"].as_f64().unwrap() > 0.0 && record["curve"].as_array().unwrap().len() > 10, "{record}");
}

#[test]
fn subjects_that_cannot_be_are_refused_before_anything_is_written() {
    let place = Place::new("anchored", 100);
    let says = |more: &[&str], words: &str| {
        let refusal = place.refused(more);
        assert!(refusal.contains(words), "{words:?} is not in\n{refusal}");
    };
    says(&["--response", "logistic"], "`simulated.agreement` is not given");
    says(&["--response", "logistic", "--agreement", "0.5"], "above 0.5 and below 1");
    says(&["--response", "logistic", "--agreement", "0.95", "--lapses", "0.2"], "below 0.9");
    says(&["--agreement", "0.9"], "absent but for logistic and softmax");
    says(&["--response", "softmax", "--temperature", "0"], "above 0");
    says(&["--response", "softmax", "--temperature", "1", "--agreement", "0.8"], "`simulated.temperature`");
    says(&["--response", "coin-flip", "--lapses", "0.1"], "`simulated.lapses`");
    says(&["--lapses", "1.5"], "`simulated.lapses`");
    std::fs::write(place.at("few.csv"), "concept,d00\nc00,1\nc01,2\n").unwrap();
    let few = place.text("few.csv");
    says(&["--reference", &few], "no single row for");
}
