"""SPoSE as published (torch, minibatch Adam) and alike's on the same odd-one-out answers.

    python benches/peers/ordinal/spose.py --alike target/release/alike --epochs 200      # numpy, torch; OMP_NUM_THREADS=1 for one thread

The torch side is a short form of the published training loop (ViCCo-Group/SPoSE, train.py): W begins at N(0.1, 0.01), the loss of a batch of 128 is the mean
softmax cross-entropy + lambda / n_concepts * sum |W| + 0.01 * sum relu(-W), and Adam has a learning rate of 0.001. No package on PyPI offers it. Batches are drawn by
indexing a tensor: the published loader multiplies one-hot rows, which is slower. Answers are drawn from planted weights; both sides fit all of them (nothing held
out), and both objectives are the same number, mean cross-entropy + lambda / n_concepts * sum W in float64, torch's at max(0, W).
"""
import argparse
import json
import pathlib
import resource
import subprocess
import tempfile
import time

import numpy as np
import torch


def planted(n, d, rng):
    """A quarter of the weights lie between 0.3 and 1.5, the others are zero."""
    return np.where(rng.random((n, d)) < 0.25, 0.3 + 1.2 * rng.random((n, d)), 0.0)


def answers(w, m, rng):
    """m different triplets, each as (i, j, odd one): [m, 3]."""
    ids = set()
    while len(ids) < m:
        ids.add(tuple(sorted(rng.choice(len(w), 3, replace=False).tolist())))
    triplets = np.array(sorted(ids))
    i, j, k = triplets.T
    dots = np.stack([(w[a] * w[b]).sum(1) for a, b in [(j, k), (i, k), (i, j)]], 1)
    p = np.exp(dots) / np.exp(dots).sum(1, keepdims=True)
    odd = (rng.random((m, 1)) > p.cumsum(1)).sum(1).clip(max=2)
    rest = np.array([[1, 2, 0], [0, 2, 1], [0, 1, 2]])[odd]
    return np.take_along_axis(triplets, rest, 1)


def objective(w, triplets, lam):
    i, j, k = triplets.T
    dots = np.stack([(w[a] * w[b]).sum(1) for a, b in [(i, j), (i, k), (j, k)]], 1)
    most = dots.max(1)
    loss = np.log(np.exp(dots - most[:, None]).sum(1)) + most - dots[:, 0]
    return loss.mean() + lam / len(w) * np.abs(w).sum()


def fit_torch(triplets, n, d, lam, epochs, seed):
    torch.manual_seed(seed)
    w = torch.nn.Parameter(torch.empty(n, d).normal_(0.1, 0.01))
    adam = torch.optim.Adam([w], lr=0.001)
    data = torch.from_numpy(triplets)
    for epoch in range(epochs):
        for batch in data[torch.randperm(len(data))].split(128):
            adam.zero_grad()
            x, y, z = w[batch[:, 0]], w[batch[:, 1]], w[batch[:, 2]]
            dots = torch.stack([(x * y).sum(1), (x * z).sum(1), (y * z).sum(1)], 1)
            loss = torch.nn.functional.cross_entropy(dots, torch.zeros(len(batch), dtype=torch.long))
            loss = loss + lam / n * w.abs().sum() + 0.01 * torch.relu(-w).sum()
            loss.backward()
            adam.step()
        if (epoch + 1) % 25 == 0:
            yield epoch + 1, w.detach().numpy().astype(float).clip(min=0.0)


def matched(truth, w):
    """Of each planted dimension, the largest absolute correlation with one found."""
    kept = w[:, w.max(0) > 0.1]
    r = np.corrcoef(truth.T, kept.T)[: truth.shape[1], truth.shape[1] :]
    return np.abs(r).max(1)


def cpu_seconds(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alike", help="the program; without it only torch runs")
    parser.add_argument("--concepts", type=int, default=128)
    parser.add_argument("--answers", type=int, default=28_000)
    parser.add_argument("--dims", type=int, default=20)
    parser.add_argument("--rate", type=float, default=4.0, help="lambda = rate * concepts / answers")
    parser.add_argument("--epochs", type=int, default=200)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    truth = planted(args.concepts, 10, rng)
    triplets = answers(truth, args.answers, rng)
    lam = args.rate * args.concepts / args.answers
    print(f"{args.concepts} concepts, {args.answers} answers, {args.dims} dimensions, lambda {lam:.5f}; torch {torch.__version__}, {torch.get_num_threads()} threads")

    if args.alike:
        with tempfile.TemporaryDirectory() as folder:
            table, out = pathlib.Path(folder, "odd.csv"), pathlib.Path(folder, "out.parquet")
            names = np.char.add("c", np.char.zfill(np.arange(args.concepts).astype(str), 4))
            rows = [",".join(names[[i, j, k, k]]) for i, j, k in triplets]
            table.write_text("a,b,c,odd\n" + "\n".join(rows) + "\n")
            command = [args.alike, "embed", table, "--loss", "spose", "--lambda", str(lam), "--dims", str(args.dims), "--holdout", "0", "--out", out, "--json"]
            before, started = cpu_seconds(resource.RUSAGE_CHILDREN), time.perf_counter()
            record = json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)
            wall, cpu = time.perf_counter() - started, cpu_seconds(resource.RUSAGE_CHILDREN) - before
        print(f"alike, whole program   {wall:7.2f} s wall {cpu:7.2f} s CPU  objective {record['objective']:.6f}  {record['dims']} dimensions left")

    before, started = cpu_seconds(resource.RUSAGE_SELF), time.perf_counter()
    for epoch, w in fit_torch(triplets, args.concepts, args.dims, lam, args.epochs, 1):
        wall, cpu = time.perf_counter() - started, cpu_seconds(resource.RUSAGE_SELF) - before
        r = matched(truth, w)
        left = int((w.max(0) > 0.1).sum())
        print(f"torch, {epoch:4} epochs     {wall:7.2f} s wall {cpu:7.2f} s CPU  objective {objective(w, triplets, lam):.6f}  {left} dimensions left  matched least {r.min():.3f} median {np.median(r):.3f}")


if __name__ == "__main__":
    main()
