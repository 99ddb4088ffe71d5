//! What the embeddings look like: dissimilarities and dimensions.

use faer::MatRef;
use rayon::prelude::*;

use crate::linalg::dist2;
use crate::report::data::{ConceptLabel, ReportData, in_rank_order, shown_fit};
use crate::report::structure::{Dissimilarities, Rdm, SparseDimension, SparseDimensions};
use crate::store::embedding::Embedding;

/// An embedding that the page shows.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) respondent: &'a str,
    /// Empty for the reference.
    pub(super) fit: &'a str,
    pub(super) coordinates: MatRef<'a, f64>,
}

/// The reference, then each respondent's embedding under the preferred fit, in rank order. A reference that leaves concepts out is
/// not among them: all show the same concepts.
pub(super) fn shown<'a>(
    data: &'a ReportData,
    reference: &'a Embedding,
    embeddings: &'a [(String, &'a str, Embedding)],
) -> Vec<Shown<'a>> {
    let fit = shown_fit(data, embeddings.iter().map(|(_, fit, _)| *fit));
    let mut shown = Vec::new();
    if reference.names.iter().eq(data.concepts.iter().map(|concept| &concept.name)) {
        shown.push(Shown { respondent: &data.reference, fit: "", coordinates: reference.coordinates.as_ref() });
    }
    for one in in_rank_order(data) {
        let of_one = embeddings.iter().filter(|(label, of, _)| *label == one.label && Some(*of) == fit);
        shown.extend(of_one.map(|(label, fit, embedding)| Shown {
            respondent: label,
            fit,
            coordinates: embedding.coordinates.as_ref(),
        }));
    }
    shown
}

/// Rows of a matrix at most: what a screen can show.
const MAX_CELLS: usize = 256;

/// Cells of all matrices together: half a byte each, in a page that is to stay small.
const MAX_ALL_CELLS: usize = 1_500_000;

/// The dissimilarities of as many as the page can carry. Embeddings with all concepts in one place have none.
pub(super) fn dissimilarities(concepts: &[ConceptLabel], shown: &[Shown<'_>]) -> Dissimilarities {
    let mut order: Vec<usize> = (0..concepts.len()).collect();
    order.sort_by_key(|id| (concepts[*id].category.is_none(), &concepts[*id].category, *id));
    let mut all = Dissimilarities { per_cell: order.len().div_ceil(MAX_CELLS).max(1), order, matrices: vec![] };
    let n_matrices = (MAX_ALL_CELLS / all.n_cells().pow(2).max(1)).min(shown.len());
    let matrices: Vec<Option<Rdm>> = shown[..n_matrices].par_iter().map(|one| rdm(concepts, &all, one)).collect();
    all.matrices = matrices.into_iter().flatten().collect();
    all
}

fn rdm(concepts: &[ConceptLabel], of: &Dissimilarities, shown: &Shown<'_>) -> Option<Rdm> {
    let n_cells = of.n_cells();
    let dist2 = dist2(shown.coordinates);
    let mut sums = [Sum::default(); 3];
    let mut cells = vec![Sum::default(); n_cells * n_cells];
    for (row, i) in of.order.iter().enumerate() {
        for (column, j) in of.order.iter().enumerate().filter(|(_, j)| *j != i) {
            let value = dist2[(*i, *j)];
            cells[row / of.per_cell * n_cells + column / of.per_cell].add(value);
            sums[0].add(value);
            if let (Some(a), Some(b)) = (&concepts[*i].category, &concepts[*j].category) {
                sums[if a == b { 1 } else { 2 }].add(value);
            }
        }
    }
    let mean = sums[0].mean().filter(|mean| *mean > 0.0 && mean.is_finite())?;
    let scaled = |sum: &Sum| sum.mean().map(|value| value / mean);
    Some(Rdm {
        respondent: shown.respondent.to_owned(),
        fit: shown.fit.to_owned(),
        // A concept is at no distance from itself.
        cells: cells.iter().map(|cell| scaled(cell).unwrap_or(0.0)).collect(),
        within: scaled(&sums[1]),
        between: scaled(&sums[2]),
    })
}

#[derive(Clone, Copy, Default)]
struct Sum {
    total: f64,
    n: usize,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.total += value;
        self.n += 1;
    }

    fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.total / self.n as f64)
    }
}

/// Concepts that stand for a dimension.
const TOP: usize = 8;

/// The dimensions of the reference, where its coordinates are weights too, and of the fits named, respondents in rank order.
pub(super) fn non_negative(
    data: &ReportData,
    shown: &[Shown<'_>],
    embeddings: &[(String, &str, Embedding)],
    fits: &[&str],
) -> Vec<SparseDimensions> {
    let is_weights = |x: MatRef<'_, f64>| (0..x.ncols()).all(|k| (0..x.nrows()).all(|i| x[(i, k)] >= 0.0));
    // One's own categories are no finding.
    let reference = shown.first().filter(|one| one.fit.is_empty() && !data.reference_built_in);
    let reference = reference.filter(|one| !fits.is_empty() && is_weights(one.coordinates));
    let fitted = fits.iter().flat_map(|fit| {
        in_rank_order(data).into_iter().flat_map(move |one| {
            embeddings.iter().filter(move |(label, of, _)| *label == one.label && of == fit).map(
                |(label, fit, embedding)| Shown { respondent: label, fit, coordinates: embedding.coordinates.as_ref() },
            )
        })
    });
    reference.copied().into_iter().chain(fitted).map(|one| sparse(&one)).collect()
}

/// The dimensions of an embedding with non-negative coordinates.
fn sparse(shown: &Shown<'_>) -> SparseDimensions {
    let x = shown.coordinates;
    let dimension = |k: usize| {
        let mut weights: Vec<(usize, f64)> = (0..x.nrows()).map(|i| (i, x[(i, k)])).collect();
        let total = weights.iter().map(|(_, weight)| weight).sum();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        weights.retain(|(_, weight)| *weight > 0.0);
        weights.truncate(TOP);
        SparseDimension { column: k + 1, total, top: weights }
    };
    let mut dimensions: Vec<SparseDimension> = (0..x.ncols()).map(dimension).collect();
    dimensions.sort_by(|a, b| b.total.total_cmp(&a.total).then(a.column.cmp(&b.column)));
    SparseDimensions { respondent: shown.respondent.to_owned(), fit: shown.fit.to_owned(), dimensions }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::linalg::from_rows;

    fn concept(name: &str, category: Option<&str>) -> ConceptLabel {
        ConceptLabel { name: name.into(), category: category.map(Into::into) }
    }

    #[test]
    fn dissimilarities_by_hand() {
        let concepts = [
            concept("bus", Some("vehicle")),
            concept("fog", None),
            concept("ant", Some("animal")),
            concept("car", Some("vehicle")),
        ];
        let x = from_rows(&[vec![0.0], vec![1.0], vec![3.0], vec![2.0]]).unwrap();
        let shown = [Shown { respondent: "a", fit: "f", coordinates: x.as_ref() }];
        let all = dissimilarities(&concepts, &shown);
        assert_eq!((&all.order[..], all.per_cell, all.n_cells()), (&[2, 0, 3, 1][..], 1, 4));
        // Distances squared: 9 and 1 from the ant to bus and car, 4 between them, 4, 1 and 1 to the fog; their mean is 20/6.
        let mean = 20.0 / 6.0;
        let expected = [[0.0, 9.0, 1.0, 4.0], [9.0, 0.0, 4.0, 1.0], [1.0, 4.0, 0.0, 1.0], [4.0, 1.0, 1.0, 0.0]];
        for (cell, expected) in all.matrices[0].cells.iter().zip(expected.as_flattened()) {
            assert!((cell - expected / mean).abs() < 1e-15);
        }
        assert!((all.matrices[0].within.unwrap() - 4.0 / mean).abs() < 1e-15);
        assert!((all.matrices[0].between.unwrap() - 5.0 / mean).abs() < 1e-15);
    }

    #[test]
    fn many_concepts_share_cells() {
        let concepts: Vec<ConceptLabel> = (0..300).map(|i| concept(&format!("c{i}"), None)).collect();
        let x = faer::Mat::from_fn(300, 1, |i, _| f64::from(i >= 150));
        let all = dissimilarities(&concepts, &[Shown { respondent: "a", fit: "", coordinates: x.as_ref() }]);
        assert_eq!((all.per_cell, all.n_cells()), (2, 150));
        let mean = 150.0 * 150.0 / (300.0 * 299.0 / 2.0);
        let cells = &all.matrices[0].cells;
        assert!(cells[0] == 0.0 && (cells[149] - 1.0 / mean).abs() < 1e-12);
        assert!(all.matrices[0].within.is_none());
    }

    #[test]
    fn one_place_has_no_dissimilarities() {
        let concepts = [concept("a", None), concept("b", None)];
        let x = from_rows(&[vec![1.0], vec![1.0]]).unwrap();
        let shown = [Shown { respondent: "a", fit: "", coordinates: x.as_ref() }];
        assert!(dissimilarities(&concepts, &shown).matrices.is_empty());
    }

    #[test]
    fn dimensions_come_by_weight() {
        let x = from_rows(&[vec![0.1, 2.0, 0.0], vec![0.3, 0.0, 0.0], vec![0.0, 1.0, 0.0]]).unwrap();
        let found = sparse(&Shown { respondent: "a", fit: "spose", coordinates: x.as_ref() });
        let columns: Vec<usize> = found.dimensions.iter().map(|dimension| dimension.column).collect();
        assert_eq!(columns, [2, 1, 3]);
        assert_eq!(found.dimensions[0].top, [(0, 2.0), (2, 1.0)]);
        assert!(found.dimensions[2].top.is_empty() && found.dimensions[0].total == 3.0);
    }
}
