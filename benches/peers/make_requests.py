"""Writes the prompts that alike would ask, as text, so that every peer scores exactly the same strings.

    python make_requests.py TRIPLETS --model DIR --out requests.jsonl [--limit N]

TRIPLETS: CSV or Parquet with the columns anchor, first, second. DIR: tokenizer.json, and tokenizer_config.json with a
chat template. Wording and system text are alike's `paper` (src/prompts/template.rs).
"""

import argparse
import csv
from pathlib import Path

from common import Request, write_requests

SYSTEM = "You are a helpful assistant who gives responses to questions"
USER = ("QUESTION: Which item is most similar to {anchor}: {first} or {second}? "
        "Respond only with the item name.")


def read_triplets(path: Path) -> list[tuple[str, str, str]]:
    """(anchor, first, second) in the order of the file."""
    names = ["anchor", "first", "second"]
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return [tuple(row[name] for name in names) for row in csv.DictReader(file)]
    import pyarrow.parquet

    return list(zip(*pyarrow.parquet.read_table(path, columns=names).to_pydict().values(), strict=True))


def write_triplets(path: Path, requests: list[Request]) -> None:
    """The triplets of the requests as CSV, for `alike judge --triplets`."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["anchor", "first", "second"])
        writer.writerows(request.key for request in requests)


def make_requests(triplets: list[tuple[str, str, str]], model: Path) -> list[Request]:
    """The prompt ends where the answer begins: options follow it without a space, as after any chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)

    def prompt(anchor, first, second):
        messages = [{"role": "system", "content": SYSTEM},
                    {"role": "user", "content": USER.format(anchor=anchor, first=first, second=second)}]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    return [Request(i, t[0], prompt(*t), t[1:]) for i, t in enumerate(triplets)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("triplets", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, metavar="N", help="the first N triplets")
    options = parser.parse_args()
    requests = make_requests(read_triplets(options.triplets)[:options.limit], options.model)
    write_requests(options.out, requests)
    print(f"{options.out}: {len(requests)} requests")


if __name__ == "__main__":
    main()
