"""The decoder as an ONNX graph, in one of two layouts.

`scoring` is what the engine wants: rows of a prefix cache chosen by index, a head at scored positions only,
log-softmax inside. `standard` is the layout of most published exports. They share everything but their ends.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from .gguf_reader import Checkpoint, Sizes

OPSET = 23  # the first with Attention, RMSNormalization and RotaryEmbedding
IR_VERSION = 11
PAGE_BYTES = 4096  # alignment that lets a runtime map the data file instead of copying it
F32, F64, I64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


class Graph:
    """Collects nodes; weights go straight to the data file, so that only one is in memory at a time."""

    def __init__(self, data_file):
        self.nodes, self.inputs, self.outputs, self.initializers = [], [], [], []
        self._data_file = data_file
        self._n_values = 0

    def input(self, name, dtype, shape):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name, dtype, shape):
        """Declares a value that some node already produces under this name."""
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def op(self, kind, *inputs, out=1, **attributes):
        """Adds a node. `out` is how many outputs it has, or their names; one name or a list comes back."""
        self._n_values += 1
        name = f"{kind}_{self._n_values}"
        if isinstance(out, int):
            out = [name] if out == 1 else [f"{name}.{i}" for i in range(out)]
        elif isinstance(out, str):
            out = [out]
        self.nodes.append(helper.make_node(kind, inputs, out, name=name, **attributes))
        return out[0] if len(out) == 1 else out

    def ints(self, *values):
        """A constant, `[n]`."""
        return self._inline(np.array(values, dtype=np.int64))

    def scalar(self, value):
        return self._inline(np.array(value, dtype=np.int64))

    def weight(self, name, array):
        """A float32 weight, written to the data file at the next page."""
        array = np.ascontiguousarray(array, dtype=np.float32)
        self._data_file.write(b"\0" * (-self._data_file.tell() % PAGE_BYTES))
        place = {"location": Path(self._data_file.name).name, "offset": self._data_file.tell(), "length": array.nbytes}
        self._data_file.write(array.data)
        tensor = TensorProto(name=name, dims=array.shape, data_type=F32, data_location=TensorProto.EXTERNAL)
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        return name

    def _inline(self, array):
        self._n_values += 1
        name = f"constant_{self._n_values}"
        self.initializers.append(helper.make_tensor(name, I64, array.shape, array.ravel()))
        return name


def write_model(checkpoint: Checkpoint, layout: str, path: Path) -> None:
    """Writes `path`, and the weights beside it in `path` + `.data`."""
    with open(f"{path}.data", "wb") as data_file:
        graph = Graph(data_file)
        LAYOUTS[layout](graph, checkpoint)
    checkpoint.refuse_unread()
    proto = helper.make_graph(graph.nodes, "decoder", graph.inputs, graph.outputs, graph.initializers)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "alike"
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(path)


def _scoring(g: Graph, checkpoint: Checkpoint) -> None:
    """Rows of a pass have equal (past, new) lengths by construction, so no attention mask comes in."""
    sizes = checkpoint.sizes
    ids = g.input("input_ids", I64, ["batch", "seq"])
    past_rows = g.input("past_rows", I64, ["batch"])
    cache = _cache_inputs(g, sizes, "cache")
    scored = g.input("scored", I64, ["n_scored", 2])  # (batch row, position in seq)
    wanted = g.input("wanted", I64, ["n_wanted", 2])  # (row of scored, token id)

    columns, positions = _columns_and_positions(g, ids, cache)
    # The causal mask [seq, past + seq] is explicit: providers have disagreed on what `is_causal` means with a past.
    mask = g.op("LessOrEqual", columns, g.op("Unsqueeze", positions, g.ints(1)))
    cache = [tuple(g.op("Gather", half, past_rows, axis=0) for half in layer) for layer in cache]
    position_ids = g.op("Expand", positions, g.op("Shape", ids))
    hidden, embedding = _decoder(g, checkpoint, ids, position_ids, mask, cache)

    rows = g.op("GatherND", hidden, scored)  # only these pass the final norm and the head
    logits = _head(g, checkpoint, rows, embedding)
    _log_softmax(g, logits, wanted)
    g.output("log_probs", F32, ["n_wanted"])
    g.output("top_ids", I64, ["n_scored"])
    g.output("top_log_probs", F32, ["n_scored"])
    g.output("logits", F32, ["n_scored", sizes.vocab_size])
    _cache_outputs(g, sizes)


def _standard(g: Graph, checkpoint: Checkpoint) -> None:
    """The inputs and outputs of optimum's text-generation-with-past exports."""
    sizes = checkpoint.sizes
    ids = g.input("input_ids", I64, ["batch", "seq"])
    keep = g.input("attention_mask", I64, ["batch", "past + seq"])
    position_ids = g.input("position_ids", I64, ["batch", "seq"])
    cache = _cache_inputs(g, sizes, "batch")

    columns, positions = _columns_and_positions(g, ids, cache)
    positions = g.op("Unsqueeze", positions, g.ints(1))
    causal = g.op("LessOrEqual", columns, positions)
    kept = g.op("Unsqueeze", g.op("Cast", keep, to=TensorProto.BOOL), g.ints(1, 2))
    # A padding position sees itself: softmax over nothing would be NaN, and would spread.
    mask = g.op("Or", g.op("And", causal, kept), g.op("Equal", columns, positions))
    hidden, embedding = _decoder(g, checkpoint, ids, position_ids, mask, cache)
    _head(g, checkpoint, hidden, embedding)
    g.output("logits", F32, ["batch", "seq", sizes.vocab_size])
    _cache_outputs(g, sizes)


LAYOUTS = {"scoring": _scoring, "standard": _standard}


def _cache_inputs(g, sizes: Sizes, rows):
    shape = [rows, sizes.kv_heads, "past", sizes.head_dim]
    return [tuple(g.input(f"past_key_values.{i}.{half}", F32, shape) for half in ("key", "value"))
            for i in range(sizes.layers)]


def _cache_outputs(g, sizes: Sizes):
    for i in range(sizes.layers):
        for half in ("key", "value"):
            g.output(f"present.{i}.{half}", F32, ["batch", sizes.kv_heads, "past + seq", sizes.head_dim])


def _columns_and_positions(g, ids, cache):
    """All key positions `[past + seq]`, and those of the new tokens `[seq]`: lengths come from the shapes."""
    past_len = g.op("Shape", cache[0][0], start=2, end=3)
    total_len = g.op("Add", past_len, g.op("Shape", ids, start=1, end=2))
    columns = g.op("Range", g.scalar(0), g.op("Squeeze", total_len), g.scalar(1))
    return columns, g.op("Slice", columns, past_len, total_len)


def _decoder(g, checkpoint, ids, position_ids, mask, cache):
    """Embedding and all layers: hidden states `[batch, seq, hidden]` before the final norm."""
    sizes = checkpoint.sizes
    embedding = g.weight("embedding", checkpoint.tensor("token_embd.weight"))
    rotary = _rotary_tables(g, sizes, position_ids)
    hidden = g.op("Gather", embedding, ids, axis=0)
    for i in range(sizes.layers):
        hidden = g.op("Add", hidden, _attention(g, checkpoint, i, hidden, rotary, mask, cache[i]))
        hidden = g.op("Add", hidden, _mlp(g, checkpoint, i, hidden))
    return hidden, embedding


def _rotary_tables(g, sizes: Sizes, position_ids):
    """cos and sin, `[batch, seq, head_dim / 2]`, computed for the positions at hand instead of stored."""
    exponents = np.arange(0, sizes.head_dim, 2, dtype=np.float32) / np.float32(sizes.head_dim)
    frequencies = g.weight("rotary_frequencies", 1.0 / np.float32(sizes.rope_theta) ** exponents)
    angles = g.op("Mul", g.op("Unsqueeze", g.op("Cast", position_ids, to=F32), g.ints(2)), frequencies)
    return g.op("Cos", angles), g.op("Sin", angles)


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
    if not checkpoint.sizes.tied_embeddings:
        return _linear(g, checkpoint, "output.weight", normed, out="logits")
    return g.op("MatMul", normed, g.op("Transpose", embedding, perm=[1, 0]), out="logits")


def _log_softmax(g, logits, wanted):
    """Log-probabilities of the wanted and of the most probable tokens. The sum over the vocabulary is in f64:
    ONNX Runtime's own LogSoftmax adds in f32 and was 3e-5 nats off over 49,152 tokens. Axes are
    counted from the front because its reductions ignore a negative one when there are no rows."""
    shifted = g.op("Sub", logits, g.op("ReduceMax", logits, g.ints(1), keepdims=1))
    sums = g.op("ReduceSum", g.op("Cast", g.op("Exp", shifted), to=F64), g.ints(1), keepdims=0)
    log_sums = g.op("Log", sums)  # [n_scored]
    wanted_shifted = g.op("Cast", g.op("GatherND", shifted, wanted), to=F64)
    wanted_log_sums = g.op("Gather", log_sums, g.op("Gather", wanted, g.scalar(0), axis=1), axis=0)
    g.op("Cast", g.op("Sub", wanted_shifted, wanted_log_sums), to=F32, out="log_probs")
    g.op("Cast", g.op("Neg", log_sums), to=F32, out="top_log_probs")
    g.op("ArgMax", logits, axis=1, keepdims=0, out="top_ids")


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
