//! Crowd-kernel on the ratio itself, which needs one division for a term, where the difference of two logarithms needs an
//! exponential of its own for each.

use faer::traits::pulp::Simd;

use super::super::dissimilarity::LOG_FLOOR;
use super::super::elementary::{ln, sum_of_ln};
use super::super::link::{CHUNK, all_equal};
use super::{Data, Form};
use crate::linalg::dot;

/// With v = μ + dist2 a term is ln(v_first + v_second) − p ln v_second − (1 − p) ln v_first: only the first logarithm is of
/// the term, the others are of an entry, and what answers against the entry weigh together is known before.
#[derive(Clone, Copy)]
pub(super) struct Ratio {
    pub(super) mu: f64,
}

impl Form for Ratio {
    #[inline(always)]
    fn cost<S: Simd>(self, data: &Data, anchor: usize, entries: &mut [f64], [values, logs]: [&mut [f64]; 2]) -> f64 {
        for (entry, value) in entries.iter_mut().zip(values.iter_mut()) {
            let shifted = self.mu + *entry;
            *value = if shifted > LOG_FLOOR { shifted } else { LOG_FLOOR };
            *entry = 0.0;
        }
        let terms = &data.terms;
        let (mut sums, mut weight) = ([0.0; CHUNK], [0.0; CHUNK]);
        let mut total = 0.0;
        let all = terms.of(anchor);
        for start in all.clone().step_by(CHUNK) {
            let chunk = start..(start + CHUNK).min(all.end);
            let options = || terms.first[chunk.clone()].iter().zip(&terms.second[chunk.clone()]);
            let (sums, weight) = (&mut sums[..chunk.len()], &mut weight[..chunk.len()]);
            for (sum, (first, second)) in sums.iter_mut().zip(options()) {
                *sum = values[*first as usize] + values[*second as usize];
            }
            terms.weight.copy(chunk.clone(), weight);
            total += if all_equal(weight) {
                weight[0] * sum_of_ln::<S>(sums)
            } else {
                weight.iter().zip(&*sums).map(|(weight, sum)| weight * ln::<S>(*sum)).sum()
            };
            sums.iter_mut().zip(&*weight).for_each(|(sum, weight)| *sum = weight / *sum);
            for (slope, (first, second)) in sums.iter().zip(options()) {
                entries[*first as usize] += slope;
                entries[*second as usize] += slope;
            }
        }
        let against = &data.against[data.list(anchor..anchor + 1)];
        for (((entry, value), against), log) in entries.iter_mut().zip(&*values).zip(against).zip(logs.iter_mut()) {
            let slope = *entry - against / value;
            *entry = if *value > LOG_FLOOR { slope } else { 0.0 };
            *log = ln::<S>(*value);
        }
        total - dot(against, logs)
    }
}

/// For each entry of the lists, Σ w P(the other option was chosen) over the terms that name it.
pub(super) fn against(data: &Data) -> Vec<f64> {
    let (terms, n) = (&data.terms, data.n_concepts());
    let mut against = vec![0.0; data.list(0..n).len()];
    let (mut p_first, mut weight) = (vec![], vec![]);
    for anchor in 0..n {
        let against = &mut against[data.list(anchor..anchor + 1)];
        let of_anchor = terms.of(anchor);
        p_first.resize(of_anchor.len(), 0.0);
        weight.resize(of_anchor.len(), 0.0);
        terms.p_first.copy(of_anchor.clone(), &mut p_first);
        terms.weight.copy(of_anchor.clone(), &mut weight);
        for (term, (p_first, weight)) in of_anchor.zip(p_first.iter().zip(&weight)) {
            against[terms.first[term] as usize] += weight * (1.0 - p_first);
            against[terms.second[term] as usize] += weight * p_first;
        }
    }
    against
}
