"""alike and its peers on the same requests, one after the other, repeated; prints one table.

    python compare.py TRIPLETS --model DIR --alike PATH --out DIR2 \\
        [--hf DIR] [--genai DIR] [--gguf "FILE [--group N] [--exact]"] ... [--limit N] [--repeats R] [--threads 2]

A peer runs if its weights are named; --gguf may be given several times, with flags of llama_batch.py in the quotes.
Repeats are interleaved (alike, peer, peer, alike, ...), so that a slow spell of the machine meets all of them, and
ratios are taken within a repeat. Batch sizes are looked for in the first repeat only.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from common import Request, peak_rss_mb, read_log_probs, read_requests
from make_requests import write_triplets

HERE = Path(__file__).resolve().parent


@dataclass
class Peer:
    """A script of this folder with its weights."""

    name: str
    script: str
    weights: Path
    size_flag: str | None = None  # its flag for what is done at a time
    arguments: list[str] = field(default_factory=list)

    def run(self, out: Path, threads: int) -> tuple[dict, dict]:
        """The row, and log-probabilities by request."""
        file = out / self.name.replace(" ", "-")
        log_probs = file.with_name(file.name + ".jsonl")
        command = [sys.executable, HERE / self.script, "--requests", out / "requests.jsonl", "--model", self.weights,
                   "--log-probs", log_probs, "--threads", threads, *self.arguments]
        stdout, _ = run(command, file.with_name(file.name + ".log"))
        row = json.loads(stdout.splitlines()[-1])
        if self.size_flag and self.size_flag not in self.arguments:
            self.arguments += [self.size_flag, str(row["batch_size"])]
        return row, read_log_probs(log_probs)


@dataclass
class Alike:
    """`alike judge` on the same triplets."""

    program: Path
    model: Path
    ort: Path | None
    requests: list[Request]
    name: str = "alike"

    def run(self, out: Path, threads: int) -> tuple[dict, dict]:
        command = [self.program, "judge", "--model", self.model, "--triplets", out / "triplets.csv",
                   "--out", out / "alike", "--force", "--json", "--quiet", "--threads", threads]
        if self.ort:
            command += ["--ort", self.ort]
        stdout, usage = run(command, out / "alike.log")
        said = json.loads(stdout)
        # judge_seconds holds everything after loading, from tokenisation to Parquet, but for the self-test.
        row = {"tool": self.name, "version": said["version"], "triplets": said["made"],
               "seconds": said["judge_seconds"], "triplets_per_second": said["triplets_per_second"],
               "load_seconds": said["load_seconds"], "self_test_seconds": said["self_test_seconds"],
               "peak_rss_mb": round(peak_rss_mb(usage)), "threads": threads,
               "runtime": f"onnxruntime {said['runtime']}", "weights": said["precision"],
               "tokens_per_triplet": round(said["tokens_computed"] / said["made"], 1)}
        return row, self._log_probs(out / "alike")

    def _log_probs(self, folder: Path) -> dict[int, tuple[float, float]]:
        import pyarrow.parquet

        columns = ["anchor", "first", "second", "log_prob_first", "log_prob_second"]
        scores = {}
        for part in folder.glob("respondent=*/part-*.parquet"):
            # Read as one file: as a data set, the folder's name would become a column.
            table = pyarrow.parquet.ParquetFile(part).read(columns)
            for *key, first, second in zip(*table.to_pydict().values(), strict=True):
                scores[tuple(key)] = (first, second)
        return {request.id: scores[request.key] for request in self.requests}


def run(command: list, log: Path):
    """Standard output and resource usage of a command that must succeed; its standard error goes to `log`."""
    with open(log, "wb") as errors:
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=errors, text=True)
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), it tells this child's usage alone
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise SystemExit(f"{command[0]} {command[1]} failed with {process.returncode}; {log} ends with:\n{last}")
    return stdout, usage


def difference(ours: dict, theirs: dict) -> dict:
    """Largest and mean absolute difference of log-probabilities (nats), and how many choices differ."""
    gaps = [abs(a - b) for i in ours for a, b in zip(ours[i], theirs[i], strict=True)]
    chose_first = [[scores[i][0] > scores[i][1] for i in ours] for scores in (ours, theirs)]
    return {"max_nats": max(gaps), "mean_nats": sum(gaps) / len(gaps),
            "other_choices": sum(a != b for a, b in zip(*chose_first, strict=True))}


def table(rows: list[dict]) -> str:
    """One line a tool, Markdown. `rows`: one per tool and repeat, alike's among them."""
    rates, lines = {}, []
    for row in rows:
        rates.setdefault(row["name"], []).append(row["triplets_per_second"])
    heads = ["tool", "weights", "at a time", "tokens/triplet", "triplets/s", "least–most", "alike ÷ it", "load s",
             "peak MB", "max nats", "mean nats", "other choices"]
    for row in rows:
        if row["repeat"] > 0:
            continue
        own = rates[row["name"]]
        ratio = statistics.median(a / b for a, b in zip(rates["alike"], own, strict=True))
        same = row["name"] == "alike"
        lines.append([row["name"], row["weights"], row.get("batch_size", ""), row.get("tokens_per_triplet", ""),
                      f"{statistics.median(own):.1f}", f"{min(own):.1f}–{max(own):.1f}", "" if same else f"{ratio:.2f}",
                      f"{row['load_seconds']:.1f}", row["peak_rss_mb"],
                      *(["", "", ""] if same else
                        [f"{row['max_nats']:.1e}", f"{row['mean_nats']:.1e}", row["other_choices"]])])
    cells = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in cells)


def machine(threads: int) -> str:
    """What the numbers hold for; a load above a few tenths means that somebody else was computing too."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, {threads} threads; load before the first run {os.getloadavg()[0]:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("triplets", type=Path, help="CSV or Parquet with anchor, first, second")
    parser.add_argument("--model", type=Path, required=True, help="alike's model folder")
    parser.add_argument("--alike", type=Path, required=True, help="the program")
    parser.add_argument("--ort", type=Path, help="ONNX Runtime library for alike, if not the installed one")
    parser.add_argument("--hf", type=Path, metavar="DIR", help="weights for lm-eval's HF backend")
    parser.add_argument("--batch-size", metavar="N", help="for that backend; the best is looked for unless given")
    parser.add_argument("--genai", type=Path, metavar="DIR", help="weights for lm-eval's ONNX backends")
    parser.add_argument("--gguf", metavar="FILE", action="append", default=[],
                        help='weights for llama.cpp, with flags of llama_batch.py behind them: "f32.gguf --exact"')
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="requests, log-probabilities, logs, rows")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N triplets")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    # In a process of its own: what this one once held, Linux counts as the least peak of every child.
    command = [sys.executable, HERE / "make_requests.py", options.triplets, "--model", options.model,
               "--out", options.out / "requests.jsonl", *(["--limit", options.limit] if options.limit else [])]
    run(command, options.out / "make_requests.log")
    requests = read_requests(options.out / "requests.jsonl")
    write_triplets(options.out / "triplets.csv", requests)

    tools = [Alike(options.alike, options.model, options.ort, requests)]
    if options.hf:
        arguments = ["--batch-size", options.batch_size] if options.batch_size else []
        tools.append(Peer("lm-eval hf", "lm_eval_hf.py", options.hf, "--batch-size", arguments))
    if options.genai:
        tools += [Peer(f"lm-eval {backend}", "lm_eval_genai.py", options.genai, arguments=["--backend", backend])
                  for backend in ("onnxruntime-genai", "onnxruntime")]
    for spec in options.gguf:
        file, *arguments = shlex.split(spec)
        name = " ".join(["llama.cpp", Path(file).stem, *arguments])
        tools.append(Peer(name, "llama_batch.py", Path(file), "--group", arguments))

    print(machine(options.threads), flush=True)
    rows = []
    for repeat in range(options.repeats):
        for tool in tools:
            row, log_probs = tool.run(options.out, options.threads)
            if tool.name == "alike":
                ours = log_probs
            rows.append({"name": tool.name, "repeat": repeat, **row, **difference(ours, log_probs)})
            print(f"{tool.name}: {row['triplets_per_second']:.1f} triplets/s", file=sys.stderr, flush=True)
    with open(options.out / "rows.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    print(f"{len(requests)} triplets, {options.repeats} repeats\n\n{table(rows)}")


if __name__ == "__main__":
    main()
