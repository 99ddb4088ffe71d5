//! Fits of answers on disk: as low as those in memory, the same whatever the threads and files, nothing left behind.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use alike::embedding::objective::Objective;
use alike::embedding::odd_one_out::{Answer, answers_by_dot_products};
use alike::embedding::sparse::SparseSettings;
use alike::embedding::streamed::{Layout, Minibatches, Spool, SpoolWriter, fit};
use alike::embedding::{Answered, Comparison, FitSettings, Fitting, Loss, Record, split_holdout, triplet_accuracy};
use alike::odd_one_out::random;
use alike::presentations::Task;
use alike::respondents::ResponseModel;
use alike::seed::Streams;
use arrow::array::{RecordBatch, StringArray};
use faer::Mat;
use parquet::arrow::ArrowWriter;
use rand::RngExt;

use crate::support::{answered, cloud, fail, flat, on_threads, succeed};

/// 10,000 triplets of 128 concepts that lie in ten dimensions, the later ones narrower, answered with some noise.
fn anchored() -> Answered {
    let truth = cloud(128, 10, 1);
    let truth = Mat::from_fn(128, 10, |i, k| truth[(i, k)] / (1.0 + k as f64 / 3.0));
    Answered::Anchored(answered(truth.as_ref(), ResponseModel::Logistic { tau: 0.3 }, 10_000, 2))
}

/// 10,000 odd-one-out answers from planted weights of 128 concepts.
fn odd() -> (Mat<f64>, Answered) {
    let mut rng = Streams::new(1, "planted sparse").rng(0);
    let mut weight = || if rng.random::<f64>() < 0.25 { 0.5 + 1.5 * rng.random::<f64>() } else { 0.0 };
    let w = Mat::from_fn(128, 5, |_, _| weight());
    let answers = answers_by_dot_products(w.as_ref(), &random(128, 10_000, false, 1).unwrap(), 1);
    (w, Answered::OddOneOut(answers))
}

fn each(answered: &Answered) -> Vec<Answer> {
    match answered {
        Answered::Anchored(comparisons) => comparisons.iter().copied().map(Answer::Anchored).collect(),
        Answered::OddOneOut(answers) => answers.iter().copied().map(Answer::OddOneOut).collect(),
    }
}

/// A spool of several parts.
fn spooled(folder: &Path, fitting: &Fitting, answered: &Answered) -> Spool {
    let answers = each(answered);
    let layout = Layout::of(fitting, answered.task(), 128, answers.len() as u64, true).unwrap();
    let mut spool = SpoolWriter::new(&folder.join("x.parquet"), Layout { part_bytes: 100_000, ..layout }).unwrap();
    answers.iter().for_each(|answer| spool.push(answer).unwrap());
    spool.finish().unwrap()
}

fn streamed(fitting: &Fitting, answered: &Answered) -> (Mat<f64>, Record) {
    let folder = tempfile::tempdir().unwrap();
    let spool = spooled(folder.path(), fitting, answered);
    let how = Minibatches::for_answers(spool.n_train());
    let fitted = fit(&spool, fitting, how).unwrap();
    drop(spool);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the spool is removed");
    fitted
}

fn json(record: &Record) -> serde_json::Value {
    serde_json::to_value(record).unwrap()
}

fn number(record: &Record, field: &str) -> f64 {
    json(record)[field].as_f64().unwrap()
}

#[test]
fn the_objective_ends_within_a_hundredth_of_quasi_newtons() {
    let (anchored, (_, odd)) = (anchored(), odd());
    let distances = |loss, l2| Fitting::Distances(FitSettings { loss, ..FitSettings::paper(10, 1) }.with_l2(l2));
    let spose = SparseSettings::spose(10, 1).with_lambda(4.0 * 128.0 / 8_000.0);
    for (fitting, answered) in [
        (distances(Loss::CrowdKernel { mu: 0.05 }, 0.0), &anchored),
        (distances(Loss::LogisticDistance, 1e-3), &anchored),
        (distances(Loss::Ste, 3e-2), &anchored),
        (distances(Loss::TSte { alpha: 9.0 }, 1e-2), &anchored),
        (distances(Loss::Soe { margin: 0.1 }, 1e-2), &anchored),
        (distances(Loss::Gnmds { margin: 1.0 }, 1e-1), &anchored),
        (distances(Loss::LogisticDistance, 1e-3), &odd),
        (Fitting::DotProducts(spose), &odd),
    ] {
        let (_, in_memory) = fitting.fit(128, answered).unwrap();
        let (_, streamed) = streamed(&fitting, answered);
        let (lowest, found) = (number(&in_memory, "objective"), number(&streamed, "objective"));
        // 0.6 % at most when this was written; the noise of the last steps, and another valley.
        assert!(found < 1.01 * lowest, "{}: {found}, in memory {lowest}", json(&streamed)["loss"]);
        assert!(streamed.converged() && json(&streamed)["stop"] == "objective-flat");
        for side in ["n_train", "n_heldout", "n_never_judged", "l2", "lambda"] {
            assert_eq!(json(&streamed)[side], json(&in_memory)[side], "{side}");
        }
        let epochs = json(&streamed)["curve"].as_array().unwrap().len() - 1;
        assert_eq!(json(&streamed)["n_epochs"], epochs, "a point for each epoch, and the end");
        assert_eq!(json(&streamed)["optimiser"], "adam");
        assert!(json(&in_memory).get("optimiser").is_none(), "{}", json(&in_memory));
    }
}

#[test]
fn the_record_is_about_the_coordinates() {
    let Answered::Anchored(mut asked) = anchored() else { unreachable!() };
    for (at, c) in asked.iter_mut().enumerate() {
        c.p_first = [c.p_first, 0.5, 0.8 * c.p_first][at % 3];
        c.weight = 1.0 + (at % 4) as f64;
    }
    let settings = FitSettings { loss: Loss::LogisticDistance, ..FitSettings::paper(10, 1) };
    let layout = Layout::of(&(&settings).into(), Task::Anchored, 128, 10_000, false).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut spool = SpoolWriter::new(&folder.path().join("x.parquet"), layout).unwrap();
    asked.iter().for_each(|c| spool.push(&Answer::Anchored(*c)).unwrap());
    let spool = spool.finish().unwrap();
    let how = Minibatches { max_epochs: 7, ..Minibatches::for_answers(8_000) };
    let (x, record) = fit(&spool, &(&settings).into(), how).unwrap();
    assert!(
        !record.converged() && record.stop() == "MaxEpochs" && record.notes().iter().any(|n| n.contains("MaxEpochs"))
    );
    let (heldout, train) = split_holdout(&asked, 0.2, 1);
    let mut objective = Objective::new(settings.loss, 0.0, 128, 10, &train).unwrap();
    let mut gradient = vec![0.0; 1_280];
    let close = |field: &str, expected: f64| {
        let found = number(&record, field);
        assert!((found / expected - 1.0).abs() < 1e-9, "{field}: {found}, expected {expected}"); // sums in another order
    };
    close("train_loss", objective.evaluate(&flat(x.as_ref()), &mut gradient));
    close("objective", number(&record, "train_loss"));
    close("gradient_norm", gradient.iter().map(|g| g * g).sum::<f64>().sqrt());
    close("train_accuracy", triplet_accuracy(x.as_ref(), &train).unwrap().share);
    close("heldout_accuracy", triplet_accuracy(x.as_ref(), &heldout).unwrap().share);
    let mut objective = Objective::new(settings.loss, 0.0, 128, 10, &heldout).unwrap();
    close("heldout_loss", objective.evaluate(&flat(x.as_ref()), &mut gradient));
    let n_ties = heldout.iter().filter(|c| c.p_first == 0.5).count();
    assert_eq!(json(&record)["n_heldout_ties"], n_ties);
}

#[test]
fn threads_do_not_matter() {
    let (_, odd) = odd();
    let spose = Fitting::DotProducts(SparseSettings::spose(20, 1).with_lambda(0.05));
    let distances = Fitting::Distances(FitSettings::robust(20, 1).with_l2(1e-3));
    for fitting in [spose, distances] {
        let fitted = |threads| {
            on_threads(threads, || {
                let folder = tempfile::tempdir().unwrap();
                let spool = spooled(folder.path(), &fitting, &odd);
                // Batches that are worth several threads.
                fit(&spool, &fitting, Minibatches { learning_rate: 0.1, batch: 1_700, max_epochs: 6 }).unwrap()
            })
        };
        let (x, record) = fitted(1);
        for threads in [2, 8] {
            let (other, other_record) = fitted(threads);
            assert!(x == other, "the same bits on {threads} threads");
            assert_eq!(json(&record), json(&other_record));
        }
    }
}

#[test]
fn a_penalty_chosen_by_one_fold_is_as_good() {
    let (anchored, (_, odd)) = (anchored(), odd());
    for (fitting, answered, field) in [
        (Fitting::Distances(FitSettings::robust(10, 1)), &anchored, "l2"),
        (Fitting::DotProducts(SparseSettings::spose(10, 1)), &odd, "lambda"),
    ] {
        let (_, in_memory) = fitting.fit(128, answered).unwrap();
        let (_, streamed) = streamed(&fitting, answered);
        let table = |record| json(record)["cross_validation"].as_array().unwrap().len();
        assert_eq!(table(&in_memory), table(&streamed));
        let ratio = number(&streamed, field) / number(&in_memory, field);
        let (there, here) = (number(&in_memory, "heldout_loss"), number(&streamed, "heldout_loss"));
        println!("{field} {ratio} {there} {here}");
        // One step of the grid (half a decade, half an octave) to either side, or two.
        assert!((0.09..11.0).contains(&ratio), "{field} is {ratio} times that of five folds");
        assert!(here < 1.02 * there, "{field}: held-out loss {here}, with all folds {there}");
    }
}

/// Writes the answers to a folder of Parquet files.
fn write_parquet(folder: &Path, rows: &[[String; 4]], n_files: usize) {
    std::fs::create_dir(folder).unwrap();
    for (at, rows) in rows.chunks(rows.len().div_ceil(n_files)).enumerate() {
        let column = |k: usize| Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row[k]))) as _;
        let columns = ["anchor", "first", "second", "chosen"].into_iter().zip((0..4).map(column));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = std::fs::File::create(folder.join(format!("part-{at:05}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

#[test]
fn the_command_line_takes_any_files_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let name = |id: u32| format!("c{id:03}");
    let Answered::Anchored(asked) = anchored() else { unreachable!() };
    let row = |c: &Comparison| {
        let chosen = if c.p_first == 1.0 { c.first } else { c.second };
        [c.anchor, c.first, c.second, chosen].map(name)
    };
    let rows: Vec<[String; 4]> = asked.iter().take(4_000).map(row).collect();
    write_parquet(&folder.path().join("one"), &rows, 1);
    write_parquet(&folder.path().join("three"), &rows, 3);
    let csv = |rows: &[[String; 4]]| rows.iter().map(|row| row.join(",") + "\n").collect::<String>();
    std::fs::write(at("all.csv"), format!("anchor,first,second,chosen\n{}", csv(&rows))).unwrap();
    let n_files = || std::fs::read_dir(folder.path()).unwrap().count();

    let embed = |answers: &str, out: &str, more: &[&str]| {
        let flags = ["--loss", "logistic-distance", "--l2", "0.001", "--dims", "4", "--max-epochs", "40", "--json"];
        [&["embed", answers, "--out", out], &flags[..], more]
            .concat()
            .iter()
            .map(|s| (*s).to_owned())
            .collect::<Vec<_>>()
    };
    let run = |arguments: &[String]| succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = |arguments: &[String]| fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let adam = ["--optimiser", "adam"];
    let (one, three, table) = (at("1.parquet"), at("3.parquet"), at("c.parquet"));
    let record = run(&embed(&at("one"), &one, &adam));
    run(&embed(&at("three"), &three, &[&adam[..], &["--threads", "8"]].concat()));
    run(&embed(&at("all.csv"), &table, &adam));
    let bytes = |path: &str| std::fs::read(path).unwrap();
    assert!(bytes(&one) == bytes(&three) && bytes(&one) == bytes(&table), "files and threads do not matter");

    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let in_memory: serde_json::Value = serde_json::from_str(&run(&embed(&at("one"), &at("q.parquet"), &[]))).unwrap();
    assert_eq!(record["n_heldout"], in_memory["n_heldout"]);
    assert_eq!((&record["optimiser"], record["n_parts"].as_u64()), (&"adam".into(), Some(1)));

    let before = n_files();
    assert!(refused(&embed(&at("one"), &one, &adam)).contains("exists already"));
    run(&embed(&at("one"), &one, &[&adam[..], &["--resume"]].concat()));
    assert!(refused(&embed(&at("one"), &one, &[&adam[..], &["--resume", "--seed", "2"]].concat())).contains("fit"));
    assert!(refused(&embed(&at("one"), &at("q.parquet"), &[&adam[..], &["--resume"]].concat())).contains("optimiser"));
    assert!(refused(&embed(&at("one"), &at("b"), &[&adam[..], &["--bootstrap", "5"]].concat())).contains("bootstrap"));
    for (loss, expected) in [("spose", "anchored"), ("vice", "vice takes its answers from memory")] {
        let arguments = ["embed", &at("one"), "--out", &at("b"), "--loss", loss, "--optimiser", "adam"];
        assert!(fail(&arguments).contains(expected), "{loss}");
    }
    let mut wrong = rows.clone();
    wrong[3_000][2] = wrong[3_000][0].clone();
    std::fs::write(at("wrong.csv"), format!("anchor,first,second,chosen\n{}", csv(&wrong))).unwrap();
    assert!(refused(&embed(&at("wrong.csv"), &at("b"), &adam)).contains("row 3002"));
    assert_eq!(n_files(), before + 1, "only the table of wrong answers is new");
}

/// A file that may not grow further stands in for a full disk: the writing of the spool fails in the same place.
#[cfg(unix)]
#[test]
fn a_spool_that_cannot_be_written_is_named_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let answers = folder.path().join("answers.txt");
    let line = |at: usize| format!("{} {} {}\n", at % 7, 7 + at % 5, 12 + at % 3);
    std::fs::write(&answers, (0..50_000).map(line).collect::<String>()).unwrap();
    let list = folder.path().join("list.csv");
    std::fs::write(&list, (0..15).map(|id| format!("c{id:02}\n")).fold("concept\n".to_owned(), |all, c| all + &c))
        .unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_alike"), "embed"])
        .arg(&answers)
        .args(["--optimiser", "adam", "--l2", "0.001", "--concepts"])
        .arg(&list)
        .arg("--out")
        .arg(folder.path().join("x.parquet"))
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("spool") && words.contains("train-0"), "{words}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "{words}");
}
