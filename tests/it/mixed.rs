//! Mixed models of the paper's table against lme4, lmerTest and statsmodels, and where they have closed forms.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use alike::ingredients::mixed::bootstrap::likelihood_ratio_p;
use alike::ingredients::mixed::collinearity::inflation;
use alike::ingredients::mixed::explained::explained;
use alike::ingredients::mixed::influence::{by_group, by_row};
use alike::ingredients::mixed::likelihood_ratio::likelihood_ratio;
use alike::ingredients::mixed::profile::{profile, wald};
use alike::ingredients::mixed::residuals::residual_checks;
use alike::ingredients::mixed::satterthwaite::{coefficient_tests, term_tests};
use alike::ingredients::normality::shapiro_wilk;
use alike::ingredients::{Cells, Design, Fit, Method, Table, fit};
use alike::seed::Streams;
use alike::stats::standard_normal;
use alike::store::models;
use serde_json::Value;

const PAPER: &str =
    "r2 ~ instruct + z(hidden_size) + z(intermediate_size) + z(attention_heads) + z(max_context) + multimodal";

fn paper() -> Table {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/paper");
    let read = |name: &str| models::read(&folder.join(name)).unwrap();
    read("alignment.csv").with(&read("models.csv")).unwrap()
}

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/ingredients").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn design(formula: &str, table: &Table) -> Design {
    Design::new(&formula.parse().unwrap(), table).unwrap()
}

/// One number or a list of them.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(all) => all.iter().map(|one| one.as_f64().unwrap()).collect(),
        one => vec![one.as_f64().unwrap()],
    }
}

fn close(what: &str, found: &[f64], expected: &Value, relative: f64, absolute: f64) {
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= relative * expected.abs() + absolute,
            "{what}: {found}, expected {expected}"
        );
    }
}

fn models_of_lme4() -> [(&'static str, String); 5] {
    [
        ("paper", format!("{PAPER} + (1 | family)")),
        ("slope", format!("{PAPER} + (1 + instruct | family)")),
        ("apart", "r2 ~ z(hidden_size) + instruct + (1 + z(hidden_size) || family)".to_owned()),
        ("crossed", "r2 ~ z(hidden_size) + (1 | family) + (1 | stage)".to_owned()),
        ("factors", "r2 ~ activation + instruct*z(log2(max_context)) + (1 | family)".to_owned()),
    ]
}

fn sds(fit: &Fit) -> Vec<f64> {
    fit.components.iter().flat_map(|component| component.sds.clone()).chain([fit.sigma]).collect()
}

#[test]
fn fits_are_those_of_lme4() {
    let (golden, table) = (golden("lme4.json"), paper());
    for (name, formula) in models_of_lme4() {
        let design = design(&formula, &table);
        for (key, method) in [("reml", Method::Reml), ("ml", Method::Ml)] {
            let what = format!("{name} {key}");
            let expected = &golden[name][key];
            let found = fit(&design, method).unwrap();
            assert!(found.converged, "{what}");
            assert_eq!(!found.singular.is_empty(), expected["singular"].as_bool().unwrap(), "{what}");
            // lme4's search ends at 1e-10 in θ where the deviance is flat: six to eight digits of what follows from it.
            close(&what, &found.beta, &expected["beta"], 1e-6, 1e-7);
            close(&what, &found.standard_errors, &expected["se"], 1e-6, 0.0);
            close(&what, &sds(&found), &expected["components"]["sd"], 1e-5, 1e-7);
            close(&what, &[found.log_likelihood], &expected["log_likelihood"], 1e-10, 0.0);
            close(&what, &[found.aic()], &expected["aic"], 1e-9, 0.0);
            close(&what, &[found.bic()], &expected["bic"], 1e-9, 0.0);
            if name == "slope" {
                let correlation = found.components[0].correlations[(1, 0)];
                let expected = numbers(&expected["components"]["correlations"]["family"])[1];
                assert!((correlation - expected).abs() < 1e-5, "{correlation} {expected}");
            }
            let named = golden[name]["models"].as_array().unwrap();
            let fitted: Vec<f64> = named
                .iter()
                .map(|model| found.fitted[design.rows.iter().position(|row| row == model.as_str().unwrap()).unwrap()])
                .collect();
            close(&what, &fitted, &expected["fitted"], 1e-6, 1e-7);
            if name == "crossed" {
                for component in &found.components {
                    let expected = &expected["effects"][&component.group];
                    let levels = expected["levels"].as_array().unwrap();
                    for (level, values) in levels.iter().zip(expected["values"].as_array().unwrap()) {
                        let at = component.levels.iter().position(|name| name == level.as_str().unwrap()).unwrap();
                        close(&what, &[component.effects[(at, 0)]], values, 1e-5, 1e-7);
                    }
                }
            }
        }
    }
}

#[test]
fn degrees_of_freedom_are_those_of_lmertest() {
    let (golden, table) = (golden("lme4.json"), paper());
    for (name, formula) in models_of_lme4() {
        let design = design(&formula, &table);
        for (key, method) in [("reml", Method::Reml), ("ml", Method::Ml)] {
            let fit = fit(&design, method).unwrap();
            let tests = coefficient_tests(&design, &fit).unwrap();
            let expected = &golden[name][key];
            // lmerTest takes its derivatives by differences too, from a deviance with rounding errors of 1e-13.
            let df: Vec<f64> = tests.iter().map(|test| test.df).collect();
            close(&format!("{name} {key} df"), &df, &expected["df"], 1e-4, 0.0);
            let p: Vec<f64> = tests.iter().map(|test| test.p).collect();
            close(&format!("{name} {key} p"), &p, &expected["p"], 1e-3, 0.0);
        }
    }
    let design = design(&models_of_lme4()[4].1, &table);
    let terms = term_tests(&design, &fit(&design, Method::Reml).unwrap()).unwrap();
    let expected = &golden["factors"]["activation"];
    assert_eq!((terms[0].name.as_str(), terms[0].df1), ("activation", 4.0));
    close("F", &[terms[0].f], &expected["F value"], 1e-6, 0.0);
    close("df", &[terms[0].df2], &expected["DenDF"], 1e-4, 0.0);
    close("p", &[terms[0].p], &expected["Pr(>F)"], 1e-4, 0.0);
}

#[test]
fn profiles_are_those_of_lme4() {
    let (golden, table) = (golden("lme4.json"), paper());
    let mut n_compared = 0;
    for (name, formula) in models_of_lme4().into_iter().filter(|(name, _)| matches!(*name, "paper" | "crossed")) {
        let design = design(&formula, &table);
        let found = profile(&design, 0.95).unwrap();
        let expected = &golden[name]["profile"];
        for (at, theirs) in expected["names"].as_array().unwrap().iter().enumerate() {
            let theirs = theirs
                .as_str()
                .unwrap()
                .replace("instructyes", "instruct[yes]")
                .replace("multimodalyes", "multimodal[yes]");
            let ours = match theirs.split_once('_') {
                Some(("sd", rest)) => format!("sd({})", rest.replace('|', " | ")),
                _ => theirs.clone(),
            };
            let interval = found.iter().find(|interval| interval.name == ours).unwrap();
            let of = |end: &str| expected[end][at].as_f64();
            // lme4 interpolates its profile; ours is solved for.
            for (found, expected) in [(interval.low, of("low")), (interval.high, of("high"))] {
                n_compared += 1;
                let (expected, width) = (expected.unwrap(), interval.high - interval.low);
                assert!((found - expected).abs() < 2e-3 * width, "{name} {ours}: {interval:?}, expected {expected}");
            }
        }
    }
    assert_eq!(n_compared, 28);
}

/// Where the deviance has several minima the lowest counts.
#[test]
fn profiles_with_a_random_slope_are_those_of_direct_searches() {
    let found = profile(&design(&models_of_lme4()[1].1, &paper()), 0.95).unwrap();
    for (name, ends) in golden("mixed.json")["slope_profile"].as_object().unwrap() {
        let interval = found.iter().find(|interval| interval.name == *name).unwrap();
        // Nested searches by values alone, to 1e-9 of the parameters and 1e-11 of the deviance.
        close(name, &[interval.low, interval.high], ends, 1e-5, 1e-7);
    }
    let correlation = found.iter().find(|interval| interval.name.starts_with("cor(")).unwrap();
    assert_eq!((correlation.low, correlation.high), (-1.0, 1.0));
}

#[test]
fn leaving_out_is_what_lme4_gives_without_those_rows() {
    let (golden, table) = (golden("lme4.json"), paper());
    let design = design(&format!("{PAPER} + (1 | family)"), &table);
    let whole = fit(&design, Method::Reml).unwrap();
    let families = by_group(&design, &whole, "family", 0.05).unwrap();
    let rows = by_row(&design, &whole, 0.05).unwrap();
    for (key, deletions) in [("families", families), ("rows", rows)] {
        let expected = &golden["influence"][key];
        for (at, name) in expected["names"].as_array().unwrap().iter().enumerate() {
            let name = name.as_str().unwrap();
            let refit = deletions.iter().find(|deletion| deletion.name == name).unwrap().refit.as_ref().unwrap();
            let beta: Vec<f64> = refit.delta.iter().zip(&whole.beta).map(|(delta, beta)| beta + delta).collect();
            close(name, &beta, &expected["beta"][at], 1e-5, 1e-7);
            close(name, &[refit.cooks_distance], &expected["cook"][at], 1e-4, 1e-7);
        }
    }
}

#[test]
fn nested_models_are_compared_as_by_lme4() {
    let table = paper();
    let large = design(&format!("{PAPER} + (1 | family)"), &table);
    // On the rows of the larger model.
    let rows: Vec<usize> =
        large.rows.iter().map(|name| table.rows().iter().position(|row| row == name).unwrap()).collect();
    let small = design("r2 ~ instruct + (1 | family)", &table.at(&rows));
    let fits = [&small, &large].map(|design| fit(design, Method::Ml).unwrap());
    let test = likelihood_ratio((&small, &fits[0]), (&large, &fits[1])).unwrap();
    let expected = &golden("lme4.json")["likelihood_ratio"];
    close("chi2", &[test.chi2], &expected["chi2"], 1e-8, 0.0);
    close("df", &[test.df], &expected["df"], 0.0, 0.0);
    close("p", &[test.p], &expected["p"], 1e-6, 0.0);
    let (again, p) = likelihood_ratio_p((&small, &fits[0]), (&large, &fits[1]), 39, 1).unwrap();
    assert_eq!((again, p), (test, 1.0 / 40.0));
}

#[test]
fn fits_are_those_of_statsmodels() {
    let (golden, table) = (golden("mixed.json"), paper());
    let without: Vec<usize> = (0..table.len()).filter(|&at| !table.rows()[at].eq_ignore_ascii_case("t5-11b")).collect();
    assert_eq!(without.len(), 74);
    let all = format!(
        "{PAPER} + z(attention_dim) + z(layers) + z(log10(params_b)) + z(train_tokens_t) + z(vocab_size) + gated_mlp"
    );
    for (key, formula, table, method) in [
        ("reml", PAPER, &table, Method::Reml),
        ("ml", PAPER, &table, Method::Ml),
        ("all_ingredients", all.as_str(), &table, Method::Reml),
        ("without_t5_11b", PAPER, &table.at(&without), Method::Reml),
    ] {
        let design = design(&format!("{formula} + (1 | family)"), table);
        let fit = fit(&design, method).unwrap();
        let expected = &golden[key];
        assert_eq!(design.rows.len() as f64, numbers(&expected["n"])[0]);
        assert_eq!(design.rows.len() + design.dropped.len(), table.len());
        // statsmodels puts factors first.
        let names = expected["names"].as_array().unwrap();
        for (at, name) in names.iter().map(|name| name.as_str().unwrap()).enumerate() {
            let name = if name == "Intercept" { "(Intercept)".to_owned() } else { name.replace("[T.", "[") };
            let k = fit.columns.iter().position(|column| *column == name).unwrap();
            close(&name, &[fit.beta[k]], &expected["beta"][at], 0.0, 1e-8);
            close(&name, &[fit.standard_errors[k]], &expected["se"][at], 0.0, 1e-8);
        }
        close(key, &[fit.sigma.powi(2)], &expected["scale"], 1e-6, 0.0);
        close(key, &[fit.components[0].sds[0].powi(2)], &expected["group_variance"], 1e-6, 0.0);
        close(key, &[fit.log_likelihood], &expected["log_likelihood"], 1e-11, 0.0);
        for (level, name) in fit.components[0].levels.iter().enumerate() {
            close(name, &[fit.components[0].effects[(level, 0)]], &expected["random_effects"][name], 0.0, 1e-6);
        }
        if key == "reml" {
            let explained = explained(&design, &fit);
            // From the fixture's script: variance of Xβ with ddof 0.
            assert!((explained.marginal - 0.536_404_515).abs() < 1e-8, "{explained:?}");
            assert!((explained.conditional - 0.718_637_558).abs() < 1e-8, "{explained:?}");
            let dropped: Vec<&str> = design.dropped.iter().map(|dropped| dropped.row.as_str()).collect();
            assert_eq!(dropped.len(), 3);
            assert!(dropped.iter().all(|name| name.to_lowercase().contains("mamba")), "{dropped:?}");
        }
    }
}

#[test]
fn least_squares_and_its_checks_are_those_of_statsmodels() {
    let expected = &golden("mixed.json")["ols"];
    let design = design(&format!("{PAPER} + (1 | family)"), &paper());
    let plain = Design { random: vec![], formula: PAPER.parse().unwrap(), ..design };
    let fits = [Method::Reml, Method::Ml].map(|method| fit(&plain, method).unwrap());
    let of = |key: &str, name: &str| {
        let name = if name == "(Intercept)" { "Intercept".to_owned() } else { name.replace("[yes]", "[T.yes]") };
        expected[key][name].clone()
    };
    close("log likelihood", &[fits[1].log_likelihood], &expected["log_likelihood"], 1e-11, 0.0);
    for test in coefficient_tests(&plain, &fits[0]).unwrap() {
        close(&test.name, &[test.estimate], &of("beta", &test.name), 1e-9, 1e-12);
        close(&test.name, &[test.standard_error], &of("se", &test.name), 1e-9, 0.0);
        close(&test.name, &[test.p], &of("p", &test.name), 1e-6, 0.0);
    }
    for (term, name) in inflation(&plain).iter().zip(&plain.columns[1..]) {
        close(name, &[term.vif], &of("vif", name), 1e-9, 0.0);
    }
    let checks = residual_checks(&plain, &fits[0]);
    for (key, found) in [
        ("breusch_pagan", checks.breusch_pagan),
        ("breusch_pagan_p", checks.breusch_pagan_p),
        ("jarque_bera", checks.jarque_bera),
        ("jarque_bera_p", checks.jarque_bera_p),
        ("skewness", checks.skewness),
        ("kurtosis", checks.excess_kurtosis + 3.0),
    ] {
        close(key, &[found], &expected[key], 1e-9, 0.0);
    }
    let shape = checks.shapiro_wilk.unwrap();
    // scipy's normal quantiles have nine digits.
    close("Shapiro-Wilk", &[shape.w, shape.p], &expected["shapiro_wilk"], 1e-7, 0.0);
    assert!(checks.effects.is_empty(), "no random effects");
    let middle = checks.quantiles[35].0 + checks.quantiles[36].0;
    assert!(checks.quantiles.len() == 72 && middle.abs() < 1e-9 && checks.quantiles.is_sorted_by(|a, b| a.0 < b.0));
    for deletion in by_row(&plain, &fits[0], 0.05).unwrap() {
        let found = deletion.refit.unwrap().cooks_distance;
        close(&deletion.name, &[found], &expected["cook"][&deletion.name], 1e-8, 1e-14);
    }
}

#[test]
fn effects_of_groups_are_checked_by_name() {
    let design = design(&format!("{PAPER} + (1 + instruct | family)"), &paper());
    let fit = fit(&design, Method::Reml).unwrap();
    let effects = residual_checks(&design, &fit).effects;
    let names: Vec<&str> = effects.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["(Intercept) | family", "instruct[yes] | family"]);
    for (k, (_, found)) in effects.iter().enumerate() {
        let component = &fit.components[0];
        let values: Vec<f64> = (0..component.levels.len()).map(|g| component.effects[(g, k)]).collect();
        assert_eq!(*found, Some(shapiro_wilk(&values).unwrap()));
    }
}

/// Rows of `n_groups` groups of `size`, with a standard deviation of 1 between groups and 0.5 within.
fn balanced(n_groups: usize, size: usize, seed: u64) -> Table {
    let mut rng = Streams::new(seed, "balanced").rng(0);
    let group: Vec<f64> = (0..n_groups).map(|_| standard_normal(&mut rng)).collect();
    let n = n_groups * size;
    let y = (0..n).map(|i| Some(3.0 + group[i / size] + 0.5 * standard_normal(&mut rng))).collect();
    Table::new(
        (0..n).map(|i| format!("row {i}")).collect(),
        vec![
            ("y".into(), Cells::Numbers(y)),
            ("g".into(), Cells::Levels((0..n).map(|i| Some(format!("g{:02}", i / size))).collect())),
        ],
    )
    .unwrap()
}

/// With groups of one size REML has the variances of the analysis of variance, and the mean has groups − 1 degrees of freedom.
#[test]
fn balanced_groups_have_the_closed_form() {
    let (k, m) = (8, 5);
    let table = balanced(k, m, 2);
    let design = design("y ~ 1 + (1 | g)", &table);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means: Vec<f64> = design.y.chunks(m).map(mean).collect();
    let grand = mean(&means);
    let between = means.iter().map(|group| (group - grand).powi(2)).sum::<f64>() * m as f64 / (k - 1) as f64;
    let within =
        design.y.iter().enumerate().map(|(i, y)| (y - means[i / m]).powi(2)).sum::<f64>() / (k * (m - 1)) as f64;

    let reml = fit(&design, Method::Reml).unwrap();
    // Rounding of a search that ends with Newton steps.
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9 * b.abs(), "{a} {b}");
    close(reml.sigma.powi(2), within);
    close(reml.components[0].sds[0].powi(2), (between - within) / m as f64);
    close(reml.beta[0], grand);
    close(reml.standard_errors[0].powi(2), between / (k * m) as f64);
    let test = &coefficient_tests(&design, &reml).unwrap()[0];
    assert!((test.df - (k - 1) as f64).abs() < 1e-6, "{test:?}");
    let interval = &wald(&design, &reml, 0.95).unwrap()[0];
    // Student's 97.5 % point with 7 degrees of freedom.
    assert!((interval.high - grand - 2.364_624_251_593 * reml.standard_errors[0]).abs() < 1e-7, "{interval:?}");

    let ml = fit(&design, Method::Ml).unwrap();
    close(ml.sigma.powi(2), within);
    close(ml.components[0].sds[0].powi(2), (between * (k - 1) as f64 / k as f64 - within) / m as f64);
}

#[test]
fn planted_variances_are_found_on_average() {
    let fits: Vec<Fit> =
        (0..60).map(|seed| fit(&design("y ~ 1 + (1 | g)", &balanced(12, 4, seed)), Method::Reml).unwrap()).collect();
    let mean = |of: fn(&Fit) -> f64| fits.iter().map(of).sum::<f64>() / fits.len() as f64;
    // REML is unbiased here; the mean of 60 estimates of a variance of 1 from 12 groups has a standard error of 0.06.
    let (group, residual) = (mean(|fit| fit.components[0].sds[0].powi(2)), mean(|fit| fit.sigma.powi(2)));
    assert!((group - 1.0).abs() < 0.18 && (residual - 0.25).abs() < 0.03, "{group} {residual}");
}

#[test]
fn designs_that_cannot_be_fitted_say_why() {
    let table = paper();
    for (formula, said) in [
        ("r2 ~ hidden", "one of rank, r2"),
        ("instruct ~ hidden_size", "a factor, expected numbers"),
        ("r2 ~ log(instruct)", "numbers, for Log"),
        ("r2 ~ instruct + stage", "stage[sft] is a combination of instruct[yes], stage[dpo]"),
        ("r2 ~ z(layers) + layers", "layers is a combination of (Intercept), z(layers)"),
        ("r2 ~ multimodal*z(log2(max_context))", "is a combination of"),
        ("r2 ~ layers + (1 | hf_id)", "fewer random effects than rows"),
        ("r2 ~ log2(rank - 1)", "character 16 of"),
        ("r2 ~ C(rank)", "rows for"),
        ("r2 ~ 0", "without fixed effects"),
    ] {
        let error = formula.parse().and_then(|formula| Design::new(&formula, &table)).unwrap_err().to_string();
        assert!(error.contains(said), "{formula}: {error}");
    }
    let rows: Vec<usize> = (0..table.len()).collect();
    let base: Vec<usize> =
        rows.into_iter().filter(|&at| table.levels("instruct").unwrap()[at].as_deref() == Some("no")).collect();
    for (formula, said) in
        [("r2 ~ instruct", "\"no\" in all rows used"), ("r2 ~ 1 + (1 | instruct)", "at least two groups")]
    {
        let error = Design::new(&formula.parse().unwrap(), &table.at(&base)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let tiny = |name: &str, cells: Vec<Option<f64>>| {
        let y = ("y".into(), Cells::Numbers(vec![Some(1.0), Some(2.5), Some(2.0), Some(7.0)]));
        let rows = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        Table::new(rows, vec![y, (name.into(), Cells::Numbers(cells))]).unwrap()
    };
    for (formula, cells, said) in [
        ("y ~ x", vec![Some(1.0), Some(f64::INFINITY), Some(2.0), Some(3.0)], "column \"x\" of b"),
        ("y ~ x", vec![Some(4.0); 4], "x is the same in all rows"),
        ("y ~ z(x)", vec![Some(0.1); 4], "z(x)` is the same in all rows used"),
        ("y ~ log(x)", vec![Some(1.0), Some(2.0), Some(0.0), Some(3.0)], "a logarithm of 0 in c"),
        ("y ~ x", vec![Some(1.0), None, Some(2.0), None], "rows for 3 parameters"),
        ("y ~ x", vec![None; 4], "rows with y, x: 0"),
        ("x ~ 1", vec![Some(2.0); 4], "`x` is the same in all rows"),
    ] {
        let error = Design::new(&formula.parse().unwrap(), &tiny("x", cells)).unwrap_err().to_string();
        assert!(error.contains(said), "{formula}: {error}");
    }
}
