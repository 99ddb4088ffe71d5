//! The page of a folder: what is beside a study is shown, and what is printed.

use std::path::Path;

use serde_json::Value;

use crate::support::{fail, path, succeed};

/// A study that needs no model: every triplet of nine concepts in both orders.
fn simulated_study(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let rows: String = ["bear", "cat", "dog", "axe", "saw", "nut", "fig", "rye", "pea"]
        .iter()
        .enumerate()
        .map(|(i, name)| format!("{name},{}\n", ["animal", "tool", "food"][i / 3]))
        .collect();
    std::fs::write(folder.join("concepts.csv"), format!("concept,category\n{rows}")).unwrap();
    let study = folder.join("small.toml");
    let out = folder.join("out");
    let text = format!(
        "[study]\nname = 'small'\nout = '{}'\n[concepts]\npath = 'concepts.csv'\n\
         [triplets]\ndesign = 'exhaustive'\ncounterbalance = true\n\
         [[simulated]]\nlabel = 'sure'\nresponse = 'noise-free'\n[[simulated]]\nlabel = 'coin'\nresponse = 'coin-flip'\n\
         [embed]\nloss = ['crowd-kernel']\ndims = 2\n[align]\nmeasures = ['procrustes_r2']\npermutations = 9\n",
        out.display()
    );
    std::fs::write(&study, text).unwrap();
    (study, out)
}

/// The rows of a CSV of a figure, by the names of its columns.
fn rows(out: &Path, figure: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(out.join(format!("figures/{figure}.csv"))).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn the_page_shows_what_lies_beside_a_study_and_tells_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = simulated_study(folder.path());
    let table = succeed(&["run", study.to_str().unwrap()]);
    assert!(table.contains("| crowd-kernel | sure") && table.contains("report.html"), "{table}");
    assert!(!out.join("figures/curves.svg").exists() && !out.join("figures/throughput.svg").exists());

    let quality = rows(&out, "quality");
    let of = |label: &str, column: &str| -> f64 {
        quality.iter().find(|row| row["respondent"] == label).unwrap()[column].parse().unwrap()
    };
    // Nine concepts: under each anchor 28 pairs of the 8 others, of which the categories put 16 equally near: those are a coin's, each order
    // for itself, so that 12 + 8 of 28 are chosen alike.
    assert_eq!((of("sure", "n"), of("sure", "n_swapped")), (504.0, 252.0));
    assert!((of("sure", "swap_consistency") - 20.0 / 28.0).abs() < 0.1, "four standard errors of 144 coins");
    // The categories put equally near options in one order only where a coin does not decide; the coin's own is no order.
    assert!((0.6..0.9).contains(&of("coin", "transitivity")), "{}", of("coin", "transitivity"));
    assert!(of("coin", "transitivity_lo") < of("coin", "transitivity"));
    let compared = rows(&out, "compared");
    assert_eq!((compared.len(), compared[0]["n"].as_str()), (1, "504"));
    // Every subject has coins of its own: whoever answers by coin agrees in half with anybody.
    let same: f64 = compared[0]["same_choice"].parse().unwrap();
    assert!((same - 0.5).abs() < 0.09, "four standard errors of 504 coins: {same}");

    let (judgments, curve) = (out.join("judgments/respondent=sure"), out.join("learning_curves/sure.parquet"));
    let (concepts, list) = (folder.path().join("concepts.csv"), ["--sizes", "60,120", "--repeats", "2"]);
    let asked = ["learning-curve", judgments.to_str().unwrap(), "--loss", "crowd-kernel", "--dims", "2"];
    let place = ["--reference", "category", "--concepts", concepts.to_str().unwrap(), "--out", curve.to_str().unwrap()];
    succeed(&[&asked[..], &list, &place].concat());
    let told: Value = serde_json::from_str(&succeed(&["report", out.to_str().unwrap(), "--json"])).unwrap();
    let files: Vec<&str> = told["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    assert!(files.iter().all(|file| Path::new(file).is_file()) && files[0] == told["report"]);
    assert!(files.iter().any(|file| file.ends_with("figures/curves.svg")), "{files:?}");
    assert_eq!(
        (told["alignment"].as_array().unwrap().len(), &told["alignment"][0]["measure"]),
        (2, &"procrustes_r2".into())
    );
    let curves = rows(&out, "curves");
    let sizes: Vec<(&str, &str)> =
        curves.iter().map(|row| (row["n_triplets"].as_str(), row["n_draws"].as_str())).collect();
    assert_eq!(sizes, [("60", "2"), ("120", "2")]);
    assert!(curves.iter().all(|row| row["procrustes_r2_lo"] <= row["procrustes_r2"]));
}

#[test]
fn a_folder_of_regress_alone_prints_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let table = |name: &str| path(&format!("data/paper/{name}.csv")).display().to_string();
    let (scores, models) = (table("alignment"), table("models"));
    let formula = "r2 ~ instruct + z(hidden_size) + (1 | family)";
    let asked = ["regress", "--alignment", &scores, "--models", &models, "--out", out];
    succeed(&[&asked[..], &["--formula", formula]].concat());
    let printed = succeed(&["report", out, "--table"]);
    assert!(printed.contains("mixed model of 75 models") && printed.contains("z(hidden_size)"), "{printed}");
    let told: Value = serde_json::from_str(&succeed(&["report", out, "--table", "--json"])).unwrap();
    assert_eq!((told["effects"].as_array().unwrap().len(), &told["alignment"]), (3, &Value::Array(vec![])));
}

#[test]
fn an_incomplete_folder_is_told_what_it_lacks_and_how_to_make_it() {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = simulated_study(folder.path());
    succeed(&["run", study.to_str().unwrap()]);
    let lacking = [
        ("embeddings/coin.crowd-kernel.parquet", "a respondent’s embedding"),
        ("reference.parquet", "the reference"),
        ("triplets.parquet", "the list of triplets"),
        ("alignment.parquet", "the alignment"),
    ];
    for (file, what) in lacking {
        let (there, away) = (out.join(file), folder.path().join("away"));
        std::fs::rename(&there, &away).unwrap();
        let message = fail(&["report", out.to_str().unwrap()]);
        assert!(message.contains(&format!("{what} is missing: {}", there.display())), "{message}");
        assert!(message.contains("hint: run `alike run STUDY.toml`"), "{message}");
        std::fs::rename(&away, &there).unwrap();
    }
    let embedding = out.join(lacking[0].0);
    std::fs::remove_file(&embedding).unwrap();
    succeed(&["run", study.to_str().unwrap()]);
    assert!(embedding.is_file(), "the same run again makes what is not there");
}
