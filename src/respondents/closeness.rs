//! What makes concepts close, to a simulated subject.

use faer::{Mat, MatRef};

use crate::linalg::{dist2, gram};

/// What makes two concepts close.
#[derive(Debug, Clone, Copy)]
pub(super) enum Closeness {
    /// −d.
    Distance,
    /// −d².
    SquaredDistance,
    /// x_i · x_j.
    DotProduct,
}

impl Closeness {
    /// Of all pairs; `[n_concepts, n_concepts]`.
    pub(super) fn within(self, reference: MatRef<'_, f64>) -> Mat<f64> {
        let mut close = match self {
            Self::Distance | Self::SquaredDistance => dist2(reference),
            Self::DotProduct => return gram(reference),
        };
        let of_square = |square: f64| if matches!(self, Self::Distance) { -square.sqrt() } else { -square };
        for j in 0..close.ncols() {
            close.col_as_slice_mut(j).iter_mut().for_each(|value| *value = of_square(*value));
        }
        close
    }
}

/// Closeness of the pairs that speak for the options.
pub(super) fn of_pairs(close: &Mat<f64>, pairs: &[[u32; 2]]) -> Vec<f64> {
    pairs.iter().map(|[i, j]| close[(*i as usize, *j as usize)]).collect()
}

/// For tests: points 0, 1, 3 and −1 on a line.
#[cfg(test)]
pub(super) fn line() -> Mat<f64> {
    Mat::from_fn(4, 1, |i, _| [0.0, 1.0, 3.0, -1.0][i])
}
