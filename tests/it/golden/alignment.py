"""Writes alignment.json: measures of alignment by other programs, on the inputs of mathematics.json.

    python alignment.py            # numpy, scipy, scikit-learn and rsatoolbox: the versions are in the file

Kendall's tau comes from scipy and rsatoolbox, rho-a, cosines and whitened correlations from rsatoolbox, the silhouette from scikit-learn,
rotations from scipy and from the determinant of the rotation that numpy finds; kernels, neighbours, triplets and pooled RDMs are written out in numpy.
Two inputs are files: nc_rdms.npy, the RDMs of five subjects for eight concepts, and perm_index.npy, 200 permutations of 128 concepts.
"""
import importlib.metadata
import itertools
import json
import pathlib

import numpy as np
from rsatoolbox.rdm import RDMs, compare
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, rankdata, spearmanr
from sklearn.metrics import silhouette_score

HERE = pathlib.Path(__file__).parent


def padded(h, x):
    width = max(h.shape[1], x.shape[1])
    return [np.hstack([m, np.zeros((len(m), width - m.shape[1]))]) for m in (h, x)]


def procrustes_variants(h, x):
    h, x = [m - m.mean(0) for m in padded(h, x)]
    rotation, nuclear = orthogonal_procrustes(x, h)  # x @ rotation is nearest to h
    ss_h, ss_x = (h * h).sum(), (x * x).sum()
    u, s, vt = np.linalg.svd(x.T @ h)
    s[-1] *= np.sign(np.linalg.det(u @ vt))
    return {
        "procrustes_r2_rotation": s.sum() ** 2 / (ss_h * ss_x),
        "procrustes_r2_no_scaling": 1 - ((h - x @ rotation) ** 2).sum() / ss_h,
        "procrustes_r2_no_scaling_reversed": 1 - ((x - h @ rotation.T) ** 2).sum() / ss_x,
        "angular_distance": np.arccos(min(1, nuclear / np.sqrt(ss_h * ss_x))),
    }


def rbf(x):
    d = pdist(x)
    return np.exp(-squareform(d) ** 2 / (2 * (0.8 * np.median(d)) ** 2))


def cka(k, l, debiased):
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


def hsic(k, l):  # unbiased, Song et al. (2012), equation 5
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
    one = np.ones(n)
    return (np.trace(k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ k @ l @ one) / (n * (n - 3))


def minibatch(h, x, size):
    batches = [slice(i, i + size) for i in range(0, len(h) - size + 1, size)]
    total = lambda a, b: sum(hsic(a[s] @ a[s].T, b[s] @ b[s].T) for s in batches)
    return total(h, x) / np.sqrt(total(h, h) * total(x, x))


def rsa(h, x):
    out = {}
    for distance in ["euclidean", "sqeuclidean", "cosine", "correlation"]:
        # Rounded, so that ties stay ties (see mathematics.py).
        a, b = [np.round(pdist(m, distance), 11) for m in (h, x)]
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            continue
        both = RDMs(a[None]), RDMs(b[None])
        for name, method in {
            "kendall_tau_a": "tau-a", "rho_a": "rho-a", "cosine": "cosine", "whitened_cosine": "cosine_cov", "whitened_pearson": "corr_cov",
        }.items():  # fmt: skip
            out[f"rsa_{distance}_{name}"] = compare(*both, method=method)[0, 0]
        if len(set(a)) == len(a) and len(set(b)) == len(b):
            assert abs(out[f"rsa_{distance}_kendall_tau_a"] - kendalltau(a, b)[0]) < 1e-12
    return out


def triplet_agreement(h, x):
    a, b = [squareform(np.round(pdist(m), 11)) for m in (h, x)]
    points, n = 0.0, 0
    for anchor in range(len(a)):
        for i, j in itertools.combinations([k for k in range(len(a)) if k != anchor], 2):
            of_h, of_x = np.sign(a[anchor, i] - a[anchor, j]), np.sign(b[anchor, i] - b[anchor, j])
            if of_h:
                n += 1
                points += 0.5 if of_x == 0 else float(of_h == of_x)
    return points / n


def overlap(h, x, k):
    def parts(m):
        d = squareform(np.round(pdist(m), 11))
        out = np.zeros_like(d)
        for i, row in enumerate(d):
            others = np.delete(np.arange(len(d)), i)
            last = np.sort(row[others])[k - 1]
            nearer, tied = [j for j in others if row[j] < last], [j for j in others if row[j] == last]
            out[i, nearer] = 1
            out[i, tied] = (k - len(nearer)) / len(tied)
        return out

    return np.minimum(parts(h), parts(x)).sum() / (k * len(h))


def pooled_bounds(rdms, name, method):
    def pool(rdms):
        if name == "cosine":
            return (rdms / np.sqrt((rdms**2).mean(1, keepdims=True))).mean(0)
        if name == "pearson":
            return ((rdms - rdms.mean(1, keepdims=True)) / rdms.std(1, keepdims=True)).mean(0)
        return np.mean([rankdata(rdm) for rdm in rdms], 0)

    score = lambda a, b: compare(RDMs(a[None]), RDMs(b[None]), method=method)[0, 0]
    return {
        "lower": np.mean([score(pool(np.delete(rdms, i, 0)), rdm) for i, rdm in enumerate(rdms)]),
        "upper": np.mean([score(pool(rdms), rdm) for rdm in rdms]),
    }


def permutations(orders):
    """Values of two geometries, given by a formula, under each of the permutations of the rows of the second."""
    i, k = np.arange(orders.shape[1])[:, None], np.arange(4)
    h, x = [(a * i * i + b * i * k + c * k) % 101 / 10 for a, b, c in [(7, 13, 5), (7, 13, 9)]]
    x = np.hstack([x, x[:, :1] + h[:, :1]])
    cosine = lambda a, b: (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    measures = {
        "procrustes_r2": lambda h, x: 1 - procrustes(*padded(h, x))[2],
        "cka_linear_biased": lambda h, x: cosine(*[(m - m.mean(0)) @ (m - m.mean(0)).T for m in (h, x)]),
        "rsa_euclidean_pearson": lambda h, x: np.corrcoef(pdist(h), pdist(x))[0, 1],
    }
    out = {}
    for name, measure in measures.items():
        value, draws = measure(h, x), np.array([measure(h, x[order]) for order in orders])
        p = (1 + (draws >= value).sum()) / (1 + len(draws))
        quantile = np.quantile(draws, 0.975)
        out[name] = {"value": value, "mean": draws.mean(), "p97_5": quantile, "max": draws.max(), "p": p}
    return out


def main():
    cases = json.loads((HERE / "mathematics.json").read_text())["alignment"]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ["numpy", "scipy", "scikit-learn", "rsatoolbox"]]
    out = {"made_with": ", ".join(versions), "alignment": {}}
    for name, case in cases.items():
        h, x = np.array(case["h"]), np.array(case["x"])
        values = {**procrustes_variants(h, x), **rsa(h, x), "triplet_agreement": triplet_agreement(h, x)}
        for debiased in [False, True]:
            values[f"cka_rbf_{'debiased' if debiased else 'biased'}"] = cka(rbf(h), rbf(x), debiased)
        values |= {f"neighbour_overlap_{k}": overlap(h, x, k) for k in [5, 10] if len(h) >= k + 2}
        size = 13 if len(h) == 40 else 4
        categories = [i % 3 for i in range(len(h))]
        out["alignment"][name] = {
            "expected": values,
            "minibatch": {"size": size, "cka": minibatch(h, x, size)},
            "silhouette": {"categories": categories, "h": silhouette_score(h, categories)},
        }
    rng = np.random.default_rng(6)
    stack = np.round(np.abs(rng.normal(size=28) + 0.7 * rng.normal(size=(5, 28))) + 0.3, 2)  # two decimals: a few ties
    methods = {"cosine": "cosine", "pearson": "corr", "spearman": "spearman", "rho_a": "rho-a"}
    out["noise_ceiling"] = {"rdms": stack.tolist()}
    out["noise_ceiling"] |= {name: pooled_bounds(stack, name, method) for name, method in methods.items()}
    stack = np.load(HERE / "nc_rdms.npy")
    out["noise_ceiling_of_file"] = {name: pooled_bounds(stack, name, method) for name, method in methods.items()}
    out["permutations_of_file"] = permutations(np.load(HERE / "perm_index.npy"))
    # A bootstrap over concepts with the draws fixed; pairs of a concept with itself are left out.
    h, x = [np.array(cases["C_noise"][side]) for side in "hx"]
    draws, values = rng.integers(0, len(h), size=(200, len(h))), []
    for draw in draws:
        pairs = [(a, b) for a, b in itertools.combinations(draw, 2) if a != b]
        values.append(spearmanr(*[[np.linalg.norm(m[a] - m[b]) for a, b in pairs] for m in (h, x)])[0])
    out["bootstrap"] = {"draws": draws.tolist(), "values": values, "interval": np.quantile(values, [0.025, 0.975]).tolist()}
    (HERE / "alignment.json").write_text(json.dumps(out, indent=1, default=float) + "\n")


main()
