"""Products in eight bits: a scale for every token's activations, found when it runs, and one for every column of weights.

What a token's numbers become depends on that token alone: neither on its batch nor on a calibration set. Weights keep to ±64, because processors
without VNNI add two products of a byte each in 16 bits, which must not saturate: 255 · 64 · 2 < 2^15.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from rotation import is_product, rotate

from export.onnx_graph import F32, Graph

LARGEST_WEIGHT, LARGEST_ACTIVATION = 64, 127
CLIPS = np.linspace(0.7, 1.0, 10)  # of a column's largest weight, tried as the largest that is kept


def quantise_per_token(path: Path, rotated: bool = True, keep: frozenset[str] = frozenset()) -> None:
    """Replaces the products of `path` with stored matrices, but for the weights named in `keep` and what scored positions alone
    pass through: the head and most of the last layer. (There may be none, and ONNX Runtime 1.31 reduces no rows to the wrong shape.)

    # Errors
    ExportError when the graph cannot be rotated.
    """
    g = Graph(onnx.load(path))
    if rotated:
        rotate(g)
    g.opsets["com.microsoft"] = 1
    scored, quantised = g.dependents(["scored"]), {}
    for node in [node for node in g.nodes if is_product(g, node)]:
        x, name = node.input
        if name in keep or name.startswith("rotation") or node.output[0] in scored:
            continue
        if x not in quantised:
            quantised[x] = _quantise_rows(g, x)
        _replace(g, node, name, *quantised[x])
    data = path.with_name(path.name + ".data")
    data.unlink(missing_ok=True)  # onnx appends
    onnx.save(g.to_model(), path, save_as_external_data=True, location=data.name, size_threshold=4096)


def quantise_columns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers within ±64 and a scale for each column of `weight [in, out]`: of the clips tried, the one of least squared error."""
    largest = np.maximum(np.abs(weight).max(axis=0), np.finfo(np.float32).tiny)
    best = np.full(weight.shape[1], np.inf)
    integers, scales = np.zeros(weight.shape, np.int8), np.zeros(weight.shape[1], np.float32)
    for clip in CLIPS:
        scale = (largest * clip / LARGEST_WEIGHT).astype(np.float32)
        tried = np.clip(np.rint(weight / scale), -LARGEST_WEIGHT, LARGEST_WEIGHT)
        error = np.square(tried * scale - weight).sum(axis=0)
        better = error < best
        best[better], scales[better] = error[better], scale[better]
        integers[:, better] = tried[:, better]
    return integers, scales


def _quantise_rows(g: Graph, x: str) -> tuple[str, str]:
    """`x` as bytes around 128, and the scale `[..., 1]` of each token."""
    last = g.ints(-1)
    largest = g.op("Max", g.op("ReduceMax", x, last, keepdims=1),
                   g.op("Neg", g.op("ReduceMin", x, last, keepdims=1)), g.scalar(1e-10, F32))
    steps = g.scalar(LARGEST_ACTIVATION, F32)
    even = g.op("Mul", x, g.op("Div", steps, largest))
    return g.op("QuantizeLinear", even, g.scalar(1, F32), _zero(g)), g.op("Div", largest, steps)


def _replace(g: Graph, node, name: str, x: str, scale: str) -> None:
    integers, scales = quantise_columns(numpy_helper.to_array(g.initializers[name]))
    for ending, array in ((".int8", integers), (".scale", scales)):
        g.initializers[name + ending] = numpy_helper.from_array(array, name + ending)
    product = g.op("MatMulIntegerToFloat", x, name + ".int8", g.scalar(1, F32), name + ".scale", _zero(g),
                   domain="com.microsoft")
    output = node.output[0]
    if output in g.outputs:
        g.remove(node)
        g.op("Mul", product, scale, out=output)
    else:
        g.rewire(output, g.op("Mul", product, scale))
        g.remove(node)


def _zero(g):
    return g.scalar(128, TensorProto.UINT8)
