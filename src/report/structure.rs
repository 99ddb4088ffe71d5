//! Where the concepts of an embedding lie, in the forms that the page draws.

/// The concepts of one embedding on two axes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConceptMap {
    /// Label of the respondent, or the name of the reference.
    pub respondent: String,
    /// Which fit of its judgments; empty for the reference.
    pub fit: String,
    /// What the axes are.
    pub axes: Axes,
    /// `[n_concepts][2]`, in the order of the concepts; turned to lie best on the reference's map where there is one.
    pub points: Vec<[f64; 2]>,
    /// How far the map's neighbours are the embedding's; none for fewer than three concepts.
    pub trust: Option<Trust>,
}

/// What the axes of a map are.
#[derive(Debug, Clone, PartialEq)]
pub enum Axes {
    /// The two that carry most variance.
    Components {
        /// Share of the embedding's variance that they carry.
        explained: f64,
    },
    /// Those of a t-SNE map.
    Neighbours {
        /// The effective number of neighbours asked for.
        perplexity: f64,
        /// Divergence of the map's neighbourhoods from the embedding's.
        kl_nats: f64,
        /// Whether the descent came to rest.
        converged: bool,
    },
}

impl Default for Axes {
    fn default() -> Self {
        Self::Components { explained: 0.0 }
    }
}

/// Trustworthiness of a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trust {
    /// 1 where all neighbours are the embedding's.
    pub value: f64,
    /// Neighbours it is taken over.
    pub neighbours: usize,
}

/// Dissimilarity matrices with their concepts in one order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dissimilarities {
    /// Ids of the concepts: by category, those without one last.
    pub order: Vec<usize>,
    /// Consecutive concepts that share a cell.
    pub per_cell: usize,
    /// The reference's, then those of the respondents in rank order.
    pub matrices: Vec<Rdm>,
}

impl Dissimilarities {
    /// Rows of a matrix.
    pub fn n_cells(&self) -> usize {
        self.order.len().div_ceil(self.per_cell.max(1))
    }
}

/// The dissimilarities of one embedding's concepts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rdm {
    /// Label of the respondent, or the name of the reference.
    pub respondent: String,
    /// Which fit of its judgments; empty for the reference.
    pub fit: String,
    /// Row by row: squared Euclidean distance over its mean over all pairs; where a cell holds several pairs, their mean.
    pub cells: Vec<f64>,
    /// Mean over the pairs of one category.
    pub within: Option<f64>,
    /// Mean over the pairs of two categories.
    pub between: Option<f64>,
}

/// The dimensions of a non-negative embedding, the largest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseDimensions {
    /// Label of the respondent, or the name of the reference.
    pub respondent: String,
    /// Which fit of its judgments; empty for the reference.
    pub fit: String,
    /// By their total weight.
    pub dimensions: Vec<SparseDimension>,
}

/// One dimension of a non-negative embedding.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseDimension {
    /// Its column, from 1.
    pub column: usize,
    /// Sum of the weights of all concepts.
    pub total: f64,
    /// The concepts that weigh most, and their weights.
    pub top: Vec<(usize, f64)>,
}
