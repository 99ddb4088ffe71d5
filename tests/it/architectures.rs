//! Every architecture of the suite: tiny models against their originals. `golden/architectures/` holds the models, the
//! numbers and the scripts that made both.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use alike::engine::LanguageModel;
use alike::prompts::plan::{Reuse, Strategy};
use alike::prompts::tokens::Close;
use serde_json::Value;

use crate::models::{agrees_with_transformers, golden, open, open_with_keys};
use crate::support::path;

/// The bar of the project; 7.3e-6 nats were measured at worst.
const NATS: f64 = 1e-4;

fn read(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path("tests/it/golden/architectures").join(file)).unwrap()).unwrap()
}

/// Names of all model folders.
fn folders() -> Vec<String> {
    let entries = std::fs::read_dir(path("tests/it/golden/architectures")).unwrap().map(|entry| entry.unwrap());
    let with_model = entries.filter(|entry| entry.path().join("alike.json").is_file());
    let mut names: Vec<String> = with_model.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Those with keys and values; the others have tests of their own.
fn decoders() -> Vec<(String, PathBuf)> {
    let made_here =
        |name: &String| read(&format!("{name}/golden.json"))["made_by"].as_str().unwrap().ends_with("/make.py");
    let folder = |name: String| (name.clone(), path("tests/it/golden/architectures").join(name));
    folders().into_iter().filter(made_here).map(folder).collect()
}

#[test]
fn architectures_agree_with_their_originals() {
    let decoders = decoders();
    assert!(decoders.len() >= 19, "{decoders:?}");
    for (name, folder) in decoders {
        agrees_with_transformers(&folder, &format!("architectures/{name}/golden.json"), NATS);
    }
}

#[test]
fn architectures_give_the_same_numbers_whole_and_shared() {
    for (name, folder) in decoders() {
        let mut opened = open(&folder, 0);
        assert_eq!(opened.model.info().strategy, Strategy::Tree, "{name}");
        let questions = opened.questions(&golden(&format!("architectures/{name}/golden.json")), Close::Auto);
        let shared = opened.evaluate(&questions, Reuse::Trie).options;
        let whole = opened.evaluate(&questions, Reuse::Off).options;
        for (a, b) in shared.iter().zip(&whole) {
            // A row of another length adds its attention up in another order.
            assert!((a[0] - b[0]).abs() < 5e-5 && (a[1] - b[1]).abs() < 5e-5, "{name}: {a:?} and {b:?}");
        }
    }
}

/// Keys that nothing sees, which GPUs are given: only graphs that count places would take them for something, and get none.
#[test]
fn architectures_do_not_see_padding() {
    for (name, folder) in decoders() {
        let golden = golden(&format!("architectures/{name}/golden.json"));
        let [plain, padded] = [1, 16].map(|keys| {
            let mut opened = open_with_keys(&folder, 0, keys);
            let questions = opened.questions(&golden, Close::Auto);
            opened.evaluate(&questions, Reuse::Trie).options
        });
        let unpadded = open(&folder, 0).model.signature().counts_places;
        assert_eq!(plain == padded, unpadded, "{name}: attention over other lengths rounds otherwise");
        for (a, b) in plain.iter().zip(&padded) {
            assert!((a[0] - b[0]).abs() < 5e-5 && (a[1] - b[1]).abs() < 5e-5, "{name}: {a:?} and {b:?}");
        }
    }
}

/// `models/README.md` names every architecture that has a tiny model, and no other one without saying what is missing.
#[test]
fn the_table_of_architectures_is_complete() {
    let readme = std::fs::read_to_string(path("models/README.md")).unwrap();
    let section = readme.split("## Architectures").nth(1).expect("a section of that name");
    let table = section.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `model_type`"));
    let (mut told, mut gaps) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        let model_type = row.split('`').nth(1).unwrap().to_owned();
        if row.contains("not yet") {
            gaps.insert(model_type)
        } else {
            told.insert(model_type)
        };
    }
    let made: BTreeSet<String> = folders()
        .iter()
        .map(|name| read(&format!("{name}/alike.json"))["architecture"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, made, "architectures told of in models/README.md, and those with a tiny model");
    assert!(gaps.is_disjoint(&made), "{gaps:?} are said to be missing, and some have a tiny model");
    let script = std::fs::read_to_string(path("export/architectures.py")).unwrap();
    for model_type in told.union(&gaps) {
        assert!(script.contains(&format!("\"{model_type}\": ")), "{model_type} is not in export/architectures.py");
    }
}
