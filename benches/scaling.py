"""What a study costs on many GPUs that are taken away now and then: a cost model fed by measurements, and a simulation of the queue.

    python3 benches/scaling.py            # the tables of docs/scaling.md, between its markers
    python3 benches/scaling.py --write    # and into the file

Standard library only, seeded: the same tables every time. What is measured, and where, is in MEASURED; what is assumed, in ASSUMED.
"""

import argparse
import csv
import heapq
import random
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# benches/gpu/results/2026-11-22-h100.json; benches/gpu/README.md; docs/scaling.md, "what was timed".
MEASURED = {
    "flop_per_triplet_135m": 4.39e9,
    "parameters_135m": 134.5e6,
    "triplets_per_second_135m_fp16_h100": 24_121,
    "tokens_per_triplet": 19.7,
    "part_rows_gpu": 65_536,
    "seconds_to_verify_a_part": 0.6 / 501,
    "bytes_a_judgment": 40,
}
ASSUMED = {
    "bytes_per_parameter": 2,  # fp16
    "read_bytes_per_second": 1e9,  # model from a shared file system
    "hash_bytes_per_second": 1.0e9,  # sha256 of the graph, for the fingerprint
    "start_seconds": 20,  # allocation, container, session, first shapes
    "requeue_seconds": 150,  # Slurm holds a requeued job for 120 s, then comes the next round of scheduling
    "faster_when_large": 2.0,  # the 135M model runs at 106 TFLOP/s of 989, small products; large ones run nearer the ceiling
}


@dataclass(frozen=True)
class Model:
    name: str
    parameters: float
    active: float
    """Of a mixture of experts, those that a token meets: they decide the speed."""

    def rate(self) -> float:
        """Triplets per second on one H100 in fp16."""
        flop = MEASURED["flop_per_triplet_135m"] * self.active / MEASURED["parameters_135m"]
        reached = MEASURED["flop_per_triplet_135m"] * MEASURED["triplets_per_second_135m_fp16_h100"]
        return reached * (ASSUMED["faster_when_large"] if self.active > 1e9 else 1.0) / flop

    def start(self) -> float:
        """Seconds until the first triplet."""
        size = self.parameters * ASSUMED["bytes_per_parameter"]
        return ASSUMED["start_seconds"] + size / ASSUMED["read_bytes_per_second"] + size / ASSUMED["hash_bytes_per_second"]


@dataclass
class Task:
    """A model's shard: how many parts it still has to make, and what each takes."""

    model: Model
    parts: list[float]


@dataclass(frozen=True)
class Outcome:
    hours: float
    gpu_hours: float
    lost: float
    restarts: int


def paper_models() -> list[Model]:
    with open(ROOT / "data/paper/models.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    known = statistics.median(float(row["params_b"]) for row in rows if row["params_b"])
    made = []
    for row in rows:
        parameters = float(row["params_b"] or known)
        made.append(Model(row["model"], parameters * 1e9, float(row["active_params_b"] or parameters) * 1e9))
    # The largest first: what is begun last must not be what takes longest.
    return sorted(made, key=lambda model: -model.active)


def tasks(models: list[Model], triplets: int, shards: int, part_rows: int) -> list[Task]:
    """The array that `alike slurm` writes: models × shards, whole parts to each."""
    made = []
    for model in models:
        n_parts = -(-triplets // part_rows)
        rows = [min(part_rows, triplets - part * part_rows) for part in range(n_parts)]
        for shard in range(shards):
            own = rows[n_parts * shard // shards : n_parts * (shard + 1) // shards]
            if own:
                made.append(Task(model, [n / model.rate() for n in own]))
    return made


def simulate(todo: list[Task], gpus: int, preempted_every: float | None, seed: int) -> Outcome:
    """Tasks in the order of the array, each on the first GPU that is free; a preempted one comes back and makes what is missing."""
    chance = random.Random(seed)
    free = [(0.0, gpu) for gpu in range(gpus)]
    heapq.heapify(free)
    waiting = [(0.0, number, task) for number, task in enumerate(todo)]
    heapq.heapify(waiting)
    end = busy = lost = 0.0
    restarts = 0
    while waiting:
        ready, number, task = heapq.heappop(waiting)
        at, gpu = heapq.heappop(free)
        begin = max(at, ready)
        limit = begin + chance.expovariate(1 / preempted_every) if preempted_every else float("inf")
        now, done = begin + task.model.start(), 0
        for seconds in task.parts:
            if now + seconds > limit:
                break
            now, done = now + seconds, done + 1
        if done < len(task.parts):
            lost += limit - max(min(now, limit), begin + min(task.model.start(), limit - begin))
            restarts += 1
            heapq.heappush(waiting, (limit + ASSUMED["requeue_seconds"], number, Task(task.model, task.parts[done:])))
            now = limit
        busy += now - begin
        end = max(end, now)
        heapq.heappush(free, (now, gpu))
    return Outcome(end / 3600, busy / 3600, lost / 3600, restarts)


def median(todo: list[Task], gpus: int, preempted_every: float | None) -> Outcome:
    runs = [simulate(todo, gpus, preempted_every, seed) for seed in range(25 if preempted_every else 1)]
    middle = lambda field: statistics.median(getattr(run, field) for run in runs)
    return Outcome(middle("hours"), middle("gpu_hours"), middle("lost"), round(middle("restarts")))


def clock(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h"


def table_of_studies() -> str:
    models = paper_models()
    lines = [
        "| study | GPUs | shards a model | undisturbed | preempted every 2 h | GPU hours | work done twice | restarts |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    studies = [("75 models × 35,000", 35_000, 65_536), ("75 models × 1,024,128", 1_024_128, 65_536)]
    for name, triplets, part_rows in studies:
        for gpus, shards in [(1, 1), (8, 1), (64, 1), (64, 4)]:
            if shards > -(-triplets // part_rows):
                part_rows = 8_192
            todo = tasks(models, triplets, shards, part_rows)
            calm, rough = median(todo, gpus, None), median(todo, gpus, 2 * 3600)
            parts = f" (parts of {part_rows:,})" if part_rows != 65_536 else ""
            lines.append(
                f"| {name}{parts} | {gpus} | {shards} | {clock(calm.hours)} | {clock(rough.hours)} | {rough.gpu_hours:.1f} "
                f"| {clock(rough.lost)} | {rough.restarts} |"
            )
    return "\n".join(lines)


def table_of_parts() -> str:
    """The same study with parts of several sizes: what preemption costs, and how many files there are."""
    models = paper_models()
    lines = [
        "| rows a part | files | seconds a part, largest model | preempted every 2 h: done twice | every 20 min: time | done twice |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for part_rows in [2_048, 8_192, 65_536, 262_144]:
        todo = tasks(models, 1_024_128, 4, part_rows)
        files = sum(len(task.parts) for task in todo)
        longest = max(max(task.parts) for task in todo)
        rare, often = median(todo, 64, 2 * 3600), median(todo, 64, 20 * 60)
        lines.append(
            f"| {part_rows:,} | {files:,} | {longest:.0f} | {clock(rare.lost)} | {clock(often.hours)} | {clock(often.lost)} |"
        )
    return "\n".join(lines)


def table_of_active() -> str:
    """1,854 concepts asked in rounds: each waits for the fit of the one before."""
    rounds, triplets, fit_seconds = 20, 50_000, 160.0
    lines = ["| one model of | GPUs | judging | fits and choices | all 20 rounds |", "|---|---:|---:|---:|---:|"]
    for name, parameters in [("0.135 B", 134.5e6), ("7 B", 7e9), ("27 B", 27e9)]:
        model = Model(name, parameters, parameters)
        for gpus in [1, 8]:
            judging = rounds * (model.start() + triplets / model.rate() / gpus)
            fits = rounds * fit_seconds
            lines.append(
                f"| {name} | {gpus} | {clock(judging / 3600)} | {clock(fits / 3600)} | {clock((judging + fits) / 3600)} |"
            )
    return "\n".join(lines)


TABLES = {"studies": table_of_studies, "parts": table_of_parts, "active": table_of_active}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    write = parser.parse_args().write
    page = ROOT / "docs/scaling.md"
    text = page.read_text() if page.exists() else ""
    for name, table in TABLES.items():
        made = table()
        print(f"{name}\n\n{made}\n")
        marked = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = marked.sub(lambda found: f"{found[1]}{made}\n{found[2]}", text)
    if write:
        page.write_text(text)


if __name__ == "__main__":
    main()
