//! How many single choices a reference would make too, before any embedding is fitted to them.

use faer::MatRef;

use crate::error::Result;
use crate::linalg::{check_finite, dist2};

/// Choices beside a reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Choices about triplets that the reference decides.
    pub n: usize,
    /// Those that took the option nearer to the anchor in the reference.
    pub n_same: usize,
}

impl Agreement {
    /// Compares choices (anchor, option chosen, option left) with Euclidean distances in a reference. Triplets whose options
    /// are equally far from the anchor are not decided by it.
    ///
    /// # Shapes
    /// `reference`: `[n_concepts, n_dims]`
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite)
    /// # Panics
    /// when an id is outside the reference
    pub fn of(reference: MatRef<'_, f64>, choices: impl IntoIterator<Item = [usize; 3]>) -> Result<Self> {
        check_finite(reference, "the reference")?;
        let dist2 = dist2(reference);
        let mut agreement = Self::default();
        for [anchor, chosen, left] in choices {
            let (near, far) = (dist2[(anchor, chosen)], dist2[(anchor, left)]);
            agreement.n += usize::from(near != far);
            agreement.n_same += usize::from(near < far);
        }
        Ok(agreement)
    }

    /// Share of the same choices, where there are any: one half for a coin.
    pub fn share(&self) -> Option<f64> {
        (self.n > 0).then(|| self.n_same as f64 / self.n as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_by_hand() {
        // Points 0, 1, 3 and −1 on a line: 1 and −1 are equally far from 0.
        let line = faer::Mat::from_fn(4, 1, |i, _| [0.0, 1.0, 3.0, -1.0][i]);
        let choices = [[0, 1, 2], [0, 2, 3], [0, 1, 3], [2, 1, 0]];
        let agreement = Agreement::of(line.as_ref(), choices).unwrap();
        assert_eq!((agreement, agreement.share()), (Agreement { n: 3, n_same: 2 }, Some(2.0 / 3.0)));
        assert_eq!(Agreement::default().share(), None);
    }
}
