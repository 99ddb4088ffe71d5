"""The cluster itself: without these, a failure of the tests beside it could be its own."""

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from jobs import ask, states, submit, tasks, wait_until

WITH_SLURM = Path(__file__).with_name("with_slurm.py")

# A task says how often it was started, then waits to be let go (two minutes at most: a test that fails leaves nothing behind).
WAITING_TASK = """#!/bin/bash
echo "${SLURM_RESTART_COUNT:-0}" >> "starts-$SLURM_ARRAY_TASK_ID"
for _ in $(seq 1200); do [ -e go ] && exit 0; sleep 0.1; done
exit 1
"""


class Array(unittest.TestCase):
    def test_eight_tasks_of_which_some_are_requeued_and_some_cancelled(self):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "task.sbatch")
            script.write_text(WAITING_TASK)
            job = submit("--array=0-7", "--requeue", f"--chdir={folder}", "--output=%a.log", str(script))
            wait_until("all tasks run", lambda: set(states(job).values()) == {"RUNNING"} and len(states(job)) == 8)
            wait_until("all have said so", lambda: len(list(Path(folder).glob("starts-*"))) == 8)
            for index in range(3):
                ask("scontrol", "requeue", f"{job}_{index}")
            for index in range(3, 5):
                ask("scancel", f"{job}_{index}")
            Path(folder, "go").touch()
            wait_until("none is left", lambda: not ask("squeue", "--noheader", f"--jobs={job}"))

            ended = tasks(job)
            self.assertEqual(len(ended), 8)
            for index in range(8):
                requeued, cancelled = index < 3, 3 <= index < 5
                task, starts = ended[str(index)], Path(folder, f"starts-{index}").read_text().split()
                self.assertEqual(task["JobState"], "CANCELLED" if cancelled else "COMPLETED", task)
                self.assertEqual(task["Restarts"], "1" if requeued else "0", task)
                self.assertEqual(starts, ["0", "1"] if requeued else ["0"])

    def test_a_job_asks_for_gpus(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            job = submit("--gpus-per-node=2", f"--output={out}", "--wrap", "echo $SLURM_GPUS_ON_NODE")
            wait_until("it has run", lambda: states(job)[""] == "COMPLETED")
            self.assertEqual(out.read_text(), "2\n")


class TakenDown(unittest.TestCase):
    """Another cluster beside the one of these tests, ended in every way that there is."""

    def ended_by(self, number: int | None, command: str) -> int:
        """Runs a shell line in a cluster and sends a signal once it has written `ready`; the exit code. Fails when a
        daemon or a job is still there."""
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)  # munged wants everybody to reach its socket
            environment = os.environ | {"TMPDIR": folder}
            outer = subprocess.Popen([sys.executable, WITH_SLURM, "bash", "-c", command], env=environment, cwd=folder,
                                     stdout=subprocess.DEVNULL, start_new_session=True)
            try:
                if number is not None:
                    ready = Path(folder, "ready")
                    wait_until("the command runs", lambda: ready.exists() or outer.poll() is not None)
                    outer.send_signal(number)
                code = outer.wait(120)
            finally:
                outer.kill()
            wait_until("no process of it is left", lambda: not processes_in(folder), 10)
        return code

    def test_a_command_that_ends_well(self):
        self.assertEqual(self.ended_by(None, "true"), 0)

    def test_a_command_that_fails_with_a_job_running(self):
        job = 'sbatch --array=0-1 --wrap "touch ready; exec sleep 300"; until [ -e ready ]; do sleep 0.1; done; exit 3'
        self.assertEqual(self.ended_by(None, job), 3)

    def test_signals(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(signal=number.name):
                self.assertEqual(self.ended_by(number, "touch ready; exec sleep 300"), code)

    def test_killed(self):
        self.assertEqual(self.ended_by(signal.SIGKILL, "touch ready; exec sleep 5"), -signal.SIGKILL)


def processes_in(folder: str) -> list[str]:
    """Command lines of living processes that name a folder or work in it."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if process.name.isdigit() and (folder in words or process.joinpath("cwd").resolve().is_relative_to(folder)):
                found.append(words)
        except OSError:
            continue  # it has ended meanwhile
    return found


if __name__ == "__main__":
    unittest.main()
