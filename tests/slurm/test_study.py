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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from jobs import POLL_SECONDS, ask, states, wait_until

ROOT = Path(__file__).resolve().parents[2]
ALIKE = ROOT / "target/release/alike"
SEED = 8
SHARDS = 8
LABELS = ("standard", "scoring")
PARTS = 200 // SHARDS  # of each task
OF_EACH_KIND = 5
MOST_SUBMISSIONS = 12

STUDY = f"""
[study]
name = "small"
seed = 8
[concepts]
path = "{ROOT}/data/concepts/things128.csv"
[triplets]
n = 8000
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
part_rows = 40
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


def stopped(process: int) -> bool:
    """Stops a process where it is, so that what is to happen to it happens there; false when it has ended."""
    try:
        os.kill(process, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    return True


def happen(kind: str, task: str, process: int) -> None:
    TROUBLES[kind](task, process)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def write_down(document: Path, what: str, times: int, lost: str) -> None:
    """Puts the count into the document, between its two marks."""
    table = f"| what was done | times | what was lost |\n|---|---:|---|\n| {what} | {times} | {lost} |\n\nSeed {SEED}.\n"
    before, rest = document.read_text().split("<!-- slurm -->\n")
    _, after = rest.split("<!-- /slurm -->")
    document.write_text(f"{before}<!-- slurm -->\n{table}<!-- /slurm -->{after}")


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
        happened, draw = Counter(), random.Random(SEED)
        for n_submitted in range(1, MOST_SUBMISSIONS + 1):
            judge, finish = self.submit()
            lost = self.trouble(judge, happened, draw)
            wait_until("the jobs have ended", lambda: not ask("squeue", "-h", f"--jobs={judge},{finish}"), 120)
            for index, state in states(judge).items():
                if int(index) not in lost:
                    self.assertEqual(state, "COMPLETED", self.log(judge, index))
            if not lost:
                break

        self.assertEqual(states(finish)[""], "COMPLETED", self.log(finish))
        self.assertEqual(happened, dict.fromkeys(TROUBLES, OF_EACH_KIND))
        unbroken, found = tables(self.folder / "unbroken"), tables(self.folder / "out")
        self.assertEqual(found.keys(), unbroken.keys())
        differ = [name for name in unbroken if found[name] != unbroken[name]]
        self.assertEqual(differ, [])
        self.assertEqual([*self.folder.glob("out/judgments/*/*.tmp")], [])
        self.assertIn("8000 judgments, 200 of 200 parts in 200 files: whole", self.alike("validate", "out"))
        self.assertTrue((self.folder / "out/report.html").is_file())

        starts = sum(log.read_text().count("--- ") for log in self.folder.glob("out/slurm/logs/judge-*"))
        kinds = ", ".join(f"{happened[kind]} {kind}" for kind in TROUBLES)
        lost = (f"nothing in the end: {n_submitted} submissions, {starts} starts of tasks, and of {len(unbroken)} tables "
                f"{len(differ)} differ from an unbroken run's")
        print(f"\nSlurm, an array of {len(LABELS) * SHARDS} tasks: {kinds} at random moments of their work; {lost}")
        if record := os.environ.get("ALIKE_RECORD"):
            write_down(ROOT / record, f"an array of {len(LABELS) * SHARDS} tasks: {kinds}", sum(happened.values()), lost)

    def submit(self) -> list[str]:
        """Submits the study's jobs; the ids of the array and of the job after it."""
        return re.findall(r"job (\d+)", ask("bash", str(self.folder / "out/slurm/submit")))

    def trouble(self, job: str, happened: Counter, draw: random.Random) -> set[int]:
        """Until the array has ended, has things happen to its tasks, each time that one starts: when so many of its parts are there,
        drawn from those that are missing. Once enough has happened it looks on.

        Returns the tasks that were cancelled or killed."""
        planned, lost, done = {}, set(), []
        with ThreadPoolExecutor() as pool:  # asking Slurm may take longer than a task does
            queue = pool.submit(ask, "squeue", "-h", f"--jobs={job}")
            while not queue.done() or queue.result():
                if queue.done():
                    queue = pool.submit(ask, "squeue", "-h", f"--jobs={job}")
                for index, process in processes(job).items():
                    n_parts, wanted = self.n_parts(index), [kind for kind in TROUBLES if happened[kind] < OF_EACH_KIND]
                    if n_parts == PARTS or not wanted:
                        continue
                    if process not in planned:
                        planned[process] = draw.randrange(n_parts, PARTS)
                    if n_parts >= planned[process] and stopped(process):
                        planned[process], kind = PARTS, draw.choice(wanted)
                        done.append(pool.submit(happen, kind, f"{job}_{index}", process))
                        happened[kind] += 1
                        lost |= {index} if kind in ("cancelled", "killed") else set()
                time.sleep(POLL_SECONDS / 10)
            for one in done:
                one.result()
        return lost

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
