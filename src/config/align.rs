//! `[align]`: what coordinates are compared with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::alignment::Measure;
use crate::alignment::interval::IntervalMethod;

/// `[align]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlignSection {
    /// `category` (built in) or a file of coordinates.
    pub reference: String,
    /// Names of the reference's rows, for `.npy` and text files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<PathBuf>,
    /// Rows named for concepts: `mouse = "mouse1"`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, String>,
    /// Leave out concepts without a row.
    pub allow_missing: bool,
    /// Permutations of the null.
    pub permutations: usize,
    /// What is measured.
    pub measures: Vec<Measure>,
    /// How intervals are made; `none` for none.
    pub intervals: IntervalMethod,
    /// Dimensions of the reference: fewer by PCA, more by zeros; its own unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_dims: Option<usize>,
    /// Embeddings of single people or groups, two or more, read as the reference is: RSA measures get their noise ceiling.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<PathBuf>,
    /// Triplets that people answered: the share of them that each embedding would make too is a measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<PathBuf>,
    /// Names that a text file of choices counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice_names: Option<PathBuf>,
}

impl Default for AlignSection {
    fn default() -> Self {
        Self {
            reference: BUILT_IN_REFERENCE.into(),
            names: None,
            map: BTreeMap::new(),
            allow_missing: false,
            permutations: 1000,
            measures: Measure::DEFAULTS.to_vec(),
            intervals: IntervalMethod::DEFAULT,
            reference_dims: None,
            subjects: Vec::new(),
            choices: None,
            choice_names: None,
        }
    }
}

/// Name of the reference made of the concepts' categories.
pub const BUILT_IN_REFERENCE: &str = "category";
