//! Losses against numpy, fits against scipy's optima, and what a fit must keep to.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use alike::alignment::Measure;
use alike::embedding::bootstrap::{Bootstrap, Refit};
use alike::embedding::objective::{Layout, Objective};
use alike::embedding::{Comparison, Fit, FitSettings, L2, Loss, fit, split_holdout, triplet_accuracy};
use alike::optimize::{Limits, minimize};
use alike::respondents::{ResponseModel, tau_for_agreement};
use faer::{Mat, MatRef};
use proptest::prelude::*;
use rayon::prelude::*;

use crate::support::{answered, cloud, comparisons, flat, golden, matrix, on_threads};

fn losses() -> [(&'static str, Loss); 9] {
    [
        ("crowd-kernel mu=0", Loss::CrowdKernel { mu: 0.0 }),
        ("crowd-kernel mu=0.05", Loss::CrowdKernel { mu: 0.05 }),
        ("crowd-kernel mu=1", Loss::CrowdKernel { mu: 1.0 }),
        ("ste", Loss::Ste),
        ("t-ste alpha=1", Loss::TSte { alpha: 1.0 }),
        ("t-ste alpha=2", Loss::TSte { alpha: 2.0 }),
        ("soe margin=0.1", Loss::Soe { margin: 0.1 }),
        ("gnmds margin=1", Loss::Gnmds { margin: 1.0 }),
        ("logistic-distance", Loss::LogisticDistance),
    ]
}

#[test]
fn losses_and_gradients_agree_with_numpy() {
    let golden = &golden()["losses"];
    let (x, asked) = (matrix(&golden["x"]), comparisons(&golden["triplets"]));
    for (name, loss) in losses() {
        let expected = &golden["expected"][name];
        let mut objective = Objective::new(loss, 0.0, x.nrows(), x.ncols(), &asked).unwrap();
        let mut gradient = flat(x.as_ref());
        let value = objective.evaluate(&flat(x.as_ref()), &mut gradient);
        assert!((value / expected["loss"].as_f64().unwrap() - 1.0).abs() < 1e-13, "{name}: {value}");
        for (found, expected) in gradient.iter().zip(flat(matrix(&expected["gradient"]).as_ref())) {
            // Squared distances come from a Gram matrix here, from differences there.
            assert!((found - expected).abs() < 1e-13, "{name}: {found}, expected {expected}");
        }
    }
}

#[test]
fn the_best_of_twenty_starts_is_scipys_optimum() {
    let golden = &golden()["fit"];
    let asked = comparisons(&golden["triplets"]);
    for (name, loss) in losses() {
        let Some(expected) = golden["expected"][name].as_f64() else {
            continue;
        };
        let best = (0..20)
            .map(|seed| {
                let mut objective = Objective::new(loss, golden["l2"].as_f64().unwrap(), 20, 2, &asked).unwrap();
                let limits = Limits { relative_decrease: 1e-13, gradient_norm: 1e-10, ..Limits::default() };
                minimize(|x, gradient| objective.evaluate(x, gradient), flat(cloud(20, 2, seed).as_ref()), &limits)
                    .1
                    .objective
            })
            .fold(f64::INFINITY, f64::min);
        assert!((best - expected).abs() < 1e-11, "{name}: {best}, expected {expected}"); // both stop about 1e-12 above the bottom
    }
}

/// 900 answers of a planted 24 × 3 cloud at 90 % agreement.
fn planted() -> (Mat<f64>, Vec<Comparison>) {
    let truth = cloud(24, 3, 11);
    let asked = answered(truth.as_ref(), ResponseModel::NoiseFree, 900, 3);
    let triplets: Vec<[u32; 3]> = asked.iter().map(|c| [c.anchor, c.first, c.second]).collect();
    let tau = tau_for_agreement(truth.as_ref(), &triplets, 0.9).unwrap();
    let answers = answered(truth.as_ref(), ResponseModel::Logistic { tau }, 900, 3);
    (truth, answers)
}

#[test]
fn a_planted_embedding_is_recovered() {
    let (truth, answers) = planted();
    let fit = fit(24, &answers, &FitSettings::robust(3, 1)).unwrap();
    let record = &fit.record;
    assert!(record.converged, "{record:?}");
    let r2 = Measure::ProcrustesR2.value(truth.as_ref(), fit.coordinates.as_ref()).unwrap();
    assert!(r2 > 0.9, "{r2}"); // 0.12 by chance
    assert!(record.heldout_accuracy.unwrap() > 0.78, "{record:?}"); // the truth itself: 0.9 in expectation, 0.02 standard error
    assert_eq!(record.n_train + record.n_heldout, 900);
    assert_eq!(record.cross_validation.len(), 7);
    for k in 0..3 {
        assert!((0..24).map(|i| fit.coordinates[(i, k)]).sum::<f64>().abs() < 1e-10);
    }
    let paper = alike::embedding::fit(24, &answers, &FitSettings::paper(3, 1)).unwrap().record;
    assert_eq!((paper.loss, paper.l2), (Loss::CrowdKernel { mu: 0.05 }, 0.0));
    assert!(record.heldout_loss.unwrap() < paper.heldout_loss.unwrap());
}

#[test]
fn every_loss_recovers_the_planted_embedding_and_names_its_parameter() {
    let (truth, answers) = planted();
    for (name, loss) in losses() {
        let fit = fit(24, &answers, &FitSettings::cross_validated(loss, 3, 1)).unwrap();
        let r2 = Measure::ProcrustesR2.value(truth.as_ref(), fit.coordinates.as_ref()).unwrap();
        assert!(r2 > 0.85, "{name}: {r2}"); // 0.12 by chance
        assert!(fit.record.heldout_accuracy.unwrap() > 0.75, "{name}: {:?}", fit.record);
        let record = serde_json::to_value(&fit.record).unwrap();
        let (key, parameter) = name.split_once(' ').unwrap_or((name, ""));
        assert_eq!(record["loss"], key);
        if let Some((parameter, value)) = parameter.split_once('=') {
            assert_eq!(record[parameter].as_f64(), value.parse().ok(), "{record}");
        }
    }
}

/// Value and gradient of the mean loss.
fn evaluate(loss: Loss, x: &Mat<f64>, asked: &[Comparison]) -> Vec<f64> {
    let mut all = flat(x.as_ref());
    let value = Objective::new(loss, 0.0, x.nrows(), x.ncols(), asked).unwrap().evaluate(&flat(x.as_ref()), &mut all);
    all.push(value);
    all
}

fn assert_close(found: &[f64], expected: impl IntoIterator<Item = f64>, what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{what}: {found}, expected {expected}"); // rounding
    }
}

#[test]
fn soft_labels_are_mixtures_and_weights_are_repeats() {
    let x = cloud(8, 3, 5);
    let asked = answered(x.as_ref(), ResponseModel::CoinFlip, 60, 2);
    let said = |p_first: f64| asked.iter().map(|c| Comparison { p_first, ..*c }).collect::<Vec<_>>();
    for (name, loss) in losses() {
        let (first, second) = (evaluate(loss, &x, &said(1.0)), evaluate(loss, &x, &said(0.0)));
        let mixture = first.iter().zip(&second).map(|(a, b)| 0.7 * a + 0.3 * b);
        assert_close(&evaluate(loss, &x, &said(0.7)), mixture, name);

        let mut heavier = asked.clone();
        heavier[3].weight = 2.0;
        let mut repeated = asked.clone();
        repeated.push(asked[3]);
        assert_close(&evaluate(loss, &x, &heavier), evaluate(loss, &x, &repeated), name);
    }
}

#[test]
fn t_ste_lies_between_crowd_kernel_and_ste() {
    let x = cloud(8, 3, 5);
    let asked = answered(x.as_ref(), ResponseModel::CoinFlip, 60, 2);
    let t_ste = |alpha| evaluate(Loss::TSte { alpha }, &x, &asked);
    assert_close(&t_ste(1.0), evaluate(Loss::CrowdKernel { mu: 1.0 }, &x, &asked), "alpha = 1");
    // The Student kernel of many degrees of freedom is normal: exp(−dist2 / 2).
    let ste = evaluate(Loss::Ste, &Mat::from_fn(8, 3, |i, k| x[(i, k)] / 2_f64.sqrt()), &asked);
    let (value, ste) = (*t_ste(1e9).last().unwrap(), *ste.last().unwrap());
    assert!((value - ste).abs() < 1e-7, "{value} and {ste}"); // 1 / alpha times dist2², which is some tens
}

#[test]
fn a_margin_sets_the_scale_alone() {
    let (x, k) = (cloud(8, 3, 5), 3.0);
    let asked = answered(x.as_ref(), ResponseModel::CoinFlip, 60, 2);
    let scaled = Mat::from_fn(8, 3, |i, d| k * x[(i, d)]);
    let value = |loss, x: &Mat<f64>| {
        let mut objective = Objective::new(loss, 0.1, 8, 3, &asked).unwrap();
        objective.evaluate(&flat(x.as_ref()), &mut flat(x.as_ref()))
    };
    for (small, large) in [
        (Loss::Soe { margin: 0.1 }, Loss::Soe { margin: 0.1 * k }),
        (Loss::Gnmds { margin: 1.0 }, Loss::Gnmds { margin: k * k }),
    ] {
        let ratio = value(large, &scaled) / value(small, &x);
        assert!((ratio - k * k).abs() < 1e-6, "{small:?}: {ratio}"); // the constant under SOE's root, 1e-9, does not scale
    }
}

#[test]
fn a_fit_has_the_same_bits_on_any_number_of_threads_and_in_any_order() {
    let (_, mut answers) = planted();
    let settings = FitSettings { restarts: 3, ..FitSettings::robust(3, 1) };
    let run = |answers: &[Comparison], n_threads| {
        let fit = on_threads(n_threads, || fit(24, answers, &settings).unwrap());
        (flat(fit.coordinates.as_ref()), fit.record)
    };
    let once = run(&answers, 1);
    assert_eq!(once, run(&answers, 2));
    assert_eq!(once, run(&answers, 8));
    answers.reverse();
    assert_eq!(once, run(&answers, 1));
}

/// Sets that one evaluation shares among threads, in both layouts.
#[test]
fn large_sets_have_the_same_bits_on_any_number_of_threads() {
    for (n, n_triplets, layout) in [(600, 40_000, Layout::Dense), (2_000, 120_000, Layout::Pairs)] {
        let answers = answered(cloud(n, 4, 5).as_ref(), ResponseModel::NoiseFree, n_triplets, 5);
        let objective = Objective::new(Loss::LogisticDistance, 1e-3, n, 4, &answers).unwrap();
        assert_eq!(objective.layout(), layout);
        let run = |n_threads| {
            let (mut objective, limits) = (objective.clone(), Limits { max_evaluations: 6, ..Limits::default() });
            let from = flat(cloud(n, 4, 6).as_ref());
            on_threads(n_threads, || minimize(|x, gradient| objective.evaluate(x, gradient), from, &limits))
        };
        let once = run(1);
        assert_eq!(once.1.n_evaluations, 6);
        assert_eq!(once, run(2));
        assert_eq!(once, run(8));
    }
}

#[test]
fn both_orders_and_all_repeats_of_a_triplet_are_held_out_together() {
    let (_, answers) = planted();
    let swapped = |c: &Comparison| Comparison { first: c.second, second: c.first, p_first: 1.0 - c.p_first, ..*c };
    let doubled: Vec<Comparison> = answers.iter().flat_map(|c| [*c, swapped(c)]).collect();
    let ids = |side: &[Comparison]| side.iter().map(|c| c.triplet).collect::<std::collections::BTreeSet<i64>>();
    let (heldout, kept) = split_holdout(&doubled, 0.2, 1);
    assert!(ids(&heldout).is_disjoint(&ids(&kept)));
    assert_eq!(ids(&heldout), ids(&split_holdout(&answers, 0.2, 1).0));
    assert!((130..=230).contains(&ids(&heldout).len())); // 180 expected, four standard errors of 12
    let alone = split_holdout(&answers[..100], 0.2, 1).0;
    assert!(ids(&alone).is_subset(&ids(&heldout)));
}

#[test]
fn soft_labels_tell_more_than_hard_ones() {
    let (truth, answers) = planted();
    let few = &answers[..400];
    let triplets: Vec<[u32; 3]> = few.iter().map(|c| [c.anchor, c.first, c.second]).collect();
    let tau = tau_for_agreement(truth.as_ref(), &triplets, 0.75).unwrap();
    let subject =
        alike::respondents::SimulatedSubject::new(truth.as_ref(), ResponseModel::Logistic { tau }, 1).unwrap();
    let answer = |soft: bool| {
        let said = |c: &Comparison| {
            let answer = subject.answer(c.anchor, c.first, c.second, c.triplet.cast_unsigned());
            Comparison { p_first: if soft { answer.p_first } else { f64::from(answer.chose_first) }, ..*c }
        };
        let fit = fit(24, &few.iter().map(said).collect::<Vec<_>>(), &FitSettings::robust(3, 1)).unwrap();
        Measure::ProcrustesR2.value(truth.as_ref(), fit.coordinates.as_ref()).unwrap()
    };
    let (soft, hard) = (answer(true), answer(false));
    assert!(soft > hard + 0.1, "{soft} and {hard}");
}

#[test]
fn what_the_data_cannot_say_is_noted() {
    let (_, answers) = planted();
    let settings = FitSettings { max_evaluations: 5, ..FitSettings::paper(3, 1) };
    let fit = fit(26, &answers, &settings).unwrap(); // concepts 24 and 25 are never judged
    assert_eq!((fit.record.n_never_judged, fit.record.converged), (2, false));
    assert!((0..3).all(|k| fit.coordinates[(24, k)] == 0.0 && fit.coordinates[(25, k)] == 0.0));
    let said = |word: &str| fit.record.notes.iter().any(|note| note.contains(word));
    assert!(said("never") || said("no training comparison"), "{:?}", fit.record.notes);
    assert!(said("did not converge"));
    let sparse = alike::embedding::fit(24, &answers[..50], &FitSettings::paper(3, 1)).unwrap();
    assert!(sparse.record.notes.iter().any(|note| note.contains("= 331")), "{:?}", sparse.record.notes);
    let ties: Vec<Comparison> = answers.iter().map(|c| Comparison { p_first: 0.5, ..*c }).collect();
    let tied = alike::embedding::fit(24, &ties, &FitSettings::paper(3, 1)).unwrap().record;
    assert_eq!((tied.heldout_accuracy, tied.n_heldout_ties), (None, tied.n_heldout));
    assert!(serde_json::to_value(&tied).unwrap()["heldout_accuracy"].is_null());
}

/// The curve ends where the fit does, and is a report: without anything held out the fit is the same.
#[test]
fn the_curve_of_a_fit_ends_with_its_numbers() {
    let (_, answers) = planted();
    let settings = FitSettings { restarts: 3, ..FitSettings::paper(3, 1) };
    let fitted = fit(24, &answers, &settings).unwrap();
    let (record, end) = (&fitted.record, fitted.record.curve.last().unwrap());
    assert_eq!((end.n_evaluations, end.objective), (record.n_evaluations, record.objective));
    assert_eq!((end.heldout_loss, end.heldout_accuracy), (record.heldout_loss, record.heldout_accuracy));
    assert!(record.curve.is_sorted_by(|a, b| a.n_evaluations < b.n_evaluations && a.objective >= b.objective));
    assert!(record.curve.len() > 10 && end.heldout_accuracy > record.curve[0].heldout_accuracy);
    let heldout = split_holdout(&answers, settings.holdout, settings.seed).0;
    let x = flat(fitted.coordinates.as_ref());
    let mut objective = Objective::new(settings.loss, 0.0, 24, 3, &heldout).unwrap();
    let loss = objective.evaluate(&x, &mut vec![0.0; x.len()]);
    assert!((end.heldout_loss.unwrap() - loss).abs() < 1e-12, "{end:?} and {loss}"); // centring rounds

    let kept = split_holdout(&answers, settings.holdout, settings.seed).1;
    let alone = fit(24, &kept, &FitSettings { holdout: 0.0, ..settings }).unwrap();
    assert_eq!(flat(alone.coordinates.as_ref()), x);
    assert!(alone.record.curve.iter().all(|point| point.heldout_loss.is_none() && point.heldout_accuracy.is_none()));
}

#[test]
fn answers_that_say_nothing_or_too_much_are_noted() {
    let (_, answers) = planted();
    let said = |fit: &Fit, words: &str| fit.record.notes.iter().any(|note| note.contains(words));
    let paper = FitSettings::paper(3, 1);
    // Each answer and its contrary are a tie.
    let contrary = |c: &Comparison| [*c, Comparison { p_first: 1.0 - c.p_first, ..*c }];
    let contradictory: Vec<Comparison> = answers.iter().flat_map(contrary).collect();
    let ties: Vec<Comparison> = answers.iter().map(|c| Comparison { p_first: 0.5, ..*c }).collect();
    assert_close(
        &evaluate(Loss::LogisticDistance, &cloud(24, 3, 1), &contradictory),
        evaluate(Loss::LogisticDistance, &cloud(24, 3, 1), &ties),
        "contradictions",
    );
    let tied = fit(24, &ties, &paper).unwrap();
    assert!(said(&tied, "every target is one half"), "{:?}", tied.record.notes);
    // A respondent who always names the first option answers by coin, as the order is.
    let always: Vec<Comparison> = answers.iter().map(|c| Comparison { p_first: 1.0, ..*c }).collect();
    let coin = fit(24, &always, &FitSettings::robust(3, 1)).unwrap().record;
    assert!((0.35..0.65).contains(&coin.heldout_accuracy.unwrap()), "{coin:?}"); // half, three standard errors of 0.04
    // Six answers that any scale reproduces, the larger the better.
    let few = FitSettings { holdout: 0.0, loss: Loss::Ste, ..paper };
    let unbounded = fit(24, &answers[..6], &few).unwrap();
    assert!(said(&unbounded, "nothing bounds the coordinates"), "{:?}", unbounded.record);
    // Weights whose sum is no number: no fit is returned.
    let heavy: Vec<Comparison> = answers.iter().map(|c| Comparison { weight: f64::MAX, ..*c }).collect();
    let error = fit(24, &heavy, &FitSettings::paper(3, 1)).unwrap_err().to_string();
    assert!(error.contains("the objective after 1 evaluations"), "{error}");
}

#[test]
fn refits_are_of_draws_from_the_training_side() {
    let (truth, answers) = planted();
    let settings = FitSettings::robust(3, 1).with_l2(1e-3);
    let fitted = fit(24, &answers, &settings).unwrap();
    let of = |answers: &[Comparison], n_threads| {
        on_threads(n_threads, || {
            let draws = Bootstrap::new(answers, &settings, fitted.coordinates.as_ref()).unwrap();
            (0..8_u64).into_par_iter().map(|draw| draws.refit(draw).unwrap()).collect::<Vec<_>>()
        })
    };
    let flat_of = |refits: &[Refit]| refits.iter().map(|r| flat(r.coordinates.as_ref())).collect::<Vec<_>>();
    let once = of(&answers, 1);
    assert_eq!(flat_of(&once), flat_of(&of(&answers, 8)));
    let held_out = split_holdout(&answers, settings.holdout, settings.seed).0;
    let changed: Vec<Comparison> = answers
        .iter()
        .map(|c| if held_out.contains(c) { Comparison { p_first: 1.0 - c.p_first, ..*c } } else { *c })
        .collect();
    assert_eq!(flat_of(&once), flat_of(&of(&changed, 2)), "held-out answers are never drawn");
    let r2 = |x: MatRef<'_, f64>, y: MatRef<'_, f64>| Measure::ProcrustesR2.value(x, y).unwrap();
    for refit in &once {
        assert!(refit.record.stop.converged() && refit.judged.iter().all(|judged| *judged), "{:?}", refit.record);
        // Some 63 % of the triplets: near the fit and the truth, and never the fit itself.
        let near = r2(fitted.coordinates.as_ref(), refit.coordinates.as_ref());
        assert!((0.9..0.9999).contains(&near), "{near}");
        assert!(r2(truth.as_ref(), refit.coordinates.as_ref()) > 0.85);
    }
    // One triplet, drawn once: the fit again.
    let one = [Comparison { triplet: 5, ..answers[0] }];
    let alone = FitSettings { holdout: 0.0, ..settings.clone() };
    let start = fit(24, &one, &alone).unwrap();
    let refit = Bootstrap::new(&one, &alone, start.coordinates.as_ref()).unwrap().refit(0).unwrap();
    assert!((refit.record.objective / start.record.objective - 1.0).abs() < 1e-4, "{:?}", refit.record); // both stop when flat
    assert_eq!(refit.judged.iter().filter(|judged| **judged).count(), 3);
    assert!(Bootstrap::new(&answers, &FitSettings::robust(3, 1), fitted.coordinates.as_ref()).is_err());
}

#[test]
fn nonsense_is_refused() {
    let good = Comparison { triplet: 1, anchor: 0, first: 1, second: 2, p_first: 1.0, weight: 1.0 };
    let refused = |c: Comparison| fit(3, &[good, c], &FitSettings::paper(2, 1)).is_err();
    assert!(refused(Comparison { anchor: 3, ..good }));
    assert!(refused(Comparison { second: 1, ..good }));
    assert!(refused(Comparison { p_first: 1.1, ..good }));
    assert!(refused(Comparison { p_first: f64::NAN, ..good }));
    assert!(refused(Comparison { weight: -1.0, ..good }));
    assert!(fit(3, &[], &FitSettings::paper(2, 1)).is_err());
    assert!(fit(2, &[], &FitSettings::paper(2, 1)).is_err());
    let settings = FitSettings::paper(2, 1);
    let bad = [
        FitSettings { dims: 0, ..settings.clone() },
        FitSettings { holdout: 1.0, ..settings.clone() },
        FitSettings { restarts: 0, ..settings.clone() },
        FitSettings { loss: Loss::CrowdKernel { mu: -0.1 }, ..settings.clone() },
        FitSettings { loss: Loss::TSte { alpha: 0.0 }, ..settings.clone() },
        FitSettings { loss: Loss::Soe { margin: f64::INFINITY }, ..settings.clone() },
        FitSettings { loss: Loss::Gnmds { margin: f64::NAN }, ..settings.clone() },
        FitSettings { l2: L2::Fixed(f64::NAN), ..settings.clone() },
        FitSettings { l2: L2::CrossValidated { grid: vec![], folds: 5 }, ..settings.clone() },
    ];
    assert!(bad.iter().all(|settings| settings.check().is_err()));
    assert!(triplet_accuracy(cloud(3, 2, 1).as_ref(), &[Comparison { first: 7, ..good }]).is_err());
}

/// Whether a hinge bends within the reach of a finite difference.
fn near_a_kink(loss: Loss, x: MatRef<'_, f64>, asked: &[Comparison]) -> bool {
    let dist2 = |a: u32, b: u32| (0..x.ncols()).map(|k| (x[(a as usize, k)] - x[(b as usize, k)]).powi(2)).sum::<f64>();
    let near = |z: f64, margin: f64| (z.abs() - margin).abs() < 1e-3; // a step of 1e-5 moves z by less
    asked.iter().any(|c| match loss {
        Loss::Soe { margin } => near(dist2(c.anchor, c.first).sqrt() - dist2(c.anchor, c.second).sqrt(), margin),
        Loss::Gnmds { margin } => near(dist2(c.anchor, c.first) - dist2(c.anchor, c.second), margin),
        _ => false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn gradients_are_finite_differences(seed in 0_u64..1_000, which in 0_usize..9, l2 in 0.0..0.5, soft in 0.0..1.0) {
        let (n, d) = (7, 3);
        let x = cloud(n, d, seed);
        let mut asked = answered(cloud(n, d, seed + 1).as_ref(), ResponseModel::CoinFlip, 40, seed);
        asked[3].p_first = soft;
        asked[4].weight = 2.5;
        let loss = losses()[which].1;
        prop_assume!(!near_a_kink(loss, x.as_ref(), &asked));
        let mut objective = Objective::new(loss, l2, n, d, &asked).unwrap();
        let x = flat(x.as_ref());
        let (mut gradient, mut unused) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        objective.evaluate(&x, &mut gradient);
        for k in 0..x.len() {
            let mut at = |step: f64| {
                let mut moved = x.clone();
                moved[k] += step;
                objective.evaluate(&moved, &mut unused)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            prop_assert!((slope - gradient[k]).abs() < 1e-7, "{} and {}", slope, gradient[k]); // step² and rounding / step: about 1e-10 each
        }
    }

    #[test]
    fn the_loss_sees_distances_only(seed in 0_u64..1_000, which in 0_usize..9, shift in -3.0..3.0) {
        let (n, d) = (7, 2);
        let x = cloud(n, d, seed);
        let asked = answered(x.as_ref(), ResponseModel::CoinFlip, 40, seed);
        let (c, s) = (f64::cos(shift), f64::sin(shift));
        let moved = Mat::from_fn(n, d, |i, k| if k == 0 { c * x[(i, 0)] - s * x[(i, 1)] + shift } else { s * x[(i, 0)] + c * x[(i, 1)] });
        let mut objective = Objective::new(losses()[which].1, 0.0, n, d, &asked).unwrap();
        let mut unused = vec![0.0; n * d];
        let here = objective.evaluate(&flat(x.as_ref()), &mut unused);
        let there = objective.evaluate(&flat(moved.as_ref()), &mut unused);
        prop_assert!((here - there).abs() < 1e-11, "{} and {}", here, there);
    }
}
