"""What `python -m export` says of a checkpoint that is not what it claims to be; needs torch, and takes a minute.

    python tests/it/golden/architectures/bad_input.py

The rest of its bad input is tried without torch, in tests/it/export.rs.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[3])]
from export.folder import read_json, write_json  # noqa: E402
from make import make_model, save  # noqa: E402
from make_tiny import make_tokenizer  # noqa: E402


def main():
    tokenizer = make_tokenizer(["dog", "cat", "tennis ball"] * 20)
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("llama", "instella"):  # loaded by transformers, and by a remap
            folder = Path(scratch) / name
            save(make_model(name), name, folder)
            tokenizer.save_pretrained(folder)
            weights_that_disagree(folder)
            config_that_disagrees(folder)
        quantised_weights(Path(scratch) / "llama")
        interrupted(Path(scratch) / "llama")
    print("bad input: all refused as they should be")


def weights_that_disagree(folder):
    file = folder / "model.safetensors"
    whole = load_file(file)
    norm, head = "model.norm.weight", "lm_head.weight"
    save_file({name: value for name, value in whole.items() if name != norm}, file, metadata={"format": "pt"})
    refused(folder, "disagree", f"{norm} is not in the weights")
    save_file(whole | {"model.layers.0.extra.weight": torch.zeros(3)}, file, metadata={"format": "pt"})
    refused(folder, "disagree", "model.layers.0.extra.weight has no place in the model")
    save_file(whole | {head: torch.zeros(7, 32)}, file, metadata={"format": "pt"})
    refused(folder, "disagree", f"{head} has shape [7, 32], expected [400, 32]")
    file.write_bytes(b"not weights")
    refused(folder, str(folder))
    save_file(whole, file, metadata={"format": "pt"})


def config_that_disagrees(folder):
    file = folder / "config.json"
    config = read_json(file)
    write_json(file, config | {"num_hidden_layers": 1})
    refused(folder, "disagree", "model.layers.1.", "has no place in the model")
    write_json(file, config | {"num_hidden_layers": 3})
    refused(folder, "disagree", "model.layers.2.", "is not in the weights")
    write_json(file, config | {"hidden_size": "wide"})
    refused(folder, "wide")
    write_json(file, config)


def quantised_weights(folder):
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    refused(folder, "quantised by 'gptq'", "expected full ones")
    write_json(folder / "config.json", config)


def interrupted(folder):
    """Asked to stop while the graph is traced."""
    out = folder.with_name("out")
    process = subprocess.Popen(command(folder, out), stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "tracing" in line:
            os.kill(process.pid, signal.SIGINT)
            break
    process.communicate()
    assert process.returncode != 0 and not out.exists() and not out.with_name("out.tmp").exists()


def refused(folder, *parts):
    out = folder.with_name("out")
    done = subprocess.run(command(folder, out), capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr and not out.exists(), done.stderr
    for part in parts:
        assert part in done.stderr, f"{part!r} is not in\n{done.stderr}"


def command(folder, out):
    return [sys.executable, "-m", "export", str(folder), "--out", str(out)]


if __name__ == "__main__":
    main()
