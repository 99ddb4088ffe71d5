"""python -m export MODEL --out DIR
python -m export optimize DIR [--out DIR]
python -m export encoder FOLDER --out DIR
python -m export suite FILE.toml --out DIR --memory-gb N
"""

import argparse
import sys
import time
from pathlib import Path

from . import ExportError, say
from .architectures import FLOATS, PRECISIONS, STYLES


def main() -> int:
    # These words alone can stand in the place of a model, so that converting needs none.
    commands = {"optimize": optimize_command, "encoder": encoder_command, "suite": suite_command}
    words = sys.argv[1:]
    try:
        command = commands.get(words[0]) if words else None
        if command is None:
            convert_command(words)
        else:
            command(words[1:])
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def convert_command(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export", description="Convert a language model into a model folder.",
        epilog="`python -m export optimize DIR` edits a folder that another exporter made, `python -m export suite "
               "FILE.toml` converts a family of models; see their --help.")
    parser.add_argument("model", metavar="MODEL", help="a Hugging Face folder, a GGUF file, or a name on the hub")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="of the weights (default: fp32); int8 and int4 leave embedding and head in fp32")
    parser.add_argument("--layout", choices=["scoring", "standard"], default="scoring",
                        help="scoring: made for alike (default); standard: as optimum names and shapes it")
    parser.add_argument("--style", choices=STYLES, help="how prompts are written "
                        "(default: chat where there is a chat template, else base)")
    parser.add_argument("--chat-template", type=Path, metavar="FILE", help="Jinja, for a model that brings none")
    parser.add_argument("--trust-remote-code", action="store_true",
                        help="run Python code that comes with the model; off unless asked for")
    _add_common(parser, "the model it was made from")
    options = parser.parse_args(words)
    path = Path(options.model)
    # Imported late so that --help and a wrong command line answer at once.
    if path.suffix == ".gguf" or path.is_file():
        refused = [f"--precision {options.precision}"] if options.precision not in FLOATS else []
        refused += ["--chat-template"] if options.chat_template else []
        if refused:
            raise ExportError(f"{refused[0]} is for Hugging Face folders; GGUF files become {', '.join(FLOATS)} with the "
                              "template they hold")
        from .from_gguf import convert

        convert(path, options.out, options.layout, options.check, options.force, options.style, options.precision)
    else:
        from .from_folder import convert_folder

        convert_folder(options.model, options.out, options.layout, options.precision, options.style,
                       options.trust_remote_code, options.check, options.force, options.chat_template)


def encoder_command(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export encoder", description="Convert a sentence encoder (BERT) into a model folder.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="as sentence-transformers has it")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pooling", choices=["mean", "cls"], help="instead of what 1_Pooling/config.json says")
    _add_common(parser, "an independent forward pass")
    options = parser.parse_args(words)
    from .encoder import export_encoder

    start = time.monotonic()
    export_encoder(options.folder, options.out, options.pooling, options.check, options.force)
    say(f"wrote {options.out} in {time.monotonic() - start:.0f} s")


def suite_command(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export suite", description="Convert every model of a family that memory can hold.")
    parser.add_argument("family", type=Path, metavar="FILE.toml", help="one of models/suite")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for each model goes there")
    parser.add_argument("--memory-gb", type=float, required=True, metavar="N",
                        help="of the device that will run them, in GB of 10^9 bytes")
    options = parser.parse_args(words)
    from .from_folder import convert_folder
    from .suite import export_suite

    export_suite(options.family, options.out, options.memory_gb, lambda model, folder, precision: convert_folder(
        model.hub, folder, precision=precision, style=model.style, chat_template=model.chat_template))


def optimize_command(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export optimize",
        description="Edit a model folder in the standard layout into the scoring layout.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="with model.onnx or onnx/model.onnx")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write here; without it, DIR itself is replaced")
    _add_common(parser, "the graph before the edit")
    options = parser.parse_args(words)
    from .optimize import optimize

    start = time.monotonic()
    say(f"editing {options.folder}")
    done = optimize(options.folder, options.out, options.check, options.force)
    say(f"{done} ({time.monotonic() - start:.0f} s)")


def _add_common(parser, reference):
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True,
                        help=f"compare logits with {reference} (default: yes)")
    parser.add_argument("--force", action="store_true", help="replace an existing folder")


if __name__ == "__main__":
    sys.exit(main())
