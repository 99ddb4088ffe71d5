//! The profiled deviance of a linear mixed model, with its gradient: penalised least squares by QR.

use faer::{Mat, MatRef};

use super::super::design::Design;
use super::Method;
use crate::linalg::product;

/// Effects of one random term: how many for each group, for how many groups, and where they begin in Z.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) n_effects: usize,
    pub(super) n_levels: usize,
    first: usize,
    /// Where its entries begin in θ: the lower triangle, row by row.
    pub(super) first_theta: usize,
}

impl Block {
    pub(super) fn n_theta(&self) -> usize {
        self.n_effects * (self.n_effects + 1) / 2
    }

    /// Place in θ of the entry in row i and column j ≤ i of the block's triangle.
    pub(super) fn at(&self, i: usize, j: usize) -> usize {
        self.first_theta + i * (i + 1) / 2 + j
    }

    fn column(&self, level: usize, effect: usize) -> usize {
        self.first + level * self.n_effects + effect
    }
}

/// A model whose data are reduced to the triangle of a QR decomposition of [Z X y]: all inner products stay what they
/// were, and an evaluation no longer depends on the number of rows.
///
/// Columns of Z are divided by their root mean square, so that θ is of order one whatever the units.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// `[m, q + p + 1]` with m = min(n, q + p + 1)
    zxy: Mat<f64>,
    n: usize,
    p: usize,
    q: usize,
    pub(super) blocks: Vec<Block>,
    /// Root mean square of each block's columns, one after the other.
    pub(super) scales: Vec<Vec<f64>>,
}

/// The penalised least squares at one θ.
pub(super) struct Solution {
    /// Upper triangle R of [ZΛ X y; I 0 0]; `[q + p + 1, q + p + 1]`
    r: Mat<f64>,
    /// Spherical random effects, b = Λu.
    pub(super) u: Vec<f64>,
    pub(super) beta: Vec<f64>,
    /// Penalised residual sum of squares, ‖y − Xβ − ZΛu‖² + ‖u‖².
    pub(super) rss: f64,
    /// log |ΛᵀZᵀZΛ + I|
    pub(super) log_det_z: f64,
    /// log |XᵀV⁻¹X|, where σ²V is the covariance of y
    pub(super) log_det_x: f64,
}

/// Derivatives by θ.
pub(super) struct Slopes {
    /// Of the sum of the log determinants that the method has.
    pub(super) log_det: Vec<f64>,
    pub(super) rss: Vec<f64>,
}

impl Problem {
    pub(super) fn new(design: &Design) -> Self {
        let (n, p) = design.x.shape();
        let (mut blocks, mut scales) = (vec![], vec![]);
        let (mut q, mut first_theta) = (0, 0);
        for effects in &design.random {
            let n_effects = effects.z.ncols();
            let block = Block { n_effects, n_levels: effects.levels.len(), first: q, first_theta };
            (q, first_theta) = (q + n_effects * block.n_levels, first_theta + block.n_theta());
            let scale = |k| {
                let square = (0..n).map(|i| effects.z[(i, k)].powi(2)).sum::<f64>() / n as f64;
                if square > 0.0 { square.sqrt() } else { 1.0 } // leaving out rows can make a column of zeros
            };
            scales.push((0..n_effects).map(scale).collect::<Vec<f64>>());
            blocks.push(block);
        }
        let mut zxy = Mat::zeros(n, q + p + 1);
        for i in 0..n {
            for ((effects, block), scales) in design.random.iter().zip(&blocks).zip(&scales) {
                for k in 0..block.n_effects {
                    zxy[(i, block.column(effects.level_of[i], k))] = effects.z[(i, k)] / scales[k];
                }
            }
            (0..p).for_each(|k| zxy[(i, q + k)] = design.x[(i, k)]);
            zxy[(i, q + p)] = design.y[i];
        }
        Self { zxy: zxy.qr().thin_R().to_owned(), n, p, q, blocks, scales }
    }

    /// The same model with one coefficient given: y − `x_k` value is explained by the other columns.
    pub(super) fn holding(&self, k: usize, value: f64) -> Self {
        let held = self.q + k;
        let last = self.q + self.p;
        let zxy = Mat::from_fn(self.zxy.nrows(), last, |i, j| {
            if j + 1 == last {
                self.zxy[(i, last)] - value * self.zxy[(i, held)]
            } else {
                self.zxy[(i, j + usize::from(j >= held))]
            }
        });
        Self { zxy, p: self.p - 1, ..self.clone() }
    }

    pub(super) fn n_theta(&self) -> usize {
        self.blocks.iter().map(Block::n_theta).sum()
    }

    /// θ with each block's triangle a multiple of the identity.
    pub(super) fn identity(&self, size: f64) -> Vec<f64> {
        let mut theta = vec![0.0; self.n_theta()];
        for block in &self.blocks {
            (0..block.n_effects).for_each(|i| theta[block.at(i, i)] = size);
        }
        theta
    }

    /// θ of the columns of Z as they are, for the columns divided by their scales.
    pub(super) fn scaled(&self, theta: &[f64]) -> Vec<f64> {
        let mut scaled = theta.to_vec();
        for (block, scales) in self.blocks.iter().zip(&self.scales) {
            for i in 0..block.n_effects {
                (0..=i).for_each(|j| scaled[block.at(i, j)] *= scales[i]);
            }
        }
        scaled
    }

    /// n for maximum likelihood; n − p for REML.
    pub(super) fn degrees_of_freedom(&self, method: Method) -> f64 {
        match method {
            Method::Ml => self.n as f64,
            Method::Reml => (self.n - self.p) as f64,
        }
    }

    fn z(&self) -> MatRef<'_, f64> {
        self.zxy.as_ref().subcols(0, self.q)
    }

    /// ZΛ
    fn z_lambda(&self, theta: &[f64]) -> Mat<f64> {
        let mut product = Mat::zeros(self.zxy.nrows(), self.q);
        for block in &self.blocks {
            for level in 0..block.n_levels {
                for j in 0..block.n_effects {
                    for i in j..block.n_effects {
                        let (to, from, entry) = (block.column(level, j), block.column(level, i), theta[block.at(i, j)]);
                        (0..product.nrows()).for_each(|row| product[(row, to)] += entry * self.zxy[(row, from)]);
                    }
                }
            }
        }
        product
    }

    pub(super) fn solve(&self, theta: &[f64]) -> Solution {
        let (m, q, p) = (self.zxy.nrows(), self.q, self.p);
        let z_lambda = self.z_lambda(theta);
        let stacked = Mat::from_fn(m + q, q + p + 1, |i, j| match (i < m, j < q) {
            (true, true) => z_lambda[(i, j)],
            (true, false) => self.zxy[(i, j)],
            (false, _) => f64::from(u8::from(i - m == j)),
        });
        let triangle = stacked.qr().thin_R().to_owned();
        // With n ≤ q + p the last row is missing: nothing is left of y.
        let r = Mat::from_fn(q + p + 1, q + p + 1, |i, j| if i < triangle.nrows() { triangle[(i, j)] } else { 0.0 });
        let log_det = |range: std::ops::Range<usize>| range.map(|i| 2.0 * r[(i, i)].abs().ln()).sum::<f64>();
        let mut effects: Vec<f64> = (0..q + p).map(|i| r[(i, q + p)]).collect();
        for i in (0..q + p).rev() {
            let known: f64 = (i + 1..q + p).map(|j| r[(i, j)] * effects[j]).sum();
            effects[i] = (effects[i] - known) / r[(i, i)];
        }
        let beta = effects.split_off(q);
        Solution {
            u: effects,
            beta,
            rss: r[(q + p, q + p)].powi(2),
            log_det_z: log_det(0..q),
            log_det_x: log_det(q..q + p),
            r,
        }
    }

    /// Derivatives at a solution.
    ///
    /// With V = I + ZΛΛᵀZᵀ and ε = y − Xβ − ZΛu: ∂rss = −2 (Zᵀε)ᵀ ∂Λ u, ∂ log|V| = 2 tr(G ∂Λ), where G = ΛᵀZᵀPZ and P is
    /// V⁻¹, or for REML V⁻¹ − V⁻¹X(XᵀV⁻¹X)⁻¹XᵀV⁻¹. G = C [ZΛ X]ᵀZ, where C is the random effects' rows of the inverse of
    /// the normal equations, which for ML are those without X.
    pub(super) fn slopes(&self, theta: &[f64], at: &Solution, method: Method) -> Slopes {
        let (m, q) = (self.zxy.nrows(), self.q);
        let size = match method {
            Method::Ml => q,
            Method::Reml => q + self.p,
        };
        let z_lambda = self.z_lambda(theta);
        let w = Mat::from_fn(m, size, |i, j| if j < q { z_lambda[(i, j)] } else { self.zxy[(i, j)] });
        let inverse = inverse_of_triangle(at.r.as_ref().submatrix(0, 0, size, size));
        let c = product(inverse.as_ref().subrows(0, q), inverse.transpose());
        let g = product(c.as_ref(), product(w.transpose(), self.z()).as_ref());

        let residual = Mat::from_fn(m, 1, |i, _| {
            let fixed: f64 = at.beta.iter().enumerate().map(|(k, beta)| self.zxy[(i, q + k)] * beta).sum();
            let random: f64 = at.u.iter().enumerate().map(|(k, u)| z_lambda[(i, k)] * u).sum();
            self.zxy[(i, q + self.p)] - fixed - random
        });
        let z_residual = product(self.z().transpose(), residual.as_ref());
        let mut slopes = Slopes { log_det: vec![0.0; theta.len()], rss: vec![0.0; theta.len()] };
        for block in &self.blocks {
            for i in 0..block.n_effects {
                for j in 0..=i {
                    for level in 0..block.n_levels {
                        let (row, column) = (block.column(level, i), block.column(level, j));
                        slopes.log_det[block.at(i, j)] += 2.0 * g[(column, row)];
                        slopes.rss[block.at(i, j)] -= 2.0 * z_residual[(row, 0)] * at.u[column];
                    }
                }
            }
        }
        slopes
    }

    /// −2 log likelihood (restricted, for REML) at the best β and σ for this θ; fills in its gradient.
    pub(super) fn profiled(&self, theta: &[f64], gradient: &mut [f64], method: Method) -> f64 {
        let solution = self.solve(theta);
        let df = self.degrees_of_freedom(method);
        let slopes = self.slopes(theta, &solution, method);
        for ((gradient, log_det), rss) in gradient.iter_mut().zip(&slopes.log_det).zip(&slopes.rss) {
            *gradient = log_det + df * rss / solution.rss;
        }
        solution.profiled(df, method)
    }

    /// −2 log likelihood at the best β for this θ and σ; fills in its derivatives by θ and, last, by σ.
    pub(super) fn at_sigma(&self, theta: &[f64], sigma: f64, gradient: &mut [f64], method: Method) -> f64 {
        let solution = self.solve(theta);
        let df = self.degrees_of_freedom(method);
        let slopes = self.slopes(theta, &solution, method);
        let (by_sigma, by_theta) = gradient.split_last_mut().expect("one more entry than θ");
        for ((gradient, log_det), rss) in by_theta.iter_mut().zip(&slopes.log_det).zip(&slopes.rss) {
            *gradient = log_det + rss / sigma.powi(2);
        }
        *by_sigma = 2.0 * df / sigma - 2.0 * solution.rss / sigma.powi(3);
        solution.log_det(method) + df * (std::f64::consts::TAU * sigma * sigma).ln() + solution.rss / sigma.powi(2)
    }
}

impl Solution {
    fn log_det(&self, method: Method) -> f64 {
        match method {
            Method::Ml => self.log_det_z,
            Method::Reml => self.log_det_z + self.log_det_x,
        }
    }

    pub(super) fn profiled(&self, df: f64, method: Method) -> f64 {
        self.log_det(method) + df * (1.0 + (std::f64::consts::TAU * self.rss / df).ln())
    }

    /// (XᵀV⁻¹X)⁻¹, which times σ² is the covariance of β.
    pub(super) fn unscaled_covariance(&self) -> Mat<f64> {
        let (q, p) = (self.u.len(), self.beta.len());
        let inverse = inverse_of_triangle(self.r.as_ref().submatrix(q, q, p, p));
        product(inverse.as_ref(), inverse.transpose())
    }
}

/// The inverse of an upper triangle.
fn inverse_of_triangle(r: MatRef<'_, f64>) -> Mat<f64> {
    let mut inverse = Mat::identity(r.nrows(), r.nrows());
    r.solve_upper_triangular_in_place(&mut inverse);
    inverse
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::slopes_design;
    use super::*;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let problem = Problem::new(&slopes_design());
        let theta = [0.7, -0.3, 0.4, 0.9];
        assert_eq!(problem.n_theta(), theta.len());
        for method in [Method::Ml, Method::Reml] {
            let mut gradient = [0.0; 5];
            let mut ignored = [0.0; 5];
            problem.profiled(&theta, &mut gradient[..4], method);
            let h = 1e-5;
            for k in 0..4 {
                let mut value = |step: f64| {
                    let mut moved = theta;
                    moved[k] += step;
                    problem.profiled(&moved, &mut ignored[..4], method)
                };
                let difference = (value(h) - value(-h)) / (2.0 * h);
                // Differences of numbers near 100 over 2e-5, and h² of the third derivative.
                assert!((difference - gradient[k]).abs() < 1e-6, "{k}: {difference} {}", gradient[k]);
            }
            problem.at_sigma(&theta, 0.8, &mut gradient, method);
            let mut ignored = [0.0; 5];
            let mut value = |sigma| problem.at_sigma(&theta, sigma, &mut ignored, method);
            let difference = (value(0.8 + h) - value(0.8 - h)) / (2.0 * h);
            assert!((difference - gradient[4]).abs() < 1e-5 * gradient[4].abs(), "{difference} {}", gradient[4]);
        }
    }

    /// log N(y; Xβ, σ²V) written out with V itself.
    #[test]
    fn the_deviance_is_that_of_the_normal_density() {
        let design = slopes_design();
        let problem = Problem::new(&design);
        let (n, p) = design.x.shape();
        let theta = [0.7, -0.3, 0.4, 0.9];
        let mut v = Mat::<f64>::identity(n, n);
        for (effects, block) in design.random.iter().zip(&problem.blocks) {
            let scale = &problem.scales[block.first_theta.min(1)];
            let entry = |i: usize, j: usize| if j <= i { theta[block.at(i, j)] } else { 0.0 };
            for a in 0..n {
                for b in 0..n {
                    if effects.level_of[a] != effects.level_of[b] {
                        continue;
                    }
                    for j in 0..block.n_effects {
                        let side = |row| {
                            (0..block.n_effects).map(|i| effects.z[(row, i)] / scale[i] * entry(i, j)).sum::<f64>()
                        };
                        v[(a, b)] += side(a) * side(b);
                    }
                }
            }
        }
        let llt = v.llt(faer::Side::Lower).unwrap();
        use faer::linalg::solvers::Solve;
        let log_det: f64 = (0..n).map(|i| 2.0 * llt.L()[(i, i)].ln()).sum();
        let y = Mat::from_fn(n, 1, |i, _| design.y[i]);
        let normal = product(design.x.transpose(), llt.solve(&design.x).as_ref());
        let right = product(design.x.transpose(), llt.solve(&y).as_ref());
        let normal = normal.llt(faer::Side::Lower).unwrap();
        let beta = normal.solve(&right);
        let residual = &y - product(design.x.as_ref(), beta.as_ref());
        let rss = product(residual.transpose(), llt.solve(&residual).as_ref())[(0, 0)];
        let log_det_x: f64 = (0..p).map(|i| 2.0 * normal.L()[(i, i)].ln()).sum();

        let solution = problem.solve(&theta);
        // Rounding: the matrices have condition numbers below 1e4.
        assert!((solution.rss - rss).abs() < 1e-10 * rss, "{} {rss}", solution.rss);
        assert!((solution.log_det_z - log_det).abs() < 1e-10 && (solution.log_det_x - log_det_x).abs() < 1e-10);
        assert!((0..p).all(|k| (solution.beta[k] - beta[(k, 0)]).abs() < 1e-10));
    }
}
