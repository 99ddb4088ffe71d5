"""What lies behind the last attention works on scored positions only, and ends in log-probabilities.

The last layer's output projection and MLP, the final norm and the head treat each position by itself. So the
values that enter this region are cut down to the scored rows, and everything in it runs on `[n_scored, ...]`.
"""

from onnx import NodeProto

from .onnx_graph import F32, F64, I64, Graph, key

ELEMENTWISE = {
    "Abs", "Add", "And", "BiasGelu", "Cast", "CastLike", "Celu", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp",
    "FastGelu", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Not", "Or", "Pow", "QuickGelu", "Reciprocal", "Relu",
    "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu", "Where",
}
NORMS = {"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"}
SKIP_NORMS = {"SkipLayerNormalization", "SkipSimplifiedLayerNormalization"}
REDUCTIONS = {"ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "ReduceMax"}
LAST = (-1, 2)  # of [batch, seq, size]


def score_positions(g: Graph, hidden: set[str]) -> None:
    """Replaces `logits [batch, seq, vocab]` by those of scored positions, and adds what follows from them.

    `hidden`: the values that depend on tokens or caches; the rest of a node's operands must be constant.
    """
    scored = g.input("scored", I64, ["n_scored", 2])  # (row, position in seq)
    wanted = g.input("wanted", I64, ["n_wanted", 2])  # (row of scored, token id)
    vocab = g.outputs["logits"].type.tensor_type.shape.dim[-1]
    vocab_size = vocab.dim_value or vocab.dim_param or "vocab"
    dtype = g.dtype("logits")

    region = _region(g, hidden)
    inside = {key(node) for node in region}
    if not region:
        raw = g.free_name("logits")
        g.op("GatherND", raw, scored, out="logits")
    entering = {name: None for node in region for name in node.input
                if name in hidden and not (name in g.producers and key(g.producers[name]) in inside)}
    for name in entering:
        rows = g.op("GatherND", name, scored)
        g.rewire(name, rows, within=[node for node in g.readers[name] if key(node) in inside])
    for node in region:
        _use_rows(g, node)

    logits = "logits"
    if dtype != F32:
        logits = g.op("Cast", g.free_name("logits"), to=F32, out="logits")
    log_softmax(g, logits, wanted)
    g.output("log_probs", F32, ["n_wanted"])
    g.output("top_ids", I64, ["n_scored"])
    g.output("top_log_probs", F32, ["n_scored"])
    g.output("logits", F32, ["n_scored", vocab_size])


def log_softmax(g: Graph, logits: str, wanted: str) -> None:
    """Log-probabilities of the wanted and of the most probable tokens. The sum over the vocabulary is in f64:
    ONNX Runtime's own LogSoftmax adds in f32 and was 3e-5 nats off over 49,152 tokens. Axes are
    counted from the front because its reductions ignore a negative one when there are no rows. The largest is looked up
    where ArgMax found it: on a GPU ReduceMax took 5 ms of a pass of 32, the two together 0.2."""
    top_ids = g.op("ArgMax", logits, axis=1, keepdims=1)
    shifted = g.op("Sub", logits, g.op("GatherElements", logits, top_ids, axis=1))
    sums = g.op("ReduceSum", g.op("Cast", g.op("Exp", shifted), to=F64), g.ints(1), keepdims=0)
    log_sums = g.op("Log", sums)  # [n_scored]
    wanted_shifted = g.op("Cast", g.op("GatherND", shifted, wanted), to=F64)
    wanted_log_sums = g.op("Gather", log_sums, g.op("Gather", wanted, g.scalar(0), axis=1), axis=0)
    g.op("Cast", g.op("Sub", wanted_shifted, wanted_log_sums), to=F32, out="log_probs")
    g.op("Cast", g.op("Neg", log_sums), to=F32, out="top_log_probs")
    g.op("Squeeze", top_ids, g.ints(1), out="top_ids")


def _region(g: Graph, hidden: set[str]) -> list[NodeProto]:
    """Nodes that treat each position by itself and whose every reader does, back from `logits`."""
    region: dict[str, NodeProto] = {}
    queue = [g.producers["logits"]]
    while queue:
        node = queue.pop()
        outputs = [name for name in node.output if name]
        ends_here = all(name == "logits" or name not in g.outputs for name in outputs)
        read_inside = all(key(reader) in region for name in outputs for reader in g.readers[name])
        if key(node) not in region and ends_here and read_inside and _is_position_wise(g, node, hidden):
            region[key(node)] = node
            queue += [g.producers[name] for name in node.input if name in hidden and name in g.producers]
    return list(region.values())


def _is_position_wise(g: Graph, node: NodeProto, hidden: set[str]) -> bool:
    """Whether a node, given `[batch, seq, size]`, works on each position alone, and would on `[rows, size]` as well."""
    operands = [name for name in node.input if name]
    if not (operands and any(name in hidden for name in operands)):
        return False
    constants = [name for name in operands if name not in hidden]
    if not all(g.is_constant(name) for name in constants):
        return False
    ranks = [g.constant_rank(name) for name in constants]
    kind = node.op_type
    if kind in ELEMENTWISE:
        return all(rank is not None and rank <= 1 for rank in ranks)
    if kind == "MatMul":
        return node.input[0] in hidden and ranks == [2]
    if kind in ("MatMulNBits", "MatMulBnb4") or kind in SKIP_NORMS:
        return node.input[0] in hidden
    if kind in NORMS:
        return g.attribute(node, "axis", -1) in LAST
    if kind in REDUCTIONS:
        return g.attribute(node, "keepdims", 1) == 1 and _axes(g, node) in [(axis,) for axis in LAST]
    if kind == "Split":
        return g.attribute(node, "axis", 0) in LAST
    if kind == "Concat":
        return g.attribute(node, "axis") in LAST and not constants
    if kind == "Slice":
        return len(node.input) > 3 and _axes(g, node) in [(axis,) for axis in LAST]
    return False


def _axes(g: Graph, node: NodeProto) -> tuple[int, ...] | None:
    """Axes of a reduction or a slice: an attribute in old opsets, an input in new ones."""
    place = 3 if node.op_type == "Slice" else 1
    if len(node.input) > place:
        axes = g.constant(node.input[place])
        return None if axes is None else tuple(int(axis) for axis in axes.ravel())
    axes = g.attribute(node, "axes")
    return None if axes is None else tuple(axes)


def _use_rows(g: Graph, node: NodeProto) -> None:
    """The last axis of `[rows, size]` is 1; counted from the front for the reason `log_softmax` gives."""
    kind = node.op_type
    if kind in NORMS | {"Split", "Concat"}:
        g.set_attribute(node, "axis", 1)
    elif kind in REDUCTIONS | {"Slice"}:
        place = 3 if kind == "Slice" else 1
        if len(node.input) > place:
            inputs = list(node.input)
            inputs[place] = g.ints(1)
            g.set_inputs(node, inputs)
        else:
            g.set_attribute(node, "axes", [1])
