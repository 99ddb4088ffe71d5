//! Whether two sides order distances alike: Kendall's count, over all pairs of concepts or over each anchor's own.

use faer::{Mat, MatRef};

use super::Side;
use crate::error::{Error, Result};
use crate::linalg::dist2;
use crate::stats::ranks;

/// Distances within a difference of this share of the largest count as ties: arithmetic splits ties of discrete codes
/// by less.
pub(super) const TIE: f64 = 1e-12;

/// Ranks as whole numbers (twice the average rank), ties by [`TIE`].
pub(super) fn whole_ranks(distances: &[f64]) -> Result<Vec<u32>> {
    let largest = distances.iter().copied().fold(0.0, f64::max);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "twice a rank, from 2 to twice the count"
    )]
    let whole = ranks(distances, TIE * largest)?.into_iter().map(|rank| (2.0 * rank) as u32).collect();
    Ok(whole)
}

/// Pairs of values.
fn n_pairs(n: usize) -> i64 {
    let n = i64::try_from(n).expect("fewer than 2^32 values");
    n * (n - 1) / 2
}

fn n_tied(sorted: &[u32]) -> i64 {
    sorted.chunk_by(|a, b| a == b).map(|tied| n_pairs(tied.len())).sum()
}

/// Pairs ordered alike by x and y less pairs ordered against each other; pairs that either side ties count for neither.
///
/// `ys` in the order of x, `ties` the ends of the runs that x ties. Sorts `ys`; `spare` is as long.
///
/// # Source
/// Knight (1966), A computer method for calculating Kendall's tau with ungrouped data
fn concordance(ties: &[usize], ys: &mut [u32], spare: &mut [u32]) -> i64 {
    let (mut tied_x, mut tied_both, mut start) = (0, 0, 0);
    for &end in ties {
        if end - start > 1 {
            let run = &mut ys[start..end];
            run.sort_unstable();
            tied_both += n_tied(run);
            tied_x += n_pairs(run.len());
        }
        start = end;
    }
    let against = sort_counting(ys, spare);
    n_pairs(ys.len()) - tied_x - n_tied(ys) + tied_both - 2 * against
}

/// Sorts by merging and returns the pairs that were in the wrong order.
fn sort_counting(values: &mut [u32], spare: &mut [u32]) -> i64 {
    let n = values.len();
    let mut n_swapped = 0_usize;
    let mut width = 1;
    while width < n {
        for from in (0..n).step_by(2 * width) {
            let (middle, end) = ((from + width).min(n), (from + 2 * width).min(n));
            let (mut left, mut right) = (from, middle);
            for place in &mut spare[from..end] {
                // Without a branch to mispredict where both runs have values left.
                let take_right = left == middle || (right < end && values[right] < values[left]);
                *place = values[if take_right { right } else { left }];
                n_swapped += if take_right { middle - left } else { 0 };
                right += usize::from(take_right);
                left += usize::from(!take_right);
            }
        }
        values.copy_from_slice(&spare[..n]);
        width *= 2;
    }
    i64::try_from(n_swapped).expect("fewer than 2^63 pairs")
}

/// Values in the order of x, with the runs that x ties.
struct Sorted {
    /// Places, smallest x first.
    places: Vec<u32>,
    /// Ends of the runs of equal x.
    ties: Vec<usize>,
}

impl Sorted {
    fn of(ranks: &[u32]) -> Self {
        let mut places: Vec<u32> = (0..).take(ranks.len()).collect();
        places.sort_by_key(|&place| ranks[place as usize]);
        let ties = places
            .chunk_by(|&a, &b| ranks[a as usize] == ranks[b as usize])
            .scan(0, |end, run| {
                *end += run.len();
                Some(*end)
            })
            .collect();
        Self { places, ties }
    }

    fn n_tied(&self) -> i64 {
        let starts = std::iter::once(&0).chain(&self.ties);
        starts.zip(&self.ties).map(|(start, end)| n_pairs(end - start)).sum()
    }
}

/// Kendall's τ-a: (pairs ordered alike − pairs ordered against each other) / all pairs. Ties count for neither, so that a tie
/// is never better than the right order, and 1 takes sides without ties.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the lengths differ, [`Error::TooFew`] for fewer than 2 values, [`Error::NotFinite`]
/// # Source
/// Kendall (1938), A new measure of rank correlation
///
/// ```
/// let tau = alike::alignment::concordance::kendall_tau_a(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0])?;
/// assert!((tau - 4.0 / 6.0).abs() < 1e-15);
/// # Ok::<(), alike::error::Error>(())
/// ```
pub fn kendall_tau_a(x: &[f64], y: &[f64]) -> Result<f64> {
    if x.len() != y.len() {
        return Err(Error::ShapeMismatch {
            what: "values to correlate".to_owned(),
            found: format!("{} and {}", x.len(), y.len()),
            expected: "as many on both sides".to_owned(),
        });
    }
    if x.len() < 2 {
        return Err(Error::TooFew { what: "values to correlate".to_owned(), found: x.len(), needed: 2 });
    }
    let (x, y) = (whole_ranks(x)?, whole_ranks(y)?);
    let sorted = Sorted::of(&x);
    let mut ys: Vec<u32> = sorted.places.iter().map(|&place| y[place as usize]).collect();
    let mut spare = ys.clone();
    Ok(concordance(&sorted.ties, &mut ys, &mut spare) as f64 / n_pairs(x.len()) as f64)
}

/// Two RDMs, for [`kendall_tau_a`] between their upper triangles.
pub(super) struct PairOrders {
    /// Pairs of concepts, nearest in x first.
    pairs: Vec<[u32; 2]>,
    ties: Vec<usize>,
    /// Ranks of the distances in y; `[n, n]`.
    y: Mat<u32>,
}

impl PairOrders {
    pub(super) fn new(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Self> {
        let n = x.nrows();
        let pairs: Vec<[usize; 2]> = (0..n).flat_map(|i| (i + 1..n).map(move |j| [i, j])).collect();
        let ranks_of = |rdm: MatRef<'_, f64>, side: Side| {
            let ranks = whole_ranks(&pairs.iter().map(|&[i, j]| rdm[(i, j)]).collect::<Vec<_>>())?;
            match ranks.iter().all(|rank| *rank == ranks[0]) {
                true => Err(super::equal_distances(side)),
                false => Ok(ranks),
            }
        };
        let (of_x, of_y) = (ranks_of(x, Side::X)?, ranks_of(y, Side::Y)?);
        let Sorted { places, ties } = Sorted::of(&of_x);
        let mut y = Mat::from_fn(n, n, |_, _| 0);
        for (&[i, j], rank) in pairs.iter().zip(of_y) {
            y[(i, j)] = rank;
            y[(j, i)] = rank;
        }
        let id = |i: usize| u32::try_from(i).expect("fewer than 2^32 concepts");
        let pairs = places.iter().map(|&place| pairs[place as usize].map(id)).collect();
        Ok(Self { pairs, ties, y })
    }

    pub(super) fn tau_a(&self, order: &[usize]) -> f64 {
        let y = |&[i, j]: &[u32; 2]| self.y[(order[i as usize], order[j as usize])];
        let mut ys: Vec<u32> = self.pairs.iter().map(y).collect();
        let mut spare = ys.clone();
        concordance(&self.ties, &mut ys, &mut spare) as f64 / n_pairs(ys.len()) as f64
    }
}

/// Each anchor's distances to the other concepts, for [`super::neighbours::triplet_agreement`].
pub(super) struct AnchoredOrders {
    /// Of each anchor in x: the others, nearest first. Places count the anchor itself, which is first and alone.
    x: Vec<Sorted>,
    /// Ranks of the concepts by their distance from each anchor in y, 0 for itself; column by column, `[n, n]`.
    y: Mat<u32>,
    /// Triplets whose two distances differ in x.
    n_decided: i64,
}

impl AnchoredOrders {
    pub(super) fn new(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Self> {
        super::check_pair(x, y, 3)?;
        let n = x.nrows();
        let ranks_of = |side: MatRef<'_, f64>| -> Result<Vec<Vec<u32>>> {
            let dist2 = dist2(side);
            let of_anchor = |anchor: usize| {
                let others: Vec<f64> = (0..n).filter(|i| *i != anchor).map(|i| dist2[(i, anchor)]).collect();
                let mut ranks = whole_ranks(&others)?;
                ranks.insert(anchor, 0); // ranks are from 2, so the anchor stands first and alone
                Ok(ranks)
            };
            (0..n).map(of_anchor).collect()
        };
        let x: Vec<Sorted> = ranks_of(x)?.iter().map(|ranks| Sorted::of(ranks)).collect();
        let y = ranks_of(y)?;
        let n_decided = x.iter().map(|anchor| n_pairs(n - 1) - anchor.n_tied()).sum();
        if n_decided == 0 {
            return Err(super::equal_distances(Side::X));
        }
        if y.iter()
            .all(|ranks| ranks.iter().all(|rank| *rank == 0 || *rank == ranks.iter().copied().max().unwrap_or(0)))
        {
            return Err(super::equal_distances(Side::Y));
        }
        Ok(Self { x, y: Mat::from_fn(n, n, |i, anchor| y[anchor][i]), n_decided })
    }

    /// (1 + (alike − against) / decided) / 2.
    pub(super) fn agreement(&self, order: &[usize]) -> f64 {
        let (mut ys, mut spare) = (Vec::with_capacity(order.len()), vec![0; order.len()]);
        let mut alike = 0;
        for (anchor, x) in self.x.iter().enumerate() {
            let y = self.y.col_as_slice(order[anchor]);
            ys.clear();
            ys.extend(x.places.iter().map(|&place| y[order[place as usize]]));
            // The anchor is first on both sides: it is in order with each of the others, which is taken off again.
            alike += concordance(&x.ties, &mut ys, &mut spare) - (order.len() as i64 - 1);
        }
        0.5 * (1.0 + alike as f64 / self.n_decided as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::seed::Streams;
    use rand::RngExt;

    /// By looking at every pair.
    fn slowly(x: &[f64], y: &[f64]) -> f64 {
        let sign = |a: f64, b: f64| f64::from(i8::from(a > b) - i8::from(a < b));
        let pairs = (0..x.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let sum: f64 = pairs.map(|(i, j)| sign(x[i], x[j]) * sign(y[i], y[j])).sum();
        sum / n_pairs(x.len()) as f64
    }

    #[test]
    fn the_count_is_that_of_looking_at_every_pair() {
        let mut rng = Streams::new(1, "test").rng(0);
        for n in 2..40 {
            // Few distinct values, so that many tie on either side and on both.
            let mut draw = || (0..n).map(|_| f64::from(rng.random_range(0..7_u8))).collect::<Vec<_>>();
            let (x, y) = (draw(), draw());
            assert!((kendall_tau_a(&x, &y).unwrap() - slowly(&x, &y)).abs() < 1e-15, "{x:?} {y:?}");
        }
        assert!(kendall_tau_a(&[1.0], &[1.0]).is_err() && kendall_tau_a(&[1.0, 2.0], &[1.0]).is_err());
        assert!(kendall_tau_a(&[1.0, f64::NAN], &[1.0, 2.0]).is_err());
    }
}
