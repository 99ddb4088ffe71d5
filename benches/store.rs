//! Judgments on disk: how fast they are written, how many bytes a row takes and where those are.
//!
//!     cargo bench --bench store -- 10 65536 1854  # 10 million judgments in parts of 65,536 rows on 1,854 concepts
//!     cargo bench --bench store -- 10 65536 128   # every triplet of 128 concepts in both orders, four times
//!
//! Random triplets in both orders, numbers spread as a language model's are. The files stay in `ALIKE_BENCH_FOLDER`
//! (the temporary folder unless set), in `alike-store/judgments`, and put together in `alike-store/compact`; `benches/store_scan.py` reads
//! them.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alike::concepts::Concepts;
use alike::judgments::{Judgment, ModelScores, OptionScores};
use alike::presentations::{self, Presentation, Task};
use alike::seed::Streams;
use alike::stats::standard_normal;
use alike::store::judgments::{self, Held};
use alike::store::manifest::Fingerprint;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rand::RngExt;
use rayon::prelude::*;

const TOKENS: [&str; 16] = ["The", "B", "P", "M", "G", "L", "Qu", "App", "F", "D", "Hum", "Co", "O", "K", "Ben", "Air"];

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let n = arguments.first().copied().unwrap_or(10) * 1_000_000;
    let part_rows = arguments.get(1).copied().unwrap_or(65_536);
    let folder = std::env::var("ALIKE_BENCH_FOLDER").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    let (parts, compact) = (folder.join("alike-store/judgments"), folder.join("alike-store/compact"));
    let _ = std::fs::remove_dir_all(folder.join("alike-store"));

    let n_concepts = arguments.get(2).copied().unwrap_or(1_854);
    let concepts = Concepts::from_names((0..n_concepts).map(name)).unwrap();
    let n_triplets = usize::try_from(Task::Anchored.count(n_concepts)).unwrap().min(n / 2);
    let asked = presentations::random(Task::Anchored, n_concepts, n_triplets, true, 1).unwrap();
    let repeats = 0..i16::try_from(n / asked.len()).unwrap();
    let asked: Vec<(Presentation, i16)> =
        asked.into_iter().flat_map(|presentation| repeats.clone().map(move |repeat| (presentation, repeat))).collect();
    let (wall, cpu) = write(&parts, &concepts, &asked, part_rows);
    println!(
        "{} rows in {} parts: {:.2} million rows a second, {:.2} µs CPU a row",
        asked.len(),
        asked.len().div_ceil(part_rows),
        asked.len() as f64 / wall.as_secs_f64() / 1e6,
        cpu.as_secs_f64() * 1e6 / asked.len() as f64,
    );
    let respondent = judgments::respondent_path(&parts, "synthetic");
    sizes(&respondent);

    let started = Instant::now();
    let to = judgments::respondent_path(&compact, "synthetic");
    let done = judgments::compact(&respondent, Some(&to), Task::Anchored, "synthetic", 10_000_000).unwrap();
    println!("\nchecked and put together into {} files in {:.1} s", done.n_after, started.elapsed().as_secs_f64());
    sizes(&to);
}

fn name(id: usize) -> String {
    // Lengths as names of things have them.
    let syllables = ["ba", "con", "der", "fi", "gol", "hap", "im", "jun", "ket", "lam", "mor", "nes"];
    let mut text = String::new();
    let mut rest = id;
    while text.is_empty() || rest > 0 {
        text += syllables[rest % 12];
        rest /= 12;
    }
    text
}

/// Writes parts; returns wall and CPU time, that of making up judgments left out.
fn write(folder: &Path, concepts: &Concepts, asked: &[(Presentation, i16)], part_rows: usize) -> (Duration, Duration) {
    let fingerprint = Fingerprint::default().with("part_rows", part_rows).with("seed", 1);
    let of = asked.len().div_ceil(part_rows);
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for (part, asked) in asked.chunks(part_rows).enumerate() {
        let judgments: Vec<Judgment> =
            asked.par_chunks(4096).flat_map_iter(|some| made_up(some, part as u64, concepts.len())).collect();
        let held = Held { parts: part..part + 1, of };
        let path = judgments::part_path(folder, "synthetic", 0, part);
        let (started, used) = (Instant::now(), cpu_time());
        judgments::write_part(&path, Task::Anchored, &judgments, concepts, "synthetic", &fingerprint, &held).unwrap();
        wall += started.elapsed();
        cpu += cpu_time() - used;
    }
    (wall, cpu)
}

/// Judgments as a small language model makes them.
fn made_up(asked: &[(Presentation, i16)], part: u64, n_concepts: usize) -> Vec<Judgment> {
    let first = 8 * asked[0].0.id(n_concepts) as u64 + asked[0].1 as u64;
    let mut rng = Streams::new(part, "made up").rng(first);
    let judgment = |(presentation, repeat): &(Presentation, i16)| {
        let options: Vec<usize> = presentation.options().iter().map(|id| *id as usize).collect();
        let log_prob: Vec<f32> = options.iter().map(|_| -6.0 + 2.5 * standard_normal(&mut rng) as f32).collect();
        let p = |difference: f32| 1.0 / (1.0 + (-difference).exp());
        let p_first = p(log_prob[0] - log_prob[1]);
        let greedy = p(log_prob[0] - log_prob[1] + 0.3 * standard_normal(&mut rng) as f32);
        let token = if rng.random::<f64>() < 0.9 { 0 } else { rng.random_range(1..TOKENS.len()) };
        let of_options = |of: fn(usize) -> i16| options.iter().map(|id| of(*id)).collect::<Vec<i16>>();
        let n_tokens = of_options(|id| 1 + (id % 7 / 2) as i16);
        let n_chars = of_options(|id| name(id).len() as i16);
        let n_prompt_tokens = 44 + i32::from(n_tokens.iter().sum::<i16>());
        let scores = OptionScores {
            closed: false,
            prior: options.iter().map(|id| -20.0 + (*id as f32 * 0.37).sin() * 5.0).collect(),
            p_first: Some(p_first),
            p_first_greedy: Some(greedy),
            choice_mass: log_prob.iter().map(|l| l.exp()).sum::<f32>().min(1.0),
            n_tokens,
            log_prob: log_prob.clone(),
        };
        Judgment {
            presentation: *presentation,
            repeat: *repeat,
            chosen: Some(usize::from(p_first < 0.5)),
            decision: "argmax",
            score_kind: "sequence",
            scores: Some(log_prob),
            p: Some(vec![p_first, 1.0 - p_first]),
            model: Some(ModelScores {
                options: Some(scores),
                answer: None,
                top_token: TOKENS[token].into(),
                top_token_id: 504 + token as i32,
                top_log_prob: -1.5 - 0.3 * standard_normal(&mut rng).abs() as f32,
                n_bytes: n_chars.clone(),
                n_chars,
                n_prompt_tokens,
            }),
        }
    };
    asked.iter().map(judgment).collect()
}

/// Bytes a row, and where they are.
fn sizes(folder: &Path) {
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let (mut columns, mut n_rows, mut n_bytes) = (BTreeMap::<String, (u64, String)>::new(), 0, 0);
    for file in &files {
        n_bytes += std::fs::metadata(file).unwrap().len();
        let reader = SerializedFileReader::new(std::fs::File::open(file).unwrap()).unwrap();
        n_rows += reader.metadata().file_metadata().num_rows();
        for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
            let (bytes, encodings) = columns.entry(column.column_path().string()).or_default();
            *bytes += column.compressed_size().unsigned_abs();
            *encodings = format!("{:?}", column.encodings().collect::<Vec<_>>());
        }
    }
    let a_row = |bytes: u64| bytes as f64 / n_rows as f64;
    let of_columns: u64 = columns.values().map(|(bytes, _)| bytes).sum();
    println!(
        "{} files, {:.2} bytes a row, {:.2} of them beside the columns",
        files.len(),
        a_row(n_bytes),
        a_row(n_bytes - of_columns)
    );
    let mut columns: Vec<_> = columns.into_iter().collect();
    columns.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
    for (name, (bytes, encodings)) in columns {
        println!("  {name:16} {:6.3}  {encodings}", a_row(bytes));
    }
}

/// CPU time that this process has used.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}
