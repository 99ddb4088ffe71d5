//! What pulls and pushes the concepts of a map: the sums over all pairs that the gradient and the divergence are made of.

use faer::traits::pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::affinities::Affinities;

/// Rows that one thread takes at a time, and below twice as many no other thread is woken. A row's sums are its own, so the
/// numbers do not depend on it.
const ROWS: usize = 128;

/// Sums side by side: what a vector of doubles holds.
const LANES: usize = 4;

/// The sums at a map, which are kept from one to the next for their memory.
pub(super) struct Forces {
    rows: Vec<Row>,
    /// Z = Σ_i≠j w_ij.
    z: f64,
    /// The map's two columns.
    columns: [Vec<f64>; 2],
}

/// The sums of one concept i over all others j, with w_ij = 1 / (1 + ‖y_i − y_j‖²).
#[derive(Clone, Copy, Default)]
struct Row {
    /// Σ p_ij w_ij (y_i − y_j).
    pull: [f64; 2],
    /// Σ w_ij² (y_i − y_j).
    push: [f64; 2],
    /// Σ w_ij.
    z: f64,
}

impl Forces {
    pub(super) fn new(n: usize) -> Self {
        Self { rows: vec![Row::default(); n], z: 0.0, columns: [vec![0.0; n], vec![0.0; n]] }
    }

    /// Takes the sums at a map.
    pub(super) fn at(&mut self, affinities: &Affinities, y: &[[f64; 2]]) {
        for (k, column) in self.columns.iter_mut().enumerate() {
            column.iter_mut().zip(y).for_each(|(to, y)| *to = y[k]);
        }
        let columns = &self.columns;
        let work = |(block, rows): (usize, &mut [Row])| {
            Arch::new().dispatch(Rows { affinities, columns, first: block * ROWS, rows });
        };
        if y.len() < 2 * ROWS {
            self.rows.chunks_mut(ROWS).enumerate().for_each(work);
        } else {
            self.rows.par_chunks_mut(ROWS).enumerate().for_each(work);
        }
        self.z = self.rows.iter().map(|row| row.z).sum();
    }

    /// The gradient of the divergence by the place of concept i, with P exaggerated.
    pub(super) fn gradient(&self, i: usize, exaggeration: f64) -> [f64; 2] {
        let Row { pull, push, .. } = self.rows[i];
        [0, 1].map(|k| 4.0 * (exaggeration * pull[k] - push[k] / self.z))
    }

    /// Σ p_ij ln(p_ij / q_ij) at the map that [`Self::at`] was given.
    pub(super) fn divergence(&self, affinities: &Affinities) -> f64 {
        // −ln q_ij = ln(1 + ‖y_i − y_j‖²) + ln Z
        let (log_z, [xs, ys]) = (self.z.ln(), &self.columns);
        let row = |i: usize| -> f64 {
            let term = |(p, (x, y)): (&f64, (&f64, &f64))| {
                let (dx, dy) = (xs[i] - x, ys[i] - y);
                if *p > 0.0 { p * (p.ln() + (dx * dx + dy * dy).ln_1p() + log_z) } else { 0.0 }
            };
            affinities.row(i).iter().zip(xs.iter().zip(ys)).map(term).sum()
        };
        let n = self.rows.len();
        let rows: Vec<f64> =
            if n < 2 * ROWS { (0..n).map(row).collect() } else { (0..n).into_par_iter().map(row).collect() };
        rows.iter().sum()
    }
}

impl Affinities {
    /// The Kullback–Leibler divergence of a map's neighbourhoods from these, Σ p_ij ln(p_ij / q_ij), and its gradient.
    ///
    /// q_ij = w_ij / Z with w_ij = 1 / (1 + ‖y_i − y_j‖²) and Z = Σ w_ij; gradient_i = 4 Σ_j (p_ij − q_ij) w_ij (y_i − y_j).
    ///
    /// # Shapes
    /// `y` and the gradient: `[n_concepts, 2]`
    /// # Units
    /// nats
    /// # Panics
    /// when the map has another number of concepts
    /// # Source
    /// van der Maaten & Hinton (2008), equations 4 and 5
    pub fn divergence(&self, y: &[[f64; 2]]) -> (f64, Vec<[f64; 2]>) {
        assert_eq!(y.len(), self.n_concepts(), "a map has a place for each concept");
        let mut forces = Forces::new(self.n_concepts());
        forces.at(self, y);
        (forces.divergence(self), (0..self.n_concepts()).map(|i| forces.gradient(i, 1.0)).collect())
    }
}

/// Some rows' sums, compiled for each vector extension.
struct Rows<'a> {
    affinities: &'a Affinities,
    columns: &'a [Vec<f64>; 2],
    first: usize,
    rows: &'a mut [Row],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [xs, ys] = self.columns;
        for (i, row) in (self.first..).zip(self.rows) {
            *row = sums(self.affinities.row(i), xs, ys, [xs[i], ys[i]]);
            row.z -= 1.0; // a concept's own
        }
    }
}

/// The sums over all j, the concept itself included.
#[inline(always)]
fn sums(p: &[f64], xs: &[f64], ys: &[f64], [x, y]: [f64; 2]) -> Row {
    let mut z = [0.0; LANES];
    let (mut pull_x, mut pull_y, mut push_x, mut push_y) = (z, z, z, z);
    let (mut ps, mut xs, mut ys) = (p.chunks_exact(LANES), xs.chunks_exact(LANES), ys.chunks_exact(LANES));
    for ((p, to_x), to_y) in ps.by_ref().zip(xs.by_ref()).zip(ys.by_ref()) {
        for l in 0..LANES {
            let (dx, dy) = (x - to_x[l], y - to_y[l]);
            let w = 1.0 / (1.0 + dx * dx + dy * dy);
            let (pull, push) = (p[l] * w, w * w);
            z[l] += w;
            pull_x[l] += pull * dx;
            pull_y[l] += pull * dy;
            push_x[l] += push * dx;
            push_y[l] += push * dy;
        }
    }
    for (l, ((p, to_x), to_y)) in ps.remainder().iter().zip(xs.remainder()).zip(ys.remainder()).enumerate() {
        let (dx, dy) = (x - to_x, y - to_y);
        let w = 1.0 / (1.0 + dx * dx + dy * dy);
        z[l] += w;
        pull_x[l] += p * w * dx;
        pull_y[l] += p * w * dy;
        push_x[l] += w * w * dx;
        push_y[l] += w * w * dy;
    }
    let total = |lanes: [f64; LANES]| lanes.iter().sum::<f64>();
    Row { pull: [total(pull_x), total(pull_y)], push: [total(push_x), total(push_y)], z: total(z) }
}
