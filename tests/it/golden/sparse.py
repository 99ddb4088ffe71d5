"""Writes sparse.json: value and gradient of the SPoSE objective, from numpy alone.

    python sparse.py                 # numpy 2.4.6

Mean softmax cross-entropy over the dot products (ij, ik, jk) of triplets whose first two are the pair chosen (the third is the odd one), plus
lambda / n_concepts * sum(W). One triplet is there twice on purpose. The gradient is asserted to agree with central differences.
"""
import json
import pathlib

import numpy as np

LAMBDA = 0.008
W = [[0.238, 0.024, 0.398], [0.363, 0.926, 1.005], [1.323, 1.155, 0.709], [0.237, 1.161, 0.137], [0.613, 0.827, 0.638], [0.496, 0.908, 0.723]]
TRIPLETS = [[0, 1, 2], [1, 3, 5], [2, 0, 4], [3, 4, 1], [4, 5, 0], [5, 2, 3], [0, 5, 4], [1, 2, 0], [0, 1, 2], [3, 5, 2]]


def objective(w, triplets):
    """Value and gradient of the mean, [n, d]."""
    i, j, k = triplets.T
    pairs = [(i, j), (i, k), (j, k)]
    dots = np.stack([(w[a] * w[b]).sum(1) for a, b in pairs], 1)
    shifted = dots - dots.max(1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    value = -np.log(p[:, 0]).mean() + LAMBDA / len(w) * w.sum()
    slope = (p - [1, 0, 0]) / len(triplets)
    gradient = np.full_like(w, LAMBDA / len(w))
    for column, (a, b) in enumerate(pairs):
        np.add.at(gradient, a, slope[:, [column]] * w[b])
        np.add.at(gradient, b, slope[:, [column]] * w[a])
    return value, gradient


def main():
    w, triplets = np.array(W), np.array(TRIPLETS)
    value, gradient = objective(w, triplets)
    for at in np.ndindex(*w.shape):
        step = np.zeros_like(w)
        step[at] = 1e-6
        difference = (objective(w + step, triplets)[0] - objective(w - step, triplets)[0]) / 2e-6
        assert abs(difference - gradient[at]) < 1e-8
    result = {"lambda": LAMBDA, "w": W, "triplets": TRIPLETS, "objective": value, "gradient": gradient.tolist()}
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
