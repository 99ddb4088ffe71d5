"""Which new token sees which: the mask that comes in takes its place beside the masks a graph makes for itself.

A graph makes its masks from lengths, as for a chain of tokens. In a row that holds a tree, a token's place in the
row is not its position; so those masks are made for a chain and then read at the tokens' positions. This keeps
sliding windows, chunks and position biases right. The incoming mask is then put on top.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from onnx import NodeProto, helper

from .onnx_graph import BOOL, COMPARISONS, I64, Graph, is_shape

SHAPING = {"Unsqueeze", "Squeeze", "Slice", "Gather", "Reshape", "Expand", "ReduceSum", "ReduceMax", "Tile"}
PASSES = {"Add", "Cast", "Concat", "Div", "Identity", "Max", "Mul", "Sub", "Where"}  # between scores and Softmax


class Lengths(NamedTuple):
    """Each `[1]`, except `positions` `[past + seq]`: 0, 1, 2 ..."""

    batch: str
    seq: str
    past: str
    total: str
    positions: str


@dataclass
class MaskUse:
    """Where a node reads a mask: an Attention node's fourth input, or what is added to or chosen by for scores."""

    node: NodeProto
    place: int
    hides: bool = False  # a boolean that is true for what is not seen


def lengths_of(g: Graph) -> Lengths:
    batch, seq = g.shape("input_ids", 0, 1), g.shape("input_ids", 1, 2)
    past = g.shape("past_tokens", 1, 2)
    total = g.op("Add", past, seq)
    positions = g.op("Range", g.scalar(0), g.op("Squeeze", total), g.scalar(1))
    return Lengths(batch, seq, past, total, positions)


def find_masks(g: Graph, hidden: set[str]) -> tuple[list[MaskUse], str | None]:
    """All places where masks enter attention, and what is missing if there is attention without one."""
    found = []
    for node in g.nodes:
        if node.op_type == "Attention" and node.domain == "":
            found.append(MaskUse(node, 3))
        elif node.op_type == "Softmax":
            uses = _on_the_way(g, node.input[0], hidden)
            if uses == []:
                return [], f"no mask is added to the scores of {node.name or node.output[0]!r} (Softmax)"
            found += uses or []
    if not found:
        return [], "no attention is recognised in it"
    return found, None


def _on_the_way(g, value, hidden) -> list[MaskUse] | None:
    """Masks between a Softmax and the product of queries and keys; None if there is no such product behind it."""
    uses = []
    while value in hidden and value in g.producers:
        node = g.producers[value]
        operands = [name for name in node.input if name in hidden]
        if node.op_type in ("MatMul", "Einsum", "FusedMatMul") and len(operands) == 2:
            return uses
        if node.op_type not in PASSES | {"Tanh", "Neg", "Reshape"} or not operands:
            return None
        for place, name in enumerate(node.input):
            made_here = name not in hidden and not g.is_constant(name)
            if made_here and (node.op_type == "Add" or node.op_type == "Where" and place == 0):
                uses.append(MaskUse(node, place, hides=place == 0 and node.op_type == "Where" and node.input[2] in hidden))
        value = operands[0]
    return None


def insert_tree_mask(g: Graph, uses: list[MaskUse], lengths: Lengths) -> None:
    """The input `attention_mask [batch, seq, past + seq]`; the graph's own becomes one of ones."""
    if own := g.inputs.pop("attention_mask", None):
        one = g.scalar(1, own.type.tensor_type.elem_type)
        ones = g.op("Expand", one, g.op("Concat", lengths.batch, lengths.total, axis=0))
        g.rewire("attention_mask", ones)
    g.input("attention_mask", BOOL, ["batch", "seq", "past + seq"])
    sees = g.op("Unsqueeze", "attention_mask", g.ints(1))
    masks = TreeMasks(g, sees, lengths)
    for use in uses:
        inputs = list(use.node.input) + [""] * (use.place + 1 - len(use.node.input))
        inputs[use.place] = masks.on_top_of(inputs[use.place], use.hides)
        g.set_inputs(use.node, inputs)
        if use.node.op_type == "Attention":
            g.set_attribute(use.node, "is_causal", 0)


class TreeMasks:
    """Each of the graph's masks with the incoming one on top, made once."""

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
        lowest = g.scalar(helper_lowest(dtype), dtype)
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
        for place, name in enumerate(node.input):
            if not name or not g.is_constant(name) or (place > 0 and node.op_type in SHAPING):
                continue
            number = g.constant(name)
            if number is None or number.dtype != bool and not np.all(np.isin(number, (-1, 0, 1)) | (number < -1e4)):
                return False
            if number.dtype == bool and number.size > 1:
                return False
    return True


def helper_lowest(dtype: int) -> float:
    return float(np.finfo(helper.tensor_dtype_to_np_dtype(dtype)).min)
