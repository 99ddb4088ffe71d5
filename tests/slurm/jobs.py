"""What the tests ask of Slurm's own programs, of the cluster that `SLURM_CONF` names."""

import subprocess
import time

POLL_SECONDS = 0.1


def ask(*command: str) -> str:
    """What a program writes; an error with its own words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} exits with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def submit(*options: str) -> str:
    """Hands `sbatch` a job; its id."""
    return ask("sbatch", "--parsable", *options)


def tasks(job: str) -> dict[str, dict[str, str]]:
    """A job's fields by the index of its task; "" is the index of a job that is no array.

    Pending tasks stand together, under "0-7", until Slurm has a reason to tell them apart. There is no accounting, so this
    holds for the five minutes that the controller remembers a finished job.
    """
    records = [
        dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        for line in ask("scontrol", "--oneliner", "show", "job", job).splitlines()
    ]
    return {record.get("ArrayTaskId", ""): record for record in records}


def states(job: str) -> dict[str, str]:
    """The state of each task."""
    return {index: record["JobState"] for index, record in tasks(job).items()}


def wait_until(what: str, holds, seconds: float = 60) -> None:
    """Asks until it holds; a failure that shows the queue when time has passed."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{seconds} s were not enough until {what}\n{ask('squeue', '--array')}")
        time.sleep(POLL_SECONDS)
