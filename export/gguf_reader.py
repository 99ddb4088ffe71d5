"""What a GGUF file says: its settings, and its weights as float32."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

from . import ExportError


@dataclass(frozen=True)
class Family:
    """What one value of `general.architecture` means for the graph and for config.json."""

    class_name: str
    activation: str
    # llama.cpp stores Q and K rows so that rotary pairs are neighbours (2i, 2i+1);
    # Hugging Face pairs i with i + head_dim/2. Llama files are reordered, Qwen files are not.
    neighbour_pairs: bool


# A row is added together with a logit comparison against transformers, not before. Qwen 2 also needs
# its Q/K/V biases and Qwen 3 its Q/K norms in graph.py; until then `refuse_unread` catches them.
FAMILIES = {
    "llama": Family("LlamaForCausalLM", "silu", neighbour_pairs=True),
}


@dataclass(frozen=True)
class Sizes:
    """The numbers that fix the graph, under the names of `alike.json`."""

    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_context: int
    rope_theta: float
    rms_norm_eps: float
    tied_embeddings: bool
    parameters: int


class Checkpoint:
    """A GGUF file. Weights are dequantised one at a time, when asked for."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._reader = GGUFReader(path)
        except (OSError, ValueError) as error:
            raise ExportError(f"{path} cannot be read as GGUF: {error}") from error
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self._unread = set(self._tensors)
        self.architecture = self.setting("general.architecture")
        if self.architecture not in FAMILIES:
            known = ", ".join(sorted(FAMILIES))
            raise ExportError(f"{path}: architecture {self.architecture!r} is not supported here (supported: {known})")
        self.family = FAMILIES[self.architecture]
        self.sizes = self._sizes()

    def setting(self, name: str, default=None):
        """The value of a metadata key; without a default, a missing key is an error."""
        field = self._reader.fields.get(name)
        if field is not None:
            return field.contents()
        if default is None:
            raise ExportError(f"{self.path}: metadata key {name!r} is missing")
        return default

    def has_setting(self, name: str) -> bool:
        return name in self._reader.fields

    def tensor(self, name: str) -> np.ndarray:
        """A weight as float32, `[out, in]` for matrices, exactly as the quantised blocks define it."""
        if name not in self._tensors:
            raise ExportError(f"{self.path}: tensor {name!r} is missing")
        self._unread.discard(name)
        tensor = self._tensors[name]
        return dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)

    def refuse_unread(self) -> None:
        """A weight nobody asked for (a bias, a rope table, an expert) means the graph is not this model."""
        if self._unread:
            names = ", ".join(sorted(self._unread)[:5])
            raise ExportError(f"{self.path}: {len(self._unread)} tensors have no place in the graph: {names}")

    def _sizes(self) -> Sizes:
        def of_model(key, default=None):
            return self.setting(f"{self.architecture}.{key}", default)

        if of_model("rope.scaling.type", "none") != "none":
            raise ExportError(f"{self.path}: scaled rotary positions are not supported here")
        hidden_size = of_model("embedding_length")
        attention_heads = of_model("attention.head_count")
        head_dim = of_model("attention.key_length", hidden_size // attention_heads)
        if of_model("rope.dimension_count", head_dim) != head_dim:
            raise ExportError(f"{self.path}: rotary positions over part of a head are not supported here")
        return Sizes(
            layers=of_model("block_count"),
            hidden_size=hidden_size,
            attention_heads=attention_heads,
            kv_heads=of_model("attention.head_count_kv", attention_heads),
            head_dim=head_dim,
            intermediate_size=of_model("feed_forward_length"),
            vocab_size=int(self._tensors["token_embd.weight"].shape[1]),  # GGUF lists [in, out]
            max_context=of_model("context_length"),
            rope_theta=float(of_model("rope.freq_base", 10000.0)),
            # stored as f32 in GGUF, written as decimal in config.json: 1e-5, not 9.999999747378752e-06
            rms_norm_eps=float(f"{of_model('attention.layer_norm_rms_epsilon'):.6g}"),
            tied_embeddings="output.weight" not in self._tensors,
            parameters=sum(int(np.prod(tensor.shape)) for tensor in self._reader.tensors),
        )
