"""Writes normality.json: Shapiro and Wilk's test by scipy, at every size where its approximation changes.

    python normality.py      # numpy 2.4.6, scipy 1.17.1

Samples are kept in the file, but the largest, which is a formula.
"""

import json
from pathlib import Path

import numpy as np
import scipy
from scipy.stats import shapiro

HERE = Path(__file__).resolve().parent
SIZES = (3, 4, 5, 6, 7, 11, 12, 13, 20, 50, 128)


def main() -> None:
    rng = np.random.default_rng(95)
    draws = {"normal": rng.standard_normal, "exponential": rng.standard_exponential, "t2": lambda n: rng.standard_t(2, n)}
    samples = {f"{name} {n}": np.round(draw(n), 4) for n in SIZES for name, draw in draws.items()}
    samples["ties"] = np.round(rng.standard_normal(40), 0)
    golden = {"made_with": f"numpy {np.__version__}, scipy {scipy.__version__}", "samples": {}}
    for name, x in samples.items():
        w, p = shapiro(x)
        golden["samples"][name] = {"x": x.tolist(), "w": float(w), "p": float(p)}
    i = np.arange(5000)
    golden["5000"] = dict(zip("wp", map(float, shapiro(i * i % 4999))))
    (HERE / "normality.json").write_text(json.dumps(golden) + "\n")


main()
