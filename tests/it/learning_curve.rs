//! `alike learning-curve`, `alike dimensions` and `alike next` on answers whose geometry is known.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use alike::embedding::active::Ensemble;
use alike::embedding::dimension_choice::choose_dims;
use alike::embedding::learning_curve::learning_curve;
use alike::embedding::{Answered, Comparison, Fit, FitSettings, Fitting, Loss, fit, holds_out, split_holdout};
use alike::presentations::{Presentation, Task};
use alike::respondents::{ResponseModel, tau_for_agreement};
use alike::store::table::Table;
use faer::Mat;
use serde_json::Value;

use crate::simulate::Place;
use crate::support::{answered, cloud, fail, flat, on_threads, succeed};

/// Answers of a planted 24 × 3 cloud at 90 % agreement.
fn planted(n: usize) -> (Mat<f64>, Vec<Comparison>) {
    let truth = cloud(24, 3, 11);
    let asked = answered(truth.as_ref(), ResponseModel::NoiseFree, n, 3);
    let triplets: Vec<[u32; 3]> = asked.iter().map(|c| [c.anchor, c.first, c.second]).collect();
    let tau = tau_for_agreement(truth.as_ref(), &triplets, 0.9).unwrap();
    let answers = answered(truth.as_ref(), ResponseModel::Logistic { tau }, n, 3);
    (truth, answers)
}

#[test]
fn more_triplets_predict_the_same_held_out_answers_better() {
    let (_, answers) = planted(2_000);
    let settings = [FitSettings::robust(3, 1).with_l2(3e-3), FitSettings::paper(3, 1)].map(Fitting::Distances);
    let answers = Answered::Anchored(answers);
    let run =
        |n_threads| on_threads(n_threads, || learning_curve(24, &answers, &settings, &[100, 400, 1_500], 3).unwrap());
    let fits = run(1);
    assert_eq!(fits.len(), 18);
    let heldout = split_holdout(&answers.comparisons(), 0.2, 1).0.len();
    for fit in &fits {
        let summary = fit.record.summary();
        assert_eq!((summary.n_heldout, summary.n_train, summary.dims), (heldout, fit.n_triplets, 3));
    }
    let mean = |which: usize, size: usize| {
        let of = fits.iter().filter(|fit| fit.which == which && fit.n_triplets == size);
        alike::stats::mean(&of.map(|fit| fit.record.heldout_accuracy().unwrap()).collect::<Vec<_>>())
    };
    for which in 0..2 {
        let means = [100, 400, 1_500].map(|size| mean(which, size));
        assert!(means[0] + 0.03 < means[1] && means[1] < means[2], "{means:?}");
    }
    for (a, b) in fits.iter().zip(run(2)) {
        assert_eq!((a.n_triplets, a.repeat, &a.record), (b.n_triplets, b.repeat, &b.record));
        assert_eq!(flat(a.coordinates.as_ref()), flat(b.coordinates.as_ref()));
    }
    let refused = |settings: &[Fitting], sizes: &[usize], repeats| {
        learning_curve(24, &answers, settings, sizes, repeats).unwrap_err().to_string()
    };
    assert!(refused(&settings, &[0], 1).contains("`sizes` is 0"));
    assert!(refused(&settings, &[1_900], 1).contains("the triplets on the training side"));
    assert!(refused(&settings, &[100], 0).contains("`repeats`"));
    assert!(refused(&[], &[100], 1).contains("`loss`"));
    let nothing = [settings[0].with_holdout(0.0)];
    assert!(refused(&nothing, &[100], 1).contains("`holdout`"));
}

#[test]
fn three_dimensions_are_found_to_be_three() {
    let (_, answers) = planted(3_000);
    let candidates = [1, 2, 3, 5, 8].map(|dims| Fitting::Distances(FitSettings::robust(dims, 1).with_l2(3e-3)));
    let anchored = |answers: &[Comparison]| Answered::Anchored(answers.to_vec());
    let run = |n_threads| on_threads(n_threads, || choose_dims(24, &anchored(&answers), &candidates, 5).unwrap());
    let choice = run(1);
    assert_eq!(choice.one_standard_error, 3, "{choice:?}");
    assert_eq!(choice.record.summary().dims, 3);
    assert!(choice.record.heldout_accuracy().unwrap() > 0.8, "{:?}", choice.record);
    assert!(choice.scores.is_sorted_by(|a, b| a.dims < b.dims));
    assert!(choice.scores[0].accuracy + 0.05 < choice.scores[2].accuracy && choice.scores[0].standard_error > 0.0);
    assert_eq!(choice, run(2));
    // The choice does not look at the held-out side.
    let flipped =
        |c: &Comparison| if holds_out(0.2, 1)(c.triplet) { Comparison { p_first: 1.0 - c.p_first, ..*c } } else { *c };
    let other = choose_dims(24, &anchored(&answers.iter().map(flipped).collect::<Vec<_>>()), &candidates, 5).unwrap();
    assert_eq!(other.scores, choice.scores);
    assert!(choose_dims(24, &anchored(&answers), &candidates, 1).unwrap_err().to_string().contains("`folds`"));
    assert!(choose_dims(24, &anchored(&answers), &[], 5).unwrap_err().to_string().contains("`dims`"));
}

/// What the members disagree on is what the answers do not say: concepts that were hardly asked about.
#[test]
fn unknown_concepts_are_asked_about() {
    let (_, answers) = planted(2_500);
    // Concept 7 appears in a handful of answers only.
    let mut n_kept = 0;
    let known: Vec<Comparison> = answers
        .into_iter()
        .filter(|c| {
            let about_it = [c.anchor, c.first, c.second].contains(&7);
            n_kept += usize::from(about_it);
            !about_it || n_kept <= 6
        })
        .collect();
    let fitted = fit(24, &known, &FitSettings { holdout: 0.0, ..FitSettings::robust(3, 1).with_l2(3e-3) }).unwrap();
    let run = |n_threads| {
        on_threads(n_threads, || {
            let ensemble = Ensemble::of_distances(&fitted, &known, 8, 1).unwrap();
            let candidates: Vec<Presentation> = alike::presentations::exhaustive(Task::Anchored, 24, false, 1);
            ensemble.choose(&candidates, 200, 24, 1.0, 1).unwrap()
        })
    };
    let chosen = run(1);
    let n_about_it = chosen.iter().filter(|shown| shown.concepts().contains(&7)).count();
    assert!(n_about_it > 75, "{n_about_it} of 200 (25 at random) are about the concept that nobody knows");
    assert_eq!(chosen, run(2));
    let error = |fitted: &Fit, members| Ensemble::of_distances(fitted, &known, members, 1).unwrap_err().to_string();
    assert!(error(&fitted, 1).contains("`members`"));
    let mut hinge = fitted.clone();
    hinge.record.loss = Loss::Soe { margin: 0.1 };
    assert!(error(&hinge, 8).contains("a hinge gives answers no probability"));
}

#[test]
fn the_commands_on_both_tasks() {
    for (task, n) in [("anchored", 500), ("odd-one-out", 180)] {
        let place = Place::new(task, n);
        place.simulate("me", &["--response", "logistic", "--agreement", "0.9"]);
        let (judged, reference) = (place.text("judgments/respondent=me"), place.text("reference.csv"));

        let csv = place.text("curve.csv");
        let arguments = [
            "learning-curve",
            &judged,
            "--dims",
            "2",
            "--loss",
            "ste,crowd-kernel",
            "--repeats",
            "2",
            "--reference",
            &reference,
            "--out",
            &csv,
        ];
        let table = succeed(&arguments);
        assert!(table.contains("crowd-kernel") && table.contains("Procrustes R²") && table.contains('±'), "{table}");
        let lines = std::fs::read_to_string(&csv).unwrap();
        assert!(lines.starts_with("loss,n_triplets,repeat,n_train,n_heldout,dims,penalty,"), "{lines}");
        assert!(fail(&arguments).contains("exists already"), "a table that is there is not replaced");
        let parquet = place.text("curve.parquet");
        let json: Value = serde_json::from_str(&succeed(&[
            "learning-curve",
            &judged,
            "--dims",
            "2",
            "--sizes",
            "60,120",
            "--out",
            &parquet,
            "--json",
        ]))
        .unwrap();
        assert_eq!(json["fits"].as_array().unwrap().len(), 6);
        assert!(json["fits"][0]["heldout_accuracy"].is_number() && json["fits"][0]["procrustes_r2"].is_null());
        assert_eq!(Table::read(parquet.as_ref()).unwrap().integers("n_triplets").unwrap()[5], Some(120));

        let text = succeed(&["dimensions", &judged, "--reference", &reference, "--dims", "1,2,4", "--folds", "4"]);
        assert!(text.contains("2 of 2 principal components hold 95 %") && text.contains("chosen"), "{text}");
        assert!(text.contains("it tells nothing"), "{text}");
        let json: Value = serde_json::from_str(&succeed(&["dimensions", &judged, "--dims", "1,2", "--json"])).unwrap();
        assert_eq!(json["answers"][0]["scores"].as_array().unwrap().len(), 2);
        assert!(json["answers"][0]["bounds"][0]["needed_of_rank"].as_u64().unwrap() > 10_000, "{json}");

        let next = place.text("next.parquet");
        let arguments = ["next", &judged, "--n", "20", "--dims", "2", "--members", "4", "--out", &next];
        let text = succeed(&arguments);
        assert!(text.starts_with("20 of "), "{text}");
        let names = |table: &Table| -> Vec<Vec<String>> {
            let columns: &[&str] = if task == "anchored" { &["anchor", "first", "second"] } else { &["a", "b", "c"] };
            let columns: Vec<Vec<String>> = columns.iter().map(|name| table.names(name).unwrap()).collect();
            (0..table.len()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
        };
        let table = Table::read(next.as_ref()).unwrap();
        let before = Table::read(&place.at("triplets.parquet")).unwrap();
        let ids = |table: &Table| table.integers("triplet_id").unwrap().into_iter().flatten().collect::<HashSet<i64>>();
        assert!(table.len() == 20 && ids(&table).len() == 20 && ids(&table).is_disjoint(&ids(&before)));
        assert!(ids(&table).iter().all(|id| !holds_out(0.2, 0)(*id)), "the held-out side stays as it is");
        assert!(names(&table).iter().all(|row| row.iter().collect::<HashSet<_>>().len() == 3));
        let bytes = std::fs::read(&next).unwrap();
        assert!(fail(&arguments).contains("exists already"));
        succeed(&[&arguments[..], &["--force", "--threads", "1"]].concat());
        assert_eq!(std::fs::read(&next).unwrap(), bytes, "one thread gives the bytes of several");
        assert!(
            fail(&[&arguments[..3], &["5000000"], &arguments[4..], &["--force"]].concat()).contains("`n` is 5000000")
        );
    }
}

#[test]
fn what_the_commands_cannot_do_is_said() {
    let place = Place::new("anchored", 100);
    place.simulate("me", &[]);
    let judged = place.text("judgments/respondent=me");
    let says = |arguments: &[&str], words: &str| {
        let refusal = fail(arguments);
        assert!(refusal.contains(words), "{words:?} is not in\n{refusal}");
    };
    says(&["learning-curve", &judged, "--sizes", "5000"], "`sizes` is 5000");
    says(&["learning-curve", &judged, "--sizes", "2", "--dims", "2"], "folds");
    says(&["learning-curve", &judged, "--out", "curve.txt"], ".csv or .parquet");
    says(&["learning-curve", &judged, "--holdout", "0"], "`holdout`");
    says(&["learning-curve", &judged, "--reference", "category"], "not every concept has a category");
    says(&["dimensions", &judged, "--dims", "0"], "`dims` is 0");
    says(&["dimensions", &judged, "--folds", "1", "--dims", "1"], "`folds`");
    let reference = place.text("reference.csv");
    says(&["dimensions", "--reference", &reference], "`concepts` is not given");
    let concepts = place.text("concepts.csv");
    let of_reference = ["dimensions", "--reference", &reference, "--concepts", &concepts];
    says(&[&of_reference[..], &["--variance", "1.5"]].concat(), "share of variance");
    assert!(succeed(&of_reference).contains("principal components"));
    says(&["next", &judged, "--n", "5", "--loss", "soe", "--out", &place.text("n.parquet")], "a hinge gives");
    says(&["next", &judged, "--n", "5", "--power", "0", "--out", &place.text("n.parquet")], "`power` is 0");
    says(&["next", &judged, "--n", "0", "--out", &place.text("n.parquet")], "`n` is 0");
    says(&["next", &judged, "--n", "5", "--loss", "ste,soe", "--out", &place.text("n.parquet")], "2 losses");
    says(&["next", &judged, "--n", "5", "--members", "1", "--out", &place.text("n.parquet")], "`members`");
}
