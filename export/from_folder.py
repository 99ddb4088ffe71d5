"""A Hugging Face folder becomes a model folder: loaded and traced by transformers, or built, and compared at the end."""

import shutil
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from . import ExportError, __version__, say
from .architectures import Architecture, Exporter, choose
from .built import write_built
from .check import MAX_LOGIT_DIFFERENCE, check_model, check_sequences, not_run, open_session, say_check
from .folder import appearing, is_complete, write_json, write_record
from .ingredients import ingredients_of, standard_config
from .load import load_model, naming, quietly, require_torch
from .optimize import edit_checked
from .precision import BITS, quantise
from .source import Source, open_source
from .tokenizer_files import has_template, write_generation_config, write_tokenizer

HALF = {"fp16": "float16", "bf16": "bfloat16"}
LIMIT_OF_SPREAD = 1e-4  # of the logits' standard deviation, where that is large; f32 keeps 1e-7 of a number


def convert_folder(model: str, out: Path, layout: str = "scoring", precision: str = "fp32", style: str | None = None,
                   trust_remote_code: bool = False, check: bool = True, force: bool = False,
                   chat_template: Path | None = None) -> None:
    """Writes the model folder `out`, or finds that it is there already. `chat_template`: for a model that brings none.

    # Errors
    ExportError, and no folder, when anything is missing or unknown, or the check fails.
    """
    start = time.monotonic()
    source = open_source(model, trust_remote_code)
    architecture = choose(source.model_type, source.has_own_code, trust_remote_code)
    digest = source.fingerprint()
    if not force and is_complete(out, digest, layout, precision, style):
        say(f"{out} is complete, nothing to do")
        return
    write = _build if architecture.exporter == Exporter.BUILDER else _trace
    with appearing(out, replace=force) as draft:
        if architecture.remark:
            say(f"{source.model_type}: {architecture.remark}")
        if done := write_tokenizer(source, draft, trust_remote_code):
            say(done)
        if chat_template is not None and not has_template(draft):
            shutil.copyfile(chat_template, draft / "chat_template.jinja")
        record = write(source, architecture, draft, layout, precision, trust_remote_code, check)
        say_check(record["check"], precision)
        own_style = record.pop("style", "chat" if has_template(draft) else "base")
        record = {"layout": layout, "architecture": source.model_type, "precision": precision,
                  "style": style or own_style, "source": {"folder": source.name, "sha256": digest}, **record}
        write_record(record, draft, draft.iterdir())
    say(f"wrote {out} in {time.monotonic() - start:.0f} s")


def _build(source: Source, architecture: Architecture, draft: Path, layout, precision, trust_remote_code, check):
    """Graphs that are written by hand, which check themselves."""
    if (layout, precision) != ("scoring", "fp32"):
        raise ExportError(f"{source.model_type} is built in the scoring layout and fp32 only")
    return write_built(source, draft, check)


def _trace(source: Source, architecture: Architecture, draft: Path, layout, precision, trust_remote_code, check) -> dict:
    """Graphs that transformers' exporter traces. What alike.json says of them is returned."""
    require_torch()
    import torch

    from .remap import load_remapped
    from .trace import write_standard
    from .traceable import make_traceable

    say(f"loading {source.folder}")
    remapped = architecture.exporter == Exporter.REMAPPED
    model = load_remapped(source) if remapped else load_model(source, trust_remote_code)
    parameters = sum(weight.numel() for weight in model.parameters())
    facts = {
        "ingredients": ingredients_of(model.config, parameters),
        "exporter": {"name": "transformers", "class": type(model).__name__, "alike": __version__,
                     **{name: version(name) for name in ("transformers", "torch", "onnx", "onnxscript")}},
    }
    own = {**model.config.to_dict(), "model_type": source.model_type} if remapped else source.config
    write_json(draft / "config.json", standard_config(model.config, own))
    write_generation_config(model.config, draft)

    # The reference is computed first, so that its weights and those of the session are not needed at once.
    vocab_size = model.get_input_embeddings().num_embeddings
    expected = _logits_of(model, check_sequences(vocab_size)) if check else None
    if precision in HALF:
        model.to(getattr(torch, HALF[precision]))
    say(f"tracing {facts['ingredients']['layers']} layers, {parameters:,} parameters")
    target = draft / "model.onnx"
    make_traceable(model)
    write_standard(model, target)
    del model

    def compare(path, trees, limit):
        try:
            session = open_session(path)
        except ExportError as error:
            return not_run(error, precision)
        result = check_model(lambda ids: expected, vocab_size, layout, session, trees, limit)
        return {"reference": f"transformers {version('transformers')} in float32, each sequence whole", **result}

    return facts | _finish(target, layout, precision, compare if check else None,
                           0 if expected is None else float(expected.std()))


def _finish(target: Path, layout: str, precision: str, compare, spread: float) -> dict:
    """Edits, compares and quantises the traced graph; says how."""
    limit = None if precision in HALF else max(MAX_LOGIT_DIFFERENCE, float(f"{LIMIT_OF_SPREAD * spread:.1g}"))
    said, result = {}, None
    if layout == "scoring":
        model = onnx.load(target, load_external_data=False)
        said["edit"], result = edit_checked(
            model, {}, target, compare and (lambda path, _, trees: compare(path, trees, limit)))
    elif compare:
        result = compare(target, True, limit)
    if precision in BITS:
        if result is not None:
            said["check_before_quantising"] = result
            say_check(result, "fp32")
        quantise(target, BITS[precision])
        rows = said.get("edit", {}).get("rows") != "chains"
        result = compare and compare(target, rows, None)
    return said | {"check": result}


def _logits_of(model, sequences: np.ndarray) -> np.ndarray:
    """Each sequence whole, without a cache: `[batch, seq, vocab]`."""
    import torch

    with naming("transformers"), quietly(), torch.no_grad():
        return torch.cat([model(input_ids=torch.from_numpy(ids[None]), use_cache=False).logits
                          for ids in sequences]).numpy()
