"""Makes ONNX model folders for alike out of Hugging Face folders, GGUF files and other exports."""

import sys

__version__ = "0.3.0"


class ExportError(Exception):
    """Something the user can act on; printed without a traceback."""


def say(line: str) -> None:
    """Progress, for whoever watches."""
    print(line, file=sys.stderr, flush=True)
