//! Fits of answers on disk: how low they end beside quasi-Newton, and how much time and memory many answers take.
//!
//!     cargo bench --bench streamed                            # 128 concepts, 28,000 answers: every loss, both optimisers
//!     cargo bench --bench streamed -- large 20 30 10          # 1,854 concepts, 20 million anchored answers in Parquet, 30 dimensions, 10 epochs
//!     cargo bench --bench streamed -- large-odd 20 66 10      # odd-one-out answers and SPoSE
//!
//! The Parquet files lie below `ALIKE_BENCH_FOLDER` (the temporary folder unless set) and are made where they are missing.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use alike::concepts::Concepts;
use alike::embedding::odd_one_out::Answer;
use alike::embedding::sparse::SparseSettings;
use alike::embedding::streamed::{Layout, Minibatches, SpoolWriter, fit};
use alike::embedding::{Answered, Comparison, FitSettings, Fitting, Loss, OddOneOutAnswer};
use alike::odd_one_out::OddOneOut;
use alike::presentations::{Presentation, Task};
use alike::seed::Streams;
use alike::stats::{softmax, standard_normal};
use alike::store::choices::AnswerFiles;
use arrow::array::{RecordBatch, StringArray};
use faer::Mat;
use parquet::arrow::ArrowWriter;
use rand::RngExt;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(default, |n| n.parse().unwrap());
    match arguments.first().map(String::as_str) {
        Some("large") => large(Task::Anchored, number(1, 20), number(2, 30), number(3, 10)),
        Some("large-odd") => large(Task::OddOneOut, number(1, 20), number(2, 66), number(3, 10)),
        _ => small(),
    }
}

/// Coordinates for either kind of answers: a cloud whose later dimensions are narrower, or sparse weights.
fn planted(task: Task, n: usize, n_dims: usize) -> Mat<f64> {
    let mut rng = Streams::new(1, "planted").rng(0);
    match task {
        Task::Anchored => Mat::from_fn(n, n_dims, |_, k| standard_normal(&mut rng) / (1.0 + k as f64 / 3.0)),
        Task::OddOneOut => Mat::from_fn(n, n_dims, |_, _| {
            let present = rng.random::<f64>() < 0.25;
            if present { 0.3 + 1.2 * rng.random::<f64>() } else { 0.0 }
        }),
    }
}

/// Answers to random triplets, one after the other.
fn answers(task: Task, truth: &Mat<f64>) -> impl Iterator<Item = Answer> {
    let rows = alike::linalg::to_rows(truth.as_ref());
    let n = rows.len();
    let mut rng = Streams::new(2, "answers").rng(0);
    std::iter::repeat_with(move || {
        let ids = loop {
            let ids = [(); 3].map(|()| rng.random_range(0..n));
            if ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2] {
                break ids;
            }
        };
        let sum = |a: usize, b: usize, of: fn(f64, f64) -> f64| {
            rows[a].iter().zip(&rows[b]).map(|(x, y)| of(*x, *y)).sum::<f64>()
        };
        let [a, b, c] = ids.map(|id| u32::try_from(id).unwrap());
        let triplet = Presentation::new(task, [a, b, c]).id(n);
        let uniform = rng.random::<f64>();
        match task {
            Task::Anchored => {
                let dist = |option| sum(ids[0], option, |x, y| (x - y) * (x - y)).sqrt();
                let p = 1.0 / (1.0 + ((dist(ids[1]) - dist(ids[2])) / 0.3).exp());
                let p_first = f64::from(uniform < p);
                Answer::Anchored(Comparison { triplet, anchor: a, first: b, second: c, p_first, weight: 1.0 })
            }
            Task::OddOneOut => {
                let dot = |a: usize, b: usize| sum(ids[a], ids[b], |x, y| x * y);
                let odd = alike::stats::drawn(&softmax(&[dot(1, 2), dot(0, 2), dot(0, 1)], 1.0), uniform);
                Answer::OddOneOut(OddOneOutAnswer { triplet, shown: OddOneOut { a, b, c }, odd, weight: 1.0 })
            }
        }
    })
}

fn small() {
    let folder = std::env::temp_dir().join("alike-streamed-small.parquet");
    for (task, loss, l2) in [
        (Task::Anchored, Some(Loss::CrowdKernel { mu: 0.05 }), 0.0),
        (Task::Anchored, Some(Loss::LogisticDistance), 1e-3),
        (Task::Anchored, Some(Loss::Ste), 3e-2),
        (Task::Anchored, Some(Loss::TSte { alpha: 29.0 }), 1e-2),
        (Task::Anchored, Some(Loss::Soe { margin: 0.1 }), 1e-2),
        (Task::Anchored, Some(Loss::Gnmds { margin: 1.0 }), 1e-1),
        (Task::OddOneOut, None, 0.0),
    ] {
        let n = std::env::var("ALIKE_BENCH_SMALL").map_or(35_000, |n| n.parse().unwrap());
        let mut answered = Answered::none(task);
        answers(task, &planted(task, 128, 10)).take(n).for_each(|answer| answered.push(answer));
        let lambda = 4.0 * 128.0 / (0.8 * n as f64);
        let fitting = match loss {
            Some(loss) => Fitting::Distances(FitSettings { loss, ..FitSettings::paper(30, 1) }.with_l2(l2)),
            None => Fitting::DotProducts(SparseSettings::spose(20, 1).with_lambda(lambda)),
        };
        let started = Instant::now();
        let (_, in_memory) = fitting.fit(128, &answered).unwrap();
        let (in_memory, seconds) = (serde_json::to_value(in_memory).unwrap(), started.elapsed().as_secs_f64());

        let started = Instant::now();
        let layout = Layout::of(&fitting, task, 128, n as u64, true).unwrap();
        let mut spool = SpoolWriter::new(&folder, Layout { part_bytes: 250_000, ..layout }).unwrap();
        match &answered {
            Answered::Anchored(all) => all.iter().for_each(|c| spool.push(&Answer::Anchored(*c)).unwrap()),
            Answered::OddOneOut(all) => all.iter().for_each(|a| spool.push(&Answer::OddOneOut(*a)).unwrap()),
        }
        let spool = spool.finish().unwrap();
        let mut how = Minibatches::for_answers(spool.n_train());
        if let Ok(rate) = std::env::var("ALIKE_BENCH_RATE") {
            how.learning_rate = rate.parse().unwrap();
        }
        let (_, streamed) = fit(&spool, &fitting, how).unwrap();
        let streamed = serde_json::to_value(streamed).unwrap();
        let of = |record: &serde_json::Value, field: &str| record[field].as_f64().unwrap();
        println!(
            "{:18} quasi-Newton {:.5} in {seconds:6.2} s   Adam {:.5} ({:+.2} %) in {:6.2} s, {} epochs, {} steps, {}   held-out nats {:.4} {:.4}",
            streamed["loss"].as_str().unwrap(),
            of(&in_memory, "objective"),
            of(&streamed, "objective"),
            100.0 * (of(&streamed, "objective") / of(&in_memory, "objective") - 1.0),
            started.elapsed().as_secs_f64(),
            streamed["n_epochs"],
            streamed["n_steps"],
            streamed["stop"].as_str().unwrap(),
            of(&in_memory, "heldout_loss"),
            of(&streamed, "heldout_loss"),
        );
    }
}

/// Millions of answers through Parquet, as the command line takes them.
fn large(task: Task, millions: usize, dims: usize, max_epochs: usize) {
    let n = 1_854;
    let folder = std::env::var("ALIKE_BENCH_FOLDER").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    let answers = folder.join(format!("alike-streamed-{}-{millions}", task.name()));
    if !answers.is_dir() {
        write(task, n, millions, &answers);
    }
    let fitting = match task {
        Task::Anchored => Fitting::Distances(FitSettings::robust(dims, 1).with_l2(1e-4)),
        Task::OddOneOut => {
            let lambda = 4.0 * n as f64 / (0.8e6 * millions as f64);
            Fitting::DotProducts(SparseSettings::spose(dims, 1).with_lambda(lambda))
        }
    };
    // The names are known, as with --concepts.
    let concepts = Concepts::from_names((0..n).map(name)).unwrap();
    let started = Instant::now();
    let files = AnswerFiles::open(&answers, Some(concepts), None).unwrap();
    let layout = Layout::of(&fitting, task, n, files.n_rows().unwrap(), files.are_plain()).unwrap();
    let mut spool = SpoolWriter::new(&folder.join("alike-streamed.parquet"), layout).unwrap();
    files.each(|answer| spool.push(&answer)).unwrap();
    let spool = spool.finish().unwrap();
    let spooling = started.elapsed().as_secs_f64();
    println!("{millions} million answers on disk after {spooling:.1} s, peak {} MB", peak_mb());

    let started = Instant::now();
    let how = Minibatches { max_epochs, ..Minibatches::for_answers(spool.n_train()) };
    let (_, record) = fit(&spool, &fitting, how).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let record = serde_json::to_value(record).unwrap();
    let n_epochs = record["n_epochs"].as_f64().unwrap();
    println!(
        "{} in {dims} dimensions: {seconds:.1} s for {n_epochs} epochs with their passes, {:.2} million answers a second, \
         objective {}, held-out accuracy {}, {}, peak {} MB",
        record["loss"].as_str().unwrap(),
        n_epochs * spool.n_train() as f64 / seconds / 1e6,
        record["objective"],
        record["heldout_accuracy"],
        record["stop"].as_str().unwrap(),
        peak_mb(),
    );
    for point in record["curve"].as_array().unwrap() {
        println!(
            "  {:>8} steps  objective {:.5}  held-out {:.5}",
            point["n_evaluations"],
            point["objective"].as_f64().unwrap(),
            point["heldout_loss"].as_f64().unwrap()
        );
    }
}

fn name(id: usize) -> String {
    format!("concept {id:04}")
}

/// Files of a million answers.
fn write(task: Task, n: usize, millions: usize, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let truth = planted(task, n, 20);
    let mut all = answers(task, &truth);
    let [a, b, c] = task.concepts();
    for file in 0..millions {
        let mut columns = [vec![], vec![], vec![], vec![]];
        for answer in all.by_ref().take(1_000_000) {
            let (ids, chosen) = match answer {
                Answer::Anchored(c) => ([c.anchor, c.first, c.second], if c.p_first == 1.0 { 1 } else { 2 }),
                Answer::OddOneOut(o) => (o.shown.concepts(), o.odd),
            };
            for (column, id) in columns.iter_mut().zip([ids[0], ids[1], ids[2], ids[chosen]]) {
                column.push(name(id as usize));
            }
        }
        let column = |values: &Vec<String>| Arc::new(StringArray::from_iter_values(values)) as _;
        let names = [a, b, c, task.answer()].into_iter();
        let batch = RecordBatch::try_from_iter(names.zip(columns.iter().map(column))).unwrap();
        let sink = std::fs::File::create(folder.join(format!("part-{file:05}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(sink, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    // The peak of writing is not that of fitting.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Most memory that this process has had, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().map_or(0, |kb| kb.parse::<u64>().unwrap_or(0) / 1_024)
}
