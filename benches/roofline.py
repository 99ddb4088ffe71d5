"""How near judging comes to what the hardware allows.

    .env/venv/bin/python benches/roofline.py [--triplets 2000] [--repeats 3] [-- flags of `alike judge`]

Judges random triplets of the 128 concepts, and measures before, between and after the runs how fast ONNX Runtime itself
multiplies matrices on this machine at this time: machines are noisy, ratios within one run are not. The floor is the
arithmetic of the distinct tokens of the trie and of the scored positions; attention and everything else counts as loss.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[1]
ALIKE = ROOT / "target/release/alike"
SIZE = 1024  # of the square matrices; the model's own shapes (576 to 1536 wide) run within 5 % of it
GEMM_SECONDS = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models/smollm2-135m-instruct")
    parser.add_argument("--concepts", type=Path, default=ROOT / "data/concepts/things128.csv")
    parser.add_argument("--triplets", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("judge", nargs="*", help="flags for `alike judge`, after --")
    options = parser.parse_args()

    flops = model_flops(options.model)
    gemm = gemm_session(options.threads)
    rates, runs = [gemm_rate(gemm)], []
    with tempfile.TemporaryDirectory() as scratch:
        triplets = Path(scratch) / "triplets.parquet"
        alike("sample", "--concepts", options.concepts, "--n", options.triplets, "--seed", options.seed, "--out", triplets)
        for repeat in range(options.repeats):
            runs.append(judge(options, triplets, Path(scratch) / str(repeat)))
            rates.append(gemm_rate(gemm))
            print(summary(runs[-1], flops, statistics.median(rates[-2:])), file=sys.stderr, flush=True)
    report(runs, rates, flops, options)


def efficiency(run: dict, flops: tuple[float, float], rate: float) -> float:
    return floor_flops(run, flops) / run["judge_seconds"] / rate


def model_flops(model: Path) -> tuple[float, float]:
    """Operations of one token through the layers, and of one position through the head: two a weight."""
    c = json.loads((model / "config.json").read_text())
    head_dim = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    weights = 2 * c["hidden_size"] * head_dim * (c["num_attention_heads"] + c["num_key_value_heads"])
    weights += 3 * c["hidden_size"] * c["intermediate_size"]
    return 2.0 * c["num_hidden_layers"] * weights, 2.0 * c["hidden_size"] * c["vocab_size"]


def gemm_session(threads: int) -> onnxruntime.InferenceSession:
    """x @ w with a constant w, which the runtime packs once, as it does with a model's weights."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [SIZE, SIZE], np.full(SIZE * SIZE, 0.5, np.float32))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIZE, SIZE]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "gemm", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle threads would otherwise spin while `alike` runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def gemm_rate(session: onnxruntime.InferenceSession) -> float:
    """Median FLOP/s over some seconds."""
    x, y = np.full((SIZE, SIZE), 0.5, np.float32), np.empty((SIZE, SIZE), np.float32)
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
    times, end = [], time.monotonic() + GEMM_SECONDS
    while time.monotonic() < end:
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - start)
    return 2.0 * SIZE**3 / statistics.median(times)


def judge(options, triplets: Path, out: Path) -> dict:
    """One run; its summary, and the most memory it held."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    printed = alike("judge", "--model", options.model, "--triplets", triplets, "--concepts", options.concepts,
                    "--style", "chat", "--out", out, "--threads", options.threads, "--self-test", 0, "--json",
                    *options.judge)
    result = json.loads(printed)
    # The counter knows the largest child ever: the first run is the one that tells.
    result["peak_rss_bytes"] = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024
    return result


def alike(*arguments) -> str:
    command = [str(ALIKE), *map(str, arguments), "--quiet"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def floor_flops(run: dict, flops: tuple[float, float]) -> float:
    return run["tokens_distinct"] * flops[0] + run["scored_positions"] * flops[1]


def summary(run: dict, flops: tuple[float, float], rate: float) -> str:
    return (f"{run['judge_seconds']:.1f} s, {run['triplets_per_second']:.1f} triplets/s, "
            f"{efficiency(run, flops, rate):.2f} of {rate / 1e9:.0f} GFLOP/s")


def report(runs: list[dict], rates: list[float], flops: tuple[float, float], options) -> None:
    rate, n = statistics.median(rates), options.triplets
    run = sorted(runs, key=lambda run: run["judge_seconds"])[len(runs) // 2]
    weights = sum(path.stat().st_size for path in options.model.glob("model.onnx*"))
    rows = [
        ("triplets/s", f"{run['triplets_per_second']:.1f}", ""),
        ("distinct tokens a triplet", f"{run['tokens_distinct'] / n:.2f}", ""),
        ("tokens computed / distinct", f"{run['tokens_computed'] / run['tokens_distinct']:.3f}", "<= 1.05"),
        ("tokens a pass", f"{run['tokens_computed'] / run['passes']:.0f}", ""),
        ("session time / wall time", f"{run['session_seconds'] / run['judge_seconds']:.3f}", ">= 0.95"),
        ("floor, GFLOP a triplet", f"{floor_flops(run, flops) / n / 1e9:.2f}", ""),
        (f"GEMM {SIZE}x{SIZE}x{SIZE}, GFLOP/s", f"{rate / 1e9:.0f}", ""),
        ("floor / wall time / GEMM rate", f"{efficiency(run, flops, rate):.3f}", ">= 0.75"),
        ("peak memory over the weights, MB", f"{(runs[0]['peak_rss_bytes'] - weights) / 1e6:.0f}", "<= 600"),
    ]
    print(f"{n} triplets, {options.threads} threads, ONNX Runtime {onnxruntime.__version__}, median of {len(runs)} runs")
    for name, value, bar in rows:
        print(f"  {name:<36}{value:>10}  {bar}".rstrip())


if __name__ == "__main__":
    main()
