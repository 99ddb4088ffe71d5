"""Golden free answers from transformers' own `generate`, and the probabilities of its logits processors.

    python tests/it/golden/generations.py data/concepts/things128.csv SmolLM2-135M-Instruct.Q4_1.gguf

One prompt at a time, no batch. Needs export/requirements-torch.txt.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation import logits_process as warpers

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]
from make_tiny import make_model, make_tokenizer  # noqa: E402
from presentations import PACKAGES, choose_presentations, encode, read_concepts, render  # noqa: E402

MAX_NEW_TOKENS, SEED = 20, 20251122
SETTINGS = [  # temperature, top_k, top_p, repetition_penalty
    (1.0, 50, 1.0, 1.0), (0.7, 0, 0.8, 1.0), (0.6, 20, 0.95, 1.0), (1.3, 7, 0.5, 1.0), (1.0, 0, 1.0, 1.3), (0.7, 20, 0.8, 1.05),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("concepts", type=Path)
    parser.add_argument("gguf", type=Path)
    options = parser.parse_args()
    concepts = read_concepts(options.concepts)
    tiny = (make_model(), make_tokenizer(concepts))
    smollm2 = open_gguf(options.gguf)
    content = {
        "made_by": "tests/it/golden/generations.py",
        "versions": {name: version(name) for name in PACKAGES},
        "max_new_tokens": MAX_NEW_TOKENS,
        "tiny": answers(*tiny, choose_presentations(concepts, 30, SEED), (1.0, 1.3)),
        "smollm2": answers(*smollm2, choose_presentations(concepts, 12, SEED), (1.0, 1.1)),
        "processors": [processed(*settings) for settings in SETTINGS],
    }
    rows = ",\n".join(f"{json.dumps(key)}: " + (
        "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in value) + "\n]"
        if isinstance(value, list) else json.dumps(value)) for key, value in content.items())
    (HERE / "generations.json").write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")


def open_gguf(path):
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # See smollm2/make.py.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    return model, tokenizer


def answers(model, tokenizer, triples, penalties):
    rows = []
    for anchor, first, second in triples:
        ids = encode(tokenizer, render(tokenizer, anchor, first, second))
        for penalty in penalties:
            written = model.generate(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.int64), do_sample=False,
                max_new_tokens=MAX_NEW_TOKENS, repetition_penalty=penalty, eos_token_id=2, pad_token_id=2)
            new = written[0, len(ids):].tolist()
            stopped = new[-1] == 2
            new = new[:-1] if stopped else new
            rows.append({"anchor": anchor, "first": first, "second": second, "repetition_penalty": penalty, "ids": new,
                         "stopped": stopped, "text": tokenizer.decode(new, skip_special_tokens=True).strip()})
    return rows


def processed(temperature, top_k, top_p, penalty):
    """Sixty logits with ties through the processors that `generate` would build, in its order."""
    torch.manual_seed(int(1000 * (temperature + top_k + top_p + penalty)))
    logits = (1.2 * torch.randn(60)).round(decimals=1)
    before = torch.randint(60, (12,)).tolist()
    steps = []
    if penalty != 1.0:
        steps.append(warpers.RepetitionPenaltyLogitsProcessor(penalty))
    if temperature != 1.0:
        steps.append(warpers.TemperatureLogitsWarper(temperature))
    if top_k != 0:
        steps.append(warpers.TopKLogitsWarper(top_k))
    if top_p < 1.0:
        steps.append(warpers.TopPLogitsWarper(top_p))
    scores = warpers.LogitsProcessorList(steps)(torch.tensor([before]), logits[None].clone())[0]
    p = torch.softmax(scores.double(), -1)
    kept = [i for i in range(60) if scores[i] > -torch.inf]
    return {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_penalty": penalty, "before": before,
            "logits": [round(x, 1) for x in logits.tolist()], "kept": kept, "p": [round(p[i].item(), 9) for i in kept]}


if __name__ == "__main__":
    main()
