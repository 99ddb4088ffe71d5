//! `alike run`: the whole line for every respondent of a study.

use std::path::PathBuf;

use alike::concepts::Concepts;
use alike::config::{FitName, RegressFile, Study};
use alike::engine::provider::ExecutionProvider;
use alike::presentations::Presentation;
use alike::reference::{Matching, Reference};
use alike::store::choices::{self, Choices};
use alike::store::judgments::respondent_path;
use alike::store::manifest::Fingerprint;
use clap::Args;

use crate::cli::align::{Fitted, align_fit};
use crate::cli::parts::Target;
use crate::cli::people::People;
use crate::cli::progress::Progress;
use crate::cli::shard::Shard;
use crate::cli::{Common, Existing, embed, is_current, judge, regress, report, sample, simulate};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    study: PathBuf,
    /// Output folder instead of the study's own
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Make everything again
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &RunArgs, common: &Common) -> anyhow::Result<()> {
    let study = crate::cli::open_study(&args.study, args.out.as_ref())?;
    let existing = Existing { resume: !args.force, force: args.force };
    let concepts = Concepts::read_csv(&study.concepts.path)?;
    let asked = sample::study_triplets(&study, &concepts, existing)?;
    let reference = study_reference(&study, &concepts)?;
    let people = People::beside(reference.clone(), &study.align, &concepts)?;
    tracing::info!(
        "{}: {} concepts, {} triplets, reference `{}`",
        study.study.name,
        concepts.len(),
        asked.len(),
        reference.name
    );

    judge_all(&study, &concepts, &asked, &reference, existing, common)?;
    let answered = embed_all(&study, &concepts, existing)?;
    align_all(&study, &answered, &people, existing, common)?;
    if let Some(section) = &study.regress {
        let file = RegressFile { study: study.study.clone(), regress: section.clone(), report: study.report.clone() };
        regress::answer(section, &format!("alike regress {}", args.study.display()))?.write(&file)?;
    }
    report::Page::write(&study.folder())?.tell(common);
    Ok(())
}

/// The study's reference; its coordinates are written beside the results, so that the page needs nothing else.
fn study_reference(study: &Study, concepts: &Concepts) -> anyhow::Result<Reference> {
    let align = &study.align;
    let matching = Matching { map: align.map.clone(), allow_missing: align.allow_missing };
    let reference = simulate::read_reference(&align.reference, align.names.as_deref(), concepts, &matching)?;
    let path = study.folder().reference();
    let matched: Vec<&alike::concepts::Concept> = concepts.iter().collect();
    let matched = reference.matched.iter().map(|i| matched[*i]);
    let fingerprint = Fingerprint::default().with("reference", &reference.digest).with("concepts", concepts.digest());
    if !is_current(&path, &fingerprint, Existing::RESUME) {
        alike::store::embedding::write(&path, matched, reference.coordinates.as_ref(), None, &fingerprint)?;
    }
    Ok(reference)
}

fn judge_all(
    study: &Study,
    concepts: &Concepts,
    presentations: &[Presentation],
    reference: &Reference,
    existing: Existing,
    common: &Common,
) -> anyhow::Result<()> {
    let task = study.triplets.task;
    let (folder, shard) = (study.folder().judgments(task), Shard::WHOLE);
    for subject in &study.simulated {
        let (label, part_rows) = (&subject.label, study.judge.part_rows_on(ExecutionProvider::Cpu));
        let target =
            Target { folder: &folder, label, concepts, task, presentations, part_rows, repeats: 1, shard, existing };
        simulate::simulate(subject, reference, study.study.seed, target)?;
    }
    for model in &study.models {
        let (label, part_rows) = (&model.label, study.judge.part_rows_on(model.provider));
        let repeats = study.judge_of(model).repeats;
        let target =
            Target { folder: &folder, label, concepts, task, presentations, part_rows, repeats, shard, existing };
        judge::judge(&judge::study_job(study, model, target), common)?;
    }
    Ok(())
}

fn labels(study: &Study) -> Vec<&str> {
    study.models.iter().map(|m| m.label.as_str()).chain(study.simulated.iter().map(|s| s.label.as_str())).collect()
}

fn embed_all<'a>(study: &'a Study, concepts: &Concepts, existing: Existing) -> anyhow::Result<Vec<(&'a str, Choices)>> {
    let mut answered = Vec::new();
    for label in labels(study) {
        let folder = respondent_path(&study.folder().judgments(study.triplets.task), label);
        let choices = choices::read(&folder, Some(concepts.clone()), study.embed.soft_column.as_deref())?;
        embed::embed_study(study, label, &choices, existing)?;
        answered.push((label, choices));
    }
    Ok(answered)
}

fn align_all(
    study: &Study,
    answered: &[(&str, Choices)],
    people: &People,
    existing: Existing,
    common: &Common,
) -> anyhow::Result<()> {
    let folder = &study.folder();
    let fits: Vec<(&str, &Choices, FitName, PathBuf)> = answered
        .iter()
        .flat_map(|(label, choices)| {
            study.embed.loss.iter().map(move |loss| (*label, choices, *loss, folder.embedding(label, loss.name())))
        })
        .collect();
    let mut fingerprint = people.fingerprint(&study.align, study.study.seed);
    for (.., path) in &fits {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        fingerprint = fingerprint.with(&name, alike::model_folder::file_digest(path)?);
    }
    let table = folder.alignment();
    if is_current(&table, &fingerprint, existing) {
        return Ok(());
    }
    let mut rows = Vec::new();
    let mut progress = Progress::new("align", fits.len(), "fits", common);
    for (label, choices, loss, path) in &fits {
        let settings = study.fit_settings(*loss);
        let fitted = Fitted { label, fit: loss.name(), path, choices, settings };
        rows.extend(align_fit(&fitted, people, &study.align, study.study.seed)?);
        progress.advance(1);
    }
    progress.finish();
    alike::store::alignment::write(&table, &rows, &fingerprint)?;
    tracing::info!("aligned {} fits with `{}` → {}", fits.len(), people.reference.name, table.display());
    Ok(())
}
