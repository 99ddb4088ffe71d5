//! The axes of the concept maps.

use faer::{Mat, MatRef};

use crate::concepts::Concepts;
use crate::error::Result;
use crate::linalg::{centred, pca};
use crate::report::data::ConceptMap;
use crate::store::embedding::Embedding;

/// The first two principal axes of every embedding, turned onto the reference's so that maps can be compared by eye.
pub(super) fn maps(
    reference: &Embedding,
    name: &str,
    embeddings: &[(String, &str, Embedding)],
    concepts: &Concepts,
) -> Result<Vec<ConceptMap>> {
    // Maps show the same concepts everywhere; where the reference leaves some out, it has no map.
    let whole = reference.names.len() == concepts.len();
    let mut maps = Vec::new();
    let mut onto = None;
    if whole {
        let (points, explained) = axes(reference.coordinates.as_ref())?;
        maps.push(ConceptMap { respondent: name.to_owned(), fit: String::new(), points: points.clone(), explained });
        onto = Some(points);
    }
    for (label, fit, embedding) in embeddings {
        let (mut points, explained) = axes(embedding.coordinates.as_ref())?;
        if let Some(onto) = &onto {
            points = turned(&points, onto);
        }
        maps.push(ConceptMap { respondent: label.clone(), fit: (*fit).to_owned(), points, explained });
    }
    Ok(maps)
}

fn axes(coordinates: MatRef<'_, f64>) -> Result<(Vec<[f64; 2]>, f64)> {
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
        (along.hypot(across), across.atan2(along))
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
