//! Maps of embeddings against scikit-learn, in closed form, and their invariances.
#![allow(clippy::unwrap_used)]

use alike::linalg::{dist2, product};
use alike::map::{Affinities, TsneSettings, trustworthiness, tsne};
use faer::Mat;
use serde_json::Value;

use crate::support::{cloud, matrix, on_threads};

/// What scikit-learn has; `golden/maps/maps.py` makes it.
fn cases() -> serde_json::Map<String, Value> {
    serde_json::from_str(include_str!("golden/maps/maps.json")).unwrap()
}

fn places(layout: &Mat<f64>) -> Vec<[f64; 2]> {
    (0..layout.nrows()).map(|i| [layout[(i, 0)], layout[(i, 1)]]).collect()
}

#[test]
fn probabilities_divergences_and_gradients_agree_with_scikit_learn() {
    for (name, case) in cases() {
        let x = matrix(&case["x"]);
        let affinities = Affinities::new(x.as_ref(), case["perplexity"].as_f64().unwrap()).unwrap();
        let n = x.nrows();
        let pairs: Vec<f64> = (0..n).flat_map(|i| affinities.row(i)[i + 1..].to_vec()).collect();
        // Relative: our entropy is met to 1e-10, scikit-learn's to 1e-5.
        for (key, tolerance) in [("exact", 1e-8), ("joint", 1e-4)] {
            let Some(expected) = case[key].as_array() else { continue };
            assert_eq!(expected.len(), pairs.len());
            for (p, expected) in pairs.iter().zip(expected) {
                let expected = expected.as_f64().unwrap();
                let close = (p - expected).abs() < tolerance * expected.max(1e-6) && (p - expected).abs() < 1e-6;
                assert!(close, "{name} {key}: {p}, expected {expected}");
            }
        }
        let layout = matrix(&case["layout"]);
        let (kl, gradient) = affinities.divergence(&places(&layout));
        let expected = case["kl_at_layout"].as_f64().unwrap();
        assert!((kl - expected).abs() < 1e-8, "{name}: {kl}, expected {expected}");
        let expected = matrix(&case["gradient_at_layout"]);
        for i in 0..n {
            for k in 0..2 {
                assert!((gradient[i][k] - expected[(i, k)]).abs() < 1e-8, "{name} {i}: {:?}", gradient[i]);
            }
        }
        for (k, expected) in case["trustworthiness"].as_object().unwrap() {
            let value = trustworthiness(x.as_ref(), layout.as_ref(), k.parse().unwrap()).unwrap();
            assert!((value - expected.as_f64().unwrap()).abs() < 1e-12, "{name} {k}: {value}, expected {expected}");
        }
    }
}

#[test]
fn maps_diverge_no_more_than_scikit_learns() {
    for (name, case) in cases() {
        let x = matrix(&case["x"]);
        let perplexity = case["perplexity"].as_f64().unwrap();
        let map = tsne(x.as_ref(), &TsneSettings { perplexity, ..TsneSettings::for_concepts(x.nrows()) }).unwrap();
        let expected = case["kl"].as_f64().unwrap();
        eprintln!("{name}: {} expected {expected}; {} its, {}", map.kl_nats, map.n_iterations, map.converged);
        assert!(map.kl_nats < 1.02 * expected, "{name}: {}, expected at most {expected}", map.kl_nats);
    }
}
