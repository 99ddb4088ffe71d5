//! The pipeline on a human embedding, where one is at hand: it is read from its place, never copied into the project.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use alike::alignment::Measure;
use alike::concepts::Concepts;
use alike::embedding::{Comparison, FitSettings, fit};
use alike::reference::{Matching, Reference};
use alike::respondents::{ResponseModel, SimulatedSubject, tau_for_agreement};
use alike::seed::judgment_key;

use crate::support::path;

/// A subject with human geometry and 88 % agreement: the robust fit finds its way back, crowd-kernel does not.
/// Measured elsewhere with other triplets (35,000 in 30 dimensions): R² 0.81 and 0.53.
#[test]
fn human_geometry_comes_back() {
    let variables =
        ["ALIKE_HUMAN_REFERENCE", "ALIKE_HUMAN_NAMES"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let [Some(file), Some(names)] = variables else {
        println!("skipped: ALIKE_HUMAN_REFERENCE and ALIKE_HUMAN_NAMES do not name a human embedding");
        return;
    };
    let concepts = Concepts::read_csv(&path("data/concepts/things128.csv")).unwrap();
    let reference = Reference::read(&file, Some(&names), &concepts, &Matching::default()).unwrap();
    assert_eq!(reference.matched.len(), 128);
    let human = reference.coordinates.as_ref();
    let triplets = alike::triplets::random(128, 35_000, false, 1).unwrap();
    let asked: Vec<[u32; 3]> = triplets.iter().map(|t| [t.anchor, t.first, t.second]).collect();
    let tau = tau_for_agreement(human, &asked, 0.88).unwrap();
    let subject = SimulatedSubject::new(human, ResponseModel::Logistic { tau }, 1).unwrap();
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
    let comparisons: Vec<Comparison> = triplets.iter().map(answer).collect();
    let r2 = |settings: &FitSettings| {
        let fit = fit(128, &comparisons, settings).unwrap();
        Measure::ProcrustesR2.value(human, fit.coordinates.as_ref()).unwrap()
    };
    let robust = r2(&FitSettings::robust(30, 1).with_l2(1e-3));
    let paper = r2(&FitSettings::paper(30, 1));
    println!("R² with the human embedding: logistic-distance {robust:.3}, crowd-kernel {paper:.3}");
    assert!(robust > 0.77, "logistic-distance recovers {robust:.3}");
    assert!((0.45..0.60).contains(&paper), "crowd-kernel recovers {paper:.3}");
}
