"""A study on Slurm: whatever happens to the tasks of its array, the files are those of one process that nothing happened to."""

import os
import random
import re
import signal
import subprocess
import tempfile
import time
import unittest
from collections import Counter
from pathlib import Path

from jobs import POLL_SECONDS, ask, states, wait_until

ROOT = Path(__file__).resolve().parents[2]
ALIKE = ROOT / "target/release/alike"
SEED = 8
SHARDS = 8
LABELS = ("standard", "scoring")
PARTS = 200 // SHARDS  # of each task
OF_EACH_KIND = 4

STUDY = f"""
[study]
name = "small"
seed = 8
[concepts]
path = "{ROOT}/data/concepts/things128.csv"
[triplets]
n = 16000
[[models]]
path = "{ROOT}/tests/it/golden/tiny-llama-standard"
label = "standard"
[[models]]
path = "{ROOT}/tests/it/golden/tiny-llama-scoring"
label = "scoring"
[[simulated]]
label = "coin"
response = "coin-flip"
[judge]
part_rows = 80
self_test = 0
[embed]
loss = ["crowd-kernel"]
dims = 3
[align]
permutations = 99
"""


def cancel(task: str, _: int) -> None:
    ask("scancel", task)


def requeue(task: str, _: int) -> None:
    ask("scontrol", "requeue", task)


def kill(_: str, process: int) -> None:
    os.kill(process, signal.SIGKILL)


def warn(task: str, _: int) -> None:
    """What Slurm does before a time limit."""
    ask("scancel", "--batch", "--signal=USR1", task)


TROUBLES = {"cancelled": cancel, "requeued": requeue, "killed": kill, "warned": warn}


class Study(unittest.TestCase):
    def setUp(self):
        # Nothing in its name may mean anything to bash or sbatch.
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()), "it's \"a\" $HOME #1")
        self.folder.mkdir()
        Path(self.folder, "study.toml").write_text(STUDY)

    def alike(self, *arguments: str) -> str:
        done = subprocess.run([ALIKE, *arguments], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_tasks_cancelled_requeued_killed_and_warned_at_random_moments(self):
        self.alike("run", "study.toml", "--out", "unbroken", "--threads", "1")
        self.alike("slurm", "study.toml", "--out", "out", "--shards", str(SHARDS), "--", "--cpus-per-task=1")
        draw = random.Random(SEED)
        n_tasks = len(LABELS) * SHARDS
        happened, done = Counter(), []
        # Submitted again while too little has happened, and a last time in peace.
        for n_submitted in range(1, 7):
            enough = all(happened[kind] >= OF_EACH_KIND for kind in TROUBLES)
            kinds = [] if enough else [*TROUBLES] * (n_tasks // len(TROUBLES))
            draw.shuffle(kinds)
            judge, finish = self.submit()
            landed = self.trouble(judge, {index: (kind, draw.randrange(PARTS)) for index, kind in enumerate(kinds)})
            happened.update(kind for kind, _ in landed.values())
            done += [n_parts for _, n_parts in landed.values()]
            wait_until("the jobs have ended", lambda: not ask("squeue", "-h", f"--jobs={judge},{finish}"), 120)
            lost = [index for index, (kind, _) in landed.items() if kind in ("cancelled", "killed")]
            for index, state in states(judge).items():
                if int(index) not in lost:
                    self.assertEqual(state, "COMPLETED", self.log(judge, index))
            if enough:
                break

        self.assertEqual(states(finish)[""], "COMPLETED", self.log(finish))
        self.assertTrue(enough, happened)
        self.assertGreater(sum(0 < n_parts < PARTS for n_parts in done), OF_EACH_KIND, "some of it is to happen amid the work")
        unbroken, found = tables(self.folder / "unbroken"), tables(self.folder / "out")
        self.assertEqual(found.keys(), unbroken.keys())
        differ = [name for name in unbroken if found[name] != unbroken[name]]
        self.assertEqual(differ, [])
        self.assertEqual([*self.folder.glob("out/judgments/*/*.tmp")], [])
        self.assertIn("16000 judgments, 200 of 200 parts in 200 files: whole", self.alike("validate", "out"))
        self.assertTrue((self.folder / "out/report.html").is_file())

        starts = sum(log.read_text().count("--- ") for log in self.folder.glob("out/slurm/logs/judge-*"))
        kinds = ", ".join(f"{happened[kind]} {kind}" for kind in TROUBLES)
        print(f"\nSlurm, an array of {n_tasks} tasks: {kinds} at random moments; {n_submitted} submissions, {starts} starts of tasks; "
              f"of {len(unbroken)} tables {len(differ)} differ from an unbroken run's")

    def submit(self) -> list[str]:
        """Submits the study's jobs; the ids of the array and of the job after it."""
        return re.findall(r"job (\d+)", ask("bash", str(self.folder / "out/slurm/submit")))

    def trouble(self, job: str, planned: dict[int, tuple[str, int]]) -> dict[int, tuple[str, int]]:
        """Until the array has ended, has things happen to its tasks: to each once, when so many of its parts are there.

        Returns what happened and how many parts were there, without what came too late."""
        planned, landed = dict(planned), {}
        # Asking Slurm takes longer than a task may, so processes are looked for between two questions.
        while ask("squeue", "-h", f"--jobs={job}"):
            asked = time.monotonic()
            while time.monotonic() < asked + 1:
                for index, process in processes(job).items():
                    n_parts = self.n_parts(index)
                    if index not in planned or n_parts < planned[index][1]:
                        continue
                    kind, _ = planned.pop(index)
                    try:
                        TROUBLES[kind](f"{job}_{index}", process)
                    except (AssertionError, ProcessLookupError):
                        continue  # it had ended
                    landed[index] = (kind, n_parts)
                time.sleep(POLL_SECONDS / 10)
        return landed

    def n_parts(self, task: int) -> int:
        """How many parts of a task are there."""
        label, first = LABELS[task // SHARDS], task % SHARDS * PARTS
        folder = self.folder / f"out/judgments/respondent={label}"
        return sum((folder / f"part-00000-{part:05}.parquet").exists() for part in range(first, first + PARTS))

    def log(self, job: str, index: str | None = None) -> str:
        name = f"finish-{job}.log" if index is None else f"judge-{job}_{index}.log"
        log = self.folder / "out/slurm/logs" / name
        return log.read_text() if log.exists() else f"no {log}"


def tables(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def processes(job: str) -> dict[int, int]:
    """The process of alike in each task of an array that runs."""
    found = {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{process}/exe") == str(ALIKE):
                variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                if f"SLURM_ARRAY_JOB_ID={job}".encode() in variables:
                    index = next(v for v in variables if v.startswith(b"SLURM_ARRAY_TASK_ID="))
                    found[int(index.split(b"=")[1])] = int(process)
        except OSError:
            continue  # it has ended meanwhile
    return found


if __name__ == "__main__":
    unittest.main()
