"""Parts of models that decide in Python what a graph has to decide by itself, written so that they can be traced."""

import torch
from torch import nn


def make_traceable(model) -> None:
    """In place. What a part computes does not change: the check at the end compares with the model as it was."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "PhimoeRotaryEmbedding" and child.rope_type != "default":
                setattr(parent, name, LongRotary(child))


class LongRotary(nn.Module):
    """Phi-3.5-MoE's: cosines and sines are scaled by one of two numbers, by how far the sequence goes."""

    def __init__(self, rotary):
        super().__init__()
        self.frequencies, _ = rotary.rope_init_fn(rotary.config)
        self.settings = rotary.config.rope_parameters

    def forward(self, x, position_ids):
        is_long = position_ids.max() + 1 > self.settings["original_max_position_embeddings"]
        scale = torch.where(is_long, self.settings["long_mscale"], self.settings["short_mscale"])
        angles = position_ids[..., None].float() * self.frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return (angles.cos() * scale).to(x.dtype), (angles.sin() * scale).to(x.dtype)
