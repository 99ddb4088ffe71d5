//! The suite of the paper's models: what the project ships holds, and what does not hold is named.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use alike::prompts::template::Style;
use alike::suite::read;

use crate::support::{copy_folder, fail, path, succeed};
use crate::templates::Families;

#[test]
fn the_suite_holds() {
    let members = read(&path("models/suite")).unwrap();
    assert_eq!(members.len(), 76);
    let table = succeed(&["check", "--suite", path("models/suite").to_str().unwrap(), "--memory-gb", "80"]);
    assert!(table.contains("76 models, of which 76 fit 80 GB"), "{table}");
    let moe = table.lines().find(|line| line.contains("microsoft/Phi-3.5-MoE-instruct")).unwrap();
    assert!(moe.contains("phimoe") && moe.contains("int8") && moe.contains("longrope"), "{moe}");
}

/// Each model that is spoken to in chat has a template under test, or is a gap that has a name.
#[test]
fn every_chat_model_has_a_tested_template_or_a_named_gap() {
    let Families { families, gaps } = Families::read();
    for member in read(&path("models/suite")).unwrap() {
        let entry = &member.entry;
        let tested = families.values().filter(|family| family.models.contains(&entry.hub)).count();
        let gap = gaps.contains_key(&entry.hub);
        let expected = if entry.style == Style::Chat { 1 } else { 0 };
        assert_eq!(tested + usize::from(gap), expected, "{} speaks {}", entry.hub, entry.style);
        // A user who reads the table sees the gap too.
        assert!(!gap || entry.faults.iter().any(|fault| fault == "template-unseen"), "{}", entry.hub);
    }
}

/// A copy of what the suite is made of, with changes to `llama.toml`.
fn changed(scratch: &Path, changes: &[(&str, &str)]) -> String {
    for folder in ["models/suite", "data/paper"] {
        copy_folder(&path(folder), &scratch.join(folder));
    }
    std::fs::copy(path("models/architectures.toml"), scratch.join("models/architectures.toml")).unwrap();
    let file = scratch.join("models/suite/llama.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(file, text).unwrap();
    let words = fail(&["check", "--suite", scratch.join("models/suite").to_str().unwrap()]);
    words.replace(&format!("{}/", scratch.display()), "")
}

#[test]
fn everything_that_does_not_hold_is_named_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let words = changed(
        scratch.path(),
        &[
            ("label = \"Llama-3.1-8B-Instruct\"", "label = \"Llama-3.1-8B-Instrukt\""),
            ("hub = \"allenai/Llama-3.1-Tulu-3-8B\"", "hub = \"allenai/Tulu-3\""),
            (
                "stage = \"dpo\"\nstyle = \"chat\"",
                "stage = \"sft\"\nstyle = \"base\"\nchat_template = \"chatml.jinja\"",
            ),
            ("model_type = \"llama\"\nstage = \"sft\"", "model_type = \"lama\"\nstage = \"sft\""),
            (
                "hub = \"meta-llama/Llama-2-13b-chat-hf\"\nmodel_type = \"llama\"\nstage = \"instruct\"\nstyle = \"chat\"\ngated = true\nfits = { 24 = \"int8\"",
                "hub = \"meta-llama/Llama-2-13b-chat-hf\"\nmodel_type = \"t5\"\nstage = \"instruct\"\nstyle = \"chat\"\ngated = true\nfaults = [\"heat\"]\nfits = { 48 = \"fp32\", 24 = \"bf16\"",
            ),
            ("hub = \"meta-llama/Llama-2-7b-hf\"", "hub = \"meta-llama/Llama-2-7b-chat-hf\""),
        ],
    );
    assert_eq!(
        words.trim_end(),
        include_str!("golden/suite_faults.txt").trim_end(),
        "the words have changed; they are now\n{words}"
    );
}

#[test]
fn unknown_keys_and_types_are_told_with_their_line() {
    let scratch = tempfile::tempdir().unwrap();
    let words = changed(scratch.path(), &[("gated = true", "gatet = true")]);
    assert!(
        words.contains("models/suite/llama.toml: unknown key `gatet` on line 12 (did you mean `gated`?)"),
        "{words}"
    );
    let words = changed(scratch.path(), &[("stage = \"instruct\"", "stage = \"tuned\"")]);
    assert!(
        words.contains("llama.toml: unknown variant `tuned`")
            && words.contains("line 10")
            && !words.contains("--resume"),
        "{words}"
    );
    let words = changed(scratch.path(), &[("style = \"chat\"", "style = \"talk\"")]);
    assert!(words.contains("unknown variant `talk`, expected one of `chat`, `plain`, `base`"), "{words}");
    let words = changed(scratch.path(), &[("architectures.toml", "architecture.toml")]);
    assert!(words.contains("models/architecture.toml"), "{words}");
    assert!(fail(&["check", "--suite", "/nowhere"]).contains("a suite of models (*.toml) is missing: /nowhere"));
}

/// The exporter reads the same files by the same rule.
#[test]
fn the_exporter_agrees() {
    let tests = Command::new(path(".env/venv/bin/python"))
        .current_dir(path("."))
        .args(["-m", "unittest", "tests/export/test_suite.py"])
        .output()
        .expect("`make setup` makes the environment");
    assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
}
