"""T5 and FLAN-T5 as an ONNX graph in the scoring layout, from safetensors and without torch.

A run is the encoder over each row's source and the decoder over what follows: a chain, or a small tree of answers,
so what each token sees comes in as a mask, and how far apart two tokens are follows from `position_ids`.

Source: Raffel et al. (2020), https://jmlr.org/papers/v21/20-074.html, section 2.1.
"""

from dataclasses import dataclass
from math import inf, log

import numpy as np

from . import ExportError
from .builder import ModelGraph
from .onnx_graph import BOOL, F32, I64
from .safetensors_reader import Checkpoint

# By `feed_forward_proj`: the name of the activation, and its op. T5 says gelu where it means the tanh form.
ACTIVATIONS = {
    "relu": ("relu", "Relu", {}),
    "gated-gelu": ("gelu_new", "Gelu", {"approximate": "tanh"}),
}
EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")  # one matrix
NEVER_USED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"  # in the first checkpoints


@dataclass(frozen=True)
class Sizes:
    """The numbers that fix the graph."""

    encoder_layers: int
    decoder_layers: int
    hidden: int
    heads: int
    head_dim: int
    mlp: int
    vocab: int
    buckets: int
    max_distance: int
    epsilon: float
    feed_forward: str
    scaled: bool  # whether the decoder's output is multiplied by hidden^-0.5 before the head

    @property
    def gated(self) -> bool:
        return self.feed_forward.startswith("gated-")


def sizes_of(checkpoint: Checkpoint) -> Sizes:
    """# Errors
    ExportError when config.json asks for what is not built here.
    """
    of = checkpoint.setting
    feed_forward = of("feed_forward_proj", "relu")
    if feed_forward not in ACTIVATIONS:
        raise ExportError(f"{checkpoint.folder / 'config.json'}: feed_forward_proj is {feed_forward!r}, "
                          f"expected {' or '.join(ACTIVATIONS)}")
    return Sizes(
        encoder_layers=of("num_layers"),
        decoder_layers=of("num_decoder_layers", of("num_layers")),
        hidden=of("d_model"),
        heads=of("num_heads"),
        head_dim=of("d_kv"),
        mlp=of("d_ff"),
        vocab=of("vocab_size"),
        buckets=of("relative_attention_num_buckets", 32),
        max_distance=of("relative_attention_max_distance", 128),
        epsilon=of("layer_norm_epsilon", 1e-6),
        feed_forward=feed_forward,
        # Only the first T5 scales. Its configs say nothing of tied embeddings; later ones say that they are not tied.
        scaled=of("scale_decoder_outputs", of("tie_word_embeddings", True)),
    )


def ingredients_of(checkpoint: Checkpoint, s: Sizes) -> dict:
    """Under the names of alike.json."""
    return {
        "layers": s.decoder_layers,
        "encoder_layers": s.encoder_layers,
        "hidden_size": s.hidden,
        "attention_heads": s.heads,
        "kv_heads": s.heads,
        "head_dim": s.head_dim,
        "intermediate_size": s.mlp,
        "vocab_size": s.vocab,
        "max_context": checkpoint.config.get("n_positions"),  # what it was trained with; the architecture has no limit
        "activation": ACTIVATIONS[s.feed_forward][0],
        "parameters": checkpoint.n_parameters(),
        "tied_embeddings": _is_tied(checkpoint),
    }


def add_model(g: ModelGraph, s: Sizes) -> None:
    source_ids = g.input("input_ids", I64, ["batch", "source"])
    ids = g.input("decoder_input_ids", I64, ["batch", "seq"])
    positions = g.input("position_ids", I64, ["batch", "seq"])
    sees = g.input("attention_mask", BOOL, ["batch", "seq", "seq"])
    embedding = g.weight("embedding", g.checkpoint.tensor(_embedding(g.checkpoint), s.vocab, s.hidden))
    source = _encoder(g, s, g.op("Gather", embedding, source_ids, axis=0))
    hidden = _decoder(g, s, g.op("Gather", embedding, ids, axis=0), source, positions, sees)
    if s.scaled:
        hidden = g.op("Mul", hidden, g.scalar(s.hidden**-0.5, F32))
    g.head(hidden, embedding if _is_tied(g.checkpoint) else None, s.hidden, s.vocab)


def _embedding(checkpoint: Checkpoint) -> str:
    """The name of the one matrix that both stacks embed with."""
    stored = next((name for name in EMBEDDINGS if checkpoint.has(name)), EMBEDDINGS[0])
    for name in EMBEDDINGS:
        if not checkpoint.is_copy(name, of=stored):
            raise ExportError(f"{checkpoint.folder}: tensors {name!r} and {stored!r} differ, expected the same twice")
    return stored


def _is_tied(checkpoint: Checkpoint) -> bool:
    return checkpoint.is_copy("lm_head.weight", of=_embedding(checkpoint))


def _encoder(g: ModelGraph, s: Sizes, hidden: str) -> str:
    length = g.op("Squeeze", g.shape(hidden, 1, 2))
    places = g.op("Range", g.scalar(0), length, g.scalar(1))
    distance = g.op("Sub", g.op("Unsqueeze", places, g.ints(0)), g.op("Unsqueeze", places, g.ints(1)))  # key - query
    far = g.op("Clip", distance, g.scalar(-s.max_distance), g.scalar(s.max_distance))
    bias = g.op("Gather", _bias_by_distance(g, s, "encoder"), g.op("Add", far, g.scalar(s.max_distance)), axis=0)
    bias = g.op("Unsqueeze", g.op("Transpose", bias, perm=[2, 0, 1]), g.ints(0))  # [1, heads, source, source]
    for i in range(s.encoder_layers):
        layer = f"encoder.block.{i}.layer"
        normed = g.rms_norm(f"{layer}.0.layer_norm", hidden, s.hidden, s.epsilon)
        hidden = g.op("Add", hidden, _attention(g, s, f"{layer}.0.SelfAttention", normed, normed, bias))
        hidden = g.op("Add", hidden, _mlp(g, s, f"{layer}.1", hidden))
    return g.rms_norm("encoder.final_layer_norm", hidden, s.hidden, s.epsilon)


def _decoder(g: ModelGraph, s: Sizes, hidden: str, source: str, positions: str, sees: str) -> str:
    queries, keys = g.op("Unsqueeze", positions, g.ints(2)), g.op("Unsqueeze", positions, g.ints(1))
    back = g.op("Clip", g.op("Sub", queries, keys), g.scalar(0), g.scalar(s.max_distance))
    bias = g.op("Gather", _bias_by_distance(g, s, "decoder"), back, axis=0)
    bias = g.op("Transpose", bias, perm=[0, 3, 1, 2])  # [batch, heads, seq, seq]
    bias = g.op("Where", g.op("Unsqueeze", sees, g.ints(1)), bias, g.scalar(-inf, F32))
    for i in range(s.decoder_layers):
        layer = f"decoder.block.{i}.layer"
        normed = g.rms_norm(f"{layer}.0.layer_norm", hidden, s.hidden, s.epsilon)
        hidden = g.op("Add", hidden, _attention(g, s, f"{layer}.0.SelfAttention", normed, normed, bias))
        normed = g.rms_norm(f"{layer}.1.layer_norm", hidden, s.hidden, s.epsilon)
        hidden = g.op("Add", hidden, _attention(g, s, f"{layer}.1.EncDecAttention", normed, source))
        hidden = g.op("Add", hidden, _mlp(g, s, f"{layer}.2", hidden))
    return g.rms_norm("decoder.final_layer_norm", hidden, s.hidden, s.epsilon)


def _attention(g: ModelGraph, s: Sizes, name: str, queries: str, source: str, *bias: str) -> str:
    """Scores are not divided by the root of the head size: T5 has that in its weights."""
    width = s.heads * s.head_dim
    q = g.linear(f"{name}.q", queries, s.hidden, width)
    k, v = (g.linear(f"{name}.{part}", source, s.hidden, width) for part in "kv")
    mixed = g.op("Attention", q, k, v, *bias, q_num_heads=s.heads, kv_num_heads=s.heads, scale=1.0)
    return g.linear(f"{name}.o", mixed, width, s.hidden)


def _mlp(g: ModelGraph, s: Sizes, layer: str, hidden: str) -> str:
    name = f"{layer}.DenseReluDense"
    _, op, attributes = ACTIVATIONS[s.feed_forward]
    normed = g.rms_norm(f"{layer}.layer_norm", hidden, s.hidden, s.epsilon)
    inner = g.op(op, g.linear(f"{name}.wi_0" if s.gated else f"{name}.wi", normed, s.hidden, s.mlp), **attributes)
    if s.gated:
        inner = g.op("Mul", inner, g.linear(f"{name}.wi_1", normed, s.hidden, s.mlp))
    return g.linear(f"{name}.wo", inner, s.mlp, s.hidden)


def _bias_by_distance(g: ModelGraph, s: Sizes, stack: str) -> str:
    """What is added to a score: `[2 max_distance + 1, heads]` from -max_distance for the encoder, which looks both
    ways, `[max_distance + 1, heads]` for the decoder. From max_distance on it stays the same.

    Distances are turned into buckets here and not in the graph, where logarithms would be rounded by each provider
    in its own way, and a distance at a bucket's edge would be on one side or the other.
    """
    name = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    by_bucket = g.checkpoint.tensor(name, s.buckets, s.heads)
    distances = np.arange(s.max_distance + 1)
    if stack == "decoder":
        g.checkpoint.ignore(NEVER_USED)
        buckets = bucket(distances, s.buckets, s.max_distance)
    else:
        half = s.buckets // 2
        before = bucket(distances, half, s.max_distance)
        buckets = np.concatenate([before[:0:-1], before[:1], before[1:] + half])
    return g.weight(name, by_bucket[buckets])


def bucket(distance: np.ndarray, n_buckets: int, max_distance: int) -> np.ndarray:
    """T5's bucket of distances that are not negative: the first half are one distance each, the others grow by a
    constant factor up to `max_distance`. In f32, as the reference implementations compute it."""
    exact = n_buckets // 2
    growth = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    far = exact + (growth / np.float32(log(max_distance / exact)) * np.float32(n_buckets - exact)).astype(np.int64)
    return np.where(distance < exact, distance, np.minimum(far, n_buckets - 1))
