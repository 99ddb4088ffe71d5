"""docs/operations.md on a Slurm: all of its commands in order, those for a cluster among them."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from jobs import ask, states, wait_until
from test_study import ALIKE, ROOT, STUDY

BLOCK = re.compile(r"^```sh(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


class Operations(unittest.TestCase):
    def test_the_commands_of_the_page(self):
        blocks = BLOCK.findall((ROOT / "docs/operations.md").read_text())
        self.assertGreaterEqual(sum(kind == " slurm" for kind, _ in blocks), 3)
        with tempfile.TemporaryDirectory() as folder:
            study = STUDY.replace('name = "small"', 'name = "study"').replace("n = 6000", "n = 400")
            study = study.replace('label = "standard"', 'label = "first"').replace('label = "scoring"', 'label = "second"')
            Path(folder, "study.toml").write_text(study)
            environment = os.environ | {"PATH": f"{ALIKE.parent}:{os.environ['PATH']}"}
            for kind, commands in blocks:
                done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=folder, env=environment,
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, f"{commands}\n{done.stdout}\n{done.stderr}")
                if kind == " slurm":
                    jobs = re.findall(r"job (\d+)", done.stdout)
                    wait_until("the jobs have ended", lambda: not ask("squeue", "-h"), 120)
                    for job in jobs:
                        logs = Path(folder, "out/study/slurm/logs").glob(f"*{job}*")
                        words = "".join(log.read_text() for log in logs)
                        self.assertEqual(set(states(job).values()), {"COMPLETED"}, words)


if __name__ == "__main__":
    unittest.main()
