"""Runs an ONNX file the way the engine will, and compares its logits with those of a reference."""

import re
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto
from onnxruntime import InferenceSession

from . import ExportError, say

# f32 against f64 over 30 layers differs by about 1e-4. A wrong graph is off by 0.1 or more.
MAX_LOGIT_DIFFERENCE = 5e-4
MAX_LOG_PROB_ERROR = 2e-6  # what f32 keeps of a number near -20, and as much again of larger ones
LENGTH = 37
CUTS = (24, 36)  # a prefix, a continuation, and one token by itself: kernels differ by length
TREE_PAST, TREE_BRANCH = 10, 6  # tokens in the pool, and in the shorter branch
PADDING = 3
N_SLOTS = 512

Logits = Callable[[np.ndarray], np.ndarray]  # token ids [batch, seq] to logits [batch, seq, vocab]


def check_sequences(vocab_size: int) -> np.ndarray:
    """The token ids `[4, LENGTH]` that every check runs on: two prompts, and each continued as the other."""
    own = (1009 * np.arange(2 * LENGTH) ** 2 % vocab_size).reshape(2, LENGTH)  # spread over the whole vocabulary
    crossed = np.concatenate([own[:, :CUTS[0]], own[::-1, CUTS[0]:]], axis=1)
    return np.concatenate([own, crossed])


def check_model(reference: Logits, vocab_size: int, layout: str, session: InferenceSession, trees: bool = True,
                limit: float | None = MAX_LOGIT_DIFFERENCE) -> dict:
    """Returns the numbers that `alike.json` records.

    # Errors
    ExportError when a logit is off by more than `limit`, if there is one, or is no number.
    """
    sequences = check_sequences(vocab_size)
    expected = reference(sequences)
    actual = _run_scoring(session, sequences, trees) if layout == "scoring" else _run_standard(session, sequences)
    pairs = [(got, expected[row, start:start + len(got)]) for row, start, got in actual]
    worst = max(float(np.abs(got - wanted).max()) for got, wanted in pairs)
    if not np.isfinite(worst):
        raise ExportError("logits are infinite or not a number, where those of the reference are not"
                          if np.isfinite(expected).all() else "the reference's logits are infinite or not a number")
    if limit is not None and worst > limit:
        raise ExportError(f"logits differ from the reference by {worst:.2e}, more than {limit:.0e}")
    log_probs = max(float(np.abs(log_softmax(got) - log_softmax(wanted)).max()) for got, wanted in pairs)
    return {
        "positions": sum(len(got) for got, _ in pairs),
        "max_abs_logit_difference": float(f"{worst:.3g}"),
        "max_abs_log_prob_difference": float(f"{log_probs:.3g}"),
        "limit": limit,
        "onnxruntime": onnxruntime.__version__,
    }


def not_run(error: ExportError, precision: str) -> dict:
    """What is recorded where the graph does not run here: bf16 on the CPU. Any other failure is raised again."""
    if precision != "bf16" or "NOT_IMPLEMENTED" not in str(error):
        raise error
    return {"not_run": f"{error} (its CPU provider lacks kernels for bf16)"}


def say_check(result: dict | None, precision: str) -> None:
    if result is None:
        say("not compared with anything")
    elif "not_run" in result:
        say(f"not compared: {result['not_run']}")
    else:
        limit = "no limit in this precision" if result["limit"] is None else f"limit {result['limit']:.0e}"
        say(f"{precision}: logits differ by {result['max_abs_logit_difference']:.1e} at most ({limit}), "
            f"over {result['positions']} positions")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    logits = logits.astype(np.float64)
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def open_session(path: Path, model: ModelProto | None = None) -> InferenceSession:
    """`model`, if given, runs in the place of what is in the file, with the weights beside it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised as well
    if model is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    with _naming_the_runtime():
        runnable = path if model is None else model.SerializeToString()
        return InferenceSession(runnable, options, providers=["CPUExecutionProvider"])


def run_session(session: InferenceSession, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All outputs by name. Feeds that the graph does not take are left out."""
    taken = {i.name for i in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    with _naming_the_runtime():
        return dict(zip(names, session.run(names, {name: value for name, value in feeds.items() if name in taken})))


@contextmanager
def _naming_the_runtime():
    try:
        yield
    except Exception as error:  # its exceptions have no other base in common
        message = re.sub(r"/\S+:\d+ .*\) ", "", str(error).splitlines()[0])  # without its own source files
        raise ExportError(f"ONNX Runtime: {message}") from error


class Pool:
    """Keys and values by slot. Slots are handed out in no order, and free ones hold NaN: they must not matter."""

    def __init__(self, session):
        widths = {i.name: i.shape[1] for i in session.get_inputs() if i.name.startswith("past_key_values.")}
        self.arrays = {name: np.full((N_SLOTS, width), np.nan, np.float32) for name, width in widths.items()}
        self._free = np.random.default_rng(1).permutation(N_SLOTS)

    def append(self, outputs) -> np.ndarray:
        """The slots `[batch, seq]` that the new tokens of a pass are given."""
        shape = outputs["present.0.key"].shape[:2]
        n = shape[0] * shape[1]
        slots, self._free = self._free[:n], self._free[n:]
        for name, array in self.arrays.items():
            array[slots] = outputs[name.replace("past_key_values.", "present.")].reshape(n, -1)
        return slots.reshape(shape)


def _run_scoring(session, sequences, trees):
    """Prefixes; their continuations in swapped order, one prefix twice; then small trees."""
    pool, own = Pool(session), np.array([0, 1])
    past = np.empty((2, 0), dtype=np.int64)
    results = []
    for start, cut in zip((0, *CUTS), (*CUTS, LENGTH)):
        outputs = _score(session, sequences[own, start:cut], past, pool)
        if start == 0:
            _refuse_side_effects(session, sequences[own, :cut], past, pool, outputs)
        results += [(row, start, outputs["logits"][i]) for i, row in enumerate(own)]
        past = np.concatenate([past, pool.append(outputs)], axis=1)
        if start == 0:
            prefix, again = past, [1, 0, 1]
            own, past = own[again], past[again]
    if trees:
        results += _run_trees(session, sequences, prefix[:, :TREE_PAST], pool)
    return results


def _run_trees(session, sequences, past, pool):
    """In each row the rest of a prompt, its own continuation, and the beginning of the other's."""
    stem, branch = CUTS[0] - TREE_PAST, LENGTH - CUTS[0]
    parents = np.arange(-1, stem + branch + TREE_BRANCH - 1)
    parents[stem + branch] = stem - 1
    ids = np.concatenate([sequences[:2, TREE_PAST:], sequences[2:, CUTS[0]:CUTS[0] + TREE_BRANCH]], axis=1)
    logits = _score(session, ids, past, pool, parents)["logits"]
    return ([(row, TREE_PAST, logits[row, :stem + branch]) for row in (0, 1)]
            + [(row + 2, CUTS[0], logits[row, stem + branch:]) for row in (0, 1)])


def _score(session, ids, past, pool, parents=None, scores=True):
    """One pass. `parents`: the place in the row of the token before each token; a chain if left out."""
    seq_len, past_len = ids.shape[1], past.shape[1]
    parents = np.arange(-1, seq_len - 1) if parents is None else parents
    sees = np.zeros((seq_len, past_len + seq_len), dtype=bool)
    sees[:, :past_len] = True
    for token, parent in enumerate(parents):
        if parent >= 0:
            sees[token] = sees[parent]
        sees[token, past_len + token] = True
    feeds = {"input_ids": ids, "past_tokens": past, **pool.arrays,
             "position_ids": np.tile(sees.sum(axis=1) - 1, (len(ids), 1)),
             "attention_mask": np.tile(sees, (len(ids), 1, 1))}
    if any(i.name == "attention_mask" and i.type == "tensor(int64)" for i in session.get_inputs()):
        feeds["attention_mask"] = np.ones((len(ids), past_len + seq_len), dtype=np.int64)  # the chain variant
    return score_all(session, feeds, ids, scores)


def score_all(session: InferenceSession, feeds: dict[str, np.ndarray], ids: np.ndarray, scores: bool = True) -> dict:
    """A pass of a graph in the scoring layout, with every token of `ids [batch, seq]` scored, or none.

    The outputs by name, `logits` as `[batch, seq, vocab]`, or None where nothing is scored.

    # Errors
    ExportError when log-probabilities are not those of the logits.
    """
    scored = np.argwhere(np.ones_like(ids)) if scores else np.empty((0, 2), dtype=np.int64)
    wanted = np.stack([np.arange(len(scored)), ids[tuple(scored.T)]], axis=1)
    outputs = run_session(session, {**feeds, "scored": scored, "wanted": wanted})
    log_probs = log_softmax(outputs["logits"])
    expected = {"log_probs": log_probs[tuple(wanted.T)],
                "top_log_probs": log_probs.max(-1), "top_ids": outputs["logits"].argmax(-1)}
    for name, value in expected.items():
        if not np.allclose(outputs[name], value, rtol=1e-7, atol=MAX_LOG_PROB_ERROR):
            raise ExportError(f"{name} does not follow from logits")
    outputs["logits"] = outputs["logits"].reshape(*ids.shape, -1) if scores else None
    return outputs


def _refuse_side_effects(session, ids, past, pool, outputs):
    """A pass that only fills the pool scores nothing, and must fill it with the same numbers."""
    silent = _score(session, ids, past, pool, scores=False)
    for name, value in outputs.items():
        if name.startswith("present.") and not np.array_equal(value, silent[name]):
            raise ExportError(f"{name} depends on whether positions are scored")


def _run_standard(session, sequences):
    """The second row is padded on the left, and so comes `PADDING` positions late."""
    late = np.array([0, PADDING])
    columns = np.arange(LENGTH) - late[:, None]
    ids = np.take_along_axis(sequences[:2], np.maximum(columns, 0), axis=1)
    keep = (columns >= 0).astype(np.int64)
    cache = {i.name: np.empty((2, i.shape[1], 0, i.shape[3]), np.float16 if "float16" in i.type else np.float32)
             for i in session.get_inputs() if i.name.startswith("past_key_values.")}
    logits = []
    for start, end in ((0, CUTS[0]), (CUTS[0], LENGTH)):
        feeds = {"input_ids": ids[:, start:end], "attention_mask": keep[:, :end],
                 "position_ids": np.maximum(columns[:, start:end], 0)}
        outputs = run_session(session, {**feeds, **cache})
        cache = {name: outputs[name.replace("past_key_values.", "present.")] for name in cache}
        logits.append(outputs["logits"])
    logits = np.concatenate(logits, axis=1)
    return [(0, 0, logits[0]), (1, 0, logits[1, PADDING:])]
