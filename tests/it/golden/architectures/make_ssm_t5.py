"""Makes tiny Mamba, Falcon-Mamba, T5 and FLAN-T5 folders with their golden scores.

    python tests/it/golden/architectures/make_ssm_t5.py data/concepts/things128.csv

Random weights and real tokenizers go through the exporter as any Hugging Face folder does. Scores are transformers',
one forward pass of a whole sequence per answer, no cache, nothing shared; sums are in float64 over float32 logits.
Ids are made as `alike` makes them: a base prompt and its answer are tokenised jointly and split where the answers
part; T5's source goes through the post-processor, and its answers are tokenised by themselves.
Needs export/requirements-torch.txt.
"""

import argparse
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from math import log
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    FalconMambaConfig, FalconMambaForCausalLM, MambaConfig, MambaForCausalLM, PreTrainedTokenizerFast, T5Config,
    T5ForConditionalGeneration)

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[3])]
from export.folder import read_json, write_json  # noqa: E402
from export.from_folder import export_folder  # noqa: E402
from make_tiny import make_tokenizer as make_byte_level  # noqa: E402
from presentations import SYSTEM, USER, choose_presentations, log_softmax, read_concepts, write_golden  # noqa: E402

SEED = 20251123
N_PRESENTATIONS = 50
T5_VOCAB_SIZE = 300
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("concepts", type=Path)
    concepts = read_concepts(parser.parse_args().concepts)
    triples = choose_presentations(concepts, N_PRESENTATIONS, SEED)
    bytes_, unigram = make_byte_level(concepts).backend_tokenizer, make_unigram(concepts)
    mamba = as_fast(bytes_, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    falcon = as_fast(bytes_, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>")
    t5 = as_fast(unigram, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    make("mamba", make_mamba(mamba), mamba, "base", triples)
    make("falcon-mamba", make_falcon_mamba(falcon), falcon, "base", triples)
    make("t5", make_t5(t5), t5, "base", triples)
    make("flan-t5", make_flan_t5(t5), t5, "plain", triples)


def make(name, model, tokenizer, style, triples):
    """The exported folder, and golden.json in it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if model.config.model_type == "t5":
            state_as_published(folder, model.config)
        reloaded = type(model).from_pretrained(folder).eval()
        for key, weight in model.state_dict().items():  # a head that is tied again would still give numbers
            assert torch.equal(weight, reloaded.state_dict()[key]), key
        export_folder(folder, HERE / name, style, force=True)
        rows = [score(reloaded, tokenizer, style, triple) for triple in triples]
    write_golden({
        "made_by": "tests/it/golden/architectures/make_ssm_t5.py",
        "versions": {package: version(package) for package in PACKAGES},
        "style": style,
        "prompt": render(style, "{anchor}", "{first}", "{second}"),
        "presentations": rows,
    }, HERE / name / "golden.json")


# --- tokenizers


def as_fast(backend, **special):
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(backend.to_str()), **special)


def make_unigram(concepts):
    """As T5's tokenizer.json: white space splits, and every piece begins with a mark; </s> ends a text.

    Pieces and their probabilities are counted, because the library's trainer gives others every time.
    """
    words = [f"▁{word}" for text in [*concepts, SYSTEM, f"{USER} Answer:"] for word in text.split()]
    counts = Counter(word[start:end] for word in words for start in range(len(word))
                     for end in range(start + 1, len(word) + 1))
    special = ["<pad>", "</s>", "<unk>"]
    worth = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece] * (len(piece) - 1), piece))
    pieces = worth[:T5_VOCAB_SIZE - len(special)]
    total = sum(counts[piece] for piece in pieces)
    scores = [(token, 0.0) for token in special] + [(piece, round(log(counts[piece] / total), 4)) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(special)
    return tokenizer


# --- models: weights large enough that logits spread over about ±3 and no part could be left out unseen


def make_mamba(tokenizer):
    config = MambaConfig(num_hidden_layers=2, hidden_size=32, state_size=8, conv_kernel=4, expand=2,
                         time_step_rank=4, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id,
                         bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id)
    return randomised(MambaForCausalLM, config)


def make_falcon_mamba(tokenizer):
    """Biases everywhere, another kernel, an inner size that `expand` does not give, a head of its own."""
    config = FalconMambaConfig(num_hidden_layers=3, hidden_size=32, state_size=4, conv_kernel=3, expand=3,
                               time_step_rank=3, use_bias=True, tie_word_embeddings=False,
                               vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id,
                               bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id)
    return randomised(FalconMambaForCausalLM, config)


def make_t5(tokenizer):
    return randomised(T5ForConditionalGeneration, t5_config(tokenizer, num_layers=2, feed_forward_proj="relu"))


def make_flan_t5(tokenizer):
    """Stacks of different height, heads that do not add up to the hidden size, and a head of its own."""
    config = t5_config(tokenizer, num_layers=2, num_decoder_layers=3, d_kv=6, d_ff=28, feed_forward_proj="gated-gelu",
                       tie_word_embeddings=False)
    return randomised(T5ForConditionalGeneration, config, untied=True)


def t5_config(tokenizer, **options):
    """Few buckets for short distances, so that prompts and answers reach all of them."""
    sizes = {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 48, "relative_attention_num_buckets": 8,
             "relative_attention_max_distance": 20}
    return T5Config(**{**sizes, **options}, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.pad_token_id)


@torch.no_grad()
def randomised(model_class, config, untied=False):
    torch.manual_seed(SEED)
    model = model_class(config).eval()
    if untied:
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    embedding = 1.5 if model.config.model_type == "t5" else 0.5
    for name, weight in model.named_parameters():
        noise = torch.randn_like(weight)
        if "norm" in name or name.endswith((".D", "A_log")):
            weight.add_(0.2 * noise)
        elif "relative_attention_bias" in name:
            weight.copy_(noise)
        elif "shared" in name or "embeddings" in name:
            weight.copy_(embedding * noise)
        elif name.endswith("dt_proj.bias"):
            weight.copy_(noise - 2)  # steps of about 0.1: states neither last for ever nor are gone at once
        else:
            weight.copy_((0.5 if "lm_head" in name or "conv1d" in name else 0.25) * noise)
    return model


def state_as_published(folder, config):
    """config.json as the published ones have it: whether the output is scaled follows from `tie_word_embeddings`."""
    stated = read_json(folder / "config.json")
    stated.pop("scale_decoder_outputs", None)
    stated["tie_word_embeddings"] = config.scale_decoder_outputs
    write_json(folder / "config.json", stated)


# --- scores


def render(style, anchor, first, second):
    question = USER.format(anchor=anchor, first=first, second=second)
    return f"{question} Answer:" if style == "base" else f"{SYSTEM}\n{question}"


def score(model, tokenizer, style, triple):
    anchor, *options = triple
    text = render(style, anchor, *options)
    split = split_source if model.config.is_encoder_decoder else split_jointly
    prompt, answers = split(tokenizer, text, options)
    first, second = answers
    closed = first[:len(second)] == second or second[:len(first)] == first
    if closed:
        answers = [ids + [tokenizer.eos_token_id] for ids in answers]
    row = {"anchor": anchor, "first": options[0], "second": options[1], "closed": closed, "prompt_ids": prompt}
    for side, ids in zip(("first", "second"), answers):
        steps = log_softmax(logits_before(model, prompt, ids))[np.arange(len(ids)), ids]
        row[f"ids_{side}"] = ids
        row[f"log_prob_{side}"] = round(float(steps.sum()), 7)
    return row


def split_jointly(tokenizer, text, options):
    """Prompt and answer in one text; what they share with the prompt alone is the prompt."""
    def encode(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    alone, joint = encode(text), [encode(f"{text} {option}") for option in options]
    cut = min(next((i for i, (a, b) in enumerate(zip(alone, ids)) if a != b), min(len(alone), len(ids)))
              for ids in joint)
    return alone[:cut], [ids[cut:] for ids in joint]


def split_source(tokenizer, text, options):
    return (tokenizer(text)["input_ids"],
            [tokenizer(option, add_special_tokens=False)["input_ids"] for option in options])


@torch.no_grad()
def logits_before(model, prompt, answer):
    """Of the positions that predict the tokens of an answer, `[answer, vocab]`."""
    if model.config.is_encoder_decoder:
        ids = [model.config.decoder_start_token_id] + answer[:-1]
        return model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([ids])).logits[0].numpy()
    logits = model(input_ids=torch.tensor([prompt + answer[:-1]])).logits[0].numpy()
    return logits[len(prompt) - 1:]


if __name__ == "__main__":
    main()
