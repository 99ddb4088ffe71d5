"""The archive of `make bundle`, unpacked elsewhere and run as on a compute node: no network, no variables, another folder."""

import json
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

from bundle.crates import linked_crates
from bundle.make import ROOT, make, newest_glibc

BINARY = ROOT / "target/release/alike"
RUNTIME = ROOT / ".env/runtime"
GOLDEN = ROOT / "tests/it/golden"


class Bundle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.archive = make(BINARY, RUNTIME, "cpu", cls.scratch / "made")
        with tarfile.open(cls.archive) as tar:
            tar.extractall(cls.scratch / "unpacked", filter="data")
        (cls.folder,) = (cls.scratch / "unpacked").iterdir()
        (cls.scratch / "elsewhere").mkdir()

    def alike(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([self.folder / "bin/alike", *arguments], env={}, cwd=self.scratch / "elsewhere",
                              capture_output=True, text=True)

    def succeeds(self, *arguments: str) -> str:
        done = self.alike(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_the_same_inputs_give_the_same_bytes(self):
        again = make(BINARY, RUNTIME, "cpu", self.scratch / "again")
        self.assertEqual(again.read_bytes(), self.archive.read_bytes())

    def test_it_holds_no_times_and_no_owners(self):
        with tarfile.open(self.archive) as tar:
            entries = tar.getmembers()
        self.assertEqual({(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in entries}, {(0, 0, 0, "")})
        self.assertEqual([entry.name for entry in entries if entry.mode & 0o111], [f"{self.folder.name}/bin/alike"])

    def test_a_model_runs_on_the_library_of_the_bundle(self):
        out = self.succeeds("check", "--model", str(GOLDEN / "tiny-llama-scoring"))
        self.assertIn(f"{self.folder}/lib/libonnxruntime.so", out)

    def test_without_its_library_it_finds_no_other(self):
        library = self.folder / "lib"
        library.rename(self.folder / "away")
        try:
            done = self.alike("check", "--model", str(GOLDEN / "tiny-llama-scoring"))
        finally:
            (self.folder / "away").rename(library)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the ONNX Runtime library is missing", done.stderr)

    def test_the_shipped_studies_find_their_files(self):
        # Tiny models in the places of the demo's: what is looked at is the way from study to files.
        models = {"smollm2-135m-instruct": "tiny-llama-scoring", "all-minilm-l6-v2": "tiny-encoder"}
        for name, tiny in models.items():
            shutil.copytree(GOLDEN / tiny, self.folder / "models" / name)
        self.succeeds("judge", str(self.folder / "data/studies/demo.toml"), "--limit", "20")
        for name in models:
            record = self.scratch / f"elsewhere/out/demo/runs/{name}.json"
            self.assertEqual(json.loads(record.read_text())["made"], 20)
        self.succeeds("regress", str(self.folder / "data/studies/paper.toml"))

    def test_the_readme_says_what_the_system_must_bring(self):
        readme = (self.folder / "README").read_text()
        version = ".".join(str(part) for part in newest_glibc(BINARY))
        self.assertIn(f"The program needs glibc {version} or later", readme)
        self.assertNotIn("{", readme)

    def test_every_crate_has_a_licence(self):
        text = (self.folder / "licences/crates.txt").read_text()
        _, crates = linked_crates(ROOT)
        names = {crate.name for crate in crates}
        self.assertTrue({"ort", "arrow", "zstd-sys"} <= names)
        self.assertFalse({"proptest", "tempfile", "cc"} & names, "crates of tests and build scripts are not linked")
        for crate in crates:
            self.assertTrue(crate.licence)
            self.assertIn(f"\n{crate.name} {crate.version}  {crate.licence}", text)


if __name__ == "__main__":
    unittest.main()
