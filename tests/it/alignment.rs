//! Alignment measures against scipy, their invariances, and their nulls.
#![allow(clippy::unwrap_used)]

use alike::alignment::Measure;
use alike::error::Error;
use alike::linalg::product;
use faer::Mat;
use proptest::prelude::*;

use crate::support::{cloud, golden, matrix, on_threads};

#[test]
fn values_agree_with_scipy() {
    let golden = golden();
    for (name, case) in golden["alignment"].as_object().unwrap() {
        let (h, x) = (matrix(&case["h"]), matrix(&case["x"]));
        for (key, expected) in case["expected"].as_object().unwrap() {
            let value = key.parse::<Measure>().unwrap().value(h.as_ref(), x.as_ref()).unwrap();
            let expected = expected.as_f64().unwrap();
            // Two programs sum the same few hundred products in other orders.
            assert!((value - expected).abs() < 1e-11, "{name} {key}: {value}, expected {expected}");
        }
    }
}

#[test]
fn sides_that_cannot_be_compared_are_refused() {
    let (x, flat) = (cloud(10, 3, 1), Mat::from_fn(10, 3, |_, k| 0.1 + k as f64));
    let mut holed = x.clone();
    holed[(4, 1)] = f64::NAN;
    let simplex = Mat::from_fn(10, 10, |i, k| f64::from(i == k));
    for measure in Measure::ALL {
        let value = |y: &Mat<f64>| measure.value(x.as_ref(), y.as_ref());
        assert!(matches!(value(&cloud(9, 3, 1)), Err(Error::ShapeMismatch { .. })), "{measure}");
        assert!(matches!(value(&holed), Err(Error::NotFinite { .. })), "{measure}");
        let constant = value(&flat);
        assert!(matches!(constant, Err(Error::TooFew { .. } | Error::NotFinite { .. })), "{measure}: {constant:?}");
        let alone = measure.value(cloud(1, 3, 1).as_ref(), cloud(1, 3, 2).as_ref());
        assert!(matches!(alone, Err(Error::TooFew { .. })), "{measure}");
        let no_order = matches!(measure, Measure::Rsa { .. } | Measure::CkaLinearDebiased);
        assert_eq!(matches!(value(&simplex), Err(Error::TooFew { .. })), no_order, "{measure}");
    }
    let three = cloud(3, 2, 1);
    let debiased = Measure::CkaLinearDebiased.value(three.as_ref(), three.as_ref());
    assert!(matches!(debiased, Err(Error::TooFew { needed: 4, .. })));
    assert!(Measure::ProcrustesR2.permutation_null(x.as_ref(), x.as_ref(), 0, 1).is_err());
}

#[test]
fn nulls_are_the_same_on_any_number_of_threads() {
    let (x, y) = (cloud(24, 4, 1), cloud(24, 6, 2));
    for measure in Measure::ALL {
        let null =
            |n_threads| on_threads(n_threads, || measure.permutation_null(x.as_ref(), y.as_ref(), 64, 5).unwrap());
        assert_eq!(null(1), null(2), "{measure}");
    }
}

#[test]
fn unrelated_geometries_sit_in_their_null_and_equal_ones_above_it() {
    let (x, y) = (cloud(40, 30, 1), cloud(40, 30, 2));
    for measure in Measure::ALL {
        let unrelated = measure.permutation_null(x.as_ref(), y.as_ref(), 199, 7).unwrap();
        assert!(unrelated.p > 0.01, "{measure}: p = {}", unrelated.p);
        let equal = measure.permutation_null(x.as_ref(), x.as_ref(), 199, 7).unwrap();
        assert_eq!(equal.p, 1.0 / 200.0, "{measure}");
    }
    // 30 dimensions on 40 concepts: large by chance, unless debiased.
    let mean =
        |key: &str| key.parse::<Measure>().unwrap().permutation_null(x.as_ref(), y.as_ref(), 199, 7).unwrap().mean;
    assert!(mean("procrustes_r2") > 0.3 && mean("cka_linear_biased") > 0.3);
    assert!(mean("cka_linear_debiased").abs() < 0.02 && mean("rsa_euclidean_spearman").abs() < 0.02);
}

/// An orthogonal 3 × 3 matrix: a product of two rotations, reflected or not.
fn orthogonal(a: f64, b: f64, reflect: bool) -> Mat<f64> {
    let first = Mat::from_fn(3, 3, |i, k| [[a.cos(), -a.sin(), 0.0], [a.sin(), a.cos(), 0.0], [0.0, 0.0, 1.0]][i][k]);
    let sign = if reflect { -1.0 } else { 1.0 };
    let second = Mat::from_fn(3, 3, |i, k| [[sign, 0.0, 0.0], [0.0, b.cos(), -b.sin()], [0.0, b.sin(), b.cos()]][i][k]);
    product(first.as_ref(), second.as_ref())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rotation_shift_and_scale_change_nothing(
        seed in 0_u64..1_000, a in 0.0..6.0, b in 0.0..6.0, reflect: bool, shift in -5.0..5.0, scale in 0.1..9.0,
    ) {
        let (x, y) = (cloud(12, 4, seed), cloud(12, 3, seed + 1));
        let turned = product(y.as_ref(), orthogonal(a, b, reflect).as_ref());
        let moved = Mat::from_fn(12, 3, |i, k| scale * turned[(i, k)] + shift * (k as f64 - 0.5));
        let scaled = Mat::from_fn(12, 3, |i, k| scale * turned[(i, k)]);
        for measure in Measure::ALL {
            let key = measure.key();
            if key.contains("correlation") { continue } // compares profiles over dimensions: not invariant to rotation
            let value = measure.value(x.as_ref(), y.as_ref()).unwrap();
            // A cosine is taken from the origin: it may turn and stretch, not shift.
            let other = if key.contains("cosine") { &scaled } else { &moved };
            let changed = measure.value(x.as_ref(), other.as_ref()).unwrap();
            prop_assert!((value - changed).abs() < 1e-9, "{}: {} and {}", key, value, changed); // shifts cost a few digits
        }
    }

    #[test]
    fn a_configuration_is_wholly_aligned_with_itself_and_sides_may_be_swapped(seed in 0_u64..1_000, d in 3_usize..7) {
        let (x, y) = (cloud(11, d, seed), cloud(11, 5, seed + 1));
        for measure in Measure::ALL {
            prop_assert!((measure.value(x.as_ref(), x.as_ref()).unwrap() - 1.0).abs() < 1e-12, "{}", measure);
            let (xy, yx) = (measure.value(x.as_ref(), y.as_ref()).unwrap(), measure.value(y.as_ref(), x.as_ref()).unwrap());
            prop_assert!((xy - yx).abs() < 1e-12, "{}: {} and {}", measure, xy, yx);
        }
    }
}
