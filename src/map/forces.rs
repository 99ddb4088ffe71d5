//! What pulls and pushes the concepts of a map: the sums over all pairs that the gradient and the divergence are made of.

use faer::traits::pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::affinities::{Affinities, GROUP};

/// Concepts to a stripe, which one thread takes at a time; a map of fewer than twice as many is one stripe and wakes no other thread.
/// Stripes depend on the number of concepts alone and are added up in order, so the numbers do not depend on threads.
const STRIPE: usize = 128;

/// Rows that meet the columns together, so that sums of columns are fetched once for all of them: as many as registers hold.
const ROWS: usize = 4;

/// What fills the last group lies here and at multiples: so far from everything that w, one over a square, is 0.
const FAR: f64 = 1e200;

/// The sums at a map, which are kept from one to the next for their memory.
pub(super) struct Forces {
    /// The map's two columns, filled up to whole groups.
    places: [Vec<f64>; 2],
    /// The first holds the sums over all in the end.
    stripes: Vec<Sums>,
}

/// With w_ij = 1 / (1 + ‖y_i − y_j‖²), over the pairs of a stripe:
struct Sums {
    /// For each concept Σ p_ij w_ij (y_j − y_i), the pull, and Σ w_ij² (y_j − y_i), the push away from where it points.
    forces: [Vec<f64>; 4],
    /// Z = Σ_i≠j w_ij.
    z: f64,
}

impl Forces {
    pub(super) fn new(n: usize) -> Self {
        let filled = n.next_multiple_of(GROUP);
        let mut places = [vec![0.0; filled], vec![0.0; filled]];
        for (k, place) in places[0][n..].iter_mut().enumerate() {
            *place = FAR * (k + 1) as f64;
        }
        let sums = || Sums { forces: std::array::from_fn(|_| vec![0.0; filled]), z: 0.0 };
        Self { places, stripes: (0..(n / STRIPE).max(1)).map(|_| sums()).collect() }
    }

    /// Takes the sums at a map.
    pub(super) fn at(&mut self, affinities: &Affinities, y: &[[f64; 2]]) {
        for (k, column) in self.places.iter_mut().enumerate() {
            column.iter_mut().zip(y).for_each(|(to, y)| *to = y[k]);
        }
        let (places, n_stripes) = (self.places.each_ref().map(Vec::as_slice), self.stripes.len());
        self.stripes.par_iter_mut().enumerate().for_each(|(first, sums)| {
            Arch::new().dispatch(Stripe { affinities, places, first, n_stripes, sums });
        });
        let (total, others) = self.stripes.split_first_mut().expect("there is at least one stripe");
        for stripe in others {
            for (to, from) in total.forces.iter_mut().zip(&stripe.forces) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
            total.z += stripe.z;
        }
    }

    /// The gradient of the divergence by the place of concept i, with P exaggerated.
    pub(super) fn gradient(&self, i: usize, exaggeration: f64) -> [f64; 2] {
        let Sums { forces: [pull_x, pull_y, push_x, push_y], z } = &self.stripes[0];
        [(pull_x, push_x), (pull_y, push_y)].map(|(pull, push)| 4.0 * (push[i] / z - exaggeration * pull[i]))
    }

    /// Σ p_ij ln(p_ij / q_ij) at the map that [`Self::at`] was given.
    pub(super) fn divergence(&self, affinities: &Affinities) -> f64 {
        // −ln q_ij = ln(1 + ‖y_i − y_j‖²) + ln Z, and P adds up to 1.
        let [xs, ys] = &self.places;
        let row = |i: usize| -> f64 {
            let term = |(p, (x, y)): (&f64, (&f64, &f64))| {
                let (dx, dy) = (xs[i] - x, ys[i] - y);
                p * (1.0 + dx * dx + dy * dy).ln()
            };
            affinities.row(i)[i + 1..].iter().zip(xs[i + 1..].iter().zip(&ys[i + 1..])).map(term).sum()
        };
        let rows: Vec<f64> = (0..affinities.n_concepts()).into_par_iter().with_min_len(STRIPE).map(row).collect();
        affinities.negentropy() + 2.0 * rows.iter().sum::<f64>() + self.stripes[0].z.ln()
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

/// The sums of one stripe: every so many groups of rows, each with itself and the columns after it. Rows become shorter, and in
/// this way all stripes have about as many pairs.
struct Stripe<'a> {
    affinities: &'a Affinities,
    places: [&'a [f64]; 2],
    first: usize,
    n_stripes: usize,
    sums: &'a mut Sums,
}

impl WithSimd for Stripe<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { affinities, places, first, n_stripes, sums: Sums { forces, z } } = self;
        forces.iter_mut().for_each(|sums| sums.fill(0.0));
        *z = 0.0;
        let n = places[0].len();
        for from in (first * GROUP..n).step_by(n_stripes * GROUP) {
            let to = from + GROUP;
            for i in (from..to).step_by(ROWS) {
                let p: [&[f64]; ROWS] = std::array::from_fn(|r| affinities.filled_row(i + r));
                let rows: [[f64; 2]; ROWS] = std::array::from_fn(|r| places.map(|column| column[i + r]));
                // Within the group both orders of a pair come along, so that a pair is the row's alone.
                let mut unused = [[0.0; GROUP]; 4];
                let (columns, p_within) = (places.map(|column| &column[from..to]), p.map(|p| &p[from..to]));
                let (within, z_within) =
                    meet(simd, p_within, rows, columns, unused.each_mut().map(<[f64; GROUP]>::as_mut_slice));
                let (columns, p_after) = (places.map(|column| &column[to..]), p.map(|p| &p[to..]));
                let (after, z_after) =
                    meet(simd, p_after, rows, columns, forces.each_mut().map(|sums| &mut sums[to..]));
                for r in 0..ROWS {
                    for k in 0..4 {
                        forces[k][i + r] -= within[r][k] + after[r][k];
                    }
                }
                *z += z_within + 2.0 * z_after - ROWS as f64; // but for a concept's own
            }
        }
    }
}

/// Adds what concepts at `rows` do to those at `columns` to the sums of these; returns the same of each row, to be taken from its
/// own, and Σ w.
#[inline(always)]
fn meet<S: Simd>(
    simd: S,
    p: [&[f64]; ROWS],
    rows: [[f64; 2]; ROWS],
    columns: [&[f64]; 2],
    sums: [&mut [f64]; 4],
) -> ([[f64; 4]; ROWS], f64) {
    let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
    let (mut of_rows, mut z) = ([[zero; 4]; ROWS], zero);
    let rows = rows.map(|place| place.map(|at| simd.splat_f64s(at)));
    let columns = columns.map(|column| S::as_simd_f64s(column).0);
    // One length for all, so that it is checked here and not at each step.
    let n = columns[0].len();
    let [xs, ys] = columns.map(|column| &column[..n]);
    let p = p.map(|p| &S::as_simd_f64s(p).0[..n]);
    let sums = sums.map(|sums| &mut S::as_mut_simd_f64s(sums).0[..n]);
    for j in 0..n {
        let mut of_columns: [S::f64s; 4] = std::array::from_fn(|k| sums[k][j]);
        for r in 0..ROWS {
            let (dx, dy) = (simd.sub_f64s(rows[r][0], xs[j]), simd.sub_f64s(rows[r][1], ys[j]));
            let w = simd.div_f64s(one, simd.mul_add_e_f64s(dx, dx, simd.mul_add_e_f64s(dy, dy, one)));
            let (pull, push) = (simd.mul_f64s(p[r][j], w), simd.mul_f64s(w, w));
            z = simd.add_f64s(z, w);
            for (k, (strength, along)) in [(pull, dx), (pull, dy), (push, dx), (push, dy)].into_iter().enumerate() {
                of_rows[r][k] = simd.mul_add_e_f64s(strength, along, of_rows[r][k]);
                of_columns[k] = simd.mul_add_e_f64s(strength, along, of_columns[k]);
            }
        }
        for k in 0..4 {
            sums[k][j] = of_columns[k];
        }
    }
    let mut totals = [[0.0; 4]; ROWS]; // loops and not `map`, which is a call here
    for r in 0..ROWS {
        for k in 0..4 {
            totals[r][k] = simd.reduce_sum_f64s(of_rows[r][k]);
        }
    }
    (totals, simd.reduce_sum_f64s(z))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use faer::Mat;

    use super::*;

    #[test]
    fn each_pair_counts_both_ways_and_fillers_not_at_all() {
        // Of less than a group, of whole ones and more, and of several stripes.
        for n in [4, 7, 8, 9, 24, 130, 2 * STRIPE, 3 * STRIPE + 5] {
            let x = Mat::from_fn(n, 3, |i, k| ((i * 37 + k * 101 + i * i * (k + 3)) % 257) as f64 / 64.0);
            let y: Vec<[f64; 2]> = (0..n).map(|i| [(i as f64).sin(), (0.7 * i as f64).cos() - 0.3]).collect();
            let affinities = Affinities::new(x.as_ref(), 2.0).unwrap();
            let w = |i: usize, j: usize| 1.0 / (1.0 + (y[i][0] - y[j][0]).powi(2) + (y[i][1] - y[j][1]).powi(2));
            let others = |i: usize| (0..n).filter(move |j| *j != i);
            let z: f64 = (0..n).flat_map(|i| others(i).map(move |j| (i, j))).map(|(i, j)| w(i, j)).sum();
            let mut forces = Forces::new(n);
            forces.at(&affinities, &[[5.0, -2.0]].repeat(n)); // nothing of this stays
            forces.at(&affinities, &y);
            let mut kl = 0.0;
            for i in 0..n {
                let mut expected = [0.0; 2];
                for j in others(i) {
                    let (p, q) = (affinities.row(i)[j], w(i, j) / z);
                    kl += if p > 0.0 { p * (p / q).ln() } else { 0.0 };
                    for k in 0..2 {
                        expected[k] += 4.0 * (3.0 * p - q) * w(i, j) * (y[i][k] - y[j][k]);
                    }
                }
                let found = forces.gradient(i, 3.0);
                // Rounding of sums whose terms add up to less than 1.
                assert!((0..2).all(|k| (found[k] - expected[k]).abs() < 1e-14), "{n} {i}: {found:?}, {expected:?}");
            }
            let found = forces.divergence(&affinities);
            assert!((found - kl).abs() < 1e-13, "{n}: {found}, {kl}"); // what cancels is near ln n²
        }
    }
}
