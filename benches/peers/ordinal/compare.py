"""Crowd-kernel fits of alike, one-thread numpy and cblearn on the same simulated triplets, in one run.

    python benches/peers/ordinal/compare.py                      128 concepts, 28,000 triplets
    python benches/peers/ordinal/compare.py --concepts 1854 --triplets 800000 --cap 900

    python benches/peers/ordinal/compare.py --concepts 1854 --triplets 800000 --iterations 5

Each fit is a process of its own; seconds are of the fit alone, read and written files not among them. The objective is the
mean loss, computed by the same lines for every peer. alike stops at `relative decrease 1e-7` three times in a row as it
always does; further rows are its way down to the loss where each peer ended, from the preparation of the triplets on.
`--iterations` ends cblearn there: a fit that would take an hour is compared by how far it got. Needs `requirements.txt` beside this file, and cargo.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def simulated(n: int, m: int, seed: int) -> np.ndarray:
    """[m, 3] of (anchor, closer, farther): ten dimensions of falling weight, logistic in distance, 88 % agreement."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 10)) * 0.8 ** np.arange(10)
    asked = np.empty((0, 3), np.int64)
    while len(asked) < m:
        more = rng.integers(0, n, (2 * m, 3))
        different = (more[:, 0] != more[:, 1]) & (more[:, 0] != more[:, 2]) & (more[:, 1] < more[:, 2])
        asked = np.unique(np.concatenate([asked, more[different]]), axis=0)
    asked = asked[rng.permutation(len(asked))[:m]]
    dist = [np.linalg.norm(x[asked[:, 0]] - x[asked[:, k]], axis=1) for k in (1, 2)]
    gap = dist[1] - dist[0]
    low, high = 1e-3, 10.0
    for _ in range(60):
        tau = (low * high) ** 0.5
        agreement = np.mean(1 / (1 + np.exp(-np.abs(gap) / tau)))
        low, high = (tau, high) if agreement > 0.88 else (low, tau)
    first = rng.random(m) < 1 / (1 + np.exp(-np.clip(gap / tau, -700, 700)))
    return np.where(first[:, None], asked, asked[:, [0, 2, 1]])


def in_python(which: str, path: str, dims: int, mu: float, ftol: float, iterations: int) -> None:
    """Runs one peer in this process and prints what it took."""
    triplets = np.loadtxt(path, dtype=np.int64)
    n = int(triplets.max()) + 1
    if which == "numpy":
        from numpy_lbfgs import fit

        run = lambda: fit(triplets, n, dims, mu, 1, ftol)  # noqa: E731
        runs = 5 if len(triplets) < 100_000 else 1
    else:
        from cblearn.embedding import CKL

        model = CKL(n_components=dims, mu=mu, backend="scipy", random_state=1, max_iter=iterations)
        run = lambda: (model.fit(triplets, n_objects=n).embedding_, model.n_iter_)  # noqa: E731
        runs = 1
    seconds, cpu = [], []
    for _ in range(runs):
        wall, used = time.perf_counter(), time.process_time()
        x, evaluations = run()
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - used)
    from numpy_lbfgs import objective

    value = objective(triplets, n, dims, mu)(np.ascontiguousarray(x).ravel())[0]
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": min(seconds), "cpu": min(cpu), "objective": value, "evaluations": evaluations, "rss": rss}))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--concepts", type=int, default=128)
    arguments.add_argument("--triplets", type=int, default=28_000)
    arguments.add_argument("--dims", type=int, default=30)
    arguments.add_argument("--mu", type=float, default=0.05)
    arguments.add_argument("--ftol", type=float, default=4e-8, help="numpy's; cblearn keeps its own")
    arguments.add_argument("--iterations", type=int, default=2_000, help="that cblearn may take")
    arguments.add_argument("--cap", type=float, default=900, help="seconds that a peer may take")
    arguments.add_argument("--skip-cblearn", action="store_true")
    arguments.add_argument("--peer", help=argparse.SUPPRESS)
    arguments.add_argument("--file", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.peer:
        return in_python(given.peer, given.file, given.dims, given.mu, given.ftol, given.iterations)

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "triplets.txt")
        np.savetxt(path, simulated(given.concepts, given.triplets, 1), fmt="%d")
        build = ["cargo", "bench", "--bench", "mathematics", "--no-run"]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        peers = {}
        for peer in ["numpy"] + ["cblearn"] * (not given.skip_cblearn):
            command = [sys.executable, __file__, "--peer", peer, "--file", path, "--dims", str(given.dims)]
            command += ["--mu", str(given.mu), "--ftol", str(given.ftol), "--iterations", str(given.iterations)]
            one_thread = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
            try:
                done = subprocess.run(
                    command, check=True, capture_output=True, text=True, timeout=given.cap, env={**os.environ, **one_thread}
                )
                peers[peer] = json.loads(done.stdout.strip().splitlines()[-1])
            except subprocess.TimeoutExpired:
                print(f"{peer}: stopped after {given.cap} s")
        rows = []
        for threads in (1, 0):
            command = ["cargo", "bench", "--bench", "mathematics", "--", "file", path, str(given.dims), str(given.mu), str(threads)]
            command += [repr(row["objective"]) for row in peers.values()]
            said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            name = f"alike, {threads or os.cpu_count()} threads"
            found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
            rows.append((name, found[0], ""))
            for (peer, ended), row in zip(peers.items(), found[1:], strict=True):
                rows.append((f"{name}, to the loss of {peer}", row, f"{ended['seconds'] / row['seconds']:.1f}"))
        rows += [(f"{peer}, 1 thread", row, "") for peer, row in peers.items()]
    print(f"{given.concepts} concepts, {given.triplets} triplets, {given.dims} dimensions, mu {given.mu}")
    print("| fit | wall s | CPU s | evaluations (cblearn: iterations) | mean loss | peak RSS MB | times as fast as that peer |")
    print("|---|---|---|---|---|---|---|")
    for name, row, ratio in rows:
        numbers = f"{row['seconds']:.4f} | {row['cpu']:.4f} | {row['evaluations']} | {row['objective']:.7f} | {row['rss']:.0f}"
        print(f"| {name} | {numbers} | {ratio} |")


if __name__ == "__main__":
    main()
