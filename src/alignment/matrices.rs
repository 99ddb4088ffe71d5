//! Measures that are the inner product of two matrices.

use faer::Mat;

use crate::linalg::frobenius;

/// Two symmetric `[n, n]` matrices whose inner product is the measure: CKA with kernels and RSA differ only in what the
/// matrices hold.
pub(super) struct PairedMatrices {
    /// Columns from the diagonal down, what is below it twice: the other triangle is the same.
    x: Vec<f64>,
    y: Mat<f64>,
}

impl PairedMatrices {
    /// Each divided by `norm` of itself.
    pub(super) fn scaled(x: &Mat<f64>, y: &Mat<f64>, norm: impl Fn(&Mat<f64>) -> f64) -> Self {
        let n = x.nrows();
        let (of_x, of_y) = (norm(x), norm(y));
        let weighted = |(i, j): (usize, usize)| if i == j { x[(i, j)] / of_x } else { 2.0 * x[(i, j)] / of_x };
        let x = (0..n).flat_map(|j| (j..n).map(move |i| (i, j))).map(weighted).collect();
        Self { x, y: Mat::from_fn(n, n, |i, j| y[(i, j)] / of_y) }
    }

    /// Each scaled to unit Frobenius norm, so that the inner product is a cosine.
    pub(super) fn of_unit_norm(x: &Mat<f64>, y: &Mat<f64>) -> Self {
        Self::scaled(x, y, |side| frobenius(side.as_ref(), side.as_ref()).sqrt())
    }

    /// The inner product with every concept facing itself.
    pub(super) fn unpermuted(&self) -> f64 {
        self.at(&(0..self.y.nrows()).collect::<Vec<_>>())
    }

    /// Σ_ij x_ij y_order(i)order(j).
    pub(super) fn at(&self, order: &[usize]) -> f64 {
        let mut rest = &self.x[..];
        let mut sum = 0.0;
        for j in 0..order.len() {
            let (column, below) = rest.split_at(order.len() - j);
            let y = self.y.col_as_slice(order[j]);
            // Two partial sums, so that an addition need not wait for the one before it.
            let mut partial = [0.0; 2];
            for (x, i) in column.chunks(2).zip(order[j..].chunks(2)) {
                for (lane, (x, &i)) in x.iter().zip(i).enumerate() {
                    partial[lane] += x * y[i];
                }
            }
            sum += partial[0] + partial[1];
            rest = below;
        }
        sum
    }
}
