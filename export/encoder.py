"""python -m export encoder FOLDER --out DIR: a BERT sentence encoder as an ONNX graph, from safetensors and without torch.

FOLDER is as sentence-transformers writes it: config.json, safetensors, tokenizer.json, 1_Pooling/config.json. The graph
gives the state of every token, as transformers' and optimum's exports do; who runs it pools them.

Source: Devlin et al. (2019), BERT, https://arxiv.org/abs/1810.04805
"""

import shutil
from pathlib import Path

from . import ExportError, __version__, say
from .builder import ModelGraph, building
from .encoder_reference import Sizes, compare
from .folder import appearing, read_json, sha256, write_record
from .onnx_graph import BOOL, F32, I64
from .safetensors_reader import Checkpoint

LAYOUT = "encoder"
COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "modules.json",
          "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json", "README.md")
SOURCES = ("config.json", "tokenizer.json", "1_Pooling/config.json")  # what the vectors depend on, beside the weights
ACTIVATIONS = {"gelu": {}, "gelu_new": {"approximate": "tanh"}, "gelu_pytorch_tanh": {"approximate": "tanh"}}
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def export_encoder(folder: Path, out: Path, pooling: str | None = None, check: bool = True, force: bool = False) -> None:
    """Writes the model folder `out`.

    # Errors
    ExportError when the folder is no BERT, lacks a file, does not say how tokens are pooled, or the graph fails its check.
    """
    checkpoint = Checkpoint(folder)
    s = sizes_of(checkpoint)
    pooling = pooling or pooling_of(folder)
    with appearing(out, replace=force) as draft:
        _copy(folder, draft)
        with building(checkpoint, draft / "model.onnx") as g:
            _add_model(g, s)
        result = None
        if check:
            result = compare(checkpoint, s, draft / "model.onnx")
            say(f"largest difference from an independent forward pass {result['max_abs_state_difference']:.1e} over "
                 f"{result['positions']} positions (limit {result['limit']:.0e})")
        record = {
            "layout": LAYOUT,
            "architecture": "bert",
            "precision": "fp32",
            "pooling": pooling,
            "source": {"folder": folder.resolve().name, "sha256": source_digests(folder, checkpoint)},
            "ingredients": {
                "layers": s.layers,
                "hidden_size": s.hidden,
                "attention_heads": s.heads,
                "intermediate_size": s.intermediate,
                "vocab_size": s.vocab,
                "max_context": s.positions,
                "activation": s.activation,
                "parameters": checkpoint.n_parameters(),
            },
            "exporter": {"name": "alike", "version": __version__},
            "check": result,
        }
        write_record(record, draft, [file for file in draft.rglob("*") if file.is_file()])


def source_digests(folder: Path, checkpoint: Checkpoint) -> dict[str, str]:
    files = [folder / name for name in SOURCES] + checkpoint.files
    return {file.relative_to(folder).as_posix(): sha256(file) for file in files if file.is_file()}


def sizes_of(checkpoint: Checkpoint) -> Sizes:
    """# Errors
    ExportError when config.json asks for what is not built here.
    """
    of, config = checkpoint.setting, checkpoint.folder / "config.json"
    expected = {"model_type": ("bert",), "position_embedding_type": ("absolute",), "hidden_act": tuple(ACTIVATIONS)}
    for name, values in expected.items():
        if of(name, values[0]) not in values:
            raise ExportError(f"{config}: {name} is {of(name)!r}, expected {' or '.join(values)} (other encoders: their own "
                              "ONNX files, or optimum's, run as they are)")
    return Sizes(
        layers=of("num_hidden_layers"),
        hidden=of("hidden_size"),
        heads=of("num_attention_heads"),
        intermediate=of("intermediate_size"),
        vocab=of("vocab_size"),
        positions=of("max_position_embeddings"),
        types=of("type_vocab_size", 2),
        epsilon=of("layer_norm_eps", 1e-12),
        activation=of("hidden_act", "gelu"),
    )


def pooling_of(folder: Path) -> str:
    """# Errors
    ExportError unless exactly one pooling is on, and known.
    """
    path = folder / "1_Pooling" / "config.json"
    config = read_json(path)
    if config is None:
        raise ExportError(f"{path} is missing, and nothing else says how tokens are pooled; give --pooling mean or cls")
    modes = [name for name, on in config.items() if name.startswith("pooling_mode_") and on is True]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ExportError(f"{path} asks for {' and '.join(modes) or 'no pooling'}, expected one of {', '.join(POOLINGS)}")
    return POOLINGS[modes[0]]


def _copy(folder, draft):
    if not (folder / "tokenizer.json").is_file():
        raise ExportError(f"{folder} holds no tokenizer.json (transformers converts others: AutoTokenizer."
                          "from_pretrained, then save_pretrained)")
    for file in [folder / name for name in COPIED] + sorted(folder.glob("LICENSE*")):
        if file.is_file():
            target = draft / file.relative_to(folder)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)


def _add_model(g: ModelGraph, s: Sizes) -> None:
    ids, keep, types = (g.input(name, I64, ["batch", "seq"])
                        for name in ("input_ids", "attention_mask", "token_type_ids"))
    # What a text has is kept: padding is seen by nobody.
    seen = g.op("Unsqueeze", g.op("Cast", keep, to=BOOL), g.ints(1, 2))
    mask = g.op("Expand", seen, g.op("Concat", g.shape(ids, 0, 1), g.ints(1), g.shape(ids, 1, 2), g.shape(ids, 1, 2), axis=0))

    def table(name, rows):
        return g.weight(name, g.checkpoint.tensor(f"embeddings.{name}.weight", rows, s.hidden))

    words = g.op("Gather", table("word_embeddings", s.vocab), ids, axis=0)
    segments = g.op("Gather", table("token_type_embeddings", s.types), types, axis=0)
    places = g.op("Slice", table("position_embeddings", s.positions), g.ints(0), g.shape(ids, 1, 2), g.ints(0))
    hidden = _norm(g, s, "embeddings.LayerNorm", g.op("Add", g.op("Add", words, segments), places))
    for i in range(s.layers):
        hidden = _layer(g, s, f"encoder.layer.{i}", hidden, mask, out="last_hidden_state" if i == s.layers - 1 else 1)
    g.output("last_hidden_state", F32, ["batch", "seq", s.hidden])
    # A buffer, a head of the pre-training, and the head that sentence encoders do without.
    for name in ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"):
        g.checkpoint.ignore(name)


def _layer(g: ModelGraph, s: Sizes, name: str, x: str, mask: str, out) -> str:
    q, k, v = (_dense(g, f"{name}.attention.self.{part}", x, s.hidden, s.hidden) for part in ("query", "key", "value"))
    mixed = g.op("Attention", q, k, v, mask, q_num_heads=s.heads, kv_num_heads=s.heads)
    mixed = _dense(g, f"{name}.attention.output.dense", mixed, s.hidden, s.hidden)
    x = _norm(g, s, f"{name}.attention.output.LayerNorm", g.op("Add", mixed, x))
    inner = g.op("Gelu", _dense(g, f"{name}.intermediate.dense", x, s.hidden, s.intermediate), **ACTIVATIONS[s.activation])
    inner = _dense(g, f"{name}.output.dense", inner, s.intermediate, s.hidden)
    return _norm(g, s, f"{name}.output.LayerNorm", g.op("Add", inner, x), out)


def _dense(g: ModelGraph, name: str, x: str, n_in: int, n_out: int) -> str:
    return g.linear(name, x, n_in, n_out, bias=True)


def _norm(g: ModelGraph, s: Sizes, name: str, x: str, out=1) -> str:
    scale, shift = (g.weight(f"{name}.{part}", g.checkpoint.tensor(f"{name}.{part}", s.hidden)) for part in ("weight", "bias"))
    return g.op("LayerNormalization", x, scale, shift, out=out, axis=-1, epsilon=s.epsilon)
