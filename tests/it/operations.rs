//! docs/operations.md: its commands, run in order as they stand there. Those for a cluster are run by `make test-slurm`.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::path::Path;
use std::process::Command;

use crate::study::small_study;
use crate::support::{path, succeed, tiny};

#[test]
fn the_commands_of_the_page_for_clusters_do_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (small, _) = small_study(folder.path(), &tiny("scoring"));
    let second = format!("[[models]]\npath = {:?}\nlabel = \"second\"\n[judge]", tiny("standard"));
    let study = std::fs::read_to_string(small).unwrap().replacen("[judge]", &second, 1);
    let study = study.replace("name = \"small\"", "name = \"study\"").replace("\"tiny\"", "\"first\"");
    std::fs::write(folder.path().join("study.toml"), study.replace("part_rows = 150", "part_rows = 20")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_alike")).parent().unwrap();
    let search = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());

    let page = std::fs::read_to_string(path("docs/operations.md")).unwrap();
    let blocks: Vec<(&str, &str)> = page
        .split("\n```sh")
        .skip(1)
        .map(|block| {
            let (text, _) = block.split_once("\n```").unwrap();
            text.split_once('\n').unwrap()
        })
        .collect();
    assert!(blocks.iter().all(|(kind, _)| ["", " slurm"].contains(kind)), "a kind of block that no test runs");
    let here: Vec<&str> = blocks.iter().filter(|(kind, _)| kind.is_empty()).map(|(_, commands)| *commands).collect();
    assert!(here.len() >= 8);
    for commands in here {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(folder.path())
            .env("PATH", &search)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}\n{}\n{words}", String::from_utf8_lossy(&output.stdout));
        if commands.starts_with("truncate") {
            assert_eq!(words.matches("it is made again").count(), 1, "{words}");
        }
    }
    let out = folder.path().join("out/study");
    assert!(
        succeed(&["validate", out.to_str().unwrap()])
            .contains("first: 400 judgments, 20 of 20 parts in 1 files: whole")
    );
    assert!(out.join("report.html").is_file() && out.join("slurm/submit").is_file());
}
