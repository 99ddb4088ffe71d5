"""A transformers model as an ONNX graph in the standard layout, by transformers' own exporter."""

import re
from pathlib import Path

from .load import naming, quietly

BATCH, PAST, NEW = 2, 5, 3  # of the pass that is traced; all different, for equal ones would be taken for the same


def write_standard(model, path: Path) -> None:
    """Writes `path`, and the weights beside it in `path` + `.data`.

    # Errors
    ExportError with what the exporter said.
    """
    import onnx_ir
    import torch
    from transformers.exporters import OnnxConfig, OnnxExporter

    with naming("transformers' exporter"), quietly():
        feeds, caches = _sample(model)
        program = OnnxExporter().export(model, feeds, OnnxConfig(dynamic=True)).program
        if model.dtype == torch.float32:
            _multiply_in_f32(program.graph)
        as_optimum(program, caches, model.get_input_embeddings().num_embeddings)
        onnx_ir.save(program, path, external_data=f"{path.name}.data")


def _sample(model):
    """A pass that continues a past, and (heads, head size) of each layer's cache."""
    import torch
    from transformers import DynamicCache

    ids = torch.arange(BATCH * (PAST + NEW)).reshape(BATCH, -1) % model.get_input_embeddings().num_embeddings
    with torch.no_grad():
        filled = model(input_ids=ids[:, :PAST], use_cache=True).past_key_values
    # A cache of plain layers: one that keeps a window only would cut the past, and masks say what is seen.
    cache, shapes = DynamicCache(), []
    for i, layer in enumerate(filled.layers):
        cache.update(layer.keys.clone(), layer.values.clone(), i)
        shapes.append((layer.keys.shape[1], layer.keys.shape[3]))
    positions = torch.arange(PAST, PAST + NEW).expand(BATCH, NEW).clone()
    mask = torch.ones(BATCH, PAST + NEW, dtype=torch.int64)
    return {"input_ids": ids[:, PAST:], "attention_mask": mask, "position_ids": positions,
            "past_key_values": cache}, shapes


def _multiply_in_f32(graph) -> None:
    """A product of bf16 numbers is exact in f32, and is rounded afterwards: the same bits. ONNX Runtime's CPU provider
    does it so only; Falcon's ALiBi asks for it in a model that is f32 otherwise."""
    import onnx_ir

    bf16 = onnx_ir.DataType.BFLOAT16
    for node in [node for node in graph if node.op_type == "Mul" and node.outputs[0].dtype == bf16]:
        for i, value in enumerate(list(node.inputs)):
            cast = onnx_ir.node("Cast", [value], {"to": onnx_ir.DataType.FLOAT})
            graph.insert_before(node, cast)
            node.replace_input_with(i, cast.outputs[0])
        uses = list(node.outputs[0].uses())
        node.outputs[0].dtype = onnx_ir.DataType.FLOAT
        rounded = onnx_ir.node("Cast", [node.outputs[0]], {"to": bf16})
        graph.insert_after(node, rounded)
        for reader, i in uses:
            reader.replace_input_with(i, rounded.outputs[0])


def as_optimum(program, caches: list[tuple[int, int]], vocab_size: int) -> None:
    """Optimum's names and shapes for inputs and outputs, and nothing of the machine that traced the graph.

    `caches`: heads and head size of each layer.
    """
    import onnx_ir

    shapes = {"input_ids": ["batch", "seq"], "attention_mask": ["batch", "past + seq"],
              "position_ids": ["batch", "seq"], "logits": ["batch", "seq", vocab_size]}
    graph = program.graph
    for values, prefix, length in ((graph.inputs, "past_key_values", "past"), (graph.outputs, "present", "past + seq")):
        for value in values:
            if found := re.search(r"past_key_values\.layers\.(\d+)\.(key|value)s$", value.name):
                heads, head_dim = caches[int(found[1])]
                value.name = f"{prefix}.{found[1]}.{found[2]}"
                shapes[value.name] = ["batch", heads, length, head_dim]
            if value.name in shapes:
                value.shape = onnx_ir.Shape(shapes[value.name])
    ends = {*graph.inputs, *graph.outputs}
    for owner in (graph, *program.functions.values()):
        for node in owner.all_nodes():  # stack traces, with paths
            node.doc_string = None
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
                if value not in ends:
                    value.shape = value.type = None  # the runtime infers them again
