"""The tables of the peers: what the committed JSON gives is what the documents hold.

    python -m unittest discover -s tests/benches
"""

import copy
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benches/peers"))
import table  # noqa: E402


class Marks(unittest.TestCase):
    def test_every_document_has_a_place_for_its_table(self):
        for path in table.DOCUMENTS:
            text = path.read_text(encoding="utf-8")
            self.assertEqual(table.between(table.between(text, "a", path), "b", path), table.between(text, "b", path))
            self.assertNotEqual(table.between(text, "a", path), text)


@unittest.skipUnless(table.RESULTS.exists(), "no benches/results/peers.json is committed yet: `make bench-peers` on an idle machine writes it")
class Documents(unittest.TestCase):
    def setUp(self):
        self.results = table.read(table.RESULTS)

    def test_they_hold_the_tables_of_the_committed_numbers(self):
        for path, make in table.DOCUMENTS.items():
            text = path.read_text(encoding="utf-8")
            self.assertEqual(text, table.between(text, make(self.results), path), f"{path.name}: table.py --write makes it right")

    def test_another_number_makes_another_table(self):
        other = copy.deepcopy(self.results)
        other["rows"][0]["triplets_per_second"] *= 2
        for make in table.DOCUMENTS.values():
            self.assertNotEqual(make(other), make(self.results))

    def test_every_tool_ran_in_every_repeat_on_the_same_triplets(self):
        runs = [(row["name"], row["repeat"]) for row in self.results["rows"]]
        names = {name for name, _ in runs}
        self.assertEqual(len(runs), len(set(runs)))
        self.assertEqual(len(runs), len(names) * self.results["n_repeats"])
        self.assertEqual({row["triplets"] for row in self.results["rows"]}, {self.results["n_triplets"]})


class Table(unittest.TestCase):
    ROW = {"name": "alike", "repeat": 0, "weights": "fp32", "triplets_per_second": 20.0, "load_seconds": 1.0,
           "peak_rss_mb": 900, "others_cores": 0.02, "compared": 10, "max_nats": 0.0, "mean_nats": 0.0, "other_choices": 0}
    RESULTS = {"schema": 1, "date": "2026-11-23", "machine": {"cpu": "a CPU", "cores": 2}, "model": "a-model", "provider": "cpu",
               "threads": 2, "n_triplets": 10, "n_repeats": 3, "versions": {"alike": "0.1.0"}, "left_out": []}

    def rows(self, rates, others=0.02):
        """alike at 20, 30 and 10 triplets/s, a peer at other rates in the same repeats."""
        ours = [self.ROW | {"repeat": i, "triplets_per_second": rate} for i, rate in enumerate([20.0, 30.0, 10.0])]
        theirs = [self.ROW | {"name": "peer", "repeat": i, "triplets_per_second": rate, "max_nats": 0.25, "others_cores": others}
                  for i, rate in enumerate(rates)]
        return self.RESULTS | {"rows": [row for pair in zip(ours, theirs) for row in pair]}

    def test_ratios_are_taken_within_a_repeat(self):
        # 2, 3 and 5: their median is not the ratio of the medians, 20 / 10.
        results = self.rows([10.0, 10.0, 2.0])
        self.assertIn("| peer | fp32 | 10.0 | 3.00 | 2.5e-01 nats | 0 |", table.short(results))
        self.assertIn("| 10.0 | 2.0–10.0 | 3.00 |", table.long(results))

    def test_a_machine_that_is_not_idle_is_said_so(self):
        self.assertIn("nothing else running", table.short(self.rows([1.0, 1.0, 1.0])))
        self.assertIn("**not an idle machine**: others used up to 0.70", table.short(self.rows([1.0, 1.0, 1.0], others=0.7)))

    def test_only_what_stands_between_the_marks_is_replaced(self):
        text = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
        self.assertEqual(table.between(text, "new", Path("a.md")), f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n")
        with self.assertRaisesRegex(SystemExit, "a.md lacks the marks"):
            table.between("no marks", "new", Path("a.md"))


if __name__ == "__main__":
    unittest.main()
