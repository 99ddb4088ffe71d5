"""A checkpoint as a transformers model in float32, every weight in its place."""

import logging
import re
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

from . import ExportError
from .source import Source

DEQUANTISED = "mxfp4"  # of the formats of published weights, the one that transformers undoes on a CPU
TABLES = r".*(rotary_emb\.inv_freq|\.attn\.(masked_)?bias)"  # computed; older checkpoints carry them along
N_NAMED = 8  # tensors that an error names


def require_torch() -> None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise ExportError(f"a Hugging Face folder is converted with torch and transformers, and this Python has no "
                          f"{error.name}; `make export MODEL=... OUT=...` sets up one that has") from error


def load_model(source: Source, trust_remote_code: bool = False):
    """The model, ready for inference, with attention spelled out in plain operations ("eager").

    # Errors
    ExportError naming the tensors where weights and config.json disagree.
    """
    import torch
    from transformers import AutoModelForCausalLM

    options = {"dtype": torch.float32, "attn_implementation": "eager", "trust_remote_code": trust_remote_code,
               "local_files_only": True}
    quantised = (source.config.get("quantization_config") or {}).get("quant_method")
    if quantised == DEQUANTISED:
        from transformers import Mxfp4Config

        options["quantization_config"] = Mxfp4Config(dequantize=True)
    elif quantised:
        raise ExportError(f"{source.folder} holds weights quantised by {quantised!r}, expected full ones or {DEQUANTISED}")
    with naming(f"transformers could not load {source.folder}"), quietly():
        # Mismatches are collected: the error that transformers raises for the first one does not name the others.
        model, found = AutoModelForCausalLM.from_pretrained(
            source.folder, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    refuse_disagreement(source, found["missing_keys"], found["unexpected_keys"], found["mismatched_keys"])
    if found["error_msgs"]:
        raise ExportError(f"transformers could not load {source.folder}: {'; '.join(found['error_msgs'])}")
    return model.float().eval()


def refuse_disagreement(source: Source, missing, unexpected, mismatched) -> None:
    """`mismatched`: (name, shape in the file, shape by the config)."""
    faults = [f"{name} is not in the weights" for name in sorted(missing)]
    faults += [f"{name} has no place in the model" for name in sorted(unexpected) if not re.fullmatch(TABLES, name)]
    faults += [f"{name} has shape {list(stored)}, expected {list(wanted)}" for name, stored, wanted in sorted(mismatched)]
    if faults:
        more = [f"and {len(faults) - N_NAMED} more"] if len(faults) > N_NAMED else []
        raise ExportError(f"weights and config.json of {source.folder} disagree:\n  "
                          + "\n  ".join(faults[:N_NAMED] + more))


@contextmanager
def naming(what: str):
    """Whatever torch and transformers raise becomes a line that says what was being done, and how they begin."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ExportError(f"{what}: {type(error).__name__}: {' '.join(lines[:3])}") from error


@contextmanager
def quietly():
    """Their progress bars, banners and warnings stay away; what matters is checked afterwards, or raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
