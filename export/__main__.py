"""python -m export FILE.gguf --out DIR
python -m export optimize DIR [--out DIR]
"""

import argparse
import sys
import time
from pathlib import Path

from . import ExportError


def main() -> int:
    # `optimize` is the only word that can stand in the place of a file, so that converting needs none.
    words = sys.argv[1:]
    try:
        if words[:1] == ["optimize"]:
            optimize_command(words[1:])
        else:
            convert_command(words)
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def convert_command(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m export", description="Convert a GGUF file into a model folder.",
        epilog="`python -m export optimize DIR` edits a folder that another exporter made; see its --help.")
    parser.add_argument("gguf", type=Path, metavar="FILE.gguf")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--layout", choices=["scoring", "standard"], default="scoring",
                        help="scoring: made for alike (default); standard: as optimum names and shapes it")
    _add_common(parser, "an independent forward pass")
    options = parser.parse_args(words)
    convert(options.gguf, options.out, options.layout, options.check, options.force)


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
    _say(f"editing {options.folder}")
    done = optimize(options.folder, options.out, options.check, options.force)
    _say(f"{done} ({time.monotonic() - start:.0f} s)")


def convert(gguf: Path, out: Path, layout: str = "scoring", check: bool = True, force: bool = False) -> None:
    """Writes the model folder `out`, or finds that it is there already."""
    # Imported here so that --help and a wrong command line answer at once.
    import onnx

    from .check import check_model, open_session
    from .folder import appearing, is_complete, record_of, sha256, write_record, write_small_files
    from .gguf_reader import Checkpoint
    from .graph import write_model
    from .optimize import write_graph
    from .reference import logits_of
    from .scoring import to_scoring

    start = time.monotonic()
    if not gguf.is_file():
        raise ExportError(f"{gguf} is not a file")
    source_sha256 = sha256(gguf)
    if not force and is_complete(out, source_sha256, layout):
        _say(f"{out} is complete, nothing to do")
        return
    with appearing(out, replace=force) as draft:
        _say(f"reading {gguf}")
        checkpoint = Checkpoint(gguf)
        _say(f"writing {checkpoint.sizes.layers} layers, {checkpoint.sizes.parameters:,} parameters, fp32")
        model = draft / "model.onnx"
        write_model(checkpoint, model)
        if layout == "scoring":
            edited, _ = to_scoring(onnx.load(model, load_external_data=False), config={})
            write_graph(edited, model)
        write_small_files(checkpoint, draft)
        result = None
        if check:
            _say("comparing logits with an independent forward pass")
            result = check_model(lambda ids: logits_of(checkpoint, ids), checkpoint.sizes.vocab_size, layout,
                                 open_session(model))
            result = {"reference": "numpy float64 forward pass over the same weights", **result}
            _say(f"largest difference {result['max_abs_logit_difference']:.1e} over {result['positions']} positions "
                 f"(limit {result['limit']:.0e})")
        write_record(record_of(checkpoint, layout, source_sha256, result), draft, draft.iterdir())
    _say(f"wrote {out} in {time.monotonic() - start:.0f} s")


def _add_common(parser, reference):
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True,
                        help=f"compare logits with {reference} (default: yes)")
    parser.add_argument("--force", action="store_true", help="replace an existing folder")


def _say(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
