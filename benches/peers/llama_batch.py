"""llama.cpp through llama-cpp-python: the two options of each request, on CPU.

    python llama_batch.py --requests requests.jsonl --model FILE.gguf --log-probs out.jsonl [--group N] [--exact]

As fast as its API allows: requests are sorted, so that neighbours begin alike; a group of them is one llama_decode,
in which a token that several sequences share is computed once; what a group shares as a whole stays in the cache for
the next one; the two options of a request are two sequences over its prompt; only scored positions ask for logits.
With --group 1 it is the simple way: the beginning reused from the request before, both options in one batch.
"""

import ctypes
import time
from dataclasses import dataclass, field
from itertools import takewhile

from common import fastest, finish, peer_parser, read_requests

GROUPS = [1, 4, 8, 16, 32]
N_SAMPLE = 64  # requests that each group size is tried on


@dataclass(frozen=True)
class Tokens:
    """A request in tokens."""

    prompt: list[int]
    options: tuple[list[int], list[int]]

    @property
    def n(self) -> int:
        return len(self.prompt) + sum(map(len, self.options))


@dataclass
class Node:
    """A token of a group's tree, and the sequences that pass through it."""

    token: int
    position: int
    sequences: list[int] = field(default_factory=list)
    scored: bool = False


class Model:
    """Weights and vocabulary."""

    def __init__(self, path):
        import llama_cpp

        self.api = llama_cpp
        self.silence = llama_cpp.llama_log_callback(lambda *_: None)  # kept: C holds a pointer to it
        llama_cpp.llama_log_set(self.silence, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def weights(self) -> str:
        """The file's type by its name in GGUF: all_f32, mostly_q4_1, ..."""
        from gguf import LlamaFileType

        text = ctypes.create_string_buffer(32)
        self.api.llama_model_meta_val_str(self.model, b"general.file_type", text, len(text))
        return LlamaFileType(int(text.value)).name.lower()

    def tokenize(self, text: str) -> list[int]:
        data = text.encode()
        ids = (self.api.llama_token * (len(data) + 1))()
        n = self.api.llama_tokenize(self.vocab, data, len(data), ids, len(ids), False, True)
        return ids[:n]

    def tokens(self, request) -> Tokens:
        """Options are tokenised with the prompt and split where it ends, as alike and lm-eval do."""
        prompt = self.tokenize(request.prompt)
        whole = [self.tokenize(request.prompt + choice) for choice in request.choices]
        if any(ids[:len(prompt)] != prompt for ids in whole):
            raise SystemExit(f"request {request.id}: an option does not join cleanly to its prompt")
        return Tokens(prompt, tuple(ids[len(prompt):] for ids in whole))


class Scorer:
    """A context for groups of up to `group` requests of up to `longest` tokens.

    Sequence 0 holds what a group shares; request k of the group owns sequences 2k + 1 and 2k + 2, one per option.
    """

    def __init__(self, model: Model, group: int, longest: int, threads: int, exact: bool):
        self.model, self.api, self.group = model, model.api, group
        params = self.api.llama_context_default_params()
        # One physical batch holds a group, and sequences share cells of one cache instead of having copies.
        params.n_ctx = params.n_batch = params.n_ubatch = group * longest
        params.n_seq_max, params.kv_unified = 2 * group + 1, True
        params.n_threads = params.n_threads_batch = threads
        if exact:
            params.type_k = params.type_v = self.api.GGML_TYPE_F32
            params.flash_attn_type = self.api.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it would halve keys and values
        self.context = self.api.llama_init_from_model(model.model, params)
        if not self.context:
            raise SystemExit(f"llama.cpp cannot make a context for groups of {group}")
        self.memory = self.api.llama_get_memory(self.context)
        self.batch = self.api.llama_batch_init(params.n_batch, 0, params.n_seq_max)
        self.held: list[int] = []  # tokens in sequence 0
        self.n_computed = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.api.llama_batch_free(self.batch)
        self.api.llama_free(self.context)

    def score_all(self, items: list[Tokens]) -> list[tuple[float, float]]:
        """(first, second) an item, in the order given."""
        order = sorted(range(len(items)), key=lambda i: items[i].prompt)
        scores = [None] * len(items)
        for start in range(0, len(order), self.group):
            at = order[start:start + self.group]
            for i, score in zip(at, self.score_group([items[i] for i in at]), strict=True):
                scores[i] = score
        return scores

    def score_group(self, items: list[Tokens]) -> list[tuple[float, float]]:
        # The last token of a prompt is computed in any case: the first token of an answer is read from it.
        shared = min(n_common([item.prompt for item in items]), min(len(item.prompt) for item in items) - 1)
        prefix = items[0].prompt[:shared]
        self._keep(n_common([prefix, self.held]), len(items))
        nodes, answers = self._tree(items, shared)
        self._decode(nodes)
        self.held = prefix
        self.n_computed += len(nodes)
        log_probs = self._log_probs(nodes, answers)
        return list(zip(log_probs[::2], log_probs[1::2], strict=True))

    def _tree(self, items: list[Tokens], shared: int) -> tuple[list[Node], list[tuple[list[int], list[Node]]]]:
        """What is to be computed, and for each option its tokens and the nodes they are read from."""
        held, everyone = len(self.held), list(range(2 * len(items) + 1))
        nodes = [Node(items[0].prompt[i], i, everyone) for i in range(held, shared)]
        answers = []
        path, previous = [], items[0].prompt[:shared]  # path: nodes of the previous prompt behind what all share
        for k, item in enumerate(items):
            both = [2 * k + 1, 2 * k + 2]
            same = n_common([item.prompt, previous])
            path = path[:same - shared] + [Node(item.prompt[i], i) for i in range(same, len(item.prompt))]
            nodes += path[same - shared:]
            for node in path:
                node.sequences += both
            for sequence, option in zip(both, item.options, strict=True):
                steps = [Node(token, len(item.prompt) + i, [sequence]) for i, token in enumerate(option[:-1])]
                nodes += steps
                answers.append((option, [path[-1], *steps]))
            previous = item.prompt
        for _, read in answers:
            for node in read:
                node.scored = True
        return nodes, answers

    def _keep(self, n: int, n_items: int) -> None:
        """Leaves the first `n` tokens of sequence 0, and gives them to the sequences of the next group."""
        self.api.llama_memory_seq_rm(self.memory, 0, n, -1)
        self.held = self.held[:n]
        for sequence in range(1, 2 * self.group + 1):
            self.api.llama_memory_seq_rm(self.memory, sequence, -1, -1)
            if n and sequence <= 2 * n_items:
                self.api.llama_memory_seq_cp(self.memory, 0, sequence, 0, n)

    def _decode(self, nodes: list[Node]) -> None:
        batch = self.batch
        batch.n_tokens = len(nodes)
        for i, node in enumerate(nodes):
            batch.token[i], batch.pos[i], batch.logits[i] = node.token, node.position, node.scored
            batch.n_seq_id[i] = len(node.sequences)
            for j, sequence in enumerate(node.sequences):
                batch.seq_id[i][j] = sequence
        if self.api.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")

    def _log_probs(self, nodes, answers) -> list[float]:
        import numpy as np

        # llama.cpp keeps the logits of scored nodes only, in the order of the batch.
        row = {id(node): i for i, node in enumerate(node for node in nodes if node.scored)}
        logits = np.ctypeslib.as_array(self.api.llama_get_logits(self.context), shape=(len(row), self.model.n_vocab))
        top = logits.max(axis=1)
        log_sums = top + np.log(np.exp(logits - top[:, None]).sum(axis=1, dtype=np.float64))
        return [float(sum(logits[row[id(node)], token] - log_sums[row[id(node)]]
                          for token, node in zip(option, read, strict=True)))
                for option, read in answers]


def n_common(lists: list[list[int]]) -> int:
    """How many tokens all lists begin with."""
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*lists)))


def main():
    parser = peer_parser(__doc__.splitlines()[0])
    parser.add_argument("--group", default="auto-best", metavar="N",
                        help=f"requests in one decode; auto-best (default): the fastest of {GROUPS} on a sample")
    parser.add_argument("--exact", action="store_true",
                        help="keys and values in fp32 and no flash attention; llama.cpp's defaults halve them")
    options = parser.parse_args()

    start = time.perf_counter()
    model = Model(options.model)
    load_seconds = time.perf_counter() - start
    requests = read_requests(options.requests)
    start = time.perf_counter()
    items = [model.tokens(request) for request in requests]
    tokenize_seconds = time.perf_counter() - start
    longest = max(item.n for item in items)

    def timed(group, items):
        with Scorer(model, group, longest, options.threads, options.exact) as scorer:
            scorer.score_all(items[:1])  # the first call allocates
            scorer.n_computed, start = 0, time.perf_counter()
            log_probs = scorer.score_all(items)
            return log_probs, time.perf_counter() - start, scorer.n_computed

    # A sample of neighbours, as they are in the run: spread ones would share less.
    sample = sorted(items, key=lambda item: item.prompt)[:N_SAMPLE]
    group, tried = fastest(options.group, GROUPS, lambda group: len(sample) / timed(group, sample)[1])
    log_probs, seconds, n_computed = timed(group, items)
    finish(options, requests, log_probs, tool="llama.cpp", version=model.api.__version__,
           seconds=tokenize_seconds + seconds, load_seconds=load_seconds, runtime="llama-cpp-python",
           weights=model.weights(), batch_size=group, tried_triplets_per_second=tried,
           tokens_per_triplet=round(n_computed / len(items), 1), exact=options.exact)


if __name__ == "__main__":
    main()
