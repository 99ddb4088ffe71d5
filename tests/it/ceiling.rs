//! The pipeline's ceiling and chance level on a planted geometry.
#![allow(clippy::unwrap_used)]

use alike::alignment::{
    Measure,
    ceiling::{chance, matched_ceiling, simulate},
};
use alike::embedding::{FitSettings, fit};
use alike::respondents::{ResponseModel, SimulatedSubject, tau_for_agreement};

use crate::support::{answered, cloud, flat, on_threads};

#[test]
fn a_subject_that_is_the_reference_has_itself_as_ceiling() {
    let truth = cloud(24, 3, 11);
    let asked = answered(truth.as_ref(), ResponseModel::CoinFlip, 2_000, 3);
    let triplets: Vec<[u32; 3]> = asked.iter().map(|c| [c.anchor, c.first, c.second]).collect();
    let tau = tau_for_agreement(truth.as_ref(), &triplets, 0.8).unwrap();
    let answers = answered(truth.as_ref(), ResponseModel::Logistic { tau }, 2_000, 3);
    for settings in [FitSettings::paper(3, 1), FitSettings::robust(3, 1)] {
        let model = fit(24, &answers, &settings).unwrap();
        let target = model.record.heldout_accuracy.unwrap();
        let ceiling = matched_ceiling(truth.as_ref(), &answers, &settings, target, 77).unwrap();
        assert!((ceiling.heldout_accuracy - target).abs() < 0.01, "{} and {target}", ceiling.heldout_accuracy);
        // Its accuracy is known to 0.02, which is a quarter of the noise.
        assert!((ceiling.tau.unwrap().ln() - tau.ln()).abs() < 0.5, "{:?} and {tau}", ceiling.tau);
        let value = |x: &faer::Mat<f64>| Measure::ProcrustesR2.value(truth.as_ref(), x.as_ref()).unwrap();
        assert!((value(&ceiling.coordinates) - value(&model.coordinates)).abs() < 0.1);
        let chance = chance(24, &answers, &settings.with_l2(model.record.l2), 78).unwrap();
        assert!(value(&chance.coordinates) < 0.3 && (chance.heldout_accuracy - 0.5).abs() < 0.1);
        assert!(chance.tau.is_none() && serde_json::to_value(&chance).unwrap()["record"]["loss"].is_string());
    }
}

#[test]
fn targets_out_of_reach_are_said_to_be() {
    let truth = cloud(16, 2, 5);
    let answers = answered(truth.as_ref(), ResponseModel::NoiseFree, 400, 3);
    let settings = FitSettings::paper(2, 1);
    let ceiling = |target| matched_ceiling(truth.as_ref(), &answers, &settings, target, 1);
    let best = ceiling(1.0).unwrap();
    assert_eq!((best.tau, best.agreement, best.notes.len()), (Some(0.0), 1.0, 1));
    let coin = ceiling(0.5).unwrap();
    assert_eq!((coin.subject, coin.tau, coin.notes.len()), (ResponseModel::CoinFlip, None, 1));
    assert!(ceiling(1.2).is_err() && ceiling(f64::NAN).is_err());
    let nothing_held_out = FitSettings { holdout: 0.0, ..settings };
    assert!(matched_ceiling(truth.as_ref(), &answers, &nothing_held_out, 0.8, 1).is_err());
}

#[test]
fn a_ceiling_has_the_same_bits_on_any_number_of_threads() {
    let truth = cloud(16, 2, 5);
    let answers = answered(truth.as_ref(), ResponseModel::NoiseFree, 400, 3);
    let run = |n_threads| {
        on_threads(n_threads, || {
            let ceiling = matched_ceiling(truth.as_ref(), &answers, &FitSettings::robust(2, 1), 0.75, 9).unwrap();
            (flat(ceiling.coordinates.as_ref()), ceiling.tau.map(f64::to_bits), ceiling.n_subjects)
        })
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn repeats_are_answered_anew_and_the_order_of_presentations_does_not_matter() {
    let truth = cloud(8, 2, 5);
    let asked = answered(truth.as_ref(), ResponseModel::NoiseFree, 40, 3);
    let coin = SimulatedSubject::coin_flip(4);
    let repeated: Vec<_> = asked.iter().flat_map(|c| [*c, *c]).collect();
    let answers = simulate(&coin, &repeated);
    assert!(answers.chunks(2).any(|pair| pair[0].p_first != pair[1].p_first));
    let mut backwards: Vec<_> = asked.clone();
    backwards.reverse();
    let mut again = simulate(&coin, &backwards);
    again.reverse();
    assert_eq!(simulate(&coin, &asked), again);
}
