"""Makes the tiny model folders and their golden scores.

    python tests/it/golden/make_tiny.py data/concepts/things128.csv

A random Llama of two layers with a real byte-level tokenizer. It goes through a GGUF file into the scoring layout
(our exporter), through transformers' exporter into the standard layout, and through onnxruntime-genai's builder into
a graph with GroupQueryAttention, so that the three folders share weights and tokenizer but hardly a node of their
graphs. Needs export/requirements-torch.txt.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import gguf
import onnx
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[2])]
from export.from_gguf import convert  # noqa: E402
from export.check import MAX_LOGIT_DIFFERENCE, check_model, open_session  # noqa: E402
from export.folder import (  # noqa: E402
    appearing, read_json, record_of, sha256, write_json, write_record, write_small_files)
from export.gguf_reader import Checkpoint  # noqa: E402
from export.original import Original  # noqa: E402
from export.reference import logits_of  # noqa: E402
from export.trace import write_standard  # noqa: E402
from presentations import SYSTEM, USER, choose_presentations, golden, read_concepts, write_golden  # noqa: E402

SEED = 20251122
N_PRESENTATIONS = 30
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCAB_SIZE = 400
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("concepts", type=Path)
    concepts = read_concepts(parser.parse_args().concepts)
    tokenizer = make_tokenizer(concepts)
    model = make_model()
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "tiny-llama.gguf"
        write_gguf(model, tokenizer, source)
        convert(source, HERE / "tiny-llama-scoring", "scoring", force=True)
        export_standard(model, source, HERE / "tiny-llama-standard")
        export_gqa(model, tokenizer, source, HERE / "tiny-llama-gqa")
        record = {"file": source.name, "sha256": sha256(source)}
    triples = choose_presentations(concepts, N_PRESENTATIONS, SEED)
    write_golden(golden(model, tokenizer, triples, "tests/it/golden/make_tiny.py", record), HERE / "tiny-llama.json")


def make_tokenizer(concepts):
    """Byte-level BPE, trained on what the tests will write: names, and the prompt around them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=SPECIAL_TOKENS, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    frame = [SYSTEM, USER, "system\nuser\nassistant\n"]
    tokenizer.train_from_iterator(concepts + [f" {concept}" for concept in concepts] + frame * 8, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>",
                                   pad_token="<|im_end|>", unk_token="<|endoftext|>", chat_template=CHAT_TEMPLATE)


def make_model():
    """Weights large enough that logits spread over about ±3 and attention is far from uniform."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, rms_norm_eps=1e-5, initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0}, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.add_(0.1 * torch.randn_like(weight))
    return model


def write_gguf(model, tokenizer, path):
    """The same weights as llama.cpp would store them, in float32."""
    config, backend = model.config, tokenizer.backend_tokenizer
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny-llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    vocabulary = sorted(backend.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL_TOKENS else gguf.TokenType.NORMAL
                            for token, _ in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in merges_of(backend)])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(config.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        weight = weight.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            halves = weight.reshape(-1, 2, config.head_dim // 2, config.hidden_size)
            weight = halves.swapaxes(1, 2).reshape(weight.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def merges_of(backend):
    return json.loads(backend.to_str())["model"]["merges"]


def export_standard(model, source, out):
    """One graph by transformers' exporter, its cache renamed to optimum's names."""
    checkpoint = Checkpoint(source)
    with appearing(out, replace=True) as draft:
        write_standard(model, draft / "model.onnx")
        session = open_session(draft / "model.onnx")
        result = check_model(lambda ids: logits_of(checkpoint, ids), VOCAB_SIZE, "standard", session)
        finish(draft, checkpoint, "transformers", result)


def export_gqa(model, tokenizer, source, out):
    """One graph by onnxruntime-genai's builder, as it is: GroupQueryAttention, and no position_ids."""
    checkpoint = Checkpoint(source)
    model = with_wider_heads(model)
    with tempfile.TemporaryDirectory() as scratch, appearing(out, replace=True) as draft:
        checkpoint_folder, built = Path(scratch) / "checkpoint", Path(scratch) / "built"
        model.save_pretrained(checkpoint_folder)
        tokenizer.save_pretrained(checkpoint_folder)
        subprocess.run([sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", checkpoint_folder, "-o", built,
                        "-p", "fp32", "-e", "cpu", "-c", scratch], check=True)
        for name in ("model.onnx", "model.onnx.data"):
            shutil.copyfile(built / name, draft / name)
        proto = onnx.load(draft / "model.onnx", load_external_data=False)
        ids = torch.randint(3, VOCAB_SIZE, (2, 37)).numpy()
        config = {"head_dim": model.config.head_dim, "num_key_value_heads": model.config.num_key_value_heads,
                  "rope_theta": model.config.rope_parameters["rope_theta"],
                  "rope_parameters": model.config.rope_parameters}
        difference = Original(draft / "model.onnx", proto, config).logits(ids) - logits_of(checkpoint, ids)
        worst = float(abs(difference).max())
        if not worst <= MAX_LOGIT_DIFFERENCE:
            raise SystemExit(f"the graph with GroupQueryAttention is off by {worst}")
        finish(draft, checkpoint, "onnxruntime-genai", config=config, result=
               {"positions": ids.size, "max_abs_logit_difference": float(f"{worst:.3g}"), "limit": MAX_LOGIT_DIFFERENCE,
                "onnxruntime": version("onnxruntime")})


def with_wider_heads(model):
    """The same function with heads of 16, for the operator takes no others: half of each head is zeros.

    Pairs (i, i + 4) move to (i, i + 8), and turn as before with the square of theta; the scores' scale, which
    follows from the head size, is made up for in the queries.
    """
    old = model.config
    wide = LlamaForCausalLM(LlamaConfig(**{**old.to_dict(), "head_dim": 2 * old.head_dim, "rope_parameters": {
        "rope_type": "default", "rope_theta": old.rope_parameters["rope_theta"] ** 2}})).eval()
    half = old.head_dim // 2

    def widen(weight):  # [heads * head_dim, hidden]
        pairs = weight.reshape(-1, 2, half, weight.shape[1])
        return torch.cat([pairs, torch.zeros_like(pairs)], dim=2).reshape(-1, weight.shape[1])

    weights = model.state_dict()
    for name, weight in weights.items():
        if name.endswith("q_proj.weight"):
            weights[name] = widen(weight) * 2**0.5
        elif name.endswith(("k_proj.weight", "v_proj.weight")):
            weights[name] = widen(weight)
        elif name.endswith("o_proj.weight"):
            weights[name] = widen(weight.T).T
    wide.load_state_dict(weights)
    return wide


def finish(draft, checkpoint, exporter, result, config={}):
    """The small files, and the record of who wrote the graph and how it was checked."""
    write_small_files(checkpoint, draft)
    write_json(draft / "config.json", read_json(draft / "config.json") | config)
    result = {"reference": "numpy float64 forward pass over the same weights", **result}
    exporter = {"name": exporter, "version": version(exporter)}
    write_record(record_of(checkpoint, "standard", sha256(checkpoint.path), result, exporter), draft, draft.iterdir())
    print(f"{draft.stem}: largest logit difference {result['max_abs_logit_difference']:.1e}")


if __name__ == "__main__":
    main()
