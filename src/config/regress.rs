//! `[regress]`: scores, tables of properties, and what is claimed of them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ingredients::{Expect, Question, Table, Variant};
use crate::store::folder::StudyFolder;
use crate::store::models;

/// Which ingredients go with a score: where the tables are, and what is asked of them. Paths are relative to the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegressSection {
    /// A CSV table with `model` and the response, or a study's `alignment.parquet`; that of this study unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<PathBuf>,
    /// Which fit of an `alignment.parquet`.
    #[serde(default = "crowd_kernel")]
    pub fit: String,
    /// Which measure of an `alignment.parquet`.
    #[serde(default = "procrustes_r2")]
    pub measure: String,
    /// The column of scores.
    #[serde(default = "r2")]
    pub response: String,
    /// CSV tables with `model` and its properties.
    #[serde(default)]
    pub tables: Vec<PathBuf>,
    /// The mixed model, such as `r2 ~ instruct + z(layers) + (1 | family)`.
    #[serde(default)]
    pub formula: Option<String>,
    /// The same questions of other tables.
    #[serde(default, rename = "variant")]
    pub variants: Vec<Variant>,
    /// What is claimed.
    #[serde(default, rename = "claim")]
    pub claims: Vec<Claim>,
}

fn crowd_kernel() -> String {
    "crowd-kernel".into()
}

fn procrustes_r2() -> String {
    "procrustes_r2".into()
}

fn r2() -> String {
    "r2".into()
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
#[derive(Debug, Clone, PartialEq)]
pub struct RegressFile {
    /// Where its output goes.
    pub out: PathBuf,
    /// The section.
    pub section: RegressSection,
}

impl RegressFile {
    /// Reads the sections `[study]` and `[regress]`; others are of no concern here.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UnknownKey`], [`Error::Format`] with the line, [`Error::Setting`] for a claim or variant
    /// named twice
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Sections {
            study: super::General,
            regress: RegressSection,
        }
        let text = super::read_text(path)?;
        let sections: Sections =
            toml::from_str(&text).map_err(|e| super::toml_error(path, &text, &e, "`[study]` and `[regress]`"))?;
        let Sections { study, regress: mut section } = sections;
        let out = study.folder();
        section.fill_in(path.parent().unwrap_or(Path::new("")), &out);
        section.check()?;
        Ok(Self { out, section })
    }
}

impl RegressSection {
    /// Makes paths relative to where alike runs, and takes the study's own alignments where no scores are named.
    pub(super) fn fill_in(&mut self, folder: &Path, out: &Path) {
        let resolve = |path: &mut PathBuf| *path = crate::tidy(&folder.join(&*path));
        self.scores.iter_mut().chain(&mut self.tables).for_each(resolve);
        self.scores.get_or_insert_with(|| StudyFolder::new(out).alignment());
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
