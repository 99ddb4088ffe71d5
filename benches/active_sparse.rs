//! How many odd-one-out triplets chosen by `alike next` predict as well as random ones: a subject with planted sparse weights
//! answers by softmax, in rounds. Prints a row for each arm, round and seed, then the means over seeds.
//!
//! `ALIKE_ACTIVE_SEEDS` says how many seeds (6).
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, HashSet};

use alike::embedding::odd_one_out::answers_by_dot_products;
use alike::embedding::sparse::{SparseSettings, best_matches};
use alike::embedding::{Answered, Fitting, holds_out};
use alike::odd_one_out::{OddOneOut, exhaustive};
use alike::presentations::Presentation;
use alike::seed::Streams;
use alike::stats::{mean, softmax};
use faer::{Mat, MatRef};
use rand::RngExt;
use rayon::prelude::*;

const CONCEPTS: usize = 60;
const PLANTED: usize = 8;
const DIMS: usize = 12;
const MEMBERS: usize = 10;
const HOLDOUT: f64 = 0.2;
/// Random triplets to begin with; a round adds one for every so many.
const START: usize = 500;
const GROWTH: usize = 3;
const MOST: usize = 10_000;

/// Who answers, and the triplets that are never trained on.
struct Bench {
    weights: Mat<f64>,
    heldout: Vec<OddOneOut>,
    seed: u64,
}

/// What a fit is worth, without the noise of answers: mean divergence of its predictions from the subject's probabilities on the
/// held-out triplets (nats), share of them on which both hold the same answer the likeliest, and the planted dimensions' best
/// correlations, their mean.
type Worth = [f64; 3];

fn main() {
    let n_seeds: u64 = std::env::var("ALIKE_ACTIVE_SEEDS").map_or(6, |n| n.parse().unwrap());
    println!("seed,loss,arm,n_triplets,divergence_nats,same_answer,matched");
    let rows: Vec<_> = (1..=n_seeds).into_par_iter().flat_map_iter(one_seed).collect();
    let mut means: BTreeMap<(String, usize), Vec<Worth>> = BTreeMap::new();
    for (seed, arm, n, worth) in rows {
        println!("{seed},{arm},{n},{:.4},{:.4},{:.4}", worth[0], worth[1], worth[2]);
        means.entry((arm, n)).or_default().push(worth);
    }
    for ((arm, n), worths) in means {
        let [nats, same, matched] = [0, 1, 2].map(|at| mean(&worths.iter().map(|w| w[at]).collect::<Vec<_>>()));
        println!("# {arm:14} {n:5}: {nats:.4} nats, {same:.3} the same, matched {matched:.3}");
    }
}

fn one_seed(seed: u64) -> Vec<(u64, String, usize, Worth)> {
    let is_held_out = holds_out(HOLDOUT, seed);
    let (heldout, mut random): (Vec<OddOneOut>, Vec<OddOneOut>) =
        exhaustive(CONCEPTS, false, seed).into_iter().partition(|shown| is_held_out(shown.id(CONCEPTS)));
    let luck = Streams::new(seed, "bench shuffle");
    random.sort_by_cached_key(|shown| luck.rng(shown.id(CONCEPTS).cast_unsigned()).random::<u64>());
    let bench = Bench { weights: planted(seed), heldout, seed };
    let sizes: Vec<usize> =
        std::iter::successors(Some(START), |n| Some(n + n / GROWTH)).take_while(|n| *n <= MOST).collect();
    let mut rows = vec![];
    for (loss, settings) in [("spose", SparseSettings::spose(DIMS, seed)), ("vice", SparseSettings::vice(DIMS, seed))] {
        let fitting = Fitting::DotProducts(SparseSettings { holdout: 0.0, ..settings });
        for (arm, power) in [("random", None), ("power 4", Some(4.0))] {
            let mut asked = random[..START].to_vec();
            for &size in &sizes {
                match power {
                    Some(power) if size > asked.len() => bench.choose(&mut asked, &random, size, power, &fitting),
                    _ => asked = if power.is_none() { random[..size].to_vec() } else { asked },
                }
                rows.push((seed, format!("{loss},{arm}"), size, bench.worth(&asked, &fitting)));
            }
        }
    }
    rows
}

/// A quarter of the weights lie between 0.5 and 2, the others are zero.
fn planted(seed: u64) -> Mat<f64> {
    let mut rng = Streams::new(seed, "planted").rng(0);
    let mut weight = || if rng.random::<f64>() < 0.25 { 0.5 + 1.5 * rng.random::<f64>() } else { 0.0 };
    Mat::from_fn(CONCEPTS, PLANTED, |_, _| weight())
}

/// The probability that each place is named.
fn predicted(w: MatRef<'_, f64>, shown: &OddOneOut) -> Vec<f64> {
    let ids = shown.concepts().map(|id| id as usize);
    let dot = |i: usize, j: usize| (0..w.ncols()).map(|k| w[(i, k)] * w[(j, k)]).sum::<f64>();
    softmax(&[dot(ids[1], ids[2]), dot(ids[0], ids[2]), dot(ids[0], ids[1])], 1.0)
}

fn likeliest(p: &[f64]) -> Option<usize> {
    (0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b]))
}

impl Bench {
    fn answers(&self, asked: &[OddOneOut]) -> Answered {
        Answered::OddOneOut(answers_by_dot_products(self.weights.as_ref(), asked, self.seed))
    }

    fn worth(&self, asked: &[OddOneOut], fitting: &Fitting) -> Worth {
        let (x, _) = fitting.fit(CONCEPTS, &self.answers(asked)).unwrap();
        let of = |shown: &OddOneOut| {
            let (p, q) = (predicted(self.weights.as_ref(), shown), predicted(x.as_ref(), shown));
            let nats: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
            (nats, if likeliest(&p) == likeliest(&q) { 1.0 } else { 0.0 })
        };
        let (nats, same): (Vec<f64>, Vec<f64>) = self.heldout.iter().map(of).unzip();
        let matched = best_matches(self.weights.as_ref(), x.as_ref()).unwrap();
        [mean(&nats), mean(&same), mean(&matched)]
    }

    /// Grows `asked` to a size, as `alike next` would.
    fn choose(&self, asked: &mut Vec<OddOneOut>, all: &[OddOneOut], size: usize, power: f64, fitting: &Fitting) {
        let n = size - asked.len();
        let known: HashSet<i64> = asked.iter().map(|shown| shown.id(CONCEPTS)).collect();
        let free: Vec<OddOneOut> = all.iter().filter(|shown| !known.contains(&shown.id(CONCEPTS))).copied().collect();
        let Ok((_, ensemble)) = fitting.ensemble(CONCEPTS, &self.answers(asked), MEMBERS, self.seed) else {
            asked.extend(&free[..n]); // no dimension survived yet: at random, as the error advises
            return;
        };
        let candidates: Vec<Presentation> = free.into_iter().map(Presentation::OddOneOut).collect();
        for shown in ensemble.choose(&candidates, n, CONCEPTS, power, self.seed).unwrap() {
            let Presentation::OddOneOut(shown) = shown else { unreachable!("candidates are odd-one-out triplets") };
            asked.push(shown);
        }
    }
}
