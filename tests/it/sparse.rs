//! Sparse fits of odd-one-out answers: the published objective, planted embeddings found again, and the command line.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use alike::alignment::ceiling::{chance, matched_ceiling};
use alike::embedding::odd_one_out::answers_by_dot_products;
use alike::embedding::sparse::{Lambda, Optimiser, SparseLoss, SparseSettings, best_matches, fit, spose_objective};
use alike::embedding::{Answered, OddOneOutAnswer, split_holdout};
use alike::odd_one_out::{OddOneOut, exhaustive, random};
use alike::seed::Streams;
use faer::Mat;
use rand::RngExt;

use crate::study::small_study;
use crate::support::{fail, matrix, on_threads, path, succeed, tiny};

/// A quarter of the weights lie between 0.5 and 2, the others are zero.
pub(crate) fn planted(n_concepts: usize, n_dims: usize, seed: u64) -> Mat<f64> {
    let mut rng = Streams::new(seed, "planted sparse").rng(0);
    let mut weight = || if rng.random::<f64>() < 0.25 { 0.5 + 1.5 * rng.random::<f64>() } else { 0.0 };
    Mat::from_fn(n_concepts, n_dims, |_, _| weight())
}

/// Random triplets, answered from planted weights.
pub(crate) fn answers(w: &Mat<f64>, n: usize, seed: u64) -> Vec<OddOneOutAnswer> {
    answers_by_dot_products(w.as_ref(), &random(w.nrows(), n, false, seed).unwrap(), seed)
}

/// SPoSE with an exponential prior of rate 4, which is about what these sets ask for.
pub(crate) fn spose(dims: usize, n_concepts: usize, n_answers: usize) -> SparseSettings {
    SparseSettings::spose(dims, 1).with_lambda(4.0 * n_concepts as f64 / (0.8 * n_answers as f64))
}

/// Correlations of planted dimensions with those found, the worst first.
fn matched(w: &Mat<f64>, found: &Mat<f64>) -> Vec<f64> {
    let mut matched = best_matches(w.as_ref(), found.as_ref()).unwrap();
    matched.sort_by(f64::total_cmp);
    matched
}

#[test]
fn the_objective_and_its_gradient_agree_with_numpy() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/sparse.json")).unwrap();
    let answer = |row: &serde_json::Value| {
        let [a, b, c] = [0, 1, 2].map(|at| row[at].as_u64().unwrap() as u32);
        let shown = OddOneOut { a, b, c };
        OddOneOutAnswer { triplet: shown.id(6), shown, odd: 2, weight: 1.0 }
    };
    let answers: Vec<OddOneOutAnswer> = golden["triplets"].as_array().unwrap().iter().map(answer).collect();
    let w = matrix(&golden["w"]);
    let (value, gradient) = spose_objective(w.as_ref(), &answers, golden["lambda"].as_f64().unwrap()).unwrap();
    // Sums of ten terms in another order.
    assert!((value / golden["objective"].as_f64().unwrap() - 1.0).abs() < 1e-14, "{value}");
    assert!((&gradient - &matrix(&golden["gradient"])).norm_max() < 1e-14 * gradient.norm_max());
}

#[test]
fn spose_and_vice_find_planted_dimensions_and_no_others() {
    let w = planted(60, 5, 1);
    let answers = answers(&w, 12_000, 2);
    let spose = fit(60, &answers, &spose(12, 60, 12_000)).unwrap();
    let vice = fit(60, &answers, &SparseSettings::vice(12, 1)).unwrap();
    let unrelated = matched(&planted(60, 5, 99), &spose.coordinates);
    for fit in [&spose, &vice] {
        let (record, matched) = (&fit.record, matched(&w, &fit.coordinates));
        println!(
            "{}: {} dimensions, matched {matched:.3?}, held-out {:?}",
            record.loss, record.dims, record.heldout_accuracy
        );
        assert!(matched[0] > 0.9 && record.converged, "{matched:?} {record:?}");
        assert!((5..=7).contains(&record.dims) && record.dims == fit.coordinates.ncols(), "{}", record.dims);
        // Half of the answers are not the planted weights' most probable one; nobody can tell which.
        let truth = heldout_accuracy(&w, &answers);
        let found = record.heldout_accuracy.unwrap();
        assert!(found > truth - 0.03 && found > record.chance_accuracy + 0.1, "{found} of {truth}");
        let sums: Vec<f64> = (0..record.dims).map(|k| (0..60).map(|i| fit.coordinates[(i, k)]).sum()).collect();
        assert!(sums.is_sorted_by(|a, b| a >= b), "{sums:?}");
        assert!(record.curve.first().unwrap().objective > record.curve.last().unwrap().objective);
    }
    assert!(unrelated[4] < 0.6, "dimensions of another embedding are not found: {unrelated:?}");
}

/// What the planted weights themselves predict of the held-out answers.
fn heldout_accuracy(w: &Mat<f64>, answers: &[OddOneOutAnswer]) -> f64 {
    let as_comparisons: Vec<_> =
        answers.iter().map(|a| alike::embedding::odd_one_out::anchored_judgments(a)[0]).collect();
    let heldout: std::collections::HashSet<i64> =
        split_holdout(&as_comparisons, 0.2, 1).0.iter().map(|c| c.triplet).collect();
    let dot = |i: u32, j: u32| (0..w.ncols()).map(|k| w[(i as usize, k)] * w[(j as usize, k)]).sum::<f64>();
    let right = |a: &&OddOneOutAnswer| {
        let ids = a.shown.concepts();
        let of = [0, 1, 2].map(|place| dot(ids[(place + 1) % 3], ids[(place + 2) % 3]));
        let most = of.into_iter().fold(0.0, f64::max);
        if of[a.odd] == most { 1.0 / of.iter().filter(|s| **s == most).count() as f64 } else { 0.0 }
    };
    let heldout: Vec<&OddOneOutAnswer> = answers.iter().filter(|a| heldout.contains(&a.triplet)).collect();
    heldout.iter().map(right).sum::<f64>() / heldout.len() as f64
}

#[test]
fn neither_threads_nor_the_order_of_answers_change_a_bit() {
    let w = planted(150, 4, 3);
    let (small, large) = (answers(&w, 3_000, 4), answers(&w, 140_000, 4));
    let few = Optimiser::QuasiNewton { max_evaluations: 8 };
    let large_fit = SparseLoss::Spose { lambda: Lambda::Fixed(0.004), optimiser: few };
    let large_fit = SparseSettings { loss: large_fit, ..spose(6, 150, 140_000) };
    let vice = SparseSettings { restarts: 2, ..SparseSettings::vice(5, 1) };
    let several = SparseSettings { restarts: 3, ..spose(6, 150, 3_000) };
    for (answers, settings) in [(&small, several), (&small, vice), (&large, large_fit)] {
        let run = |answers: &[OddOneOutAnswer]| fit(150, answers, &settings).unwrap();
        let one = on_threads(1, || run(answers));
        for threads in [2, 8] {
            let other = on_threads(threads, || run(answers));
            assert!(one.coordinates == other.coordinates && one.record == other.record, "{settings:?}");
        }
        let backwards: Vec<OddOneOutAnswer> = answers.iter().rev().copied().collect();
        assert!(one.coordinates == run(&backwards).coordinates);
    }
}

#[test]
fn all_answers_at_once_end_lower_than_minibatches() {
    let w = planted(40, 4, 5);
    let answers = answers(&w, 6_000, 6);
    let batch = spose(8, 40, 6_000);
    let SparseLoss::Spose { lambda, .. } = batch.loss.clone() else { unreachable!() };
    let adam = Optimiser::Adam { learning_rate: 0.003, batch: 128, max_epochs: 60 };
    let adam = SparseSettings { loss: SparseLoss::Spose { lambda, optimiser: adam }, ..batch.clone() };
    let (batch, adam) = (fit(40, &answers, &batch).unwrap(), fit(40, &answers, &adam).unwrap());
    println!("quasi-Newton {}, Adam {}", batch.record.objective, adam.record.objective);
    assert!(batch.record.objective < adam.record.objective);
    assert!(adam.record.objective < batch.record.objective + 0.02, "Adam is on its way to the same");
    assert!(matched(&w, &adam.coordinates)[0] > 0.85);
}

#[test]
fn the_penalty_is_chosen_inside_the_grid_and_starts_reproduce() {
    let w = planted(40, 4, 7);
    let settings = SparseSettings { restarts: 3, ..SparseSettings::spose(8, 1) };
    let record = fit(40, &answers(&w, 8_000, 8), &settings).unwrap().record;
    let lambda = record.lambda.unwrap();
    let tried: Vec<f64> = record.cross_validation.iter().map(|score| score.lambda).collect();
    assert!(lambda > tried[0] && lambda < tried[tried.len() - 1], "{lambda} of {tried:?}");
    assert!(record.cross_validation.iter().all(|score| score.standard_error.is_some()));
    assert_eq!((record.starts.len(), record.reproducibility.len()), (3, record.dims));
    assert_eq!(record.objective, record.starts.iter().copied().fold(f64::INFINITY, f64::min));
    assert!(record.reproducibility[..4].iter().all(|r| *r > 0.9), "{:?}", record.reproducibility);
}

#[test]
fn coins_leave_no_dimension_and_repeats_show_what_can_be_reached() {
    let nothing = Mat::zeros(20, 1);
    let asked: Vec<OddOneOut> = exhaustive(20, false, 1);
    let coin: Vec<OddOneOutAnswer> =
        (0..2).flat_map(|seed| answers_by_dot_products(nothing.as_ref(), &asked, seed)).collect();
    let fit = fit(20, &coin, &spose(5, 20, 2_280)).unwrap();
    assert_eq!((fit.record.dims, fit.coordinates.shape()), (0, (20, 1)));
    assert!(fit.coordinates.norm_max() == 0.0 && fit.record.notes.iter().any(|n| n.contains("no dimension survived")));
    let repeats = fit.record.repeats.unwrap();
    assert_eq!((repeats.n_triplets, repeats.n_answers), (1_140, 2_280));
    // Two coins of three agree a third of the time; four standard errors. The more frequent of two is all of them or half.
    assert!((repeats.agreement - 1.0 / 3.0).abs() < 0.056, "{repeats:?}");
    assert!((repeats.majority - (1.0 + repeats.agreement) / 2.0).abs() < 1e-12);
}

#[test]
fn a_sparse_fit_has_a_ceiling_and_chance_of_its_own() {
    let w = planted(30, 3, 11);
    let answers = answers(&w, 3_000, 12);
    let settings = spose(6, 30, 3_000);
    let record = fit(30, &answers, &settings).unwrap().record;
    let (asked, target) = (Answered::OddOneOut(answers), record.heldout_accuracy.unwrap());
    let ceiling = matched_ceiling(w.as_ref(), &asked, &settings, target, 7).unwrap();
    let chance = chance(30, &asked, &settings, 8).unwrap();
    // A fifth of the target's standard error over 600 answers is 0.004; ten subjects come within a few of those.
    assert!((ceiling.heldout_accuracy.unwrap() - target).abs() < 0.02, "{:?} of {target}", ceiling.heldout_accuracy);
    assert!((chance.heldout_accuracy.unwrap() - 1.0 / 3.0).abs() < 0.08, "four standard errors: {chance:?}");
    assert_eq!((ceiling.record.penalty(), chance.record.penalty()), (record.lambda, record.lambda));
    let beyond = matched_ceiling(w.as_ref(), &asked, &settings, 1.0 / 3.0, 7).unwrap();
    assert!(beyond.notes.iter().any(|note| note.contains("no better than chance")));
}

/// The small study about all odd-one-out triplets, with losses on dot products.
fn study(folder: &std::path::Path, loss: &str) -> (String, std::path::PathBuf) {
    let (study, out) = small_study(folder, &tiny("scoring"));
    let text = std::fs::read_to_string(&study).unwrap();
    let text = text
        .replace("n = 200", "task = \"odd-one-out\"\nn = 120")
        .replace("dims = 3", &format!("dims = 3\nloss = [{loss}]"));
    std::fs::write(&study, text).unwrap();
    (study.to_str().unwrap().to_owned(), out)
}

#[test]
fn a_study_from_odd_ones_to_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = study(folder.path(), "\"spose\", \"vice\", \"logistic-distance\"");
    let table = succeed(&["run", &study, "--out", out.to_str().unwrap()]);
    assert!(table.contains("spose") && table.contains("vice"), "{table}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("dimensions survived"));
    for label in ["tiny", "human-like", "coin"] {
        for loss in ["spose", "vice"] {
            let path = out.join(format!("embeddings/{label}.{loss}.parquet"));
            let embedding = alike::store::embedding::read(&path).unwrap();
            assert_eq!(embedding.fit["loss"], loss);
            let (n, d) = embedding.coordinates.shape();
            assert!(d <= 3 && (0..n).all(|i| (0..d).all(|k| embedding.coordinates[(i, k)] >= 0.0)));
            assert_eq!(embedding.fit["dims"].as_u64().unwrap().max(1), d as u64);
        }
    }
    let rows = alike::store::alignment::read(&out.join("alignment.parquet")).unwrap();
    assert!(rows.iter().all(|row| row.value.is_finite() && row.chance.is_some()));
    let human = alike::store::embedding::read(&out.join("embeddings/human-like.spose.parquet")).unwrap();
    assert!(human.fit["dims"].as_u64().unwrap() >= 1, "{}", human.fit);
    assert!(human.fit["heldout_accuracy"].as_f64().unwrap() > 0.5, "{}", human.fit);
}

#[test]
fn the_command_line_says_what_survived_and_refuses_anchored_answers() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (csv, out) = (at("odd.csv"), at("out.parquet"));
    let w = planted(12, 2, 9);
    let rows = answers_by_dot_products(w.as_ref(), &exhaustive(12, false, 1), 1).into_iter().map(|answer| {
        let [a, b, c] = answer.shown.concepts();
        format!("c{a:02},c{b:02},c{c:02},c{:02}\n", [a, b, c][answer.odd])
    });
    std::fs::write(&csv, format!("a,b,c,odd\n{}", rows.collect::<String>())).unwrap();
    let words = succeed(&["embed", &csv, "--loss", "spose", "--lambda", "0.2", "--dims", "4", "--out", &out]);
    assert!(words.contains("of 4 dimensions survived") && words.contains("chance 33.3 %"), "{words}");
    let anchored = at("anchored.csv");
    std::fs::write(&anchored, "anchor,first,second,chosen\ncat,dog,bear,dog\n").unwrap();
    let refused = fail(&["embed", &anchored, "--loss", "vice", "--out", &at("no.parquet")]);
    assert!(refused.contains("vice for anchored judgments") && refused.contains("a, b, c, odd"), "{refused}");
    let refused = fail(&["embed", &csv, "--loss", "ste", "--lambda", "0.2", "--out", &at("no.parquet")]);
    assert!(refused.contains("absent without loss spose"), "{refused}");
    let (path, _) = study(folder.path(), "\"spose\"");
    let text = std::fs::read_to_string(&path).unwrap().replace("task = \"odd-one-out\"", "task = \"anchored\"");
    std::fs::write(&path, text).unwrap();
    let refused = fail(&["run", &path]);
    assert!(refused.contains("embed.loss") && refused.contains("spose with task anchored"), "{refused}");
}

/// Dimensions of a human embedding (VICE, 128 concepts) from 200,000 odd-one-out answers simulated from it.
#[test]
fn human_dimensions_come_back() {
    let variables = ["ALIKE_HUMAN_REFERENCE", "ALIKE_HUMAN_NAMES"].map(std::env::var_os);
    let [Some(file), Some(names)] = variables else {
        println!("skipped: ALIKE_HUMAN_REFERENCE and ALIKE_HUMAN_NAMES do not name a human embedding");
        return;
    };
    let concepts = alike::concepts::Concepts::read_csv(&path("data/concepts/things128.csv")).unwrap();
    let human = alike::reference::Reference::read(file.as_ref(), Some(names.as_ref()), &concepts, &Default::default());
    let human = human.unwrap().coordinates;
    let answers = answers(&human, 200_000, 1);
    let fit = fit(128, &answers, &spose(50, 128, 200_000)).unwrap();
    let matched = matched(&human, &fit.coordinates);
    let median = matched[matched.len() / 2];
    println!("{} dimensions of {}: matched {matched:.2?}", fit.record.dims, human.ncols());
    assert!(median > 0.6, "{median}");
}
