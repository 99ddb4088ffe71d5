//! What a study's output folder holds, read into what the page shows. Fits nothing but the maps.

mod bench;
mod curves;
mod ingredients;
pub(super) mod maps;
mod runs;
mod structure;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::alignment::agreement::{Agreement, AgreementTally};
use crate::concepts::Concepts;
use crate::config::{BUILT_IN_REFERENCE, FitName, RegressFile, Response, Study};
use crate::error::{Error, Result};
use crate::judgments::{ChoiceCounts, ChoiceTally, Quality, QualityTally};
use crate::report::data::{Compared, ConceptLabel, FitSummary, Kind, ReportData, Respondent};
use crate::store;
use crate::store::embedding::Embedding;
use crate::store::folder::StudyFolder;

/// Reads an output folder: a study's, or that of `alike regress` or `alike bench` alone.
///
/// # Errors
/// [`Error::Missing`] naming the stage that has not run, and those of the readers.
pub fn load(folder: &StudyFolder) -> Result<ReportData> {
    let file = match folder.regress().is_file() {
        true => Some(read_toml::<RegressFile>(folder.regress())?),
        false => None,
    };
    let mut data = match (folder.study().is_file(), &file) {
        (false, None) if !folder.bench().is_file() => return Err(missing("the study", folder.study())),
        (false, None) => ReportData { title: "Benchmark".into(), ..ReportData::default() },
        (false, Some(file)) => ReportData {
            title: file.report.title.clone(),
            study: file.study.name.clone(),
            provenance: vec![("alike".to_owned(), env!("CARGO_PKG_VERSION").to_owned())],
            ..ReportData::default()
        },
        (true, _) => judged(folder)?,
    };
    if let Some(file) = file {
        let sources = file.regress.scores.iter().chain(&file.regress.tables);
        let sources: Vec<String> = sources.map(|path| path.display().to_string()).collect();
        data.provenance.push(("scores and properties of models".to_owned(), sources.join(", ")));
        let ingredients = ingredients::ingredients(folder, file)?;
        let others = ingredients.not_fitted.iter().map(|(model, columns)| format!("{model} (no {columns})"));
        let others: Vec<String> = others.collect();
        if !others.is_empty() {
            data.provenance.push(("left out of the mixed model".to_owned(), others.join("; ")));
        }
        data.ingredients = Some(ingredients);
    }
    if folder.bench().is_file() {
        let bench = store::bench::read(&folder.bench())?;
        data.provenance.extend(bench::provenance(&bench));
        data.bench = Some(bench);
    }
    Ok(data)
}

fn missing(what: &'static str, path: PathBuf) -> Error {
    let hint = "run `alike run STUDY.toml` first, or `alike regress` or `alike bench`, and give its output folder; each makes what is not there";
    Error::Missing { what, path, hint: hint.into() }
}

/// What a stage has left, or which stage has not run.
fn stored<T>(what: &'static str, path: PathBuf, read: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    if !path.is_file() {
        return Err(missing(what, path));
    }
    read(&path)
}

fn read_toml<T: DeserializeOwned>(path: PathBuf) -> Result<T> {
    toml::from_str(&fs_err::read_to_string(&path)?).map_err(|e| Error::Format {
        path,
        found: e.message().to_owned(),
        expected: "a file that this alike wrote".into(),
    })
}

/// What respondents were asked and answered, and what became of it.
fn judged(folder: &StudyFolder) -> Result<ReportData> {
    let study: Study = read_toml(folder.study())?;
    let alignment = stored("the alignment", folder.alignment(), store::alignment::read)?;

    let loader = Loader { folder, study: &study };
    let mut respondents = Vec::new();
    let mut embeddings = Vec::new();
    for (label, kind, description) in loader.labels() {
        let mut fits = Vec::new();
        for loss in &study.embed.loss {
            let path = folder.embedding(&label, loss.name());
            let embedding = stored("a respondent’s embedding", path, store::embedding::read)?;
            fits.push(fit_summary(*loss, &embedding.fit));
            embeddings.push((label.clone(), loss.name(), embedding));
        }
        respondents.push(Respondent { label, kind, description, fits, ..Respondent::default() });
    }
    let concepts = match embeddings.first() {
        Some((.., embedding)) => Concepts::new(embedding.concepts())?,
        None => return Err(missing("a respondent", folder.judgments(study.triplets.task))),
    };
    let task = study.triplets.task;
    let n_triplets = stored("the list of triplets", folder.triplets(), store::triplets::count)?;
    let mut provenance = vec![
        ("study".to_owned(), study.study.name.clone()),
        ("seed".to_owned(), study.study.seed.to_string()),
        ("alike".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("task".to_owned(), task.name().to_owned()),
        ("wording".to_owned(), study.wording()?.question),
        ("system text".to_owned(), study.wording()?.system),
    ];
    let reference = stored("the reference", folder.reference(), store::embedding::read)?;
    let (mut choices, mut curves) = (Vec::new(), Vec::new());
    for respondent in &mut respondents {
        let judged = loader.judged(&respondent.label, &concepts, &reference)?;
        (respondent.quality, respondent.agreement) = (judged.quality, judged.agreement);
        choices.push(judged.choices);
        curves.extend(curves::curve(&folder.learning_curve(&respondent.label), &respondent.label)?);
        let run = loader.run_record(&respondent.label);
        let fits: Vec<PathBuf> =
            study.embed.loss.iter().map(|loss| folder.embedding(&respondent.label, loss.name())).collect();
        respondent.run = runs::run(&run, &fits);
        if let Some(text) = run_text(&run) {
            provenance.push((respondent.label.clone(), text));
        }
    }

    let reference_name = alignment.first().map(|row| row.reference.clone()).unwrap_or_default();
    let mut data = ReportData {
        title: study.report.title.clone(),
        study: study.study.name.clone(),
        task,
        n_triplets,
        concepts: concepts
            .iter()
            .map(|c| ConceptLabel { name: c.name.clone(), category: c.category.clone() })
            .collect(),
        reference: reference_name,
        n_subjects: study.align.subjects.len(),
        reference_built_in: study.align.reference == BUILT_IN_REFERENCE,
        respondents,
        alignment,
        compared: compared(&study, &choices),
        curves,
        provenance,
        ..ReportData::default()
    };
    let shown = structure::shown(&data, &reference, &embeddings);
    let maps = maps::maps(&shown)?;
    let dissimilarities = structure::dissimilarities(&data.concepts, &shown);
    let dot_products: Vec<&str> = study
        .embed
        .loss
        .iter()
        .filter(|loss| matches!(loss, FitName::DotProducts(_)))
        .map(|loss| loss.name())
        .collect();
    let sparse = structure::non_negative(&data, &shown, &embeddings, &dot_products);
    (data.maps, data.dissimilarities, data.sparse) = (maps, dissimilarities, sparse);
    Ok(data)
}

/// Every two respondents' choices beside each other, in the order of [`Loader::labels`].
fn compared(study: &Study, choices: &[ChoiceCounts]) -> Vec<Compared> {
    let labels = study.models.iter().map(|m| &m.label).chain(study.simulated.iter().map(|s| &s.label));
    let all: Vec<(&String, &ChoiceCounts)> = labels.zip(choices).collect();
    let pair = |one: &(&String, &ChoiceCounts), other: &(&String, &ChoiceCounts)| Compared {
        labels: [one.0.clone(), other.0.clone()],
        same: one.1.same(other.1),
    };
    (1..all.len()).flat_map(|i| all[..i].iter().map(|one| pair(one, &all[i])).collect::<Vec<_>>()).collect()
}

/// What a respondent's judgments say.
struct Judged {
    quality: Quality,
    agreement: Agreement,
    choices: ChoiceCounts,
}

struct Loader<'a> {
    folder: &'a StudyFolder,
    study: &'a Study,
}

impl Loader<'_> {
    fn labels(&self) -> Vec<(String, Kind, String)> {
        let model = |m: &crate::config::Model| {
            let run = self.run_record(&m.label);
            let text = |name: &str| run[name].as_str().unwrap_or("unknown").to_owned();
            let (precision, provider) = (text("precision"), text("provider"));
            let description = match run["kind"] == "encoder" {
                true => format!("sentence encoder, {precision}, answers by cosine on {provider}"),
                false => format!("language model, {precision}, asked in {} style on {provider}", text("style")),
            };
            (m.label.clone(), Kind::Model, description)
        };
        let simulated = |s: &crate::config::Simulated| {
            let agrees = |what: &str, agreement: f64| {
                format!(
                    "simulated: has the reference's {what} and agrees with it in {:.0} % of answers",
                    100.0 * agreement
                )
            };
            let mut description = match (s.response, s.agreement) {
                (Response::NoiseFree, _) => "simulated: has the reference's geometry and never errs".to_owned(),
                (Response::CoinFlip, _) => "simulated: flips a coin".to_owned(),
                (Response::Logistic, agreement) => agrees("geometry", agreement.unwrap_or_default()),
                (Response::Softmax, Some(agreement)) => agrees("dot products", agreement),
                (Response::Softmax, None) => "simulated: softmax over the reference's dot products".to_owned(),
            };
            if s.lapses() > 0.0 {
                description += &format!("; {:.0} % of its answers are lapses", 100.0 * s.lapses());
            }
            (s.label.clone(), Kind::Simulated, description)
        };
        self.study.models.iter().map(model).chain(self.study.simulated.iter().map(simulated)).collect()
    }

    /// What was measured while a respondent was asked; of several shards, their sums.
    fn run_record(&self, label: &str) -> Value {
        let read = |path: PathBuf| serde_json::from_slice::<Value>(&fs_err::read(path).ok()?).ok();
        runs::together(self.folder.run_records(label).into_iter().filter_map(read))
    }

    /// How a respondent's judgments were given, and how many the reference would give too.
    fn judged(&self, label: &str, concepts: &Concepts, reference: &Embedding) -> Result<Judged> {
        let task = self.study.triplets.task;
        let row = |id: u32| reference.names.iter().position(|name| name == concepts.name(id));
        let rows: Vec<Option<usize>> = (0..).map(row).take(concepts.len()).collect();
        let mut quality = QualityTally::new(task, concepts.len());
        let mut agreement = AgreementTally::new(reference.coordinates.as_ref())?;
        let mut choices = ChoiceTally::new(concepts.len());
        store::judgments::each(&self.folder.judgments(task), task, label, concepts, |judgment| {
            quality.add(&judgment, |id| concepts.name(id));
            choices.add(&judgment);
            let pairs = judgment.presentation.pairs().into_iter();
            let pairs: Option<Vec<_>> = pairs.map(|[a, b]| Some([rows[a as usize]?, rows[b as usize]?])).collect();
            if let (Some(pairs), Some(chosen)) = (pairs, judgment.chosen) {
                agreement.add(&pairs, chosen);
            }
        })?;
        Ok(Judged { quality: quality.finish(), agreement: agreement.agreement, choices: choices.finish() })
    }
}

/// How a model was run, in one line.
fn run_text(run: &Value) -> Option<String> {
    let number = |name: &str| run[name].as_f64();
    let rate = number("triplets_per_second")?;
    let runtime = run["runtime"].as_str().unwrap_or("unknown");
    if run["kind"] == "encoder" {
        return Some(format!(
            "{rate:.0} triplets/s; {} concepts embedded once, {} pooling, width {}, template {}, cosine temperature {}; ONNX \
             Runtime {runtime}",
            number("concepts_embedded").unwrap_or_default(),
            run["pooling"].as_str().unwrap_or("unknown"),
            number("width").unwrap_or_default(),
            run["template"],
            number("cosine_temperature").unwrap_or_default(),
        ));
    }
    let parity = run["self_test"]["max_nats"]
        .as_f64()
        .map(|p| format!(", sharing prefixes changed log p by at most {p:.1e} nats"));
    Some(format!(
        "{rate:.1} triplets/s; {} tokens computed where one request per option would take {}; ONNX Runtime {runtime}{}",
        number("tokens_computed").unwrap_or_default(),
        number("tokens_logical").unwrap_or_default(),
        parity.unwrap_or_default()
    ))
}

fn fit_summary(fit: FitName, record: &Value) -> FitSummary {
    let number = |name: &str| record[name].as_f64();
    let notes = record["notes"].as_array().into_iter().flatten();
    FitSummary {
        fit: fit.name().to_owned(),
        loss: record["loss"].as_str().unwrap_or(fit.name()).to_owned(),
        dims: record["dims"].as_u64().and_then(|d| usize::try_from(d).ok()).unwrap_or_default(),
        penalty: number("l2").or_else(|| number("lambda")).unwrap_or_default(),
        // Odd-one-out answers as they are, of three places; all other losses take anchored judgments.
        guessing: if matches!(fit, FitName::DotProducts(_)) { 1.0 / 3.0 } else { 0.5 },
        heldout_accuracy: number("heldout_accuracy"),
        train_accuracy: number("train_accuracy"),
        participation_ratio: number("participation_ratio").unwrap_or(f64::NAN),
        converged: record["converged"].as_bool().unwrap_or_default(),
        notes: notes.filter_map(|n| n.as_str().map(str::to_owned)).collect(),
    }
}
