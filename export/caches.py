"""Keys and values: how a graph takes and gives them, and how they come to lie in a pool instead.

The pool is one array `[slots, kv_heads * head_dim]` for each half of each layer. What a row's past is, is gathered
from it inside the graph, so that rows share what they have in common, and nothing is copied on the host.
"""

import re
from dataclasses import dataclass

from onnx import NodeProto, ValueInfoProto

from . import ExportError
from .onnx_graph import F32, Graph, describe, is_shape

TOKENS_FIRST = [0, 2, 1, 3]  # [batch, heads, seq, head_dim] <-> [batch, seq, heads, head_dim]
STANDARD_INPUTS = "input_ids, attention_mask, position_ids, past_key_values.N.key and past_key_values.N.value"
END = 2**63 - 1  # of a slice, whatever the length


@dataclass(frozen=True)
class Cache:
    """One half of one layer's cache."""

    layer: int
    half: str
    heads: int
    head_dim: int
    dtype: int

    @property
    def past(self) -> str:
        return f"past_key_values.{self.layer}.{self.half}"

    @property
    def present(self) -> str:
        return f"present.{self.layer}.{self.half}"

    @property
    def width(self) -> int:
        return self.heads * self.head_dim


def read_caches(g: Graph, config: dict) -> list[Cache]:
    """The caches of a graph in the standard layout. `config` states sizes that the graph leaves open.

    # Errors
    ExportError when inputs or outputs are not those of the layout.
    """
    caches = []
    for name, value in g.inputs.items():
        if found := re.fullmatch(r"past_key_values\.(\d+)\.(key|value)", name):
            heads, head_dim = _sizes(name, value, config)
            caches.append(Cache(int(found[1]), found[2], heads, head_dim, g.dtype(name)))
        elif name not in ("input_ids", "attention_mask", "position_ids"):
            raise ExportError(f"the graph has an input {name!r}, expected {STANDARD_INPUTS} and no others")
    missing = [name for name in ("logits", *(cache.present for cache in caches)) if name not in g.outputs]
    if "input_ids" not in g.inputs or not caches or missing:
        raise ExportError(f"the graph has inputs {', '.join(g.inputs)} and no outputs {', '.join(missing)}; expected "
                          f"{STANDARD_INPUTS}, logits, present.N.key and present.N.value")
    return caches


def _sizes(name: str, value: ValueInfoProto, config: dict) -> tuple[int, int]:
    """Heads and head size of a cache."""
    dims = [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
    if len(dims) != 4:
        raise ExportError(f"input {name!r} has shape {dims}, expected [batch, kv_heads, past, head_dim]")
    fixed = [int(dim) if str(dim).isdigit() else None for dim in dims]  # some exporters write 8 as a name, "8"
    attention_heads = config.get("num_attention_heads") or config.get("n_head")
    hidden_size = config.get("hidden_size") or config.get("n_embd")
    heads = fixed[1] or config.get("num_key_value_heads") or attention_heads
    head_dim = fixed[3] or config.get("head_dim")
    if not head_dim and hidden_size and attention_heads:
        head_dim = hidden_size // attention_heads
    if not (heads and head_dim):
        raise ExportError(f"input {name!r} has shape {dims}, and config.json does not say what the sizes are")
    return heads, head_dim


def move_to_pool(g: Graph, caches: list[Cache]) -> None:
    """Inputs become pools, outputs the new tokens' keys and values."""
    for cache in caches:
        _give_new_tokens(g, cache)
    for cache in caches:
        _take_pool(g, cache)
    for node in list(g.nodes):
        if is_attention(node):
            _join_past(g, node)


def is_attention(node: NodeProto) -> bool:
    return node.op_type == "Attention" and node.domain == ""


def _give_new_tokens(g: Graph, cache: Cache) -> None:
    """The output becomes the new tokens' part alone, `[batch, seq, kv_heads * head_dim]`."""
    node = g.producers[cache.present]
    place = list(node.output).index(cache.present)
    whole = g.free_name(cache.present)
    if is_attention(node):
        new = node.input[place]
        by_token = new if _is_by_token(g, node) else _tokens_first(g, new, cache)
    elif node.op_type == "Concat" and list(node.input[:-1]) == [cache.past] and g.attribute(node, "axis") in (2, -2):
        by_token = _tokens_first(g, node.input[1], cache)
    else:
        start = g.op("Neg", g.shape("input_ids", 1, 2))
        new = g.op("Slice", whole, start, g.ints(END), g.ints(2))
        by_token = _tokens_first(g, new, cache)
    if cache.dtype != F32:
        by_token = g.op("Cast", by_token, to=F32)
    g.name_output(by_token, cache.present)
    g.output(cache.present, F32, ["batch", "seq", cache.width])


def _tokens_first(g: Graph, value: str, cache: Cache) -> str:
    """`[batch, heads, seq, head_dim]` to `[batch, seq, heads * head_dim]`."""
    node = g.producers.get(value)
    if node is not None and node.op_type == "Transpose" and g.attribute(node, "perm") == TOKENS_FIRST:
        turned = node.input[0]
    else:
        turned = g.op("Transpose", value, perm=TOKENS_FIRST)
    return g.op("Reshape", turned, g.ints(0, 0, cache.width))


def _heads_first(g: Graph, value: str, heads: int, head_dim: int) -> str:
    """`[batch, seq, heads * head_dim]` to `[batch, heads, seq, head_dim]`."""
    return g.op("Transpose", g.op("Reshape", value, g.ints(0, 0, heads, head_dim)), perm=TOKENS_FIRST)


def _take_pool(g: Graph, cache: Cache) -> None:
    """The input becomes the pool `[slots, kv_heads * head_dim]`, out of which each row's past is gathered."""
    readers = list(g.readers[cache.past])
    g.input(cache.past, F32, ["slots", cache.width])
    for node in readers:
        if is_shape(node):
            g.rewire(node.output[0], _past_shape(g, node, cache))
            g.remove(node)
    by_token = [node for node in readers if is_attention(node) and _is_by_token(g, node)]
    by_head = [node for node in readers if not (is_shape(node) or is_attention(node) and _is_by_token(g, node))]
    past = g.op("Gather", cache.past, "past_tokens", axis=0)
    if cache.dtype != F32:
        past = g.op("Cast", past, to=cache.dtype)
    g.rewire(cache.past, past, within=by_token)
    if by_head:
        g.rewire(cache.past, _heads_first(g, past, cache.heads, cache.head_dim), within=by_head)


def _past_shape(g: Graph, node: NodeProto, cache: Cache) -> str:
    """What a `Shape` of the past said, without the past."""
    if node.op_type != "Shape":
        raise ExportError(f"node {describe(node)} reads the size of {cache.past}, expected Shape")
    start, end = g.attribute(node, "start", 0), g.attribute(node, "end", 4)
    dims = [lambda: g.shape("past_tokens", 0, 1), lambda: g.ints(cache.heads),
            lambda: g.shape("past_tokens", 1, 2), lambda: g.ints(cache.head_dim)]
    pieces = [dim() for dim in dims[start:end]]
    return pieces[0] if len(pieces) == 1 else g.op("Concat", *pieces, axis=0)


def _is_by_token(g: Graph, node: NodeProto) -> bool:
    """Whether an Attention node takes `[batch, seq, heads * head_dim]`, and not `[batch, heads, seq, head_dim]`."""
    return bool(g.attribute(node, "kv_num_heads", 0))


def _join_past(g: Graph, node: NodeProto) -> None:
    """Past and new keys are joined before the node, which would have to copy them as well, from a past heads first."""
    if len(node.input) > 6 and node.input[6]:
        raise ExportError(f"node {describe(node)} has an input nonpad_kv_seqlen, expected lengths in its mask")
    inputs = list(node.input) + [""] * (6 - len(node.input))
    by_token = _is_by_token(g, node)
    for new, past in ((1, 4), (2, 5)):
        if inputs[past]:
            inputs[new] = g.op("Concat", inputs[past], inputs[new], axis=1 if by_token else 2)
        present = node.output[new] if len(node.output) > new else ""
        if g.readers[present]:
            heads = g.attribute(node, "kv_num_heads")
            g.rewire(present, _heads_first(g, inputs[new], heads, -1) if by_token else inputs[new])
    if len(node.output) > 3 and g.readers[node.output[3]]:
        raise ExportError(f"node {describe(node)} gives its scores to other nodes, expected keys and values only")
    g.set_inputs(node, inputs[:4] if inputs[3] else inputs[:3])
    del node.output[1:]
