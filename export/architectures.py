"""Which exporter serves which `model_type` of config.json."""

from dataclasses import dataclass
from enum import StrEnum

from . import ExportError

FLOATS = ("fp32", "fp16", "bf16")  # of a whole graph
PRECISIONS = (*FLOATS, "int8", "int4")
STYLES = ("chat", "plain", "base")


class Exporter(StrEnum):
    """Who turns a checkpoint into a graph."""

    TRANSFORMERS = "transformers"  # transformers' own exporter traces the class of that model_type
    REMAPPED = "transformers, remapped"  # the same, on a class that computes the same (remap.py)
    BUILDER = "alike"  # written by hand, for what does not trace


class Strategy(StrEnum):
    """How prefixes are shared in the graph that comes out; `alike check` says the same of a folder."""

    TREE = "tree"
    STATE = "state"
    ENCODER_ONCE = "encoder-once"


@dataclass(frozen=True)
class Architecture:
    exporter: Exporter
    strategy: Strategy
    remark: str = ""


_TRACED = Architecture(Exporter.TRANSFORMERS, Strategy.TREE)

ARCHITECTURES = {
    "llama": _TRACED,
    "qwen2": _TRACED,
    "qwen3": _TRACED,
    "gemma2": _TRACED,
    "gemma3": Architecture(Exporter.REMAPPED, Strategy.TREE, "the text part"),
    "gemma3_text": _TRACED,
    "phi": _TRACED,
    "phi3": _TRACED,
    "phimoe": _TRACED,
    "olmo": _TRACED,
    "olmo2": _TRACED,
    "falcon": _TRACED,
    "gptj": _TRACED,
    "gpt_oss": Architecture(Exporter.TRANSFORMERS, Strategy.TREE, "published weights (MXFP4) are dequantised"),
    "qwen": Architecture(Exporter.REMAPPED, Strategy.TREE, "exact up to config.json's seq_length; qwen2 does "
                         "not change its attention beyond"),
    "phi3_v": Architecture(Exporter.REMAPPED, Strategy.TREE, "the text part"),
    "instella": Architecture(Exporter.REMAPPED, Strategy.TREE),
    "t5": Architecture(Exporter.BUILDER, Strategy.ENCODER_ONCE),
    "mamba": Architecture(Exporter.BUILDER, Strategy.STATE),
    "falcon_mamba": Architecture(Exporter.BUILDER, Strategy.STATE),
}

ENCODERS = ("bert",)  # sentence encoders, which another command converts (encoder.py)


def choose(model_type: str, has_own_code: bool, trust_remote_code: bool) -> Architecture:
    """The row of a model type. One that is not of the suite is tried if transformers has a class for it: the check
    at the end of every export decides.

    # Errors
    ExportError with what each exporter said.
    """
    if model_type in ARCHITECTURES:
        return ARCHITECTURES[model_type]
    if model_type in ENCODERS:
        raise ExportError(f"model_type {model_type!r} is an encoder's, which answers by cosines: "
                          "python -m export encoder FOLDER --out DIR")
    refusal = _transformers_refusal(model_type)
    if refusal is None:
        return Architecture(Exporter.TRANSFORMERS, Strategy.TREE, "not of the suite: tried, and checked at the end")
    if has_own_code and trust_remote_code:
        return Architecture(Exporter.TRANSFORMERS, Strategy.TREE, "by the code that comes with it")
    own_code = "not run; --trust-remote-code would" if has_own_code else "there is none"

    def served_by(exporter):
        return ", ".join(sorted(name for name, row in ARCHITECTURES.items() if row.exporter == exporter))

    raise ExportError(f"model_type {model_type!r} is not supported. Exporters tried:\n"
                      f"  transformers: {refusal}\n"
                      f"  transformers, remapped: for {served_by(Exporter.REMAPPED)} only\n"
                      f"  alike's builders: for {served_by(Exporter.BUILDER)} only\n"
                      f"  code that comes with the model: {own_code}")


def _transformers_refusal(model_type: str) -> str | None:
    try:
        import transformers
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    except ImportError:
        return "not installed in this Python environment"
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return None
    return f"{transformers.__version__} has no causal language model of that type"
