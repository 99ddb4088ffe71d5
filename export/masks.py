"""Which new token sees which: the mask that comes in takes its place beside the masks a graph makes for itself.

A graph makes its masks from lengths, as for a chain of tokens. In a row that holds a tree, a token's place in the
row is not its position; so those masks are made for a chain, and then read at the tokens' positions (the past is
a chain from position 0 on). This keeps sliding windows, chunks and position biases right. The incoming mask goes
on top.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ml_dtypes import finfo  # numpy's does not know bf16
from onnx import NodeProto, helper, numpy_helper

from .caches import is_attention
from .onnx_graph import BOOL, Graph, describe, is_shape

# Their further inputs say where, not what.
SHAPING = {"Unsqueeze", "Squeeze", "Slice", "Gather", "Reshape", "Expand", "ReduceSum", "ReduceMax", "Tile"}
ZERO = numpy_helper.from_array(np.zeros(1, np.float32))  # what ConstantOfShape fills with if it does not say
# What may stand between the product of queries and keys and its Softmax: scale, soft cap, masks, attention sinks.
PASSES = {"Add", "Cast", "Concat", "Div", "Identity", "Max", "Mul", "Reshape", "Sub", "Tanh", "Where"}


class Lengths(NamedTuple):
    """Each `[1]`, except `positions` `[past + seq]`: 0, 1, 2 ..."""

    batch: str
    seq: str
    past: str
    total: str
    positions: str


@dataclass
class MaskUse:
    """Where a node reads a mask: an input of an attention, or what scores are added to or chosen by."""

    node: NodeProto
    place: int
    hides: bool = False  # a boolean that is true for what is not seen


def _lengths(g: Graph) -> Lengths:
    batch, seq = g.shape("input_ids", 0, 1), g.shape("input_ids", 1, 2)
    past = g.shape("past_tokens", 1, 2)
    total = g.op("Add", past, seq)
    positions = g.op("Range", g.scalar(0), g.op("Squeeze", total), g.scalar(1))
    return Lengths(batch, seq, past, total, positions)


def find_masks(g: Graph, hidden: set[str]) -> tuple[list[MaskUse], str | None]:
    """All places where masks enter attention, and what is missing if there is attention without one."""
    found, missing = [], None
    for node in g.nodes:
        uses = _mask_inputs(g, node, hidden)
        if uses == []:
            missing = missing or f"node {describe(node)} takes no mask that one can be added to"
        found += uses or []
    return found, missing if found else "no attention is recognised in it"


def _mask_inputs(g: Graph, node: NodeProto, hidden: set[str]) -> list[MaskUse] | None:
    """Where one attention takes its masks; None if a node is no attention."""
    if is_attention(node):
        return [MaskUse(node, 3)]
    if node.op_type == "MultiHeadAttention":  # ONNX Runtime's own; its bias is a mask if nothing else is one as well
        bias_only = len(node.input) > 5 and node.input[5] and not (node.input[4] or any(node.input[6:]))
        return [MaskUse(node, 5)] if bias_only and not g.attribute(node, "unidirectional", 0) else []
    return _on_the_way(g, node.input[0], hidden) if node.op_type == "Softmax" else None


def _on_the_way(g, value, hidden) -> list[MaskUse] | None:
    """Masks between a Softmax and the product of queries and keys; None if there is no such product behind it."""
    uses = []
    while value in hidden and value in g.producers:
        node = g.producers[value]
        operands = [name for name in node.input if name in hidden]
        if node.op_type in ("MatMul", "Einsum", "FusedMatMul") and len(operands) == 2:
            return uses
        if node.op_type not in PASSES or not operands:
            return None
        for place, name in enumerate(node.input):
            made_here = name not in hidden and not g.is_constant(name)
            if made_here and node.op_type == "Add":
                uses.append(MaskUse(node, place))
            elif made_here and node.op_type == "Where" and place == 0:
                uses.append(MaskUse(node, place, hides=node.input[2] in hidden))
        value = operands[0]
    return None


def insert_tree_mask(g: Graph, uses: list[MaskUse]) -> None:
    """The input `attention_mask [batch, seq, past + seq]`; the graph's own becomes one of ones."""
    lengths = _lengths(g)
    if own := g.inputs.pop("attention_mask", None):
        one = g.scalar(1, own.type.tensor_type.elem_type)
        ones = g.op("Expand", one, g.op("Concat", lengths.batch, lengths.total, axis=0))
        g.rewire("attention_mask", ones)
    g.input("attention_mask", BOOL, ["batch", "seq", "past + seq"])
    _put_on_top(g, uses, g.op("Unsqueeze", "attention_mask", g.ints(1)), lengths)


def insert_causal_mask(g: Graph, uses: list[MaskUse]) -> None:
    """For chains: what `is_causal` says, in a mask. Its meaning hangs on where the past comes in, which will change."""
    causal = [use for use in uses if is_attention(use.node) and g.attribute(use.node, "is_causal", 0)]
    if causal:
        lengths = _lengths(g)
        rows = g.op("Unsqueeze", g.op("Slice", lengths.positions, lengths.past, lengths.total), g.ints(1))
        sees = g.op("Unsqueeze", g.op("LessOrEqual", lengths.positions, rows), g.ints(0, 1))
        _put_on_top(g, causal, sees, lengths)


def _put_on_top(g, uses, sees, lengths):
    masks = CombinedMasks(g, sees, lengths)
    for use in uses:
        inputs = list(use.node.input) + [""] * (use.place + 1 - len(use.node.input))
        inputs[use.place] = masks.on_top_of(inputs[use.place], use.hides)
        g.set_inputs(use.node, inputs)
        if is_attention(use.node):
            g.set_attribute(use.node, "is_causal", 0)


class CombinedMasks:
    """Each of the graph's masks with `sees [batch | 1, 1, seq, past + seq]` on top, made once."""

    def __init__(self, g: Graph, sees: str, lengths: Lengths):
        self.g, self.sees, self.lengths = g, sees, lengths
        self._made: dict[tuple[str, bool], str] = {}
        self._places: str | None = None

    def on_top_of(self, own: str, hides: bool) -> str:
        if not own:
            return self.sees
        if (own, hides) not in self._made:
            self._made[own, hides] = self._combine(own, hides)
        return self._made[own, hides]

    def _combine(self, own, hides):
        g = self.g
        dtype = g.dtype(own)
        kept = None if only_hides_the_future(g, own) else self._at_positions(own)
        if dtype == BOOL and hides:
            unseen = g.op("Not", self.sees)
            return unseen if kept is None else g.op("Or", unseen, kept)
        if dtype == BOOL:
            return self.sees if kept is None else g.op("And", self.sees, kept)
        lowest = g.scalar(_lowest(dtype), dtype)
        return g.op("Where", self.sees, g.scalar(0, dtype) if kept is None else kept, lowest)

    def _at_positions(self, own):
        """`own [batch | 1, heads | 1, seq | 1, past + seq]` of a chain, read at (position, position)."""
        g, n = self.g, self.lengths
        if self._places is None:
            self._places = self._make_places()
        chain = g.op("Expand", g.op("Slice", n.positions, n.past, n.total), g.op("Concat", n.batch, n.seq, axis=0))
        own = g.copy_cone(own, {"position_ids": chain})
        whole = g.op("Expand", own, g.op("Concat", n.batch, g.ints(1), n.seq, n.total, axis=0))
        heads_last = g.op("Transpose", whole, perm=[0, 2, 3, 1])
        return g.op("Transpose", g.op("GatherND", heads_last, self._places, batch_dims=1), perm=[0, 3, 1, 2])

    def _make_places(self):
        """`[batch, seq, past + seq, 2]`: for each pair of tokens the chain's row and column that speak of it."""
        g, n = self.g, self.lengths
        past = g.op("Slice", n.positions, g.ints(0), n.past)
        past = g.op("Expand", past, g.op("Concat", n.batch, n.past, axis=0))
        rows = g.op("Unsqueeze", g.op("Sub", "position_ids", n.past), g.ints(2, 3))
        columns = g.op("Unsqueeze", g.op("Concat", past, "position_ids", axis=1), g.ints(1, 3))
        shape = g.op("Concat", n.batch, n.seq, n.total, g.ints(1), axis=0)
        return g.op("Concat", g.op("Expand", rows, shape), g.op("Expand", columns, shape), axis=3)


def only_hides_the_future(g: Graph, mask: str) -> bool:
    """Whether a mask says no more than the incoming one: a causal mask, with or without padding.

    A window, a chunk or a bias needs a number to compare or multiply with. A mask whose only numbers are 0, 1 and
    the one that stands for minus infinity has none; the check against the original model is there to confirm it.
    """
    for node in g.cone([mask], stop=is_shape):
        if is_shape(node):
            continue
        if node.op_type == "ConstantOfShape" and not _is_plain(numpy_helper.to_array(g.attribute(node, "value", ZERO))):
            return False
        for place, name in enumerate(node.input):
            if not name or not g.is_constant(name) or (place > 0 and node.op_type in SHAPING):
                continue
            number = g.constant(name)
            if number is None or not _is_plain(number):
                return False
    return True


def _is_plain(number: np.ndarray) -> bool:
    """0, 1, -1 or as good as minus infinity; and no table of booleans."""
    return number.size == 1 if number.dtype == bool else bool(np.all(np.isin(number, (-1, 0, 1)) | (number < -1e4)))


def _lowest(dtype: int) -> float:
    return float(finfo(helper.tensor_dtype_to_np_dtype(dtype)).min)
