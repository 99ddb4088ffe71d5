//! What the page shows, as plain data, and the orders in which it is shown.

use crate::alignment::agreement::Agreement;
use crate::bench::Bench;
use crate::config::RegressSection;
use crate::ingredients::benchmarks::Correlated;
use crate::ingredients::{Table, Variant};
use crate::judgments::{Quality, SameChoice};
use crate::presentations::Task;
use crate::report::structure::{Axes, ConceptMap, Dissimilarities, SparseDimensions};
use crate::store::alignment::AlignmentRow;
use crate::store::ingredients::AnswerRow;

/// Everything the page shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReportData {
    /// Heading of the page.
    pub title: String,
    /// Name of the study.
    pub study: String,
    /// What was asked of three concepts.
    pub task: Task,
    /// Number of triplets each respondent was asked, in one order or several.
    pub n_triplets: usize,
    /// The concepts, in the order of their ids.
    pub concepts: Vec<ConceptLabel>,
    /// Name of what the respondents are compared with.
    pub reference: String,
    /// Whether the reference is the category structure of the concepts, made by `alike`: not human data.
    pub reference_built_in: bool,
    /// People whose embeddings alignments were measured with beside the reference.
    pub n_subjects: usize,
    /// Who answered.
    pub respondents: Vec<Respondent>,
    /// Alignment with this one reference: a row for each respondent, fit and measure.
    pub alignment: Vec<AlignmentRow>,
    /// Every two respondents' choices beside each other, each pair once.
    pub compared: Vec<Compared>,
    /// What fits of fewer triplets give, by respondent and loss, the fewest triplets first.
    pub curves: Vec<CurvePoint>,
    /// Two axes of each embedding, and its t-SNE map. What here and below belongs to nobody in `respondents` is the reference's.
    pub maps: Vec<ConceptMap>,
    /// Dissimilarities of the concepts.
    pub dissimilarities: Dissimilarities,
    /// Dimensions of non-negative embeddings.
    pub sparse: Vec<SparseDimensions>,
    /// Which ingredients go with the scores of models, where that was asked.
    pub ingredients: Option<Ingredients>,
    /// A benchmark that lies in the folder.
    pub bench: Option<Bench>,
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
    /// How many of its choices the reference would make too.
    pub agreement: Agreement,
    /// The embeddings fitted to its judgments.
    pub fits: Vec<FitSummary>,
    /// What was measured while it answered.
    pub run: Option<Run>,
}

/// What was measured in the run that answered last: of answers that were there already it knows nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// Judgments made.
    pub n_made: usize,
    /// Speed of judging, by presentations.
    pub triplets_per_second: Option<f64>,
    /// Tokens that went through the model.
    pub tokens_computed: Option<usize>,
    /// Tokens that one request for each option would take.
    pub tokens_logical: Option<usize>,
    /// Seconds of each stage that was timed.
    pub seconds: Vec<(Stage, f64)>,
}

/// What takes time, in the order in which it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Hashing and reading the model's files, looking at what is there already, and counting the judgments in the end.
    Files,
    /// Loading the graph into the runtime.
    Load,
    /// Comparing shared prefixes with whole prompts.
    SelfTest,
    /// Inside the runtime, while judging.
    Model,
    /// The rest of judging: tokenising, planning, scoring and writing, as far as the model waits for it.
    Beside,
    /// Fitting embeddings to the judgments.
    Fit,
}

/// Two respondents' choices beside each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Labels of the two.
    pub labels: [String; 2],
    /// How often they choose the same.
    pub same: SameChoice,
}

/// Fits of one respondent to one number of triplets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CurvePoint {
    /// Its label.
    pub respondent: String,
    /// The loss.
    pub loss: String,
    /// Unordered triplets fitted to.
    pub n_triplets: usize,
    /// Random draws of as many triplets.
    pub n_draws: usize,
    /// Held-out comparisons.
    pub n_heldout: usize,
    /// What guessing gives.
    pub chance: f64,
    /// Share of held-out comparisons reproduced.
    pub accuracy: Option<Spread>,
    /// Procrustes R² with the reference.
    pub r2: Option<Spread>,
}

/// A mean, the lowest and the highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The lowest.
    pub lo: f64,
    /// The highest.
    pub hi: f64,
}

impl Spread {
    /// Of values that are finite; `None` where there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let (mut n, mut sum, mut lo, mut hi) = (0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY);
        for value in values.iter().copied().filter(|value| value.is_finite()) {
            (n, sum, lo, hi) = (n + 1.0, sum + value, lo.min(value), hi.max(value));
        }
        (n > 0.0).then(|| Self { mean: sum / n, lo, hi })
    }
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
    /// Weight of the penalty: L2 of losses on distances, λ of those on dot products.
    pub penalty: f64,
    /// The accuracy that guessing gives.
    pub guessing: f64,
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

/// What `alike regress` was asked, of which models, and what it found.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingredients {
    /// What was asked, every default filled in.
    pub asked: RegressSection,
    /// The models with their scores and properties.
    pub models: Table,
    /// The fixed effects of the mixed model, the intercept first; none where no model was asked for.
    pub effects: Vec<Effect>,
    /// Models that the mixed model was fitted to.
    pub n_fitted: usize,
    /// The others, each with the columns that it has no cell of.
    pub not_fitted: Vec<(String, String)>,
    /// The answers to claims, variants in their order after each claim.
    pub answers: Vec<AnswerRow>,
    /// Correlations of scores and benchmarks.
    pub correlations: Vec<Correlated>,
}

impl Ingredients {
    /// What came of a claim on the tables as they are.
    pub(super) fn answer(&self, claim: &str) -> Option<&AnswerRow> {
        self.answers.iter().find(|row| row.claim == claim && row.variant == Variant::AS_GIVEN)
    }

    /// How human-like each model is, in the order of the table.
    pub(super) fn response(&self) -> Vec<Option<f64>> {
        self.numbers(&self.asked.response)
    }

    /// A column of numbers, empty where there is no such column.
    pub(super) fn numbers(&self, column: &str) -> Vec<Option<f64>> {
        let cells = self.models.numbers(column).map(<[_]>::to_vec).unwrap_or_else(|_| vec![None; self.models.len()]);
        cells.into_iter().map(|cell| cell.filter(|value| value.is_finite())).collect()
    }
}

/// A fixed effect of the mixed model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effect {
    /// Its name, such as `z(hidden_size)`.
    pub term: String,
    /// β, in units of the response.
    pub value: f64,
    /// Ends of the 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// p of the test that it is zero.
    pub p: Option<f64>,
    /// p adjusted for all effects but the intercept (Holm).
    pub p_holm: Option<f64>,
}

/// Key of the measure that the ranking shows.
pub(super) const MAIN_MEASURE: &str = "procrustes_r2";

/// The fit of the paper.
pub(super) const PAPER_FIT: &str = "crowd-kernel";

/// The fit that recovers a known geometry better from the same triplets (design §12): the summary, the maps and the
/// order of respondents follow it where it is there.
pub(super) const PREFERRED_FIT: &str = "logistic-distance";

/// The fits in the alignment, the paper's first, the rest in order of appearance.
pub(super) fn fits(data: &ReportData) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in &data.alignment {
        if !names.contains(&row.fit.as_str()) {
            names.push(&row.fit);
        }
    }
    names.sort_by_key(|name| *name != PAPER_FIT);
    names
}

/// The fit that summary, maps and the order of respondents follow.
pub(super) fn preferred_fit(data: &ReportData) -> Option<&str> {
    let names = fits(data);
    names.iter().find(|name| **name == PREFERRED_FIT).or(names.first()).copied()
}

/// A fit's name as headings show it.
pub(super) fn fit_heading(fit: &str) -> String {
    if fit == PAPER_FIT { format!("{fit}, as in the paper") } else { fit.to_owned() }
}

/// The rows of one fit's main measure, the highest value first, what is not a number last.
pub(super) fn ranked<'a>(data: &'a ReportData, fit: &str) -> Vec<&'a AlignmentRow> {
    let mut rows: Vec<&AlignmentRow> =
        data.alignment.iter().filter(|row| row.fit == fit && row.measure == MAIN_MEASURE).collect();
    let key = |row: &AlignmentRow| if row.value.is_nan() { f64::NEG_INFINITY } else { row.value };
    rows.sort_by(|a, b| key(b).total_cmp(&key(a)).then_with(|| a.respondent.cmp(&b.respondent)));
    rows
}

/// The respondents in the order of the preferred fit's ranking, those without a rank last.
pub(super) fn in_rank_order(data: &ReportData) -> Vec<&Respondent> {
    let rows = preferred_fit(data).map(|fit| ranked(data, fit)).unwrap_or_default();
    let mut respondents: Vec<&Respondent> = data.respondents.iter().collect();
    respondents.sort_by_key(|one| rows.iter().position(|row| row.respondent == one.label).unwrap_or(rows.len()));
    respondents
}

/// What kind of respondent a label names; labels nobody described are models.
pub(super) fn kind_of(data: &ReportData, label: &str) -> Kind {
    data.respondents.iter().find(|one| one.label == label).map(|one| one.kind).unwrap_or_default()
}

/// Whether a name is the reference's: nobody who answered has it.
pub(super) fn is_reference(data: &ReportData, respondent: &str) -> bool {
    data.respondents.iter().all(|one| one.label != respondent)
}

/// The maps to draw: the reference's, then each respondent's under the preferred fit, in rank order.
pub(super) fn drawn_maps(data: &ReportData, wanted: impl Fn(&Axes) -> bool) -> Vec<&ConceptMap> {
    let maps: Vec<&ConceptMap> = data.maps.iter().filter(|map| wanted(&map.axes)).collect();
    let fit = shown_fit(data, maps.iter().filter(|map| !is_reference(data, &map.respondent)).map(|map| &*map.fit));
    let mut drawn: Vec<&ConceptMap> = maps.iter().copied().filter(|map| is_reference(data, &map.respondent)).collect();
    for one in in_rank_order(data) {
        drawn.extend(maps.iter().filter(|map| map.respondent == one.label && Some(&*map.fit) == fit));
    }
    drawn
}

/// Of the fits there are, the preferred one, or the first.
pub(super) fn shown_fit<'a>(data: &ReportData, mut fits: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let preferred = preferred_fit(data);
    fits.clone().find(|fit| Some(*fit) == preferred).or_else(|| fits.next())
}
