//! The scripts of `alike slurm`, run by bash with programs in the places of alike and Slurm's. On a real Slurm: `make test-slurm`.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::study::small_study;
use crate::support::{fail, succeed, tiny};

/// Writes down its arguments and does what `plan` says: ends with a code, or waits for a signal and names it.
const ALIKE: &str = r#"#!/bin/bash
cd "$(dirname "$0")"
printf '%s\n' "$@" > asked
plan=$(cat plan)
[ "$plan" = wait ] || exit "$plan"
trap 'echo USR1 >> signals; exit 75' USR1
trap 'echo TERM >> signals; exit 75' TERM
touch waiting
for _ in $(seq 1200); do sleep 0.05; done
"#;

/// Ends the job that it is asked to requeue, as Slurm does.
const SCONTROL: &str = r#"#!/bin/bash
if [ "$1" = requeue ]; then echo "$2" >> "$FAKES/requeued"; kill "$PPID"; else echo "MaxArraySize            = $LARGEST"; fi
"#;

const SBATCH: &str = r#"#!/bin/bash
printf '%s\n' "$@" . >> "$FAKES/submitted"; echo "$(wc -l < "$FAKES/submitted");cluster"
"#;

/// Nothing in these may mean anything to bash or sbatch.
const FOLDER: &str = r#"it's "a" $HOME `x` #1 ü"#;

struct Written {
    folder: PathBuf,
    fakes: PathBuf,
    study: PathBuf,
    out: PathBuf,
}

/// A study of two models of three parts each, with its scripts written by a program in a folder of any name; then that program
/// is the fake.
fn written(root: &Path, more: &[&str]) -> Written {
    let (folder, fakes) = (root.join(FOLDER), root.join("fakes"));
    for folder in [&folder, &fakes] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let (study, out) = small_study(&folder, &tiny("scoring"));
    let second = format!("[[models]]\npath = {:?}\nlabel = \"second\"\n[judge]", tiny("standard"));
    let text = std::fs::read_to_string(&study).unwrap().replacen("[judge]", &second, 1);
    std::fs::write(&study, text).unwrap();
    let program = folder.join("alike");
    std::fs::copy(env!("CARGO_BIN_EXE_alike"), &program).unwrap();
    let mut command = Command::new(&program);
    command.arg("slurm").arg(&study).arg("--out").arg(&out).args(more);
    // Another test's child can hold the copy open for writing for a moment, from its fork to its exec.
    let output = loop {
        match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => break output.unwrap(),
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(&program).unwrap();
    for (path, text) in [(program, ALIKE), (fakes.join("scontrol"), SCONTROL), (fakes.join("sbatch"), SBATCH)] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Written { folder, fakes, study, out }
}

impl Written {
    fn script(&self, name: &str) -> PathBuf {
        self.out.join("slurm").join(name)
    }

    fn bash(&self, name: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new("bash");
        let path = format!("{}:{}", self.fakes.display(), std::env::var("PATH").unwrap());
        command.arg(self.script(name)).env("PATH", path).env("FAKES", &self.fakes).env("LARGEST", "1001");
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A task as Slurm starts it.
    fn task(&self, index: usize, more: &[(&str, &str)]) -> Command {
        let mut command = self.bash("judge.sbatch", more);
        command.envs([("SLURM_CPUS_PER_TASK", "3"), ("SLURM_ARRAY_JOB_ID", "70"), ("SLURM_JOB_ID", "71")]);
        command.env("SLURM_ARRAY_TASK_ID", index.to_string());
        command
    }

    /// Starts a task whose alike waits for a signal.
    fn waiting_task(&self) -> Child {
        self.plan("wait");
        let child = self.task(0, &[]).spawn().unwrap();
        let begun = Instant::now();
        while !self.folder.join("waiting").exists() {
            assert!(begun.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(self.folder.join("waiting")).unwrap();
        child
    }

    fn plan(&self, what: &str) {
        std::fs::write(self.folder.join("plan"), what).unwrap();
    }

    /// What alike was last asked to do.
    fn asked(&self) -> Vec<String> {
        lines(&self.folder.join("asked"))
    }

    /// Jobs that were requeued since the last time.
    fn requeued(&self) -> Vec<String> {
        let jobs = lines(&self.fakes.join("requeued"));
        let _ = std::fs::remove_file(self.fakes.join("requeued"));
        jobs
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn signal(name: &str, process: &Child) {
    assert!(Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status().unwrap().success());
}

fn words(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[test]
fn every_task_asks_for_its_share_whatever_the_folder_is_called() {
    let root = tempfile::tempdir().unwrap();
    let written = written(root.path(), &["--shards", "2", "--time", "01:30:00", "--", "--partition=a b", "-A", "me"]);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (study, out) = (text(&written.study), text(&written.out));
    let judge = std::fs::read_to_string(written.script("judge.sbatch")).unwrap();
    for line in ["--array=0-3", "--time=01:30:00", "--job-name=small-judge", "--mem=5G", r"--partition=a\ b -A me"] {
        assert!(judge.contains(&format!("\n#SBATCH {line}\n")), "{line}: {judge}");
    }
    assert!(!judge.contains("--gres") && !judge.contains("--device") && !judge.contains('«'));
    written.plan("0");
    for (index, (shard, label)) in
        [("1/2", "tiny"), ("2/2", "tiny"), ("1/2", "second"), ("2/2", "second")].iter().enumerate()
    {
        let output = written.task(index, &[]).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        assert!(words(&output).contains(&format!("job 70_{index}, start 1: judge")), "{}", words(&output));
        let expected =
            ["judge", &study, "--out", &out, "--only", label, "--shard", shard, "--resume", "--threads", "3"];
        assert_eq!(written.asked(), expected);
    }
    let finish =
        written.bash("finish.sbatch", &[("SLURM_JOB_ID", "80"), ("SLURM_CPUS_PER_TASK", "2")]).output().unwrap();
    assert!(finish.status.success(), "{}", words(&finish));
    assert_eq!(written.asked(), ["run", &study, "--out", &out, "--threads", "2"]);

    let submit = written.bash("submit", &[]).arg("--account=me too").output().unwrap();
    assert!(submit.status.success(), "{}", words(&submit));
    let both = ["--parsable", "--account=me too", "judge.sbatch", ".", "--parsable"];
    let after = ["--dependency=afterok:4", "--kill-on-invalid-dep=yes", "--account=me too", "finish.sbatch", "."];
    assert_eq!(lines(&written.fakes.join("submitted")), [&both[..], &after].concat());
    let submit = written.bash("submit", &[("LARGEST", "3")]).output().unwrap();
    assert!(words(&submit).contains("4 tasks, but arrays have at most 3 here") && submit.status.code() == Some(1));
    assert_eq!(lines(&written.fakes.join("submitted")).len(), 10, "nothing was submitted");
}

#[test]
fn a_task_starts_again_after_75_and_only_then() {
    let root = tempfile::tempdir().unwrap();
    let written = written(root.path(), &["--shards", "2"]);
    for (plan, requeued) in [("0", false), ("1", false), ("2", false), ("137", false), ("75", true), ("138", true)] {
        written.plan(plan);
        let output = written.task(3, &[]).output().unwrap();
        assert_eq!(written.requeued(), if requeued { vec!["70_3"] } else { vec![] }, "{plan}: {}", words(&output));
        let code = (!requeued).then(|| plan.parse().unwrap());
        assert_eq!(output.status.code(), code, "a task that is requeued is ended by Slurm");
    }
    written.plan("75");
    written.bash("finish.sbatch", &[("SLURM_JOB_ID", "80"), ("SLURM_CPUS_PER_TASK", "1")]).output().unwrap();
    assert_eq!(written.requeued(), ["80"]);
    let last = written.task(0, &[("SLURM_RESTART_COUNT", "50")]).output().unwrap();
    assert!(words(&last).contains("start 51 stopped early as well") && last.status.code() == Some(1));
    assert!(written.requeued().is_empty());
}

#[test]
fn a_warning_reaches_alike_and_a_cancellation_is_not_undone() {
    let root = tempfile::tempdir().unwrap();
    let written = written(root.path(), &["--shards", "2"]);
    let task = written.waiting_task();
    signal("USR1", &task);
    let output = task.wait_with_output().unwrap();
    assert_eq!(
        (written.requeued(), lines(&written.folder.join("signals"))),
        (vec!["70_0".into()], vec!["USR1".into()]),
        "{}",
        words(&output)
    );
    // Slurm's SIGTERM comes to both; of alike there is one process below the shell.
    let task = written.waiting_task();
    signal("TERM", &task);
    let children = Command::new("pkill").args(["-TERM", "-P", &task.id().to_string()]).status().unwrap();
    assert!(children.success());
    let output = task.wait_with_output().unwrap();
    assert_eq!((written.requeued().len(), output.status.code()), (0, Some(75)), "{}", words(&output));
    assert_eq!(lines(&written.folder.join("signals")), ["USR1", "TERM"], "once each");
    // A signal that comes before alike is started.
    let script = std::fs::read_to_string(written.script("judge.sbatch")).unwrap();
    std::fs::write(
        written.script("judge.sbatch"),
        script.replacen("prepare() { :; }", "prepare() { kill -USR1 $$; }", 1),
    )
    .unwrap();
    std::fs::remove_file(written.folder.join("asked")).unwrap();
    written.task(0, &[]).output().unwrap();
    assert_eq!((written.requeued(), written.asked().len()), (vec!["70_0".into()], 0));
}

#[test]
fn scripts_are_for_the_models_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let (study, out) = small_study(root.path(), &tiny("scoring"));
    let (study, out) = (study.to_str().unwrap(), out.to_str().unwrap());
    let told = succeed(&["slurm", study, "--out", out, "--only", "tiny", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    // It has three parts, and there are eight shards unless fewer are asked for.
    assert_eq!(told["tasks"], serde_json::json!(["1/3 tiny", "2/3 tiny", "3/3 tiny"]));
    assert_eq!(told["scripts"], serde_json::json!(["judge.sbatch", "submit"]));
    assert!(!std::fs::read_to_string(Path::new(out).join("slurm/submit")).unwrap().contains("finish.sbatch"));
    assert!(fail(&["slurm", study, "--out", out]).contains("judge.sbatch exists already"));
    assert!(fail(&["slurm", study, "--out", "out/%j"]).contains("a folder without %"));
    assert!(fail(&["slurm", study, "--out", out, "--only", "other"]).contains("a model of the study: tiny"));
    assert!(
        fail(&["slurm", study, "--out", out, "--force", "--", "--comment=a\nb"]).contains("cannot stand in a script")
    );

    let on_gpu = std::fs::read_to_string(study).unwrap().replacen(
        "label = \"tiny\"",
        "label = \"tiny\"\nprovider = \"cuda\"",
        1,
    );
    std::fs::write(study, on_gpu).unwrap();
    let judge = || std::fs::read_to_string(Path::new(out).join("slurm/judge.sbatch")).unwrap();
    succeed(&["slurm", study, "--out", out, "--force"]);
    assert!(judge().contains("\n#SBATCH --gres=gpu:1\n") && judge().contains("--resume --device auto)"), "{}", judge());
    succeed(&["slurm", study, "--out", out, "--force", "--", "--gpus-per-node=a100:1"]);
    assert!(judge().contains("\n#SBATCH --gpus-per-node=a100:1\n") && !judge().contains("--gres"), "{}", judge());
}
