"""transformers itself: the two options of each request in batches sorted by length, in fp32.

    python transformers_batch.py --requests requests.jsonl --model HF_DIR --log-probs out.jsonl [--device cuda]

What a careful script does: whole sequences without the last token, of which nothing is read, and equal ones once (two
options of one token each); the longest first, padded on the right to the longest of their batch; and only the positions
that are read pass through the head. A causal model needs no mask for padding behind a sequence.
"""

import time
from importlib.metadata import version

from common import fastest, finish, read_requests, torch_options

# Sequences in a batch.
BATCH_SIZES = {"cpu": [4, 8, 16, 32, 64], "cuda": [256, 1024, 4096, 8192]}
N_SAMPLE = 32  # requests that each size is tried on, at least


def main():
    options = torch_options(__doc__.splitlines()[0], BATCH_SIZES)
    start = time.perf_counter()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32, attn_implementation="sdpa")
    model = model.to(options.device).eval()
    load_seconds = time.perf_counter() - start

    requests = read_requests(options.requests)
    start = time.perf_counter()
    items = [tokens(tokenizer, request) for request in requests]
    tokenize_seconds = time.perf_counter() - start

    def timed(items, size):
        start = time.perf_counter()
        with torch.inference_mode():
            log_probs, n_computed = score(model, items, size)
        return log_probs, time.perf_counter() - start, n_computed

    timed(items[:1], 1)  # the first call allocates

    def rate(size):
        sample = items[::max(1, len(items) // max(N_SAMPLE, size))]
        return len(sample) / timed(sample, size)[1]

    size, tried = fastest(options.batch_size, BATCH_SIZES[options.device], rate)
    log_probs, seconds, n_computed = timed(items, size)
    finish(options, requests, log_probs, tool="transformers", version=version("transformers"),
           seconds=tokenize_seconds + seconds, load_seconds=load_seconds, runtime=f"torch {torch.__version__}",
           weights="fp32", device=options.device, batch_size=size, tried_triplets_per_second=tried,
           tokens_per_triplet=round(n_computed / len(requests), 1))


def tokens(tokenizer, request) -> tuple[list[int], list[list[int]]]:
    """The prompt and each option; tokenised together and split where the prompt ends, as alike does."""
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    prompt = ids(request.prompt)
    whole = [ids(request.prompt + choice) for choice in request.choices]
    if any(joined[:len(prompt)] != prompt for joined in whole):
        raise SystemExit(f"request {request.id}: an option does not join cleanly to its prompt")
    return prompt, [joined[len(prompt):] for joined in whole]


def score(model, items, size: int) -> tuple[list[tuple[float, float]], int]:
    """ln p (nats) of both options of every item, and how many tokens were computed, padding among them."""
    import torch

    # What is read off each sequence: (item, option, position before the token, token).
    reads: dict[tuple[int, ...], list[tuple[int, int, int, int]]] = {}
    for number, (prompt, options) in enumerate(items):
        for which, option in enumerate(options):
            of = reads.setdefault((*prompt, *option[:-1]), [])
            of += [(number, which, len(prompt) - 1 + at, token) for at, token in enumerate(option)]
    sequences = sorted(reads, key=len, reverse=True)
    log_probs, n_computed = [[0.0, 0.0] for _ in items], 0
    for start in range(0, len(sequences), size):
        batch = sequences[start:start + size]
        padded = torch.zeros(len(batch), len(batch[0]), dtype=torch.long)
        for row, sequence in enumerate(batch):
            padded[row, :len(sequence)] = torch.tensor(sequence)
        wanted = [(row, *read) for row, sequence in enumerate(batch) for read in reads[sequence]]
        rows, places, read = (torch.tensor([w[i] for w in wanted], device=model.device) for i in (0, 3, 4))
        hidden = model.model(padded.to(model.device), use_cache=False).last_hidden_state
        values = torch.log_softmax(model.lm_head(hidden[rows, places]).float(), -1).gather(1, read[:, None])[:, 0]
        for (_, number, which, _, _), value in zip(wanted, values.tolist(), strict=True):
            log_probs[number][which] += value
        n_computed += padded.numel()
    return [tuple(both) for both in log_probs], n_computed


if __name__ == "__main__":
    main()
