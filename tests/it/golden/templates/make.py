"""golden.json: the prompts of every family in families.toml, rendered by transformers' own template engine.

python make.py    (transformers 5.23; torch is not needed)
"""

import datetime
import json
import tomllib
from pathlib import Path

from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = Path(__file__).parent
SYSTEM = "You are a helpful assistant who gives responses to questions"
USER = "QUESTION: Which item is most similar to bear: ice cream or hammer? Respond only with the item name."
EARLIER = [{"role": "user", "content": "Which item is most similar to cat: dog or car?"},
           {"role": "assistant", "content": "dog"}]
ANSWER = "ice cream"
# What our side tells every template.
OPTIONS = {"enable_thinking": False, "date_string": "26 Jul 2024"}


class FixedDay(datetime.datetime):
    """The day that templates are told when they ask for today's."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


def main():
    # The module does `from datetime import datetime`, and strftime_now reads that name.
    chat_template_utils.datetime = FixedDay
    families = tomllib.loads((HERE / "families.toml").read_text(encoding="utf-8"))["families"]
    golden = {"system": SYSTEM, "user": USER, "earlier": EARLIER, "answer": ANSWER, "options": OPTIONS,
              "families": {name: family_golden(name, family) for name, family in families.items()}}
    with open(HERE / "golden.json", "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1, ensure_ascii=False)
        file.write("\n")


def family_golden(name, family):
    """Texts of the paper's question: asked, answered, and after an answered one; and whether the system text was folded."""
    # Every special token is one of the tokenizer's, so that it says by itself what a template may read.
    tokens = {kind: family[key] for kind, key in [("bos_token", "bos"), ("eos_token", "eos")] if key in family}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **tokens)
    tokenizer.chat_template = (HERE / family.get("file", f"{name}.jinja")).read_text(encoding="utf-8")

    def render(folded, turns, prompt):
        turns = [dict(turn) for turn in turns]
        if folded:
            turns[0]["content"] = f"{SYSTEM}\n\n{turns[0]['content']}"
        else:
            turns.insert(0, {"role": "system", "content": SYSTEM})
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt, **OPTIONS)

    asked = [{"role": "user", "content": USER}]
    try:
        folded, text = False, render(False, asked, True)
    except TemplateError:
        folded, text = True, render(True, asked, True)
    return {
        "folded": folded,
        "asked": text,
        "answered": render(folded, [*asked, {"role": "assistant", "content": ANSWER}], False),
        "after_another": render(folded, [*EARLIER, *asked], True),
    }


if __name__ == "__main__":
    main()
