"""Checkpoints whose class is not in transformers, or holds more than the text part, read by one that computes the same.

A remap is a configuration made out of config.json, and a table of weight names. That it computes the same is shown
by tests/it/golden/architectures: there the original's forward pass, written down on its own, is the reference.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import ExportError
from .load import naming, quietly, refuse_disagreement
from .source import INDEXES, Source


@dataclass(frozen=True)
class Remap:
    """`rules`: (pattern of a whole name, names it becomes); several names share the rows equally, none drop them.
    A name that no pattern fits stays as it is."""

    build: Callable[[Source], object]  # the model, its weights still random
    rules: tuple[tuple[str, tuple[str, ...]], ...]

    def places(self, name: str) -> tuple[str, ...]:
        for pattern, targets in self.rules:
            if found := re.fullmatch(pattern, name):
                return tuple(found.expand(target) for target in targets)
        return (name,)


def load_remapped(source: Source):
    """As `load.load_model`. One tensor is in memory beside the model at a time."""
    import torch

    remap = REMAPS[source.model_type]
    with naming(f"{source.folder / 'config.json'} makes no model"), quietly(), torch.no_grad():
        model = remap.build(source).float().eval()
    places = dict(model.named_parameters())  # tied ones once
    missing, unexpected, mismatched = set(places), set(), set()
    for name, tensor in read_tensors(source):
        targets = remap.places(name)
        if targets == ("lm_head.weight",) and model.config.tie_word_embeddings:
            continue  # a copy of the embedding
        pieces = tensor.chunk(len(targets)) if targets else ()
        for target, piece in zip(targets, pieces):
            if target not in places:
                unexpected.add(name)
            elif places[target].shape != piece.shape:
                mismatched.add((name, tuple(piece.shape), tuple(places[target].shape)))
                missing.discard(target)
            else:
                places[target].data.copy_(piece)
                missing.discard(target)
    refuse_disagreement(source, missing, unexpected, mismatched)
    return model


def read_tensors(source: Source) -> Iterator[tuple[str, object]]:
    """Names and torch tensors of all weight files, one at a time."""
    import torch
    from safetensors import safe_open

    shards = {file for index in INDEXES if (path := source.folder / index).is_file()
              for file in json.loads(path.read_text())["weight_map"].values()}
    files = sorted(shards) or [file.name for file in sorted(source.folder.glob("*.safetensors"))]
    for name in files or [file.name for file in sorted(source.folder.glob("pytorch_model*.bin"))]:
        path = source.folder / name
        with naming(f"{path} cannot be read"):
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt") as tensors:
                    for key in tensors.keys():
                        yield key, tensors.get_tensor(key)
            else:
                yield from torch.load(path, map_location="cpu", weights_only=True, mmap=True).items()


def _qwen(source: Source):
    """Qwen 1: Qwen 2 with keys, queries and values in one matrix and other names. Its dynamic rotary base and its
    factor log(position) on queries are 1 up to `seq_length`, where the context is made to end."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    c = source.config
    heads, width = c["num_attention_heads"], c.get("kv_channels", 128)
    for name, expected in (("rotary_pct", 1.0), ("no_bias", True), ("scale_attn_weights", True)):
        if c.get(name, expected) != expected:
            raise ExportError(f"{source.folder / 'config.json'} has {name} {c[name]!r}, expected {expected!r}")
    if heads * width != c["hidden_size"]:
        raise ExportError(f"{source.folder / 'config.json'} has kv_channels {width}, expected hidden_size / heads")
    return Qwen2ForCausalLM._from_config(Qwen2Config(
        vocab_size=c["vocab_size"], hidden_size=c["hidden_size"], intermediate_size=c["intermediate_size"] // 2,
        num_hidden_layers=c["num_hidden_layers"], num_attention_heads=heads, num_key_value_heads=heads,
        hidden_act="silu", max_position_embeddings=c["seq_length"], rms_norm_eps=c["layer_norm_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": float(c.get("rotary_emb_base", 10000))},
        tie_word_embeddings=c.get("tie_word_embeddings", False), **_special_ids(c)), attn_implementation="eager")


def _phi3_v(source: Source):
    from transformers import Phi3Config, Phi3ForCausalLM

    others = ("model_type", "architectures", "auto_map", "embd_layer", "img_processor", "transformers_version")
    settings = {name: value for name, value in source.config.items() if name not in others}
    if (settings.get("rope_scaling") or {}).get("type") == "su":  # an older name for it
        settings["rope_scaling"] = settings["rope_scaling"] | {"type": "longrope"}
    return Phi3ForCausalLM._from_config(Phi3Config(**settings), attn_implementation="eager")


def _gemma3(source: Source):
    from transformers import Gemma3Config, Gemma3ForCausalLM

    config = Gemma3Config.from_pretrained(source.folder)
    for name, value in _special_ids(source.config).items():
        setattr(config.text_config, name, value)
    return Gemma3ForCausalLM._from_config(config.text_config, attn_implementation="eager")


def _instella(source: Source):
    """Llama's layers with OLMo 2's attention, which normalises all queries, and all keys, together."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.models.olmo2.modeling_olmo2 import Olmo2Attention

    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
             "attention_bias", "rope_theta", "rope_scaling")
    config = LlamaConfig(**{name: source.config[name] for name in sizes if name in source.config},
                         **_special_ids(source.config))
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager")
    for i, layer in enumerate(model.model.layers):
        layer.self_attn = Olmo2Attention(model.config, i)
    return model


def _special_ids(config: dict) -> dict:
    return {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in config}


_LAYER, _NEW = r"transformer\.h\.(\d+)\.", r"model.layers.\1."

REMAPS = {
    "qwen": Remap(_qwen, (
        (r"transformer\.wte\.weight", ("model.embed_tokens.weight",)),
        (_LAYER + r"ln_1\.weight", (_NEW + "input_layernorm.weight",)),
        (_LAYER + r"attn\.c_attn\.(weight|bias)", tuple(_NEW + rf"self_attn.{part}_proj.\2" for part in "qkv")),
        (_LAYER + r"attn\.c_proj\.weight", (_NEW + "self_attn.o_proj.weight",)),
        (_LAYER + r"ln_2\.weight", (_NEW + "post_attention_layernorm.weight",)),
        (_LAYER + r"mlp\.w1\.weight", (_NEW + "mlp.up_proj.weight",)),  # w2 is the one behind the activation
        (_LAYER + r"mlp\.w2\.weight", (_NEW + "mlp.gate_proj.weight",)),
        (_LAYER + r"mlp\.c_proj\.weight", (_NEW + "mlp.down_proj.weight",)),
        (r"transformer\.ln_f\.weight", ("model.norm.weight",)),
    )),
    "phi3_v": Remap(_phi3_v, (
        (r"model\.vision_embed_tokens\.wte\.weight", ("model.embed_tokens.weight",)),  # one matrix, under either name
        (r"model\.vision_embed_tokens\..*", ()),
    )),
    "gemma3": Remap(_gemma3, (
        (r"(model\.)?(vision_tower|multi_modal_projector)\..*", ()),
        (r"language_model\.(model\..*|lm_head\.weight)", (r"\1",)),  # as published
        (r"model\.language_model\.(.*)", (r"model.\1",)),  # as transformers 5 saves it
    )),
    "instella": Remap(_instella, (
        (r"(model\.layers\.\d+\.)pre_attention_layernorm\.weight", (r"\1input_layernorm.weight",)),
        (r"(model\.layers\.\d+\.)pre_feedforward_layernorm\.weight", (r"\1post_attention_layernorm.weight",)),
    )),
}
