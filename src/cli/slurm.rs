//! `alike slurm`: job scripts for a study, to be looked over and submitted by hand.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::config::{Model, Study};
use alike::engine::provider::ExecutionProvider;
use alike::error::Error;
use alike::model_folder::ModelFolder;
use anyhow::Context;
use clap::Args;

use crate::cli::judge::chosen;
use crate::cli::parts::Target;
use crate::cli::shard::Shard;
use crate::cli::{Common, Existing, sample};

#[derive(Debug, Args)]
pub(crate) struct SlurmArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,
    /// Output folder instead of the study's own; the scripts go to its folder `slurm`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Tasks for each model; one with fewer parts gets as many as it has parts
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(8).expect("not 0"))]
    shards: NonZeroUsize,
    /// Only the models with these labels, without the job that finishes the study; may be repeated
    #[arg(long, value_name = "LABEL")]
    only: Vec<String>,
    /// Time limit of a job, as sbatch takes it
    #[arg(long, default_value = "04:00:00")]
    time: String,
    /// Replace scripts that are there
    #[arg(long)]
    force: bool,
    /// Options of sbatch for the judging, such as `-- --partition=gpu --mem=32G`
    #[arg(last = true, value_name = "SBATCH-OPTION")]
    options: Vec<String>,
}

const JUDGE: &str = include_str!("slurm/judge.sbatch");
const FINISH: &str = include_str!("slurm/finish.sbatch");
/// How a job starts alike and what it does with its exit code: the end of both scripts.
const START: &str = include_str!("slurm/start.sh");
const SUBMIT: &str = include_str!("slurm/submit");
const THEN_FINISH: &str = include_str!("slurm/then_finish");

/// What judging wants beside the model's files: SmolLM2 took 0.6 GB on the CPU; logits of wide passes on a GPU are not in it.
const MEMORY_BESIDE_WEIGHTS_GB: u64 = 4;

pub(crate) fn run(args: &SlurmArgs, common: &Common) -> anyhow::Result<()> {
    let study = Study::read(&args.study)?;
    let models = chosen(&study, &args.only)?;
    if models.is_empty() {
        return Err(Error::TooFew { what: "models of the study".into(), found: 0, needed: 1 }.into());
    }
    let tasks = tasks(&study, &models, args.shards.get())?;
    let on_gpu = |model: &&&Model| model.provider != ExecutionProvider::Cpu;
    let n_on_gpu = models.iter().filter(on_gpu).count();
    if n_on_gpu > 0 && n_on_gpu < models.len() {
        tracing::warn!(
            "{} of {} models run on the CPU, and their tasks ask for a GPU as all do: write scripts of their own with --only and --out, or judge them by hand",
            models.len() - n_on_gpu,
            models.len()
        );
    }

    let out = std::path::absolute(args.out.as_ref().unwrap_or(&study.study.out))?;
    if text(&out)?.contains(['%', '\\']) {
        let expected = "a folder without % and \\, which Slurm reads as something else in names of logs";
        let (field, found) = ("out".into(), out.display().to_string());
        return Err(Error::Setting { field, found, expected: expected.into() }.into());
    }
    let program = std::env::current_exe()?;
    let study_path = std::path::absolute(&args.study)?;
    let fields = [
        ("name", for_sbatch(&study.study.name)?),
        ("last", (tasks.len() - 1).to_string()),
        ("n_tasks", tasks.len().to_string()),
        ("tasks", tasks.iter().map(|task| format!("    '{task}'")).collect::<Vec<_>>().join("\n")),
        ("time", for_sbatch(&args.time)?),
        ("memory", format!("{}G", memory_gb(&models)?)),
        ("options", option_lines(&args.options, n_on_gpu > 0)?),
        ("device", if n_on_gpu > 0 { " --device auto" } else { "" }.to_owned()),
        ("alike", for_bash(text(&program)?)?),
        ("study", for_bash(text(&study_path)?)?),
        ("out", for_bash(text(&out)?)?),
        ("start", START.trim_end().to_owned()),
    ];
    // The rest of the line wants the answers of all models, and would ask those that are left out here.
    let scripts = match args.only.is_empty() {
        true => vec![
            ("judge.sbatch", JUDGE.to_owned()),
            ("finish.sbatch", FINISH.to_owned()),
            ("submit", [SUBMIT, THEN_FINISH].concat()),
        ],
        false => vec![("judge.sbatch", JUDGE.to_owned()), ("submit", SUBMIT.to_owned())],
    };
    let folder = out.join("slurm");
    if let Some((name, _)) = scripts.iter().find(|(name, _)| !args.force && folder.join(name).exists()) {
        return Err(Error::Exists { path: folder.join(name) }.into());
    }
    for (name, template) in &scripts {
        let script = filled(template, &fields);
        alike::store::table::write_atomically(&folder.join(name), |file| {
            std::io::Write::write_all(file, script.as_bytes())
        })?;
    }

    let names: Vec<&str> = scripts.iter().map(|(name, _)| *name).collect();
    if common.json {
        println!("{}", serde_json::json!({ "folder": folder, "scripts": names, "tasks": tasks }));
    } else {
        println!("{} tasks for {} models → {}: {}", tasks.len(), models.len(), folder.display(), names.join(", "));
        println!("look them over, then: bash {}", for_bash(text(&folder.join("submit"))?)?);
    }
    Ok(())
}

/// `SHARD LABEL` of every task: all shards of the first model, then those of the next.
fn tasks(study: &Study, models: &[&Model], n_shards: usize) -> anyhow::Result<Vec<String>> {
    let concepts = Concepts::read_csv(&study.concepts.path)?;
    let asked = sample::draw(study, &concepts)?;
    let task = study.triplets.task;
    let mut tasks = Vec::new();
    for model in models {
        let judge = study.judge_of(model);
        let target = Target {
            folder: &study.folder().judgments(task),
            label: &model.label,
            concepts: &concepts,
            task,
            presentations: &asked,
            part_rows: judge.part_rows_on(model.provider),
            repeats: judge.repeats,
            shard: Shard::WHOLE,
            existing: Existing::RESUME,
        };
        let (label, n_parts) = (&model.label, target.n_parts());
        if n_parts < n_shards {
            tracing::warn!(
                "{label}: {n_parts} parts, so {n_parts} tasks and not {n_shards}; a smaller part_rows makes more parts"
            );
        }
        let of = n_shards.min(n_parts);
        tasks.extend((1..=of).map(|index| format!("{index}/{of} {label}")));
    }
    Ok(tasks)
}

/// Memory for the model with the largest files.
fn memory_gb(models: &[&Model]) -> anyhow::Result<u64> {
    let mut largest = 0;
    for model in models {
        let graph = ModelFolder::open(&model.path)?.graph;
        let mut bytes = 0;
        for entry in fs_err::read_dir(graph.parent().unwrap_or(Path::new(".")))? {
            // Weights may be links into a cache.
            bytes += fs_err::metadata(entry?.path())?.len();
        }
        largest = largest.max(bytes);
    }
    Ok(largest.div_ceil(1 << 30) + MEMORY_BESIDE_WEIGHTS_GB)
}

/// The lines of what was asked for on the command line, and of a GPU where nobody asked for one.
fn option_lines(options: &[String], on_gpu: bool) -> anyhow::Result<String> {
    let asks_for_gpus = |option: &String| ["--gres", "--gpus", "-G"].iter().any(|flag| option.starts_with(flag));
    let mut lines = String::new();
    if on_gpu && !options.iter().any(asks_for_gpus) {
        lines += "#SBATCH --gres=gpu:1\n";
    }
    if !options.is_empty() {
        let options: anyhow::Result<Vec<String>> = options.iter().map(|option| for_sbatch(option)).collect();
        lines += &format!("#SBATCH {}\n", options?.join(" "));
    }
    Ok(lines)
}

/// A template with the values in the places of their «names».
fn filled(template: &str, fields: &[(&str, String)]) -> String {
    let mut pieces = template.split('«');
    let mut script = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('»').expect("our templates close what they open");
        let (_, value) = fields.iter().find(|(field, _)| *field == name).expect("our templates name what there is");
        script += value;
        script += rest;
    }
    script
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8, and cannot be named in a script", path.display()))
}

/// A word of bash that stands for itself.
fn for_bash(word: &str) -> anyhow::Result<String> {
    check_one_line(word)?;
    Ok(if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) })
}

/// A word of a line of options, where sbatch takes what follows a backslash as it is.
fn for_sbatch(word: &str) -> anyhow::Result<String> {
    check_one_line(word)?;
    let escaped = |c: char| [(!is_plain(c)).then_some('\\'), Some(c)].into_iter().flatten();
    Ok(word.chars().flat_map(escaped).collect())
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "/._-+=,:@%".contains(c)
}

fn check_one_line(word: &str) -> anyhow::Result<()> {
    anyhow::ensure!(!word.is_empty() && !word.contains(char::is_control), "{word:?} cannot stand in a script");
    Ok(())
}
