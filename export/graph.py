"""The decoder of a GGUF checkpoint as an ONNX graph in the standard layout, which most published exports share."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from .gguf_reader import Checkpoint, Sizes
from .onnx_graph import BOOL, F32, I64, Graph
from .precision import FLOAT_TYPES

OPSET = 23  # the first with Attention, RMSNormalization and RotaryEmbedding
PAGE_BYTES = 4096  # alignment that lets a runtime map the data file instead of copying it


class DecoderGraph(Graph):
    """Weights go straight to the data file, so that only one is in memory at a time."""

    def __init__(self, data_file, precision="fp32"):
        super().__init__(ModelProto(opset_import=[helper.make_opsetid("", OPSET)]))
        self._data_file = data_file
        self.float = FLOAT_TYPES[precision]

    def weight(self, name, array, dtype=None):
        """A weight in the graph's precision, or in another type, written to the data file at the next page."""
        dtype = self.float if dtype is None else dtype
        array = np.ascontiguousarray(array, dtype=helper.tensor_dtype_to_np_dtype(dtype))
        self._data_file.write(b"\0" * (-self._data_file.tell() % PAGE_BYTES))
        place = {"location": Path(self._data_file.name).name, "offset": self._data_file.tell(), "length": array.nbytes}
        self._data_file.write(array.tobytes())
        tensor = TensorProto(name=name, dims=array.shape, data_type=dtype, data_location=TensorProto.EXTERNAL)
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self.initializers[name] = tensor
        return name


def write_model(checkpoint: Checkpoint, path: Path, precision: str = "fp32") -> None:
    """Writes `path`, and the weights beside it in `path` + `.data`; everything between them is in that precision, but for
    rotary angles and logits, which are in float32."""
    with open(f"{path}.data", "wb") as data_file:
        graph = DecoderGraph(data_file, precision)
        _add_decoder(graph, checkpoint)
    checkpoint.refuse_unread()
    path.write_bytes(graph.to_model().SerializeToString())
    onnx.checker.check_model(path)


def _add_decoder(g: DecoderGraph, checkpoint: Checkpoint) -> None:
    """The inputs and outputs of optimum's text-generation-with-past exports."""
    sizes = checkpoint.sizes
    ids = g.input("input_ids", I64, ["batch", "seq"])
    keep = g.input("attention_mask", I64, ["batch", "past + seq"])
    position_ids = g.input("position_ids", I64, ["batch", "seq"])
    shape = ["batch", sizes.kv_heads, "past", sizes.head_dim]
    cache = [tuple(g.input(f"past_key_values.{i}.{half}", g.float, shape) for half in ("key", "value"))
             for i in range(sizes.layers)]

    past_len = g.shape(cache[0][0], 2, 3)
    total_len = g.op("Add", past_len, g.shape(ids, 1, 2))
    columns = g.op("Range", g.scalar(0), g.op("Squeeze", total_len), g.scalar(1))  # [past + seq]
    rows = g.op("Unsqueeze", g.op("Slice", columns, past_len, total_len), g.ints(1))  # [seq, 1]
    # The causal mask is explicit: providers have disagreed on what `is_causal` means with a past.
    causal = g.op("LessOrEqual", columns, rows)
    kept = g.op("Unsqueeze", g.op("Cast", keep, to=BOOL), g.ints(1, 2))
    # A padding position sees itself: softmax over nothing would be NaN, and would spread.
    mask = g.op("Or", g.op("And", causal, kept), g.op("Equal", columns, rows))

    embedding = g.weight("embedding", checkpoint.tensor("token_embd.weight"))
    rotary = _rotary_tables(g, sizes, position_ids)
    hidden = g.op("Gather", embedding, ids, axis=0)
    for i in range(sizes.layers):
        hidden = g.op("Add", hidden, _attention(g, checkpoint, i, hidden, rotary, mask, cache[i]))
        hidden = g.op("Add", hidden, _mlp(g, checkpoint, i, hidden))
    _head(g, checkpoint, hidden, embedding)

    g.output("logits", F32, ["batch", "seq", sizes.vocab_size])
    for i in range(sizes.layers):
        for half in ("key", "value"):
            g.output(f"present.{i}.{half}", g.float, ["batch", sizes.kv_heads, "past + seq", sizes.head_dim])


def _rotary_tables(g, sizes: Sizes, position_ids):
    """cos and sin, `[batch, seq, head_dim / 2]`, computed for the positions at hand instead of stored."""
    exponents = np.arange(0, sizes.head_dim, 2, dtype=np.float32) / np.float32(sizes.head_dim)
    frequencies = g.weight("rotary_frequencies", 1.0 / np.float32(sizes.rope_theta) ** exponents, F32)
    angles = g.op("Mul", g.op("Unsqueeze", g.op("Cast", position_ids, to=F32), g.ints(2)), frequencies)
    return _in_precision(g, g.op("Cos", angles)), _in_precision(g, g.op("Sin", angles))


def _in_precision(g, value):
    return value if g.float == F32 else g.op("Cast", value, to=g.float)


def _attention(g, checkpoint, i, hidden, rotary, mask, past):
    sizes = checkpoint.sizes
    normed = _norm(g, checkpoint, f"blk.{i}.attn_norm.weight", hidden)
    # Three products: one over joined weights was no faster, and needs a Split.
    q, k, v = (_linear(g, checkpoint, f"blk.{i}.attn_{part}.weight", normed) for part in "qkv")
    q = g.op("RotaryEmbedding", q, *rotary, num_heads=sizes.attention_heads)
    k = g.op("RotaryEmbedding", k, *rotary, num_heads=sizes.kv_heads)
    mixed, _, _ = g.op("Attention", q, k, v, mask, *past,
                       out=[f"attention.{i}", f"present.{i}.key", f"present.{i}.value"],
                       q_num_heads=sizes.attention_heads, kv_num_heads=sizes.kv_heads)
    return _linear(g, checkpoint, f"blk.{i}.attn_output.weight", mixed)


def _mlp(g, checkpoint, i, hidden):
    normed = _norm(g, checkpoint, f"blk.{i}.ffn_norm.weight", hidden)
    gate, up = (_linear(g, checkpoint, f"blk.{i}.ffn_{part}.weight", normed) for part in ("gate", "up"))
    gate = g.op("Mul", gate, g.op("Sigmoid", gate))
    return _linear(g, checkpoint, f"blk.{i}.ffn_down.weight", g.op("Mul", gate, up))


def _head(g, checkpoint, hidden, embedding):
    """Logits. A tied model stores its embedding once; the runtime turns it at load, and runs at the same speed."""
    normed = _norm(g, checkpoint, "output_norm.weight", hidden)
    out = "logits" if g.float == F32 else 1
    if checkpoint.sizes.tied_embeddings:
        logits = g.op("MatMul", normed, g.op("Transpose", embedding, perm=[1, 0]), out=out)
    else:
        logits = _linear(g, checkpoint, "output.weight", normed, out=out)
    if g.float != F32:
        g.op("Cast", logits, to=F32, out="logits")


def _norm(g, checkpoint, name, hidden):
    scale = g.weight(name, checkpoint.tensor(name))
    return g.op("RMSNormalization", hidden, scale, axis=-1, epsilon=checkpoint.sizes.rms_norm_eps)


def _linear(g, checkpoint, name, hidden, out=1):
    """`hidden @ weight.T` for a weight `[out, in]`, stored transposed because MatMul wants `[in, out]`."""
    weight = checkpoint.tensor(name)
    if checkpoint.family.neighbour_pairs and name.endswith(("attn_q.weight", "attn_k.weight")):
        weight = _split_pairs(weight, checkpoint.sizes.head_dim)
    return g.op("MatMul", hidden, g.weight(name, weight.T), out=out)


def _split_pairs(weight, head_dim):
    """Undoes llama.cpp's row order: rows (2j, 2j + 1) of a head become rows (j, j + head_dim / 2)."""
    pairs = weight.reshape(-1, head_dim // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)
