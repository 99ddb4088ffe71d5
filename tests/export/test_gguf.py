"""GGUF files in the precisions that a graph can have.

    python -m unittest tests/export/test_gguf.py
"""

import json
import sys
import tempfile
import unittest
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from export import ExportError  # noqa: E402
from export.__main__ import convert_command  # noqa: E402
from export.from_gguf import convert  # noqa: E402

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, MLP = 32, 4, 2, 8, 64
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(chr(letter) for letter in range(ord("a"), ord("z") + 1)), "ab"]


def write_tiny(path: Path) -> None:
    """A Llama of one layer with random weights and a vocabulary of letters."""
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {
        "token_embd": (len(TOKENS), HIDDEN), "output": (len(TOKENS), HIDDEN), "output_norm": (HIDDEN,),
        "blk.0.attn_norm": (HIDDEN,), "blk.0.ffn_norm": (HIDDEN,),
        "blk.0.attn_q": (HEADS * HEAD_DIM, HIDDEN), "blk.0.attn_output": (HIDDEN, HEADS * HEAD_DIM),
        "blk.0.attn_k": (KV_HEADS * HEAD_DIM, HIDDEN), "blk.0.attn_v": (KV_HEADS * HEAD_DIM, HIDDEN),
        "blk.0.ffn_gate": (MLP, HIDDEN), "blk.0.ffn_up": (MLP, HIDDEN), "blk.0.ffn_down": (HIDDEN, MLP),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(0, 0.2, shape).astype(np.float32) + (len(shape) == 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class GgufPrecisions(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.source = Path(self.folder.name) / "tiny.gguf"
        write_tiny(self.source)

    def export(self, precision: str) -> tuple[dict, int]:
        """The record, and bytes of the weights."""
        out = Path(self.folder.name) / precision
        convert(self.source, out, precision=precision)
        return json.loads((out / "alike.json").read_text()), (out / "model.onnx.data").stat().st_size

    def test_half_precision_is_half_as_large_and_nearly_the_same(self):
        (exact, bytes_32), (half, bytes_16) = self.export("fp32"), self.export("fp16")
        self.assertEqual((exact["precision"], half["precision"]), ("fp32", "fp16"))
        self.assertLess(bytes_16, bytes_32)
        self.assertLess(exact["check"]["max_abs_logit_difference"], 1e-5)
        self.assertIsNone(half["check"]["limit"])
        self.assertTrue(1e-5 < half["check"]["max_abs_logit_difference"] < 5e-2, half["check"])

    def test_bf16_is_written_and_not_compared_on_the_cpu(self):
        record, _ = self.export("bf16")
        self.assertEqual(record["precision"], "bf16")
        self.assertIn("lacks kernels for bf16", record["check"]["not_run"])

    def test_another_precision_is_made_anew(self):
        self.export("fp32")
        with self.assertRaisesRegex(ExportError, "exists already"):
            convert(self.source, Path(self.folder.name) / "fp32", precision="fp16")

    def test_quantised_graphs_are_refused(self):
        with self.assertRaisesRegex(ExportError, "int8 is for Hugging Face folders; GGUF files become fp32, fp16, bf16"):
            convert_command([str(self.source), "--out", "x", "--precision", "int8"])


if __name__ == "__main__":
    unittest.main()
