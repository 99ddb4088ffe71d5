"""What benches/guard.py says of two files of instruction counts.

    python -m unittest discover -s tests/benches
"""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benches"))
import guard  # noqa: E402

BEFORE = {
    "schema": 1, "date": "2026-11-20", "alike": "0.1.0", "arch": "x86_64", "rustc": "rustc 1.92.0", "libc": "glibc 2.36",
    "valgrind": "valgrind-3.19.0", "cpu_features": ["avx2", "fma"],
    "kernels": {"plan": 1_000_000, "score": 2_000_000, "sample": 3_000_000, "retired": 4_000_000},
}


def doctored(**factors: float) -> dict:
    """The same counts a day later, some of them multiplied; 0 takes one away."""
    after = copy.deepcopy(BEFORE) | {"date": "2026-11-21"}
    for kernel, factor in factors.items():
        after["kernels"][kernel] *= factor
        if factor == 0:
            del after["kernels"][kernel]
    return after


def verdicts(after: dict) -> dict:
    return {change.kernel: change.verdict for change in guard.compare(BEFORE, after)}


class Comparison(unittest.TestCase):
    def test_the_same_counts_are_the_same(self):
        self.assertEqual(set(verdicts(doctored()).values()), {"same"})
        self.assertIn("every kernel within 3%", guard.report("a.json", BEFORE, doctored(), guard.compare(BEFORE, doctored())))

    def test_three_per_cent_is_the_border(self):
        found = verdicts(doctored(plan=1.029, score=1.031, sample=0.969))
        self.assertEqual(found, {"plan": "same", "score": "worse", "sample": "better", "retired": "same"})

    def test_a_kernel_that_came_or_went_is_told_and_not_judged(self):
        after = doctored(retired=0)
        after["kernels"]["latest"] = 5_000_000
        self.assertEqual(verdicts(after), {"plan": "same", "score": "same", "sample": "same", "latest": "new", "retired": "gone"})

    def test_the_report_names_what_is_worse_and_what_is_better(self):
        after = doctored(plan=1.5, score=0.5)
        text = guard.report("kernels-2026-11-20.json", BEFORE, after, guard.compare(BEFORE, after))
        self.assertIn("since kernels-2026-11-20.json", text)
        self.assertRegex(text, r"plan +1,000,000 +1,500,000 +\+50\.00 %  worse")
        self.assertIn("warning: more than 3% more instructions: plan", text)
        self.assertIn("more than 3% fewer instructions: score", text)

    def test_other_surroundings_are_told(self):
        after = doctored() | {"rustc": "rustc 1.93.0", "cpu_features": ["avx2"]}
        text = guard.report("a.json", BEFORE, after, guard.compare(BEFORE, after))
        self.assertIn("note: rustc was rustc 1.92.0, is rustc 1.93.0", text)
        self.assertIn("note: cpu_features was avx2 fma, is avx2", text)
        self.assertNotIn("libc", text)


class Program(unittest.TestCase):
    """The script itself, on files."""

    def compare(self, before, after, *flags):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / name for name in ("before.json", "after.json")]
            for path, counts in zip(paths, (before, after), strict=True):
                path.write_text(counts if isinstance(counts, str) else json.dumps(counts))
            command = [sys.executable, ROOT / "benches/guard.py", "--compare", *paths, *flags]
            return subprocess.run(command, capture_output=True, text=True)

    def test_worse_is_a_warning_and_strictly_a_failure(self):
        worse = doctored(plan=1.04)
        self.assertEqual(self.compare(BEFORE, worse).returncode, 0)
        self.assertIn("warning", self.compare(BEFORE, worse).stdout)
        self.assertEqual(self.compare(BEFORE, worse, "--strict").returncode, 1)
        self.assertEqual(self.compare(worse, BEFORE, "--strict").returncode, 0)

    def test_what_cannot_be_compared_is_refused_by_name(self):
        for other, words in [
            (doctored() | {"arch": "aarch64"}, "aarch64"),
            (doctored() | {"schema": 2}, "schema 2, expected 1"),
            (doctored() | {"kernels": {"plan": -1}}, "no positive count for plan"),
            ({"schema": 1}, "does not hold counts of kernels"),
            ("not JSON", "does not hold counts of kernels"),
        ]:
            with self.subTest(words):
                done = self.compare(other, BEFORE)
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
                self.assertNotIn("Traceback", done.stderr)


class Committed(unittest.TestCase):
    def test_the_committed_counts_are_whole(self):
        files = sorted((ROOT / guard.RESULTS).glob("kernels-*.json"))
        self.assertTrue(files)
        for path in files:
            counts = guard.read(path.read_text(), path)
            self.assertEqual(path.name, f"kernels-{counts['date']}.json")
            self.assertTrue(all(counts[what] for what in guard.SURROUNDINGS))


if __name__ == "__main__":
    unittest.main()
