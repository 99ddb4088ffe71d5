//! Processes that are ended, at any moment.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use alike::store::judgments::part_number;
use rand::RngExt;

use crate::bench::{
    Bench, N_PARTS, alike, check_finished, drafts, files_below, parts, project, respondent, send, succeed, text, words,
    written,
};
use crate::{Chance, Outcome, Skipped, Tried};

/// How long an unbroken run takes here and now, and what it makes.
fn measured(bench: &Bench) -> (Duration, BTreeMap<String, Vec<u8>>) {
    let begun = Instant::now();
    let parts = bench.unbroken();
    (begun.elapsed(), parts)
}

fn moment(chance: &mut Chance, longest: Duration) -> Duration {
    longest.mul_f64(chance.rng.random())
}

/// Waits for a while, or until the child ends; whether it is still there.
fn lives_on(child: &mut Child, time: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.try_wait().unwrap().is_none()
}

/// Starts a program and kills it after a while; whether it was still there. One that has ended must have succeeded.
fn is_killed(command: &mut Command, time: Duration) -> bool {
    let mut child = command.spawn().unwrap();
    if lives_on(&mut child, time) {
        child.kill().unwrap();
        child.wait().unwrap();
        return true;
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    false
}

/// Parts are made in their order, so that those that are there are the first ones: what a kill cost is at most the next.
fn are_the_first(out: &Path) {
    let numbers: Vec<usize> = parts(out).keys().filter_map(|name| part_number(Path::new(name))).collect();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
}

pub(crate) fn kill_nine(mut chance: Chance) -> Tried {
    let bench = Bench::new();
    let (whole, expected) = measured(&bench);
    let (mut killed, mut in_a_part, mut runs) = (0, 0, 0);
    while killed < chance.times {
        let _ = std::fs::remove_dir_all(&bench.out);
        loop {
            let before = written(&bench.out);
            let time = if killed == chance.times { Duration::MAX } else { moment(&mut chance, whole.mul_f64(1.2)) };
            if !is_killed(&mut bench.judge(&bench.out, &[]), time) {
                break;
            }
            killed += 1;
            let left = drafts(&respondent(&bench.out)).len();
            assert!(left <= 1, "{left} parts were being made");
            in_a_part += left;
            are_the_first(&bench.out);
            check_finished(&bench.out, &expected, &before);
        }
        runs += 1;
        assert!(parts(&bench.out) == expected, "the finished data set is that of an unbroken run");
        assert_eq!(drafts(&bench.out), Vec::<std::path::PathBuf>::new());
        succeed(&mut alike(&["validate", text(&bench.out)]));
    }
    let lost = format!(
        "never more than the part that was being made ({in_a_part} half-written ones); {runs} finished data sets of {N_PARTS} parts, all byte-identical to an unbroken one; no finished part written again"
    );
    Ok(Outcome { times: killed, lost })
}

pub(crate) fn kill_a_shard(mut chance: Chance) -> Tried {
    let bench = Bench::new();
    let (whole, expected) = measured(&bench);
    let mut killed = 0;
    for _ in 0..chance.times {
        let _ = std::fs::remove_dir_all(&bench.out);
        let [mut one, two] = ["1/2", "2/2"].map(|shard| bench.judge(&bench.out, &["--shard", shard]).spawn().unwrap());
        let time = moment(&mut chance, whole);
        if lives_on(&mut one, time) {
            one.kill().unwrap();
            killed += 1;
        }
        one.wait().unwrap();
        let other = two.wait_with_output().unwrap();
        assert!(other.status.success(), "{}", words(&other));
        let before = written(&bench.out);
        assert!(before.len() >= N_PARTS / 2 && drafts(&respondent(&bench.out)).len() <= 1);
        // Cut anew: one process makes what is left.
        succeed(&mut bench.judge(&bench.out, &[]));
        check_finished(&bench.out, &expected, &before);
        assert!(parts(&bench.out) == expected && drafts(&bench.out).is_empty());
    }
    Ok(Outcome { times: killed, lost: "at most one part, the other shard goes on; byte-identical in the end".into() })
}

pub(crate) fn kill_score(mut chance: Chance) -> Tried {
    let bench = Bench::new();
    let [unbroken, out] = ["unbroken", "scores"].map(|name| bench.folder.path().join(name).join("scores.parquet"));
    let score = |out: &Path| bench.score(out, "8");
    let begun = Instant::now();
    succeed(&mut score(&unbroken));
    let (whole, expected) = (begun.elapsed(), std::fs::read(&unbroken).unwrap());
    let (mut killed, mut runs) = (0, 0);
    while killed < chance.times {
        let _ = std::fs::remove_dir_all(out.parent().unwrap());
        loop {
            let time = if killed == chance.times { Duration::MAX } else { moment(&mut chance, whole.mul_f64(1.2)) };
            if !is_killed(&mut score(&out), time) {
                break;
            }
            killed += 1;
            assert!(!out.exists() || std::fs::read(&out).unwrap() == expected, "whole or not there");
        }
        runs += 1;
        assert!(std::fs::read(&out).unwrap() == expected, "the file is that of an unbroken run");
        assert_eq!(files_below(out.parent().unwrap()), std::slice::from_ref(&out), "nothing else is left");
    }
    let lost = format!(
        "never more than the part that was being made; {runs} finished files, all byte-identical to an unbroken one"
    );
    Ok(Outcome { times: killed, lost })
}

pub(crate) fn signals(mut chance: Chance) -> Tried {
    let bench = Bench::new();
    let (whole, expected) = measured(&bench);
    let (mut sent, mut slowest, mut runs) = (0, Duration::ZERO, 0);
    while sent < chance.times {
        let _ = std::fs::remove_dir_all(&bench.out);
        loop {
            let before = written(&bench.out);
            let mut child = bench.judge(&bench.out, &[]).spawn().unwrap();
            // Not before the program listens, which it does first of all: a signal to one that does not yet is a kill.
            let time = whole.mul_f64(0.05).max(Duration::from_millis(100)) + moment(&mut chance, whole);
            if sent == chance.times || !lives_on(&mut child, time) {
                assert!(child.wait().unwrap().success());
                break;
            }
            send(["TERM", "USR1"][sent % 2], &child);
            let asked = Instant::now();
            let output = child.wait_with_output().unwrap();
            slowest = slowest.max(asked.elapsed());
            sent += 1;
            // It may have been done already.
            let code = output.status.code();
            assert!(
                code == Some(75) || (code == Some(0) && parts(&bench.out) == expected),
                "{code:?}: {}",
                words(&output)
            );
            // The draft of a record may be left by an end before the first part; the next run sweeps it.
            assert!(drafts(&respondent(&bench.out)).is_empty(), "an orderly end leaves no half-written part");
            are_the_first(&bench.out);
            check_finished(&bench.out, &expected, &before);
        }
        runs += 1;
        assert!(parts(&bench.out) == expected);
    }
    assert!(slowest < Duration::from_secs(20));
    let slowest = slowest.as_secs_f64();
    let lost = format!("nothing: exit 75 (requeue) within {slowest:.1} s, {runs} data sets byte-identical in the end");
    Ok(Outcome { times: sent, lost })
}

/// A part that takes minutes: many rows, whole prompts, one thread.
pub(crate) fn a_long_part(chance: Chance) -> Tried {
    let bench = Bench::new();
    let concepts = project("data/concepts/things128.csv");
    let study = std::fs::read_to_string(&bench.study).unwrap();
    let study = study.replace("\"concepts.csv\"", &format!("{concepts:?}")).replace("n = 80", "n = 300000");
    std::fs::write(&bench.study, study.replace("part_rows = 4", "part_rows = 1000000")).unwrap();
    let mut slowest = Duration::ZERO;
    for turn in 0..chance.times {
        let mut child = bench.judge(&bench.out, &["--reuse", "off", "--threads", "1"]).spawn().unwrap();
        let record = bench.out.join("judgments/respondent=tiny/.lock");
        let begun = Instant::now();
        while !record.is_file() {
            assert!(begun.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none(), "it judges");
            std::thread::sleep(Duration::from_millis(20));
        }
        if !lives_on(&mut child, Duration::from_secs(5)) {
            return Err(Skipped("this machine was done within five seconds".into()));
        }
        send(["TERM", "USR1"][turn % 2], &child);
        let asked = Instant::now();
        let output = child.wait_with_output().unwrap();
        slowest = slowest.max(asked.elapsed());
        assert_eq!(output.status.code(), Some(75), "{}", words(&output));
        assert!(parts(&bench.out).is_empty());
    }
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
    let lost = format!("the part that was being made: exit 75 after {:.1} s at the latest", slowest.as_secs_f64());
    Ok(Outcome { times: chance.times, lost })
}

pub(crate) fn two_writers(chance: Chance) -> Tried {
    let bench = Bench::new();
    let expected = bench.unbroken();
    let mut refused = 0;
    for _ in 0..chance.times {
        let _ = std::fs::remove_dir_all(&bench.out);
        let both = [(); 2].map(|()| bench.judge(&bench.out, &[]).spawn().unwrap());
        let outputs = both.map(|child| child.wait_with_output().unwrap());
        assert!(outputs.iter().any(|output| output.status.success()));
        for output in outputs.iter().filter(|output| !output.status.success()) {
            assert!(words(output).contains("is being written by another alike process"), "{}", words(output));
            refused += 1;
        }
        assert!(parts(&bench.out) == expected && drafts(&bench.out).is_empty());
    }
    let lost = format!(
        "nothing: {refused} of the second ones were refused by name, the others came after the first and found all parts there"
    );
    Ok(Outcome { times: chance.times, lost })
}
