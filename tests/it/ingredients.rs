//! Ingredients: groups and correlations of the paper's tables against scipy and statsmodels.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use alike::ingredients::correlation::dependent_difference;
use alike::ingredients::normality::shapiro_wilk;
use alike::ingredients::{Estimate, Found, Question, Table};
use alike::store::models;
use serde_json::Value;

use crate::support::{fail, path, succeed};

/// The paper's scores, properties, pairs, stages and benchmarks.
fn paper() -> Table {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/paper");
    let read = |name: &str| models::read(&folder.join(name)).unwrap();
    ["models.csv", "benchmarks.csv", "pairs.csv", "stages.csv"]
        .into_iter()
        .fold(read("alignment.csv"), |table, name| table.with(&read(name)).unwrap())
}

fn expected() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/ingredients/comparisons.json");
    serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["expected"].clone()
}

fn ask(question: &str) -> Found {
    let question: Question = toml::from_str(question).unwrap();
    question.ask(&paper(), "r2", None).unwrap().found
}

fn effect(question: &str) -> Estimate {
    match ask(question) {
        Found::Effect(estimate) => estimate,
        found => panic!("{found:?}"),
    }
}

/// Distribution functions of two libraries agree in ten digits.
fn assert_close(what: &str, found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{what}: {found}, expected {expected}");
}

#[test]
fn normality_is_told_as_scipy_tells_it() {
    let golden: Value = serde_json::from_str(include_str!("golden/ingredients/normality.json")).unwrap();
    let check = |name: &str, x: &[f64], expected: &Value| {
        let found = shapiro_wilk(x).unwrap();
        let [w, p] = ["w", "p"].map(|key| expected[key].as_f64().unwrap());
        // scipy's normal quantiles have nine digits, of which p loses some; the smallest is 1e-36.
        assert!(
            (found.w - w).abs() < 1e-8 * w && (found.p - p).abs() < 1e-6 * p,
            "{name}: {found:?}, expected {w} {p}"
        );
    };
    let samples = golden["samples"].as_object().unwrap();
    assert_eq!(samples.len(), 34);
    for (name, sample) in samples {
        let x: Vec<f64> = serde_json::from_value(sample["x"].clone()).unwrap();
        check(name, &x, sample);
    }
    let largest: Vec<f64> = (0..5_000_u64).map(|i| (i * i % 4_999) as f64).collect();
    check("5000", &largest, &golden["5000"]);
}

#[test]
fn groups_are_those_of_scipy_and_statsmodels() {
    let expected = expected();
    let welch = effect("test = 'groups'\ncolumn = 'instruct'\nlevel = 'yes'");
    let pairs = effect("test = 'pairs'\nbase = 'base'");
    for (name, found) in [("welch", welch), ("pairs", pairs)] {
        let expected = &expected[name];
        assert_close(name, found.value, &expected["difference"]);
        assert_close(name, found.statistic, &expected["value"]);
        assert_close(name, found.p, &expected["p"]);
        assert_close(name, found.lo, &expected["lo"]);
        assert_close(name, found.hi, &expected["hi"]);
    }
    for factor in ["activation", "attention_type", "architecture"] {
        let expected = &expected[factor];
        let test = |ranks: bool| match ask(&format!("test = 'levels'\ncolumn = '{factor}'\nranks = {ranks}")) {
            Found::Difference(test) => test,
            found => panic!("{found:?}"),
        };
        let (f, h) = (test(false), test(true));
        assert_close(factor, f.statistic, &expected["f"]);
        assert_close(factor, f.df, &expected["df"][0]);
        assert_close(factor, f.df_error.unwrap(), &expected["df"][1]);
        assert_close(factor, f.p, &expected["f_p"]);
        assert_close(factor, h.statistic, &expected["h"]);
        assert_close(factor, h.p, &expected["h_p"]);
        assert_eq!((f.n as u64, h.n as u64), (expected["n"].as_u64().unwrap(), expected["n"].as_u64().unwrap()));
    }
}

#[test]
fn correlations_are_those_of_scipy() {
    let expected = expected();
    let check = |name: &str, found: Estimate, expected: &Value| {
        assert_close(name, found.value, &expected["value"]);
        assert_close(name, found.p, &expected["p"]);
        assert_close(name, found.lo, &expected["lo"]);
        assert_close(name, found.hi, &expected["hi"]);
    };
    for column in ["params_b", "hidden_size", "attention_heads", "max_context", "bbh", "mmlu_5shot", "musr"] {
        let question = |ranks: bool| format!("test = 'correlation'\nwith = '{column}'\nranks = {ranks}");
        check(column, effect(&question(false)), &expected[column]);
        check(column, effect(&question(true)), &expected[column]["ranks"]);
        assert_eq!(effect(&question(false)).n as u64, expected[column]["n"].as_u64().unwrap());
    }
    let given = effect("test = 'correlation'\nwith = 'bbh'\ngiven = ['params_b', 'layers']");
    check("given", given, &expected["bbh given params_b, layers"]);
}

#[test]
fn dependent_correlations_are_compared_as_in_the_sources() {
    let (table, expected) = (paper(), expected());
    let rows: Vec<usize> = (0..table.len())
        .filter(|&row| ["bbh", "ifeval", "musr"].iter().all(|name| table.numbers(name).unwrap()[row].is_some()))
        .collect();
    let table = table.at(&rows);
    let column = |name: &str| table.numbers(name).unwrap().iter().map(|cell| cell.unwrap()).collect::<Vec<f64>>();
    for (name, [of, a, b]) in
        [("bbh less musr", ["r2", "bbh", "musr"]), ("bbh: r2 less ifeval", ["bbh", "r2", "ifeval"])]
    {
        let expected = &expected[name];
        let found = dependent_difference(&column(of), &column(a), &column(b)).unwrap();
        assert_close(name, found.difference.value, &expected["value"]);
        assert_close(name, found.difference.statistic, &expected["t"]);
        assert_close(name, found.difference.p, &expected["p"]);
        assert_close(name, found.difference.lo, &expected["lo"]);
        assert_close(name, found.difference.hi, &expected["hi"]);
        assert_close(name, found.steiger_z, &expected["z"]);
        assert_close(name, found.steiger_p, &expected["z_p"]);
        let asked = effect(&format!("test = 'correlations'\nof = '{of}'\na = '{a}'\nb = '{b}'"));
        assert_eq!(asked, found.difference);
    }
}

#[test]
fn the_papers_claims_are_asked_in_one_command() {
    let study = path("data/studies/paper.toml");
    let run = |more: &[&str]| succeed(&[&["regress", study.to_str().unwrap(), "--json"], more].concat());
    let claims = |more: &[&str]| -> Vec<Value> {
        let answers: Value = serde_json::from_str(&run(more)).unwrap();
        serde_json::from_value(answers["claims"].clone()).unwrap()
    };
    let lines = claims(&["--variant", "as given"]);
    let line = |key: &str| lines.iter().find(|line| line["claim"] == key).unwrap();
    assert_eq!((&line("tuned")["verdict"], &line("tuned")["n"]), (&"agrees".into(), &75.into()));
    assert_eq!(line("size")["verdict"], "not-on-these-data");
    assert_eq!(line("multimodal")["verdict"], "undecided");
    assert_eq!(line("attention-width")["left_out"].as_array().unwrap().len(), 3, "three Mambas");
    // Every line has its command.
    let relabelled = claims(&["--claim", "base-to-sft", "--variant", "stages relabelled"]);
    assert_eq!((relabelled.len(), &relabelled[0]["n"]), (1, &3.into()));
    let unknown = fail(&["regress", study.to_str().unwrap(), "--claim", "nobody"]);
    assert!(unknown.contains("tuned-pairs"), "{unknown}");
}

/// The published table gives a page of its own, without any study.
#[test]
fn the_papers_page_has_its_figures() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text = std::fs::read_to_string(path("data/studies/paper.toml")).unwrap();
    let data = format!("\"{}/", path("data/paper").display());
    let text =
        text.replace("\"../paper/", &data).replace("[study]\n", &format!("[study]\nout = '{}'\n", out.display()));
    let study = folder.path().join("paper.toml");
    std::fs::write(&study, text).unwrap();
    succeed(&["regress", study.to_str().unwrap()]);
    succeed(&["report", out.to_str().unwrap()]);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let count = |name: &str, needle: &str| read(&format!("figures/{name}.svg")).matches(needle).count();
    assert_eq!(count("scores", "class=\"row\""), 75);
    assert_eq!(count("groups", " pt\""), 5 * 75, "five properties that every model has");
    assert_eq!(count("quantities", " pt\""), 72 + 2 * 75, "three Mambas have no attention");
    assert_eq!(count("effects", "class=\"row\""), 6);
    assert_eq!(count("benchmark-scatter", " pt\""), 31 + 6 * 40);
    assert_eq!(count("benchmark-correlations", "class=\"cell\""), 7 + 21);
    let stages = read("figures/stages.csv");
    assert_eq!(stages.lines().filter(|line| line.starts_with("pair,")).count(), 2 * 18);
    assert_eq!(stages.lines().filter(|line| line.starts_with("stage,")).count(), 15, "four chains, one without rlvr");
    let page = read("report.html");
    assert!(page.contains("The scores of 75 models") && page.contains("26 claims"), "{page}");
    assert!(page.contains("not on these data") && page.contains("without T5-11B") && !page.contains("NaN"));
    // The mixed model's numbers are lme4's elsewhere; here they arrive on the page.
    assert!(read("figures/effects.csv").contains("instruct[yes],0.137"));
}

/// One model answers nothing, and says so.
#[test]
fn a_table_of_one_model_gives_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let study = folder.path().join("one.toml");
    std::fs::write(folder.path().join("one.csv"), "model,r2,tuned,base,size,mmlu,bbh\nalone,0.3,yes,other,7,0.5,0.4\n")
        .unwrap();
    let text = format!(
        "[study]\nname = 'one'\nout = '{}'\n[regress]\nscores = 'one.csv'\n[regress.benchmarks]\ncolumns = ['mmlu', 'bbh']\n\
         [[regress.claim]]\nkey = 'tuned'\nsays = 'Tuning helps'\nexpect = 'positive'\n\
         ask = {{ test = 'groups', column = 'tuned', level = 'yes' }}\n\
         [[regress.claim]]\nkey = 'pairs'\nsays = 'Tuning helps'\nexpect = 'positive'\nask = {{ test = 'pairs', base = 'base' }}\n\
         [[regress.claim]]\nkey = 'size'\nsays = 'Size helps'\nexpect = 'positive'\nask = {{ test = 'correlation', with = 'size' }}\n",
        folder.path().join("out").display()
    );
    std::fs::write(&study, text).unwrap();
    succeed(&["regress", study.to_str().unwrap()]);
    succeed(&["report", folder.path().join("out").to_str().unwrap()]);
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("3 could not be asked of so few models") && !page.contains("NaN"));
    assert!(page.contains("at least 4 needed"), "{page}");
}

#[test]
fn benchmarks_and_a_model_are_asked_without_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("own");
    let table = |name: &str| path("data/paper").join(name).display().to_string();
    let (scores, models, benchmarks) = (table("alignment.csv"), table("models.csv"), table("benchmarks.csv"));
    let tables = ["regress", "--alignment", &scores, "--models", &models, &benchmarks];
    let asked = ["--benchmarks", "bbh,musr", "--given", "params_b", "--formula", "r2 ~ instruct + (1 | family)"];
    let run = |more: &[&str]| succeed(&[&tables[..], &asked, more].concat());
    let answers: Value = serde_json::from_str(&run(&["--json", "--out", out.to_str().unwrap()])).unwrap();
    let rows = answers["correlations"].as_array().unwrap();
    assert_eq!(rows.len(), 3 * 2 + 2 + 1, "three pairs twice, two partial ones, one difference");
    let row = |statistic: &str, b: &str| {
        let found = |row: &&Value| row["statistic"] == statistic && row["a"] == "r2" && row["b"] == b;
        rows.iter().find(found).unwrap()
    };
    let same = |statistic: &str, question: &str| {
        // Which side comes first changes the last digit.
        let found = row(statistic, "bbh")["estimate"]["value"].as_f64().unwrap();
        assert!((found - effect(question).value).abs() < 1e-14, "{statistic}");
    };
    same("pearson", "test = 'correlation'\nwith = 'bbh'");
    same("partial", "test = 'correlation'\nwith = 'bbh'\ngiven = ['params_b']");
    same("difference", "test = 'correlations'\na = 'bbh'\nb = 'musr'");
    assert_eq!(row("pearson", "bbh")["n"], 40);
    assert_eq!(answers["model"]["n"], 75);
    for file in ["regress.toml", "models.parquet", "mixed_model.json", "benchmarks.parquet"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    assert!(run(&[]).contains("| bbh "));
    let error = fail(&[&tables[..], &["--benchmarks", "nothing"]].concat());
    assert!(error.contains("nothing") && error.contains("musr"), "{error}");
    assert!(fail(&tables).contains("--formula"));
}

#[test]
fn a_study_asks_its_own_alignments() {
    let folder = tempfile::tempdir().unwrap();
    let subjects = [("a", 0.95), ("b", 0.9), ("c", 0.8), ("d", 0.7)];
    let subjects: String = subjects
        .map(|(label, agreement)| {
            format!("[[simulated]]\nlabel = '{label}'\nresponse = 'logistic'\nagreement = {agreement}\n")
        })
        .concat();
    let text = format!(
        "[study]\nname = 'own'\nout = '{out}'\n[concepts]\npath = '{concepts}'\n[triplets]\nn = 2000\n\
         [embed]\nloss = ['logistic-distance']\ndims = 4\nholdout = 0.0\n[align]\npermutations = 9\n{subjects}\
         [regress]\nfit = 'logistic-distance'\ntables = ['models.csv']\n\
         [[regress.claim]]\nkey = 'noise'\nsays = 'Noise hurts'\nexpect = 'negative'\n\
         ask = {{ test = 'correlation', with = 'noise' }}\n",
        out = folder.path().join("out").display(),
        concepts = path("data/concepts/things128.csv").display(),
    );
    let study = folder.path().join("own.toml");
    std::fs::write(&study, text).unwrap();
    std::fs::write(folder.path().join("models.csv"), "model,noise\na,0.05\nb,0.1\nc,0.2\nd,0.3\n").unwrap();
    succeed(&["run", study.to_str().unwrap()]);
    assert!(folder.path().join("out/ingredients.parquet").is_file());
    let answers: Value = serde_json::from_str(&succeed(&["regress", study.to_str().unwrap(), "--json"])).unwrap();
    let lines = answers["claims"].as_array().unwrap();
    assert_eq!((lines.len(), &lines[0]["n"], &answers["model"]), (1, &4.into(), &Value::Null));
    assert!(lines[0]["value"].as_f64().unwrap() < -0.8, "{lines:?}");
}
