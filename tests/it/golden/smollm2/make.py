"""Golden scores of SmolLM2-135M-Instruct, from transformers' own GGUF loader.

    python tests/it/golden/smollm2/make.py SmolLM2-135M-Instruct.Q4_1.gguf data/concepts/things128.csv \
        [--onnx models/smollm2-135m-instruct]

Needs export/requirements-torch.txt. With --onnx (a folder in scoring layout), every logit is compared too.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))
from presentations import choose_presentations, golden, read_concepts, write_golden  # noqa: E402

N_PRESENTATIONS, SEED = 200, 20251122


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("concepts", type=Path)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("golden.json"))
    options = parser.parse_args()
    torch.manual_seed(0)

    model = AutoModelForCausalLM.from_pretrained(options.gguf.parent, gguf_file=options.gguf.name, dtype=torch.float32)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(options.gguf.parent, gguf_file=options.gguf.name)
    # The GGUF loader knows GPT-2's splitting rule only; SmolLM2 splits digits first.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])

    triples = choose_presentations(read_concepts(options.concepts), N_PRESENTATIONS, SEED)
    source = {"file": options.gguf.name, "sha256": hashlib.sha256(options.gguf.read_bytes()).hexdigest()}
    comparison = Comparison(options.onnx) if options.onnx else None
    content = golden(model, tokenizer, triples, "tests/it/golden/smollm2/make.py", source, comparison)
    write_golden(content, options.out)
    if comparison:
        print(f"largest logit difference {comparison.worst:.2e} over {comparison.positions} positions")


class Comparison:
    """Largest difference between transformers' logits and those of an ONNX file, all positions, whole vocabulary."""

    def __init__(self, folder: Path):
        import onnxruntime

        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        self.pools = {i.name: np.zeros((1, i.shape[1]), np.float32)
                      for i in self.session.get_inputs() if i.name.startswith("past_key_values.")}
        self.worst, self.positions = 0.0, 0

    def __call__(self, ids, logits):
        places = np.arange(len(ids))
        feeds = {"input_ids": np.array([ids]), "position_ids": places[None], "past_tokens": np.empty((1, 0), np.int64),
                 "attention_mask": (places <= places[:, None])[None], "wanted": np.empty((0, 2), np.int64),
                 "scored": np.stack([np.zeros_like(places), places], axis=1), **self.pools}
        (actual,) = self.session.run(["logits"], feeds)
        self.worst = max(self.worst, float(np.abs(actual - logits).max()))
        self.positions += len(ids)


if __name__ == "__main__":
    main()
