"""Qwen 1's kind of tokenizer file: what `python -m export` makes of it gives the ids that it was written from.

    python tests/it/golden/architectures/qwen_tokenizer.py data/concepts/things128.csv

A tokenizer is trained with Qwen's rules and written as tokens and ranks, without its merges: these are to be found again.
"""

import base64
import sys
import tempfile
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import bytes_to_unicode

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[3])]
from export.tokenizer_files import QWEN_PATTERN, QWEN_SPECIAL, _from_tiktoken  # noqa: E402
from presentations import USER, read_concepts  # noqa: E402

VOCAB_SIZE = 900


def main():
    concepts = read_concepts(Path(sys.argv[1]))
    trained = train(concepts)
    n_tokens = len(trained.get_vocab())
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "qwen.tiktoken"
        file.write_bytes(ranks_of(trained))
        _from_tiktoken(file, Path(scratch))
        made = Tokenizer.from_file(str(Path(scratch) / "tokenizer.json"))
    texts = concepts + [USER, "a  b\n\n c\t1234", "é, e\u0301 and 你好", "it's  they'LL \r\n"]
    for text in texts:
        assert made.encode(text).ids == trained.encode(text).ids, text
    for i, token in enumerate(QWEN_SPECIAL):
        assert made.encode(token).ids == [n_tokens + i], token
    print(f"tiktoken: {len(texts)} texts and {len(QWEN_SPECIAL)} special tokens have the same ids")


def train(concepts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(concepts + [f" {name}" for name in concepts] + [USER] * 8, trainer)
    return tokenizer


def ranks_of(tokenizer):
    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return b"".join(base64.b64encode(bytes(byte_of[letter] for letter in token)) + f" {rank}\n".encode()
                    for token, rank in tokens)


if __name__ == "__main__":
    main()
