"""Fewer bits on the CPU: size, memory, speed and agreement of variants of a model, against the model itself.

    python benches/precision/measure.py --model models/smollm2-135m-instruct [--variants int8-per-token ...] [--also fp16=DIR]
        [--seconds 120] [--triplets 2000]

Needs export/requirements-torch.txt (for onnx-ir), pyarrow and target/release/alike. The model is in scoring layout and float32. Speed is
of passes that alternate between the variants, so that ratios hold on a noisy machine; agreement is of what `alike judge` writes for the
presentations of tests/it/golden/smollm2, and with --triplets also of embeddings (8 dimensions) of so many random triplets' answers.
"""

import argparse
import csv
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from per_token import quantise_per_token  # noqa: E402

ALIKE = ROOT / "target/release/alike"
GOLDEN = ROOT / "tests/it/golden/smollm2/golden.json"
PASSES = {"54 x 19 after 37": (54, 19, 37), "1 x 512": (1, 512, 0)}  # rows, new tokens, past
SCORED = 4  # positions of a row
DECIDED = 1.0  # nat between the options, in float32


def weight_only(bits: int, block: int, accuracy_level: int):
    """Blocks of weights in few bits. Accuracy level 4 multiplies in int8, 0 in float32."""
    def write(path: Path) -> None:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        model = onnx.load(path)
        quantizer = MatMulNBitsQuantizer(model, bits=bits, block_size=block, is_symmetric=False,
                                         accuracy_level=accuracy_level, nodes_to_exclude=heads(model))
        quantizer.process()
        data = path.with_name(path.name + ".data")
        data.unlink()
        onnx.save(quantizer.model.model, path, save_as_external_data=True, location=data.name)
    return write


def per_tensor(path: Path) -> None:
    """onnxruntime's dynamic quantisation: one scale for the activations of a whole pass."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    result = path.with_name("quantised.onnx")
    quantize_dynamic(path, result, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True,
                     weight_type=QuantType.QInt8, nodes_to_exclude=heads(onnx.load(path, load_external_data=False)))
    path.with_name(path.name + ".data").unlink()
    result.rename(path)


def exact_4_bits(path: Path) -> None:
    """Matrices whose blocks of 32 weights in a row have 16 evenly spaced values at most, as Q4_1's have, keep them exactly; others
    stay in float32."""
    model = onnx.load(path)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    kept_out, n_exact = set(heads(model)), 0
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.name in kept_out or node.input[1] not in initializers:
            continue
        weight = onnx.numpy_helper.to_array(initializers[node.input[1]])
        blocks = levels(np.ascontiguousarray(weight.T).reshape(weight.shape[1], -1, 32))
        if blocks is None:
            continue
        name, (lowest, step, level) = node.input[1], blocks
        packed = (level[..., 0::2] | level[..., 1::2] << 4).astype(np.uint8)
        parts = {"": packed, ".scale": step.astype(np.float32).ravel(), ".zero": (-lowest / step).astype(np.float32).ravel()}
        model.graph.initializer.remove(initializers.pop(name))
        model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name + end) for end, value in parts.items())
        rows, columns = weight.shape
        quantised = onnx.helper.make_node("MatMulNBits", [node.input[0], *(name + end for end in parts)], node.output, node.name,
                                          domain="com.microsoft", K=rows, N=columns, bits=4, block_size=32)
        node.CopyFrom(quantised)
        n_exact += 1
    print(f"{n_exact} matrices in 4 bits exactly", file=sys.stderr)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    data = path.with_name(path.name + ".data")
    data.unlink()
    onnx.save(model, path, save_as_external_data=True, location=data.name)


def levels(blocks: np.ndarray):
    """Lowest value, step and levels 0 to 15 of every block `[rows, blocks, 32]`; None if some block has no such steps."""
    lowest = blocks.min(-1).astype(np.float64)
    above = blocks.astype(np.float64) - lowest[..., None]
    largest = above.max(-1)
    noise = 1e-6 * np.maximum(np.abs(blocks).max(-1), 1e-30)
    step = np.where(largest > noise, largest, 1.0)
    found = largest <= noise
    for top in range(1, 16):  # the largest is this many steps up
        trial = np.where(found, step, largest / top)
        off = np.abs(above - np.round(above / trial[..., None]) * trial[..., None]).max(-1)
        fits = ~found & (off <= noise)
        step, found = np.where(fits, largest / top, step), found | fits
    return (lowest, step, np.round(above / step[..., None]).astype(np.uint8)) if found.all() else None


VARIANTS = {
    "int8-per-token": quantise_per_token,
    "int8-per-token-unrotated": lambda path: quantise_per_token(path, rotated=False),
    "int8-per-tensor": per_tensor,
    "w8-block32-acc4": weight_only(8, 32, 4),
    "w8-block32-acc0": weight_only(8, 32, 0),
    "w8-block128-acc4": weight_only(8, 128, 4),
    "w4-block32-acc4": weight_only(4, 32, 4),
    "w4-block32-acc0": weight_only(4, 32, 0),
    "w4-exact": exact_4_bits,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME=DIR", help="exports of the same model")
    parser.add_argument("--triplets", type=int, default=0, metavar="N")
    parser.add_argument("--seconds", type=float, default=120, help="of alternating passes")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {"fp32": options.model}
        for name in options.variants:
            folders[name] = copy_of(options.model, Path(scratch) / name)
            VARIANTS[name](folders[name] / "model.onnx")
        folders |= {name: Path(folder) for name, folder in (also.split("=", 1) for also in options.also)}
        rss = {name: in_own_process(peak_rss, folder, options.threads) for name, folder in folders.items()}
        seconds = alternate({name: Model(folder, options.threads) for name, folder in folders.items()}, options.seconds)
        judged = {name: judge(folder, Path(scratch), name, options.threads) for name, folder in folders.items()}
        for name, folder in folders.items():
            report(name, folder, rss[name], seconds, judged)
        if options.triplets:
            embeddings(folders, Path(scratch), options.triplets, options.threads)


def heads(model: onnx.ModelProto) -> list[str]:
    return [node.name for node in model.graph.node if "logits" in node.output]


def copy_of(model: Path, folder: Path) -> Path:
    """Without alike.json, whose checksums are of the original."""
    return Path(shutil.copytree(model, folder, ignore=shutil.ignore_patterns("alike.json")))


class Model:
    """A session, and what to feed it for each of the passes."""

    def __init__(self, folder: Path, threads: int):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others run in between
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        self.outputs = [o.name for o in self.session.get_outputs() if o.name == "log_probs" or o.name.startswith("present.")]
        self.feeds = {name: self._feeds(*sizes) for name, sizes in PASSES.items()}

    def _feeds(self, rows, new, past):
        rng = np.random.default_rng(0)
        scored = np.array([(row, new - 1 - i) for row in range(rows) for i in range(SCORED)])
        pools = {i.name: rng.standard_normal((max(past, 1), i.shape[1]), np.float32)
                 for i in self.session.get_inputs() if i.name.startswith("past_key_values.")}
        return {"input_ids": rng.integers(5, 40000, (rows, new)), "past_tokens": np.tile(np.arange(past), (rows, 1)),
                "position_ids": np.tile(np.arange(past, past + new), (rows, 1)), "scored": scored,
                "attention_mask": np.tile(np.tri(new, past + new, past, dtype=bool), (rows, 1, 1)),
                "wanted": np.stack([np.arange(len(scored)), np.full(len(scored), 7)], axis=1), **pools}

    def run(self, name: str) -> float:
        """Seconds of one pass."""
        start = time.perf_counter()
        self.session.run(self.outputs, self.feeds[name])
        return time.perf_counter() - start


def alternate(models: dict[str, Model], seconds: float) -> dict[str, dict[str, np.ndarray]]:
    """Seconds of every pass by model and kind; the first round, which warms up, left out."""
    taken = {name: {kind: [] for kind in PASSES} for name in models}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(taken["fp32"]["1 x 512"]) < 3:
        for name, model in models.items():
            for kind in PASSES:
                taken[name][kind].append(model.run(kind))
    return {name: {kind: np.array(times[1:]) for kind, times in kinds.items()} for name, kinds in taken.items()}


def in_own_process(function, *arguments):
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_rss(folder: Path, threads: int) -> int:
    """Bytes, after one pass of each kind."""
    model = Model(folder, threads)
    for kind in PASSES:
        model.run(kind)
    # getrusage would know the parent's peak as well, from before the exec.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024


def judge(folder: Path, scratch: Path, name: str, threads: int) -> np.ndarray:
    """Log-probabilities of the options `[presentations, 2]`, in the order of the golden file."""
    import pyarrow.parquet

    presentations = [(p["anchor"], p["first"], p["second"]) for p in json.loads(GOLDEN.read_text())["presentations"]]
    triplets = scratch / "triplets.csv"
    with open(triplets, "w", newline="") as file:
        csv.writer(file).writerows([("anchor", "first", "second"), *presentations])
    out = scratch / f"judged-{name}"
    subprocess.run([ALIKE, "judge", "--model", folder, "--triplets", triplets, "--style", "chat", "--threads", str(threads),
                    "--self-test", "0", "--label", name, "--out", out, "--quiet"], check=True)
    rows = [row for part in sorted(out.rglob("*.parquet"))
            for row in pyarrow.parquet.read_table(part, partitioning=None).to_pylist()]
    rows.sort(key=lambda row: (row["triplet_id"], row["order"], row["anchor"], row["first"], row["second"]))
    return np.array([(row["log_prob_first"], row["log_prob_second"]) for row in rows], np.float64)


def embeddings(folders: dict[str, Path], scratch: Path, n_triplets: int, threads: int) -> None:
    """Choices that differ from float32's, and what each embedding shares with float32's (Procrustes R²)."""
    import pyarrow.parquet

    def alike(*words):
        said = subprocess.run([ALIKE, *words, "--threads", str(threads), "--json"], check=True, capture_output=True, text=True)
        return json.loads(said.stdout)

    triplets, concepts = scratch / "random.parquet", ROOT / "data/concepts/things128.csv"
    subprocess.run([ALIKE, "sample", "--concepts", concepts, "--n", str(n_triplets), "--out", triplets, "--quiet"], check=True)
    chosen, fits = {}, {}
    for name, folder in folders.items():
        out = scratch / "embedded"
        summary = alike("judge", "--model", folder, "--triplets", triplets, "--concepts", concepts, "--style", "chat",
                        "--self-test", "0", "--label", name, "--out", out, "--quiet")
        rows = [row for part in sorted((out / f"respondent={name}").glob("*.parquet"))
                for row in pyarrow.parquet.read_table(part, columns=["triplet_id", "chosen"]).to_pylist()]
        chosen[name] = {row["triplet_id"]: row["chosen"] for row in rows}
        fits[name] = scratch / f"{name}.parquet"
        alike("embed", out / f"respondent={name}", "--concepts", concepts, "--dims", "8", "--out", fits[name])
        aligned = alike("align", fits[name], "--concepts", concepts, "--reference", fits["fp32"], "--permutations", "0")
        flips = sum(chosen[name][key] != choice for key, choice in chosen["fp32"].items())
        print(json.dumps({"variant": name, "triplets_per_second": summary["triplets_per_second"], "flips": flips,
                          "of": len(chosen[name]), "alignment": aligned}), flush=True)


def report(name, folder, rss, seconds, judged) -> None:
    """One row of the table in models/README.md."""
    size = sum(path.stat().st_size for path in folder.glob("model.onnx*"))
    cells = [name, f"{size / 1e6:.0f}", f"{rss / 1e6:.0f}"]
    for kind, (rows, new, _) in PASSES.items():
        own = seconds[name][kind]
        cells.append(f"{rows * new / np.median(own):.0f} ({np.median(seconds['fp32'][kind] / own):.2f})")
    difference = np.abs(judged[name] - judged["fp32"])
    odds, true_odds = (np.subtract(*judged[key].T) for key in (name, "fp32"))
    flipped, decided = (odds > 0) != (true_odds > 0), np.abs(true_odds) > DECIDED
    cells += [f"{difference.max():.2f} / {difference.mean():.2f}", f"{flipped.sum()} of {len(flipped)}",
              f"{(flipped & decided).sum()} of {decided.sum()}"]
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
