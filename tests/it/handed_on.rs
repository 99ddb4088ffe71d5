//! What others are told of our tables, and what they get of our answers.

use std::path::Path;

use alike::concepts::Concepts;
use alike::embedding::{Answered, OddOneOutAnswer};
use alike::store::choices;
use alike::store::table::Table;
use serde_json::Value;

use crate::study::small_study;
use crate::support::{fail, succeed, tiny};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A study of ten concepts of which only triplets and judgments are made; its output folder.
fn judged(folder: &Path, task: &str) -> std::path::PathBuf {
    let (study, out) = small_study(folder, &tiny("scoring"));
    let asked = format!("task = \"{task}\"\nn = 60");
    std::fs::write(&study, std::fs::read_to_string(&study).unwrap().replace("n = 200", &asked)).unwrap();
    succeed(&["sample", text(&study), "--out", text(&out)]);
    succeed(&["judge", text(&study), "--out", text(&out), "--resume"]);
    out
}

#[test]
fn the_schema_is_that_of_the_files() {
    for (task, tables) in [
        (
            "anchored",
            [("judgments", "judgments/respondent=tiny/part-00000-00000.parquet"), ("triplets", "triplets.parquet")],
        ),
        (
            "odd-one-out",
            [
                ("oddoneout", "oddoneout/respondent=tiny/part-00000-00000.parquet"),
                ("oddoneout-triplets", "triplets.parquet"),
            ],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = judged(folder.path(), task);
        for (name, file) in tables {
            let schema: Value = serde_json::from_str(&succeed(&["schema", name, "--json"])).unwrap();
            assert_eq!((&schema["table"], &schema["schema_version"]), (&name.into(), &"2".into()));
            let columns = schema["columns"].as_array().unwrap();
            let names: Vec<&str> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
            assert_eq!(Table::read(&out.join(file)).unwrap().columns(), names, "{name}");
            assert!(columns.iter().all(|column| !column["meaning"].as_str().unwrap().is_empty()));
        }
    }
    let table = succeed(&["schema"]);
    let row = table.lines().find(|line| line.contains("| p_first_greedy ")).unwrap();
    assert!(row.contains("float32") && row.contains("may be null") && row.contains("renormalised"), "{row}");
    assert!(succeed(&["schema", "scores"]).contains("n_moved_tokens"));
}

#[test]
fn odd_one_out_answers_go_to_things_text_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = judged(folder.path(), "odd-one-out");
    let (respondent, file, list) =
        (out.join("oddoneout/respondent=tiny"), folder.path().join("triplets.txt"), folder.path().join("concepts.csv"));
    let export = ["export", text(&respondent), "--format", "things", "--concepts", text(&list), "--out", text(&file)];
    succeed(&export);
    assert!(fail(&export).contains("exists already"));
    let answers = |path: &Path| {
        let concepts = Concepts::read_csv(&list).unwrap();
        let Answered::OddOneOut(answers) = choices::read(path, Some(concepts), None).unwrap().answered else {
            panic!()
        };
        let told = |a: &OddOneOutAnswer| (a.triplet, a.shown.concepts()[a.odd]);
        answers.iter().map(told).collect::<Vec<_>>()
    };
    assert!(answers(&file).len() > 100 && answers(&file) == answers(&respondent));
    let refused =
        fail(&["export", text(&respondent), "--format", "cblearn", "--out", text(&folder.path().join("t.csv"))]);
    assert!(refused.contains("cblearn is for anchored answers"), "{refused}");
    assert!(!folder.path().join("t.csv").exists());
}

#[test]
fn judgments_become_samples_of_the_harness() {
    let folder = tempfile::tempdir().unwrap();
    let out = judged(folder.path(), "anchored");
    let (respondent, file) = (out.join("judgments/respondent=tiny"), folder.path().join("samples.jsonl"));
    succeed(&["export", text(&respondent), "--format", "lm-eval", "--out", text(&file)]);
    let samples: Vec<Value> =
        std::fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples.len(), 120);
    let table = Table::read(&respondent.join("part-00000-00000.parquet")).unwrap();
    let names = |column: &str| table.names(column).unwrap();
    let (anchors, firsts, seconds) = (names("anchor"), names("first"), names("second"));
    let scores = ["log_prob_first", "log_prob_second"].map(|column| table.numbers(column).unwrap());
    for (row, sample) in samples.iter().enumerate() {
        assert_eq!(sample["doc_id"], row);
        let prompt = sample["arguments"]["gen_args_0"]["arg_0"].as_str().unwrap();
        assert!(prompt.contains(&format!("{}: {} or {}?", anchors[row], firsts[row], seconds[row])), "{prompt}");
        assert_eq!(sample["arguments"]["gen_args_1"]["arg_1"], seconds[row].as_str());
        assert_eq!((&sample["target"], &sample["doc"]["anchor"]), (&Value::Null, &anchors[row].as_str().into()));
        for (option, scores) in scores.iter().enumerate() {
            let pair = &sample["filtered_resps"][option];
            let log_prob: f32 = pair[0].as_str().unwrap().parse().unwrap();
            assert_eq!(f64::from(log_prob), scores[row].unwrap(), "not a digit is lost");
            assert!(["True", "False", "None"].contains(&pair[1].as_str().unwrap()));
            assert_eq!(&sample["resps"][option][0], pair);
        }
    }
    // A subject who is no language model was not asked in words.
    succeed(&["run", text(&folder.path().join("small.toml")), "--out", text(&out)]);
    let coin = out.join("judgments/respondent=coin");
    let refused =
        fail(&["export", text(&coin), "--format", "lm-eval", "--out", text(&folder.path().join("coin.jsonl"))]);
    assert!(refused.contains("no `question`") && refused.contains("a language model"), "{refused}");
    let several = fail(&["export", text(&out), "--format", "lm-eval", "--out", text(&folder.path().join("all.jsonl"))]);
    assert!(several.contains("coin, human-like, tiny"), "{several}");
}
