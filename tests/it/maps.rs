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
        // Descents end in different valleys; 2 % is less than lies between scikit-learn's from different starts.
        assert!(map.kl_nats < 1.02 * expected, "{name}: {}, expected at most {expected}", map.kl_nats);
        let (kl, gradient) = Affinities::new(x.as_ref(), perplexity).unwrap().divergence(&places(&map.coordinates));
        assert_eq!(kl, map.kl_nats);
        let steepest = gradient.iter().flatten().fold(0.0_f64, |most, slope| most.max(slope.abs()));
        // Groups of a few drift apart ever more slowly, so that a small map need not be at rest; 1e-3 moves nothing one would see.
        assert!(steepest < 1e-3 && (map.converged || x.nrows() < 50), "{name}: {steepest}");
    }
}

#[test]
fn the_gradient_is_that_of_the_divergence() {
    let (x, layout) = (cloud(30, 4, 1), cloud(30, 2, 2));
    let affinities = Affinities::new(x.as_ref(), 7.0).unwrap();
    let y = places(&layout);
    let (_, gradient) = affinities.divergence(&y);
    for i in 0..30 {
        for k in 0..2 {
            let moved = |by: f64| {
                let mut y = y.clone();
                y[i][k] += by;
                affinities.divergence(&y).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            // Central differences: an error of 1e-10 from curvature, and 1e-11 of rounding over the step.
            assert!((gradient[i][k] - slope).abs() < 1e-9, "{i} {k}: {}, {slope}", gradient[i][k]);
        }
    }
}

#[test]
fn maps_do_not_depend_on_threads() {
    // Three times as many concepts as one thread takes at a time, and some that fill no vector.
    let (n, x) = (389, cloud(389, 8, 3));
    let settings = TsneSettings { max_iterations: 300, ..TsneSettings::for_concepts(n) };
    let on = |n_threads| on_threads(n_threads, || tsne(x.as_ref(), &settings).unwrap());
    let one = on(1);
    for other in [on(2), on(3)] {
        assert_eq!(one.kl_nats.to_bits(), other.kl_nats.to_bits());
        assert!(
            (0..n).all(|i| (0..2).all(|k| one.coordinates[(i, k)].to_bits() == other.coordinates[(i, k)].to_bits()))
        );
    }
}

/// A rotation by a plane, and a shift.
fn moved(x: &Mat<f64>) -> Mat<f64> {
    let (sin, cos) = 0.7_f64.sin_cos();
    let d = x.ncols();
    let turn = Mat::from_fn(d, d, |i, k| match (i, k) {
        (0, 0) | (1, 1) => cos,
        (0, 1) => -sin,
        (1, 0) => sin,
        _ => f64::from(i == k),
    });
    let turned = product(x.as_ref(), turn.as_ref());
    Mat::from_fn(x.nrows(), d, |i, k| turned[(i, k)] + 2.0 * k as f64 - 3.0)
}

#[test]
fn rotation_and_shift_do_not_matter() {
    for (name, case) in cases() {
        let x = matrix(&case["x"]);
        let (n, other) = (x.nrows(), moved(&x));
        let settings =
            TsneSettings { perplexity: case["perplexity"].as_f64().unwrap(), ..TsneSettings::for_concepts(n) };
        let affinities = |x: &Mat<f64>| Affinities::new(x.as_ref(), settings.perplexity).unwrap();
        let (a, b) = (affinities(&x), affinities(&other));
        for i in 0..n {
            assert!(a.row(i).iter().zip(b.row(i)).all(|(a, b)| (a - b).abs() < 1e-12));
        }
        let (map, again) = (tsne(x.as_ref(), &settings).unwrap(), tsne(other.as_ref(), &settings).unwrap());
        // Rounding grows while the map does, and the rest of the descent takes most of it back: within 1 % of the map's width.
        let (here, there) = (dist2(map.coordinates.as_ref()), dist2(again.coordinates.as_ref()));
        let pairs = || (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
        let width = pairs().map(|at| here[at].sqrt()).fold(0.0, f64::max);
        let apart = pairs().map(|at| (here[at].sqrt() - there[at].sqrt()).abs()).fold(0.0, f64::max);
        assert!(apart < 0.01 * width, "{name}: {apart} of {width}");
        assert!((map.kl_nats - again.kl_nats).abs() < 1e-3 * map.kl_nats, "{name}");
        let trust = |x: &Mat<f64>| trustworthiness(x.as_ref(), map.coordinates.as_ref(), 10).unwrap();
        assert!((trust(&x) - trust(&other)).abs() < 1e-12 && trust(&x) > 0.85, "{name}: {}", trust(&x));
    }
}
