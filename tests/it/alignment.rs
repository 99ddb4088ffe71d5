//! Alignment measures against scipy, their invariances, and their nulls.
#![allow(clippy::unwrap_used)]

use alike::alignment::cka::cka_linear_minibatch;
use alike::alignment::interval::{self, IntervalMethod, jackknife, of_refits, resampled, subsample};
use alike::alignment::noise_ceiling::noise_ceiling;
use alike::alignment::silhouette::category_silhouette;
use alike::alignment::{Measure, RdmCorrelation, RdmDistance, permutation_nulls, permuted};
use alike::error::Error;
use alike::linalg::{product, to_rows};
use faer::Mat;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{cloud, golden, matrix, on_threads, path};

/// Expected values from rsatoolbox, scikit-learn, scipy and numpy; `golden/alignment.py` makes them.
fn others() -> Value {
    serde_json::from_str(include_str!("golden/alignment.json")).unwrap()
}

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

fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    // Angles of equal shapes are arccosines of 1, which resolve no better than the root of the rounding.
    let tolerance = if what.contains("angular") && expected < 1e-6 { 1e-7 } else { 1e-10 };
    assert!((found - expected).abs() < tolerance, "{what}: {found}, expected {expected}");
}

#[test]
fn the_other_measures_agree_with_other_programs() {
    let (inputs, golden) = (golden(), others());
    for (name, case) in golden["alignment"].as_object().unwrap() {
        let (h, x) = (matrix(&inputs["alignment"][name]["h"]), matrix(&inputs["alignment"][name]["x"]));
        for (key, expected) in case["expected"].as_object().unwrap() {
            let measure = key.parse::<Measure>().unwrap();
            close(measure.value(h.as_ref(), x.as_ref()).unwrap(), expected, &format!("{name} {key}"));
        }
        let (batch, silhouette) = (&case["minibatch"], &case["silhouette"]);
        let size = usize::try_from(batch["size"].as_u64().unwrap()).unwrap();
        let minibatch = cka_linear_minibatch(h.as_ref(), x.as_ref(), size).unwrap();
        close(minibatch, &batch["cka"], &format!("{name} minibatch"));
        let categories: Vec<usize> = serde_json::from_value(silhouette["categories"].clone()).unwrap();
        let value = category_silhouette(h.as_ref(), &categories, 1, 1).unwrap().value;
        close(value, &silhouette["h"], &format!("{name} silhouette"));
    }
}

#[test]
fn noise_ceilings_agree_with_rsatoolbox() {
    let golden = others();
    let with_ties: Vec<Vec<f64>> = serde_json::from_value(golden["noise_ceiling"]["rdms"].clone()).unwrap();
    let of_file = to_rows(alike::store::npy::read(&path("tests/it/golden/nc_rdms.npy")).unwrap().as_ref());
    for (rdms, key) in [(with_ties, "noise_ceiling"), (of_file, "noise_ceiling_of_file")] {
        for correlation in
            [RdmCorrelation::Cosine, RdmCorrelation::Pearson, RdmCorrelation::Spearman, RdmCorrelation::RhoA]
        {
            let (found, expected) = (noise_ceiling(&rdms, correlation).unwrap(), &golden[key][correlation.name()]);
            close(found.lower, &expected["lower"], correlation.name());
            close(found.upper, &expected["upper"], correlation.name());
        }
    }
}

/// `perm_index.npy`: 200 permutations of 128 concepts, two bytes a number behind a header of 128.
fn permutations_of_file() -> Vec<Vec<usize>> {
    let numbers = &include_bytes!("golden/perm_index.npy")[128..];
    let numbers: Vec<usize> =
        numbers.chunks_exact(2).map(|two| usize::from(u16::from_le_bytes([two[0], two[1]]))).collect();
    numbers.chunks_exact(128).map(<[usize]>::to_vec).collect()
}

#[test]
fn nulls_of_given_permutations_agree_with_numpy() {
    let orders = permutations_of_file();
    let is_whole = |order: &Vec<usize>| (0..128).all(|concept| order.contains(&concept));
    assert!(orders.len() == 200 && orders.iter().all(is_whole));
    // Formulas in whole numbers, so that the geometries are the script's to the last bit.
    let formula = |c: usize| move |i: usize, k: usize| ((7 * i * i + 13 * i * k + c * k) % 101) as f64 / 10.0;
    let (of_h, of_x) = (formula(5), formula(9));
    let h = Mat::from_fn(128, 4, of_h);
    let x = Mat::from_fn(128, 5, |i, k| if k < 4 { of_x(i, k) } else { of_x(i, 0) + of_h(i, 0) });
    let golden = others();
    let golden = golden["permutations_of_file"].as_object().unwrap();
    let measures: Vec<Measure> = golden.keys().map(|key| key.parse().unwrap()).collect();
    let nulls = permuted(&measures, h.as_ref(), x.as_ref(), orders.len(), |k| orders[k].clone()).unwrap();
    for ((key, expected), null) in golden.iter().zip(nulls) {
        let highest = null.draws.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let quantile = alike::stats::quantile(&null.draws, 0.975).unwrap();
        let found = [("value", null.value), ("mean", null.mean), ("p97_5", quantile), ("max", highest), ("p", null.p)];
        found.iter().for_each(|(name, found)| close(*found, &expected[name], &format!("{key} {name}")));
    }
}

const RSA: Measure = Measure::Rsa { distance: RdmDistance::Euclidean, correlation: RdmCorrelation::Spearman };

#[test]
fn a_bootstrap_over_concepts_leaves_self_pairs_out_and_is_for_rsa_alone() {
    let (inputs, golden) = (golden(), others());
    let case = &inputs["alignment"]["C_noise"];
    let (h, x) = (matrix(&case["h"]), matrix(&case["x"]));
    let draws: Vec<Vec<usize>> = serde_json::from_value(golden["bootstrap"]["draws"].clone()).unwrap();
    let values = resampled(RSA, h.as_ref(), x.as_ref(), &draws).unwrap();
    for (value, expected) in values.iter().zip(golden["bootstrap"]["values"].as_array().unwrap()) {
        close(*value, expected, "bootstrap");
    }
    for (q, expected) in [0.025, 0.975].into_iter().zip(golden["bootstrap"]["interval"].as_array().unwrap()) {
        close(alike::stats::quantile(&values, q).unwrap(), expected, "interval");
    }
    for measure in [Measure::ProcrustesR2, Measure::CkaLinearDebiased] {
        let error = interval::bootstrap(measure, h.as_ref(), x.as_ref(), 20, 1).unwrap_err().to_string();
        assert!(error.contains("jackknife"), "{error}");
    }
    let whole = interval::bootstrap(RSA, h.as_ref(), x.as_ref(), 200, 1).unwrap();
    assert!(whole.lo < whole.hi && whole.se > 0.0);
}

/// Jackknife and half-samples estimate the same standard error, and both take the bias away.
#[test]
fn intervals_of_a_measure_are_its_own_on_parts_of_the_concepts() {
    let (x, y) = (cloud(30, 4, 1), cloud(30, 3, 2));
    let y = Mat::from_fn(30, 4, |i, k| x[(i, k)] + if k < 3 { y[(i, k)] } else { 0.0 });
    for measure in [Measure::CkaLinearDebiased, Measure::ProcrustesR2, RSA] {
        let value = measure.value(x.as_ref(), y.as_ref()).unwrap();
        let jack = jackknife(measure, x.as_ref(), y.as_ref()).unwrap();
        let corrected = jack.corrected.unwrap();
        let half = subsample(measure, x.as_ref(), y.as_ref(), 300, 1).unwrap();
        assert!(jack.lo < value && value < jack.hi && half.lo < half.hi, "{measure}");
        assert!((jack.se / half.se - 1.0).abs() < 0.5, "{measure}: {jack:?} {half:?}");
        assert!((value - corrected).abs() < 3.0 * jack.se, "{measure}: {value} {jack:?}");
        assert_eq!(half, on_threads(1, || subsample(measure, x.as_ref(), y.as_ref(), 300, 1).unwrap()));
    }
    // Procrustes R² is biased upwards by 1/n and more, and the correction goes down.
    let value = Measure::ProcrustesR2.value(x.as_ref(), y.as_ref()).unwrap();
    assert!(jackknife(Measure::ProcrustesR2, x.as_ref(), y.as_ref()).unwrap().corrected.unwrap() < value);
    let jumps = jackknife(Measure::NeighbourOverlap { k: 5 }, x.as_ref(), y.as_ref()).unwrap_err().to_string();
    assert!(jumps.contains("subsample"), "{jumps}");
    assert!(subsample(RSA, x.as_ref(), y.as_ref(), 1, 1).is_err() && of_refits(0.5, &[0.5]).is_err());
    // Two refits ½ ∓ 0.1: sd √0.02, and t with one degree of freedom is 12.706.
    let refits = of_refits(0.5, &[0.4, 0.6]).unwrap();
    assert!((refits.hi - 0.5 - 12.706_204_736_432_1 * 0.02_f64.sqrt()).abs() < 1e-9, "{refits:?}");
    for method in IntervalMethod::ALL {
        assert_eq!(method.name().parse::<IntervalMethod>().unwrap(), method);
    }
}

#[test]
fn measures_together_are_measures_apart() {
    let (x, y) = (cloud(24, 4, 1), cloud(24, 6, 2));
    let together = permutation_nulls(&Measure::ALL, x.as_ref(), y.as_ref(), 20, 5).unwrap();
    for (measure, null) in Measure::ALL.into_iter().zip(together) {
        assert_eq!(measure.permutation_null(x.as_ref(), y.as_ref(), 20, 5).unwrap(), null, "{measure}");
    }
}

#[test]
fn sides_that_cannot_be_compared_are_refused() {
    let (x, flat) = (cloud(12, 3, 1), Mat::from_fn(12, 3, |_, k| 0.1 + k as f64));
    let mut holed = x.clone();
    holed[(4, 1)] = f64::NAN;
    let simplex = Mat::from_fn(12, 12, |i, k| f64::from(i == k));
    for measure in Measure::ALL {
        let value = |y: &Mat<f64>| measure.value(x.as_ref(), y.as_ref());
        assert!(matches!(value(&cloud(9, 3, 1)), Err(Error::ShapeMismatch { .. })), "{measure}");
        assert!(matches!(value(&holed), Err(Error::NotFinite { .. })), "{measure}");
        let constant = value(&flat);
        assert!(matches!(constant, Err(Error::TooFew { .. } | Error::NotFinite { .. })), "{measure}: {constant:?}");
        let alone = measure.value(cloud(1, 3, 1).as_ref(), cloud(1, 3, 2).as_ref());
        assert!(matches!(alone, Err(Error::TooFew { .. })), "{measure}");
        let no_order = matches!(
            measure,
            Measure::Rsa { .. } | Measure::CkaLinearDebiased | Measure::CkaRbfDebiased | Measure::TripletAgreement
        );
        assert_eq!(matches!(value(&simplex), Err(Error::TooFew { .. })), no_order, "{measure}");
    }
    let three = cloud(3, 2, 1);
    let debiased = Measure::CkaLinearDebiased.value(three.as_ref(), three.as_ref());
    assert!(matches!(debiased, Err(Error::TooFew { needed: 4, .. })));
    assert!(Measure::ProcrustesR2.permutation_null(x.as_ref(), x.as_ref(), 0, 1).is_err());
}

#[test]
fn columns_that_do_not_vary_change_nothing() {
    let (x, y) = (cloud(14, 3, 1), cloud(14, 4, 2));
    let with_constants = Mat::from_fn(14, 5, |i, k| if k < 3 { x[(i, k)] } else { 7.5 });
    for measure in Measure::ALL.into_iter().filter(|m| !m.key().contains("rsa_co")) {
        // Cosines and correlations of rows are taken from an origin, which such a column moves.
        let value = |x: &Mat<f64>| measure.value(x.as_ref(), y.as_ref()).unwrap();
        assert!((value(&x) - value(&with_constants)).abs() < 1e-12, "{measure}");
    }
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
            // Profiles over dimensions change with rotation; without a scale, size counts; without reflection, mirror images differ.
            if key.contains("rsa_correlation") || key.contains("no_scaling") || (reflect && key.contains("rotation")) { continue }
            let value = measure.value(x.as_ref(), y.as_ref()).unwrap();
            // A cosine is taken from the origin: it may turn and stretch, not shift.
            let other = if key.contains("rsa_cosine") { &scaled } else { &moved };
            let changed = measure.value(x.as_ref(), other.as_ref()).unwrap();
            prop_assert!((value - changed).abs() < 1e-9, "{}: {} and {}", key, value, changed); // shifts cost a few digits
        }
    }

    #[test]
    fn a_configuration_is_wholly_aligned_with_itself_and_sides_may_be_swapped(seed in 0_u64..1_000, d in 3_usize..7) {
        let (x, y) = (cloud(14, d, seed), cloud(14, 5, seed + 1));
        for measure in Measure::ALL {
            let (itself, tolerance) = if measure.is_distance() { (0.0, 1e-7) } else { (1.0, 1e-12) };
            prop_assert!((measure.value(x.as_ref(), x.as_ref()).unwrap() - itself).abs() < tolerance, "{}", measure);
            if measure.key().contains("no_scaling") { continue } // it matters who is fitted
            let (xy, yx) = (measure.value(x.as_ref(), y.as_ref()).unwrap(), measure.value(y.as_ref(), x.as_ref()).unwrap());
            prop_assert!((xy - yx).abs() < 1e-12, "{}: {} and {}", measure, xy, yx);
        }
    }
}
