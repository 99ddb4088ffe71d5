"""Weights and activations in eight bits, and the rotation before: exact where they are exact, bounded where they round.

    python -m unittest tests/export/test_precision.py
"""

import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benches" / "precision")]
from export import ExportError  # noqa: E402
from export.onnx_graph import F32, I64, Graph  # noqa: E402
from per_token import LARGEST_WEIGHT, quantise_columns, quantise_per_token  # noqa: E402
from rotation import hadamard, orthogonal, rotate  # noqa: E402

SIZE, WIDE, VOCAB = 48, 128, 29
IDS = np.array([[3, 7, 1, 28], [5, 5, 0, 2]])


def graph(outlier=1.0):
    """An MLP between an embedding with one large channel and a tied head."""
    g, rng = Graph(ModelProto(opset_import=[helper.make_opsetid("", 23)])), np.random.default_rng(0)

    def weight(name, *shape, scale=1.0):
        array = rng.standard_normal(shape) * scale
        if name == "embedding":
            array[:, 3] *= outlier
        g.initializers[name] = numpy_helper.from_array(array.astype(np.float32), name)
        return name

    ids = g.input("input_ids", I64, ["batch", "seq"])
    g.input("scored", I64, ["n_scored", 2])
    x = g.op("Gather", weight("embedding", VOCAB, SIZE), ids, axis=0)
    normed = g.op("RMSNormalization", x, weight("norm", SIZE), axis=-1, epsilon=1e-5)
    gate, up = (g.op("MatMul", normed, weight(name, SIZE, WIDE, scale=SIZE**-0.5)) for name in ("gate", "up"))
    mixed = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
    x = g.op("Add", x, g.op("MatMul", mixed, weight("down", WIDE, SIZE, scale=WIDE**-0.5)))
    x = g.op("GatherND", x, "scored")
    last = g.op("RMSNormalization", x, weight("last_norm", SIZE), axis=-1, epsilon=1e-5)
    g.op("MatMul", last, g.op("Transpose", "embedding", perm=[1, 0]), out="logits")
    g.output("logits", F32, ["n_scored", VOCAB])
    return g


def logits(model, ids=IDS):
    session = onnxruntime.InferenceSession(model if isinstance(model, str) else model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids, "scored": np.argwhere(np.ones_like(ids))})[0]


class Rotation(unittest.TestCase):
    def test_matrices_are_orthogonal(self):
        for matrix in (orthogonal(48), hadamard(64)):
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-12)

    def test_logits_stay(self):
        expected, g = logits(graph().to_model()), graph()
        rotate(g)
        np.testing.assert_allclose(logits(g.to_model()), expected, atol=1e-4)  # f32, logits of spread 7

    def test_a_stream_read_by_something_else_is_refused(self):
        g = graph()
        g.op("Relu", next(node.output[0] for node in g.nodes if node.op_type == "Add"), out="other")
        with self.assertRaisesRegex(ExportError, "Relu"):
            rotate(g)


class PerToken(unittest.TestCase):
    def quantised(self, **options):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            onnx.save(graph(**options.pop("graph", {})).to_model(), path)
            quantise_per_token(path, **options)
            return onnx.load(path)

    def test_columns_are_within_half_a_step_unless_clipped(self):
        weight = np.random.default_rng(1).standard_normal((40, 7)).astype(np.float32)
        integers, scales = quantise_columns(weight)
        self.assertLessEqual(np.abs(integers).max(), LARGEST_WEIGHT)
        inside = np.abs(weight) <= scales * LARGEST_WEIGHT
        self.assertLessEqual((np.abs(integers * scales - weight) / scales)[inside].max(), 0.5 + 1e-4)

    def test_a_batch_is_its_rows(self):
        model = self.quantised()
        apart = np.concatenate([logits(model, row[None]) for row in IDS])
        np.testing.assert_array_equal(logits(model), apart)

    def test_near_the_float_model_and_nearer_when_rotated(self):
        """Steps of 1/64 and 1/127 of what is about three deviations: some per cent of the logits' spread."""
        outlier = {"outlier": 30.0}
        expected = logits(graph(**outlier).to_model())
        errors = [np.abs(logits(self.quantised(rotated=rotated, graph=outlier)) - expected).mean() / expected.std()
                  for rotated in (True, False)]
        self.assertLess(errors[0], 0.05)
        self.assertLess(errors[0], errors[1])


if __name__ == "__main__":
    unittest.main()
