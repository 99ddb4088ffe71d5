"""Bad input of the builder of sentence encoders, and the check at its end, without torch.

    python -m unittest tests/export/test_encoder.py

That the numbers are transformers' is the business of tests/it/golden/encoders.py.
"""

import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
from export import ExportError, encoder, encoder_reference  # noqa: E402
from export.encoder import export_encoder  # noqa: E402
from test_builders import random_weights, write_safetensors  # noqa: E402

CONFIG = {"model_type": "bert", "vocab_size": 29, "hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2,
          "num_hidden_layers": 2, "max_position_embeddings": 16, "type_vocab_size": 2, "hidden_act": "gelu"}
MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False, "word_embedding_dimension": 8}


def shapes():
    shapes = {f"embeddings.{name}_embeddings.weight": (rows, 8)
              for name, rows in (("word", 29), ("position", 16), ("token_type", 2))}
    norms, dense = ["embeddings.LayerNorm"], {}
    for i in range(2):
        layer = f"encoder.layer.{i}"
        dense |= {f"{layer}.attention.self.{part}": (8, 8) for part in ("query", "key", "value")}
        dense |= {f"{layer}.attention.output.dense": (8, 8), f"{layer}.intermediate.dense": (12, 8),
                  f"{layer}.output.dense": (8, 12)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes | {f"{name}.{part}": (8,) for name in norms for part in ("weight", "bias")}


class Encoder(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.enterContext(mock.patch.object(encoder, "say"))

    def checkpoint(self, config=CONFIG, pooling=MEAN, more=None):
        folder = self.scratch / "checkpoint"
        (folder / "1_Pooling").mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.json").write_text("{}")
        if pooling is not None:
            (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        write_safetensors(folder / "model.safetensors", random_weights(shapes() | (more or {})))
        return folder

    def refuses(self, message, spoil=lambda folder: None, **options):
        folder, out = self.checkpoint(**options), self.scratch / "out"
        spoil(folder)
        with self.assertRaisesRegex(ExportError, message):
            export_encoder(folder, out)
        self.assertFalse(out.exists())

    def test_every_activation_is_checked_against_the_reference(self):
        for activation in encoder.ACTIVATIONS:
            self.setUp()
            out = self.scratch / "out"
            # What pre-training leaves behind has no place in the graph, and is no error.
            folder = self.checkpoint(CONFIG | {"hidden_act": activation}, more={"pooler.dense.weight": (8, 8)})
            export_encoder(folder, out)
            record = json.loads((out / "alike.json").read_text())
            self.assertEqual((record["layout"], record["pooling"]), ("encoder", "mean"))
            self.assertLess(record["check"]["max_abs_state_difference"], 1e-5)
            self.assertIn("1_Pooling/config.json", record["files"])

    def test_a_graph_that_says_something_else_is_refused(self):
        with mock.patch.object(encoder_reference, "_gelu", lambda x, kind: np.maximum(x, 0)):
            self.refuses("states differ from the reference")

    def test_other_models_are_refused_by_the_setting(self):
        self.refuses("model_type is 'roberta', expected bert", config=CONFIG | {"model_type": "roberta"})

    def test_relative_positions_are_refused(self):
        self.refuses("position_embedding_type is 'relative_key'", config=CONFIG | {"position_embedding_type": "relative_key"})

    def test_nothing_is_pooled_by_guessing(self):
        self.refuses("1_Pooling/config.json is missing.*--pooling", pooling=None)

    def test_only_one_pooling_at_a_time(self):
        self.refuses("asks for .*mean_tokens and pooling_mode_cls_token", pooling=MEAN | {"pooling_mode_cls_token": True})

    def test_no_tokenizer(self):
        self.refuses("no tokenizer.json", spoil=lambda folder: (folder / "tokenizer.json").unlink())

    def test_weights_and_config_that_disagree(self):
        self.refuses(r"'embeddings.word_embeddings.weight' has shape \[29, 8\], expected \[30, 8\]",
                     config=CONFIG | {"vocab_size": 30})

    def test_weights_without_a_place(self):
        self.refuses("1 tensors have no place in the graph: encoder.layer.2.output.dense.bias",
                     more={"encoder.layer.2.output.dense.bias": (8,)})


if __name__ == "__main__":
    unittest.main()
