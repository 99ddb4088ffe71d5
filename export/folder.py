"""The model folder: its small files, its checksums, and how it appears all at once or not at all."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

from . import ExportError, __version__
from .gguf_reader import Checkpoint
from .tokenizer import special_ids, tokenizer_config, tokenizer_json

FORMAT = 2  # of alike.json


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_complete(folder: Path, source_sha256: str, layout: str, precision: str = "fp32",
                style: str | None = None) -> bool:
    """Whether `folder` is an unharmed export of this source as it is asked for (`style`: None for any)."""
    try:
        record = json.loads((folder / "alike.json").read_text())
        return (record["format"] == FORMAT and record["layout"] == layout and record["precision"] == precision
                and style in (None, record["style"])
                and record["source"]["sha256"] == source_sha256
                and all(sha256(folder / name) == digest for name, digest in record["files"].items()))
    except (OSError, ValueError, KeyError):
        return False


@contextmanager
def appearing(folder: Path, replace: bool):
    """A sibling `.tmp` folder to write into; it becomes `folder` when the block ends without an error."""
    if folder.exists() and not replace:
        raise ExportError(f"{folder} exists already; pass --force to replace it")
    folder = folder.resolve()  # "." has no name, and so no siblings
    draft, old = (folder.with_name(folder.name + ending) for ending in (".tmp", ".old"))
    shutil.rmtree(draft, ignore_errors=True)  # left by an interrupted run
    draft.mkdir(parents=True)
    try:
        yield draft
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_small_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Everything beside the graph that the engine and other tools read."""
    write_json(folder / "tokenizer.json", tokenizer_json(checkpoint), indent=None)
    write_json(folder / "tokenizer_config.json", tokenizer_config(checkpoint))
    write_json(folder / "generation_config.json", special_ids(checkpoint))
    write_json(folder / "config.json", _config(checkpoint))


def write_record(record: dict, folder: Path, files: Iterable[Path]) -> None:
    """alike.json, written last: it has the checksums of `files`."""
    digests = {file.relative_to(folder).as_posix(): sha256(file) for file in sorted(files)}
    write_json(folder / "alike.json", {"format": FORMAT, **record, "files": digests})


def record_of(checkpoint: Checkpoint, layout: str, source_sha256: str, check: dict | None,
              exporter: dict = {"name": "gguf", "version": __version__}, style: str | None = None,
              precision: str = "fp32") -> dict:
    """What alike.json says of a GGUF export, beside its files. `style`: what the file suggests, if left out."""
    sizes = checkpoint.sizes
    return {
        "layout": layout,
        "architecture": checkpoint.architecture,
        "precision": precision,
        "style": style or ("chat" if checkpoint.has_setting("tokenizer.chat_template") else "base"),
        "source": {"file": checkpoint.path.name, "sha256": source_sha256},
        "ingredients": {
            "layers": sizes.layers,
            "hidden_size": sizes.hidden_size,
            "attention_heads": sizes.attention_heads,
            "kv_heads": sizes.kv_heads,
            "head_dim": sizes.head_dim,
            "intermediate_size": sizes.intermediate_size,
            "vocab_size": sizes.vocab_size,
            "max_context": sizes.max_context,
            "activation": checkpoint.family.activation,
            "parameters": sizes.parameters,
            "tied_embeddings": sizes.tied_embeddings,
        },
        "exporter": exporter,
        "check": check,
    }


def _config(checkpoint: Checkpoint) -> dict:
    """config.json as transformers writes it."""
    sizes = checkpoint.sizes
    return {
        "architectures": [checkpoint.family.class_name],
        "model_type": checkpoint.architecture,
        "dtype": "float32",
        "num_hidden_layers": sizes.layers,
        "hidden_size": sizes.hidden_size,
        "num_attention_heads": sizes.attention_heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "intermediate_size": sizes.intermediate_size,
        "vocab_size": sizes.vocab_size,
        "max_position_embeddings": sizes.max_context,
        "hidden_act": checkpoint.family.activation,
        "rms_norm_eps": sizes.rms_norm_eps,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": sizes.tied_embeddings,
        # Both spellings: transformers 4 reads only the first and otherwise takes 10000 without a word.
        "rope_theta": sizes.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": sizes.rope_theta},
        **special_ids(checkpoint),
    }


def read_json(path: Path):
    """What a JSON file holds, or None if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ExportError(f"{path} is not JSON: {error}") from error


def write_json(path, value, indent=2):
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
