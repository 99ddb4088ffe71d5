"""Writes mathematics.json: expected values of losses and alignment measures, from numpy and scipy alone.

    python mathematics.py            # numpy 2.4.6, scipy 1.17.1

The inputs are synthetic and are kept in the file itself; the script reads them, computes every expected value anew and writes the file back.
Distances come from scipy.spatial.distance.pdist, R2 from scipy.spatial.procrustes, optima from L-BFGS-B with tight limits.
`fit` is the best of 20 starts; its objective is mean loss + l2/n * sum of squares.
"""
import json
import pathlib
import sys

import numpy as np
import scipy
from scipy.optimize import minimize
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

PATH = pathlib.Path(__file__).with_suffix(".json")
LOSSES = [
    "crowd-kernel mu=0", "crowd-kernel mu=0.05", "crowd-kernel mu=1", "ste", "t-ste alpha=1", "t-ste alpha=2",
    "soe margin=0.1", "gnmds margin=1", "logistic-distance",
]  # fmt: skip


def padded(h, x):
    width = max(h.shape[1], x.shape[1])
    pad = lambda m: np.hstack([m, np.zeros((len(m), width - m.shape[1]))])
    return pad(h), pad(x)


def cka(h, x, debiased):
    k, l = h @ h.T, x @ x.T
    n = len(k)

    def centre(k):
        if not debiased:
            c = np.eye(n) - 1 / n
            return c @ k @ c
        k = k - np.diag(np.diag(k))
        u = k - k.sum(0) / (n - 2) - k.sum(1)[:, None] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
        return u - np.diag(np.diag(u))

    k, l = centre(k), centre(l)
    return (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())


def alignment(h, x):
    out = {
        "procrustes_r2": 1 - procrustes(*padded(h, x))[2],
        "cka_linear_biased": cka(h, x, False),
        "cka_linear_debiased": cka(h, x, True),
    }
    for distance in ["euclidean", "sqeuclidean", "cosine", "correlation"]:
        a, b = pdist(h, distance), pdist(x, distance)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            continue  # a constant row has no correlation
        # Rounded, so that ties stay ties: scipy's arithmetic splits some of E_ties's cosines in the last digit (rho would be -0.169, not -0.189).
        out[f"rsa_{distance}_spearman"] = spearmanr(np.round(a, 11), np.round(b, 11))[0]
        out[f"rsa_{distance}_pearson"] = pearsonr(a, b)[0]
    return {key: float(value) for key, value in out.items()}


def loss_and_gradient(name, x, triplets, dtype=np.longdouble):
    x = x.astype(dtype)
    a, near, far = triplets.T
    dn, df = x[a] - x[near], x[a] - x[far]
    d2n, d2f = (dn * dn).sum(1), (df * df).sum(1)
    family, _, parameter = name.partition(" ")
    parameter = dtype(parameter.partition("=")[2] or 0)
    if family in ["logistic-distance", "soe"]:
        n, f = np.sqrt(d2n + dtype(1e-9)), np.sqrt(d2f + dtype(1e-9))
        if family == "soe":
            short = np.maximum(0, parameter + n - f)
            loss, slope = short**2, 2 * short
        else:
            loss, slope = np.logaddexp(0, n - f), 1 / (1 + np.exp(f - n))
        cn, cf = slope / (2 * n), -slope / (2 * f)
    elif family == "gnmds":
        loss = np.maximum(0, parameter + d2n - d2f)
        cn = (loss > 0).astype(dtype)
        cf = -cn
    elif family == "ste":
        loss = np.logaddexp(0, d2n - d2f)
        cn = 1 / (1 + np.exp(d2f - d2n))
        cf = -cn
    elif family == "t-ste":
        half = (parameter + 1) / 2
        kernel_n, kernel_f = (1 + d2n / parameter) ** -half, (1 + d2f / parameter) ** -half
        loss = -np.log(kernel_n / (kernel_n + kernel_f))
        p_wrong = kernel_f / (kernel_n + kernel_f)
        cn, cf = p_wrong * half / (parameter + d2n), -p_wrong * half / (parameter + d2f)
    else:
        mu = parameter
        total = 2 * mu + d2n + d2f
        loss = np.log(total) - np.log(mu + d2f)
        cn, cf = 1 / total, 1 / total - 1 / (mu + d2f)
    gradient = np.zeros_like(x)
    np.add.at(gradient, a, 2 * (cn[:, None] * dn + cf[:, None] * df))
    np.add.at(gradient, near, -2 * cn[:, None] * dn)
    np.add.at(gradient, far, -2 * cf[:, None] * df)
    return float(loss.mean()), (gradient / len(triplets)).astype(float)


def best_fit(name, l2, n, d, triplets):
    def objective(flat):
        x = flat.reshape(n, d)
        value, gradient = loss_and_gradient(name, x, triplets, np.float64)
        return value + l2 / n * (x * x).sum(), (gradient + 2 * l2 / n * x).ravel()

    tight = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-10}
    starts = [np.random.default_rng(seed).normal(size=n * d) for seed in range(20)]
    return min(minimize(objective, s, jac=True, method="L-BFGS-B", options=tight).fun for s in starts)


def main():
    golden = json.loads(PATH.read_text())
    golden["made_with"] = f"numpy {np.__version__}, scipy {scipy.__version__}"
    for case in golden["alignment"].values():
        case["expected"] = alignment(np.array(case["h"]), np.array(case["x"]))
    losses = golden["losses"]
    x, triplets = np.array(losses["x"]), np.array(losses["triplets"])
    for name in LOSSES:
        value, gradient = loss_and_gradient(name, x, triplets)
        losses["expected"][name] = {"loss": value, "gradient": gradient.tolist()}
    fit = golden["fit"]
    for name in ["crowd-kernel mu=0.05", "ste", "t-ste alpha=2", "soe margin=0.1", "logistic-distance"]:
        fit["expected"][name] = best_fit(name, fit["l2"], fit["n"], fit["d"], np.array(fit["triplets"]))
    PATH.write_text(json.dumps(golden, allow_nan=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
