//! How often nominal 95 % intervals hold what they should, by simulation; see docs/alignment.md.
//!
//!     cargo bench --bench coverage                 # over concepts: 128 drawn from a population, 30 dimensions
//!     cargo bench --bench coverage -- refits       # over triplets: 35,000 answered with noise, refitted
//!
//! A number after that replaces the replications.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use alike::alignment::interval::{Interval, bootstrap, jackknife, of_refits, subsample};
use alike::alignment::{Measure, RdmCorrelation, RdmDistance};
use alike::embedding::bootstrap::Bootstrap;
use alike::embedding::{Comparison, FitSettings, fit};
use alike::respondents::{ResponseModel, SimulatedSubject, tau_for_agreement};
use alike::seed::Streams;
use alike::stats::{mean, quantile, spearman, standard_normal};
use faer::Mat;
use rand::RngExt;
use rayon::prelude::*;

const CONCEPTS: usize = 128;
const DIMS: i32 = 30;
const RSA: Measure = Measure::Rsa { distance: RdmDistance::Euclidean, correlation: RdmCorrelation::Spearman };
const MEASURES: [Measure; 4] = [Measure::ProcrustesR2, Measure::CkaLinearBiased, Measure::CkaLinearDebiased, RSA];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = arguments.last().and_then(|argument| argument.parse().ok());
    match arguments.first().map(String::as_str) {
        Some("refits") => refits(number.unwrap_or(200)),
        _ => [0.3, 0.7].into_iter().for_each(|alpha| concepts(alpha, number.unwrap_or(400))),
    }
}

/// Concepts from a population: x_k = s_k z_k and y_k = s_k (α z_k + √(1 − α²) w_k), z and w standard normal, s_k = 0.9^k. There
/// Procrustes R² and CKA are α² exactly, whatever the s_k.
fn drawn(n: usize, alpha: f64, streams: &Streams, key: u64) -> [Mat<f64>; 2] {
    let mut rng = streams.rng(key);
    let mut x = Mat::zeros(n, usize::try_from(DIMS).unwrap());
    let mut y = x.clone();
    for i in 0..n {
        for (k, scale) in (0..DIMS).map(|k| 0.9_f64.powi(k)).enumerate() {
            let (z, w) = (standard_normal(&mut rng), standard_normal(&mut rng));
            x[(i, k)] = scale * z;
            y[(i, k)] = scale * (alpha * z + (1.0 - alpha * alpha).sqrt() * w);
        }
    }
    [x, y]
}

/// Each measure's value in the population.
fn population(alpha: f64) -> [f64; 4] {
    // Spearman's correlation between the distances of two concepts, from many pairs that share no concept.
    let n = 400_000;
    let [x, y] = drawn(2 * n, alpha, &Streams::new(2, "coverage population"), 0);
    let distances = |side: &Mat<f64>| -> Vec<f64> {
        let dist2 =
            |i: usize| (0..side.ncols()).map(|k| (side[(2 * i, k)] - side[(2 * i + 1, k)]).powi(2)).sum::<f64>();
        (0..n).map(dist2).collect()
    };
    let r2 = alpha * alpha;
    [r2, r2, r2, spearman(&distances(&x), &distances(&y)).unwrap()]
}

/// One method's intervals for one measure, a replication each.
struct Row {
    measure: Measure,
    method: &'static str,
    intervals: Vec<(f64, f64)>,
}

impl Row {
    fn covers(&self, truth: f64) -> f64 {
        let n = self.intervals.iter().filter(|(lo, hi)| (*lo..=*hi).contains(&truth)).count();
        100.0 * n as f64 / self.intervals.len() as f64
    }

    fn print(&self, truths: [f64; 2]) {
        let width = mean(&self.intervals.iter().map(|(lo, hi)| hi - lo).collect::<Vec<_>>());
        let [first, second] = truths.map(|truth| self.covers(truth));
        println!("  {:24} {:32} {first:6.1} {second:6.1}   {width:.3}", self.measure.key(), self.method);
    }
}

fn concepts(alpha: f64, n_replications: u64) {
    let truth = population(alpha);
    let streams = Streams::new(1, "coverage");
    let replicate = |key: u64| {
        let [x, y] = drawn(CONCEPTS, alpha, &streams, key);
        let (x, y) = (x.as_ref(), y.as_ref());
        let of_measure = |measure: Measure| {
            let value = measure.value(x, y).unwrap();
            let ends = |interval: Interval| (interval.lo, interval.hi);
            let jack = jackknife(measure, x, y).unwrap();
            let half = subsample(measure, x, y, 200, key).unwrap();
            // What the bootstrap does to measures whose self-pairs cannot be left out.
            let naive = || {
                let mut rng = Streams::new(key, "coverage bootstrap").rng(0);
                let mut draw = || {
                    let ids: Vec<usize> = (0..CONCEPTS).map(|_| rng.random_range(0..CONCEPTS)).collect();
                    let [x, y] = [x, y].map(|side| Mat::from_fn(CONCEPTS, side.ncols(), |i, k| side[(ids[i], k)]));
                    measure.value(x.as_ref(), y.as_ref()).unwrap()
                };
                let draws: Vec<f64> = (0..200).map(|_| draw()).collect();
                (quantile(&draws, 0.025).unwrap(), quantile(&draws, 0.975).unwrap())
            };
            let boot = match measure {
                Measure::Rsa { .. } => ends(bootstrap(measure, x, y, 200, key).unwrap()),
                _ => naive(),
            };
            let (reach, corrected) = (jack.hi - value, jack.corrected.unwrap());
            (value, [(corrected - reach, corrected + reach), ends(jack), ends(half), boot])
        };
        MEASURES.map(of_measure)
    };
    let all: Vec<_> = (0..n_replications).into_par_iter().map(replicate).collect();
    println!("alpha {alpha}, {n_replications} replications of {CONCEPTS} concepts × {DIMS} dimensions");
    println!("  measure                  interval                         population  mean at 128   width");
    for (m, measure) in MEASURES.into_iter().enumerate() {
        let values: Vec<f64> = all.iter().map(|of| of[m].0).collect();
        let expected = mean(&values);
        println!("  {measure}: population {:.4}, mean value at {CONCEPTS} {expected:.4}", truth[m]);
        let methods =
            ["jackknife, corrected", "jackknife, around the value", "half-samples", "bootstrap over concepts"];
        for (i, method) in methods.into_iter().enumerate() {
            let intervals = all.iter().map(|of| of[m].1[i]).collect();
            Row { measure, method, intervals }.print([truth[m], expected]);
        }
    }
}

/// One subject whose geometry has R² ½ with the reference, asked other 35,000 triplets in every replication.
fn refits(n_replications: u64) {
    let [reference, subject] = drawn(CONCEPTS, 0.5_f64.sqrt(), &Streams::new(3, "coverage refits"), 0);
    let triplets = alike::triplets::random(CONCEPTS, 35_000, false, 1).unwrap();
    let asked: Vec<[u32; 3]> = triplets.iter().map(|t| [t.anchor, t.first, t.second]).collect();
    let tau = tau_for_agreement(subject.as_ref(), &asked, 0.88).unwrap();
    let settings = FitSettings::robust(usize::try_from(DIMS).unwrap(), 1).with_l2(1e-3);
    let value = |measure: Measure, x: &Mat<f64>| measure.value(reference.as_ref(), x.as_ref()).unwrap();
    let replicate = |seed: u64| {
        let answers = SimulatedSubject::new(subject.as_ref(), ResponseModel::Logistic { tau }, seed).unwrap();
        // Other triplets each time: the interval is about which were asked, and how they were answered.
        let triplets = alike::triplets::random(CONCEPTS, 35_000, false, seed).unwrap();
        let answer = |t: &alike::triplets::Triplet| {
            let (triplet, key) = (t.id(CONCEPTS), alike::seed::judgment_key(t.id(CONCEPTS), t.order(), 0));
            let p_first = f64::from(answers.answer(t.anchor, t.first, t.second, key).chose_first);
            Comparison { triplet, anchor: t.anchor, first: t.first, second: t.second, p_first, weight: 1.0 }
        };
        let comparisons: Vec<Comparison> = triplets.iter().map(answer).collect();
        let fitted = fit(CONCEPTS, &comparisons, &settings).unwrap();
        let draws = Bootstrap::new(&comparisons, &settings, fitted.coordinates.as_ref()).unwrap();
        let refits: Vec<Mat<f64>> = (0..40).map(|draw| draws.refit(draw).unwrap().coordinates).collect();
        MEASURES.map(|measure| {
            let own = value(measure, &fitted.coordinates);
            let values: Vec<f64> = refits.iter().map(|x| value(measure, x)).collect();
            let Interval { lo, hi, .. } = of_refits(own, &values).unwrap();
            let (low, high) = (quantile(&values, 0.025).unwrap(), quantile(&values, 0.975).unwrap());
            (own, [(lo, hi), (low, high), (2.0 * own - high, 2.0 * own - low)])
        })
    };
    let all: Vec<_> = (0..n_replications).into_par_iter().map(replicate).collect();
    println!("{n_replications} replications of 35,000 triplets, 40 refits each");
    println!("  measure                  interval                         subject  mean at 35,000   width");
    for (m, measure) in MEASURES.into_iter().enumerate() {
        let values: Vec<f64> = all.iter().map(|of| of[m].0).collect();
        let (truth, expected) = (value(measure, &subject), mean(&values));
        println!("  {measure}: subject {truth:.4}, mean value of fits {expected:.4}");
        for (i, method) in ["value ± t sd", "quantiles of refits", "quantiles, reflected"].into_iter().enumerate() {
            let intervals = all.iter().map(|of| of[m].1[i]).collect();
            Row { measure, method, intervals }.print([truth, expected]);
        }
    }
}
