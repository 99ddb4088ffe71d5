"""Scores requests with lm-evaluation-harness on the tiny model, for `alike score`.

    python tests/it/golden/make_score.py

Log-likelihoods come from the harness's own HFLM.loglikelihood, standard errors from its mean_stderr; what each accuracy
chooses is numpy's argmax over the formulas of its ConfigurableTask.process_results. Two things are not the harness's, and a
second computation here stands for them (checked to agree with the harness on everything else):

* after a chat template, the harness counts the white space that ends the template as part of every choice; alike does not;
* where the end of a prompt merges with a choice, the harness scores tokens after a prompt that was tokenised otherwise;
  alike goes back to the tokens that all choices leave alone.

Needs lm_eval==0.4.13 beside export/requirements-torch.txt.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean_stderr
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedTokenizerFast

from make_tiny import make_model

HERE = Path(__file__).parent
PACKAGES = ("lm_eval", "torch", "transformers", "tokenizers", "numpy")
CONCEPTS = ["bear", "butterfly", "cabbage", "chipmunk", "hammer", "ice cream", "motorcycle", "scissors", "tennis ball",
            "baseball", "baseball glove", "hot-air balloon", "sea urchin", "bok choy", "hat", "hatchet", "tuxedo"]
ASK = "QUESTION: Which item is most similar to {}? Respond only with the item name.\nAnswer:"
BASE = [
    {"id": "two", "prompt": ASK.format("bear: cat or dog"), "choices": ["cat", "dog"], "gold": 0},
    {"id": "several tokens", "prompt": ASK.format("bear"), "choices": ["ice cream", "motorcycle", "bok choy"],
     "gold": "bok choy"},
    {"id": "prefixes", "prompt": ASK.format("tennis ball"), "choices": ["baseball", "baseball glove", "base"], "gold": 1},
    {"id": "unicode", "prompt": "Où va-t-on boire un café ☕ à Zürich ?", "choices": ["naïve", "日本語", "e\u0301té 🎾"],
     "gold": 2},
    {"id": "one choice", "prompt": "The quick brown fox jumps over the lazy", "choices": ["dog"], "gold": 0},
    {"id": "space at the end", "prompt": "The name of the animal is ", "delimiter": "", "choices": ["bear", "item"],
     "gold": 1},
    {"id": "newline at the end", "prompt": "Name an animal.\n\n", "delimiter": "", "choices": ["bear", "Only a bear"],
     "gold": 0},
    {"id": "a join that moves", "prompt": "The base", "delimiter": "", "choices": ["ball", "line", "ment"], "gold": 0},
    {"id": "context", "prompt": ASK.format("hammer"), "context": "Answer:", "choices": ["scissors", "hatchet"], "gold": 1},
    {"id": "no prompt", "prompt": "", "choices": ["bear", "butterfly"], "gold": 0},
    {"id": 17, "prompt": ASK.format("cabbage"), "choices": CONCEPTS, "gold": 7},
    {"id": "long choices", "prompt": "Which sentence is right?", "delimiter": "\n",
     "choices": ["A helpful assistant gives responses to questions, and the questions are about items.",
                 "Respond only with the item name, and not with two item names or with a question of your own.", "No."],
     "gold": 2},
    {"id": "greedy", "prompt": "bear name", "delimiter": "", "choices": ["fulful", "ful", "fulba"], "gold": 2},
    {"id": "no gold", "prompt": ASK.format("hat"), "choices": ["hatchet", "hat", "tuxedo"]},
    {"id": "a chat by hand", "delimiter": "", "choices": ["bear", "cat"], "gold": 0,
     "prompt": "<|im_start|>user\nName an animal.<|im_end|>\n<|im_start|>assistant\n"},
]
CHAT = [
    {"prompt": "Name an animal.", "choices": ["bear", "butterfly", "sea urchin"], "gold": 2},
    {"messages": [{"role": "system", "content": "You are a helpful assistant"},
                  {"role": "user", "content": "Which is like a hat?"}],
     "choices": ["hatchet", "tuxedo"], "gold": "tuxedo"},
    {"messages": [{"role": "user", "content": "Name an item."}, {"role": "assistant", "content": "hammer"},
                  {"role": "user", "content": "And another one, naïve 日本?"}],
     "choices": ["ice cream", "ice", "motorcycle"], "gold": 0},
    {"messages": [{"role": "user", "content": "Name an item."}], "delimiter": " ", "choices": ["hat", "bear"]},
]


def main():
    tokenizer = PreTrainedTokenizerFast.from_pretrained(HERE / "tiny-llama-standard")
    model = make_model()
    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, device="cpu")
    groups = {}
    for style, requests, delimiter in (("base", BASE, " "), ("chat", CHAT, "")):
        rows = [score(harness, model, tokenizer, style, request, delimiter) for request in requests]
        groups[style] = {"requests": rows, "summary": summary(rows)}
    write(groups)


def score(harness, model, tokenizer, style, request, delimiter):
    delimiter, choices = request.get("delimiter", delimiter), request["choices"]
    text = rendered(tokenizer, style, request.get("messages", request.get("prompt")))
    kept = text if style == "chat" else text.rstrip()
    context = rendered(tokenizer, style, request["context"]) if "context" in request else ""
    continuations = [delimiter + choice for choice in choices]
    own = [joint(model, tokenizer, text, kept, continuations)[i] for i in range(len(choices))]
    theirs = loglikelihoods(harness, text, continuations)
    header = loglikelihoods(harness, kept.rstrip(), [text[len(kept.rstrip()):]])[0][0] if style == "chat" else 0.0
    moved = n_moved(tokenizer, text, continuations)
    by = "lm_eval"
    if request.get("id") == "a join that moves":
        assert moved > 0
        by = "common prefix"
    else:
        for (mine, my_greedy), (log_prob, greedy) in zip(own, theirs, strict=True):
            assert abs(mine + header - log_prob) < 2e-5, (request, mine, header, log_prob)
            assert my_greedy == greedy or style == "chat", request
    lls = np.array([mine for mine, _ in own] if by == "common prefix" else [log_prob - header for log_prob, _ in theirs])
    empty = np.array([log_prob for log_prob, _ in loglikelihoods(harness, context, continuations)])
    n_chars = np.array([float(len(choice)) for choice in choices])
    n_bytes = np.array([float(len(choice.encode())) for choice in choices])
    chosen = {"acc": lls, "acc_norm": lls / n_chars, "acc_bytes": lls / n_bytes, "acc_mutual_info": lls - empty}
    gold = request.get("gold")
    return {
        "request": request, "by": by, "log_probs": [round(float(x), 7) for x in lls],
        "greedy": [bool(greedy) for _, greedy in (own if style == "chat" or by != "lm_eval" else theirs)],
        "log_probs_empty": [round(float(x), 7) for x in empty],
        "p": [round(float(x), 9) for x in np.exp(lls - lls.max()) / np.exp(lls - lls.max()).sum()],
        "chosen": {name: int(np.argmax(values)) for name, values in chosen.items()},
        "gold": choices.index(gold) if isinstance(gold, str) else gold,
    }


def rendered(tokenizer, style, prompt):
    if style == "base":
        return prompt
    messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def loglikelihoods(harness, context, continuations):
    """The harness's (log-likelihood, is greedy) of each continuation."""
    instances = [Instance("loglikelihood", {}, (context, continuation), i)
                 for i, continuation in enumerate(continuations)]
    return harness.loglikelihood(instances, disable_tqdm=True)


def joint(model, tokenizer, text, kept, continuations):
    """The same by one forward pass each, split where the text alone and the text with every continuation part."""
    whole = [encode(tokenizer, text + continuation) for continuation in continuations]
    if kept:
        alone = encode(tokenizer, kept)
    else:
        alone, whole = [tokenizer.bos_token_id], [[tokenizer.bos_token_id, *ids] for ids in whole]
    cut = min(common_prefix(alone, ids) for ids in whole)
    return [of_tokens(model, ids, cut) for ids in whole]


def of_tokens(model, ids, cut):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, cut - 1:-1].double()
    steps = torch.log_softmax(logits, -1)[range(len(ids) - cut), ids[cut:]]
    return float(steps.sum()), bool((logits.argmax(-1) == torch.tensor(ids[cut:])).all())


def n_moved(tokenizer, text, continuations):
    alone = encode(tokenizer, text)
    return len(alone) - min(common_prefix(alone, encode(tokenizer, text + c)) for c in continuations)


def encode(tokenizer, text):
    return tokenizer(text)["input_ids"]


def common_prefix(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def summary(rows):
    """Each accuracy with its standard error, over the requests with a right choice."""
    with_gold = [row for row in rows if row["gold"] is not None]
    result = {"n": len(with_gold)}
    for name in with_gold[0]["chosen"]:
        right = [float(row["chosen"][name] == row["gold"]) for row in with_gold]
        result[name], result[f"{name}_stderr"] = sum(right) / len(right), mean_stderr(right)
    return result


def write(groups):
    """One request per line, so that a changed number is one changed line."""
    head = {"made_by": "tests/it/golden/make_score.py", "versions": {name: version(name) for name in PACKAGES}}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for style, group in groups.items():
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in group["requests"])
        lines.append(f'"{style}": {{"summary": {json.dumps(group["summary"])},\n"requests": [\n{rows}\n]}}')
    path = HERE / "score.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{path}: {sum(len(group['requests']) for group in groups.values())} requests, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
