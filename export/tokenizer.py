"""tokenizer.json and tokenizer_config.json from the vocabulary a GGUF file carries."""

from . import ExportError
from .gguf_reader import Checkpoint

CONTROL, USER_DEFINED = 3, 4  # gguf.TokenType

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

# GGUF names the splitting rule instead of storing it. Two models with the same tokens and another rule
# give other ids ("1900" is one token or four), so an unknown name is refused rather than guessed.
PRE_TOKENIZERS = {
    "gpt-2": BYTE_LEVEL,
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL],
    },
}


def tokenizer_json(checkpoint: Checkpoint) -> dict:
    """The `tokenizers` library's file format."""
    model = checkpoint.setting("tokenizer.ggml.model")
    if model != "gpt2":
        raise ExportError(f"{checkpoint.path}: tokenizer model {model!r} is not supported here (supported: gpt2)")
    rule = checkpoint.setting("tokenizer.ggml.pre")
    if rule not in PRE_TOKENIZERS:
        known = ", ".join(sorted(PRE_TOKENIZERS))
        raise ExportError(f"{checkpoint.path}: pre-tokenizer {rule!r} is not supported here (supported: {known})")
    tokens = checkpoint.setting("tokenizer.ggml.tokens")
    types = checkpoint.setting("tokenizer.ggml.token_type")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added_token(i, token, special=kind == CONTROL)
            for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind in (CONTROL, USER_DEFINED)
        ],
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[rule],
        "post_processor": _post_processor(checkpoint, tokens),
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,  # bytes without a token are dropped; SmolLM2 has 21 such, none in ordinary text
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in checkpoint.setting("tokenizer.ggml.merges")],
        },
    }


def tokenizer_config(checkpoint: Checkpoint) -> dict:
    """Special tokens and the chat template."""
    tokens = checkpoint.setting("tokenizer.ggml.tokens")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": _adds_bos(checkpoint),
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": checkpoint.sizes.max_context,
    }
    for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        if checkpoint.has_setting(f"tokenizer.ggml.{theirs}_token_id"):
            config[f"{ours}_token"] = tokens[checkpoint.setting(f"tokenizer.ggml.{theirs}_token_id")]
    if checkpoint.has_setting("tokenizer.chat_template"):
        config["chat_template"] = checkpoint.setting("tokenizer.chat_template")
    return config


def special_ids(checkpoint: Checkpoint) -> dict:
    """bos, eos and pad ids, under the keys of generation_config.json. Absent ones are left out."""
    keys = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    names = {ours: f"tokenizer.ggml.{theirs}_token_id" for ours, theirs in keys.items()}
    return {ours: checkpoint.setting(name) for ours, name in names.items() if checkpoint.has_setting(name)}


def _adds_bos(checkpoint):
    return bool(checkpoint.has_setting("tokenizer.ggml.add_bos_token")
                and checkpoint.setting("tokenizer.ggml.add_bos_token"))


def _post_processor(checkpoint, tokens):
    if not _adds_bos(checkpoint):
        return None
    bos_id = checkpoint.setting("tokenizer.ggml.bos_token_id")
    bos = tokens[bos_id]
    first = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    second = [{"SpecialToken": {"id": bos, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": first, "pair": first + second,
            "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}}}


def _added_token(i, token, special):
    return {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": special}
