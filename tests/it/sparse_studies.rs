//! `alike learning-curve`, `alike dimensions` and `alike next` by dot products, of answers drawn from planted sparse weights.
#![allow(clippy::unwrap_used)]

use alike::embedding::active::Ensemble;
use alike::embedding::dimension_choice::choose_dims;
use alike::embedding::learning_curve::learning_curve;
use alike::embedding::sparse::{SparseSettings, accuracy, fit, members};
use alike::embedding::{Answered, FitSettings, Fitting, OddOneOutAnswer, Record};
use alike::odd_one_out::exhaustive;
use alike::presentations::Presentation;
use alike::stats::mean;
use faer::Mat;
use serde_json::Value;

use crate::simulate::Place;
use crate::sparse::{answers, planted, spose};
use crate::support::{fail, flat, on_threads, succeed};

#[test]
fn fits_of_both_kinds_stand_in_one_curve() {
    let w = planted(30, 4, 21);
    let answered = Answered::OddOneOut(answers(&w, 3_000, 22));
    let settings = [
        Fitting::Distances(FitSettings::robust(4, 1).with_l2(3e-3)),
        Fitting::DotProducts(spose(8, 30, 3_000)),
        Fitting::DotProducts(SparseSettings::vice(8, 1)),
    ];
    let run =
        |n_threads| on_threads(n_threads, || learning_curve(30, &answered, &settings, &[200, 800, 2_300], 2).unwrap());
    let fits = run(2);
    assert_eq!(fits.len(), 18);
    let n_heldout = fits.iter().find(|fit| fit.which == 1).unwrap().record.n_heldout();
    for fit in &fits {
        let summary = fit.record.summary();
        // Each odd-one-out answer is two comparisons to a fit by distances.
        let each = if fit.which == 0 { 2 } else { 1 };
        assert_eq!((summary.n_heldout, summary.n_train), (each * n_heldout, each * fit.n_triplets));
        assert_eq!(summary.chance_accuracy, if fit.which == 0 { 0.5 } else { 1.0 / 3.0 });
    }
    for which in 0..3 {
        let means = [200, 800, 2_300].map(|size| {
            let of = fits.iter().filter(|fit| fit.which == which && fit.n_triplets == size);
            mean(&of.map(|fit| fit.record.heldout_accuracy().unwrap()).collect::<Vec<_>>())
        });
        // 600 answers have a standard error of 0.02, but they are the same ones.
        assert!(means[0] < means[1] && means[1] < means[2] + 0.005 && means[0] + 0.03 < means[2], "{which}: {means:?}");
    }
    for (a, b) in fits.iter().zip(run(1)) {
        assert!(a.record == b.record && flat(a.coordinates.as_ref()) == flat(b.coordinates.as_ref()));
    }
    let anchored = Answered::Anchored(answered.comparisons().into_owned());
    let refused = learning_curve(30, &anchored, &settings[1..2], &[100], 1).unwrap_err().to_string();
    assert!(refused.contains("spose for anchored judgments"), "{refused}");
}

#[test]
fn start_dimensions_are_chosen_and_those_left_are_told() {
    let w = planted(30, 4, 23);
    let answered = Answered::OddOneOut(answers(&w, 3_500, 24));
    let candidates = [1, 2, 4, 8, 12].map(|dims| Fitting::DotProducts(spose(dims, 30, 3_500)));
    let run = |n_threads| on_threads(n_threads, || choose_dims(30, &answered, &candidates, 4).unwrap());
    let choice = run(2);
    assert!(
        choice.one_standard_error >= 2 && choice.scores[0].accuracy + 0.02 < choice.scores[2].accuracy,
        "{choice:?}"
    );
    assert!(choice.scores.iter().all(|score| score.dims_left <= score.dims && score.penalty.is_some()));
    assert!(choice.scores[4].dims_left < 12, "{choice:?}");
    assert_eq!(choice, run(1));
    let Record::DotProducts(record) = &choice.record else { panic!("{:?}", choice.record) };
    assert_eq!(record.start_dims, choice.one_standard_error);
    let vice = [3, 6].map(|dims| Fitting::DotProducts(SparseSettings::vice(dims, 1)));
    let choice = choose_dims(30, &answered, &vice, 2).unwrap();
    assert!(choice.scores.iter().all(|score| score.penalty.is_none() && score.accuracy > 0.4), "{choice:?}");
}

/// Answers in which concept 7 appears in a handful only.
fn hardly_about_7(w: &Mat<f64>) -> Vec<OddOneOutAnswer> {
    let mut n_kept = 0;
    answers(w, 2_500, 26)
        .into_iter()
        .filter(|answer| {
            let about_it = answer.shown.concepts().contains(&7);
            n_kept += usize::from(about_it);
            !about_it || n_kept <= 6
        })
        .collect()
}

#[test]
fn unknown_concepts_are_asked_about_by_dot_products() {
    let w = planted(30, 4, 25);
    let known = hardly_about_7(&w);
    let candidates: Vec<Presentation> = exhaustive(30, false, 1).into_iter().map(Presentation::OddOneOut).collect();
    for settings in [spose(8, 30, 2_500), SparseSettings::vice(8, 1)] {
        let fitting = Fitting::DotProducts(SparseSettings { holdout: 0.0, ..settings });
        let answered = Answered::OddOneOut(known.clone());
        let run = |n_threads| {
            on_threads(n_threads, || {
                let (record, ensemble) = fitting.ensemble(30, &answered, 8, 1).unwrap();
                (record, ensemble.choose(&candidates, 200, 30, 1.0, 1).unwrap())
            })
        };
        let (record, chosen) = run(2);
        let n_about_it = chosen.iter().filter(|shown| shown.concepts().contains(&7)).count();
        println!("{}: {n_about_it} of 200", record.summary().loss);
        assert!(n_about_it > 30, "{n_about_it} of 200 (20 at random) are about the concept that nobody knows");
        assert!((record, chosen) == run(1));
    }
}

/// Members agree with the answers, and differ most where there are none.
#[test]
fn members_predict_and_differ_where_nothing_was_asked() {
    let w = planted(30, 4, 25);
    let known = hardly_about_7(&w);
    for settings in [spose(8, 30, 2_500), SparseSettings::vice(8, 1)] {
        let fitted = fit(30, &known, &SparseSettings { holdout: 0.0, ..settings }).unwrap();
        assert_eq!(fitted.posterior.is_some(), fitted.record.lambda.is_none());
        let members = members(&fitted, &known, 6, 3).unwrap();
        for member in &members {
            assert_eq!(member.shape(), fitted.coordinates.shape());
            assert!(member.norm_max() < 10.0 && flat(member.as_ref()).iter().all(|w| *w >= 0.0));
            let share = accuracy(member.as_ref(), &known).unwrap().unwrap();
            assert!(share > fitted.record.train_accuracy - 0.06, "{share} of {}", fitted.record.train_accuracy);
        }
        let spread = |row: usize| {
            let of_dim = |k: usize| {
                let values: Vec<f64> = members.iter().map(|m| m[(row, k)]).collect();
                let mean = mean(&values);
                values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 5.0
            };
            (0..fitted.record.dims).map(of_dim).sum::<f64>().sqrt()
        };
        let others = mean(&(0..30).filter(|row| *row != 7).map(spread).collect::<Vec<_>>());
        assert!(spread(7) > 1.5 * others, "{} and {others} on average", spread(7));
        let one = Ensemble::of_dot_products(&fitted, &known, 1, 1).unwrap_err().to_string();
        assert!(one.contains("`members`"), "{one}");
        let mut nothing = fitted;
        nothing.record.dims = 0;
        let none = Ensemble::of_dot_products(&nothing, &known, 4, 1).unwrap_err().to_string();
        assert!(none.contains("dimensions that survived"), "{none}");
    }
}

#[test]
fn the_commands_by_dot_products() {
    let place = Place::new("odd-one-out", 200);
    place.simulate("me", &["--response", "logistic", "--agreement", "0.95"]);
    let (judged, csv) = (place.text("judgments/respondent=me"), place.text("curve.csv"));
    let text = succeed(&[
        "learning-curve",
        &judged,
        "--loss",
        "logistic-distance,spose",
        "--lambda",
        "0.2",
        "--dims",
        "4",
        "--sizes",
        "60,120",
        "--repeats",
        "2",
        "--out",
        &csv,
    ]);
    assert!(text.contains("spose") && text.contains("0.333") && text.contains("not to be compared"), "{text}");
    let lines = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(lines.lines().count(), 1 + 8, "{lines}");

    let dimensions = |loss: &str, more: &[&str]| {
        succeed(&[&["dimensions", &judged, "--loss", loss, "--dims", "1,3", "--folds", "2"], more].concat())
    };
    let text = dimensions("spose", &["--lambda", "0.2"]);
    assert!(text.contains("left") && text.contains("survive") && !text.contains("vacuous"), "{text}");
    let json: Value = serde_json::from_str(&dimensions("vice", &["--json"])).unwrap();
    let of = &json["answers"][0];
    assert!(of["scores"][0]["dims_left"].is_u64() && of["scores"][0]["penalty"].is_null(), "{json}");
    assert!(of["bounds"][0]["excess_of_rank"].is_null() && of["record"]["loss"] == "vice", "{json}");

    for (loss, more) in [("spose", &["--lambda", "0.1"][..]), ("vice", &[])] {
        let next = place.text(&format!("{loss}.parquet"));
        let arguments = ["next", &judged, "--loss", loss, "--n", "10", "--dims", "3", "--members", "4", "--out", &next];
        let text = succeed(&[&arguments[..], more].concat());
        assert!(text.starts_with("10 of "), "{text}");
        assert_eq!(alike::store::table::Table::read(next.as_ref()).unwrap().len(), 10);
    }
    let anchored = Place::new("anchored", 100);
    anchored.simulate("me", &[]);
    let judged = anchored.text("judgments/respondent=me");
    for command in
        [&["learning-curve"][..], &["dimensions", "--dims", "2"], &["next", "--n", "5", "--out", "x.parquet"]]
    {
        let refused = fail(&[&command[..1], &[judged.as_str(), "--loss", "spose"], &command[1..]].concat());
        assert!(refused.contains("spose for anchored judgments"), "{refused}");
    }
}
