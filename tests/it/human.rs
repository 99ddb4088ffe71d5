//! The pipeline on a human embedding, where one is at hand: it is read from its place, never copied into the project.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use alike::alignment::Measure;
use alike::alignment::agreement::Agreement;
use alike::concepts::Concepts;
use alike::config::{EmbedSection, LossName};
use alike::embedding::{Comparison, FitSettings, fit, split_holdout, triplet_accuracy};
use alike::presentations::Presentation;
use alike::reference::{Matching, Reference};
use alike::respondents::{ResponseModel, SimulatedSubject, tau_for_agreement};
use alike::seed::judgment_key;
use faer::Mat;

use crate::encoder::subject;
use crate::support::path;

/// The 128 concepts and their rows, or `None` with the reason printed.
fn human() -> Option<(Concepts, Mat<f64>)> {
    let variables =
        ["ALIKE_HUMAN_REFERENCE", "ALIKE_HUMAN_NAMES"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let [Some(file), Some(names)] = variables else {
        println!("skipped: ALIKE_HUMAN_REFERENCE and ALIKE_HUMAN_NAMES do not name a human embedding");
        return None;
    };
    let concepts = Concepts::read_csv(&path("data/concepts/things128.csv")).unwrap();
    let reference = Reference::read(&file, Some(&names), &concepts, &Matching::default()).unwrap();
    assert_eq!(reference.matched.len(), 128);
    Some((concepts, reference.coordinates))
}

/// A human embedding of the 128 concepts, 35,000 answers of a subject with its geometry that agree with it 88 % of the
/// time, and the answers without noise. Nothing when no human embedding is at hand.
fn human_like() -> Option<(Mat<f64>, Vec<Comparison>, Vec<Comparison>)> {
    let (_, human) = human()?;
    let triplets = alike::triplets::random(128, 35_000, false, 1).unwrap();
    let asked: Vec<[u32; 3]> = triplets.iter().map(|t| [t.anchor, t.first, t.second]).collect();
    let tau = tau_for_agreement(human.as_ref(), &asked, 0.88).unwrap();
    let answers = |response| {
        let subject = SimulatedSubject::new(human.as_ref(), response, 1).unwrap();
        let answer = |t: &alike::triplets::Triplet| {
            let (triplet, key) = (t.id(128), judgment_key(t.id(128), t.order(), 0));
            let chose_first = subject.answer(t.anchor, t.first, t.second, key).chose_first;
            Comparison {
                triplet,
                anchor: t.anchor,
                first: t.first,
                second: t.second,
                p_first: f64::from(chose_first),
                weight: 1.0,
            }
        };
        triplets.iter().map(answer).collect()
    };
    let (noisy, noise_free) = (answers(ResponseModel::Logistic { tau }), answers(ResponseModel::NoiseFree));
    Some((human, noisy, noise_free))
}

/// The default fit finds its way back to human geometry, crowd-kernel does not.
/// Measured elsewhere with other triplets (35,000 in 30 dimensions): R² 0.81 and 0.53.
#[test]
fn human_geometry_comes_back() {
    let Some((human, comparisons, noise_free)) = human_like() else {
        return;
    };
    let fitted = |settings: &FitSettings| {
        let fit = fit(128, &comparisons, settings).unwrap();
        let r2 = Measure::ProcrustesR2.value(human.as_ref(), fit.coordinates.as_ref()).unwrap();
        (fit, r2)
    };
    let settings = FitSettings::robust(30, 1);
    let (robust, r2) = fitted(&settings);
    let paper = fitted(&FitSettings::paper(30, 1)).1;
    println!("R² with the human embedding: logistic-distance {r2:.3}, crowd-kernel {paper:.3}");
    assert!((0.45..0.60).contains(&paper), "crowd-kernel recovers {paper:.3}");
    let held_out = split_holdout(&comparisons, settings.holdout, settings.seed).0;
    let without_noise = split_holdout(&noise_free, settings.holdout, settings.seed).0;
    let accuracy = |x: &Mat<f64>, asked: &[Comparison]| triplet_accuracy(x.as_ref(), asked).unwrap().share;
    let [mine, best] = [&robust.coordinates, &human].map(|x| accuracy(x, &held_out));
    let without_noise = accuracy(&robust.coordinates, &without_noise);
    println!(
        "held out {mine:.4}, of which the human embedding itself reproduces {best:.4}; without noise {without_noise:.4}"
    );
    assert!(r2 >= 0.8 && without_noise >= 0.912, "R² {r2}, without noise {without_noise}");
    // How many held-out answers can be foreseen is the luck of the draw, 0.4 % either way.
    assert!(mine >= best - 0.028, "{mine} and {best}");
}

/// all-MiniLM-L6-v2 answers as people do more often than a coin, and by far not always: 57.0 % of single choices, R² 0.21
/// (crowd-kernel) and 0.29 (logistic-distance) were measured, where coins reach 0.13 and 0.15 in these fits.
#[test]
fn minilm_beside_a_human_embedding() {
    let Some((concepts, human)) = human() else { return };
    let minilm = subject(&path("models/all-minilm-l6-v2"), &concepts);
    let triplets = alike::triplets::random(128, 35_000, false, 1).unwrap();
    let judged = triplets.iter().map(|t| minilm.judgments(&Presentation::Anchored(*t)).remove(0));
    let (mut comparisons, mut choices) = (Vec::new(), Vec::new());
    for (t, judgment) in triplets.iter().zip(judged) {
        let chosen = judgment.chosen.unwrap();
        comparisons.push(Comparison {
            triplet: t.id(128),
            anchor: t.anchor,
            first: t.first,
            second: t.second,
            p_first: f64::from(u8::from(chosen == 0)),
            weight: 1.0,
        });
        choices
            .push((judgment.presentation.pairs().into_iter().map(|pair| pair.map(|id| id as usize)).collect(), chosen));
    }
    let agreement = Agreement::of(human.as_ref(), choices).unwrap();
    let share = agreement.share().unwrap();
    let r2 = |settings: &FitSettings| {
        let fit = fit(128, &comparisons, settings).unwrap();
        Measure::ProcrustesR2.value(human.as_ref(), fit.coordinates.as_ref()).unwrap()
    };
    let (robust, paper) = (r2(&FitSettings::robust(30, 1)), r2(&FitSettings::paper(30, 1)));
    println!("all-MiniLM-L6-v2: {share:.4} of {} choices are the human embedding's", agreement.n);
    println!("R² with the human embedding: logistic-distance {robust:.3}, crowd-kernel {paper:.3}");
    assert!((0.56..0.58).contains(&share), "{share}");
    assert!((0.26..0.32).contains(&robust), "{robust}");
    assert!((0.18..0.25).contains(&paper), "{paper}");
}

/// Prints what each loss makes of the same answers, its penalty chosen by cross-validation (crowd-kernel: none).
/// The peers' R² on other answers of such a subject: 0.80 for STE, 0.81 for t-STE, 0.80 for SOE, each with a penalty.
#[test]
#[ignore = "six losses with cross-validation: about a minute on two cores"]
fn every_loss_on_human_geometry() {
    let Some((human, comparisons, noise_free)) = human_like() else {
        return;
    };
    for loss in LossName::ALL {
        let settings = EmbedSection::default().settings(loss, 1);
        let fit = fit(128, &comparisons, &settings).unwrap();
        let (record, x) = (&fit.record, fit.coordinates.as_ref());
        let r2 = Measure::ProcrustesR2.value(human.as_ref(), x).unwrap();
        let heldout_truth = split_holdout(&noise_free, settings.holdout, settings.seed).0;
        println!(
            "{:18} l2 {:6}  held-out {:.3}  without noise {:.3}  R² {r2:.3}  effective dimensions {:.1}  {} evaluations, {:?}",
            loss.name(),
            record.l2,
            record.heldout_accuracy.unwrap(),
            triplet_accuracy(x, &heldout_truth).unwrap().share,
            record.participation_ratio,
            record.n_evaluations,
            record.stop,
        );
        let least = if loss == LossName::CrowdKernel { 0.45 } else { 0.75 };
        assert!(r2 > least && record.converged, "{}: {r2:.3} {record:?}", loss.name());
    }
}
