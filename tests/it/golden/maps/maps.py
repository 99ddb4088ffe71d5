"""Writes maps.json: what scikit-learn's exact t-SNE makes of small embeddings, and trustworthiness.

    python maps.py            # numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.0

`joint` is scikit-learn's P, which meets the entropy to 1e-5 in single-precision distances; `exact` the same with a root of scipy's. Divergence and gradient are
scikit-learn's at `layout`, from `exact`. `kl` is where scikit-learn's own descent from principal components ends after up to 1,000 steps.
Matrices of pairs are their upper triangles, row by row.
"""
import json
import pathlib

import numpy as np
from scipy.optimize import brentq
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold import TSNE, trustworthiness
from sklearn.manifold._t_sne import _joint_probabilities, _kl_divergence

PATH = pathlib.Path(__file__).with_suffix(".json")


def clusters(seed, n, dims, k):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, dims)) * 2
    return np.round(centres[np.arange(n) % k] + rng.normal(size=(n, dims)), 3)


def exact_joint(dist2, perplexity):
    n = len(dist2)
    p = np.zeros((n, n))
    for i in range(n):
        d = np.delete(dist2[i], i)
        d = d - d.min()

        def conditional(log_beta):
            w = np.exp(-np.exp(log_beta) * d)
            return w / w.sum()

        def over(log_beta):
            q = conditional(log_beta)
            return -(q[q > 0] * np.log(q[q > 0])).sum() - np.log(perplexity)

        centre = -np.log(d.mean())
        root = brentq(over, centre - 20, centre + 20, xtol=1e-14, rtol=1e-14)
        p[i, np.arange(n) != i] = conditional(root)
    return squareform((p + p.T) / (2 * n), checks=False)


def case(seed, n, dims, k, perplexity, pairs):
    x = clusters(seed, n, dims, k)
    dist2 = squareform(pdist(x, "sqeuclidean"))
    layout = np.round(np.random.default_rng(seed + 100).normal(size=(n, 2)) * 3, 3)
    exact = exact_joint(dist2, perplexity)
    kl, gradient = _kl_divergence(layout.ravel(), exact, 1, n, 2)
    fitted = TSNE(method="exact", init="pca", perplexity=perplexity).fit(x)
    found = {
        "x": x.tolist(),
        "perplexity": perplexity,
        "layout": layout.tolist(),
        "kl_at_layout": kl,
        "gradient_at_layout": gradient.reshape(n, 2).tolist(),
        "kl": float(fitted.kl_divergence_),
        "trustworthiness": {str(k): trustworthiness(x, layout, n_neighbors=k) for k in [1, 5, 10]},
    }
    if pairs:
        found["exact"] = exact.tolist()
        found["joint"] = _joint_probabilities(dist2.astype(np.float32), perplexity, 0).tolist()
    return found


cases = {
    "four clusters": case(1, 30, 5, 4, 5.0, True),
    "one cloud": case(2, 25, 3, 1, 8.0, True),
    "128 concepts": case(3, 128, 8, 9, 30.0, False),
}
PATH.write_text(json.dumps(cases, separators=(",", ":")).replace('},"', '},\n"') + "\n")
for name, found in cases.items():
    print(name, found["kl"], found["kl_at_layout"], found["trustworthiness"])
