"""A model folder whose graph is in the standard layout, edited into the scoring layout and checked against itself."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, defs, helper

from . import ExportError, __version__
from .folder import appearing, read_json, sha256, write_record
from .onnx_graph import BF16, F16, F32
from .original import Original
from .scoring import is_scoring, to_scoring

PLACES = ("model.onnx", "onnx/model.onnx")
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")


def optimize(folder: Path, out: Path | None = None, check: bool = True, force: bool = False) -> str:
    """Writes the edited folder to `out`, or in its own place; returns what was done, in a line."""
    source = next((folder / place for place in PLACES if (folder / place).is_file()), None)
    if source is None:
        raise ExportError(f"{folder} holds neither {' nor '.join(PLACES)}")
    try:
        model = onnx.load(source, load_external_data=False)
    except DecodeError as error:
        raise ExportError(f"{source} is not an ONNX file: {error}") from error
    if is_scoring(model):
        return f"{source} is in the scoring layout, nothing to do"
    data = _data_files(model)
    small = [file.name for pattern in SMALL_FILES for file in folder.glob(pattern) if file.name != "alike.json"]
    in_place = out is None or out.resolve() == folder.resolve()
    with appearing(folder if in_place else out, replace=force or in_place) as draft:
        if in_place:
            target = draft / source.relative_to(folder)
            _link_all(folder, draft, but={source, folder / "alike.json"})
        else:
            target = draft / "model.onnx"
            for name in small:
                shutil.copyfile(folder / name, draft / name)
            for name in data:
                shutil.copyfile(source.parent / name, draft / name)
        config = _config(folder)
        edit, result = edit_checked(model, config, target, Original(source, model, config).compare if check else None)
        record = read_json(folder / "alike.json") or _first_record(model, source)
        record |= {"layout": "scoring", "edit": edit, "check": result}
        files = [target, *(target.parent / name for name in data), *(draft / name for name in small)]
        write_record(record, draft, files)
    reason = f" ({edit['because']})" if "because" in edit else ""
    return f"wrote {folder if in_place else out} for rows that are {edit['rows']}{reason}"


def edit_checked(model: ModelProto, config: dict, target: Path,
                 compare: Callable[[Path, ModelProto, bool], dict] | None) -> tuple[dict, dict | None]:
    """Writes `target`: for rows that are trees, or for chains if that cannot be or fails the check.

    `compare(path, edited, trees)` returns what alike.json records, and raises ExportError where the graphs differ.
    """
    edited, why_chains = to_scoring(model, config)
    write_graph(edited, target)
    result = None
    if compare is not None:
        try:
            result = compare(target, edited, why_chains is None)
        except ExportError as error:
            if why_chains is not None:
                raise
            why_chains = f"trees fail the check: {error}"
            edited, _ = to_scoring(model, config, chains=True)
            write_graph(edited, target)
            result = compare(target, edited, False)
    edit = {"version": __version__, "rows": "trees" if why_chains is None else "chains"}
    return edit if why_chains is None else edit | {"because": why_chains}, result


def write_graph(model: ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString())
    # The checker would open the files of external weights, and refuses those with two links: they become inputs.
    # Nor does it know the ops that ONNX Runtime added to the default domain: in another domain it lets them be.
    external = [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    inside = [tensor for tensor in model.graph.initializer if tensor.data_location != TensorProto.EXTERNAL]
    stand_ins = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in external]
    nodes = [node if node.domain or defs.has(node.op_type) else _in_domain("unknown", node)
             for node in model.graph.node]
    graph = helper.make_graph(nodes, model.graph.name, [*model.graph.input, *stand_ins], model.graph.output, inside)
    opsets = [*model.opset_import, helper.make_opsetid("unknown", 1)]
    try:
        onnx.checker.check_model(helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version))
    except onnx.checker.ValidationError as error:
        raise ExportError(f"{path} is not valid: {error}") from error


def _in_domain(domain: str, node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.domain = domain
    return copy


def _config(folder: Path) -> dict:
    """Sizes by the names of config.json, out of that or out of what onnxruntime-genai writes in its place."""
    if (config := read_json(folder / "config.json")) is not None:
        return config
    decoder = (read_json(folder / "genai_config.json") or {}).get("model", {}).get("decoder", {})
    return {"num_key_value_heads": decoder.get("num_key_value_heads"), "head_dim": decoder.get("head_size")}


def _first_record(model: ModelProto, source: Path) -> dict:
    """What alike.json can say of a folder that came without one."""
    return {
        "precision": _precision(model),
        "source": {"file": source.name, "sha256": sha256(source)},
        "exporter": {"name": model.producer_name or "unknown", "version": model.producer_version or "unknown"},
    }


def _precision(model: ModelProto) -> str:
    """By the element type that most weights have."""
    bits = [attribute.i for node in model.graph.node if node.op_type == "MatMulNBits"
            for attribute in node.attribute if attribute.name == "bits"]
    if bits:
        return f"int{min(bits)}"
    sizes = Counter()
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] += prod(tensor.dims)
    names = {F32: "fp32", F16: "fp16", BF16: "bf16"}
    kind = max(sizes, key=sizes.get, default=F32)
    return names.get(kind, TensorProto.DataType.Name(kind).lower())


def _data_files(model: ModelProto) -> list[str]:
    """Files beside the graph that hold its weights."""
    names = {entry.value for tensor in model.graph.initializer for entry in tensor.external_data
             if entry.key == "location"}
    for name in names:
        if Path(name).name != name:
            raise ExportError(f"the graph keeps weights in {name!r}, expected a file beside it")
    return sorted(names)


def _link_all(folder: Path, draft: Path, but: set[Path]) -> None:
    """Everything in the folder stays in it, for nobody knows what else it is for; links cost no space."""
    for file in folder.rglob("*"):
        if file.is_file() and file not in but:
            target = draft / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(file.resolve(), target)
