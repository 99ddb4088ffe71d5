"""The edit: a decoder in the standard layout becomes one in the scoring layout, for any graph that has the parts.

Standard: `input_ids`, `attention_mask`, `position_ids`, `past_key_values.N.key/value [batch, kv_heads, past, head_dim]`
in; `logits [batch, seq, vocab]` and `present.N.key/value` of past and new tokens out.

Scoring: keys and values lie in a pool with one slot a token, and a row names the slots of its past (`past_tokens`).
A row's new tokens are a chain or a small tree, so what each of them sees comes in as a mask. Keys and values of
the new tokens only go out, and log-probabilities of wanted tokens at scored positions.

Parts are recognised by what the graph does, never by a model's name. What is not recognised is refused.
"""

import re
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from . import ExportError
from .gqa import replace_group_query_attention
from .head import score_positions
from .masks import Lengths, find_masks, insert_tree_mask, lengths_of
from .onnx_graph import BF16, BOOL, F16, F32, I64, Graph, describe, is_shape
from .positions import feed_positions

OPSET = 18  # what the nodes added here are written in
TOKENS_FIRST = [0, 2, 1, 3]  # [batch, heads, seq, head_dim] <-> [batch, seq, heads, head_dim]


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


def is_scoring(model: ModelProto) -> bool:
    return any(value.name == "past_tokens" for value in model.graph.input)


def to_scoring(model: ModelProto, config: dict, chains: bool = False) -> tuple[ModelProto, str | None]:
    """The edited model, and why it takes chains only, or None if it takes trees.

    `config`: config.json, for sizes that the graph leaves open. `chains` asks for the chain variant.
    """
    g = Graph(model)
    caches = read_caches(g, config)
    g.raise_opset(OPSET)
    replace_group_query_attention(g, caches)
    hidden = g.dependents(["input_ids", *(cache.past for cache in caches)])
    masks, why_chains = find_masks(g, hidden)
    if chains:
        why_chains = "asked for"

    g.input("past_tokens", I64, ["batch", "past"])
    lengths = lengths_of(g)
    for cache in caches:
        _present(g, cache)
    for cache in caches:
        _past(g, cache)
    for node in [node for node in g.nodes if node.op_type == "Attention" and node.domain == ""]:
        _attention(g, node)
    if not feed_positions(g, hidden, lengths):
        why_chains = why_chains or "it counts positions by itself, in a way that is not recognised"
    if why_chains is None:
        insert_tree_mask(g, masks, lengths)
    score_positions(g, g.dependents(["input_ids", *(cache.past for cache in caches)]))
    return g.to_model(), why_chains


def read_caches(g: Graph, config: dict) -> list[Cache]:
    """The caches of a graph in the standard layout.

    # Errors
    ExportError when inputs or outputs are not those of the layout.
    """
    unknown = [name for name in g.inputs if name not in ("input_ids", "attention_mask", "position_ids")
               and not re.fullmatch(r"past_key_values\.\d+\.(key|value)", name)]
    if unknown:
        raise ExportError(f"input {unknown[0]!r} is not one of the standard layout (input_ids, attention_mask, "
                          "position_ids, past_key_values.N.key and .value)")
    caches = []
    for name, value in g.inputs.items():
        if name.startswith("past_key_values."):
            _, layer, half = name.split(".")
            dims = [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
            if len(dims) != 4:
                raise ExportError(f"input {name!r} has {len(dims)} dimensions, expected [batch, kv_heads, past, head_dim]")
            heads = _size(dims[1]) or config.get("num_key_value_heads") or _attention_heads(config)
            head_dim = _size(dims[3]) or config.get("head_dim") or _head_dim(config)
            if not (heads and head_dim):
                raise ExportError(f"input {name!r} has no fixed number of heads and head size, "
                                  "and config.json does not state them")
            caches.append(Cache(int(layer), half, heads, head_dim, value.type.tensor_type.elem_type))
    missing = [name for name in ("input_ids", *(cache.past for cache in caches[:1] or [])) if name not in g.inputs]
    missing += [name for name in ("logits", *(cache.present for cache in caches)) if name not in g.outputs]
    if missing or not caches:
        raise ExportError(f"the graph has no {missing[0] if missing else 'past_key_values.N.key'!r}: "
                          "it is not a decoder with a cache in the standard layout")
    return caches


def _size(dim: int | str) -> int | None:
    """Some exporters write a fixed size as a name made of digits."""
    return int(dim) if str(dim).isdigit() else None


def _attention_heads(config):
    return config.get("num_attention_heads") or config.get("n_head")


def _head_dim(config):
    hidden, heads = config.get("hidden_size") or config.get("n_embd"), _attention_heads(config)
    return hidden // heads if hidden and heads else None


def _present(g: Graph, cache: Cache) -> None:
    """The output becomes the new tokens' part alone, `[batch, seq, kv_heads * head_dim]`."""
    node = g.producers[cache.present]
    place = list(node.output).index(cache.present)
    whole = g.free_name(cache.present)
    if node.op_type == "Attention" and node.domain == "" and place > 0:
        new = node.input[place]
        by_token = new if _by_token(g, node) else _tokens_first(g, new, cache)
    elif node.op_type == "Concat" and list(node.input[:-1]) == [cache.past] and g.attribute(node, "axis") in (2, -2):
        by_token = _tokens_first(g, node.input[1], cache)
    else:
        start = g.op("Neg", g.shape("input_ids", 1, 2))
        new = g.op("Slice", whole, start, g.ints(2**63 - 1), g.ints(2))
        by_token = _tokens_first(g, new, cache)
    if cache.dtype != F32:
        by_token = g.op("Cast", by_token, to=F32)
    g.name_output(by_token, cache.present)
    g.output(cache.present, F32, ["batch", "seq", cache.width])


def _tokens_first(g, value, cache):
    """`[batch, heads, seq, head_dim]` to `[batch, seq, heads * head_dim]`."""
    node = g.producers.get(value)
    if node is not None and node.op_type == "Transpose" and g.attribute(node, "perm") == TOKENS_FIRST:
        turned = node.input[0]
    else:
        turned = g.op("Transpose", value, perm=TOKENS_FIRST)
    return g.op("Reshape", turned, g.ints(0, 0, cache.width))


def _past(g: Graph, cache: Cache) -> None:
    """The input becomes the pool `[slots, kv_heads * head_dim]`, out of which each row's past is gathered."""
    readers = list(g.readers[cache.past])
    g.input(cache.past, F32, ["slots", cache.width])
    for node in [node for node in readers if is_shape(node)]:
        g.rewire(node.output[0], _past_shape(g, node, cache))
        g.remove(node)
    readers = [node for node in readers if not is_shape(node)]
    if not readers:
        return
    past = g.op("Gather", cache.past, "past_tokens", axis=0)
    if cache.dtype != F32:
        past = g.op("Cast", past, to=cache.dtype)
    by_token = [node for node in readers if node.op_type == "Attention" and _by_token(g, node)]
    g.rewire(cache.past, past, within=by_token)
    by_head = [node for node in readers if not any(node is other for other in by_token)]
    if by_head:
        split = g.op("Reshape", past, g.ints(0, 0, cache.heads, cache.head_dim))
        g.rewire(cache.past, g.op("Transpose", split, perm=TOKENS_FIRST), within=by_head)


def _past_shape(g: Graph, node: NodeProto, cache: Cache) -> str:
    """What a `Shape` of the past said, without the past."""
    if node.op_type != "Shape":
        raise ExportError(f"node {describe(node)} reads the size of {cache.past}, expected Shape")
    start, end = g.attribute(node, "start", 0), g.attribute(node, "end", 4)
    dims = [lambda: g.shape("past_tokens", 0, 1), lambda: g.ints(cache.heads),
            lambda: g.shape("past_tokens", 1, 2), lambda: g.ints(cache.head_dim)]
    pieces = [dim() for dim in dims[start:end]]
    return pieces[0] if len(pieces) == 1 else g.op("Concat", *pieces, axis=0)


def _by_token(g: Graph, node: NodeProto) -> bool:
    """Whether an Attention node takes `[batch, seq, heads * head_dim]`; the other form is `[batch, heads, seq, head_dim]`."""
    return bool(g.attribute(node, "kv_num_heads", 0))


def _attention(g: Graph, node: NodeProto) -> None:
    """Past and new keys are joined before the node. With the past handed to it instead, it copies them as well,
    and would have to be given heads first."""
    if len(node.input) > 6 and node.input[6]:
        raise ExportError(f"node {describe(node)} has an input nonpad_kv_seqlen, expected lengths in its mask")
    inputs = list(node.input) + [""] * (6 - len(node.input))
    axis = 1 if _by_token(g, node) else 2
    for new, past in ((1, 4), (2, 5)):
        if inputs[past]:
            inputs[new] = g.op("Concat", inputs[past], inputs[new], axis=axis)
    if any(name and g.readers[name] for name in node.output[1:]):
        raise ExportError(f"node {describe(node)} has a present that other nodes read, expected an output only")
    g.set_inputs(node, inputs[:4] if inputs[3] else inputs[:3])
    del node.output[1:]
