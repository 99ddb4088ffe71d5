"""Runs the ONNX file the way the engine will, in chunks over a cache, and compares its logits with `reference.py`."""

from pathlib import Path

import numpy as np
import onnxruntime

from .gguf_reader import Checkpoint, ExportError
from .reference import logits_of

# f32 against f64 over 30 layers differs by about 1e-4. A wrong graph is off by 0.1 or more.
MAX_LOGIT_DIFFERENCE = 5e-4
MAX_LOG_PROB_ERROR = 2e-6  # what f32 keeps of a number near -20
PREFIX_LENGTH, LENGTH, PADDING = 24, 37, 3


def check_model(checkpoint: Checkpoint, layout: str, model: Path) -> dict:
    """Returns what `alike.json` records.

    # Errors
    ExportError when a logit is off by more than `MAX_LOGIT_DIFFERENCE`.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    sequences = _sequences(checkpoint.sizes.vocab_size)
    expected = logits_of(checkpoint, sequences)
    actual = {"scoring": _run_scoring, "standard": _run_standard}[layout](session, checkpoint.sizes, sequences)
    worst = max(float(np.abs(got - expected[row, start:start + len(got)]).max()) for row, start, got in actual)
    if not worst <= MAX_LOGIT_DIFFERENCE:  # also false for NaN
        raise ExportError(f"logits differ from the reference by {worst:.2e}, more than {MAX_LOGIT_DIFFERENCE:.0e}")
    return {
        "reference": "numpy float64 forward pass over the same weights",
        "positions": sum(len(got) for _, _, got in actual),
        "max_abs_logit_difference": float(f"{worst:.3g}"),
        "limit": MAX_LOGIT_DIFFERENCE,
        "onnxruntime": onnxruntime.__version__,
    }


def _sequences(vocab_size):
    """Two fixed rows of ids, spread over the whole vocabulary."""
    return (1009 * np.arange(2 * LENGTH) ** 2 % vocab_size).reshape(2, LENGTH)


def _run_scoring(session, sizes, sequences):
    """Prefixes first; then their continuations in swapped order, one prefix twice."""
    prefix, rest = np.split(sequences, [PREFIX_LENGTH], axis=1)
    first = _score(session, sizes, prefix, np.array([0, 0]), _empty_cache(sizes, 1))
    rows = np.array([1, 0, 1])
    second = _score(session, sizes, rest[rows], rows, _present(first))
    # A pass that only fills the cache scores nothing, and must fill it with the same numbers.
    silent = _score(session, sizes, prefix, np.array([0, 0]), _empty_cache(sizes, 1), scores=False)
    for name, value in _present(first).items():
        if not np.array_equal(value, _present(silent)[name]):
            raise ExportError(f"{name} depends on whether positions are scored")
    return ([(row, 0, first["logits"][row]) for row in (0, 1)]
            + [(row, PREFIX_LENGTH, second["logits"][i]) for i, row in enumerate(rows)])


def _score(session, sizes, ids, past_rows, cache, scores=True):
    scored = np.argwhere(np.ones_like(ids)) if scores else np.empty((0, 2), dtype=np.int64)
    wanted = np.stack([np.arange(len(scored)), ids[tuple(scored.T)]], axis=1)
    feeds = {"input_ids": ids, "past_rows": past_rows, "scored": scored, "wanted": wanted, **cache}
    outputs = _run(session, feeds)
    logits = outputs["logits"].astype(np.float64)
    log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    expected = {"log_probs": log_probs[tuple(wanted.T)],
                "top_log_probs": log_probs.max(-1), "top_ids": logits.argmax(-1)}
    for name, value in expected.items():
        if not np.allclose(outputs[name], value, rtol=0, atol=MAX_LOG_PROB_ERROR):
            raise ExportError(f"{name} does not follow from logits")
    outputs["logits"] = outputs["logits"].reshape(*ids.shape, -1) if scores else None
    return outputs


def _run_standard(session, sizes, sequences):
    """The second row is padded on the left, and so comes `PADDING` positions late."""
    late = np.array([0, PADDING])
    columns = np.arange(LENGTH) - late[:, None]
    ids = np.take_along_axis(sequences, np.maximum(columns, 0), axis=1)
    keep = (columns >= 0).astype(np.int64)
    cache, logits = _empty_cache(sizes, 2), []
    for start, end in ((0, PREFIX_LENGTH), (PREFIX_LENGTH, LENGTH)):
        feeds = {"input_ids": ids[:, start:end], "attention_mask": keep[:, :end],
                 "position_ids": np.maximum(columns[:, start:end], 0)}
        outputs = _run(session, {**feeds, **cache})
        cache = _present(outputs)
        logits.append(outputs["logits"])
    logits = np.concatenate(logits, axis=1)
    return [(0, 0, logits[0]), (1, 0, logits[1, PADDING:])]


def _run(session, feeds):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def _present(outputs):
    """The cache a pass leaves, under the names the next pass reads."""
    return {name.replace("present.", "past_key_values."): value
            for name, value in outputs.items() if name.startswith("present.")}


def _empty_cache(sizes, rows):
    empty = np.empty((rows, sizes.kv_heads, 0, sizes.head_dim), dtype=np.float32)
    return {f"past_key_values.{i}.{half}": empty for i in range(sizes.layers) for half in ("key", "value")}
