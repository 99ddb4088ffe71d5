"""Compares graphs of the families that have builders of their own with transformers, on the same folder.

Rows are asked for as the engine asks: states taken up again out of a pool, and answers that branch in one row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession

from . import ExportError
from .check import MAX_LOGIT_DIFFERENCE, open_session, score_all

MAX_TIMES_ROUNDING = 4
MAX_LIMIT = 5e-2  # a wrong graph is off by 0.1 or more
LENGTH = 37
CUTS = (24, 36)  # a prefix, a continuation, and one token by itself
STEM, BRANCHES = 3, (5, 2)  # of decoder tokens: what two answers share, and how many more of each are in a row
N_SLOTS = 16

Inputs = dict[str, np.ndarray]
Pairs = Iterator[tuple[np.ndarray, np.ndarray]]  # logits of the graph and of the reference, `[positions, vocab]`


@dataclass(frozen=True)
class Comparison:
    """How one kind of model is asked."""

    auto_class: str  # of transformers
    inputs: Callable[[dict], Inputs]  # config.json to whole sequences, in one batch
    run: Callable[[InferenceSession, Inputs, np.ndarray], Pairs]


def compare(folder: Path, config: dict, draft: Path, how: Comparison) -> dict | None:
    """What alike.json records of the check; None where torch is not installed.

    # Errors
    ExportError when a logit is off by more than the limit.
    """
    if find_spec("torch") is None or find_spec("transformers") is None:
        return None
    inputs = how.inputs(config)
    expected, rounding = _reference(folder, how.auto_class, inputs)
    pairs = list(how.run(open_session(draft / "model.onnx"), inputs, expected))
    worst = max(float(np.abs(got - expected).max()) for got, expected in pairs)
    limit = min(max(MAX_LOGIT_DIFFERENCE, MAX_TIMES_ROUNDING * rounding), MAX_LIMIT)
    if not worst <= limit:  # also false for NaN
        raise ExportError(f"logits differ from transformers' by {worst:.2e}, more than {limit:.0e}")
    return {
        "reference": f"transformers {version('transformers')}, float32, whole sequences",
        "positions": sum(len(got) for got, _ in pairs),
        "max_abs_logit_difference": float(f"{worst:.3g}"),
        "reference_rounding": float(f"{rounding:.3g}"),
        "limit": float(f"{limit:.3g}"),
        "onnxruntime": onnxruntime.__version__,
    }


def _reference(folder: Path, auto_class: str, inputs: Inputs) -> tuple[np.ndarray, float]:
    """Logits `[batch, seq, vocab]`, and how far they move when the last bit of every weight does.

    No two implementations in f32 agree better than that, and models differ in it by a factor of a thousand.
    """
    import torch
    import transformers

    try:
        model = getattr(transformers, auto_class).from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ExportError(f"transformers does not load {folder}: {error}") from error
    model.eval()
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    torch.manual_seed(1)
    with torch.no_grad():
        expected = model(**tensors).logits
        for weight in model.parameters():
            towards = torch.copysign(torch.full_like(weight, torch.inf), torch.randn_like(weight))
            weight.copy_(torch.nextafter(weight, towards))
        return expected.numpy(), float((model(**tensors).logits - expected).abs().max())


def sequences(config: dict) -> Inputs:
    """Two prompts, and each of them continued as the other."""
    own = _spread(2, LENGTH, config["vocab_size"])
    crossed = np.concatenate([own[:, :CUTS[0]], own[::-1, CUTS[0]:]], axis=1)
    return {"input_ids": np.concatenate([own, crossed])}


def run_states(session: InferenceSession, inputs: Inputs, expected: np.ndarray) -> Pairs:
    """Prefixes; their continuations in swapped order, one prefix twice; then a token. And all of it token by token."""
    whole, pool = inputs["input_ids"], StatePool(session)
    rows, states = np.array([0, 1]), np.zeros(2, dtype=np.int64)
    for start, cut in zip((0, *CUTS), (*CUTS, LENGTH)):
        outputs = pool.run(whole[rows, start:cut], states)
        yield from ((outputs["logits"][i], expected[row, start:cut]) for i, row in enumerate(rows))
        if start == 0:
            pool.refuse_side_effects(whole[rows, :cut], states, outputs)
        states = pool.keep(outputs)
        if start == 0:
            rows, states = np.array([3, 2, 1]), states[[1, 0, 1]]
    states = np.zeros(len(whole), dtype=np.int64)
    for at in range(LENGTH):
        outputs = pool.run(whole[:, at:at + 1], states)
        states = pool.keep(outputs)
        yield outputs["logits"][:, 0], expected[:, at]


class StatePool:
    """States by slot: zeros in slot 0, and NaN in those that are free, which must not matter."""

    def __init__(self, session: InferenceSession):
        self._session = session
        widths = {i.name: i.shape[1] for i in session.get_inputs() if i.name.startswith("past_state.")}
        self._arrays = {name: np.full((N_SLOTS, width), np.nan, np.float32) for name, width in widths.items()}
        for array in self._arrays.values():
            array[0] = 0
        self._n_kept = 0

    def run(self, ids: np.ndarray, states: np.ndarray, scores: bool = True) -> dict:
        return score_all(self._session, {"input_ids": ids, "past_states": states, **self._arrays}, ids, scores)

    def keep(self, outputs: dict) -> np.ndarray:
        """The slots `[batch]` that the states after a pass are given; after the last one the first is free again."""
        slots = 1 + (self._n_kept + np.arange(len(outputs["present_state.0.ssm"]))) % (N_SLOTS - 1)
        self._n_kept += len(slots)
        for name, array in self._arrays.items():
            array[slots] = outputs[name.replace("past_state.", "present_state.")]
        return slots

    def refuse_side_effects(self, ids: np.ndarray, states: np.ndarray, outputs: dict) -> None:
        """A pass that scores nothing must leave the same states."""
        silent = self.run(ids, states, scores=False)
        for name, value in outputs.items():
            if name.startswith("present_state.") and not np.array_equal(value, silent[name]):
                raise ExportError(f"{name} depends on whether positions are scored")


def sources_and_answers(config: dict) -> Inputs:
    """Two sources with two answers each, which begin alike."""
    ids = _spread(2, LENGTH + STEM + 2 * BRANCHES[0], config["vocab_size"])
    source, stem, *branches = np.split(ids, np.cumsum([LENGTH, STEM, BRANCHES[0]]), axis=1)
    answers = [np.concatenate([stem, branch], axis=1) for branch in branches]
    return {"input_ids": np.tile(source, (2, 1)), "decoder_input_ids": np.concatenate(answers)}


def run_answers(session: InferenceSession, inputs: Inputs, expected: np.ndarray) -> Pairs:
    """An answer by itself; then with the beginning of the other one as a branch in the same row."""
    source, (first, second) = inputs["input_ids"][:2], BRANCHES
    answers, others = np.split(inputs["decoder_input_ids"], 2)

    def run(ids, parents):
        sees = np.zeros((len(parents), len(parents)), dtype=bool)
        for token, parent in enumerate(parents):
            sees[token] = sees[parent] if parent >= 0 else False
            sees[token, token] = True
        feeds = {"input_ids": source, "decoder_input_ids": ids,
                 "position_ids": np.tile(sees.sum(axis=1) - 1, (len(ids), 1)),
                 "attention_mask": np.tile(sees, (len(ids), 1, 1))}
        return score_all(session, feeds, ids)["logits"]

    end = STEM + first
    chain = list(range(-1, end - 1))
    alone = run(answers, chain)
    branched = run(np.concatenate([answers, others[:, STEM:STEM + second]], axis=1),
                   [*chain, STEM - 1, *range(end, end + second - 1)])
    for row in (0, 1):
        yield alone[row], expected[row]
        yield branched[row, :end], expected[row]
        yield branched[row, end:], expected[row + 2, STEM:STEM + second]


def _spread(rows: int, length: int, vocab_size: int) -> np.ndarray:
    """Ids from the whole vocabulary."""
    return (1009 * np.arange(rows * length) ** 2 % vocab_size).reshape(rows, length)


STATE_SPACE = Comparison("AutoModelForCausalLM", sequences, run_states)
SEQ2SEQ = Comparison("AutoModelForSeq2SeqLM", sources_and_answers, run_answers)
