//! How many single choices a reference would make too, before any embedding is fitted to them.

use faer::MatRef;

use crate::error::Result;
use crate::linalg::{check_finite, dist2};

/// Choices beside a reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Choices about triplets that the reference decides.
    pub n: usize,
    /// Those that took the option whose pair lies nearest in the reference.
    pub n_same: usize,
}

impl Agreement {
    /// Compares choices with Euclidean distances in a reference. A choice has the pair of concepts that speaks for each of its
    /// options (the option with the anchor, or the two beside the odd one), and which option was taken. Where several
    /// pairs lie nearest, the reference does not decide.
    ///
    /// # Shapes
    /// `reference`: `[n_concepts, n_dims]`
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite)
    /// # Panics
    /// when an id is outside the reference
    pub fn of(reference: MatRef<'_, f64>, choices: impl IntoIterator<Item = (Vec<[usize; 2]>, usize)>) -> Result<Self> {
        check_finite(reference, "the reference")?;
        let dist2 = dist2(reference);
        let mut agreement = Self::default();
        for (pairs, chosen) in choices {
            let distances: Vec<f64> = pairs.iter().map(|[i, j]| dist2[(*i, *j)]).collect();
            let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
            if distances.iter().filter(|d| **d == nearest).count() == 1 {
                agreement.n += 1;
                agreement.n_same += usize::from(distances[chosen] == nearest);
            }
        }
        Ok(agreement)
    }

    /// Share of the same choices, where there are any.
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
        let anchored = |anchor, first, second, chosen| (vec![[anchor, first], [anchor, second]], chosen);
        let choices = [anchored(0, 1, 2, 0), anchored(0, 2, 3, 0), anchored(0, 1, 3, 0), anchored(2, 0, 1, 1)];
        let agreement = Agreement::of(line.as_ref(), choices).unwrap();
        assert_eq!((agreement, agreement.share()), (Agreement { n: 3, n_same: 2 }, Some(2.0 / 3.0)));
        // The odd one of 0, 1 and 3 is 3; of 0, 1 and −1 nobody is.
        let odd = |[a, b, c]: [usize; 3], chosen| (vec![[b, c], [a, c], [a, b]], chosen);
        let agreement =
            Agreement::of(line.as_ref(), [odd([0, 1, 2], 2), odd([0, 2, 1], 2), odd([0, 1, 3], 0)]).unwrap();
        assert_eq!(agreement, Agreement { n: 2, n_same: 1 });
        assert_eq!(Agreement::default().share(), None);
    }
}
