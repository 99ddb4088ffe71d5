"""A model folder whose graph is in the standard layout, edited into the scoring layout and checked against itself."""

import json
import os
import shutil
from collections import Counter
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from . import ExportError, __version__
from .check import MAX_LOGIT_DIFFERENCE, Logits, check_model, open_session, run_session
from .folder import appearing, read_json, sha256, write_record
from .onnx_graph import BF16, F16, F32, Graph
from .scoring import is_scoring, read_caches, to_scoring

PLACES = ("model.onnx", "onnx/model.onnx")
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")
# Half-precision and quantised kernels round differently for another number of rows.
MAX_ROUNDED_DIFFERENCE = 5e-2


def optimize(folder: Path, out: Path | None = None, check: bool = True, force: bool = False) -> str:
    """Writes the edited folder to `out`, or in its own place; returns what was done, in a line."""
    source = next((folder / place for place in PLACES if (folder / place).is_file()), None)
    if source is None:
        raise ExportError(f"{folder} holds neither {' nor '.join(PLACES)}")
    model = onnx.load(source, load_external_data=False)
    if is_scoring(model):
        return f"{source} is in the scoring layout, nothing to do"
    in_place = out is None or out.resolve() == folder.resolve()
    config = read_json(folder / "config.json") or {}
    with appearing(folder if in_place else out, replace=force or in_place) as draft:
        # In place everything stays, for nobody knows what it is for; elsewhere only what the engine reads goes along.
        files = folder.rglob("*") if in_place else (file for pattern in SMALL_FILES for file in folder.glob(pattern))
        for file in files:
            if file.is_file() and file != source and file.name != "alike.json":
                _place(file, draft / file.relative_to(folder), link=in_place)
        target = draft / (source.relative_to(folder) if in_place else "model.onnx")
        for location in _data_files(model):
            _place(source.parent / location, target.parent / location, link=in_place)
        edit, result = _edit(source, model, config, target, check)
        record = read_json(folder / "alike.json") or _first_record(model, source)
        write_record(record | {"layout": "scoring", "edit": edit, "check": result}, draft)
    reason = f" ({edit['because']})" if "because" in edit else ""
    return f"wrote {folder if in_place else out} for rows that are {edit['rows']}{reason}"


def _edit(source: Path, model: ModelProto, config: dict, target: Path, check: bool) -> tuple[dict, dict | None]:
    """Writes `target`: for rows that are trees, or for chains if that cannot be or fails the check."""
    edited, why_chains = to_scoring(model, config)
    write_graph(edited, target)
    result = None
    if check:
        reference, vocab_size = _original(source, model, config)
        limit = MAX_LOGIT_DIFFERENCE if _precision(model) == "fp32" else MAX_ROUNDED_DIFFERENCE
        try:
            result = check_model(reference, vocab_size, "scoring", target, why_chains is None, limit)
        except ExportError as error:
            if why_chains is not None:
                raise
            why_chains = f"trees fail the check: {error}"
            write_graph(to_scoring(model, config, chains=True)[0], target)
            result = check_model(reference, vocab_size, "scoring", target, False, limit)
        result = {"reference": "the graph before the edit, each sequence whole and alone", **result}
    edit = {"version": __version__, "rows": "trees" if why_chains is None else "chains"}
    return edit if why_chains is None else edit | {"because": why_chains}, result


def write_graph(model: ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString())
    # For the checker external weights become inputs: it would open their files, and refuses those with two links.
    external = [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    inside = [tensor for tensor in model.graph.initializer if tensor.data_location != TensorProto.EXTERNAL]
    stand_ins = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in external]
    graph = helper.make_graph(model.graph.node, model.graph.name, [*model.graph.input, *stand_ins],
                              model.graph.output, inside)
    onnx.checker.check_model(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version))


def _original(source: Path, model: ModelProto, config: dict) -> tuple[Logits, int]:
    """The graph before the edit as a function from ids to logits, and its vocabulary. Sequences go in whole and
    one by one, which even those graphs can do that take no past in a batch."""
    session = open_session(source)
    types = {value.name: helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in model.graph.input}
    empty = {cache.past: np.empty((1, cache.heads, 0, cache.head_dim), types[cache.past])
             for cache in read_caches(Graph(model), config)}

    def logits_of(sequences: np.ndarray) -> np.ndarray:
        places = np.arange(sequences.shape[1])[None]
        return np.concatenate([run(sequence[None], places) for sequence in sequences])

    def run(ids, places):
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": places}
        feeds = {name: value.astype(types[name]) for name, value in feeds.items() if name in types}
        return run_session(session, feeds | empty)["logits"].astype(np.float32)

    return logits_of, logits_of(np.zeros((1, 2), dtype=np.int64)).shape[-1]


def _first_record(model: ModelProto, source: Path) -> dict:
    """What alike.json can say of a folder that came without one."""
    return {
        "precision": _precision(model),
        "source": {"file": source.name, "sha256": sha256(source)},
        "exporter": {"name": model.producer_name or "unknown", "version": model.producer_version or "unknown"},
    }


def _precision(model: ModelProto) -> str:
    """By the element type that most weights have."""
    bits = {a.i for node in model.graph.node if node.op_type == "MatMulNBits" for a in node.attribute if a.name == "bits"}
    if bits:
        return f"int{min(bits)}"
    sizes = Counter()
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] += prod(tensor.dims)
    names = {F32: "fp32", F16: "fp16", BF16: "bf16"}
    kind = max(sizes, key=sizes.get, default=F32)
    return names.get(kind, TensorProto.DataType.Name(kind).lower())


def _data_files(model: ModelProto) -> set[str]:
    """Files beside the graph that hold its weights."""
    places = {entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"}
    for place in places:
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise ExportError(f"the graph keeps weights in {place!r}, outside its folder")
    return places


def _place(file: Path, target: Path, link: bool) -> None:
    """A hard link, or a copy. Nothing happens to a file that is in its place already."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        (os.link if link else shutil.copyfile)(file.resolve(), target)
