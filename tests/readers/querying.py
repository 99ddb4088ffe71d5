"""Runs what docs/querying.md shows, commands and SQL in their order, and compares every answer with the table below the query.

    python tests/readers/querying.py docs/querying.md           # in the repository, after `make demo`
    python tests/readers/querying.py docs/querying.md --write   # puts the answers of today into the document

Exits with 1 and a message on the first answer that is another one.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import duckdb

# A block of code, and the table that follows it.
BLOCK = re.compile(r"^```(sh|sql)\n((?:.*\n)*?)```\n(?:\n((?:\|.*\n)+))?", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    text = arguments.document.read_text()
    connection = duckdb.connect()
    answers = []
    for block in BLOCK.finditer(text):
        language, code, shown = block.groups()
        if language == "sh":
            subprocess.run(["bash", "-euc", code], check=True)
            continue
        answer = table(connection.sql(code))
        if answer != (shown or "") and not arguments.write:
            print(f"error: {arguments.document} shows\n{shown or 'nothing'}\nfor\n{code}\nwhich answers\n{answer}", file=sys.stderr)
            return 1
        answers.append(answer)
    if arguments.write:
        left = iter(answers)
        arguments.document.write_text(BLOCK.sub(lambda block: with_answer(block, left), text))
    print(f"{len(answers)} answers of {arguments.document} are {'written' if arguments.write else 'as it shows them'}")
    return 0


def with_answer(block: re.Match, answers) -> str:
    language, code, _ = block.groups()
    if language == "sh":
        return block[0]
    answer = next(answers)
    return f"```sql\n{code}```\n" + (f"\n{answer}" if answer else "")


def table(answer) -> str:
    """The rows in Markdown; nothing for a statement that has none, such as CREATE."""
    found = answer.fetchall() if answer is not None else []
    if not found:
        return ""
    rows = [[name for name in answer.columns], ["---"] * len(answer.columns)]
    rows += [["–" if value is None else str(value).replace("|", "\\|") for value in row] for row in found]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
