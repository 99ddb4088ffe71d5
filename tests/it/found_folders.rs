//! Folders as other programs lay them out are run as they are.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{fail, path, succeed, tiny};

/// A folder made by `golden/as_found.py`.
fn found(kind: &str) -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join(kind);
    let made = Command::new(path(".env/venv/bin/python"))
        .arg(path("tests/it/golden/as_found.py"))
        .args([kind.as_ref(), tiny("standard").as_os_str(), folder.as_os_str()])
        .output()
        .expect("`make setup` makes the environment");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (scratch, folder)
}

/// Log-probabilities of six questions, and the strategy.
fn judged(model: &std::path::Path) -> (Vec<Option<f64>>, String) {
    let out = tempfile::tempdir().unwrap();
    let triplets = out.path().join("triplets.csv");
    let rows = "bear,cat,hammer\nbear,cat,saw\ncat,bear,wasp\nhammer,saw,bear\nhammer,saw,wasp\nwasp,saw,cat\n";
    std::fs::write(&triplets, format!("anchor,first,second\n{rows}")).unwrap();
    let [model, triplets, folder] = [model, &triplets, out.path()].map(|path| path.to_str().unwrap());
    let ask = ["judge", "--model", model, "--triplets", triplets, "--out", folder, "--label", "found", "--json"];
    let plan: Value = serde_json::from_str(&succeed(&[&ask[..], &["--dry-run"]].concat())).unwrap();
    succeed(&ask);
    let part = alike::store::judgments::parts(out.path(), "found").unwrap().remove(0);
    let table = alike::store::table::Table::read(&part).unwrap();
    let columns = ["log_prob_first", "log_prob_second"].map(|name| table.numbers(name).unwrap());
    (columns.concat(), plan["strategy"].as_str().unwrap().to_owned())
}

#[test]
fn whatever_the_layout_the_numbers_are_the_same() {
    let (expected, _) = judged(&tiny("standard"));
    assert!(expected.len() == 12 && expected.iter().all(Option::is_some));
    for (kind, graph, strategy) in [
        ("without-past", "", "none"),
        ("transformers-js", "onnx/model_q4.onnx", "shared-past"),
        ("genai", "", "shared-past"),
    ] {
        let (_scratch, folder) = found(kind);
        let (ours, of_plan) = judged(&folder.join(graph));
        assert_eq!(of_plan, strategy, "{kind}");
        for (a, b) in ours.iter().zip(&expected) {
            // Whole prompts and shared ones add up in another order.
            assert!((a.unwrap() - b.unwrap()).abs() < 2e-5, "{kind}: {a:?} and {b:?}");
        }
    }
    let (_scratch, folder) = found("transformers-js");
    let message = fail(&["check", "--model", folder.to_str().unwrap()]);
    assert!(message.contains("name one of its graphs:") && message.contains("onnx/model_q4.onnx"), "{message}");
}
