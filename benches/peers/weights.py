"""Turns one GGUF file into the forms that the peers read, so that all of them run the same weights.

    python weights.py hf FILE.gguf --model DIR --out DIR2       fp32 safetensors, for lm-eval's HF backend
    python weights.py genai DIR2 --out DIR3                     Model Builder's ONNX, for lm-eval's two ONNX backends
    python weights.py gguf FILE.gguf --type f32 --out FILE2     dequantised, for llama.cpp

DIR is alike's model folder: the tokenizer files are taken from it. A folder from a hub can stand for DIR2 as it is.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    forms = parser.add_subparsers(dest="form", required=True)
    hf = forms.add_parser("hf")
    hf.add_argument("source", type=Path, metavar="FILE.gguf")
    hf.add_argument("--model", type=Path, required=True, help="alike's model folder")
    hf.add_argument("--out", type=Path, required=True)
    genai = forms.add_parser("genai")
    genai.add_argument("source", type=Path, metavar="HF_DIR")
    genai.add_argument("--out", type=Path, required=True)
    gguf = forms.add_parser("gguf")
    gguf.add_argument("source", type=Path, metavar="FILE.gguf")
    gguf.add_argument("--type", choices=["f32", "f16"], default="f32")
    gguf.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.form == "hf":
        write_hf(options.source, options.model, options.out)
    elif options.form == "genai":
        write_genai(options.source, options.out)
    else:
        write_gguf(options.source, options.type, options.out)


def write_hf(source: Path, model: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # A second model, because transformers refuses to save one that remembers having been quantised.
    del loaded.config.quantization_config
    plain = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(out)
    # The tokenizer comes from the folder: transformers' GGUF loader does not know every splitting rule.
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, out / name)


def write_genai(source: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", source, "-o", out,
                   "-p", "fp32", "-e", "cpu", "-c", cache]
        # The builder looks for the folder's name on the hub first, even with -i.
        subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def write_gguf(source: Path, to: str, out: Path) -> None:
    """All metadata is kept; norms stay fp32 in both types, as llama.cpp's own converter leaves them."""
    import numpy as np
    from gguf import GGUFReader, GGUFWriter, LlamaFileType
    from gguf.quants import dequantize

    reader = GGUFReader(source)
    architecture = reader.get_field("general.architecture").contents()
    writer = GGUFWriter(out, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        element = field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=element)
    writer.add_file_type(LlamaFileType.ALL_F32 if to == "f32" else LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float16) if to == "f16" and values.ndim > 1 else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
