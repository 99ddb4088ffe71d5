"""A GGUF file becomes a model folder, without torch."""

import time
from pathlib import Path

import onnx

from . import ExportError, say
from .check import MAX_LOGIT_DIFFERENCE, check_model, not_run, open_session, say_check
from .folder import appearing, is_complete, record_of, sha256, write_record, write_small_files
from .gguf_reader import Checkpoint
from .graph import write_model
from .optimize import write_graph
from .reference import logits_of
from .scoring import to_scoring


def convert(gguf: Path, out: Path, layout: str = "scoring", check: bool = True, force: bool = False,
            style: str | None = None, precision: str = "fp32") -> None:
    """Writes the model folder `out`, or finds that it is there already."""
    start = time.monotonic()
    if not gguf.is_file():
        raise ExportError(f"{gguf} is not a file")
    source_sha256 = sha256(gguf)
    if not force and is_complete(out, source_sha256, layout, precision, style):
        say(f"{out} is complete, nothing to do")
        return
    with appearing(out, replace=force) as draft:
        say(f"reading {gguf}")
        checkpoint = Checkpoint(gguf)
        say(f"writing {checkpoint.sizes.layers} layers, {checkpoint.sizes.parameters:,} parameters, {precision}")
        model = draft / "model.onnx"
        write_model(checkpoint, model, precision)
        if layout == "scoring":
            edited, _ = to_scoring(onnx.load(model, load_external_data=False), config={})
            write_graph(edited, model)
        write_small_files(checkpoint, draft)
        result = None
        if check:
            say("comparing logits with an independent forward pass")
            result = _check(checkpoint, model, layout, precision)
            say_check(result, precision)
        record = record_of(checkpoint, layout, source_sha256, result, style=style, precision=precision)
        write_record(record, draft, draft.iterdir())
    say(f"wrote {out} in {time.monotonic() - start:.0f} s")


def _check(checkpoint: Checkpoint, model: Path, layout: str, precision: str) -> dict:
    """The record of the comparison; half precision has no limit, and bf16 no kernels on the CPU."""
    try:
        session = open_session(model)
    except ExportError as error:
        return not_run(error, precision)
    limit = MAX_LOGIT_DIFFERENCE if precision == "fp32" else None
    result = check_model(lambda ids: logits_of(checkpoint, ids), checkpoint.sizes.vocab_size, layout, session, limit=limit)
    return {"reference": "numpy float64 forward pass over the same weights", **result}
