//! Fits, permutations and ceilings at the paper's size: 128 concepts, 30 dimensions, 35,000 triplets, the answers simulated
//! from a planted geometry at 88 % agreement. Prints the median and the fastest of some runs.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use alike::alignment::{Measure, ceiling::matched_ceiling, ceiling::simulate};
use alike::embedding::{Answered, Comparison, Fit, FitSettings, fit};
use alike::respondents::{ResponseModel, SimulatedSubject, tau_for_agreement};
use alike::seed::Streams;
use alike::stats::standard_normal;
use faer::Mat;

const CONCEPTS: usize = 128;

fn main() {
    let mut rng = Streams::new(1, "bench geometry").rng(0);
    // Ten dimensions of falling weight, as human data have them.
    let reference =
        Mat::from_fn(CONCEPTS, 10, |_, k| standard_normal(&mut rng) * 0.8_f64.powi(i32::try_from(k).unwrap()));
    let triplets = alike::triplets::random(CONCEPTS, 35_000, false, 1).unwrap();
    let ids: Vec<[u32; 3]> = triplets.iter().map(|t| [t.anchor, t.first, t.second]).collect();
    let tau = tau_for_agreement(reference.as_ref(), &ids, 0.88).unwrap();
    let subject = SimulatedSubject::new(reference.as_ref(), ResponseModel::Logistic { tau }, 1).unwrap();
    let asked: Vec<Comparison> = triplets
        .iter()
        .map(|t| {
            let (triplet, anchor, first, second) = (t.id(CONCEPTS), t.anchor, t.first, t.second);
            Comparison { triplet, anchor, first, second, p_first: 1.0, weight: 1.0 }
        })
        .collect();
    let answered = simulate(&subject, &Answered::Anchored(asked));
    let answers = answered.comparisons();

    let (paper, robust) = (FitSettings::paper(30, 1), FitSettings::robust(30, 1));
    time("crowd-kernel fit", 7, || fit(CONCEPTS, &answers, &paper).unwrap());
    time("logistic-distance fit, penalty fixed", 7, || fit(CONCEPTS, &answers, &robust.with_l2(1e-3)).unwrap());
    let fitted: Fit =
        time("logistic-distance fit, penalty by cross-validation", 3, || fit(CONCEPTS, &answers, &robust).unwrap());
    for measure in Measure::DEFAULTS {
        time(&format!("1,000 permutations of {measure}"), 5, || {
            measure.permutation_null(reference.as_ref(), fitted.coordinates.as_ref(), 1000, 1).unwrap()
        });
    }
    let (fixed, accuracy) = (robust.with_l2(fitted.record.l2), fitted.record.heldout_accuracy.unwrap());
    time("matched ceiling", 3, || matched_ceiling(reference.as_ref(), &answered, &fixed, accuracy, 2).unwrap());
}

fn time<T>(what: &str, runs: usize, mut work: impl FnMut() -> T) -> T {
    let mut result = work();
    let mut milliseconds: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            result = work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    milliseconds.sort_by(f64::total_cmp);
    println!("{what:52} median {:8.1} ms, fastest {:8.1} ms of {runs}", milliseconds[runs / 2], milliseconds[0]);
    result
}
