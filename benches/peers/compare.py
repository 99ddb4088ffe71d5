"""alike and its peers on the same requests, one after the other, repeated; prints one table.

    python compare.py TRIPLETS --model DIR --alike PATH --out DIR2 \\
        [--hf DIR] [--genai DIR] [--gguf "FILE [--group N] [--exact]"] ... [--limit N] [--repeats R] [--threads 2] \\
        [--provider cuda] [--json FILE]

A peer runs if its weights are named; --gguf may be given several times, with flags of llama_batch.py in the quotes.
Repeats are interleaved (alike, peer, peer, alike, ...), so that a slow spell of the machine meets all of them, and
ratios are taken within a repeat. Batch sizes are looked for in the first repeat only. `make bench-peers` calls it.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import table
from common import Request, peak_rss_mb, read_log_probs, read_requests
from make_requests import write_triplets

HERE = Path(__file__).resolve().parent
PACKAGES = ["onnxruntime", "onnxruntime-genai", "torch", "transformers", "lm_eval", "llama_cpp_python"]
# What answers the same prompts elsewhere, and what it would take.
LEFT_OUT = [{"name": name, "why": f"not installed, and no script here drives it: it is made for servers with a GPU. There, install it in an "
             f"environment of its own and have it score `requests.jsonl` ({how}), with a row like those of `transformers_batch.py`."}
            for name, how in [("vLLM", "`prompt_logprobs` of prompt and option"), ("SGLang", "`logprob_start_len` before the option")]]


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
        stdout, used = run(command, file.with_name(file.name + ".log"))
        row = json.loads(stdout.splitlines()[-1]) | {"others_cores": used.others_cores}
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
    provider: str = "cpu"
    name: str = "alike"

    def run(self, out: Path, threads: int) -> tuple[dict, dict]:
        command = [self.program, "judge", "--model", self.model, "--triplets", out / "triplets.csv",
                   "--out", out / "alike", "--force", "--json", "--quiet", "--threads", threads,
                   "--provider", self.provider]
        if self.ort:
            command += ["--ort", self.ort]
        stdout, used = run(command, out / "alike.log")
        said = json.loads(stdout)
        # judge_seconds holds everything after loading, from tokenisation to Parquet, but for the self-test.
        row = {"tool": self.name, "version": said["version"], "triplets": said["made"],
               "seconds": said["judge_seconds"], "triplets_per_second": said["triplets_per_second"],
               "load_seconds": said["load_seconds"], "self_test_seconds": said["self_test_seconds"],
               "peak_rss_mb": round(peak_rss_mb(used.usage)), "threads": threads,
               "others_cores": used.others_cores,
               "runtime": f"onnxruntime {said['runtime']}", "weights": said["precision"],
               "tokens_per_triplet": round(said["tokens_computed"] / said["made"], 1)}
        return row, self._log_probs(out / "alike")

    def _log_probs(self, folder: Path) -> dict[int, tuple[float, float]]:
        """Of all requests but those whose options alike closes, since one begins the other: no peer does that."""
        import pyarrow.parquet

        columns = ["anchor", "first", "second", "closed", "log_prob_first", "log_prob_second"]
        scores = {}
        for part in folder.glob("respondent=*/part-*.parquet"):
            # Read as one file: as a data set, the folder's name would become a column.
            rows = pyarrow.parquet.ParquetFile(part).read(columns)
            for *key, closed, first, second in zip(*rows.to_pydict().values(), strict=True):
                scores[tuple(key)] = None if closed else (first, second)
        return {request.id: scores[request.key] for request in self.requests if scores[request.key]}


@dataclass
class Used:
    """What a command used, and what others did meanwhile."""

    usage: object  # resource.struct_rusage
    others_cores: float | None  # in the mean, where the system counts what its processors do


def run(command: list, log: Path) -> tuple[str, Used]:
    """Standard output and resources of a command that must succeed; its standard error goes to `log`."""
    busy, start = busy_seconds(), time.monotonic()
    with open(log, "wb") as errors:
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=errors, text=True)
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), it tells this child's usage alone
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise SystemExit(f"{command[0]} {command[1]} failed with {process.returncode}; {log} ends with:\n{last}")
    others = None
    if busy is not None:
        own = usage.ru_utime + usage.ru_stime
        others = round(max(0.0, busy_seconds() - busy - own) / (time.monotonic() - start), 3)
    return stdout, Used(usage, others)


def busy_seconds() -> float | None:
    """What all processors worked so far, together; None where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, stat.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def difference(ours: dict, theirs: dict) -> dict:
    """Largest and mean absolute difference of log-probabilities (nats), and how many choices differ."""
    gaps = [abs(a - b) for i in ours for a, b in zip(ours[i], theirs[i], strict=True)]
    chose_first = [[scores[i][0] > scores[i][1] for i in ours] for scores in (ours, theirs)]
    return {"compared": len(ours), "max_nats": max(gaps), "mean_nats": sum(gaps) / len(gaps),
            "other_choices": sum(a != b for a, b in zip(*chose_first, strict=True))}


def machine() -> dict:
    """What the numbers hold for; a load above a few tenths means that somebody else was computing too."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gb": round(memory / 1e9, 1), "system": platform.system(),
            "load_before": round(os.getloadavg()[0], 2)}


def versions(rows: list[dict]) -> dict:
    """alike's and its runtime's, as it says; the packages' as installed."""
    ours = rows[0]
    found = {"alike": ours["version"], "its runtime": ours["runtime"], "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return found


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
    parser.add_argument("--provider", choices=["cpu", "cuda"], default="cpu",
                        help="cuda: alike and the peers on torch; the others run on the CPU only, and are left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="machine, versions and every row, for table.py")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    # In a process of its own: what this one once held, Linux counts as the least peak of every child.
    command = [sys.executable, HERE / "make_requests.py", options.triplets, "--model", options.model,
               "--out", options.out / "requests.jsonl", *(["--limit", options.limit] if options.limit else [])]
    run(command, options.out / "make_requests.log")
    requests = read_requests(options.out / "requests.jsonl")
    write_triplets(options.out / "triplets.csv", requests)

    tools, left_out = peers(options, requests)
    before = machine()
    print(f"{before['cpu']}, {before['cores']} cores, {options.threads} threads; load before the first run "
          f"{before['load_before']}", file=sys.stderr, flush=True)
    if before["load_before"] > 0.5:
        print("warning: somebody else is computing here; the rows will say how much", file=sys.stderr, flush=True)
    rows = []
    for repeat in range(options.repeats):
        for tool in tools:
            row, log_probs = tool.run(options.out, options.threads)
            if tool.name == "alike":
                ours = log_probs
            rows.append({"name": tool.name, "repeat": repeat, **row, **difference(ours, log_probs)})
            print(f"{tool.name}: {row['triplets_per_second']:.1f} triplets/s", file=sys.stderr, flush=True)
    results = {"schema": table.SCHEMA, "date": time.strftime("%Y-%m-%d"), "machine": before, "model": options.model.name,
               "provider": options.provider, "threads": options.threads, "n_triplets": len(requests),
               "n_repeats": options.repeats, "versions": versions(rows), "rows": rows, "left_out": left_out}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table.long(results))


def peers(options, requests) -> tuple[list, list[dict]]:
    """alike and the peers whose weights are named; and what is left out, with the reason."""
    tools, left_out = [Alike(options.alike, options.model, options.ort, requests, options.provider)], list(LEFT_OUT)
    if options.hf:
        device = ["--device", options.provider]
        chosen = ["--batch-size", options.batch_size] if options.batch_size else []
        tools += [Peer("lm-eval hf", "lm_eval_hf.py", options.hf, "--batch-size", [*device, *chosen]),
                  Peer("transformers", "transformers_batch.py", options.hf, "--batch-size", [*device, *chosen])]
    on_cpu = []
    if options.genai:
        on_cpu += [Peer(f"lm-eval {backend}", "lm_eval_genai.py", options.genai, arguments=["--backend", backend])
                   for backend in ("onnxruntime-genai", "onnxruntime")]
        on_cpu.append(Peer("onnxruntime-genai", "genai_batch.py", options.genai, "--at-a-time"))
    for spec in options.gguf:
        file, *arguments = shlex.split(spec)
        name = " ".join(["llama.cpp", Path(file).stem, *arguments])
        on_cpu.append(Peer(name, "llama_batch.py", Path(file), "--group", arguments))
    if options.provider == "cpu":
        return tools + on_cpu, left_out
    return tools, left_out + [{"name": tool.name, "why": "runs on the CPU only here"} for tool in on_cpu]


if __name__ == "__main__":
    main()
