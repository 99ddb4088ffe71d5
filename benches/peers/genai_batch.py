"""onnxruntime-genai through its own API: the two options of each request, on CPU in fp32.

    python genai_batch.py --requests requests.jsonl --model GENAI_DIR --log-probs out.jsonl [--at-a-time 8]

GENAI_DIR is made by onnxruntime_genai.models.builder (`weights.py genai`). Its API offers two ways to work less than one
whole sequence after the other, and not both together: several sequences of one length at a time; or one at a time, in the
order of their tokens, going back (`rewind_to`) to where the next one parts from the one before. `--at-a-time 1` is the
latter.
"""

import json
import time
from importlib.metadata import version
from itertools import groupby, takewhile

import numpy as np

from common import fastest, finish, peer_parser, read_requests

AT_A_TIME = [1, 4, 8, 16, 32]
N_SAMPLE = 64  # requests that each is tried on


class Model:
    """Weights, tokenizer, and a way to sum log-probabilities."""

    def __init__(self, path, threads: int):
        import onnxruntime_genai as og

        self.api = og
        config = og.Config(str(path))
        config.clear_providers()
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
        self.model = og.Model(config)
        self.tokenizer = og.Tokenizer(self.model)

    def tokens(self, request) -> tuple[list[int], list[list[int]]]:
        """The prompt and each option; tokenised together and split where the prompt ends, as alike does."""
        prompt = self.tokenizer.encode(request.prompt).tolist()
        whole = [self.tokenizer.encode(request.prompt + choice).tolist() for choice in request.choices]
        if any(ids[:len(prompt)] != prompt for ids in whole):
            raise SystemExit(f"request {request.id}: an option does not join cleanly to its prompt")
        return prompt, [ids[len(prompt):] for ids in whole]

    def generator(self, n_sequences: int, longest: int):
        params = self.api.GeneratorParams(self.model)
        params.set_search_options(batch_size=n_sequences, max_length=longest + 1, do_sample=False)
        return self.api.Generator(self.model, params)


    def score_one_by_one(self, items) -> tuple[list[tuple[float, float]], int]:
        """ln p (nats) of both options of every item, and how many tokens were computed; the order of tokens decides
        who comes after whom."""
        generator = self.generator(1, max(len(p) + max(map(len, o)) for p, o in items))
        scores, held, n_computed = [None] * len(items), [], 0

        def after(kept: int, tokens: list[int]):
            """Log-probabilities after each of some tokens that follow the first `kept` of those held."""
            nonlocal held, n_computed
            if kept < len(held):
                generator.rewind_to(kept)
            generator.append_tokens(np.array(tokens, dtype=np.int32))
            held, n_computed = held[:kept] + tokens, n_computed + len(tokens)
            return generator.get_output("logits")[0]

        for i in sorted(range(len(items)), key=lambda i: items[i][0]):
            prompt, options = items[i]
            # The last token of a prompt is computed in any case: the first token of an answer is read from it.
            kept = min(n_common(prompt, held), len(prompt) - 1)
            last = after(kept, prompt[kept:])[-1:].copy()
            sums = []
            for option in options:
                rest = after(len(prompt), option[:-1]) if len(option) > 1 else last[:0]
                sums.append(log_prob(np.concatenate([last, rest]), option))
            scores[i] = tuple(sums)
        return scores, n_computed

    def score_batches(self, items, size: int) -> tuple[list[tuple[float, float]], int]:
        """The same by whole sequences, `size` of one length at a time; equal ones once."""
        reads: dict[tuple[int, ...], list[tuple[int, int]]] = {}  # which options of which items a sequence is for
        for number, (prompt, options) in enumerate(items):
            for which, option in enumerate(options):
                reads.setdefault((*prompt, *option[:-1]), []).append((number, which))
        scores = [[0.0, 0.0] for _ in items]
        for length, same in groupby(sorted(reads, key=lambda s: (len(s), s)), key=len):
            same = list(same)
            for start in range(0, len(same), size):
                batch = same[start:start + size]
                generator = self.generator(len(batch), length)
                generator.append_tokens(np.array(batch, dtype=np.int32))
                logits = generator.get_output("logits")
                for row, sequence in enumerate(batch):
                    for number, which in reads[sequence]:
                        prompt, options = items[number]
                        scores[number][which] = log_prob(logits[row, len(prompt) - 1:], options[which])
        return [tuple(both) for both in scores], sum(map(len, reads))


def log_prob(logits, option: list[int]) -> float:
    """Of an option whose tokens are read off these rows, in order."""
    top = logits.max(axis=1)
    log_sums = top + np.log(np.exp(logits - top[:, None]).sum(axis=1, dtype=np.float64))
    return float(sum(row[token] - log_sum for row, log_sum, token in zip(logits, log_sums, option, strict=True)))


def n_common(one: list[int], other: list[int]) -> int:
    """How many tokens both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other)))


def main():
    parser = peer_parser(__doc__.splitlines()[0])
    parser.add_argument("--at-a-time", default="auto-best", metavar="N",
                        help=f"sequences; auto-best (default): the fastest of {AT_A_TIME} on a sample")
    options = parser.parse_args()

    start = time.perf_counter()
    model = Model(options.model, options.threads)
    load_seconds = time.perf_counter() - start
    requests = read_requests(options.requests)
    start = time.perf_counter()
    items = [model.tokens(request) for request in requests]
    tokenize_seconds = time.perf_counter() - start

    def timed(items, size):
        start = time.perf_counter()
        log_probs, n_computed = model.score_one_by_one(items) if size == 1 else model.score_batches(items, size)
        return log_probs, time.perf_counter() - start, n_computed

    timed(items[:1], 1)  # the first call allocates
    # A sample of neighbours, as they are in the run: spread ones would share less, and have fewer of one length.
    sample = sorted(items)[:N_SAMPLE]
    size, tried = fastest(options.at_a_time, AT_A_TIME, lambda size: len(sample) / timed(sample, size)[1])
    log_probs, seconds, n_computed = timed(items, size)
    finish(options, requests, log_probs, tool="onnxruntime-genai", version=version("onnxruntime-genai"),
           seconds=tokenize_seconds + seconds, load_seconds=load_seconds, runtime="onnxruntime-genai", weights="fp32",
           batch_size=size, tried_triplets_per_second=tried, tokens_per_triplet=round(n_computed / len(items), 1))


if __name__ == "__main__":
    main()
