"""Checkpoints whose graphs are written by hand: state-space models and encoder-decoders, out of safetensors.

Torch is not needed but for the comparison at the end.
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from . import ExportError, __version__, seq2seq, state_space
from .builder import building
from .folder import read_json, write_json
from .parity import SEQ2SEQ, STATE_SPACE, Comparison, compare
from .safetensors_reader import Checkpoint
from .source import Source
from .tokenizer_files import has_template

SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class Family:
    """What one value of `model_type` means."""

    graph: ModuleType  # with sizes_of, add_model and ingredients_of
    comparison: Comparison
    needs: tuple[str, ...] = ()  # settings without which the engine cannot ask


MAMBA = Family(state_space, STATE_SPACE, needs=("eos_token_id",))
T5 = Family(seq2seq, SEQ2SEQ, needs=("eos_token_id", "decoder_start_token_id"))
FAMILIES = {"mamba": MAMBA, "falcon_mamba": MAMBA, "t5": T5}


def write_built(source: Source, draft: Path, check: bool) -> dict:
    """Writes graph and configs; returns what alike.json says of them.

    # Errors
    ExportError when the folder lacks a setting or a weight, or the graph fails its check.
    """
    family = FAMILIES[source.model_type]
    write_json(draft / "config.json", source.config)
    _write_generation_config(source, family, draft)
    checkpoint = Checkpoint(source.folder)
    sizes = family.graph.sizes_of(checkpoint)
    with building(checkpoint, draft / "model.onnx") as g:
        family.graph.add_model(g, sizes)
    ingredients = family.graph.ingredients_of(checkpoint, sizes)
    result = None
    if check:
        result = compare(source.folder, source.config, draft, family.comparison)
        result = result or {"not_run": "torch and transformers are not installed here"}
    return {"ingredients": ingredients, "check": result, "style": _style(source.config, draft),
            "exporter": {"name": "alike", "version": __version__}}


def _write_generation_config(source: Source, family: Family, draft: Path) -> None:
    """The special ids of both configs in one place."""
    generation = read_json(source.folder / "generation_config.json") or {}
    config = source.config
    generation = {name: config[name] for name in SPECIAL_IDS if config.get(name) is not None} | generation
    if missing := [name for name in family.needs if generation.get(name) is None]:
        raise ExportError(f"{source.folder}: neither generation_config.json nor config.json says {missing[0]}")
    write_json(draft / "generation_config.json", generation)


def _style(config: dict, draft: Path) -> str:
    """`chat` where there is a template. T5 with a gated MLP is taken for FLAN's, which is tuned to follow a question;
    T5 1.1, which is not, has the same config, and needs --style base."""
    if has_template(draft):
        return "chat"
    return "plain" if str(config.get("feed_forward_proj", "")).startswith("gated-") else "base"
