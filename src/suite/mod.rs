//! The suite: the paper's models as data, one TOML for each family, held against the table of their ingredients.

mod check;
mod precision;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::concepts::csv_error;
use crate::config::toml_error;
use crate::error::{Error, Result};
use crate::prompts::template::Style;

pub use precision::Precision;

/// One family's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FamilyFile {
    /// Its name in the table of ingredients.
    family: String,
    /// That table, relative to this file.
    ingredients: PathBuf,
    /// The known model types, relative to this file.
    architectures: PathBuf,
    /// What is known to go wrong, by a name that models refer to.
    #[serde(default)]
    faults: BTreeMap<String, Fault>,
    models: Vec<Entry>,
}

/// Something that is known to go wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What, and what to do about it.
    pub what: String,
    /// Precisions in which it goes wrong.
    #[serde(default)]
    pub avoid: Vec<Precision>,
}

/// One model of the suite.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name among respondents, and its row in the table of ingredients.
    pub label: String,
    /// That row, where it has a name that no respondent can have.
    row: Option<String>,
    /// Its name on the hub.
    pub hub: String,
    /// What its config calls its architecture.
    pub model_type: String,
    /// Its last training stage.
    pub stage: Stage,
    /// How it is spoken to.
    pub style: Style,
    /// For a checkpoint that is spoken to in chat and ships no template: the template, relative to this file.
    pub chat_template: Option<PathBuf>,
    /// Whether the hub asks for an account that has accepted the license.
    #[serde(default)]
    pub gated: bool,
    /// Whether the checkpoint brings classes of its own.
    #[serde(default)]
    pub remote_code: bool,
    /// Names of its faults.
    #[serde(default)]
    pub faults: Vec<String>,
    /// By memory in GB, the most exact precision that fits ([`Precision::best`]); nothing where none does.
    pub fits: BTreeMap<String, Precision>,
}

impl Entry {
    fn row(&self) -> &str {
        self.row.as_ref().unwrap_or(&self.label)
    }
}

/// How far a model was trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Pretraining.
    Base,
    /// Supervised fine-tuning.
    Sft,
    /// Direct preference optimisation.
    Dpo,
    /// Reinforcement learning with verifiable rewards.
    Rlvr,
    /// Tuned, in steps that were not released apart.
    Instruct,
}

impl Stage {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Sft => "sft",
            Self::Dpo => "dpo",
            Self::Rlvr => "rlvr",
            Self::Instruct => "instruct",
        }
    }
}

/// What a model type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// A dense decoder.
    Decoder,
    /// A decoder with a mixture of experts.
    MoeDecoder,
    /// An encoder that reads and a decoder that writes.
    EncoderDecoder,
    /// A state-space model.
    Ssm,
}

/// What the suite needs of a row of the table of ingredients.
#[derive(Debug, Clone, Deserialize)]
pub struct Ingredients {
    model: String,
    hf_id: String,
    family: String,
    architecture: Architecture,
    model_type: String,
    stage: Stage,
    /// Billions of parameters.
    pub params_b: f64,
    hidden_size: f64,
    vocab_size: f64,
}

/// One model of the suite with what is known of it.
#[derive(Debug, Clone)]
pub struct Member {
    /// What its family's file says.
    pub entry: Entry,
    /// Its row of the table.
    pub ingredients: Ingredients,
    /// Its faults.
    pub faults: Vec<Fault>,
}

/// Reads every `*.toml` of a folder, and holds it against the tables that it names.
///
/// # Errors
/// Every fault of every file: what cannot be read, unknown keys with the nearest known one, what differs from the tables,
/// names that stand twice, and rows of a table without an entry.
pub fn read(folder: &Path) -> Result<Vec<Member>, Vec<Error>> {
    let (mut members, mut errors) = (Vec::new(), Vec::new());
    let mut tables: BTreeMap<PathBuf, Vec<Ingredients>> = BTreeMap::new();
    let mut used: BTreeSet<(PathBuf, String)> = BTreeSet::new();
    let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in toml_files(folder).map_err(|error| vec![error])? {
        let file = match Opened::read(&path, &mut tables) {
            Ok(file) => file,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        for entry in &file.family.models {
            for name in BTreeSet::from([&entry.label, &entry.hub]) {
                if let Some(other) = names.insert(name.clone(), path.clone()) {
                    let found = format!("{name:?}, which {} has already", other.display());
                    errors.push(file.fault(entry, "label or hub", found, "one that no other entry has".into()));
                }
            }
            used.insert((file.table.clone(), entry.row().to_owned()));
            match file.member(entry, &tables[&file.table]) {
                Ok(member) => members.push(member),
                Err(faults) => errors.extend(faults),
            }
        }
    }
    // A file that cannot be read may hold the entry that seems to be missing.
    let unread = errors.iter().any(|error| !matches!(error, Error::Entry { .. }));
    for (table, rows) in tables.into_iter().filter(|_| !unread) {
        for row in rows.into_iter().filter(|row| !used.contains(&(table.clone(), row.model.clone()))) {
            errors.push(Error::Entry {
                path: table.clone(),
                entry: row.model,
                field: "model",
                found: "in none of the suite's files".into(),
                expected: "in one".into(),
            });
        }
    }
    if errors.is_empty() { Ok(members) } else { Err(errors) }
}

/// A family's file with the tables that it names.
struct Opened<'a> {
    path: &'a Path,
    family: FamilyFile,
    /// Path of its table of ingredients.
    table: PathBuf,
    types: BTreeMap<String, Architecture>,
}

impl<'a> Opened<'a> {
    fn read(path: &'a Path, tables: &mut BTreeMap<PathBuf, Vec<Ingredients>>) -> Result<Self> {
        let family: FamilyFile = read_toml(path, "a family of the suite")?;
        let beside = |relative: &Path| crate::tidy(&path.with_file_name("").join(relative));
        let types = read_toml(&beside(&family.architectures), "model types")?;
        let table = beside(&family.ingredients);
        if !tables.contains_key(&table) {
            let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(fs_err::File::open(&table)?);
            let rows: Result<Vec<Ingredients>, _> = reader.deserialize().collect();
            tables.insert(table.clone(), rows.map_err(|error| csv_error(&table, &error))?);
        }
        Ok(Self { path, family, table, types })
    }

    fn fault(&self, entry: &Entry, field: &'static str, found: String, expected: String) -> Error {
        Error::Entry { path: self.path.into(), entry: entry.label.clone(), field, found, expected }
    }
}

fn toml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let missing = || Error::Missing {
        what: "a suite of models (*.toml)",
        path: folder.into(),
        hint: "give the folder, such as models/suite of the project".into(),
    };
    if !folder.is_dir() {
        return Err(missing());
    }
    let files = fs_err::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let mut files: Vec<PathBuf> =
        files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    if files.is_empty() { Err(missing()) } else { Ok(files) }
}

fn read_toml<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T> {
    let text = fs_err::read_to_string(path)?;
    toml::from_str(&text).map_err(|error| toml_error(path, &text, &error, expected))
}
