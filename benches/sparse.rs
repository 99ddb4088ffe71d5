//! experiments
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]
use std::time::Instant;
use alike::embedding::odd_one_out::answers_by_dot_products;
use alike::embedding::sparse::{self, Lambda, Optimiser, SparseLoss, SparseSettings, Vice, best_matches};
use alike::odd_one_out::random;
use alike::seed::Streams;
use faer::Mat;
use rand::RngExt;

pub fn planted(n: usize, d: usize, seed: u64) -> Mat<f64> {
    let mut rng = Streams::new(seed, "planted").rng(0);
    Mat::from_fn(n, d, |_, _| if rng.random::<f64>() < 0.25 { 0.3 + 1.2 * rng.random::<f64>() } else { 0.0 })
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let get = |name: &str, default: f64| args.iter().position(|a| a == name).map_or(default, |i| args[i + 1].parse().unwrap());
    let (n, d, m, dims) = (get("n", 128.) as usize, get("d", 10.) as usize, get("m", 35000.) as usize, get("dims", 20.) as usize);
    let truth = if args.iter().any(|a| a == "human") {
        alike::store::npy::read(std::path::Path::new(&std::env::var("ALIKE_HUMAN_REFERENCE").unwrap())).unwrap()
    } else { planted(n, d, 1) };
    let n = truth.nrows().min(n);
    let truth = Mat::from_fn(n, truth.ncols(), |i, k| truth[(i, k)]);
    let asked = random(n, m, false, 1).unwrap();
    let answers = answers_by_dot_products(truth.as_ref(), &asked, 1);
    let mut s = SparseSettings::spose(dims, get("seed", 1.) as u64);
    s.restarts = get("restarts", 1.) as usize;
    let lambda = get("lambda", -1.);
    if lambda >= 0. { s = s.with_lambda(lambda); }
    let rate = get("rate", -1.);
    if rate >= 0. { s = s.with_lambda(rate * n as f64 / (0.8 * m as f64)); }
    if args.iter().any(|a| a == "adam") {
        let SparseLoss::Spose { lambda, .. } = s.loss.clone() else { panic!() };
        s.loss = SparseLoss::Spose { lambda, optimiser: Optimiser::Adam { learning_rate: get("lr", 0.001), batch: get("batch", 128.) as usize, max_epochs: get("epochs", 300.) as usize } };
    }
    if args.iter().any(|a| a == "vice") {
        let v = Vice::default();
        s.loss = SparseLoss::Vice(Vice { learning_rate: get("lr", v.learning_rate), batch: get("batch", v.batch as f64) as usize, max_epochs: get("epochs", v.max_epochs as f64) as usize, spike: get("spike", v.spike), slab: get("slab", v.slab), pi: get("pi", v.pi), ..v });
    }
    let t = Instant::now();
    let fit = sparse::fit(n, &answers, &s).unwrap();
    let secs = t.elapsed().as_secs_f64();
    let r = &fit.record;
    let _ = Lambda::Fixed(0.0);
    let mut m = best_matches(truth.as_ref(), fit.coordinates.as_ref()).unwrap();
    m.sort_by(f64::total_cmp);
    println!("{secs:.2} s obj {:.6} lambda {:?} dims {} train {:.4}/{:.4} heldout {:.4}/{:.4} it {} ev {} {:?} matched min {:.3} median {:.3} mean {:.3} starts {:?}", r.objective, r.lambda, r.dims, r.train_loss, r.train_accuracy, r.heldout_loss.unwrap(), r.heldout_accuracy.unwrap(), r.n_iterations, r.n_evaluations, r.stop, m[0], m[m.len()/2], m.iter().sum::<f64>()/m.len() as f64, r.starts);
    if args.iter().any(|a| a == "curve") { for c in &r.curve { println!("{} {} {:.6} {:?} {:?}", c.iteration, c.evaluation, c.objective, c.heldout_loss, c.heldout_accuracy); } for c in &r.cross_validation { println!("{c:?}"); } println!("repro {:?}", r.reproducibility); }
}
