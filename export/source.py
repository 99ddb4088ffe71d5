"""A checkpoint in Hugging Face's form: a folder with config.json, weights and a tokenizer."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from . import ExportError, say
from .folder import read_json, sha256

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "*.tiktoken")
SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "LICENSE*", "NOTICE*")


@dataclass(frozen=True)
class Source:
    folder: Path
    name: str  # as the record names it
    config: dict
    model_type: str

    def has(self, *patterns: str) -> bool:
        return any(True for pattern in patterns for _ in self.folder.glob(pattern))

    @property
    def has_own_code(self) -> bool:
        return bool(self.config.get("auto_map"))

    def fingerprint(self) -> str:
        """One sha256 for all files that an export is made from."""
        files = sorted({file for pattern in (*SMALL, *WEIGHTS) for file in self.folder.glob(pattern)})
        lines = "".join(f"{sha256(file)}  {file.name}\n" for file in files)
        return hashlib.sha256(lines.encode()).hexdigest()


def open_source(model: str, trust_remote_code: bool = False) -> Source:
    """A local folder, or a name on the hub if this machine can reach it.

    # Errors
    ExportError naming the file that is missing, or that names another outside the folder.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = _from_hub(model, trust_remote_code)
    config = read_json(folder / "config.json")
    if config is None:
        raise ExportError(f"{folder} holds no config.json: expected a Hugging Face folder")
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ExportError(f"{folder / 'config.json'} has model_type {model_type!r}, expected a name")
    name = folder.resolve().name if Path(model).is_dir() else model
    source = Source(folder, name, config, model_type)
    if not source.has(*WEIGHTS):
        raise ExportError(f"{folder} holds no weights: expected {' or '.join(WEIGHTS)}")
    if not source.has(*TOKENIZERS):
        raise ExportError(f"{folder} holds no tokenizer: expected one of {', '.join(TOKENIZERS)}")
    for index in INDEXES:
        for file in set((read_json(folder / index) or {}).get("weight_map", {}).values()):
            if Path(file).name != file:
                raise ExportError(f"{folder / index} names weights in {file!r}, expected a file beside it")
    return source


def _from_hub(model: str, trust_remote_code: bool) -> Path:
    neither = f"{model} is neither a folder nor a GGUF file here"
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ExportError(f"{neither}, nor has it the form OWNER/NAME of a model on the hub")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ExportError(f"{neither}; the hub cannot be asked, for huggingface_hub is not installed") from error
    say(f"looking for {model} on the hub")
    try:
        # safetensors where there are any, and nothing that other programs keep beside them
        return Path(snapshot_download(model, allow_patterns=[*SMALL, *WEIGHTS, *(["*.py"] if trust_remote_code else [])],
                                      ignore_patterns=["*/*", "consolidated*"]))
    except Exception as error:  # what its HTTP client raises, and its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(f"{neither}, and the hub did not give it: {reason}") from error
