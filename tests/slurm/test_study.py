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

STUDY = f"""
[study]
name = "small"
seed = 8
[concepts]
path = "{ROOT}/data/concepts/things128.csv"
[triplets]
n = 6000
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
part_rows = 50
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
        n_tasks = 2 * SHARDS
        kinds = [*TROUBLES] * (n_tasks // len(TROUBLES))
        draw.shuffle(kinds)
        # In the first round something happens to every task, in the second to some, in the third to none.
        rounds = [dict(enumerate(kinds)), dict(zip(draw.sample(range(n_tasks), len(TROUBLES)), TROUBLES)), {}]
        happened, moments = Counter(), []
        for planned in rounds:
            judge, finish = self.submit()
            landed, parts = self.trouble(judge, {index: (kind, draw.uniform(0, 2)) for index, kind in planned.items()})
            happened.update(landed.values())
            moments += parts
            wait_until("the jobs have ended", lambda: not ask("squeue", "-h", f"--jobs={judge},{finish}"), 120)
            failed = [index for index, kind in landed.items() if kind in ("cancelled", "killed")]
            for index, state in states(judge).items():
                if int(index) not in failed:
                    self.assertEqual(state, "COMPLETED", self.log(judge, index))
            if not failed:
                self.assertEqual(states(finish)[""], "COMPLETED", self.log(finish))

        self.assertEqual(states(finish)[""], "COMPLETED")
        for kind in TROUBLES:
            self.assertGreaterEqual(happened[kind], 3, happened)
        self.assertGreater(sum(0 < part < 1 for part in moments), 8, "most of it is to happen amid the work")
        unbroken, found = tables(self.folder / "unbroken"), tables(self.folder / "out")
        self.assertEqual(found.keys(), unbroken.keys())
        differ = [name for name in unbroken if found[name] != unbroken[name]]
        self.assertEqual(differ, [])
        self.assertEqual([*self.folder.glob("out/judgments/*/*.tmp")], [])
        self.assertIn("6000 judgments, 120 of 120 parts in 120 files: whole", self.alike("validate", "out"))
        self.assertTrue((self.folder / "out/report.html").is_file())

        starts = sum(log.read_text().count("--- ") for log in self.folder.glob("out/slurm/logs/judge-*"))
        kinds = ", ".join(f"{happened[kind]} {kind}" for kind in TROUBLES)
        print(f"\nSlurm, an array of {n_tasks} tasks: {kinds} at random moments; {len(rounds)} submissions, {starts} starts of tasks; "
              f"of {len(unbroken)} tables {len(differ)} differ from an unbroken run's")

    def submit(self) -> list[str]:
        """Submits the study's jobs; the ids of the array and of the job after it."""
        return re.findall(r"job (\d+)", ask("bash", str(self.folder / "out/slurm/submit")))

    def trouble(self, job: str, planned: dict[int, tuple[str, float]]) -> tuple[dict[int, str], list[float]]:
        """Until the array has ended, has things happen to its tasks, so many seconds after each one's first start.

        Returns what happened, without what came too late, and which share of the judgments was there then."""
        planned, seen, landed, shares = dict(planned), {}, {}, []
        while ask("squeue", "-h", f"--jobs={job}"):
            for index, process in processes(job).items():
                begun = seen.setdefault(index, time.monotonic())
                if index not in planned or time.monotonic() < begun + planned[index][1]:
                    continue
                kind, _ = planned.pop(index)
                n_parts = len([*self.folder.glob("out/judgments/respondent=s*/*.parquet")])
                try:
                    TROUBLES[kind](f"{job}_{index}", process)
                except (AssertionError, ProcessLookupError):
                    continue  # it had ended
                landed[index] = kind
                shares.append(n_parts / (2 * 120))
            time.sleep(POLL_SECONDS / 4)
        return landed, shares

    def log(self, job: str, index: str | None = None) -> str:
        name = f"finish-{job}.log" if index is None else f"judge-{job}_{index}.log"
        log = self.folder / "out/slurm/logs" / name
        return log.read_text() if log.exists() else f"no {log}"


def tables(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def processes(job: str) -> dict[int, int]:
    """The process of alike in each task of an array that runs."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and process.joinpath("exe").resolve() == ALIKE:
                variables = process.joinpath("environ").read_bytes().split(b"\0")
                if f"SLURM_ARRAY_JOB_ID={job}".encode() in variables:
                    index = next(v for v in variables if v.startswith(b"SLURM_ARRAY_TASK_ID="))
                    found[int(index.split(b"=")[1])] = int(process.name)
        except OSError:
            continue  # it has ended meanwhile
    return found


if __name__ == "__main__":
    unittest.main()
