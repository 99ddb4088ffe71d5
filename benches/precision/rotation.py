"""The residual stream in another basis, in which no channel stands out: what makes eight bits a token enough.

A few channels of a language model are a hundred times as large as the rest, and a scale that fits them leaves nothing for the
others. An orthogonal matrix spreads them over all channels. RMS normalisation does not see it, once its weights have gone into the
products behind it; so only weights change, but for one product behind the embedding and one before the last norm.
What the MLP's last product reads is no part of the stream and is turned in blocks when it runs.

Source: Ashkboos et al. (2024), QuaRot, https://arxiv.org/abs/2404.00456
"""

import numpy as np
from onnx import NodeProto, numpy_helper

from export import ExportError
from export.onnx_graph import Graph, describe

SEED = 0
BLOCK = 64  # channels that are turned together before the MLP's last product: 2 % more arithmetic


def rotate(g: Graph) -> None:
    """Edits a graph whose weights are in memory. Its outputs stay what they were, but for rounding.

    # Errors
    ExportError unless the graph is a residual stream that products add to, and that RMSNormalization alone reads.
    """
    embedding = _embedding(g)
    stream, writers, norms = _stream(g, embedding)
    size = _weight(g, writers[0].input[1]).shape[1]
    turn = orthogonal(size)
    for node in writers:
        _replace(g, node, lambda weight: weight @ turn)
    for norm in norms:
        readers = g.readers[norm.output[0]]
        if all(is_product(g, node) for node in readers):
            gain = _weight(g, norm.input[1])
            for node in readers:
                _replace(g, node, lambda weight: turn.T @ (gain[:, None] * weight))
            g.set_inputs(norm, [norm.input[0], _constant(g, "rotation.ones", np.ones(size))])
        else:  # the last one, before the head
            back = g.op("MatMul", norm.input[0], _constant(g, "rotation.back", turn.T))
            g.set_inputs(norm, [back, norm.input[1]])
    turned = g.op("MatMul", embedding, _constant(g, "rotation", turn))
    g.rewire(embedding, turned, [node for node in g.readers[embedding] if node.output[0] != turned])
    for node in writers:
        _turn_blocks(g, node)


def orthogonal(size: int) -> np.ndarray:
    """A random orthogonal matrix, float64."""
    q, r = np.linalg.qr(np.random.default_rng(SEED).standard_normal((size, size)))
    return q * np.sign(np.diag(r))


def is_product(g: Graph, node: NodeProto) -> bool:
    """Whether a node multiplies with a stored matrix."""
    return node.op_type == "MatMul" and node.input[1] in g.initializers and g.constant_rank(node.input[1]) == 2


def _embedding(g):
    found = [node.output[0] for node in g.readers["input_ids"] if node.op_type == "Gather"]
    if len(found) != 1:
        raise ExportError(f"input_ids is looked up {len(found)} times, expected one embedding")
    return found[0]


def _stream(g, embedding):
    """The values of the residual stream, the products that add to it, and the norms that read it."""
    stream, writers, norms, queue = {embedding}, [], [], [embedding]
    while queue:
        value = queue.pop()
        for node in g.readers[value]:
            if node.op_type == "RMSNormalization":
                norms.append(node)
                continue
            if node.op_type == "Add":
                other = g.producers.get(next(name for name in node.input if name != value))
                if other is not None and is_product(g, other):
                    writers.append(other)
            elif node.op_type != "GatherND":
                raise ExportError(f"the residual stream is read by {describe(node)}, expected RMSNormalization or Add")
            if node.output[0] not in stream:
                stream.add(node.output[0])
                queue.append(node.output[0])
    outside = [node for node in g.nodes if node.op_type == "Add" and stream & set(node.input)
               and not any(name not in stream and name in {w.output[0] for w in writers} for name in node.input)]
    if outside or not writers:
        raise ExportError(f"no product is added to the residual stream{f' at {describe(outside[0])}' if outside else ''}")
    return stream, writers, norms


def _turn_blocks(g, node):
    """Turns what the MLP's last product reads. Attention's outputs are even as they are."""
    x, weight = node.input[0], _weight(g, node.input[1])
    if "Attention" in {maker.op_type for maker in _nearest(g, x)} or weight.shape[0] % BLOCK:
        return
    turn = hadamard(BLOCK)
    blocks = g.op("Reshape", x, g.ints(-1, BLOCK))
    turned = g.op("MatMul", blocks, _constant(g, "rotation.block", turn))
    g.set_inputs(node, [g.op("Reshape", turned, g.shape(x, 0, None)), node.input[1]])
    _replace(g, node, lambda w: (turn.T @ w.reshape(-1, BLOCK, w.shape[1])).reshape(w.shape))


def _nearest(g, x):
    """The node that computes `x`, and the one behind it where positions are picked out of its output."""
    node = g.producers[x]
    return [node, *([g.producers[node.input[0]]] if node.op_type == "GatherND" else [])]


def hadamard(size: int) -> np.ndarray:
    """Orthogonal, of equal magnitudes; `size` is a power of two."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix / np.sqrt(size)


def _weight(g, name):
    return numpy_helper.to_array(g.initializers[name]).astype(np.float64)


def _replace(g, node, change):
    """A weight of its own for `node`."""
    name = node.input[1]
    _constant(g, name, change(_weight(g, name)))


def _constant(g, name, array):
    g.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
    return name
