//! `alike status`: how far a study is, from what lies in its folder.

use std::path::PathBuf;

use alike::config::Study;
use alike::engine::provider::ExecutionProvider;
use alike::presentations::Task;
use alike::store::folder::StudyFolder;
use alike::store::judgments::{self, Piece, in_words, respondent_path};
use alike::store::lock::PartLock;
use alike::store::table::n_rows;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::cli::heartbeat::unix_seconds;
use crate::cli::tables::table;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// A study's output folder
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

pub(crate) fn run(args: &StatusArgs, common: &Common) -> anyhow::Result<()> {
    let folder = StudyFolder::new(&args.out);
    let study = Study::read(&folder.study())?;
    let asked = folder.triplets();
    let n_asked = if asked.is_file() { Some(usize::try_from(n_rows(&asked)?)?) } else { None };
    let respondents = respondents(&study, &folder, n_asked)?;
    let later = [
        ("embeddings", folder.root().join("embeddings").is_dir()),
        ("alignment", folder.alignment().is_file()),
        ("report", folder.report().is_file()),
    ];
    if common.json {
        let later: serde_json::Map<String, Value> =
            later.into_iter().map(|(name, there)| (name.to_owned(), there.into())).collect();
        println!(
            "{}",
            json!({ "study": study.study.name, "triplets": n_asked, "respondents": respondents, "there": later })
        );
        return Ok(());
    }
    let asked = n_asked.map_or_else(|| "not drawn yet".to_owned(), |n| n.to_string());
    println!(
        "{}: triplets {asked}; {}",
        study.study.name,
        later.map(|(name, there)| format!("{name} {}", if there { "there" } else { "not yet" })).join(", ")
    );
    let text = |value: &Value| match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(n) if n.is_f64() => format!("{:.1}", n.as_f64().unwrap_or_default()),
        other => other.to_string(),
    };
    let mut rows = Vec::new();
    for one in &respondents {
        let parts = format!("{} of {}", one["parts_done"], text(&one["parts"]));
        let cells = [text(&one["respondent"]), String::new(), text(&one["state"]), parts, text(&one["missing"])];
        rows.push(cells.into_iter().chain([(); 3].map(|()| String::new())).collect());
        for run in one["runs"].as_array().into_iter().flatten() {
            let silent = run["silent_seconds"].as_u64().map(|seconds| format!(", silent for {seconds} s"));
            let state = text(&run["state"]) + &silent.unwrap_or_default();
            let done = run["done"].as_u64().map(|done| format!("{done} of {}", text(&run["total"])));
            let blank = String::new;
            let cells = [blank(), text(&run["shard"]), state, blank(), blank(), done.unwrap_or_default()];
            rows.push(cells.into_iter().chain([text(&run["rate"]), text(&run["error"])]).collect());
        }
    }
    let header = ["respondent", "shard", "state", "parts", "missing parts", "presentations", "/s", "last error"];
    println!("{}", table(&header, rows.into_iter(), header.len()));
    Ok(())
}

/// What is there and what is told of every respondent.
fn respondents(study: &Study, folder: &StudyFolder, n_asked: Option<usize>) -> anyhow::Result<Vec<Value>> {
    let task = study.triplets.task;
    let simulated = study.simulated.iter().map(|s| (&s.label, study.judge.part_rows_on(ExecutionProvider::Cpu), 1));
    let models = study.models.iter().map(|model| {
        let judge = study.judge_of(model);
        (&model.label, judge.part_rows_on(model.provider), judge.repeats)
    });
    models
        .chain(simulated)
        .map(|(label, part_rows, repeats)| {
            let planned = n_asked.map(|n| n.div_ceil((part_rows / usize::from(repeats)).max(1)));
            respondent(label, task, folder, planned)
        })
        .collect()
}

fn respondent(label: &str, task: Task, folder: &StudyFolder, planned: Option<usize>) -> anyhow::Result<Value> {
    let place = respondent_path(&folder.judgments(task), label);
    let there = judgments::pieces(&place)?;
    let done = there.iter().map(|piece| piece.parts.len()).sum::<usize>();
    // Flags can say otherwise than the study: the files know.
    let n_parts = judgments::parts_in_all(&there)?.or(planned);
    let missing = n_parts.map(|n| gaps(&there, n));
    let running = PartLock::is_held(&place)?;
    let runs: Vec<Value> = folder
        .states(label)
        .into_iter()
        .filter_map(|path| serde_json::from_slice::<Value>(&fs_err::read(path).ok()?).ok())
        .map(|mut run| {
            if run["state"] == "running" {
                // Whoever was killed could not say so, and holds no lock any more.
                if !running {
                    run["state"] = "ended without a word".into();
                }
                let silent = run["updated"].as_u64().map(|then| unix_seconds().saturating_sub(then));
                run["silent_seconds"] = silent.filter(|seconds| !running || *seconds > 90).into();
            }
            run
        })
        .collect();
    let whole = n_parts == Some(done) && missing.as_ref().is_some_and(Vec::is_empty);
    let state = match () {
        () if whole => "done",
        () if running => "running",
        () if done == 0 && runs.is_empty() => "not begun",
        () => "incomplete",
    };
    Ok(json!({
        "respondent": label, "state": state, "parts_done": done, "parts": n_parts, "runs": runs,
        "missing": missing.map(|gaps| gaps.join(", ")).filter(|gaps| !gaps.is_empty() && done > 0),
    }))
}

/// The parts that no file holds, in words.
fn gaps(there: &[Piece], n_parts: usize) -> Vec<String> {
    let mut next = 0;
    let mut gaps = Vec::new();
    for range in there.iter().map(|piece| piece.parts.clone()).chain(std::iter::once(n_parts..n_parts)) {
        if range.start > next {
            gaps.push(in_words(&(next..range.start)));
        }
        next = next.max(range.end);
    }
    gaps
}
