"""The graph before an edit, as the reference for the graph after it."""

from pathlib import Path

import numpy as np
from onnx import ModelProto, helper

from . import ExportError
from .caches import read_caches
from .check import MAX_LOGIT_DIFFERENCE, check_model, open_session, run_session
from .onnx_graph import F32, Graph

MAX_HALF_DIFFERENCE = 5e-2  # of the logits' standard deviation; half precision keeps 1e-3 of a number, 30 layers less
IN_F32 = 1  # an accuracy_level of MatMulNBits


class Original:
    """Sequences go in whole and one by one, which even those graphs can do that take no past in a batch."""

    def __init__(self, source: Path, model: ModelProto, config: dict):
        g = Graph(model)
        caches = read_caches(g, config)
        self._types = {name: helper.tensor_dtype_to_np_dtype(g.dtype(name)) for name in g.inputs}
        # A cache that keeps a window only is a buffer of that size from the start; the others begin empty.
        room = {name: g.attribute(node, "local_window_size") for node in g.nodes
                if g.attribute(node, "sliding_window_cache", 0) for name in node.input[3:5]}
        self._no_past = {cache.past: np.zeros((1, cache.heads, room.get(cache.past, 0), cache.head_dim),
                                              self._types[cache.past]) for cache in caches}
        self._half = any(cache.dtype != F32 for cache in caches) or g.dtype("logits") != F32
        try:
            self._session = open_session(source, _computing_in_f32(model))
            self._vocab_size = self.logits(np.zeros((1, 2), dtype=np.int64)).shape[-1]
        except ExportError as error:
            raise ExportError(f"{source} does not run as it is: {error}") from error

    def logits(self, sequences: np.ndarray) -> np.ndarray:
        """Token ids `[batch, seq]` to logits `[batch, seq, vocab]`."""
        return np.concatenate([self._run(sequence[None]) for sequence in sequences])

    def compare(self, path: Path, edited: ModelProto, trees: bool) -> dict:
        """What alike.json records of the check.

        # Errors
        ExportError when the edited graph does not run, or gives other logits.
        """
        limit = MAX_LOGIT_DIFFERENCE
        if self._half:
            limit = float(f"{MAX_HALF_DIFFERENCE * self.logits(np.arange(32)[None] % self._vocab_size).std():.2g}")
        session = open_session(path, _computing_in_f32(edited))
        result = check_model(self.logits, self._vocab_size, "scoring", session, trees, limit)
        return {"reference": "the graph before the edit, each sequence whole and alone", **result}

    def _run(self, ids):
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(ids.shape[1])[None]}
        feeds = {name: value.astype(self._types[name]) for name, value in feeds.items() if name in self._types}
        return run_session(self._session, feeds | self._no_past)["logits"].astype(np.float32)


def _computing_in_f32(model: ModelProto) -> ModelProto | None:
    """The same, with products that would round activations to 8 bits done in f32; None if there are none.

    Rounding turns differences of 1e-6 into 1e-2. They would hide a wrong edit, and say nothing about a right one.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    levels = [attribute for node in copy.graph.node if node.op_type == "MatMulNBits"
              for attribute in node.attribute if attribute.name == "accuracy_level" and attribute.i > IN_F32]
    for level in levels:
        level.i = IN_F32
    return copy if levels else None
