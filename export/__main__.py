"""python -m export FILE.gguf --out DIR"""

import argparse
import sys
import time
from pathlib import Path

from .gguf_reader import ExportError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m export", description="Convert a GGUF file into a model folder.")
    parser.add_argument("gguf", type=Path, metavar="FILE.gguf")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--layout", choices=["scoring", "standard"], default="scoring",
                        help="scoring: made for alike (default); standard: as optimum names and shapes it")
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True,
                        help="compare logits with an independent forward pass (default: yes)")
    parser.add_argument("--force", action="store_true", help="replace an existing folder")
    options = parser.parse_args()
    try:
        convert(options.gguf, options.out, options.layout, options.check, options.force)
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def convert(gguf: Path, out: Path, layout: str = "scoring", check: bool = True, force: bool = False) -> None:
    """Writes the model folder `out`, or finds that it is there already."""
    # Imported here so that --help and a wrong command line answer at once.
    from .check import check_model
    from .folder import appearing, is_complete, sha256, write_record, write_small_files
    from .gguf_reader import Checkpoint
    from .graph import write_model

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
        write_model(checkpoint, layout, draft / "model.onnx")
        write_small_files(checkpoint, draft)
        result = None
        if check:
            _say("comparing logits with an independent forward pass")
            result = check_model(checkpoint, layout, draft / "model.onnx")
            _say(f"largest difference {result['max_abs_logit_difference']:.1e} over {result['positions']} positions "
                 f"(limit {result['limit']:.0e})")
        write_record(checkpoint, layout, source_sha256, result, draft)
    _say(f"wrote {out} in {time.monotonic() - start:.0f} s")


def _say(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
