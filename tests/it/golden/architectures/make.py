"""Makes a tiny model of every architecture, exports it, and writes what the original says of 50 presentations.

    python tests/it/golden/architectures/make.py data/concepts/things128.csv [NAME ...]

A random checkpoint is saved in the form in which the family publishes its own, converted by `python -m export`, and
scored by transformers (Qwen 1 and Instella: by originals.py) on whole sequences, without a cache. Needs
export/requirements-torch.txt; a quarter of a minute for each model.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[3])]
from configs import MODELS  # noqa: E402
from export.folder import read_json, write_json  # noqa: E402
from export.from_folder import convert_folder  # noqa: E402
from make_tiny import make_tokenizer  # noqa: E402
from originals import Original  # noqa: E402
from presentations import choose_presentations, golden, read_concepts, write_golden  # noqa: E402

SEED = 20251122
N_PRESENTATIONS = 50
MAX_BYTES = 300_000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("concepts", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(MODELS))
    options = parser.parse_args()
    concepts = read_concepts(options.concepts)
    tokenizer = make_tokenizer(concepts)
    triples = choose_presentations(concepts, N_PRESENTATIONS, SEED)
    for name in options.names:
        model = make_model(name)
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = Path(scratch) / f"tiny-{name}"
            save(model, name, checkpoint)
            tokenizer.save_pretrained(checkpoint)
            convert_folder(str(checkpoint), HERE / name, force=True)
        source = read_json(HERE / name / "alike.json")["source"]
        if not hasattr(model.config, "vocab_size"):  # text and pictures
            model.config.vocab_size = model.config.text_config.vocab_size
        rows = golden(model, tokenizer, triples, "tests/it/golden/architectures/make.py", source)
        write_golden(rows, HERE / name / "golden.json")
        size = sum(file.stat().st_size for file in (HERE / name).iterdir() if file.name != "golden.json")
        print(f"{name}: {size:,} bytes")
        if size > MAX_BYTES:
            raise SystemExit(f"{name} has {size:,} bytes, more than {MAX_BYTES:,}")


def make_model(name: str):
    """Weights large enough that logits spread over a few units and attention is far from uniform."""
    torch.manual_seed(SEED)
    model = MODELS[name]().float().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim < 2:  # norms, biases, sinks
                weight.add_(0.1 * torch.randn_like(weight))
            elif isinstance(model, Original):
                weight.normal_(0.0, 0.2)
    return model


def save(model, name: str, folder: Path) -> None:
    """In the form of the published checkpoints."""
    if isinstance(model, Original):
        folder.mkdir()
        write_json(folder / "config.json", model.settings)
        save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
        return
    model.save_pretrained(folder)
    if name == "gptj":  # as published: tables beside the weights
        weights = load_file(folder / "model.safetensors") | {"transformer.h.0.attn.masked_bias": torch.tensor(-1e9)}
        save_file(weights | {"transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8)}, folder / "model.safetensors",
                  metadata={"format": "pt"})
    if name == "phi3-v":  # the language model's weights have Phi-3's names; those for pictures stand among them
        config = read_json(folder / "config.json")
        config |= {"model_type": "phi3_v", "architectures": ["Phi3VForCausalLM"], "img_processor": {"name": "clip"},
                   "embd_layer": {"embedding_cls": "image"}, "auto_map": {"AutoConfig": "configuration_phi3_v.Phi3VConfig"}}
        rope = config.pop("rope_parameters")
        config |= {"rope_theta": rope["rope_theta"], "rope_scaling": {
            "type": "su", "short_factor": rope["short_factor"], "long_factor": rope["long_factor"]}}
        write_json(folder / "config.json", config)
        weights = model.state_dict() | {"model.vision_embed_tokens.img_projection.0.weight": torch.randn(8, 8)}
        weights["model.vision_embed_tokens.wte.weight"] = weights.pop("model.embed_tokens.weight")
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / "model.safetensors",
                  metadata={"format": "pt"})


if __name__ == "__main__":
    main()
