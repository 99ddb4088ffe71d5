"""Turns a GGUF checkpoint into an ONNX model folder, without torch."""

__version__ = "0.1.0"
