"""python -m export.from_folder FOLDER --out DIR: state-space and encoder-decoder checkpoints, without torch.

FOLDER is as Hugging Face has it: config.json, safetensors, tokenizer.json.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import ExportError, __version__
from .folder import appearing, read_json, sha256, write_json, write_record
from .parity import SEQ2SEQ, STATE_SPACE, Comparison, compare
from .seq2seq import export_t5
from .state_space import export_mamba

COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class Family:
    """What one value of `model_type` means."""

    architecture: str  # of alike.json: what the engine goes by
    build: Callable[[Path, Path], dict]  # a folder and a draft, to ingredients
    comparison: Comparison
    needs: tuple[str, ...] = ()  # settings without which the engine cannot ask


MAMBA = Family("mamba", export_mamba, STATE_SPACE, needs=("eos_token_id",))
T5 = Family("t5", export_t5, SEQ2SEQ, needs=("eos_token_id", "decoder_start_token_id"))
FAMILIES = {"mamba": MAMBA, "falcon_mamba": MAMBA, "t5": T5}


def export_folder(folder: Path, out: Path, style: str | None = None, check: bool = True, force: bool = False) -> None:
    """Writes the model folder `out`.

    # Errors
    ExportError when the folder is not one of the families, lacks a file, or the graph fails its check.
    """
    config = read_json(folder / "config.json")
    if config is None:
        raise ExportError(f"{folder} holds no config.json")
    family = FAMILIES.get(config.get("model_type"))
    if family is None:
        raise ExportError(f"{folder / 'config.json'}: model_type is {config.get('model_type')!r}, "
                          f"expected {', '.join(FAMILIES)}")
    with appearing(out, replace=force) as draft:
        write_small_files(folder, config, family, draft)
        ingredients = family.build(folder, draft)
        result = None
        if check:
            result = compare(folder, config, draft, family.comparison)
            _say("not compared with transformers: torch is not installed here" if result is None else
                 f"largest difference from transformers {result['max_abs_logit_difference']:.1e} "
                 f"over {result['positions']} positions (limit {result['limit']:.0e})")
        weights = sorted(folder.glob("model*.safetensors"))
        record = {
            "layout": "scoring",
            "architecture": family.architecture,
            "precision": "fp32",
            "style": style or default_style(config, draft),
            "source": {"folder": folder.resolve().name, "sha256": {file.name: sha256(file) for file in weights}},
            "ingredients": ingredients,
            "exporter": {"name": "alike", "version": __version__},
            "check": result,
        }
        write_record(record, draft, draft.iterdir())


def write_small_files(folder: Path, config: dict, family: Family, draft: Path) -> None:
    """Tokenizer, template and configs as they are; the special ids of both configs in generation_config.json."""
    if not (folder / "tokenizer.json").is_file():
        raise ExportError(f"{folder} holds no tokenizer.json (transformers converts others: AutoTokenizer."
                          "from_pretrained, then save_pretrained)")
    for file in [folder / name for name in COPIED] + sorted(folder.glob("LICENSE*")):
        if file.is_file():
            shutil.copyfile(file, draft / file.name)
    generation = read_json(folder / "generation_config.json") or {}
    generation = {name: config[name] for name in SPECIAL_IDS if config.get(name) is not None} | generation
    if missing := [name for name in family.needs if generation.get(name) is None]:
        raise ExportError(f"{folder}: neither generation_config.json nor config.json says {missing[0]}")
    write_json(draft / "generation_config.json", generation)


def default_style(config: dict, folder: Path) -> str:
    """`chat` where there is a template. T5 with a gated MLP is taken for FLAN's, which is tuned to follow a question;
    T5 1.1, which is not, has the same config, and needs --style base."""
    tokenizer = read_json(folder / "tokenizer_config.json") or {}
    if (folder / "chat_template.jinja").is_file() or tokenizer.get("chat_template"):
        return "chat"
    return "plain" if str(config.get("feed_forward_proj", "")).startswith("gated-") else "base"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m export.from_folder", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--style", choices=["chat", "plain", "base"], help="how the model is spoken to")
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True,
                        help="compare logits with transformers, where torch is installed (default: yes)")
    parser.add_argument("--force", action="store_true", help="replace an existing folder")
    options = parser.parse_args()
    start = time.monotonic()
    try:
        export_folder(options.folder, options.out, options.style, options.check, options.force)
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _say(f"wrote {options.out} in {time.monotonic() - start:.0f} s")
    return 0


def _say(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
