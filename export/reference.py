"""The model once more, in numpy and float64, straight from the definition: what the ONNX file is checked against.

Shares nothing with graph.py. In particular it keeps llama.cpp's row order and rotates neighbouring pairs,
where the graph reorders the rows and rotates halves; both are right only if they agree.
"""

import numpy as np

from .gguf_reader import Checkpoint


def logits_of(checkpoint: Checkpoint, sequences: np.ndarray) -> np.ndarray:
    """Full causal forward pass: token ids `[batch, seq]` to logits `[batch, seq, vocab]`."""
    s = checkpoint.sizes

    def weight(name):
        return checkpoint.tensor(name).astype(np.float64)

    def norm(x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + s.rms_norm_eps) * weight(name)

    def heads(x):  # [batch, seq, heads * head_dim] -> [batch, heads, seq, head_dim]
        return x.reshape(*x.shape[:2], -1, s.head_dim).swapaxes(1, 2)

    seq_len = sequences.shape[1]
    frequencies = s.rope_theta ** (-np.arange(0, s.head_dim, 2) / s.head_dim)
    turn = np.exp(1j * np.arange(seq_len)[:, None] * frequencies)  # [seq, head_dim / 2]

    def rotate(x):  # neighbouring pairs as complex numbers
        if not checkpoint.family.neighbour_pairs:
            raise NotImplementedError("rotation by halves")
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
        return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)

    embedding = weight("token_embd.weight")
    future = np.triu(np.ones((seq_len, seq_len), dtype=bool), k=1)
    hidden = embedding[sequences]
    for i in range(s.layers):
        x = norm(hidden, f"blk.{i}.attn_norm.weight")
        q, k, v = (heads(x @ weight(f"blk.{i}.attn_{part}.weight").T) for part in "qkv")
        group = s.attention_heads // s.kv_heads
        k, v = np.repeat(rotate(k), group, axis=1), np.repeat(v, group, axis=1)
        scores = rotate(q) @ k.swapaxes(-1, -2) / np.sqrt(s.head_dim)
        scores[..., future] = -np.inf
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        hidden = hidden + mixed.swapaxes(1, 2).reshape(x.shape[:2] + (-1,)) @ weight(f"blk.{i}.attn_output.weight").T
        x = norm(hidden, f"blk.{i}.ffn_norm.weight")
        gate, up = (x @ weight(f"blk.{i}.ffn_{part}.weight").T for part in ("gate", "up"))
        hidden = hidden + (gate / (1 + np.exp(-gate)) * up) @ weight(f"blk.{i}.ffn_down.weight").T
    hidden = norm(hidden, "output_norm.weight")
    return hidden @ (embedding if s.tied_embeddings else weight("output.weight")).T
