//! The coordinates of the concept maps.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::structure::Shown;
use crate::error::{Error, Result};
use crate::linalg::{centred, pca};
use crate::map::{TsneSettings, default_neighbours, trustworthiness, tsne};
use crate::report::structure::{Axes, ConceptMap, Trust};

/// Marks of one kind of map, in a page that is to stay small.
const MAX_MARKS: usize = 20_000;

/// The most concepts that t-SNE takes: its time and memory are of their square.
pub(in crate::report) const MAX_TSNE: usize = 5_000;

/// Of as many embeddings as the page can carry, the first two principal axes and the t-SNE map, each turned onto that of the first
/// so that maps can be compared by eye.
pub(super) fn maps(shown: &[Shown<'_>]) -> Result<Vec<ConceptMap>> {
    let n_concepts = shown.first().map_or(1, |one| one.coordinates.nrows().max(1));
    let n_maps = (MAX_MARKS / n_concepts).clamp(1, shown.len().max(1)).min(shown.len());
    let drawn: Vec<Vec<ConceptMap>> = shown[..n_maps].par_iter().map(drawings).collect::<Result<_>>()?;
    let mut maps: Vec<ConceptMap> = drawn.into_iter().flatten().collect();
    // The reference's where there is one, being the first; without it nothing is common to all.
    if shown.first().is_some_and(|one| one.fit.is_empty()) {
        for components in [true, false] {
            let same = |map: &&mut ConceptMap| matches!(map.axes, Axes::Components { .. }) == components;
            let mut alike = maps.iter_mut().filter(same);
            let onto = alike.next().filter(|map| map.fit.is_empty()).map(|map| map.points.clone());
            for map in alike {
                map.points = onto.as_ref().map_or_else(|| map.points.clone(), |onto| turned(&map.points, onto));
            }
        }
    }
    Ok(maps)
}

/// Both maps of an embedding; no t-SNE where all concepts are in one place, and for fewer than 4 or more than [`MAX_TSNE`].
fn drawings(shown: &Shown<'_>) -> Result<Vec<ConceptMap>> {
    let x = shown.coordinates;
    let map = |axes: Axes, points: Vec<[f64; 2]>| {
        let on_paper = Mat::from_fn(points.len(), 2, |i, k| points[i][k]);
        let neighbours = default_neighbours(points.len());
        // Too few concepts for the formula is all that can be wrong with coordinates that were drawn.
        let trust = trustworthiness(x, on_paper.as_ref(), neighbours).ok().map(|value| Trust { value, neighbours });
        ConceptMap { respondent: shown.respondent.to_owned(), fit: shown.fit.to_owned(), axes, points, trust }
    };
    let (points, explained) = principal(x)?;
    let mut maps = vec![map(Axes::Components { explained }, points)];
    if x.nrows() <= MAX_TSNE {
        match tsne(x, &TsneSettings::for_concepts(x.nrows())) {
            Ok(found) => {
                let points = (0..x.nrows()).map(|i| [found.coordinates[(i, 0)], found.coordinates[(i, 1)]]).collect();
                let (perplexity, kl_nats, converged) = (found.perplexity, found.kl_nats, found.converged);
                maps.push(map(Axes::Neighbours { perplexity, kl_nats, converged }, points));
            }
            Err(Error::TooFew { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(maps)
}

fn principal(coordinates: MatRef<'_, f64>) -> Result<(Vec<[f64; 2]>, f64)> {
    let pca = pca(coordinates, 2)?;
    let at = |i: usize, k: usize| if k < pca.scores.ncols() { pca.scores[(i, k)] } else { 0.0 };
    let total: f64 = pca.variances.iter().sum();
    let shown: f64 = pca.variances.iter().take(2).sum();
    let points = (0..coordinates.nrows()).map(|i| [at(i, 0), at(i, 1)]).collect();
    Ok((points, if total > 0.0 { shown / total } else { 0.0 }))
}

/// `points` rotated, or mirrored and rotated, to lie best on `onto` (least squares in the plane).
fn turned(points: &[[f64; 2]], onto: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let onto = centred(Mat::from_fn(onto.len(), 2, |i, k| onto[i][k]).as_ref());
    let fitted = |mirror: f64| {
        let (mut along, mut across) = (0.0, 0.0);
        for (i, [x, y]) in points.iter().enumerate() {
            let (y, u, v) = (mirror * y, onto[(i, 0)], onto[(i, 1)]);
            along += x * u + y * v;
            across += x * v - y * u;
        }
        (along * along + across * across, across.atan2(along))
    };
    let (plain, mirrored) = (fitted(1.0), fitted(-1.0));
    let (mirror, angle) = if mirrored.0 > plain.0 { (-1.0, mirrored.1) } else { (1.0, plain.1) };
    let (sin, cos) = angle.sin_cos();
    points.iter().map(|[x, y]| [x * cos - mirror * y * sin, x * sin + mirror * y * cos]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_turned_and_mirrored_onto_the_reference() {
        let onto = [[2.0, 0.0], [0.0, 1.0], [-2.0, 0.5], [0.0, -1.5]];
        let (sin, cos) = 0.7_f64.sin_cos();
        let mirrored: Vec<[f64; 2]> = onto.iter().map(|[x, y]| [x * cos + y * sin, x * sin - y * cos]).collect();
        for (a, b) in turned(&mirrored, &onto).iter().zip(&onto) {
            assert!((a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12);
        }
    }
}
