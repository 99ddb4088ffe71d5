"""Makes ONNX model folders for alike out of GGUF checkpoints and of other exports, without torch."""

__version__ = "0.2.0"


class ExportError(Exception):
    """Something the user can act on; printed without a traceback."""
