//! How many triplets chosen by `alike next` predict as well as 35,000 random ones: a subject with a human geometry of the 128
//! concepts answers at 88 % agreement, in rounds. Prints a row for each arm, round and seed, then what it comes to.
//!
//! `ALIKE_HUMAN_REFERENCE` and `ALIKE_HUMAN_NAMES` name the human embedding; `ALIKE_ACTIVE_SEEDS` how many seeds (3).
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::HashSet;
use std::path::PathBuf;

use alike::alignment::Measure;
use alike::concepts::Concepts;
use alike::embedding::active::Ensemble;
use alike::embedding::{Comparison, Fit, FitSettings, fit, holds_out, triplet_accuracy};
use alike::presentations::{self, Presentation, Task};
use alike::reference::{Matching, Reference};
use alike::respondents::{ResponseModel, SimulatedSubject};
use faer::{Mat, MatRef};

const CONCEPTS: usize = 128;
const DIMS: usize = 30;
const MEMBERS: usize = 10;
const HOLDOUT: f64 = 0.2;
/// Powers of the information that triplets are drawn by.
const POWERS: [f64; 3] = [1.0, 4.0, 16.0];
/// Random triplets to begin with; a round adds one for every so many.
const START: usize = 2_000;
const GROWTH: usize = 4;

/// Who answers, and what is never trained on.
struct Bench {
    human: Mat<f64>,
    subject: SimulatedSubject,
    noise_free: SimulatedSubject,
    heldout: Vec<Presentation>,
    seed: u64,
}

/// What a fit is worth.
#[derive(Clone, Copy)]
struct Worth {
    heldout: f64,
    noise_free: f64,
    r2: f64,
}

fn main() {
    let variables =
        ["ALIKE_HUMAN_REFERENCE", "ALIKE_HUMAN_NAMES"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let [Some(file), Some(names)] = variables else {
        println!("skipped: ALIKE_HUMAN_REFERENCE and ALIKE_HUMAN_NAMES do not name a human embedding");
        return;
    };
    let list = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/concepts/things128.csv");
    let concepts = Concepts::read_csv(&list).unwrap();
    let human = Reference::read(&file, Some(&names), &concepts, &Matching::default()).unwrap().coordinates;
    let n_seeds: u64 = std::env::var("ALIKE_ACTIVE_SEEDS").map_or(3, |n| n.parse().unwrap());
    println!("seed,arm,n_triplets,heldout_accuracy,noise_free_accuracy,procrustes_r2");
    let reached: Vec<String> = (1..=n_seeds).map(|seed| one_seed(human.as_ref(), seed)).collect();
    reached.iter().for_each(|line| println!("# {line}"));
}

/// All arms under one seed; in how many triplets each reaches what all random ones reach.
fn one_seed(human: MatRef<'_, f64>, seed: u64) -> String {
    let asked = presentations::random(Task::Anchored, CONCEPTS, 35_000, false, seed).unwrap();
    let model = ResponseModel::with_agreement(human, Task::Anchored, &asked, 0.88).unwrap();
    let is_held_out = holds_out(HOLDOUT, seed);
    let (heldout, mut random): (Vec<Presentation>, Vec<Presentation>) =
        asked.into_iter().partition(|shown| is_held_out(shown.id(CONCEPTS)));
    shuffle(&mut random, seed);
    let bench = Bench {
        human: human.to_owned(),
        subject: SimulatedSubject::new(human, model, seed).unwrap(),
        noise_free: SimulatedSubject::new(human, ResponseModel::NoiseFree, seed).unwrap(),
        heldout,
        seed,
    };
    let sizes: Vec<usize> = std::iter::successors(Some(START), |n| Some(n + n / GROWTH))
        .take_while(|n| *n < random.len())
        .chain([random.len()])
        .collect();

    let curve_of_random: Vec<(usize, Worth)> =
        sizes.iter().map(|&size| (size, bench.worth("random", &random[..size]))).collect();
    let (n_random, target) = *curve_of_random.last().unwrap();
    let mut line = format!(
        "seed {seed}: {n_random} random ones reach held-out {:.4}, noise-free {:.4}, R² {:.3}; within 0.005 of it held-out {}",
        target.heldout,
        target.noise_free,
        target.r2,
        first(&curve_of_random, |w| w.heldout, target.heldout - 0.005),
    );
    for power in POWERS {
        let mut chosen = random[..START].to_vec();
        let mut curve = vec![];
        for &size in &sizes {
            if size > chosen.len() {
                bench.choose(&mut chosen, size, power);
            }
            curve.push((size, bench.worth(&format!("power {power}"), &chosen)));
        }
        line += &format!(
            "; power {power}: {}, {}, {}; {}",
            first(&curve, |w| w.heldout, target.heldout),
            first(&curve, |w| w.noise_free, target.noise_free),
            first(&curve, |w| w.r2, target.r2),
            first(&curve, |w| w.heldout, target.heldout - 0.005),
        );
    }
    line
}

/// The first size of a curve that reaches a bar.
fn first(curve: &[(usize, Worth)], of: fn(&Worth) -> f64, bar: f64) -> String {
    let first = curve.iter().find(|(_, worth)| of(worth) >= bar);
    first.map_or("never".to_owned(), |(size, _)| size.to_string())
}

impl Bench {
    fn answers(&self, subject: &SimulatedSubject, asked: &[Presentation]) -> Vec<Comparison> {
        let answer = |shown: &Presentation| {
            let ([anchor, first, second], triplet) = (shown.concepts(), shown.id(CONCEPTS));
            let p_first = if subject.choose(shown, shown.key(CONCEPTS, 0)).1 == 0 { 1.0 } else { 0.0 };
            Comparison { triplet, anchor, first, second, p_first, weight: 1.0 }
        };
        asked.iter().map(answer).collect()
    }

    /// The fit to the answers, with the penalty that they choose.
    fn fitted(&self, answers: &[Comparison]) -> Fit {
        fit(CONCEPTS, answers, &FitSettings { holdout: 0.0, ..FitSettings::robust(DIMS, self.seed) }).unwrap()
    }

    /// What the fit to the answers to `asked` is worth.
    fn worth(&self, arm: &str, asked: &[Presentation]) -> Worth {
        let fitted = self.fitted(&self.answers(&self.subject, asked));
        let x = fitted.coordinates.as_ref();
        let accuracy = |subject| triplet_accuracy(x, &self.answers(subject, &self.heldout)).unwrap().share;
        let worth = Worth {
            heldout: accuracy(&self.subject),
            noise_free: accuracy(&self.noise_free),
            r2: Measure::ProcrustesR2.value(self.human.as_ref(), x).unwrap(),
        };
        let Worth { heldout, noise_free, r2 } = worth;
        println!("{},{arm},{},{heldout:.4},{noise_free:.4},{r2:.4}", self.seed, asked.len());
        worth
    }

    /// Grows `chosen` to a size, as `alike next` would.
    fn choose(&self, chosen: &mut Vec<Presentation>, size: usize, power: f64) {
        let answers = self.answers(&self.subject, chosen);
        let ensemble = Ensemble::of_distances(&self.fitted(&answers), &answers, MEMBERS, self.seed).unwrap();
        let asked: HashSet<i64> = chosen.iter().map(|shown| shown.id(CONCEPTS)).collect();
        let is_held_out = holds_out(HOLDOUT, self.seed);
        let free = |id: &i64| !asked.contains(id) && !is_held_out(*id);
        let ids = (0..Task::Anchored.count(CONCEPTS)).filter(free);
        let candidates = presentations::of_ids(Task::Anchored, ids, CONCEPTS, self.seed);
        chosen.extend(ensemble.choose(&candidates, size - chosen.len(), CONCEPTS, power, self.seed).unwrap());
    }
}

/// Random triplets come sorted; their first ones are to be a random part.
fn shuffle(presentations: &mut [Presentation], seed: u64) {
    use rand::RngExt;
    let streams = alike::seed::Streams::new(seed, "bench shuffle");
    presentations.sort_by_cached_key(|shown| streams.rng(shown.id(CONCEPTS).cast_unsigned()).random::<u64>());
}
