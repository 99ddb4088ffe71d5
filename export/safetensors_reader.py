"""What a Hugging Face folder says: its config, and its weights straight out of safetensors files."""

import json
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np

from . import ExportError
from .folder import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
LONGEST_HEADER = 100 << 20  # bytes, as the format's own reader has it


class Checkpoint:
    """A folder with config.json and safetensors files. Weights are mapped from disk, and read when they are used."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = read_json(folder / "config.json")
        if self.config is None:
            raise ExportError(f"{folder} holds no config.json")
        self.files = _weight_files(folder)
        self._tensors = {name: tensor for file in self.files for name, tensor in _tensors(file)}
        self._used, self._ignored = set(), set()

    def setting(self, name: str, default=None):
        """A value of config.json; without a default, a missing one is an error."""
        value = self.config.get(name)
        if value is None:
            value = default
        if value is None:
            raise ExportError(f"{self.folder / 'config.json'}: {name!r} is missing")
        return value

    def has(self, name: str) -> bool:
        return name in self._tensors

    def tensor(self, name: str, *shape: int) -> np.ndarray:
        """A weight in the precision it is stored in, `[out, in]` for matrices.

        # Errors
        ExportError when it is not there, or has another shape than the config says.
        """
        if name not in self._tensors:
            raise ExportError(f"{self.folder}: tensor {name!r} is missing")
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise ExportError(f"{self.folder}: tensor {name!r} has shape {list(tensor.shape)}, "
                              f"expected {list(shape)} by config.json")
        self._used.add(name)
        return tensor

    def is_copy(self, name: str, of: str) -> bool:
        """Whether a weight is nothing of its own: tied to another one, and stored a second time or not at all."""
        if name == of:
            return True
        if self.has(name) and not np.array_equal(self._tensors[name], self._tensors[of]):
            return False
        self.ignore(name)
        return True

    def ignore(self, name: str) -> None:
        """A weight that checkpoints may carry, and that has no place of its own in the model."""
        self._ignored.add(name)

    def n_parameters(self) -> int:
        """Of the weights that are used."""
        return sum(prod(self._tensors[name].shape) for name in self._used)

    def refuse_unread(self) -> None:
        """A weight nobody asked for (a bias, a norm, another layer) means the graph is not this model."""
        if unread := self._tensors.keys() - self._used - self._ignored:
            names = ", ".join(sorted(unread)[:5])
            raise ExportError(f"{self.folder}: {len(unread)} tensors have no place in the graph: {names}")


def _weight_files(folder: Path) -> list[Path]:
    """One file, or the parts that the index lists."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = read_json(folder / INDEX)
    if index is None:
        raise ExportError(f"{folder} holds neither {WEIGHTS} nor {INDEX}; weights in other formats are not read "
                          "(transformers converts them: from_pretrained, then save_pretrained)")
    names = sorted(set(index.get("weight_map", {}).values()))
    if outside := [name for name in names if Path(name).name != name]:
        raise ExportError(f"{folder / INDEX} names {outside[0]!r}, expected files beside it")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ExportError(f"{folder / INDEX} names {missing[0]!r}, which is not there")
    return [folder / name for name in names]


def _tensors(file: Path):
    """Names and arrays of a safetensors file: the length of a JSON header, the header, the bytes it points into."""
    size = file.stat().st_size
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= min(size - 8, LONGEST_HEADER):
            raise ExportError(f"{file} is not a safetensors file, or is cut short: header of {length} bytes in {size}")
        try:
            header = json.loads(opened.read(length))
            entries = {name: (entry["dtype"], entry["shape"], *entry["data_offsets"])
                       for name, entry in header.items() if name != "__metadata__"}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ExportError(f"{file} is not a safetensors file: its header is not readable: {error!r}") from error
    data = np.memmap(file, np.uint8, "r", offset=8 + length, shape=(size - 8 - length,))
    for name, (kind, shape, start, end) in entries.items():
        if kind not in DTYPES:
            raise ExportError(f"{file}: tensor {name!r} has type {kind}, expected {', '.join(DTYPES)}")
        dtype = np.dtype(DTYPES[kind])
        if not (0 <= start <= end <= len(data) and end - start == prod(shape) * dtype.itemsize):
            raise ExportError(f"{file}: tensor {name!r} of shape {shape} lies at bytes {start} to {end} of "
                              f"{len(data)}: the file is cut short or damaged")
        yield name, data[start:end].view(dtype).reshape(shape)
