"""Graphs that count positions by themselves are given ours: in a row that holds a tree, a position is not a place."""

from onnx import NodeProto

from .masks import MaskUse
from .onnx_graph import BF16, BOOL, F16, F32, F64, I64, Graph, is_shape

FLOATS = (F16, BF16, F32, F64)


def feed_positions(g: Graph, hidden: set[str], masks: list[MaskUse]) -> bool:
    """Makes rotary angles and position embeddings follow from an input `position_ids [batch, seq]`.

    False if something but masks goes on counting places.
    """
    if "position_ids" in g.inputs:
        return True
    for node, place in _uses(g):
        if _counts_new_tokens(g, node.input[place]):
            inputs = list(node.input)
            inputs[place] = _in_place_of(g, inputs[place])
            g.set_inputs(node, inputs)
    g.input("position_ids", I64, ["batch", "seq"])
    made_for_masks = {use.node.input[use.place] for use in masks if use.place < len(use.node.input)}
    entering = {name for node in g.nodes if any(output in hidden for output in node.output)
                for name in node.input if name and name not in hidden}
    return not any(_counts_places(g, name) for name in entering - made_for_masks)


def _uses(g: Graph) -> list[tuple[NodeProto, int]]:
    """Where whole numbers become angles, or rows of a table."""
    angles = [node.input[0] for node in g.nodes if node.op_type in ("Cos", "Sin")]
    casts = [(node, 0) for node in g.cone(angles, stop=is_shape)
             if node.op_type == "Cast" and g.attribute(node, "to") in FLOATS]
    rows = [(node, 1) for node in g.nodes if node.op_type == "Gather" and (g.constant_rank(node.input[0]) or 0) > 1]
    rotary = [(node, 1 if node.domain else 3) for node in g.nodes if node.op_type == "RotaryEmbedding"]
    return [(node, place) for node, place in casts + rows + rotary if len(node.input) > place]


def _counts_places(g: Graph, value: str) -> bool:
    """Whether a value is made by counting, and is more than a length or a yes or no."""
    cone = g.cone([value], stop=is_shape)
    counted = any(node.op_type in ("Range", "CumSum") for node in cone)
    return counted and "position_ids" not in g.ends([value], is_shape) and g.dtype(value) != BOOL


def _counts_new_tokens(g: Graph, value: str) -> bool:
    """Whether a value is the positions of the new tokens, counted from the lengths or out of the attention mask,
    with or without further axes of size 1."""
    node = g.producers.get(value)
    if node is None:
        return False
    if node.op_type in ("Cast", "Identity"):
        return _counts_new_tokens(g, node.input[0])
    if node.op_type == "Unsqueeze":
        return _is_range(g, node.input[0]) and 0 in _axes(g, node) or _counts_new_tokens(g, node.input[0])
    makers = {maker.op_type for maker in g.cone([value], stop=is_shape)}
    return "CumSum" in makers and node.op_type in ("Slice", "Gather")


def _in_place_of(g: Graph, value: str) -> str:
    """`position_ids`, with the axes that `value` has."""
    node = g.producers[value]
    if node.op_type in ("Cast", "Identity"):
        return _in_place_of(g, node.input[0])
    if node.op_type != "Unsqueeze":
        return "position_ids"
    axes = _axes(g, node)
    if not _is_range(g, node.input[0]):
        return g.op("Unsqueeze", _in_place_of(g, node.input[0]), g.ints(*axes))
    added = [axis for axis in axes if axis != 0]  # the axis at 0 is the batch, which position_ids has
    return g.op("Unsqueeze", "position_ids", g.ints(*added)) if added else "position_ids"


def _is_range(g: Graph, value: str) -> bool:
    """`[seq]`: a Range, alone or shifted by the length of the past."""
    node = g.producers.get(value)
    if node is not None and node.op_type == "Add":
        return any(_is_range(g, name) for name in node.input)
    return node is not None and node.op_type == "Range"


def _axes(g: Graph, node: NodeProto) -> list[int]:
    axes = g.constant(node.input[1])
    return [] if axes is None else [int(axis) for axis in axes.ravel()]
