"""A graph in the making whose weights come out of a Hugging Face checkpoint: what the builders of families share."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
from onnx import numpy_helper

from .graph import PAGE_BYTES, DecoderGraph
from .head import score_positions
from .onnx_graph import F32
from .optimize import write_graph
from .safetensors_reader import Checkpoint


class ModelGraph(DecoderGraph):
    """Layers are named as in the checkpoint. Everything is computed in f32, whatever the weights are stored in."""

    def __init__(self, data_file, checkpoint: Checkpoint):
        super().__init__(data_file)
        self.checkpoint = checkpoint

    def weight(self, name, array):
        """Small ones stay in the graph: in the data file each would take a page."""
        if array.size * 4 >= PAGE_BYTES:
            return super().weight(name, array)
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name)
        return name

    def stored(self, name: str, *shape: int) -> str:
        """A weight as the checkpoint has it."""
        return self.weight(name, self.checkpoint.tensor(name, *shape))

    def linear(self, name: str, x: str, n_in: int, n_out: int, out=1, bias=False) -> str:
        """`x @ weight.T + bias`; stored transposed, because MatMul wants `[in, out]`."""
        weight = self.checkpoint.tensor(f"{name}.weight", n_out, n_in)
        product = self.op("MatMul", x, self.weight(f"{name}.weight", weight.T), out=1 if bias else out)
        return self.op("Add", product, self.stored(f"{name}.bias", n_out), out=out) if bias else product

    def rms_norm(self, name: str, x: str, size: int, epsilon: float) -> str:
        return self.op("RMSNormalization", x, self.stored(f"{name}.weight", size), axis=-1, epsilon=epsilon)

    def head(self, x: str, embedding: str | None, n_in: int, n_out: int) -> None:
        """Logits, by the embedding if they are tied to it, and what is scored of them."""
        if embedding is None:
            self.linear("lm_head", x, n_in, n_out, out="logits")
        else:
            self.op("MatMul", x, self.op("Transpose", embedding, perm=[1, 0]), out="logits")
        self.output("logits", F32, ["batch", "seq", n_out])
        tokens = [name for name in self.inputs if name.endswith("input_ids") or name.startswith("past_state.")]
        score_positions(self, self.dependents(tokens))


@contextmanager
def building(checkpoint: Checkpoint, path: Path):
    """A graph that is written to `path`, and its weights to `path` + `.data`, when the block ends."""
    with open(f"{path}.data", "wb") as data_file:
        graph = ModelGraph(data_file, checkpoint)
        yield graph
    checkpoint.refuse_unread()
    write_graph(graph.to_model(), path)
