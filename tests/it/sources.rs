//! Who may know what: a library is named only in the modules that own it.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use crate::support::{files_below, path};

/// Library and the only places that name it.
const OWNERS: [(&str, &[&str]); 8] = [
    ("ort", &["engine/provider.rs", "engine/session", "engine/kv_cache.rs", "engine/ceilings.rs"]),
    ("tokenizers", &["prompts/tokens.rs"]),
    ("minijinja", &["prompts/chat_template", "report/page.rs"]),
    ("arrow", &["store/"]),
    ("parquet", &["store/"]),
    ("clap", &["main.rs", "cli/"]),
    ("indicatif", &["cli/"]),
    ("comfy_table", &["cli/"]),
];

fn sources() -> Vec<PathBuf> {
    files_below(&path("src")).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

#[test]
fn libraries_stay_with_their_owners() {
    let root = path("src");
    let files = sources();
    assert!(files.len() > 30);
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for (library, owners) in OWNERS {
            let named = |line: &&str| {
                line.match_indices(&format!("{library}::"))
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
            };
            let uses = code.iter().any(named);
            assert!(!uses || owners.iter().any(|owner| name.starts_with(owner)), "{name} uses {library}");
        }
    }
}

/// The stages, in order.
const LINE: [&str; 15] = [
    "concepts",
    "triplets",
    "odd_one_out",
    "presentations",
    "prompts",
    "engine",
    "generation",
    "scoring",
    "answers",
    "judge",
    "embedding",
    "alignment",
    "map",
    "bench",
    "report",
];

/// Stages know the stages before them, never those after.
#[test]
fn the_line_is_straight() {
    for file in sources() {
        let name = file.strip_prefix(path("src")).unwrap().to_str().unwrap().to_owned();
        let module = name.split(['/', '.']).next().unwrap();
        let Some(at) = LINE.iter().position(|stage| *stage == module) else { continue };
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for later in &LINE[at + 1..] {
            let named =
                code.lines().any(|line| line.starts_with("use ") && line.contains(&format!("crate::{later}::")));
            assert!(!named, "{name} knows {later}");
        }
    }
}
