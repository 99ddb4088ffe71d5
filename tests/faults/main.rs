//! What goes wrong on real machines, done on purpose, many times: kills, signals, full disks, damage, clocks, memory.
//!
//!     cargo test --release --test faults -- [--all] [--only NAME] [--seed S] [--record docs/faults.md]
//!
//! Without `--all` each fault is done a few times, as part of the ordinary tests; with it as often as the document says. Faults that
//! need a file system of their own run in a private mount namespace (`unshare -rm`), and say so where there is none.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "this is its report")]

mod bench;
mod damage;
mod disk;
mod kills;
mod machine;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use alike::seed::Streams;
use rand::rngs::ChaCha12Rng;

/// What a fault is given.
pub(crate) struct Chance {
    /// How often to do it.
    pub(crate) times: usize,
    /// Moments and places.
    pub(crate) rng: ChaCha12Rng,
    /// Whether file systems can be mounted.
    pub(crate) mounts: bool,
}

/// What came of it; a fault that was not stood ends the program with a panic instead.
pub(crate) struct Outcome {
    /// How often it was done.
    pub(crate) times: usize,
    /// What it cost, in words.
    pub(crate) lost: String,
}

/// Why it was not done.
pub(crate) struct Skipped(pub(crate) String);

pub(crate) type Tried = Result<Outcome, Skipped>;

struct Fault {
    name: &'static str,
    /// What is done, for the table.
    what: &'static str,
    /// How often in the ordinary tests, and how often with `--all`; 0 is not at all.
    times: [usize; 2],
    run: fn(Chance) -> Tried,
}

const fn fault(name: &'static str, what: &'static str, times: [usize; 2], run: fn(Chance) -> Tried) -> Fault {
    Fault { name, what, times, run }
}

const FAULTS: &[Fault] = &[
    fault("kill", "`kill -9` at a random moment of `judge`, then `--resume`", [4, 100], kills::kill_nine),
    fault("kill-score", "the same of `score`", [4, 40], kills::kill_score),
    fault("kill-shards", "`kill -9` of one of two shards that run at once", [1, 20], kills::kill_a_shard),
    fault("signals", "SIGTERM or SIGUSR1 at a random moment", [2, 40], kills::signals),
    fault("long-part", "SIGTERM or SIGUSR1 in a part that takes minutes", [0, 2], kills::a_long_part),
    fault("two-writers", "the same command twice at once", [1, 10], kills::two_writers),
    fault("full-judge", "a disk that is full, grown in steps until `judge` ends", [6, 60], disk::full_for_judge),
    fault("full-run", "the same for `run`: judge, embed, align, report", [3, 60], disk::full_for_run),
    fault("full-compact", "the same for `compact`", [3, 40], disk::full_for_compact),
    fault("full-score", "the same for `score`", [3, 40], disk::full_for_score),
    fault("full-bootstrap", "the same for `embed --bootstrap`", [3, 20], disk::full_for_bootstrap),
    fault("read-only", "an output folder that cannot be written", [1, 1], disk::read_only),
    fault("out-is-a-file", "an output path that is a file, or below one", [1, 1], disk::out_is_a_file),
    fault("symlink", "an output folder that is a link to another file system", [1, 1], disk::out_is_a_link),
    fault("flip", "one bit of a part flipped", [2, 40], damage::flipped),
    fault("cut", "a part cut short", [2, 20], damage::cut),
    fault("delete", "a part deleted", [1, 20], damage::deleted),
    fault("future", "finished parts dated into the future or the past", [1, 6], damage::dated),
    fault("clock", "a clock that goes back ten years between two halves of a run", [1, 6], machine::clock),
    fault("nan", "a model whose scores are NaN", [1, 1], machine::nan),
    fault("memory", "too little memory, grown in steps until `judge` ends", [2, 24], machine::memory),
];

fn main() -> ExitCode {
    let (mut all, mut only, mut seed, mut place) = (false, None, 1, None);
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--all" => all = true,
            "--only" => only = rest.next(),
            "--seed" => seed = rest.next().unwrap().parse().expect("--seed NUMBER"),
            "--record" => place = rest.next().map(PathBuf::from),
            // `cargo test NAME` asks every test binary for the tests of that name.
            name if !name.starts_with('-') && !name.contains("fault") => return ExitCode::SUCCESS,
            _ => {}
        }
    }
    let mounts = std::env::var_os("ALIKE_OWN_MOUNTS").is_some();
    if !mounts && Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        // Again, where file systems can be mounted that nobody else sees.
        let mut inside = Command::new("unshare");
        inside.arg("-rm").arg(std::env::current_exe().unwrap()).args(std::env::args().skip(1));
        let status = inside.env("ALIKE_OWN_MOUNTS", "1").status().unwrap();
        return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut rows = String::new();
    for fault in FAULTS.iter().filter(|fault| only.as_ref().is_none_or(|name| fault.name == name)) {
        let times = fault.times[usize::from(all)];
        if times == 0 {
            continue;
        }
        let begun = Instant::now();
        let rng = Streams::new(seed, fault.name).rng(0);
        let (times, lost) = match (fault.run)(Chance { times, rng, mounts }) {
            Ok(outcome) => (outcome.times.to_string(), outcome.lost),
            Err(Skipped(reason)) => ("–".to_owned(), format!("not done: {reason}")),
        };
        let seconds = begun.elapsed().as_secs_f64();
        println!("{:<15} {times:>4} times, {seconds:>6.1} s: {lost}", fault.name);
        rows += &format!("| {} | {times} | {lost} | {seconds:.0} |\n", fault.what);
    }
    if let Some(place) = place {
        record(&place, &rows, seed);
    }
    ExitCode::SUCCESS
}

/// Puts the table into the document, between its two marks.
fn record(path: &Path, rows: &str, seed: u64) {
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- faults -->\n").expect("the document has the mark `<!-- faults -->`");
    let (_, after) = rest.split_once("<!-- /faults -->").expect("and the mark `<!-- /faults -->`");
    let head = "| what was done | times | what was lost | seconds |\n|---|---:|---|---:|\n";
    let table = format!("{head}{rows}\nSeed {seed}.\n");
    std::fs::write(path, format!("{before}<!-- faults -->\n{table}<!-- /faults -->{after}")).unwrap();
}
