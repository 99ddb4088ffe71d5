//! Who is near whom: triplets ordered alike, and nearest neighbours in common.

use faer::{Mat, MatRef};

use super::Measure;
use super::concordance::whole_ranks;
use crate::error::{Error, Result};
use crate::linalg::dist2;

/// Share of all anchored triplets on which both sides say the same option is nearer to the anchor.
///
/// Over the n·C(n−1, 2) triplets less those whose two options are equally near in x (the reference does not decide them);
/// where they are equally near in y, one half, as by coin. One half is chance. Distances are Euclidean. Of the triplets of
/// a study alone, see [`super::agreement::Agreement`].
///
/// # Shapes
/// `x`: `[n, d]`, the reference; `y`: `[n, k]`
/// # Errors
/// [`Error::ShapeMismatch`], [`Error::TooFew`] for fewer than 3 concepts or when either side decides no triplet,
/// [`Error::NotFinite`]
pub fn triplet_agreement(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<f64> {
    Measure::TripletAgreement.value(x, y)
}

/// Mean share of a concept's `k` nearest neighbours in x that are among its `k` nearest in y.
///
/// (1/n) Σ_i |N_x(i) ∩ N_y(i)| / k. Neighbours that tie for the last places share them: each is in to the same part, and two
/// parts have the smaller in common. k / (n − 1) is chance.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::ShapeMismatch`], [`Error::Setting`] for no neighbours, [`Error::TooFew`] for fewer than k + 2 concepts (all others
/// would be neighbours), [`Error::NotFinite`]
pub fn neighbour_overlap(x: MatRef<'_, f64>, y: MatRef<'_, f64>, k: usize) -> Result<f64> {
    Measure::NeighbourOverlap { k }.value(x, y)
}

/// The neighbourhoods of both sides.
pub(super) struct Neighbours {
    /// Of each concept in x: its neighbours, and to which part each is in.
    x: Vec<Vec<(usize, f64)>>,
    /// To which part i is a neighbour of j in y, column j; `[n, n]`.
    y: Mat<f64>,
    k: usize,
}

impl Neighbours {
    pub(super) fn new(x: MatRef<'_, f64>, y: MatRef<'_, f64>, k: usize) -> Result<Self> {
        if k == 0 {
            let (field, found) = ("neighbours".to_owned(), "0".to_owned());
            return Err(Error::Setting { field, found, expected: "1 or more".to_owned() });
        }
        super::check_pair(x, y, k + 2)?;
        super::check_spread(x, super::Side::X)?;
        super::check_spread(y, super::Side::Y)?;
        let (of_x, of_y) = (neighbourhoods(x, k)?, neighbourhoods(y, k)?);
        let mut y = Mat::zeros(x.nrows(), x.nrows());
        for (j, neighbours) in of_y.into_iter().enumerate() {
            neighbours.into_iter().for_each(|(i, part)| y[(i, j)] = part);
        }
        Ok(Self { x: of_x, y, k })
    }

    pub(super) fn overlap(&self, order: &[usize]) -> f64 {
        let shared = |(concept, neighbours): (usize, &Vec<(usize, f64)>)| {
            let y = self.y.col_as_slice(order[concept]);
            neighbours.iter().map(|&(i, part)| part.min(y[order[i]])).sum::<f64>()
        };
        self.x.iter().enumerate().map(shared).sum::<f64>() / (self.k * order.len()) as f64
    }
}

fn neighbourhoods(x: MatRef<'_, f64>, k: usize) -> Result<Vec<Vec<(usize, f64)>>> {
    let (n, dist2) = (x.nrows(), dist2(x));
    let of_concept = |concept: usize| -> Result<Vec<(usize, f64)>> {
        let others: Vec<usize> = (0..n).filter(|i| *i != concept).collect();
        let ranks = whole_ranks(&others.iter().map(|&i| dist2[(i, concept)]).collect::<Vec<_>>())?;
        let mut sorted = ranks.clone();
        sorted.sort_unstable();
        let last = sorted[k - 1];
        let n_nearer = ranks.iter().filter(|rank| **rank < last).count();
        let n_last = ranks.iter().filter(|rank| **rank == last).count();
        let part = |rank: u32| if rank < last { 1.0 } else { (k - n_nearer) as f64 / n_last as f64 };
        Ok(others.into_iter().zip(ranks).filter(|(_, rank)| *rank <= last).map(|(i, rank)| (i, part(rank))).collect())
    };
    (0..n).map(of_concept).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(places: &[f64]) -> Mat<f64> {
        Mat::from_fn(places.len(), 1, |i, _| places[i])
    }

    #[test]
    fn overlap_by_hand() {
        // Nearest to 0, 1, 3, 7 on a line: 1, 0, 1, 3. With 3 and 7 exchanged: 1, 0, 3, 1 — three of the four pairs differ.
        let (x, y) = (line(&[0.0, 1.0, 3.0, 7.0]), line(&[0.0, 1.0, 7.0, 3.0]));
        assert_eq!(neighbour_overlap(x.as_ref(), x.as_ref(), 1).unwrap(), 1.0);
        assert_eq!(neighbour_overlap(x.as_ref(), y.as_ref(), 1).unwrap(), 0.5);
        // The middle one's neighbours tie on an even line: each is half in.
        let even = line(&[0.0, 1.0, 2.0]);
        let skewed = line(&[0.0, 1.0, 1.5]);
        assert_eq!(neighbour_overlap(even.as_ref(), skewed.as_ref(), 1).unwrap(), (1.0 + 0.5 + 1.0) / 3.0);
        assert!(
            neighbour_overlap(x.as_ref(), y.as_ref(), 3).is_err()
                && neighbour_overlap(x.as_ref(), y.as_ref(), 0).is_err()
        );
    }

    #[test]
    fn triplets_by_hand() {
        // 0, 1, 3: 0 is nearer to 1 than to 3; 1 nearer to 0; 3 nearer to 1. In the order 0, 3, 1 the last two disagree.
        let (x, y) = (line(&[0.0, 1.0, 3.0]), line(&[0.0, 3.0, 1.0]));
        assert_eq!(triplet_agreement(x.as_ref(), x.as_ref()).unwrap(), 1.0);
        assert_eq!(triplet_agreement(x.as_ref(), y.as_ref()).unwrap(), 0.0);
        // Of the middle one on an even line nobody decides: not counted in the reference, one half in the other.
        let even = line(&[0.0, 1.0, 2.0]);
        assert_eq!(triplet_agreement(even.as_ref(), x.as_ref()).unwrap(), 1.0);
        assert!((triplet_agreement(x.as_ref(), even.as_ref()).unwrap() - 2.5 / 3.0).abs() < 1e-15);
        let simplex = Mat::from_fn(3, 3, |i, k| f64::from(i == k));
        assert!(triplet_agreement(simplex.as_ref(), x.as_ref()).is_err());
        assert!(triplet_agreement(x.as_ref(), simplex.as_ref()).is_err());
    }
}
