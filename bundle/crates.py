"""The Rust crates inside the program, and their licences."""

import json
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TEXTS = ("LICEN[CS]E*", "COPYING*", "COPYRIGHT*", "NOTICE*", "UNLICENSE*")


@dataclass(order=True)
class Crate:
    """A crate, as its manifest describes it."""

    name: str
    version: str
    licence: str
    home: str
    folder: Path = field(compare=False)

    def texts(self) -> list[str]:
        """Licences in its folder and one below, where C libraries that come with a crate have theirs."""
        found = {file for pattern in TEXTS for file in (*self.folder.glob(pattern), *self.folder.glob(f"*/{pattern}"))}
        texts = [file.read_text(errors="replace").strip() for file in sorted(found) if file.is_file()]
        return list(dict.fromkeys(text for text in texts if len(text.splitlines()) > 1))  # one line is a link to another file


def linked_crates(root: Path) -> tuple[str, list[Crate]]:
    """The project's version, and the crates that it is made of on this machine: not those of tests and build scripts."""
    target = f"{platform.machine()}-unknown-linux-gnu"
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={target}"]
    metadata = json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = metadata["resolve"]["root"]
    reached, waiting = {own}, [own]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if linked and dependency["pkg"] not in reached:
                reached.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    packages = {package["id"]: package for package in metadata["packages"]}
    return packages[own]["version"], sorted(crate(packages[id]) for id in reached - {own})


def crate(package: dict) -> Crate:
    folder = Path(package["manifest_path"]).parent
    licence = package["license"] or f"see {package['license_file']}"
    return Crate(package["name"], package["version"], licence, package["repository"] or "", folder)


def licence_texts(crates: list[Crate]) -> str:
    """A table of the crates, then every text that they bring, once, under the names of those that bring it."""
    lines = ["The Rust crates inside alike, beside the standard library of Rust (MIT OR Apache-2.0).", ""]
    lines += [f"{crate.name} {crate.version}  {crate.licence}  {crate.home}".rstrip() for crate in crates]
    bringing: dict[str, dict[str, None]] = {}  # names as keys: once, in order
    for crate in crates:
        for text in crate.texts():
            bringing.setdefault(text, {})[crate.name] = None
    for text, names in sorted(bringing.items(), key=lambda item: list(item[1])):
        lines += ["", "=" * 100, ", ".join(names), "", text]
    return "\n".join(lines) + "\n"
