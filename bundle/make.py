"""One archive that runs alike wherever it is unpacked: the program, ONNX Runtime's library, data, licences.

    python3 -m bundle.make --binary target/release/alike --runtime .env/runtime --provider cpu --out target/bundle

The same inputs give the same bytes. Needs `strip` and `objdump` (binutils) and `cargo`, whose metadata name the crates.
"""

import argparse
import gzip
import io
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from .crates import linked_crates, licence_texts

ROOT = Path(__file__).resolve().parent.parent
RUNTIME_LICENCES = ("onnxruntime-LICENSE", "onnxruntime-ThirdPartyNotices.txt")  # as export/fetch.py names them
# What every Linux has beside its C library; libstdc++ comes with the compilers and is named.
OF_THE_C_LIBRARY = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|gcc_s))\.so\..*")


class BundleError(Exception):
    """Something that the bundle is made of is missing or not as it should be."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True, help="the built program")
    parser.add_argument("--runtime", type=Path, required=True, metavar="DIR",
                        help="folder of ONNX Runtime's library and its licences")
    parser.add_argument("--provider", choices=["cpu", "cuda"], default="cpu", help="what the library was built for")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    try:
        print(make(options.binary, options.runtime, options.provider, options.out))
    except (BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make(binary: Path, runtime: Path, provider: str, out: Path) -> Path:
    """Writes the archive and returns its path."""
    version, crates = linked_crates(ROOT)
    libraries = sorted(runtime.glob("libonnxruntime*.so*"))
    main_library = [library for library in libraries if library.name.startswith("libonnxruntime.so")]
    if len(main_library) != 1:
        raise BundleError(f"{runtime} holds {len(main_library)} files libonnxruntime.so*, expected one: run `make setup`")
    if provider == "cuda" and not any("cuda" in library.name for library in libraries):
        raise BundleError(f"{runtime} holds no CUDA provider: run `make setup PROVIDER=cuda`")

    files = {f"lib/{library.name}": library.read_bytes() for library in libraries}
    files |= {f"licences/{name}": (runtime / name).read_bytes() for name in RUNTIME_LICENCES}
    files |= {name: (ROOT / name).read_bytes() for name in ("LICENSE", "LICENSE-APACHE", "LICENSE-MIT")}
    files |= {str(path.relative_to(ROOT)): path.read_bytes() for path in tracked("data")}
    files["licences/crates.txt"] = licence_texts(crates).encode()
    name = f"alike-{version}-linux-{platform.machine()}" + ("" if provider == "cpu" else f"-{provider}")
    fields = {
        "version": version, "machine": platform.machine(), "provider": "the CPU" if provider == "cpu" else "NVIDIA GPUs",
        "needs": needs(binary, libraries), "runtime": main_library[0].name, "n_crates": len(crates),
    }
    files["README"] = (ROOT / "bundle/README.in").read_text().format(**fields).encode()
    programs = {"bin/alike": stripped(binary)}

    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"{name}.tar.gz"
    draft = archive.with_name(archive.name + ".tmp")
    write_archive(draft, name, files, programs)
    draft.rename(archive)
    return archive


def stripped(binary: Path) -> bytes:
    """A copy without symbols."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, binary.name)
        run("strip", "--strip-all", "-o", str(copy), str(binary))
        return copy.read_bytes()


def tracked(folder: str) -> list[Path]:
    """The files of the repository, without what lies beside them."""
    return [ROOT / line for line in run("git", "-C", str(ROOT), "ls-files", folder).decode().splitlines()]


def needs(binary: Path, libraries: list[Path]) -> str:
    """What the system has to bring, in a sentence: the newest symbols of the C library, and libraries that are not here."""
    c_library = {file: newest_glibc(file) for file in (binary, *libraries)}
    here = {library.name for library in libraries}
    wanted = {name for file in (binary, *libraries) for name in needed(file)}
    others = sorted(name for name in wanted - here if not OF_THE_C_LIBRARY.fullmatch(name))
    of_libraries = max(c_library[library] for library in libraries)
    return (
        f"The program needs glibc {dotted(c_library[binary])} or later, the runtime glibc {dotted(of_libraries)},\n"
        f"and of the system: {', '.join(others) or 'nothing else'}."
    )


def newest_glibc(file: Path) -> tuple[int, ...]:
    versions = re.findall(r"GLIBC_(\d+(?:\.\d+)+)", run("objdump", "-T", str(file)).decode())
    if not versions:
        raise BundleError(f"{file} asks for no version of glibc: is it a program or library of Linux?")
    return max(tuple(int(part) for part in version.split(".")) for version in versions)


def needed(file: Path) -> list[str]:
    return re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", str(file)).decode())


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def write_archive(path: Path, folder: str, files: dict[str, bytes], programs: dict[str, bytes]) -> None:
    """Sorted, without times, owners and the archive's own name, so that only contents make a difference."""
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as zipped:
        with tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in sorted((files | programs).items()):
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mode = len(content), 0o755 if name in programs else 0o644
                tar.addfile(entry, io.BytesIO(content))


def run(*command: str) -> bytes:
    if shutil.which(command[0]) is None:
        raise BundleError(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()
        raise BundleError(f"{' '.join(command)} exits with {done.returncode}: {words}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
