"""Qwen 1 and Instella as their authors' code computes them, with their authors' names for the weights.

Written down from the published modelling code (Qwen's modeling_qwen.py; AMD's model for vLLM) with nothing of
transformers in it, so that the remapped classes of export/remap.py have something to agree with. Whole sequences
only, no cache.
"""

from types import SimpleNamespace

import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, theta):
    """`[batch, seq, heads, head_dim]`: the pair (j, j + head_dim / 2) turns by position * theta^(-2j / head_dim)."""
    size = x.shape[-1]
    angles = torch.outer(torch.arange(x.shape[1]).float(), theta ** (-torch.arange(0, size, 2).float() / size))
    cos, sin = (torch.cat([f(angles)] * 2, dim=-1)[None, :, None] for f in (torch.cos, torch.sin))
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


def attend(q, k, v):
    """`[batch, seq, heads, head_dim]` each; causal."""
    group = q.shape[2] // k.shape[2]
    q, k, v = q.transpose(1, 2), *(x.repeat_interleave(group, dim=2).transpose(1, 2) for x in (k, v))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    mixed = scores.masked_fill(future, float("-inf")).softmax(-1) @ v
    return mixed.transpose(1, 2).flatten(2)


class Original(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.settings = config
        self.config = SimpleNamespace(**config)  # as transformers' models have one

    def forward(self, input_ids):
        return SimpleNamespace(logits=self.logits(input_ids))


class QwenAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.theta, self.seq_length = c.num_attention_heads, c.rotary_emb_base, c.seq_length
        size = c.kv_channels * c.num_attention_heads
        self.c_attn = nn.Linear(c.hidden_size, 3 * size)
        self.c_proj = nn.Linear(c.hidden_size, size, bias=not c.no_bias)

    def forward(self, x):
        # Up to seq_length tokens the dynamic base and the factor on queries are 1; beyond, this is not Qwen.
        assert x.shape[1] <= self.seq_length
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.c_attn(x).chunk(3, dim=-1))
        return self.c_proj(attend(rotate(q, self.theta), rotate(k, self.theta), v))


class QwenMLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        inner = c.intermediate_size // 2
        self.w1 = nn.Linear(c.hidden_size, inner, bias=not c.no_bias)
        self.w2 = nn.Linear(c.hidden_size, inner, bias=not c.no_bias)
        self.c_proj = nn.Linear(inner, c.hidden_size, bias=not c.no_bias)

    def forward(self, x):
        return self.c_proj(self.w1(x) * nn.functional.silu(self.w2(x)))


class Qwen(Original):
    def __init__(self, config):
        super().__init__(config)
        c = self.config
        block = lambda: nn.ModuleDict({  # noqa: E731
            "ln_1": RMSNorm(c.hidden_size, c.layer_norm_epsilon), "attn": QwenAttention(c),
            "ln_2": RMSNorm(c.hidden_size, c.layer_norm_epsilon), "mlp": QwenMLP(c)})
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(c.vocab_size, c.hidden_size), "h": nn.ModuleList(block() for _ in range(c.num_hidden_layers)),
            "ln_f": RMSNorm(c.hidden_size, c.layer_norm_epsilon)})
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)

    def logits(self, ids):
        x = self.transformer["wte"](ids)
        for block in self.transformer["h"]:
            x = x + block["attn"](block["ln_1"](x))
            x = x + block["mlp"](block["ln_2"](x))
        return self.lm_head(self.transformer["ln_f"](x))


class InstellaAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.width, self.theta = c.hidden_size // c.num_attention_heads, c.rope_theta
        kv = c.num_key_value_heads * self.width
        self.q_proj, self.o_proj = (nn.Linear(c.hidden_size, c.hidden_size, bias=False) for _ in "qo")
        self.k_proj, self.v_proj = (nn.Linear(c.hidden_size, kv, bias=False) for _ in "kv")
        self.q_norm, self.k_norm = RMSNorm(c.hidden_size, c.rms_norm_eps), RMSNorm(kv, c.rms_norm_eps)

    def forward(self, x):
        # The norms come before the heads are told apart.
        q, k, v = self.q_norm(self.q_proj(x)), self.k_norm(self.k_proj(x)), self.v_proj(x)
        q, k, v = (part.unflatten(-1, (-1, self.width)) for part in (q, k, v))
        return self.o_proj(attend(rotate(q, self.theta), rotate(k, self.theta), v))


class InstellaMLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(c.hidden_size, c.intermediate_size, bias=False) for _ in "gu")
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Instella(Original):
    def __init__(self, config):
        super().__init__(config)
        c = self.config
        layer = lambda: nn.ModuleDict({  # noqa: E731
            "pre_attention_layernorm": RMSNorm(c.hidden_size, c.rms_norm_eps), "self_attn": InstellaAttention(c),
            "pre_feedforward_layernorm": RMSNorm(c.hidden_size, c.rms_norm_eps), "mlp": InstellaMLP(c)})
        self.model = nn.ModuleDict({
            "embed_tokens": nn.Embedding(c.vocab_size, c.hidden_size),
            "layers": nn.ModuleList(layer() for _ in range(c.num_hidden_layers)), "norm": RMSNorm(c.hidden_size, c.rms_norm_eps)})
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)

    def logits(self, ids):
        x = self.model["embed_tokens"](ids)
        for layer in self.model["layers"]:
            x = x + layer["self_attn"](layer["pre_attention_layernorm"](x))
            x = x + layer["mlp"](layer["pre_feedforward_layernorm"](x))
        return self.lm_head(self.model["norm"](x))
