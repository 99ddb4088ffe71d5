//! Judgments on disk: how fast they are written, how many bytes a row takes and where those are.
//!
//!     cargo bench --bench store -- 10 65536 1854  # 10 million judgments in parts of 65,536 rows on 1,854 concepts
//!     cargo bench --bench store -- 10 65536 128   # every triplet of 128 concepts in both orders, four times
//!
//! Random triplets in both orders, numbers spread as a language model's are. The files stay in `ALIKE_BENCH_FOLDER`
//! (the temporary folder unless set), in `alike-store/judgments`, and put together in `alike-store/compact`; `benches/store_scan.py` reads
//! them.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

mod made_up;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alike::concepts::Concepts;
use alike::judgments::Judgment;
use alike::presentations::{self, Presentation, Task};
use alike::store::judgments::{self, Held};
use alike::store::manifest::Fingerprint;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rayon::prelude::*;

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let n = arguments.first().copied().unwrap_or(10) * 1_000_000;
    let part_rows = arguments.get(1).copied().unwrap_or(65_536);
    let folder = std::env::var("ALIKE_BENCH_FOLDER").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    let (parts, compact) = (folder.join("alike-store/judgments"), folder.join("alike-store/compact"));
    let _ = std::fs::remove_dir_all(folder.join("alike-store"));

    let n_concepts = arguments.get(2).copied().unwrap_or(1_854);
    let concepts = Concepts::from_names((0..n_concepts).map(made_up::name)).unwrap();
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

/// Writes parts; returns wall and CPU time, that of making up judgments left out.
fn write(folder: &Path, concepts: &Concepts, asked: &[(Presentation, i16)], part_rows: usize) -> (Duration, Duration) {
    let fingerprint = Fingerprint::default().with("part_rows", part_rows).with("seed", 1);
    let of = asked.len().div_ceil(part_rows);
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for (part, asked) in asked.chunks(part_rows).enumerate() {
        let judgments: Vec<Judgment> = asked
            .par_chunks(4096)
            .flat_map_iter(|some| made_up::judgments(some, part as u64, concepts.len()))
            .collect();
        let held = Held { parts: part..part + 1, of };
        let path = judgments::part_path(folder, "synthetic", 0, part);
        let (started, used) = (Instant::now(), cpu_time());
        judgments::write_part(&path, Task::Anchored, &judgments, concepts, "synthetic", &fingerprint, &held).unwrap();
        wall += started.elapsed();
        cpu += cpu_time() - used;
    }
    (wall, cpu)
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
