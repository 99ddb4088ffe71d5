//! `python -m export` on bad input, as far as it goes without torch; `golden/architectures/bad_input.py` has the rest.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{copy_folder, path, tiny};

fn python(arguments: &[&str]) -> Output {
    Command::new(path(".env/venv/bin/python"))
        .current_dir(path("."))
        .args(arguments)
        .output()
        .expect("`make setup` makes the environment")
}

/// Runs the exporter and expects one error and no folder; returns what it said.
fn refused(arguments: &[&str], out: &Path) -> String {
    let output = python(&[&["-m", "export"], arguments, &["--out", out.to_str().unwrap()]].concat());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("error: ") && !words.contains("Traceback"), "{words}");
    assert!(!out.exists(), "a folder was left by an export that failed");
    words
}

#[track_caller]
fn says(words: &str, parts: &[&str]) {
    for part in parts {
        assert!(words.contains(part), "{part:?} is not in\n{words}");
    }
}

/// A folder that has all files of a checkpoint; none of them is read before it is refused.
fn checkpoint(scratch: &Path, config: &str) -> PathBuf {
    let folder = scratch.join("checkpoint");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.json"), config).unwrap();
    for name in ["model.safetensors", "tokenizer.json"] {
        std::fs::write(folder.join(name), "{}").unwrap();
    }
    folder
}

#[test]
fn an_unknown_model_type_is_told_with_every_exporter_that_was_asked() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = checkpoint(scratch.path(), r#"{"model_type": "abacus", "auto_map": {"AutoConfig": "x.Y"}}"#);
    let words = refused(&[folder.to_str().unwrap()], &scratch.path().join("out"));
    says(
        &words,
        &["model_type 'abacus'", "transformers: not installed", "remapped: for gemma3", "builders: for falcon_mamba"],
    );
    says(&words, &["--trust-remote-code"]);
}

#[test]
fn a_checkpoint_that_lacks_a_file_is_told_which() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, out) = (checkpoint(scratch.path(), r#"{"model_type": "llama"}"#), scratch.path().join("out"));
    let model = folder.to_str().unwrap();
    says(&refused(&[model], &out), &["torch", "make export MODEL="]);
    std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    says(&refused(&[model], &out), &["holds no tokenizer", "tokenizer.json", "tokenizer.model"]);
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    says(&refused(&[model], &out), &["holds no weights", "*.safetensors"]);
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    says(&refused(&[model], &out), &["config.json has model_type None"]);
    std::fs::write(folder.join("config.json"), "{").unwrap();
    says(&refused(&[model], &out), &["config.json is not JSON"]);
    std::fs::remove_file(folder.join("config.json")).unwrap();
    says(&refused(&[model], &out), &["holds no config.json"]);
    says(&refused(&["nowhere"], &out), &["neither a folder nor a GGUF file", "OWNER/NAME"]);
    says(&refused(&["some/model"], &out), &["neither a folder nor a GGUF file", "hub"]);
}

#[test]
fn weights_outside_the_folder_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, out) = (checkpoint(scratch.path(), r#"{"model_type": "llama"}"#), scratch.path().join("out"));
    let index = r#"{"weight_map": {"model.norm.weight": "../secret.safetensors"}}"#;
    std::fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    says(&refused(&[folder.to_str().unwrap()], &out), &["'../secret.safetensors'", "expected a file beside it"]);

    let graph = scratch.path().join("graph");
    copy_folder(&tiny("standard"), &graph);
    let model = String::from_utf8_lossy(&std::fs::read(graph.join("model.onnx")).unwrap()).into_owned();
    assert!(model.contains("model.onnx.data"));
    let rewrite = "import sys, onnx\nmodel = onnx.load(sys.argv[1], load_external_data=False)\n\
                   for tensor in model.graph.initializer:\n for entry in tensor.external_data:\n  \
                   entry.value = '../secret' if entry.key == 'location' else entry.value\n\
                   open(sys.argv[1], 'wb').write(model.SerializeToString())";
    assert!(python(&["-c", rewrite, graph.join("model.onnx").to_str().unwrap()]).status.success());
    says(&refused(&["optimize", graph.to_str().unwrap()], &out), &["'../secret'", "expected a file beside it"]);
}

/// Killed between the first byte and the last: what is there does not pass for a folder, and does not stop the next.
#[test]
fn an_interrupted_export_leaves_no_folder() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let interrupted = "import os, signal, sys\nfrom pathlib import Path\nfrom export.folder import appearing\n\
                       with appearing(Path(sys.argv[1]), replace=False) as draft:\n \
                       (draft / 'model.onnx').write_text('half')\n os.kill(os.getpid(), signal.SIGKILL)";
    assert!(!python(&["-c", interrupted, out.to_str().unwrap()]).status.success());
    assert!(!out.exists() && scratch.path().join("out.tmp/model.onnx").is_file());
    let standard = tiny("standard");
    let again = python(&["-m", "export", "optimize", standard.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(out.join("alike.json").is_file() && !scratch.path().join("out.tmp").exists());
}
