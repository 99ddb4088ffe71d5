"""Scores presentations with transformers: one full forward pass per answer, no cache, no batching, nothing shared.

Used by smollm2/make.py and make_tiny.py. Sums are in float64 over float32 logits.
"""

import csv
import hashlib
import json
import random
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

SYSTEM = "You are a helpful assistant who gives responses to questions"
USER = ("QUESTION: Which item is most similar to {anchor}: {first} or {second}? "
        "Respond only with the item name.")
CLOSING = "<|im_end|>"
PACKAGES = ("torch", "transformers", "tokenizers", "gguf", "numpy")
N_WHOLE_PROMPTS = 3  # stored as text and ids; the others as length and hash
N_WITH_LOGITS, N_LOGIT_IDS = 8, 64


def read_concepts(path: Path) -> list[str]:
    with open(path, newline="", encoding="utf-8") as file:
        return [row["concept"] for row in csv.DictReader(file)]


def choose_presentations(concepts: list[str], n: int, seed: int) -> list[tuple[str, str, str]]:
    """(anchor, first, second): first the awkward ones by name, then random ones."""
    awkward = [
        ("tennis ball", "baseball", "baseball glove"),  # one option is a prefix of the other, in words
        ("tennis ball", "baseball glove", "baseball"),
        ("tuxedo", "hat", "hatchet"),  # the same, in tokens only
        ("tuxedo", "hatchet", "hat"),
        ("baseball glove", "baseball", "hot-air balloon"),  # the anchor begins with an option
        ("sea urchin", "bok choy", "mashed potato"),  # several tokens on all sides
        ("pocket watch", "hula hoop", "knitting needle"),
    ]
    missing = {name for triple in awkward for name in triple} - set(concepts)
    if missing:
        raise SystemExit(f"concepts not in the list: {sorted(missing)}")
    draw = random.Random(seed)
    return awkward + [tuple(draw.sample(concepts, 3)) for _ in range(n - len(awkward))]


def render(tokenizer, anchor: str, first: str, second: str) -> str:
    messages = [{"role": "system", "content": SYSTEM},
                {"role": "user", "content": USER.format(anchor=anchor, first=first, second=second)}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def answer_ids(tokenizer, prompt: str, option: str) -> list[int]:
    """The option's tokens, closing token included: tokenised with the prompt and split where it ends."""
    prompt_ids = encode(tokenizer, prompt)
    ids = encode(tokenizer, prompt + option + CLOSING)
    if ids[:len(prompt_ids)] != prompt_ids or ids[:-1] != encode(tokenizer, prompt + option):
        raise SystemExit(f"{option!r} does not join cleanly to its prompt")
    return ids[len(prompt_ids):]


@torch.no_grad()
def logits_of(model, ids: list[int]) -> np.ndarray:
    """Float32 logits `[seq, vocab]`."""
    return model(input_ids=torch.tensor([ids])).logits[0].numpy()


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def score(model, tokenizer, triple, logit_ids, on_logits=None) -> dict:
    """One presentation. `on_logits(ids, logits)` sees every forward pass, for comparing with something else."""
    anchor, first, second = triple
    prompt = render(tokenizer, anchor, first, second)
    prompt_ids = encode(tokenizer, prompt)
    row = {"anchor": anchor, "first": first, "second": second, "n_prompt_tokens": len(prompt_ids),
           "prompt_sha256": hashlib.sha256(",".join(map(str, prompt_ids)).encode()).hexdigest()}
    for side, option in (("first", first), ("second", second)):
        answer = answer_ids(tokenizer, prompt, option)
        ids = prompt_ids + answer[:-1]
        logits = logits_of(model, ids)
        if on_logits:
            on_logits(ids, logits)
        at_answer = logits[len(prompt_ids) - 1:]
        steps = log_softmax(at_answer)[np.arange(len(answer)), answer]
        row[f"ids_{side}"] = answer[:-1]
        row[f"log_prob_{side}"] = round(float(steps[:-1].sum()), 7)
        row[f"log_prob_{side}_closed"] = round(float(steps.sum()), 7)
    row["top_token_id"] = int(at_answer[0].argmax())
    row["top_log_prob"] = round(float(log_softmax(at_answer[0]).max()), 7)
    row["logits"] = [float(f"{value:.9g}") for value in at_answer[0][logit_ids]]
    return row


def golden(model, tokenizer, triples, made_by: str, source: dict, on_logits=None) -> dict:
    """The whole content of a golden file."""
    vocab_size = model.config.vocab_size
    logit_ids = sorted(random.Random(1).sample(range(vocab_size), N_LOGIT_IDS))
    rows = [score(model, tokenizer, triple, logit_ids, on_logits) for triple in triples]
    for row in rows[N_WITH_LOGITS:]:
        del row["logits"]
    prompts = [render(tokenizer, *triple) for triple in triples[:N_WHOLE_PROMPTS]]
    return {
        "made_by": made_by,
        "versions": {name: version(name) for name in PACKAGES},
        "source": source,
        "system": SYSTEM,
        "user": USER,
        "closing_token": CLOSING,
        "prompts": prompts,
        "prompt_ids": [encode(tokenizer, prompt) for prompt in prompts],
        "prompt_sha256_of": "ids in decimal, joined by commas",
        "logit_ids": logit_ids,
        "logits_at": "the last prompt position",
        "presentations": rows,
    }


def write_golden(content: dict, path: Path) -> None:
    """One key or presentation per line, so that a changed number is one changed line."""
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in content["presentations"])
    head = "".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n"
                   for key, value in content.items() if key != "presentations")
    path.write_text(f'{{\n{head}"presentations": [\n{rows}\n]}}\n', encoding="utf-8")
    print(f"{path}: {len(content['presentations'])} presentations, {path.stat().st_size:,} bytes")
