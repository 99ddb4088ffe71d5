//! Fuzzing of every reader of files: no panic, no hang, no allocation without bounds, whatever the bytes.
//!
//!     cargo test --release --test fuzz -- [--cases N] [--seed S] [--reader NAME] [--record docs/faults.md]
//!
//! Each reader runs in a process of its own under a limit of address space (`ulimit -v`), so that an allocation beyond it, a stack
//! that overflows or a case that does not end are found as well as panics. The file on disk at that moment is the case. What was
//! found once is kept in `tests/fuzz/found/` and read first.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "this is its report")]

mod mutate;
mod readers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use alike::seed::Streams;
use rayon::prelude::*;
use readers::{READERS, Reader, project};

/// A case that takes longer is a hang.
const HANG: Duration = Duration::from_secs(10);
/// A case that takes longer is told.
const SLOW: Duration = Duration::from_secs(2);
/// Address space of a process: code and its own needs are about 100 MB of it.
const LIMIT_KIB: u64 = 384 << 10;

#[derive(Debug)]
struct Options {
    cases: u64,
    seed: u64,
    reader: Option<String>,
    record: Option<PathBuf>,
}

/// What a reader did.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    read: u64,
    slowest: Duration,
    seconds: f64,
    /// What went wrong, with the file that made it.
    found: BTreeMap<String, PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--worker") {
        work(&arguments[1..]);
        return ExitCode::SUCCESS;
    }
    let mut options = Options { cases: 20_000, seed: 1, reader: None, record: None };
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--cases" => options.cases = rest.next().unwrap().parse().expect("--cases NUMBER"),
            "--seed" => options.seed = rest.next().unwrap().parse().expect("--seed NUMBER"),
            "--reader" => options.reader = rest.next(),
            "--record" => options.record = rest.next().map(PathBuf::from),
            // `cargo test NAME` asks every test binary for the tests of that name.
            name if !name.starts_with('-') && !name.contains("fuzz") => return ExitCode::SUCCESS,
            _ => {}
        }
    }
    run(&options)
}

fn run(options: &Options) -> ExitCode {
    let asked = |reader: &&Reader| options.reader.as_ref().is_none_or(|name| reader.name == name);
    let readers: Vec<&Reader> = READERS.iter().filter(asked).collect();
    let shares: u64 = readers.iter().map(|reader| reader.share).sum();
    let scratch = tempfile::Builder::new().prefix("alike-fuzz").tempdir_in(memory()).unwrap();
    // A process for each core.
    let tallies: Vec<(&Reader, Tally)> = readers
        .par_iter()
        .enumerate()
        .map(|(index, reader)| {
            let cases = (options.cases * reader.share).div_ceil(shares);
            let tally = watch(reader, &scratch.path().join(index.to_string()), options.seed, cases);
            println!(
                "{:<28} {:>10} cases, {:>9} read, slowest {:>6.1} ms, {:>7.1} s, {} found",
                reader.name,
                tally.cases,
                tally.read,
                1e3 * tally.slowest.as_secs_f64(),
                tally.seconds,
                tally.found.len()
            );
            tally.found.iter().for_each(|(what, file)| println!("    {what}\n        {}", file.display()));
            (*reader, tally)
        })
        .collect();
    if let Some(path) = &options.record {
        record(path, options, &tallies);
    }
    if tallies.iter().all(|(_, tally)| tally.found.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A file system in memory, where there is one.
fn memory() -> PathBuf {
    Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir)
}

/// Runs a reader's cases in a process, and another one where that ends early.
fn watch(reader: &Reader, folder: &Path, seed: u64, cases: u64) -> Tally {
    let (mut tally, mut next, begun) = (Tally::default(), 0, Instant::now());
    let home = folder.join("home");
    let case = home.join(reader.file);
    std::fs::create_dir_all(case.parent().unwrap()).unwrap();
    let counter = folder.join("case");
    while next < cases {
        std::fs::write(&counter, next.to_le_bytes()).unwrap();
        let words = folder.join("words");
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -v {LIMIT_KIB}; exec \"$0\" \"$@\""),
                std::env::current_exe().unwrap().to_str().unwrap(),
            ])
            .args(["--worker", reader.name, folder.to_str().unwrap()])
            .args([seed, next, cases].map(|number| number.to_string()))
            .env("RAYON_NUM_THREADS", "1")
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&words).unwrap())
            .spawn()
            .unwrap();
        let at = || u64::from_le_bytes(std::fs::read(&counter).unwrap().try_into().unwrap());
        let hung = loop {
            if child.try_wait().unwrap().is_some() {
                break false;
            }
            std::thread::sleep(Duration::from_millis(50));
            let changed = std::fs::metadata(&counter).unwrap().modified().unwrap();
            if SystemTime::now().duration_since(changed).is_ok_and(|age| age > HANG) {
                child.kill().unwrap();
                break true;
            }
        };
        let output = child.wait_with_output().unwrap();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["found", what, file] => drop(tally.found.entry(what.to_owned()).or_insert_with(|| file.into())),
                ["read", n] => tally.read += n.parse::<u64>().unwrap(),
                ["slowest", us] => tally.slowest = tally.slowest.max(Duration::from_micros(us.parse().unwrap())),
                _ => {}
            }
        }
        if output.status.success() {
            break;
        }
        let last = std::fs::read_to_string(&words).unwrap_or_default();
        let last = last.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no words").to_owned();
        let what =
            if hung { format!("no end within {} s", HANG.as_secs()) } else { format!("{}: {last}", output.status) };
        let bytes = std::fs::read(&case).unwrap_or_default();
        tally.found.entry(what.clone()).or_insert_with(|| keep(reader, &what, &bytes));
        next = at() + 1;
    }
    tally.cases = cases;
    tally.seconds = begun.elapsed().as_secs_f64();
    tally
}

thread_local! {
    /// Where and how the last panic was.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The worker: cases `from..to` of a reader, in this process.
fn work(arguments: &[String]) {
    let [name, folder, seed, from, to] = arguments else { panic!("the arguments of a worker") };
    let reader = READERS.iter().find(|reader| reader.name == name).expect("a reader of that name");
    let (folder, number) = (Path::new(folder), |text: &String| text.parse::<u64>().unwrap());
    let home = folder.join("home");
    let case = home.join(reader.file);
    (reader.prepare)(case.parent().unwrap());
    let counter = std::fs::OpenOptions::new().write(true).open(folder.join("case")).unwrap();
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
        PANIC.with_borrow_mut(|panic| *panic = format!("panic at {place}: {message}"));
    }));
    let (seeds, known) = (reader.seeds(), known(reader));
    let streams = Streams::new(number(seed), reader.name);
    let (mut read, mut slowest) = (0_u64, Duration::ZERO);
    let mut seen = std::collections::BTreeSet::new();
    for index in number(from)..number(to) {
        counter.write_all_at(&index.to_le_bytes(), 0).unwrap();
        // First what was found before, then the seeds as they are.
        let begin = usize::try_from(index).unwrap();
        let bytes = match known.get(begin).or_else(|| seeds.get(begin - known.len().min(begin))) {
            Some(bytes) => bytes.clone(),
            None => mutate::mutated(&seeds, &mut streams.rng(index)),
        };
        std::fs::write(&case, &bytes).unwrap();
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(|| (reader.read)(&case));
        let took = begun.elapsed();
        slowest = slowest.max(took);
        let what = match outcome {
            Ok(was_read) => {
                read += u64::from(was_read);
                if took < SLOW {
                    continue;
                }
                format!("took more than {} s", SLOW.as_secs())
            }
            Err(_) => PANIC.take(),
        };
        // One of a kind is enough; numbers in messages differ.
        let kind: String = what.chars().filter(|c| !c.is_ascii_digit()).collect();
        if seen.insert(kind) {
            println!("found\t{}\t{}", what.replace('\t', " "), keep(reader, &what, &bytes).display());
        }
    }
    println!("read\t{read}\nslowest\t{}", slowest.as_micros());
}

fn slug(text: &str) -> String {
    let text: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    text.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// Cases that went wrong once, committed.
fn known(reader: &Reader) -> Vec<Vec<u8>> {
    let folder = project("tests/fuzz/found").join(slug(reader.name));
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Saves a case below `target/`, to be looked at, mended, and moved to `tests/fuzz/found/`.
fn keep(reader: &Reader, what: &str, bytes: &[u8]) -> PathBuf {
    let folder = project("target/fuzz").join(slug(reader.name));
    std::fs::create_dir_all(&folder).unwrap();
    let name: String = slug(what).chars().take(80).collect();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Puts the counts into the document, between its two marks.
fn record(path: &Path, options: &Options, tallies: &[(&Reader, Tally)]) {
    let mut rows = String::from(
        "| reader | cases | of them read | panics, hangs, allocations beyond the limit | slowest case (ms) | seconds |\n|---|---:|---:|---:|---:|---:|\n",
    );
    let (mut cases, mut found) = (0, 0);
    for (reader, tally) in tallies {
        let slowest = 1e3 * tally.slowest.as_secs_f64();
        rows += &format!(
            "| {} | {} | {} | {} | {slowest:.1} | {:.0} |\n",
            reader.name,
            tally.cases,
            tally.read,
            tally.found.len(),
            tally.seconds
        );
        cases += tally.cases;
        found += tally.found.len();
    }
    rows += &format!("| **all** | **{cases}** | | **{found}** | | |\n\nSeed {}.\n", options.seed);
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- fuzz -->\n").expect("the document has the mark `<!-- fuzz -->`");
    let (_, after) = rest.split_once("<!-- /fuzz -->").expect("and the mark `<!-- /fuzz -->`");
    std::fs::write(path, format!("{before}<!-- fuzz -->\n{rows}<!-- /fuzz -->{after}")).unwrap();
}
