"""Weights in fewer bits: of whole blocks of a matrix's rows, with products computed in float32."""

from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto

from . import ExportError
from .load import quietly
from .onnx_graph import Graph

FLOAT_TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
BITS = {"int8": 8, "int4": 4}
BLOCK = 32  # weights that share a scale and a zero point


def quantise(path: Path, bits: int) -> None:
    """Replaces the products with constant matrices in `path`, but for the head; the embedding is no product."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    model = onnx.load(path)
    quantizer = MatMulNBitsQuantizer(model, bits=bits, block_size=BLOCK, is_symmetric=False,
                                     nodes_to_exclude=[_head(model)])
    with quietly():
        quantizer.process()
    data = path.with_name(path.name + ".data")
    data.unlink(missing_ok=True)  # onnx appends
    onnx.save(quantizer.model.model, path, save_as_external_data=True, location=data.name)


def _head(model: ModelProto) -> str:
    """The name of the last product before the logits."""
    g = Graph(model)
    node = g.producers["logits"]
    while node.op_type not in ("MatMul", "Gemm"):
        makers = [g.producers[name] for name in node.input if name in g.producers and not g.is_constant(name)]
        if not makers:
            raise ExportError("the graph has no product before its logits, which was to be left in fp32")
        node = makers[0]
    return node.name
