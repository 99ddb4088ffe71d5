"""ONNX Runtime's GroupQueryAttention, written in standard ops.

The op takes lengths instead of a mask, and on the CPU a past for a single row only. `Attention` takes a mask, and
what the other op does inside (rotary angles, a sliding window) is spelled out around it.
"""

from onnx import NodeProto

from . import ExportError
from .onnx_graph import I64, Graph, describe

OPSET = 23  # the first with Attention and RotaryEmbedding
INPUTS = ("query", "key", "value", "past_key", "past_value", "seqlens_k", "total_sequence_length",
          "cos_cache", "sin_cache", "position_ids")
ATTRIBUTES = {"num_heads", "kv_num_heads", "scale", "softcap", "local_window_size", "do_rotary", "rotary_interleaved"}


def replace_group_query_attention(g: Graph, head_dims: dict[str, int]) -> None:
    """The graph stays in the standard layout. `head_dims`: head size by the name of a past input."""
    nodes = [node for node in g.nodes if node.op_type == "GroupQueryAttention"]
    if not nodes:
        return
    g.raise_opset(OPSET)
    if "position_ids" not in g.inputs:
        g.input("position_ids", I64, ["batch", "seq"])
    windows: dict[int, str] = {}
    for node in nodes:
        _refuse_extras(g, node)
        window = g.attribute(node, "local_window_size", -1)
        if window > 0 and window not in windows:
            windows[window] = _window(g, node.input[3], window)
        if node.input[3] not in head_dims:
            raise ExportError(f"node {describe(node)} reads {node.input[3]!r}, expected an input past_key_values.N.key")
        _replace(g, node, head_dims[node.input[3]], windows.get(window, ""))


def _refuse_extras(g: Graph, node: NodeProto) -> None:
    """Everything the op can do beyond what `_replace` spells out."""
    extra = [f"input {place}" for place, name in enumerate(node.input) if name and place >= len(INPUTS)]
    extra += [f"output {place}" for place, name in enumerate(node.output) if name and place > 2]
    for attribute in node.attribute:
        value = g.attribute(node, attribute.name)
        # sliding_window_cache says how large a buffer is, and no result follows from it
        if attribute.name not in ATTRIBUTES | {"sliding_window_cache"} and value not in (0, -1, b"NONE", ""):
            extra.append(f"attribute {attribute.name}={value}")
    if extra:
        raise ExportError(f"node {describe(node)} has {', '.join(extra)}; expected inputs {', '.join(INPUTS)} "
                          f"and attributes {', '.join(sorted(ATTRIBUTES))}")


def _replace(g: Graph, node: NodeProto, head_dim: int, window: str) -> None:
    inputs = list(node.input) + [""] * (len(INPUTS) - len(node.input))
    query, key, value, past_key, past_value, _, _, cos, sin, _ = inputs[:len(INPUTS)]
    heads, kv_heads = g.attribute(node, "num_heads"), g.attribute(node, "kv_num_heads")
    outputs = list(node.output)
    g.remove(node)
    if not key:
        sizes = g.ints(heads * head_dim, kv_heads * head_dim, kv_heads * head_dim)
        query, key, value = g.op("Split", query, sizes, axis=2, out=3)
    if g.attribute(node, "do_rotary", 0):
        rotary = {"interleaved": g.attribute(node, "rotary_interleaved", 0)}
        if cos in g.initializers and (rotary_dim := 2 * g.initializers[cos].dims[1]) < head_dim:
            rotary["rotary_embedding_dim"] = rotary_dim
        query = g.op("RotaryEmbedding", query, cos, sin, "position_ids", num_heads=heads, **rotary)
        key = g.op("RotaryEmbedding", key, cos, sin, "position_ids", num_heads=kv_heads, **rotary)
    numbers = {name: number for name in ("scale", "softcap") if (number := g.attribute(node, name, 0.0))}
    g.op("Attention", query, key, value, window, past_key, past_value, out=outputs,
         q_num_heads=heads, kv_num_heads=kv_heads, is_causal=1, **numbers)


def _window(g: Graph, past: str, size: int) -> str:
    """`[seq, past + seq]`: true for the last `size` tokens up to each new one, itself included, and later ones."""
    past_len = g.shape(past, 2, 3)
    total_len = g.op("Add", past_len, g.shape("input_ids", 1, 2))
    columns = g.op("Range", g.scalar(0), g.op("Squeeze", total_len), g.scalar(1))
    rows = g.op("Unsqueeze", g.op("Slice", columns, past_len, total_len), g.ints(1))
    return g.op("Less", g.op("Sub", rows, columns), g.scalar(size))
