"""Compares graphs of the families that have builders of their own with transformers, on the same folder.

Rows are asked for as the engine asks: states taken up again out of a pool, and answers that branch in one row.
"""

from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime

from . import ExportError
from .check import MAX_LOGIT_DIFFERENCE, open_session, score_all

LENGTH = 37
CUTS = (24, 36)  # a prefix, a continuation, and one token by itself
STEM, BRANCHES = 3, (5, 2)  # of decoder tokens: what two answers share, and the rest of each
N_SLOTS = 16


def compare(folder: Path, draft: Path, run: Callable) -> dict | None:
    """What alike.json records of the check; None where torch is not installed.

    `run`: one of the functions below, which yields logits `[positions, vocab]` of the graph and of the reference.

    # Errors
    ExportError when a logit is off by more than the limit.
    """
    if find_spec("torch") is None or find_spec("transformers") is None:
        return None
    pairs = list(run(folder, open_session(draft / "model.onnx")))
    # Both sides round to f32, so what may differ grows with the size of what is computed.
    limit = MAX_LOGIT_DIFFERENCE * max(1.0, float(np.concatenate([expected for _, expected in pairs]).std()))
    worst = max(float(np.abs(got - expected).max()) for got, expected in pairs)
    if not worst <= limit:  # also false for NaN
        raise ExportError(f"logits differ from transformers' by {worst:.2e}, more than {limit:.0e}")
    return {
        "reference": f"transformers {version('transformers')}, float32, whole sequences",
        "positions": sum(len(got) for got, _ in pairs),
        "max_abs_logit_difference": float(f"{worst:.3g}"),
        "limit": float(f"{limit:.3g}"),
        "onnxruntime": onnxruntime.__version__,
    }


def run_state_space(folder, session):
    """Prefixes; their continuations in swapped order, one prefix twice; then a token, and all of it token by token."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    sequences = _spread(2, LENGTH, model.config.vocab_size)
    crossed = np.concatenate([sequences[:, :CUTS[0]], sequences[::-1, CUTS[0]:]], axis=1)
    sequences = np.concatenate([sequences, crossed])
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(sequences)).logits.numpy()

    own, pool = np.array([0, 1]), StatePool(session)
    states = np.zeros(2, dtype=np.int64)
    for start, cut in zip((0, *CUTS), (*CUTS, LENGTH)):
        outputs = pool.run(sequences[own, start:cut], states)
        yield from ((outputs["logits"][i], expected[row, start:cut]) for i, row in enumerate(own))
        if start == 0:
            pool.refuse_side_effects(sequences[own, :cut], states, outputs)
        states = pool.keep(outputs)
        if start == 0:
            again = [1, 0, 1]
            own, states = np.array([3, 2, 1]), states[again]
    states = np.zeros(4, dtype=np.int64)
    for at in range(LENGTH):
        outputs = pool.run(sequences[:, at:at + 1], states)
        states = pool.keep(outputs)
        yield outputs["logits"][:, 0], expected[:, at]


class StatePool:
    """States by slot: zeros in slot 0, and NaN in those that are free, which must not matter."""

    def __init__(self, session):
        self._session = session
        widths = {i.name: i.shape[1] for i in session.get_inputs() if i.name.startswith("past_state.")}
        self._arrays = {name: np.full((N_SLOTS, width), np.nan, np.float32) for name, width in widths.items()}
        for array in self._arrays.values():
            array[0] = 0
        self._next = 0

    def run(self, ids, states, scores=True) -> dict:
        return score_all(self._session, {"input_ids": ids, "past_states": states, **self._arrays}, ids, scores)

    def keep(self, outputs) -> np.ndarray:
        """The slots `[batch]` that the states after a pass are given; after the last one the first is free again."""
        n = len(outputs["present_state.0.ssm"])
        slots = 1 + (self._next + np.arange(n)) % (N_SLOTS - 1)
        self._next += n
        for name, array in self._arrays.items():
            array[slots] = outputs[name.replace("past_state.", "present_state.")]
        return slots

    def refuse_side_effects(self, ids, states, outputs) -> None:
        """A pass that scores nothing must leave the same states."""
        silent = self.run(ids, states, scores=False)
        for name, value in outputs.items():
            if name.startswith("present_state.") and not np.array_equal(value, silent[name]):
                raise ExportError(f"{name} depends on whether positions are scored")


def run_seq2seq(folder, session):
    """Two sources, each with two answers in one row that begin alike; and a row with the longer answer alone."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    first, second = BRANCHES
    ids = _spread(2, LENGTH + STEM + first + second, model.config.vocab_size)
    source, ids = ids[:, :LENGTH], ids[:, LENGTH:]
    ids[:, 0] = model.config.decoder_start_token_id
    longer, shorter = ids[:, :STEM + first], np.concatenate([ids[:, :STEM], ids[:, STEM + first:]], axis=1)

    def reference(answers):
        with torch.no_grad():
            return model(input_ids=torch.tensor(source), decoder_input_ids=torch.tensor(answers)).logits.numpy()

    def run(answers, parents):
        sees = np.zeros((len(parents), len(parents)), dtype=bool)
        for token, parent in enumerate(parents):
            sees[token] = sees[parent] if parent >= 0 else False
            sees[token, token] = True
        feeds = {"input_ids": source, "decoder_input_ids": answers,
                 "position_ids": np.tile(sees.sum(axis=1) - 1, (len(answers), 1)),
                 "attention_mask": np.tile(sees, (len(answers), 1, 1))}
        return score_all(session, feeds, answers)["logits"]

    tree = [*range(-1, STEM + first - 1), STEM - 1, *range(STEM + first, STEM + first + second - 1)]
    branched, alone = run(ids, tree), run(longer, range(-1, STEM + first - 1))
    expected = reference(longer), reference(shorter)
    for row in (0, 1):
        yield branched[row, :STEM + first], expected[0][row]
        yield branched[row, STEM + first:], expected[1][row, STEM:]
        yield alone[row], expected[0][row]


def _spread(rows, length, vocab_size):
    """Ids from the whole vocabulary."""
    return (1009 * np.arange(rows * length) ** 2 % vocab_size).reshape(rows, length)
