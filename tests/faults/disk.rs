//! Places that cannot be written, or not any more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Bench, alike, drafts, fail, files_below, parts, respondent, succeed, text, whole_tables, words};
use crate::{Chance, Outcome, Skipped, Tried};

/// A small file system in memory; gone with it.
struct Disk(PathBuf);

impl Disk {
    fn new(place: PathBuf, options: &str) -> Result<Self, Skipped> {
        std::fs::create_dir_all(&place).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(&place).status();
        if mounted.is_ok_and(|status| status.success()) {
            Ok(Self(place))
        } else {
            Err(Skipped("this system gives no private file system (unshare -rm, mount)".into()))
        }
    }

    /// Kibibytes that are taken.
    fn used_kib(&self) -> u64 {
        let output = Command::new("df").args(["--output=used", "--block-size=1024"]).arg(&self.0).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        words.lines().last().unwrap().trim().parse().unwrap()
    }

    fn remount(&self, options: &str) {
        let again = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &again, "none"]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn disk(chance: &Chance, bench: &Bench, options: &str) -> Result<Disk, Skipped> {
    if !chance.mounts {
        return Err(Skipped("this system gives no private mounts (unshare -rm)".into()));
    }
    Disk::new(bench.folder.path().join("disk"), options)
}

/// Kibibytes that a folder takes on a file system of pages of 4 KiB.
fn kib(folder: &Path) -> u64 {
    let pages = |path: &PathBuf| std::fs::metadata(path).unwrap().len().div_ceil(4096) + 1;
    files_below(folder).iter().map(pages).sum::<u64>() * 4
}

/// Parquet files of a folder by their paths in it.
fn tables(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let tables = files_below(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "parquet"));
    tables.map(|path| (path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

/// Runs a command on a disk that grows from nothing to more than is needed, in steps. Each failure names a file and says that there
/// is no space; what is left is whole; the next step goes on with it. Returns how often it failed.
fn grown(disk: &Disk, from: u64, enough: u64, steps: usize, command: &dyn Fn() -> Command, check: &dyn Fn()) -> usize {
    let step = ((enough - from) / u64::try_from(steps).unwrap()).max(4).next_multiple_of(4);
    for (failed, size) in (0..).map(|n| from + n * step).enumerate() {
        disk.remount(&format!("size={}k", size.max(4)));
        let mut command = command();
        let output = command.output().unwrap();
        let words = words(&output);
        check();
        assert!(drafts(&disk.0).is_empty(), "nothing half-written is left\n{words}");
        whole_tables(&disk.0);
        if output.status.success() {
            return failed;
        }
        assert_eq!(output.status.code(), Some(1), "{command:?}\n{words}");
        assert!(words.contains("No space left on device") && words.contains("free some space"), "{words}");
        assert!(words.contains(text(&disk.0)), "the file is named: {words}");
        assert!(size < 4 * enough, "{size} KiB are enough: {words}");
    }
    unreachable!("it ends when it succeeds")
}

pub(crate) fn full_for_judge(chance: Chance) -> Tried {
    let bench = Bench::new();
    let disk = disk(&chance, &bench, "size=4k")?;
    let expected = bench.unbroken();
    let out = disk.0.join("out");
    let enough = kib(&bench.folder.path().join("unbroken"));
    let failed = grown(&disk, 0, enough, chance.times, &|| bench.judge(&out, &[]), &|| {
        parts(&out).iter().for_each(|(name, bytes)| assert!(expected.get(name) == Some(bytes), "{name}"));
    });
    assert!(parts(&out) == expected);
    Ok(Outcome { times: failed, lost: LOST.into() })
}

const LOST: &str = "what was being written; the error names the file and says `No space left`, the next step goes on, byte-identical in the end";

pub(crate) fn full_for_run(chance: Chance) -> Tried {
    let bench = Bench::new();
    let disk = disk(&chance, &bench, "size=4k")?;
    let run = |out: &Path| alike(&["run", text(&bench.study), "--out", text(out)]);
    let whole = bench.folder.path().join("whole");
    succeed(&mut run(&whole));
    let out = disk.0.join("out");
    let failed = grown(&disk, 0, kib(&whole), chance.times, &|| run(&out), &|| {});
    assert!(tables(&out) == tables(&whole), "the tables are those of an unbroken run");
    let names = |folder: &Path| {
        files_below(folder).iter().map(|p| p.strip_prefix(folder).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&out), names(&whole));
    Ok(Outcome { times: failed, lost: LOST.into() })
}

pub(crate) fn full_for_compact(chance: Chance) -> Tried {
    let bench = Bench::new();
    let disk = disk(&chance, &bench, "size=16m")?;
    let expected = bench.unbroken();
    let unbroken = bench.folder.path().join("unbroken");
    let out = disk.0.join("out");
    succeed(&mut bench.judge(&out, &[]));
    let compact = |out: &Path| alike(&["compact", text(&respondent(out)), "--rows", "16"]);
    succeed(&mut compact(&unbroken));
    let taken = disk.used_kib();
    let failed = grown(&disk, taken, taken + kib(&respondent(&unbroken)), chance.times, &|| compact(&out), &|| {
        // Either all of the old files or all of the new ones.
        let now = parts(&out);
        assert!(now == expected || now == parts(&unbroken));
        assert!(!respondent(&out).parent().unwrap().join(".respondent=tiny.compact").exists());
    });
    assert!(parts(&out) == parts(&unbroken) && parts(&out).len() < expected.len());
    Ok(Outcome { times: failed, lost: "nothing: all of the old files stay until all of the new ones are there".into() })
}

pub(crate) fn full_for_bootstrap(chance: Chance) -> Tried {
    let bench = Bench::new();
    let disk = disk(&chance, &bench, "size=4k")?;
    bench.unbroken();
    let judged = respondent(&bench.folder.path().join("unbroken"));
    let embed = |place: &Path| {
        alike(&[
            "embed",
            text(&judged),
            "--dims",
            "2",
            "--loss",
            "crowd-kernel",
            "--bootstrap",
            "40",
            "--out",
            text(place),
            "--force",
        ])
    };
    let whole = bench.folder.path().join("whole");
    succeed(&mut embed(&whole.join("e.parquet")));
    let place = disk.0.join("e.parquet");
    let failed = grown(&disk, 0, kib(&whole), chance.times, &|| embed(&place), &|| {});
    assert!(tables(&disk.0) == tables(&whole));
    Ok(Outcome {
        times: failed,
        lost: "what was being written; the same command makes both files, byte-identical".into(),
    })
}

pub(crate) fn full_for_score(chance: Chance) -> Tried {
    let bench = Bench::new();
    let disk = disk(&chance, &bench, "size=4k")?;
    let whole = bench.folder.path().join("whole");
    succeed(&mut bench.score(&whole.join("scores.parquet"), "64"));
    let place = disk.0.join("scores.parquet");
    // Five parts, each with a footer of its own, and beside them what they are put together to.
    let failed = grown(&disk, 0, 4 * kib(&whole), chance.times, &|| bench.score(&place, "64"), &|| {});
    assert!(tables(&disk.0) == tables(&whole));
    Ok(Outcome {
        times: failed,
        lost: "what was being written; the next step goes on, byte-identical in the end".into(),
    })
}

pub(crate) fn read_only(chance: Chance) -> Tried {
    let bench = Bench::new();
    let disk = disk(&chance, &bench, "size=16m")?;
    let out = disk.0.join("out");
    succeed(&mut bench.judge(&out, &["--shard", "1/2"]));
    let before = tables(&disk.0);
    disk.remount("ro");
    let commands = [
        bench.judge(&out, &[]),
        bench.judge(&disk.0.join("other"), &[]),
        alike(&["run", text(&bench.study), "--out", text(&out)]),
        alike(&["run", text(&bench.study), "--out", text(&disk.0.join("other"))]),
        alike(&["report", text(&out)]),
        alike(&["embed", text(&respondent(&out)), "--dims", "2", "--out", text(&disk.0.join("e.parquet"))]),
    ];
    let times = commands.len();
    for mut command in commands {
        let words = fail(&mut command);
        // A page of a folder without results is refused before it is written.
        let told = words.contains("Read-only file system") && words.contains(text(&disk.0));
        assert!(told || format!("{command:?}").contains("report"), "{command:?}: {words}");
        assert!(tables(&disk.0) == before);
    }
    // What only reads goes on.
    let output = alike(&["validate", text(&out)]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("missing"), "{}", words(&output));
    disk.remount("rw");
    succeed(&mut bench.judge(&out, &[]));
    assert!(parts(&out) == bench.unbroken());
    Ok(Outcome { times, lost: "nothing: refused with the file's name before any work".into() })
}

pub(crate) fn out_is_a_file(_: Chance) -> Tried {
    let bench = Bench::new();
    let file = bench.folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let mut times = 0;
    for out in [file.clone(), file.join("below")] {
        for mut command in [bench.judge(&out, &[]), alike(&["run", text(&bench.study), "--out", text(&out)])] {
            let words = fail(&mut command);
            assert!(words.contains(text(&file)), "{words}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
            times += 1;
        }
    }
    Ok(Outcome { times, lost: "nothing: refused by name, the file is as it was".into() })
}

pub(crate) fn out_is_a_link(chance: Chance) -> Tried {
    let bench = Bench::new();
    let disk = disk(&chance, &bench, "size=16m")?;
    let expected = bench.unbroken();
    std::fs::create_dir(disk.0.join("there")).unwrap();
    std::os::unix::fs::symlink(disk.0.join("there"), &bench.out).unwrap();
    let mut child = bench.judge(&bench.out, &[]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    child.kill().unwrap();
    child.wait().unwrap();
    succeed(&mut bench.judge(&bench.out, &[]));
    assert!(parts(&bench.out) == expected && parts(&disk.0.join("there")) == expected);
    succeed(&mut alike(&["compact", text(&bench.out.join("judgments")), "--rows", "16"]));
    succeed(&mut alike(&["validate", text(&bench.out)]));
    assert!(std::fs::symlink_metadata(&bench.out).unwrap().is_symlink() && parts(&bench.out).len() < expected.len());
    Ok(Outcome {
        times: 1,
        lost: "nothing: drafts lie beside their place, so that renaming never leaves a file system".into(),
    })
}
