//! Coordinates in panels of eight dimensions: a step takes each panel for itself, so that no two threads add to the same
//! number and nothing has to be summed over threads.

use faer::Mat;

/// Dimensions of a panel.
pub(super) const WIDTH: usize = 8;

/// One concept's coordinates in one panel.
pub(super) type Lanes = [f64; WIDTH];

/// `[n_concepts, n_dims]`, panel by panel, within a panel row by row; dimensions that fill the last panel up are zero.
#[derive(Debug, Clone)]
pub(super) struct Coordinates {
    n_concepts: usize,
    n_dims: usize,
    rows: Vec<Lanes>,
}

impl Coordinates {
    pub(super) fn from_fn(n_concepts: usize, n_dims: usize, at: impl Fn(usize, usize) -> f64) -> Self {
        let lane = |row: usize, k: usize| if k < n_dims { at(row, k) } else { 0.0 };
        let panel = |panel| (0..n_concepts).map(move |row| (row, panel * WIDTH));
        let rows = (0..n_dims.div_ceil(WIDTH)).flat_map(panel);
        let rows = rows.map(|(row, from)| std::array::from_fn(|k| lane(row, from + k))).collect();
        Self { n_concepts, n_dims, rows }
    }

    pub(super) fn n_concepts(&self) -> usize {
        self.n_concepts
    }

    pub(super) fn n_dims(&self) -> usize {
        self.n_dims
    }

    pub(super) fn n_panels(&self) -> usize {
        self.n_dims.div_ceil(WIDTH)
    }

    /// All numbers, those that fill up among them.
    pub(super) fn numbers(&self) -> &[f64] {
        self.rows.as_flattened()
    }

    pub(super) fn panels(&self) -> std::slice::ChunksExact<'_, Lanes> {
        self.rows.chunks_exact(self.n_concepts)
    }

    pub(super) fn panels_mut(&mut self) -> std::slice::ChunksExactMut<'_, Lanes> {
        self.rows.chunks_exact_mut(self.n_concepts)
    }

    /// `[n_concepts, n_dims]`
    pub(super) fn to_mat(&self) -> Mat<f64> {
        let at = |row: usize, k: usize| self.rows[k / WIDTH * self.n_concepts + row][k % WIDTH];
        Mat::from_fn(self.n_concepts, self.n_dims, at)
    }

    /// Sums over the dimensions, for each pair of three concepts: (0, 1), (0, 2), (1, 2).
    #[inline(always)]
    pub(super) fn pairs(&self, ids: [u32; 3], of: impl Fn(f64, f64) -> f64) -> [f64; 3] {
        let mut lanes = [[0.0; WIDTH]; 3];
        for panel in self.panels() {
            let [a, b, c] = ids.map(|id| &panel[id as usize]);
            for k in 0..WIDTH {
                lanes[0][k] += of(a[k], b[k]);
                lanes[1][k] += of(a[k], c[k]);
                lanes[2][k] += of(b[k], c[k]);
            }
        }
        lanes.map(|lanes| lanes.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_the_same_numbers() {
        let at = |row: usize, k: usize| (10 * row + k) as f64;
        let x = Coordinates::from_fn(3, 11, at);
        assert_eq!(x.to_mat(), Mat::from_fn(3, 11, at));
        assert_eq!((x.n_panels(), x.numbers().len()), (2, 48));
        let dots = x.pairs([0, 1, 2], |a, b| a * b);
        let expected = |i, j| (0..11).map(|k| at(i, k) * at(j, k)).sum::<f64>();
        assert_eq!(dots, [expected(0, 1), expected(0, 2), expected(1, 2)]);
    }
}
