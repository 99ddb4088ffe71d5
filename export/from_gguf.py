"""A GGUF file becomes a model folder, without torch."""

import time
from pathlib import Path

import onnx

from . import ExportError, say
from .check import check_model, open_session
from .folder import appearing, is_complete, record_of, sha256, write_record, write_small_files
from .gguf_reader import Checkpoint
from .graph import write_model
from .optimize import write_graph
from .reference import logits_of
from .scoring import to_scoring


def convert(gguf: Path, out: Path, layout: str = "scoring", check: bool = True, force: bool = False,
            style: str | None = None) -> None:
    """Writes the model folder `out`, or finds that it is there already."""
    start = time.monotonic()
    if not gguf.is_file():
        raise ExportError(f"{gguf} is not a file")
    source_sha256 = sha256(gguf)
    if not force and is_complete(out, source_sha256, layout, style=style):
        say(f"{out} is complete, nothing to do")
        return
    with appearing(out, replace=force) as draft:
        say(f"reading {gguf}")
        checkpoint = Checkpoint(gguf)
        say(f"writing {checkpoint.sizes.layers} layers, {checkpoint.sizes.parameters:,} parameters, fp32")
        model = draft / "model.onnx"
        write_model(checkpoint, model)
        if layout == "scoring":
            edited, _ = to_scoring(onnx.load(model, load_external_data=False), config={})
            write_graph(edited, model)
        write_small_files(checkpoint, draft)
        result = None
        if check:
            say("comparing logits with an independent forward pass")
            result = check_model(lambda ids: logits_of(checkpoint, ids), checkpoint.sizes.vocab_size, layout,
                                 open_session(model))
            result = {"reference": "numpy float64 forward pass over the same weights", **result}
            say(f"largest difference {result['max_abs_logit_difference']:.1e} over {result['positions']} positions "
                f"(limit {result['limit']:.0e})")
        write_record(record_of(checkpoint, layout, source_sha256, result, style=style), draft, draft.iterdir())
    say(f"wrote {out} in {time.monotonic() - start:.0f} s")
