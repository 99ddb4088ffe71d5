"""What all peers share: requests in, log-probabilities out, and one row of numbers."""

import argparse
import json
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """One presentation: the whole prompt as text, and the two options that may follow it."""

    id: int
    anchor: str
    prompt: str
    choices: tuple[str, str]

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies a presentation in alike's judgments."""
        return (self.anchor, *self.choices)


def read_requests(path: Path) -> list[Request]:
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Request(row["id"], row["anchor"], row["prompt"], tuple(row["choices"])) for row in rows]


def write_requests(path: Path, requests: list[Request]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for r in requests:
            row = {"id": r.id, "anchor": r.anchor, "prompt": r.prompt, "choices": r.choices}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_log_probs(path: Path) -> dict[int, tuple[float, float]]:
    """By request: log-probabilities (nats) of the first and the second option."""
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {row["id"]: (row["log_prob_first"], row["log_prob_second"]) for row in rows}


def peer_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--requests", type=Path, required=True, help="written by make_requests.py")
    parser.add_argument("--model", type=Path, required=True, help="the weights, in the form this peer reads")
    parser.add_argument("--log-probs", type=Path, required=True, metavar="FILE", help="output, one JSON line a request")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def torch_options(description: str, batch_sizes: dict[str, list[int]]) -> argparse.Namespace:
    """The flags of a peer on torch, which is not to be imported before: OpenMP reads the threads once, when torch loads."""
    parser = peer_parser(description)
    parser.add_argument("--device", choices=list(batch_sizes), default="cpu")
    parser.add_argument("--batch-size", default="auto-best", metavar="N",
                        help=f"sequences in a batch; auto-best (default): the fastest of {batch_sizes} on a sample")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    return options


def fastest(wanted: str, sizes: list[int], rate) -> tuple[int, dict[int, float]]:
    """The size asked for; for `auto-best` the one of `sizes` with the highest `rate(size)`, and all rates."""
    if wanted != "auto-best":
        return int(wanted), {}
    rates = {}
    for size in sizes:
        rates[size] = round(rate(size), 3)
        print(f"{size} at a time: {rates[size]} triplets/s", file=sys.stderr)
    return max(rates, key=rates.get), rates


def finish(options, requests, log_probs, *, tool: str, version: str, seconds: float, load_seconds: float,
           **details) -> None:
    """Writes the log-probabilities, in the order of the requests, and prints the row."""
    with open(options.log_probs, "w", encoding="utf-8") as file:
        for request, (first, second) in zip(requests, log_probs, strict=True):
            row = {"id": request.id, "log_prob_first": first, "log_prob_second": second}
            file.write(json.dumps(row) + "\n")
    print(json.dumps({
        "tool": tool, "version": version, "triplets": len(requests), "seconds": round(seconds, 3),
        "triplets_per_second": round(len(requests) / seconds, 3), "load_seconds": round(load_seconds, 3),
        "peak_rss_mb": round(peak_rss_mb(resource.getrusage(resource.RUSAGE_SELF))), "threads": options.threads,
        **details,
    }))


def peak_rss_mb(usage) -> float:
    """Largest resident set; Linux counts it in KiB, macOS in bytes."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
