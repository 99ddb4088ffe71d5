"""The suite as the exporter reads it: python -m unittest tests/export/test_suite.py, in the project's folder."""

import contextlib
import io
import tempfile
import tomllib
import unittest
from pathlib import Path

from export import ExportError
from export.suite import export_suite, read_family

SUITE = Path("models/suite")


class Suite(unittest.TestCase):
    def test_the_rule_gives_what_the_files_say(self):
        seen = 0
        for file in sorted(SUITE.glob("*.toml")):
            entries = tomllib.loads(file.read_text(encoding="utf-8"))["models"]
            for entry, model in zip(entries, read_family(file), strict=True):
                for gb in (24, 80, 141):
                    self.assertEqual(model.best(gb), entry["fits"].get(str(gb)), f"{model.label}, {gb} GB")
                seen += 1
        self.assertEqual(seen, 76)

    def test_what_does_not_fit_is_skipped_and_what_fails_is_named(self):
        asked = []

        def export_one(model, folder, precision):
            asked.append((model.label, precision))
            if model.label == "gemma-2-2b":
                raise ExportError("no such checkpoint")
            folder.mkdir(parents=True)

        words = io.StringIO()
        with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(words):
            out = Path(scratch)
            (out / "gemma-3-270m").mkdir()
            with self.assertRaisesRegex(ExportError, "not exported: gemma-2-2b$"):
                export_suite(SUITE / "gemma.toml", out, 12, export_one)
            self.assertEqual({folder.name for folder in out.iterdir()},
                             {"gemma-2-2b-it", "gemma-3-270m", "gemma-3-270m-it", "gemma-3-4b-it", "gemma-3-4b-pt"})
        # fp16 is no choice for Gemma 3.
        self.assertIn(("gemma-3-4b-it", "bf16"), asked)
        self.assertNotIn("gemma-3-270m", [label for label, _ in asked])
        self.assertRegex(words.getvalue(), r"gemma-3-27b-it: needs \d+\.\d GB at least, 12 GB are given: skipped")
        self.assertRegex(words.getvalue(), r"gemma-3-270m: .* exists already: skipped")
        self.assertIn("gemma-2-2b: no such checkpoint", words.getvalue())
        self.assertRegex(words.getvalue(), r"4 exported, 9 skipped, 1 failed")

    def test_a_faulty_file_is_named(self):
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "x.toml"
            file.write_text('ingredients = "models.csv"\n', encoding="utf-8")
            (file.parent / "models.csv").write_text("model\n", encoding="utf-8")
            with self.assertRaisesRegex(ExportError, "x.toml: KeyError 'models'"):
                read_family(file)


if __name__ == "__main__":
    unittest.main()
