"""Invariants and bad input of the builders for state-space and encoder-decoder checkpoints, without torch.

    python -m unittest tests/export/test_builders.py

That the numbers are transformers' is the business of tests/it/golden/architectures.
"""

import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from export import ExportError, from_folder  # noqa: E402
from export.check import open_session  # noqa: E402
from export.folder import sha256  # noqa: E402
from export.from_folder import export_folder  # noqa: E402
from export.parity import StatePool, run_answers, sources_and_answers  # noqa: E402
from export.seq2seq import bucket  # noqa: E402

VOCAB, LAYERS = 29, 2
MAMBA = {"model_type": "mamba", "vocab_size": VOCAB, "hidden_size": 8, "intermediate_size": 12, "state_size": 4,
         "num_hidden_layers": LAYERS, "conv_kernel": 4, "time_step_rank": 3, "eos_token_id": 0}
T5 = {"model_type": "t5", "vocab_size": VOCAB, "d_model": 8, "d_kv": 3, "num_heads": 2, "d_ff": 10,
      "num_layers": LAYERS, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20,
      "feed_forward_proj": "gated-gelu", "eos_token_id": 1, "decoder_start_token_id": 0}


def mamba_shapes():
    shapes = {"backbone.embeddings.weight": (VOCAB, 8), "backbone.norm_f.weight": (8,)}
    for i in range(LAYERS):
        mixer = {"A_log": (12, 4), "D": (12,), "conv1d.weight": (12, 1, 4), "conv1d.bias": (12,),
                 "in_proj.weight": (24, 8), "x_proj.weight": (11, 12), "dt_proj.weight": (12, 3), "dt_proj.bias": (12,),
                 "out_proj.weight": (8, 12)}
        shapes |= {f"backbone.layers.{i}.mixer.{name}": shape for name, shape in mixer.items()}
        shapes[f"backbone.layers.{i}.norm.weight"] = (8,)
    return shapes


def t5_shapes():
    attention = {"q": (6, 8), "k": (6, 8), "v": (6, 8), "o": (8, 6)}
    shapes = {"shared.weight": (VOCAB, 8)}
    for stack, parts in (("encoder", ("SelfAttention",)), ("decoder", ("SelfAttention", "EncDecAttention"))):
        shapes[f"{stack}.final_layer_norm.weight"] = (8,)
        shapes[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = (8, 2)
        for i in range(LAYERS):
            layer = f"{stack}.block.{i}.layer"
            for place, part in enumerate(parts):
                shapes |= {f"{layer}.{place}.{part}.{name}.weight": shape for name, shape in attention.items()}
            mlp = {"wi_0": (10, 8), "wi_1": (10, 8), "wo": (8, 10)}
            shapes |= {f"{layer}.{len(parts)}.DenseReluDense.{name}.weight": shape for name, shape in mlp.items()}
            shapes |= {f"{layer}.{place}.layer_norm.weight": (8,) for place in range(len(parts) + 1)}
    return shapes


def random_weights(shapes):
    draw = np.random.default_rng(7)
    return {name: draw.normal(size=shape).astype(np.float32) * 0.5 for name, shape in shapes.items()}


def write_safetensors(path, tensors):
    names = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(ml_dtypes.bfloat16): "BF16"}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        header[name] = {"dtype": names[tensor.dtype], "shape": tensor.shape,
                        "data_offsets": [len(data), len(data) + tensor.nbytes]}
        data += tensor.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


class Builders(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.enterContext(mock.patch.object(from_folder, "_say"))

    def checkpoint(self, config, tensors, name="checkpoint"):
        folder = self.scratch / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.json").write_text("{}")
        write_safetensors(folder / "model.safetensors", tensors)
        return folder

    def export(self, config, tensors, name="checkpoint"):
        out = self.scratch / f"{name}-out"
        export_folder(self.checkpoint(config, tensors, name), out, check=False)
        return out

    def refuses(self, message, config, tensors, spoil=lambda folder: None):
        folder, out = self.checkpoint(config, tensors), self.scratch / "out"
        spoil(folder)
        with self.assertRaisesRegex(ExportError, message):
            export_folder(folder, out, check=False)
        self.assertEqual([path.name for path in self.scratch.iterdir()], ["checkpoint"])

    # --- invariants

    def test_a_row_of_many_tokens_is_as_many_rows_of_one(self):
        pool = StatePool(open_session(self.export(MAMBA, random_weights(mamba_shapes())) / "model.onnx"))
        ids = np.random.default_rng(1).integers(0, VOCAB, (3, 11))
        whole = pool.run(ids, np.zeros(3, dtype=np.int64))
        for cuts in ([4], [1, 2], list(range(1, 11))):  # shorter than the kernel, and longer
            states, logits = np.zeros(3, dtype=np.int64), []
            for part in np.split(ids, cuts, axis=1):
                outputs = pool.run(part, states)
                states = pool.keep(outputs)
                logits.append(outputs["logits"])
            # Sums over a row of another length are added up in another order.
            np.testing.assert_allclose(np.concatenate(logits, axis=1), whole["logits"], atol=1e-5)
            for name in whole:
                if name.startswith("present_state."):
                    np.testing.assert_allclose(outputs[name], whole[name], atol=1e-5)

    def test_a_branch_is_what_it_is_alone(self):
        session = open_session(self.export(T5, random_weights(t5_shapes())) / "model.onnx")
        inputs = sources_and_answers(T5)
        n_sources, n_answer = 2, inputs["decoder_input_ids"].shape[1]
        alone = []
        for source, answer in zip(inputs["input_ids"], inputs["decoder_input_ids"]):
            feeds = {"input_ids": source[None], "decoder_input_ids": answer[None],
                     "position_ids": np.arange(n_answer)[None],
                     "attention_mask": np.tri(n_answer, dtype=bool)[None],
                     "scored": np.argwhere(np.ones((1, n_answer))), "wanted": np.zeros((0, 2), dtype=np.int64)}
            alone.append(session.run(["logits"], feeds)[0])
        pairs = list(run_answers(session, inputs, np.stack(alone)))
        self.assertEqual(len(pairs), 3 * n_sources)
        for got, expected in pairs:
            np.testing.assert_allclose(got, expected, atol=1e-5)

    def test_half_precision_is_widened_exactly(self):
        for name, dtype in (("f16", np.float16), ("bf16", ml_dtypes.bfloat16)):
            rounded = {key: tensor.astype(dtype) for key, tensor in random_weights(mamba_shapes()).items()}
            narrow = self.export(MAMBA, rounded, name)
            widened = {key: tensor.astype(np.float32) for key, tensor in rounded.items()}
            wide = self.export(MAMBA, widened, f"{name}-wide")
            for file in ("model.onnx", "model.onnx.data"):
                self.assertEqual(sha256(narrow / file), sha256(wide / file))

    def test_parameters_are_counted_once(self):
        weights = random_weights(t5_shapes())
        n = sum(tensor.size for tensor in weights.values())
        weights |= {name: weights["shared.weight"] for name in ("lm_head.weight", "encoder.embed_tokens.weight")}
        ingredients = json.loads((self.export(T5, weights) / "alike.json").read_text())["ingredients"]
        self.assertEqual((ingredients["parameters"], ingredients["tied_embeddings"]), (n, True))

    def test_buckets_of_the_published_models(self):
        """Where each bucket begins, by the formula of Raffel et al. (2020) with 32 buckets up to 128."""
        for n, far in ((16, [8, 12, 16, 23, 32, 46, 64, 91]),
                       (32, [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113])):
            starts = [int(np.argmax(bucket(np.arange(129), n, 128) >= k)) for k in range(n)]
            self.assertEqual(starts, [*range(n // 2), *far])

    # --- bad input

    def test_weights_that_do_not_fit_the_config(self):
        weights = random_weights(mamba_shapes())
        self.refuses(r"tensor 'backbone.layers.0.mixer.x_proj.weight' has shape \[11, 12\], expected \[13, 12\] by",
                     MAMBA | {"state_size": 5}, weights)

    def test_a_weight_that_is_missing(self):
        weights = random_weights(t5_shapes())
        del weights["decoder.block.1.layer.1.EncDecAttention.o.weight"]
        self.refuses("tensor 'decoder.block.1.layer.1.EncDecAttention.o.weight' is missing", T5, weights)

    def test_a_weight_that_nothing_reads(self):
        weights = random_weights(mamba_shapes()) | {"backbone.layers.0.mixer.in_proj.bias": np.ones(24, np.float32)}
        self.refuses("1 tensors have no place in the graph: backbone.layers.0.mixer.in_proj.bias", MAMBA, weights)

    def test_embeddings_that_differ(self):
        weights = random_weights(t5_shapes())
        weights["decoder.embed_tokens.weight"] = weights["shared.weight"] + 1
        self.refuses("'decoder.embed_tokens.weight' and 'shared.weight' differ", T5, weights)

    def test_what_is_not_built_here(self):
        self.refuses("model_type is 'rwkv', expected mamba, falcon_mamba, t5", MAMBA | {"model_type": "rwkv"}, {})

    def test_another_activation(self):
        self.refuses("hidden_act is 'gelu', expected 'silu'", MAMBA | {"hidden_act": "gelu"}, {})

    def test_a_config_without_an_end(self):
        self.refuses("neither generation_config.json nor config.json says decoder_start_token_id",
                     {name: value for name, value in T5.items() if name != "decoder_start_token_id"}, {})

    def test_no_tokenizer(self):
        self.refuses("holds no tokenizer.json", MAMBA, {}, lambda folder: (folder / "tokenizer.json").unlink())

    def test_weights_in_another_format(self):
        self.refuses("holds neither model.safetensors nor", MAMBA, {},
                     lambda folder: (folder / "model.safetensors").unlink())

    def test_a_file_that_is_cut_short(self):
        def cut(folder):
            file = folder / "model.safetensors"
            file.write_bytes(file.read_bytes()[:-5])

        self.refuses("the file is cut short or damaged", MAMBA, random_weights(mamba_shapes()), cut)

    def test_a_file_that_is_no_safetensors(self):
        self.refuses("is not a safetensors file", MAMBA, {},
                     lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x02" * 40))

    def test_an_index_that_points_outside(self):
        def point(folder):
            (folder / "model.safetensors").unlink()
            index = {"weight_map": {"backbone.embeddings.weight": "../elsewhere.safetensors"}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))

        self.refuses("names '../elsewhere.safetensors', expected files beside it", MAMBA, {}, point)

    def test_an_interrupted_export_leaves_no_folder(self):
        folder, out = self.checkpoint(MAMBA, random_weights(mamba_shapes())), self.scratch / "out"
        with mock.patch("export.from_folder.write_record", side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                export_folder(folder, out, check=False)
        self.assertEqual([path.name for path in self.scratch.iterdir()], ["checkpoint"])


if __name__ == "__main__":
    unittest.main()
