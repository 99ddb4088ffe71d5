"""Parity and speed of alike on a GPU, beside transformers on the same one. `run.sh` sets the loader's path and calls this.

    measure.py WEIGHTS.gguf ONNXRUNTIME_LIBRARY [--out DIR] [--alike PATH] [--triplets N] [--exhaustive] [--precisions fp16,...]

Writes DIR/results.json (the machine and every number) and prints the table. A row that fails is told and stops nothing.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

CONCEPTS = "data/concepts/things128.csv"
PRECISIONS = ("fp32", "fp16", "bf16")
PEER_REQUESTS = 10_000  # of the triplets, for transformers
PEER_BATCHES = (256, 1024, 4096, 8192)
PRODUCTS = ((8192, 8192, 8192), (16384, 576, 1536), (65536, 576, 1536))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("library", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    parser.add_argument("--alike", type=Path, default=Path("target/release/alike"))
    parser.add_argument("--triplets", type=int, default=100_000)
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=list(PRECISIONS))
    parser.add_argument("--exhaustive", action="store_true", help="also all 1,024,128 triplets")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(options), "ceilings_tflops": ceilings()}
    export(options)
    print(json.dumps(results, indent=1), flush=True)

    results["parity"] = {precision: parity(options, precision) for precision in options.precisions}
    for precision, lines in results["parity"].items():
        print(precision, *lines, sep="\n  ", flush=True)

    triplets = sample(options, "triplets", "--n", str(options.triplets), "--seed", "7")
    rows = [judge(options, triplets, precision, *flags) for precision, *flags in settings() if precision in options.precisions]
    if options.exhaustive:
        everything = sample(options, "all", "--exhaustive")
        rows.append(judge(options, everything, "fp16", "--batch-tokens", "32768"))
    results["alike"] = rows
    results["transformers"] = transformers(options, triplets)
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print_table(results)


def settings():
    """Precision and flags of every row."""
    yield ("fp16",)  # once to warm the machine up: the libraries' kernels are read from disk
    for precision in PRECISIONS:
        yield (precision,)
    yield "fp32", "--tf32"
    for batch in (1024, 4096, 32768, 65536):
        yield "fp16", "--batch-tokens", str(batch)
    for reuse in ("question", "off"):
        yield "fp16", "--reuse", reuse
    yield "fp32", "--provider", "tensorrt", "--limit", "1000"


def machine(options):
    def said(*command):
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": time.strftime("%Y-%m-%d"),
        "gpu": said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"),
        "cpu": cpu and cpu[1], "cores": os.cpu_count(),
        "alike": said(str(options.alike), "--version"), "commit": said("git", "rev-parse", "HEAD"),
        "runtime": options.library.name, "weights": options.weights.name,
    }


def ceilings():
    """Matrix products of the runtime's own libraries, in TFLOP/s, by precision; empty without torch."""
    try:
        import torch
    except ImportError:
        return {}

    def rate(m, k, n, dtype):
        a, b = torch.randn(m, k, device="cuda", dtype=dtype), torch.randn(k, n, device="cuda", dtype=dtype)
        for _ in range(3):
            a @ b
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(20):
            a @ b
        end.record()
        torch.cuda.synchronize()
        return round(2 * m * k * n * 20 / start.elapsed_time(end) / 1e9)

    found = {}
    for name, dtype, tf32 in [("fp32", "float32", False), ("tf32", "float32", True),
                              ("fp16", "float16", False), ("bf16", "bfloat16", False)]:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        found[name] = {"x".join(map(str, shape)): rate(*shape, getattr(torch, dtype)) for shape in PRODUCTS}
    torch.cuda.empty_cache()
    return found


def export(options):
    missing = [p for p in options.precisions if not (options.out / f"model-{p}" / "alike.json").is_file()]
    runs = [subprocess.Popen([sys.executable, "-m", "export", options.weights, "--out", options.out / f"model-{p}",
                              "--precision", p, "--force"]) for p in missing]
    if any(run.wait() for run in runs):
        sys.exit("an export failed")


def parity(options, precision):
    """What `alike check` says about 200 presentations."""
    command = [options.alike, "check", "--model", options.out / f"model-{precision}", "--ort", options.library,
               "--concepts", CONCEPTS, "--self-test", "200", "--provider", "cuda"]
    said = subprocess.run(command, capture_output=True, text=True)
    return [line for line in (said.stdout + said.stderr).splitlines() if re.match(r"parity|error|provider", line)]


def sample(options, name, *flags):
    path = options.out / f"{name}.parquet"
    subprocess.run([options.alike, "sample", "--concepts", CONCEPTS, *flags, "--out", path, "--force", "-q"], check=True)
    return path


def judge(options, triplets, precision, *flags):
    label = "-".join([precision, *(flag.strip("-") for flag in flags)]) + ("-all" if triplets.stem == "all" else "")
    provider = [] if "--provider" in flags else ["--provider", "cuda"]
    command = [options.alike, "judge", "--model", options.out / f"model-{precision}", "--ort", options.library,
               "--triplets", triplets, "--concepts", CONCEPTS, "--out", options.out / "judgments", "--label", label,
               "--force", "--json", "--quiet", *provider, *flags]
    said = subprocess.run(command, capture_output=True, text=True)
    row = {"label": label, "precision": precision, "flags": list(flags)}
    try:
        row |= json.loads(said.stdout)
        print(f"{label}: {row['triplets_per_second']:.0f} triplets/s", flush=True)
    except ValueError:
        row["error"] = (said.stderr.strip().splitlines() or ["no output"])[0][:300]
        print(f"{label}: {row['error']}", flush=True)
    return row


def transformers(options, triplets):
    """Both options of each request as sequences of their own, sorted by length, in the fastest of some batch sizes."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        return []
    weights, requests = options.out / "hf", options.out / "requests.jsonl"
    peers = [sys.executable, "benches/peers/"]
    if not weights.is_dir():
        subprocess.run([peers[0], peers[1] + "weights.py", "hf", options.weights, "--model", options.out / f"model-{options.precisions[0]}",
                        "--out", weights], check=True, capture_output=True)
    subprocess.run([peers[0], peers[1] + "make_requests.py", triplets, "--model", weights, "--out", requests,
                    "--limit", str(PEER_REQUESTS)], check=True)
    requests = [json.loads(line) for line in requests.read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained(weights)
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    sequences = [(ids(r["prompt"]), ids(choice)) for r in requests for choice in r["choices"]]
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i][0]) - len(sequences[i][1]))

    def score(model, order, batch):
        """ln p of every sequence's choice. Only positions that are read go through the head."""
        log_probs, pending = [0.0] * len(sequences), []
        for start in range(0, len(order), batch):
            own = order[start:start + batch]
            longest = max(sum(map(len, sequences[i])) for i in own)
            padded = torch.zeros(len(own), longest, dtype=torch.long)
            reads = []  # (sequence, row, position before, token)
            for row, i in enumerate(own):
                prompt, choice = sequences[i]
                padded[row, :len(prompt) + len(choice)] = torch.tensor(prompt + choice)
                reads += [(i, row, len(prompt) - 1 + at, token) for at, token in enumerate(choice)]
            of, rows, places, tokens = zip(*reads)
            rows, places, tokens = (torch.tensor(values, device="cuda") for values in (rows, places, tokens))
            hidden = model.model(padded.pin_memory().cuda(non_blocking=True), use_cache=False).last_hidden_state
            logits = torch.log_softmax(model.lm_head(hidden[rows, places]).float(), -1)
            pending.append((of, logits.gather(1, tokens[:, None])[:, 0]))
        for of, values in pending:
            for i, value in zip(of, values.tolist()):
                log_probs[i] += value
        return log_probs

    rows = []
    for precision in options.precisions:
        dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
        torch.backends.cuda.matmul.allow_tf32 = False
        model = AutoModelForCausalLM.from_pretrained(weights, dtype=dtype, attn_implementation="sdpa").cuda().eval()
        with torch.inference_mode():
            def seconds(order, batch):
                torch.cuda.synchronize()
                start = time.perf_counter()
                log_probs = score(model, order, batch)
                torch.cuda.synchronize()
                return time.perf_counter() - start, log_probs

            tried = {}
            for batch in PEER_BATCHES:
                some = order[:2 * batch]
                seconds(some, batch)
                tried[batch] = len(some) / 2 / seconds(some, batch)[0]
            best = max(tried, key=tried.get)
            took, log_probs = seconds(order, best)
        row = {"precision": precision, "batch": best, "tried": tried, "triplets": len(requests),
               "triplets_per_second": len(requests) / took}
        rows.append(row | agreement(options, requests, precision, log_probs))
        print(f"transformers {precision}: {row['triplets_per_second']:.0f} triplets/s in batches of {best}", flush=True)
        del model
        torch.cuda.empty_cache()
    return rows


def agreement(options, requests, precision, log_probs):
    """Differences of ln p, in nats, to alike's judgments in the same precision, but for options scored with their end."""
    import pyarrow.parquet

    columns = ["anchor", "first", "second", "log_prob_first", "log_prob_second", "closed"]
    files = sorted((options.out / "judgments" / f"respondent={precision}").glob("*.parquet"))
    ours = {}
    for file in files:
        table = pyarrow.parquet.read_table(file, columns=columns).to_pydict()
        ours |= {key[:3]: key[3:5] for key in zip(*table.values()) if not key[5]}
    pairs = [(log_probs[2 * i:2 * i + 2], ours[r["anchor"], *r["choices"]]) for i, r in enumerate(requests)
             if (r["anchor"], *r["choices"]) in ours]
    differences = [abs(a - b) for theirs, own in pairs for a, b in zip(theirs, own)]
    flips = sum((theirs[0] > theirs[1]) != (own[0] > own[1]) for theirs, own in pairs)
    return {"compared": len(pairs), "max_nats": max(differences, default=None),
            "mean_nats": sum(differences) / max(1, len(differences)), "flips": flips}


def print_table(results):
    print(f"\n{'run':<44}{'triplets':>10}{'triplets/s':>12}{'tokens/s':>12}{'passes':>8}{'session/wall':>14}{'load s':>8}")
    for row in results["alike"]:
        if "error" in row:
            print(f"{row['label']:<44}failed: {row['error'][:90]}")
            continue
        seconds = row["judge_seconds"]
        print(f"{row['label']:<44}{row['made']:>10}{row['triplets_per_second']:>12.0f}{row['tokens_computed'] / seconds:>12.0f}"
              f"{row['passes']:>8}{row['session_seconds'] / seconds:>14.2f}{row['load_seconds']:>8.1f}")
    for row in results["transformers"]:
        print(f"transformers {row['precision']}, batches of {row['batch']:<18}{row['triplets']:>10}"
              f"{row['triplets_per_second']:>12.0f}   max |Δ ln p| {row['max_nats']}, {row['flips']} of {row['compared']} choices differ")


if __name__ == "__main__":
    main()
