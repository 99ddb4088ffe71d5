"""Model folders as other programs lay them out, made of one in the standard layout.

    python as_found.py without-past|transformers-js|genai FOLDER OUT

without-past: no keys and values go in or come out. transformers-js: `onnx/model_q4.onnx` with `num_logits_to_keep`, as on
onnx-community. genai: the names of onnxruntime-genai's builder.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def main(kind: str, folder: Path, out: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    graph, to = model.graph, out / "model.onnx"
    if kind == "without-past":
        forget_past(graph)
    elif kind == "transformers-js":
        keep_logits(graph)
        to = out / "onnx" / "model_q4.onnx"
    else:
        to = out / "decoder.onnx"
    to.parent.mkdir(parents=True)
    for file in folder.glob("*.json"):
        if file.name not in ("alike.json", "config.json"):
            shutil.copyfile(file, out / file.name)
    if kind == "genai":
        config = json.loads((folder / "config.json").read_text())
        decoder = {"filename": to.name, "num_hidden_layers": config["num_hidden_layers"],
                   "num_key_value_heads": config["num_key_value_heads"], "head_size": config["head_dim"]}
        (out / "genai_config.json").write_text(json.dumps({"model": {"decoder": decoder}}))
    else:
        shutil.copyfile(folder / "config.json", out / "config.json")
    onnx.save(model, to, save_as_external_data=True, location=f"{to.name}_data")


def forget_past(graph) -> None:
    """Empty pasts of as many rows as there are, made inside."""
    past = [value for value in graph.input if value.name.startswith("past_key_values.")]
    dims = past[0].type.tensor_type.shape.dim
    rest = numpy_helper.from_array(np.array([dims[1].dim_value, 0, dims[3].dim_value]), "past_rest")
    graph.initializer.append(rest)
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    nodes = [helper.make_node("Shape", ["input_ids"], ["n_rows"], start=0, end=1),
             helper.make_node("Concat", ["n_rows", "past_rest"], ["past_shape"], axis=0),
             helper.make_node("ConstantOfShape", ["past_shape"], ["no_past"], value=zero)]
    nodes += [helper.make_node("Identity", ["no_past"], [value.name]) for value in past]
    rest_of_graph = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes + rest_of_graph)
    for values, prefix in [(graph.input, "past_key_values."), (graph.output, "present.")]:
        kept = [value for value in values if not value.name.startswith(prefix)]
        del values[:]
        values.extend(kept)


def keep_logits(graph) -> None:
    """`num_logits_to_keep` positions from the end; 0 is all, as in Python's `[-0:]`."""
    name = "num_logits_to_keep"
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, []))
    for node in graph.node:
        node.output[:] = ["all_logits" if output == "logits" else output for output in node.output]
    for key, value in [("ends", 2**62), ("axes", 1), ("zero_dim", 0)]:
        graph.initializer.append(helper.make_tensor(f"kept_{key}", TensorProto.INT64, [1], [value]))
    graph.node.extend([
        helper.make_node("Neg", [name], ["kept_from"]),
        helper.make_node("Unsqueeze", ["kept_from", "kept_zero_dim"], ["kept_starts"]),
        helper.make_node("Slice", ["all_logits", "kept_starts", "kept_ends", "kept_axes"], ["logits"])])


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
