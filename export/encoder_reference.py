"""A BERT encoder once more, in numpy and float64, and the comparison of a graph with it."""

from dataclasses import dataclass
from math import erf, pi, sqrt
from pathlib import Path

import numpy as np
import onnxruntime

from . import ExportError
from .check import open_session, run_session
from .safetensors_reader import Checkpoint

MAX_STATE_DIFFERENCE = 1e-4  # f32 against f64 over a dozen layers; states are about 1, and a wrong graph is off by as much
LENGTHS = (13, 7, 2)  # of the texts in a padded batch


@dataclass(frozen=True)
class Sizes:
    """The numbers that fix the graph."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocab: int
    positions: int
    types: int
    epsilon: float
    activation: str


def compare(checkpoint: Checkpoint, sizes: Sizes, path: Path) -> dict:
    """What alike.json records: a padded batch of two segments, each text of it alone as well.

    # Errors
    ExportError when a state is off by more than the limit.
    """
    longest = min(max(LENGTHS), sizes.positions)
    ids = (1009 * np.arange(len(LENGTHS) * longest) ** 2 % sizes.vocab).reshape(len(LENGTHS), longest)
    types = np.minimum(np.arange(longest) // 5, sizes.types - 1) + np.zeros_like(ids)
    session = open_session(path)

    def run(ids, keep, types):
        return run_session(session, {"input_ids": ids, "attention_mask": keep, "token_type_ids": types})["last_hidden_state"]

    keep = (np.arange(longest) < np.array(LENGTHS)[:, None]).astype(np.int64)
    padded = run(ids, keep, types)
    worst, positions = 0.0, 0
    for row, length in enumerate(min(length, longest) for length in LENGTHS):
        expected = states_of(checkpoint, sizes, ids[row, :length], types[row, :length])
        alone = run(ids[row:row + 1, :length], np.ones((1, length), dtype=np.int64), types[row:row + 1, :length])
        for states in (padded[row, :length], alone[0]):
            worst = max(worst, float(np.abs(states - expected).max()))
            positions += length
    if not worst <= MAX_STATE_DIFFERENCE:  # also false for NaN
        raise ExportError(f"states differ from the reference by {worst:.2e}, more than {MAX_STATE_DIFFERENCE:.0e}")
    return {
        "reference": "numpy float64 forward pass over the same weights",
        "positions": positions,
        "max_abs_state_difference": float(f"{worst:.3g}"),
        "limit": MAX_STATE_DIFFERENCE,
        "onnxruntime": onnxruntime.__version__,
    }


def states_of(checkpoint: Checkpoint, sizes: Sizes, ids: np.ndarray, types: np.ndarray) -> np.ndarray:
    """The states `[seq, hidden]` of one text."""
    def weight(name):
        return checkpoint.stored(name).astype(np.float64)

    def dense(name, x):
        return x @ weight(f"{name}.weight").T + weight(f"{name}.bias")

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x ** 2).mean(-1, keepdims=True) + sizes.epsilon)
        return x * weight(f"{name}.weight") + weight(f"{name}.bias")

    def heads(x):
        return x.reshape(len(ids), sizes.heads, -1).swapaxes(0, 1)

    x = (weight("embeddings.word_embeddings.weight")[ids] + weight("embeddings.token_type_embeddings.weight")[types]
         + weight("embeddings.position_embeddings.weight")[:len(ids)])
    x = norm("embeddings.LayerNorm", x)
    for i in range(sizes.layers):
        layer = f"encoder.layer.{i}"
        q, k, v = (heads(dense(f"{layer}.attention.self.{part}", x)) for part in ("query", "key", "value"))
        scores = q @ k.swapaxes(1, 2) / sqrt(q.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ v).swapaxes(0, 1).reshape(x.shape)
        x = norm(f"{layer}.attention.output.LayerNorm", x + dense(f"{layer}.attention.output.dense", mixed))
        inner = _gelu(dense(f"{layer}.intermediate.dense", x), sizes.activation)
        x = norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", inner))
    return x


def _gelu(x, kind):
    if kind == "gelu":
        return x * (1 + np.vectorize(erf)(x / sqrt(2))) / 2
    return x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))) / 2
