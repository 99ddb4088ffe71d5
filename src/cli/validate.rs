//! `alike validate`: whether what was written is whole.

use std::path::PathBuf;

use alike::store::folder::StudyFolder;
use alike::store::judgments::{self, Respondent, Validation};
use alike::store::table::checked_metadata;
use clap::Args;

use crate::cli::Common;

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// A study's output folder, a folder of judgments, or one respondent in it
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(crate) fn run(args: &ValidateArgs, common: &Common) -> anyhow::Result<()> {
    let mut n_faults = 0;
    let mut summary = Vec::new();
    for Respondent { folder, label, task } in judgments::respondents(&args.path)? {
        let found = judgments::validate(&folder, task, &label)?;
        n_faults += found.faults.len();
        if common.json {
            summary.push(serde_json::json!({
                "respondent": label, "task": task, "folder": folder, "rows": found.n_rows, "files": found.n_files,
                "parts": found.n_parts, "of": found.of, "faults": found.faults,
            }));
        } else {
            print(&label, &found);
        }
    }
    let (mut n_tables, mut faults) = (0, Vec::new());
    for path in tables(&StudyFolder::new(&args.path))? {
        n_tables += 1;
        faults.extend(checked_metadata(&path).err().map(|error| error.to_string()));
    }
    n_faults += faults.len();
    if common.json {
        println!("{}", serde_json::json!({ "respondents": summary, "tables": n_tables, "faults": faults }));
    } else {
        if n_tables > 0 {
            println!("{n_tables} other tables: {}", if faults.is_empty() { "whole" } else { "not all whole" });
        }
        faults.iter().for_each(|fault| println!("  {fault}"));
    }
    anyhow::ensure!(n_faults == 0, "{} is not whole: {n_faults} faults", args.path.display());
    Ok(())
}

fn print(label: &str, found: &Validation) {
    let of = found.of.map(|of| format!(" of {of}")).unwrap_or_default();
    let state = if found.faults.is_empty() { "whole" } else { "not whole" };
    println!("{label}: {} judgments, {}{of} parts in {} files: {state}", found.n_rows, found.n_parts, found.n_files);
    found.faults.iter().for_each(|fault| println!("  {fault}"));
}

/// The tables of a study beside its judgments.
fn tables(folder: &StudyFolder) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for place in [folder.root().to_owned(), folder.root().join("embeddings"), folder.root().join("learning_curves")] {
        // A folder of judgments has its files in folders of its own.
        let is_respondent = place.file_name().is_some_and(|name| name.to_string_lossy().starts_with("respondent="));
        if place.is_dir() && !is_respondent {
            for entry in fs_err::read_dir(place)? {
                let path = entry?.path();
                if path.extension().is_some_and(|e| e == "parquet") {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}
