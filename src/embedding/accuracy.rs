//! Triplet accuracy: the share of answers that an embedding reproduces.

use faer::MatRef;
use serde::Serialize;

use super::Comparison;
use crate::error::Result;
use crate::linalg::{dist2, to_rows};

/// How many answers an embedding gets right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    /// Weighted share of the answers reproduced; NaN when none has a side.
    pub share: f64,
    /// Answers counted.
    pub n: usize,
    /// Answers left out because they have no side (`p_first` exactly one half).
    pub n_ties: usize,
}

/// Triplet accuracy of coordinates on comparisons.
///
/// The embedding says `first` when it is nearer to the anchor than `second`; the answer says `first` when `p_first` >
/// 0.5. An embedding that has both options equally near counts as half right. Answers of exactly one half are left out
/// and counted.
///
/// # Shapes
/// `coordinates`: `[n_concepts, dims]`
/// # Errors
/// those of [`super::check_comparisons`]
pub fn triplet_accuracy(coordinates: MatRef<'_, f64>, comparisons: &[Comparison]) -> Result<Accuracy> {
    super::check_comparisons(coordinates.nrows(), comparisons)?;
    Ok(accuracy_of(coordinates, comparisons.iter()))
}

/// [`triplet_accuracy`] of comparisons that were checked.
pub(super) fn accuracy_of<'a>(
    coordinates: MatRef<'_, f64>,
    comparisons: impl Iterator<Item = &'a Comparison> + Clone,
) -> Accuracy {
    // Distances of all pairs are shared by many comparisons, or else more than are asked for.
    let n_concepts = coordinates.nrows();
    let table = (n_concepts.saturating_mul(n_concepts) <= comparisons.clone().count()).then(|| dist2(coordinates));
    let rows = to_rows(coordinates);
    let distance = |a: u32, b: u32| match &table {
        Some(table) => table[(a as usize, b as usize)],
        None => rows[a as usize].iter().zip(&rows[b as usize]).map(|(x, y)| (x - y) * (x - y)).sum(),
    };
    let (mut right, mut total, mut n, mut n_ties) = (0.0, 0.0, 0, 0);
    for c in comparisons {
        if c.p_first == 0.5 {
            n_ties += 1;
            continue;
        }
        let to = |option: u32| distance(c.anchor, option);
        let (near, far) = if c.p_first > 0.5 { (to(c.first), to(c.second)) } else { (to(c.second), to(c.first)) };
        let credit = if near < far {
            1.0
        } else if near == far {
            0.5
        } else {
            0.0
        };
        right += c.weight * credit;
        total += c.weight;
        n += 1;
    }
    Accuracy { share: right / total, n, n_ties }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ties_of_the_answer_are_left_out_and_ties_of_the_embedding_are_half_right() {
        let x = crate::linalg::from_rows(&[vec![0.0], vec![1.0], vec![3.0], vec![-1.0]]).unwrap();
        let asked = |first, second, p_first| Comparison { triplet: 0, anchor: 0, first, second, p_first, weight: 1.0 };
        let comparisons = [asked(1, 2, 0.9), asked(2, 1, 0.9), asked(1, 2, 0.5), asked(1, 3, 1.0), asked(2, 1, 0.2)];
        let accuracy = triplet_accuracy(x.as_ref(), &comparisons).unwrap();
        assert_eq!(accuracy, Accuracy { share: 2.5 / 4.0, n: 4, n_ties: 1 });
    }
}
