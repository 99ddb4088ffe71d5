"""Mamba and Falcon-Mamba as an ONNX graph in the scoring layout, from safetensors and without torch.

What attention keeps as keys and values of every token, these models keep as a state of fixed size: the last inputs
of a convolution, and a matrix that decays and is added to. States lie in a pool, and a row names the slot of the one
it continues. Only the recurrence goes from token to token (`Scan`); all else is done for a row's tokens at once.

Source: Gu & Dao (2023), Mamba, algorithm 2, https://arxiv.org/abs/2312.00752; Zuo et al. (2024), Falcon Mamba,
https://arxiv.org/abs/2410.05355, which norms what makes the step, the input and the readout.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from onnx import GraphProto, parser

from . import ExportError
from .builder import ModelGraph
from .caches import END
from .onnx_graph import F32, I64
from .safetensors_reader import Checkpoint


@dataclass(frozen=True)
class Sizes:
    """The numbers that fix the graph."""

    layers: int
    hidden: int
    inner: int
    states: int
    kernel: int
    rank: int
    vocab: int
    epsilon: float
    mixer_epsilon: float | None  # of Falcon-Mamba's norms inside the mixer
    conv_bias: bool
    bias: bool

    @property
    def conv_width(self) -> int:
        return (self.kernel - 1) * self.inner

    @property
    def ssm_width(self) -> int:
        return self.states * self.inner


def sizes_of(checkpoint: Checkpoint) -> Sizes:
    """# Errors
    ExportError when config.json asks for what is not built here.
    """
    of = checkpoint.setting
    if of("hidden_act", "silu") != "silu":
        raise ExportError(f"{checkpoint.folder / 'config.json'}: hidden_act is {of('hidden_act')!r}, expected 'silu'")
    hidden, rank = of("hidden_size"), of("time_step_rank", "auto")
    return Sizes(
        layers=of("num_hidden_layers"),
        hidden=hidden,
        inner=of("intermediate_size", int(of("expand", 2) * hidden)),
        states=of("state_size", 16),
        kernel=of("conv_kernel", 4),
        rank=ceil(hidden / 16) if rank == "auto" else rank,
        vocab=of("vocab_size"),
        epsilon=of("layer_norm_epsilon", 1e-5),
        mixer_epsilon=of("mixer_rms_eps", 1e-6) if of("model_type") == "falcon_mamba" else None,
        conv_bias=of("use_conv_bias", True),
        bias=of("use_bias", False),
    )


def ingredients_of(checkpoint: Checkpoint, s: Sizes) -> dict:
    """Under the names of alike.json."""
    return {
        "layers": s.layers,
        "hidden_size": s.hidden,
        "intermediate_size": s.inner,
        "state_size": s.states,
        "conv_kernel": s.kernel,
        "time_step_rank": s.rank,
        "vocab_size": s.vocab,
        "max_context": None,  # the architecture has no limit
        "activation": "silu",
        "parameters": checkpoint.n_parameters(),
        "tied_embeddings": _is_tied(checkpoint),
    }


def add_model(g: ModelGraph, s: Sizes) -> None:
    ids = g.input("input_ids", I64, ["batch", "seq"])
    g.input("past_states", I64, ["batch"])
    for i in range(s.layers):
        g.input(f"past_state.{i}.conv", F32, ["slots", s.conv_width])
        g.input(f"past_state.{i}.ssm", F32, ["slots", s.ssm_width])
    embedding = g.weight("embedding", g.checkpoint.tensor(_embedding(g.checkpoint), s.vocab, s.hidden))
    hidden = g.op("Gather", embedding, ids, axis=0)
    for i in range(s.layers):
        normed = g.rms_norm(f"backbone.layers.{i}.norm", hidden, s.hidden, s.epsilon)
        hidden = g.op("Add", hidden, _mixer(g, s, i, normed))
    normed = g.rms_norm("backbone.norm_f", hidden, s.hidden, s.epsilon)
    g.head(normed, embedding if _is_tied(g.checkpoint) else None, s.hidden, s.vocab)


def _embedding(checkpoint: Checkpoint) -> str:
    """The first converted checkpoints have the name in the singular."""
    names = ("backbone.embeddings.weight", "backbone.embedding.weight")
    return next((name for name in names if checkpoint.has(name)), names[0])


def _is_tied(checkpoint: Checkpoint) -> bool:
    return checkpoint.is_copy("lm_head.weight", of=_embedding(checkpoint))


def _mixer(g: ModelGraph, s: Sizes, i: int, hidden: str) -> str:
    name = f"backbone.layers.{i}.mixer"
    projected = g.linear(f"{name}.in_proj", hidden, s.hidden, 2 * s.inner, bias=s.bias)
    x, gate = g.op("Split", projected, out=2, axis=2, num_outputs=2)
    x = _silu(g, _convolution(g, s, i, x))
    y = g.op("Add", _recurrence(g, s, i, x), g.op("Mul", x, g.stored(f"{name}.D", s.inner)))
    return g.linear(f"{name}.out_proj", g.op("Mul", y, _silu(g, gate)), s.inner, s.hidden, bias=s.bias)


def _convolution(g: ModelGraph, s: Sizes, i: int, x: str) -> str:
    """Every channel by itself over the last `kernel` tokens: as many products of shifted rows, which for so short a
    kernel costs less than turning `[batch, seq, inner]` around for `Conv`."""
    name = f"backbone.layers.{i}.mixer.conv1d"
    kernel = g.checkpoint.tensor(f"{name}.weight", s.inner, 1, s.kernel)
    past = g.op("Gather", f"past_state.{i}.conv", "past_states", axis=0)
    inputs = g.op("Concat", g.op("Reshape", past, g.ints(-1, s.kernel - 1, s.inner)), x, axis=1)
    kept = g.op("Slice", inputs, g.ints(1 - s.kernel), g.ints(END), g.ints(1))
    _give_state(g, kept, f"present_state.{i}.conv", s.conv_width)
    seq = g.shape(x, 1, 2)
    total = g.stored(f"{name}.bias", s.inner) if s.conv_bias else None
    for k in range(s.kernel):
        shifted = g.op("Slice", inputs, g.ints(k), g.op("Add", seq, g.ints(k)), g.ints(1))
        term = g.op("Mul", shifted, g.weight(f"{name}.{k}", kernel[:, 0, k]))
        total = term if total is None else g.op("Add", term, total)
    return total


def _recurrence(g: ModelGraph, s: Sizes, i: int, x: str) -> str:
    """`state = exp(dt A) state + dt x B` and `y = C state`, token by token; dt, B and C follow from the token.

    # Shapes
    `x`: `[batch, seq, inner]`; state `[batch, states, inner]`, so that what is long lies together
    """
    name = f"backbone.layers.{i}.mixer"
    projected = g.linear(f"{name}.x_proj", x, s.inner, s.rank + 2 * s.states)
    dt, b, c = g.op("Split", projected, g.ints(s.rank, s.states, s.states), out=3, axis=2)
    if s.mixer_epsilon is not None:
        dt, b, c = (_plain_norm(g, value, size, s.mixer_epsilon)
                    for value, size in ((dt, s.rank), (b, s.states), (c, s.states)))
    dt = _softplus(g, g.linear(f"{name}.dt_proj", dt, s.rank, s.inner, bias=True))
    a_log = g.checkpoint.tensor(f"{name}.A_log", s.inner, s.states)
    decay = g.weight(f"decay_{i}", -np.exp(a_log.T.astype(np.float32)))
    past = g.op("Gather", f"past_state.{i}.ssm", "past_states", axis=0)
    past = g.op("Reshape", past, g.ints(-1, s.states, s.inner))
    row = g.ints(2)
    last, y = g.op("Scan", past, g.op("Unsqueeze", dt, row), g.op("Unsqueeze", g.op("Mul", dt, x), row),
                   g.op("Unsqueeze", b, g.ints(3)), g.op("Unsqueeze", c, row),
                   out=2, body=_step(s, decay), num_scan_inputs=4, scan_input_axes=[1] * 4, scan_output_axes=[1])
    _give_state(g, last, f"present_state.{i}.ssm", s.ssm_width)
    return g.op("Squeeze", y, row)


def _step(s: Sizes, decay: str) -> GraphProto:
    """One token of all rows."""
    state, row = f"float[batch, {s.states}, {s.inner}]", f"float[batch, 1, {s.inner}]"
    return parser.parse_graph(f"""
        step ({state} before, {row} dt, {row} dt_x, float[batch, {s.states}, 1] b, float[batch, 1, {s.states}] c)
            => ({state} after, {row} y)
        {{
            rate = Mul (dt, {decay})
            share = Exp (rate)
            kept = Mul (share, before)
            added = Mul (b, dt_x)
            after = Add (kept, added)
            y = MatMul (c, after)
        }}""")


def _give_state(g: ModelGraph, value: str, name: str, width: int) -> None:
    g.op("Reshape", value, g.ints(-1, width), out=name)
    g.output(name, F32, ["batch", width])


def _silu(g: ModelGraph, x: str) -> str:
    return g.op("Mul", x, g.op("Sigmoid", x))


def _softplus(g: ModelGraph, x: str) -> str:
    """log(1 + exp(x)), of steps as small as 1e-4, of which f32 keeps three digits once it has added 1: what the sum
    lost is made up for (Goldberg 1991, theorem 4). ONNX's Softplus is left to the care of each provider."""
    e, one = g.op("Exp", x), g.scalar(1, F32)
    sum_ = g.op("Add", e, one)
    scaled = g.op("Mul", g.op("Log", sum_), g.op("Div", e, g.op("Sub", sum_, one)))
    return g.op("Where", g.op("Equal", sum_, one), e, scaled)


def _plain_norm(g: ModelGraph, x: str, size: int, epsilon: float) -> str:
    """Root mean square, without a weight."""
    return g.op("RMSNormalization", x, g.weight(f"ones_{size}", np.ones(size)), axis=-1, epsilon=epsilon)
