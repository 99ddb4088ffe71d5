"""The tokenizer and the other small files of a Hugging Face folder, as `alike` reads them."""

import base64
import shutil
from pathlib import Path

from . import ExportError
from .folder import read_json, write_json
from .load import naming, quietly
from .source import Source

COPIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "chat_template.jinja", "generation_config.json", "LICENSE*", "NOTICE*")

# Qwen 1 keeps these in code: how text is cut, the special tokens behind the vocabulary, and the chat template.
QWEN_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205)))
CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
          "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def write_tokenizer(source: Source, draft: Path, trust_remote_code: bool = False) -> str | None:
    """Copies or converts; returns what was converted, in a line, or None if all was there."""
    for pattern in COPIED:
        for file in source.folder.glob(pattern):
            shutil.copyfile(file, draft / file.name)
    done = None
    if not source.has("tokenizer.json"):
        tiktoken = sorted(source.folder.glob("*.tiktoken"))
        done = _from_tiktoken(tiktoken[0], draft) if tiktoken else _by_transformers(source, draft, trust_remote_code)
    _write_template(source, draft)
    return done


def has_template(folder: Path) -> bool:
    return (folder / "chat_template.jinja").is_file() or bool(
        (read_json(folder / "tokenizer_config.json") or {}).get("chat_template"))


def write_generation_config(config, draft: Path) -> None:
    """Special ids, where the model brings no generation_config.json."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    if not (draft / "generation_config.json").is_file():
        ids = {name: value for name in names if (value := getattr(config, name, None)) is not None}
        write_json(draft / "generation_config.json", ids)


def _by_transformers(source: Source, draft: Path, trust_remote_code: bool) -> str:
    from transformers import AutoTokenizer

    with naming(f"transformers could not convert the tokenizer of {source.folder}"), quietly():
        tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True,
                                                  trust_remote_code=trust_remote_code)
        if not getattr(tokenizer, "is_fast", False):
            raise ExportError(f"the tokenizer of {source.folder} exists as Python code only: expected tokenizer.json")
        tokenizer.save_pretrained(draft)
    return "tokenizer.json was made from the slow tokenizer by transformers"


def _write_template(source: Source, draft: Path) -> None:
    """Templates that stand in other places: beside a processor, or (Qwen 1) nowhere."""
    if has_template(draft):
        return
    template = (read_json(source.folder / "chat_template.json") or {}).get("chat_template")
    chatml = (read_json(source.folder / "generation_config.json") or {}).get("chat_format") == "chatml"
    if template or chatml:
        (draft / "chat_template.jinja").write_text(template or CHATML, encoding="utf-8")


def _from_tiktoken(path: Path, draft: Path) -> str:
    """Byte-level BPE from a file of (token in base64, rank), as Qwen 1 has it."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = bytes_to_unicode()
    try:
        lines = [line.split() for line in path.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    except ValueError as error:
        raise ExportError(f"{path} is not a file of tokens in base64 and their ranks: {error}") from error

    def text(token):
        return "".join(letters[byte] for byte in token)

    # A token is merged from those two parts which the ranks below its own leave of it.
    merges = [(text(left), text(right)) for token, rank in sorted(ranks.items(), key=lambda item: item[1])
              if len(token) > 1 for left, right in _last_merge(token, rank, ranks)]
    tokenizer = Tokenizer(models.BPE({text(token): rank for token, rank in ranks.items()}, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in QWEN_SPECIAL])
    tokenizer.save(str(draft / "tokenizer.json"))
    config = read_json(draft / "tokenizer_config.json") or {}
    config = {name: value for name, value in config.items() if name not in ("auto_map", "tokenizer_class")}
    write_json(draft / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", **config})
    return f"tokenizer.json was made from {path.name}, with Qwen's rules"


def _last_merge(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    parts = [token[i:i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [(ranks.get(left + right, rank), i) for i, (left, right) in enumerate(zip(parts, parts[1:]))]
        best, i = min(pairs)
        if best >= rank:
            return []
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    return [tuple(parts)]
