//! Fits, permutations and ceilings at the paper's size: 128 concepts, 30 dimensions, 35,000 triplets, the answers simulated
//! from a planted geometry at 88 % agreement; and evaluations at other sizes beside their arithmetic. Prints the median and
//! the fastest of some runs.
//!
//! `cargo bench --bench mathematics -- file TRIPLETS DIMS MU THREADS LOSS...` fits crowd-kernel to lines of `anchor near far`,
//! then goes down to each mean loss named, with a row for each for `benches/peers/ordinal/compare.py`; `-- sizes` is the
//! evaluations alone, `-- maps` the maps.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use alike::alignment::{Measure, ceiling::matched_ceiling, ceiling::simulate, permutation_nulls};
use alike::embedding::bootstrap::Bootstrap;
use alike::embedding::objective::{Layout, Objective};
use alike::embedding::{Answered, Comparison, Fit, FitSettings, Loss, fit};
use alike::map::{TsneSettings, default_neighbours, trustworthiness, tsne};
use alike::optimize::{Limits, minimize};
use alike::respondents::{ResponseModel, SimulatedSubject, tau_for_agreement};
use alike::seed::Streams;
use alike::stats::standard_normal;
use faer::Mat;
use rayon::prelude::*;

const CONCEPTS: usize = 128;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["file", path, dims, mu, threads, ref targets @ ..] => {
            file(path, dims.parse().unwrap(), mu.parse().unwrap(), threads.parse().unwrap(), targets);
        }
        ["sizes"] => sizes(),
        ["alignment"] => alignment(),
        ["maps"] => maps(),
        _ => {
            paper();
            sizes();
            alignment();
            maps();
        }
    }
}

/// Ten dimensions of falling weight, as human data have them.
fn geometry(n_concepts: usize) -> Mat<f64> {
    let mut rng = Streams::new(1, "bench geometry").rng(0);
    Mat::from_fn(n_concepts, 10, |_, k| standard_normal(&mut rng) * 0.8_f64.powi(i32::try_from(k).unwrap()))
}

/// Random triplets, answered at 88 % agreement.
fn answers(reference: &Mat<f64>, n_triplets: usize) -> Answered {
    let n = reference.nrows();
    let triplets = alike::triplets::random(n, n_triplets, false, 1).unwrap();
    let ids: Vec<[u32; 3]> = triplets.iter().take(50_000).map(|t| [t.anchor, t.first, t.second]).collect();
    let tau = tau_for_agreement(reference.as_ref(), &ids, 0.88).unwrap();
    let subject = SimulatedSubject::new(reference.as_ref(), ResponseModel::Logistic { tau }, 1).unwrap();
    let asked: Vec<Comparison> = triplets
        .iter()
        .map(|t| {
            let (triplet, anchor, first, second) = (t.id(n), t.anchor, t.first, t.second);
            Comparison { triplet, anchor, first, second, p_first: 1.0, weight: 1.0 }
        })
        .collect();
    simulate(&subject, &Answered::Anchored(asked))
}

fn paper() {
    let reference = geometry(CONCEPTS);
    let answered = answers(&reference, 35_000);
    let answers = answered.comparisons();

    let (paper, robust) = (FitSettings::paper(30, 1), FitSettings::robust(30, 1));
    time("crowd-kernel fit", 7, || fit(CONCEPTS, &answers, &paper).unwrap());
    time("logistic-distance fit, penalty fixed", 7, || fit(CONCEPTS, &answers, &robust.with_l2(1e-3)).unwrap());
    let fitted: Fit =
        time("logistic-distance fit, penalty by cross-validation", 3, || fit(CONCEPTS, &answers, &robust).unwrap());
    let fixed = robust.with_l2(fitted.record.l2);
    time("1,000 bootstrap refits of it", 1, || {
        let draws = Bootstrap::new(&answers, &fixed, fitted.coordinates.as_ref()).unwrap();
        (0..1_000_u64).into_par_iter().map(|draw| draws.refit(draw).unwrap().record).collect::<Vec<_>>()
    });
    for measure in Measure::DEFAULTS {
        time(&format!("1,000 permutations of {measure}"), 5, || {
            measure.permutation_null(reference.as_ref(), fitted.coordinates.as_ref(), 1000, 1).unwrap()
        });
    }
    let accuracy = fitted.record.heldout_accuracy.unwrap();
    time("matched ceiling", 3, || matched_ceiling(reference.as_ref(), &answered, &fixed, accuracy, 2).unwrap());
}

/// One evaluation of value and gradient, in both layouts, beside the arithmetic of the dense one.
fn sizes() {
    let dims = 30;
    for (n, n_triplets) in [(CONCEPTS, 28_000), (1_854, 100_000), (1_854, 800_000), (5_000, 1_000_000)] {
        let answered = answers(&geometry(n), n_triplets);
        let made = Objective::new(Loss::CrowdKernel { mu: 0.05 }, 0.0, n, dims, &answered.comparisons()).unwrap();
        // A Gram matrix and one product with the coordinates; some 40 operations for a logarithm, 10 for a term.
        let (pairs, terms) = ((n * n) as f64, n_triplets as f64);
        let operations = pairs * (2.0 * 30.0 + 2.0 * 31.0 + 40.0) + 10.0 * terms;
        // Coefficients are written once and read twice; a term is two ids.
        let bytes = 8.0 * (3.0 * pairs + terms);
        println!(
            "{n} concepts, {n_triplets} triplets, {dims} dimensions: dense is {:.2} GFLOP and {:.1} MB, chosen {:?}",
            operations / 1e9,
            bytes / 1e6,
            made.layout()
        );
        let mut rng = Streams::new(2, "bench start").rng(0);
        let x: Vec<f64> = (0..n * dims).map(|_| standard_normal(&mut rng)).collect();
        let mut gradient = vec![0.0; x.len()];
        let runs = if n > CONCEPTS { 9 } else { 301 };
        for layout in [Layout::Dense, Layout::Pairs] {
            let mut objective = made.clone().with_layout(layout);
            for n_threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
                let what = format!("  evaluation, {layout:?}, {n_threads} threads");
                pool.install(|| time(&what, runs, || objective.evaluate(&x, &mut gradient)));
            }
        }
    }
}

/// The paper's 75 models, 1,000 permutations of each: R², both linear CKAs, RSA by Pearson and Spearman, from one gather and one product a
/// permutation; then each measure alone.
fn alignment() {
    let cloud = |dims: usize, key: u64| {
        let mut rng = Streams::new(3, "bench alignment").rng(key);
        Mat::from_fn(CONCEPTS, dims, |_, _| standard_normal(&mut rng))
    };
    let reference = cloud(42, 0);
    let measures: [Measure; 5] = [
        "procrustes_r2",
        "cka_linear_biased",
        "cka_linear_debiased",
        "rsa_euclidean_pearson",
        "rsa_euclidean_spearman",
    ]
    .map(|key| key.parse().unwrap());
    let n_models = 75;
    let models: Vec<Mat<f64>> = (0..n_models).map(|key| cloud(30, 1 + key)).collect();
    let all = |measures: &[Measure], models: &[Mat<f64>]| {
        let null = |model: &Mat<f64>| permutation_nulls(measures, reference.as_ref(), model.as_ref(), 1000, 1).unwrap();
        models.iter().map(null).collect::<Vec<_>>()
    };
    for n_threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let what = format!("75 models × 1,000 permutations of five measures, {n_threads} threads");
        pool.install(|| time(&what, 3, || all(&measures, &models)));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let rest = ["rsa_euclidean_kendall_tau_a", "cka_rbf_debiased", "triplet_agreement", "neighbour_overlap_10"];
    for measure in measures.into_iter().chain(rest.map(|key| key.parse().unwrap())) {
        let what = format!("  1 model × 1,000 permutations of {measure}, 1 thread");
        pool.install(|| time(&what, 5, || all(&[measure], &models[..1])));
    }
    // What the arithmetic takes: the product, and two sums over the pairs of concepts.
    let (pairs, product) = (8128.0, 128.0 * 42.0 * 30.0);
    println!(
        "  a permutation multiplies and adds {:.0} thousand times, beside 30 singular values",
        (product + 2.0 * pairs) / 1e3
    );
}

/// t-SNE maps: one of the paper's size, those of its 75 models, and one of THINGS' size.
fn maps() {
    let cloud = |n: usize, dims: usize, key: u64| {
        let mut rng = Streams::new(4, "bench maps").rng(key);
        let centres = Mat::from_fn(20, dims, |_, _| standard_normal(&mut rng));
        Mat::from_fn(n, dims, |i, k| centres[(i % 20, k)] + standard_normal(&mut rng))
    };
    let drawn = |x: &Mat<f64>| tsne(x.as_ref(), &TsneSettings::for_concepts(x.nrows())).unwrap();
    let models: Vec<Mat<f64>> = (0..75).map(|key| cloud(CONCEPTS, 30, key)).collect();
    let things = cloud(1_854, 66, 75);
    for n_threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            time(&format!("t-SNE of 128 × 30, {n_threads} threads"), 9, || drawn(&models[0]));
            time(&format!("t-SNE of 75 models of 128 × 30, {n_threads} threads"), 3, || {
                models.par_iter().map(|x| drawn(x).kl_nats).collect::<Vec<_>>()
            });
            let map = time(&format!("t-SNE of 1,854 × 66, {n_threads} threads"), 3, || drawn(&things));
            let (n_iterations, pairs) = (map.n_iterations, things.nrows() * (things.nrows() - 1) / 2);
            println!("  {n_iterations} steps of {pairs} pairs, a division and some 25 operations each");
            let neighbours = default_neighbours(things.nrows());
            time(&format!("  its trustworthiness, {n_threads} threads"), 3, || {
                trustworthiness(things.as_ref(), map.coordinates.as_ref(), neighbours).unwrap()
            });
        });
    }
}

/// Crowd-kernel without a held-out side on triplets from a file: as `fit` does it, then down to each of some mean losses.
fn file(path: &str, dims: usize, mu: f64, threads: usize, targets: &[&str]) {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let ids: Vec<u32> = text.split_whitespace().map(|id| id.parse().unwrap()).collect();
    let comparison = |(triplet, ids): (i64, &[u32])| {
        let [anchor, first, second] = ids.try_into().unwrap();
        Comparison { triplet, anchor, first, second, p_first: 1.0, weight: 1.0 }
    };
    let answers: Vec<Comparison> = (0..).zip(ids.chunks(3)).map(comparison).collect();
    let n = *ids.iter().max().unwrap() as usize + 1;
    let settings = FitSettings { loss: Loss::CrowdKernel { mu }, holdout: 0.0, ..FitSettings::paper(dims, 1) };
    let runs = if answers.len() < 100_000 { 20 } else { 2 };
    let timed = |work: &dyn Fn() -> (f64, usize)| {
        let (mut best, cpu, mut end) = (f64::INFINITY, cpu_seconds(), (f64::NAN, 0));
        for _ in 0..runs {
            let start = Instant::now();
            end = work();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let (cpu, rss) = ((cpu_seconds() - cpu) / f64::from(runs), peak_megabytes());
        let row =
            serde_json::json!({ "seconds": best, "cpu": cpu, "objective": end.0, "evaluations": end.1, "rss": rss });
        println!("{row}");
    };
    timed(&|| {
        let record = fit(n, &answers, &settings).unwrap().record;
        (record.train_loss, record.n_evaluations)
    });
    for target in targets {
        let target: f64 = target.parse().unwrap();
        // The search is the same each time, so how long it takes to get there is known from the first.
        let search = |max_evaluations: usize, below: &mut dyn FnMut(f64)| {
            let mut rng = Streams::new(3, "bench start").rng(0);
            let from: Vec<f64> = (0..n * dims).map(|_| standard_normal(&mut rng)).collect();
            let limits = Limits { relative_decrease: 0.0, max_evaluations, ..Limits::default() };
            let mut objective = Objective::new(settings.loss, 0.0, n, dims, &answers).unwrap();
            let evaluate = |x: &[f64], gradient: &mut [f64]| {
                let value = objective.evaluate(x, gradient);
                below(value);
                value
            };
            minimize(evaluate, from, &limits).1.objective
        };
        let (mut evaluation, mut reached) = (0, None);
        search(5_000, &mut |value| {
            evaluation += 1;
            reached = reached.or((value <= target).then_some(evaluation));
        });
        let needed = reached.unwrap_or_else(|| panic!("{target} was not reached in {evaluation} evaluations"));
        timed(&|| (search(needed, &mut |_| ()), needed));
    }
}

/// User and system time of this process, in steps of a hundredth of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
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
    println!("{what:52} median {:8.2} ms, fastest {:8.2} ms of {runs}", milliseconds[runs / 2], milliseconds[0]);
    result
}
