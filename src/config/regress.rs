//! `[regress]`: scores, tables of properties, and what is claimed of them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{General, ReportSection};
use crate::error::{Error, Result};
use crate::ingredients::{Expect, Question, Table, Variant};
use crate::store::folder::StudyFolder;
use crate::store::models;

/// Which ingredients go with a score: where the tables are, and what is asked of them. Paths are relative to the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegressSection {
    /// A CSV table with `model` and the response, or a study's `alignment.parquet`; that of this study unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<PathBuf>,
    /// Which fit of an `alignment.parquet`.
    pub fit: String,
    /// Which measure of an `alignment.parquet`.
    pub measure: String,
    /// The column of scores.
    pub response: String,
    /// CSV tables with `model` and its properties.
    pub tables: Vec<PathBuf>,
    /// The mixed model, such as `r2 ~ instruct + z(layers) + (1 | family)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// Benchmarks, and what they have to do with the scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benchmarks: Option<BenchmarkSection>,
    /// The same questions of other tables.
    #[serde(rename = "variant")]
    pub variants: Vec<Variant>,
    /// What is claimed.
    #[serde(rename = "claim")]
    pub claims: Vec<Claim>,
}

/// `[regress.benchmarks]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkSection {
    /// Columns of benchmark scores.
    pub columns: Vec<String>,
    /// Columns of alignment; the response unless given. Of an `alignment.parquet` every measure is a column, by its key.
    #[serde(default)]
    pub measures: Vec<String>,
    /// Quantities held fixed in partial correlations, such as the number of parameters.
    #[serde(default)]
    pub given: Vec<String>,
}

/// `[[regress.claim]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its name on the command line.
    pub key: String,
    /// What is claimed, in a sentence.
    pub says: String,
    /// Where.
    #[serde(default)]
    pub source: String,
    /// What it expects of the answer.
    pub expect: Expect,
    /// How far from zero is still little, for `expect = "little"`.
    #[serde(default)]
    pub margin: Option<f64>,
    /// The question whose answer tells.
    pub ask: Question,
}

/// A file with `[regress]`: a study, or that section alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegressFile {
    /// Name, and where its output goes.
    pub study: General,
    /// The section.
    pub regress: RegressSection,
    /// Title of the page.
    #[serde(default)]
    pub report: ReportSection,
}

impl RegressFile {
    /// A file that was not read: everything in it is resolved already.
    pub fn new(name: String, out: PathBuf, regress: RegressSection) -> Self {
        let report = ReportSection { title: name.clone() };
        Self { study: General { name, seed: 0, out }, regress, report }
    }

    /// Reads the sections `[study]`, `[regress]` and `[report]`; others are of no concern here.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UnknownKey`], [`Error::Format`] with the line, [`Error::Setting`] for a claim or variant
    /// named twice
    pub fn read(path: &Path) -> Result<Self> {
        let text = super::read_text(path)?;
        let file: Self =
            toml::from_str(&text).map_err(|e| super::toml_error(path, &text, &e, "`[study]` and `[regress]`"))?;
        file.resolved(path.parent().unwrap_or(Path::new("")))
    }

    /// With paths relative to where alike runs instead of to `folder`, and every default filled in.
    ///
    /// # Errors
    /// [`Error::Setting`] for a claim or variant named twice
    pub fn resolved(mut self, folder: &Path) -> Result<Self> {
        self.study.out = self.study.folder();
        self.regress.fill_in(folder, &self.study.out);
        self.regress.check()?;
        if self.report.title.is_empty() {
            self.report.title.clone_from(&self.study.name);
        }
        Ok(self)
    }

    /// Where its output goes.
    pub fn folder(&self) -> StudyFolder {
        StudyFolder::new(self.study.folder())
    }
}

impl Default for RegressSection {
    fn default() -> Self {
        Self {
            scores: None,
            fit: "crowd-kernel".into(),
            measure: "procrustes_r2".into(),
            response: "r2".into(),
            tables: vec![],
            formula: None,
            benchmarks: None,
            variants: vec![],
            claims: vec![],
        }
    }
}

impl RegressSection {
    /// Makes paths relative to where alike runs, and takes the study's own alignments where no scores are named.
    pub(super) fn fill_in(&mut self, folder: &Path, out: &Path) {
        let resolve = |path: &mut PathBuf| *path = crate::tidy(&folder.join(&*path));
        self.scores.iter_mut().chain(&mut self.tables).for_each(resolve);
        self.scores.get_or_insert_with(|| StudyFolder::new(out).alignment());
        if let Some(benchmarks) = self.benchmarks.as_mut().filter(|benchmarks| benchmarks.measures.is_empty()) {
            benchmarks.measures.push(self.response.clone());
        }
    }

    /// Refuses names that stand twice.
    ///
    /// # Errors
    /// [`Error::Setting`]
    pub fn check(&self) -> Result<()> {
        let unique = |field: &str, names: Vec<&str>| {
            let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
            match twice {
                None => Ok(()),
                Some((_, name)) => Err(Error::Setting {
                    field: format!("regress.{field}"),
                    found: format!("{name:?} twice"),
                    expected: "a name of its own for each".into(),
                }),
            }
        };
        unique("variant", self.variants.iter().map(|variant| variant.name.as_str()).collect())?;
        unique("claim", self.claims.iter().map(|claim| claim.key.as_str()).collect())
    }

    /// The scores with all properties beside them, a row for each model that has a score.
    ///
    /// # Errors
    /// those of reading and joining the tables
    pub fn table(&self) -> Result<Table> {
        let path = self.scores.as_deref().ok_or_else(|| Error::Setting {
            field: "regress.scores".into(),
            found: "nothing".into(),
            expected: "a CSV table with `model`, or an alignment.parquet".into(),
        })?;
        let scores = if path.extension().is_some_and(|e| e == "parquet") {
            models::scores(path, &self.fit, &self.measure, &self.response)?
        } else {
            models::read(path)?
        };
        scores.numbers(&self.response)?;
        self.tables.iter().try_fold(scores, |table, path| table.with(&models::read(path)?))
    }
}
