//! Finished files that are changed behind the program's back.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rand::RngExt;

use crate::bench::{Bench, N_PARTS, check_finished, parts, respondent, words, written};
use crate::{Chance, Outcome, Tried};

/// Does something to a random part of a finished data set, again and again; only that part is made again.
fn damaged(mut chance: Chance, damage: impl Fn(&mut Chance, &PathBuf)) -> Tried {
    let bench = Bench::new();
    let expected = bench.unbroken();
    let out = bench.folder.path().join("unbroken");
    for _ in 0..chance.times {
        let name = format!("part-00000-{:05}.parquet", chance.rng.random_range(0..N_PARTS));
        let path = respondent(&out).join(&name);
        damage(&mut chance, &path);
        let was_there = path.exists();
        let mut others = written(&out);
        others.remove(&name);
        let output = bench.judge(&out, &[]).output().unwrap();
        let words = words(&output);
        assert!(output.status.success(), "{words}");
        assert_eq!(words.matches("it is made again").count(), usize::from(was_there), "{words}");
        check_finished(&out, &expected, &others);
        assert!(parts(&out) == expected);
    }
    let lost = "that part, which is found and made again; no other is touched, byte-identical in the end".into();
    Ok(Outcome { times: chance.times, lost })
}

pub(crate) fn flipped(chance: Chance) -> Tried {
    damaged(chance, |chance, path| {
        let mut bytes = std::fs::read(path).unwrap();
        let at = chance.rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << chance.rng.random_range(0..8);
        std::fs::write(path, bytes).unwrap();
    })
}

pub(crate) fn cut(chance: Chance) -> Tried {
    damaged(chance, |chance, path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes.truncate(chance.rng.random_range(0..bytes.len()));
        std::fs::write(path, bytes).unwrap();
    })
}

pub(crate) fn deleted(chance: Chance) -> Tried {
    damaged(chance, |_, path| std::fs::remove_file(path).unwrap())
}

/// Nothing is decided by a clock: files from the future, or from 1970, are as good as any.
pub(crate) fn dated(chance: Chance) -> Tried {
    let bench = Bench::new();
    let expected = bench.unbroken();
    let out = bench.folder.path().join("unbroken");
    for turn in 0..chance.times {
        for (index, name) in parts(&out).into_keys().enumerate() {
            let far = Duration::from_secs(60 * 60 * 24 * 365 * 40);
            let time = if (index + turn) % 2 == 0 { SystemTime::now() + far } else { SystemTime::UNIX_EPOCH };
            let file = std::fs::File::options().write(true).open(respondent(&out).join(name)).unwrap();
            file.set_modified(time).unwrap();
        }
        let before = written(&out);
        assert!(bench.judge(&out, &[]).output().unwrap().status.success());
        check_finished(&out, &expected, &before);
    }
    Ok(Outcome { times: chance.times, lost: "nothing: no part is written again".into() })
}
