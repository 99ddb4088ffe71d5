//! Sparse fits of odd-one-out answers drawn from known weights: how long, how low, and which dimensions come back.
//!
//!     cargo bench --bench sparse                     # 128 concepts, 35,000 answers: SPoSE by both optimisers, VICE
//!     cargo bench --bench sparse -- things           # 1,854 concepts, 4.7 million answers, 66 dimensions: SPoSE
//!     cargo bench --bench sparse -- vice 2           # 1,854 concepts, 1 million answers, 66 dimensions: 2 epochs of VICE
//!
//! The weights are those of a human embedding where `ALIKE_HUMAN_REFERENCE` names one, planted ones otherwise.
//! `things 20` spends 20 evaluations only, which is enough to time one.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::Instant;

use alike::embedding::OddOneOutAnswer;
use alike::embedding::odd_one_out::answers_by_dot_products;
use alike::embedding::sparse::{Lambda, Optimiser, SparseLoss, SparseSettings, Vice, best_matches, fit};
use alike::odd_one_out::random;
use alike::seed::Streams;
use faer::Mat;
use rand::RngExt;

/// Rate of the exponential prior: λ = rate · n_concepts / n_answers.
const RATE: f64 = 4.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.first().map(String::as_str) {
        Some("vice") => vice(arguments.get(1).map_or(2, |n| n.parse().unwrap())),
        Some("things") => things(arguments.get(1).map_or(2_000, |n| n.parse().unwrap())),
        _ => small(),
    }
}

fn small() {
    let truth = planted(128, 10);
    let answers = answers(&truth, 35_000);
    let batch = spose(20, 128, 35_000, Optimiser::QuasiNewton { max_evaluations: 2_000 });
    report("quasi-Newton", &truth, &answers, &batch);
    for (learning_rate, batch) in [(0.001, 128), (0.01, 512)] {
        let adam = Optimiser::Adam { learning_rate, batch, max_epochs: 200 };
        report(&format!("Adam {learning_rate} × {batch}"), &truth, &answers, &spose(20, 128, 35_000, adam));
    }
    report("quasi-Newton, 10 starts", &truth, &answers, &SparseSettings { restarts: 10, ..batch });
    report("quasi-Newton, λ by cross-validation", &truth, &answers, &SparseSettings::spose(20, 1));
    report("VICE", &truth, &answers, &SparseSettings::vice(20, 1));
}

fn things(max_evaluations: usize) {
    let (n, n_answers) = (1_854, 4_700_000);
    let truth = match std::env::var("ALIKE_HUMAN_REFERENCE") {
        Ok(path) => alike::store::npy::read(Path::new(&path)).unwrap(),
        Err(_) => planted(n, 42),
    };
    let answers = answers(&truth, n_answers);
    let settings = spose(66, n, n_answers, Optimiser::QuasiNewton { max_evaluations });
    report("THINGS", &truth, &answers, &settings);
}

/// Some epochs of VICE at THINGS' size, and one alone, so that setting up can be told apart.
fn vice(max_epochs: usize) {
    let (n, n_answers) = (1_854, 1_000_000);
    let truth = planted(n, 42);
    let answers = answers(&truth, n_answers);
    let with = |max_epochs| {
        let vice = Vice { max_epochs, ..Vice::default() };
        SparseSettings { loss: SparseLoss::Vice(vice), ..SparseSettings::vice(66, 1) }
    };
    report("VICE, one epoch", &truth, &answers, &with(1));
    report(&format!("VICE, {max_epochs} epochs"), &truth, &answers, &with(max_epochs));
}

/// A quarter of the weights lie between 0.3 and 1.5, the others are zero.
fn planted(n_concepts: usize, n_dims: usize) -> Mat<f64> {
    let mut rng = Streams::new(1, "planted").rng(0);
    let mut weight = || if rng.random::<f64>() < 0.25 { 0.3 + 1.2 * rng.random::<f64>() } else { 0.0 };
    Mat::from_fn(n_concepts, n_dims, |_, _| weight())
}

fn answers(truth: &Mat<f64>, n: usize) -> Vec<OddOneOutAnswer> {
    answers_by_dot_products(truth.as_ref(), &random(truth.nrows(), n, false, 1).unwrap(), 1)
}

fn spose(dims: usize, n_concepts: usize, n_answers: usize, optimiser: Optimiser) -> SparseSettings {
    let lambda = Lambda::Fixed(RATE * n_concepts as f64 / (0.8 * n_answers as f64));
    SparseSettings { loss: SparseLoss::Spose { lambda, optimiser }, ..SparseSettings::spose(dims, 1) }
}

fn report(what: &str, truth: &Mat<f64>, answers: &[OddOneOutAnswer], settings: &SparseSettings) {
    let started = Instant::now();
    let fit = fit(truth.nrows(), answers, settings).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let record = &fit.record;
    let mut matched = best_matches(truth.as_ref(), fit.coordinates.as_ref()).unwrap();
    matched.sort_by(f64::total_cmp);
    println!(
        "{what:36} {seconds:7.2} s  objective {:.6}  held-out {:.4} nats, {:.4} right  {} of {} dimensions  \
         matched least {:.3} median {:.3}  {} evaluations, {:?}",
        record.objective,
        record.heldout_loss.unwrap(),
        record.heldout_accuracy.unwrap(),
        record.dims,
        record.start_dims,
        matched[0],
        matched[matched.len() / 2],
        record.n_evaluations,
        record.stop,
    );
    if !record.reproducibility.is_empty() {
        println!("{:36} reproducibility {:.3?}", "", record.reproducibility);
    }
}
