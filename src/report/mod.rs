//! stub
pub mod load;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::judgments::Quality;
use crate::store::alignment::AlignmentRow;
use crate::store::table::write_atomically;

/// Everything the page shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReportData {
    /// Heading of the page.
    pub title: String,
    /// Name of the study.
    pub study: String,
    /// Number of triplets each respondent was asked.
    pub n_triplets: usize,
    /// The concepts, in the order of their ids.
    pub concepts: Vec<ConceptLabel>,
    /// Name of what the respondents are compared with.
    pub reference: String,
    /// Whether the reference is the category structure of the concepts, made by `alike`: not human data.
    pub reference_built_in: bool,
    /// Who answered.
    pub respondents: Vec<Respondent>,
    /// Alignment with this one reference: a row for each respondent, fit and measure.
    pub alignment: Vec<AlignmentRow>,
    /// Two axes of each embedding. A map whose respondent is nobody in `respondents` is the reference's.
    pub maps: Vec<ConceptMap>,
    /// What the results were made from and with: name and value.
    pub provenance: Vec<(String, String)>,
    /// What the reader must know before trusting the numbers.
    pub notes: Vec<String>,
}

/// A concept as the maps show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConceptLabel {
    /// Its name.
    pub name: String,
    /// Its category, for colour and shape.
    pub category: Option<String>,
}

/// Whether a respondent is what the study is about or stands beside it for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A language model or an encoder.
    #[default]
    Model,
    /// A simulated subject: it shows what success or chance looks like.
    Simulated,
}

/// One respondent: who it is and how it answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Respondent {
    /// Its label, unique in the study.
    pub label: String,
    /// Model or simulated subject.
    pub kind: Kind,
    /// One sentence on what it is.
    pub description: String,
    /// How its judgments were given.
    pub quality: Quality,
    /// The embeddings fitted to its judgments.
    pub fits: Vec<FitSummary>,
    /// Speed of judging.
    pub triplets_per_second: Option<f64>,
}

/// One ordinal embedding fitted to one respondent's judgments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FitSummary {
    /// Name of the fit, as in [`AlignmentRow::fit`].
    pub fit: String,
    /// Its loss.
    pub loss: String,
    /// Number of dimensions.
    pub dims: usize,
    /// Weight of the L2 penalty.
    pub l2: f64,
    /// Share of held-out triplets reproduced.
    pub heldout_accuracy: Option<f64>,
    /// Share of the triplets it was fitted to that it reproduces.
    pub train_accuracy: Option<f64>,
    /// Effective number of dimensions: (Σλ)² / Σλ² over the eigenvalues λ of the coordinates' covariance.
    pub participation_ratio: f64,
    /// Whether the optimiser converged.
    pub converged: bool,
    /// What else its record says.
    pub notes: Vec<String>,
}

/// Two axes of one embedding.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConceptMap {
    /// Label of the respondent, or the name of the reference.
    pub respondent: String,
    /// Which fit of its judgments; empty for the reference.
    pub fit: String,
    /// `[n_concepts][2]`, in the order of the concepts and in the orientation to be drawn.
    pub points: Vec<[f64; 2]>,
    /// Share of the embedding's variance that the two axes carry.
    pub explained: f64,
}

/// Stub.
///
/// # Errors
/// none
pub fn write(folder: &Path, _data: &ReportData) -> Result<Vec<PathBuf>> {
    write_atomically(&folder.join("report.html"), |file| file.write_all(b"stub"))?;
    Ok(vec![])
}
