"""Crowd-kernel in numpy: all pairs through one Gram matrix, L-BFGS by scipy. The best that one thread of numpy does."""

import numpy as np
from scipy.optimize import minimize


def objective(triplets: np.ndarray, n: int, dims: int, mu: float):
    """The mean loss -log((mu + d2_far) / (2 mu + d2_near + d2_far)) and its gradient.

    triplets: [m, 3] of anchor, near, far; the function returned takes flat [n * dims] and returns (float, [n * dims]).
    """
    anchor, near, far = (triplets[:, k].astype(np.int64) for k in range(3))
    at_near, at_far = anchor * n + near, anchor * n + far
    both = np.concatenate([at_near, at_far])
    m = len(triplets)
    weights = np.empty(2 * m)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = flat.reshape(n, dims)
        dist2 = x @ x.T
        norms = dist2.diagonal().copy()
        dist2 *= -2.0
        dist2 += norms[:, None]
        dist2 += norms[None, :]
        table = dist2.ravel()
        far_part = table[at_far]
        far_part += mu
        total = table[at_near]
        total += mu
        total += far_part
        value = np.log(total / far_part).sum() / m
        np.divide(1.0, total, out=weights[:m])
        np.subtract(weights[:m], 1.0 / far_part, out=weights[m:])
        c = np.bincount(both, weights, n * n).reshape(n, n)
        s = c + c.T
        gradient = s.sum(1)[:, None] * x
        gradient -= s @ x
        gradient *= 2.0 / m
        return value, gradient.ravel()

    return evaluate


def fit(triplets: np.ndarray, n: int, dims: int, mu: float, seed: int, ftol: float) -> tuple[np.ndarray, int]:
    """Coordinates [n, dims] and evaluations spent, from a standard normal start."""
    start = np.random.default_rng(seed).standard_normal(n * dims)
    options = {"maxcor": 12, "ftol": ftol, "gtol": 1e-9, "maxiter": 2000, "maxfun": 4000}
    found = minimize(objective(triplets, n, dims, mu), start, jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(n, dims), found.nfev
