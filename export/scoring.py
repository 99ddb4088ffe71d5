"""The edit: a decoder in the standard layout becomes one in the scoring layout, for any graph that has the parts.

Standard: `input_ids`, `attention_mask`, `position_ids`, `past_key_values.N.key/value [batch, kv_heads, past, head_dim]`
in; `logits [batch, seq, vocab]` and `present.N.key/value` of past and new tokens out.

Scoring: keys and values lie in a pool with one slot a token, and a row names the slots of its past (`past_tokens`).
A row's new tokens are a chain or a small tree, so what each of them sees comes in as a mask. Keys and values of
the new tokens only go out, and log-probabilities of wanted tokens at scored positions.

Parts are recognised by what the graph does, never by a model's name. What is not recognised is refused.
"""

from onnx import ModelProto, inliner

from .caches import move_to_pool, read_caches
from .gqa import replace_group_query_attention
from .head import score_positions
from .masks import find_masks, insert_causal_mask, insert_tree_mask
from .onnx_graph import I64, Graph
from .positions import feed_positions

OPSET = 18  # what the nodes added here are written in
NEW_NAMES = {"position_ids", "attention_mask", "past_tokens", "scored", "wanted",
             "log_probs", "top_ids", "top_log_probs"}


def is_scoring(model: ModelProto) -> bool:
    return any(value.name == "past_tokens" for value in model.graph.input)


def to_scoring(model: ModelProto, config: dict, chains: bool = False) -> tuple[ModelProto, str | None]:
    """The edited model, and why it takes chains only, or None if it takes trees.

    `config`: config.json, for sizes that the graph leaves open. `chains` asks for the chain variant.
    """
    g = Graph(inliner.inline_local_functions(model))
    caches = read_caches(g, config)
    pasts = [cache.past for cache in caches]
    g.raise_opset(OPSET)
    _prepare_names_and_types(g)
    replace_group_query_attention(g, {cache.past: cache.head_dim for cache in caches})

    hidden = g.dependents(["input_ids", *pasts])
    masks, why_chains = find_masks(g, hidden)
    if chains:
        why_chains = "asked for"
    elif why_chains is None and not feed_positions(g, hidden, masks):
        why_chains = "it counts positions in a way that is not recognised"
    g.input("past_tokens", I64, ["batch", "past"])
    if why_chains is None:
        insert_tree_mask(g, masks)
    else:
        insert_causal_mask(g, masks)
        g.input("position_ids", I64, ["batch", "seq"])  # of a chain; the graph may have its own way to them
    move_to_pool(g, caches)
    score_positions(g, g.dependents(["input_ids", *pasts]))
    return g.to_model(), why_chains


def _prepare_names_and_types(g: Graph) -> None:
    """Inputs that stay are int64, and their dimensions are named as in the layout; its other names become free."""
    for name in NEW_NAMES & g.producers.keys():
        g.free_name(name)
    shapes = {"input_ids": ["batch", "seq"], "position_ids": ["batch", "seq"],
              "attention_mask": ["batch", "past + seq"]}
    for name in shapes.keys() & g.inputs.keys():
        readers, dtype = list(g.readers[name]), g.dtype(name)
        g.input(name, I64, shapes[name])
        if dtype != I64:
            g.rewire(name, g.op("Cast", name, to=dtype), within=readers)
