"""Writes comparisons.json: groups and correlations of the paper's tables by scipy and statsmodels.

    python comparisons.py      # scipy 1.17.1, statsmodels 0.15.0, pandas

Williams' t and Steiger's z are in neither; they are computed here from the determinant of the correlation matrix and from the
general covariance of two correlations (Steiger 1980, eq. 2), a longer way than the program's.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.oneway import anova_oneway

HERE = Path(__file__).resolve().parent
PAPER = HERE.parents[3] / "data" / "paper"


def effect(result, interval) -> dict:
    return {"value": float(result.statistic), "p": float(result.pvalue), "lo": float(interval.low), "hi": float(interval.high)}


def psi(r: np.ndarray, j: int, k: int, h: int, m: int) -> float:
    """n times the covariance of r_jk and r_hm."""
    return 0.5 * (
        (r[j, h] - r[j, k] * r[k, h]) * (r[k, m] - r[k, h] * r[h, m])
        + (r[j, m] - r[j, h] * r[h, m]) * (r[k, h] - r[k, j] * r[j, h])
        + (r[j, h] - r[j, m] * r[m, h]) * (r[k, m] - r[k, j] * r[j, m])
        + (r[j, m] - r[j, k] * r[k, m]) * (r[k, h] - r[k, m] * r[m, h])
    )


def dependent(y, a, b) -> dict:
    n = len(y)
    r = np.corrcoef([y, a, b])
    mean = (r[0, 1] + r[0, 2]) / 2
    t = (r[0, 1] - r[0, 2]) * np.sqrt(
        (n - 1) * (1 + r[1, 2]) / (2 * (n - 1) / (n - 3) * np.linalg.det(r) + mean**2 * (1 - r[1, 2]) ** 3)
    )
    pooled = r.copy()
    pooled[0, 1:] = pooled[1:, 0] = mean
    c = psi(pooled, 0, 1, 0, 2) / (1 - mean**2) ** 2
    z = (np.arctanh(r[0, 1]) - np.arctanh(r[0, 2])) * np.sqrt(n - 3) / np.sqrt(2 - 2 * c)
    c = psi(r, 0, 1, 0, 2) / ((1 - r[0, 1] ** 2) * (1 - r[0, 2] ** 2))
    reach = stats.norm.ppf(0.975) / np.sqrt(n - 3)
    ends = {k: np.tanh(np.arctanh(r[0, k]) + np.array([-reach, reach])) for k in (1, 2)}
    difference = r[0, 1] - r[0, 2]
    down, up = [r[0, k] - ends[k][0] for k in (1, 2)], [ends[k][1] - r[0, k] for k in (1, 2)]
    lo = difference - np.sqrt(down[0] ** 2 + up[1] ** 2 - 2 * c * down[0] * up[1])
    hi = difference + np.sqrt(up[0] ** 2 + down[1] ** 2 - 2 * c * up[0] * down[1])
    p = [2 * stats.t.sf(abs(t), n - 3), 2 * stats.norm.sf(abs(z))]
    return {"value": difference, "lo": lo, "hi": hi, "t": t, "p": p[0], "z": z, "z_p": p[1], "n": n}


def main() -> None:
    table = pd.read_csv(PAPER / "alignment.csv").merge(pd.read_csv(PAPER / "models.csv").drop(columns="rank"), on="model")
    table = table.merge(pd.read_csv(PAPER / "benchmarks.csv"), on="model")
    tuned, base = (table.r2[table.instruct == answer] for answer in ("yes", "no"))
    welch = stats.ttest_ind(tuned, base, equal_var=False)
    expected = {"welch": effect(welch, welch.confidence_interval()) | {"df": float(welch.df), "difference": tuned.mean() - base.mean()}}
    pairs = pd.read_csv(PAPER / "pairs.csv").dropna()
    score = table.set_index("model").r2
    steps = score[pairs.model].to_numpy() - score[pairs.base].to_numpy()
    t = stats.ttest_1samp(steps, 0.0)
    expected["pairs"] = effect(t, t.confidence_interval()) | {"difference": steps.mean(), "n": len(steps)}
    for factor in ("activation", "attention_type", "architecture"):
        groups = [g.r2.to_numpy() for _, g in table.dropna(subset=factor).groupby(factor) if len(g) > 1]
        f = anova_oneway(groups, use_var="unequal", welch_correction=True)
        h = stats.kruskal(*groups)
        expected[factor] = {"f": float(f.statistic), "df": list(map(float, f.df)), "f_p": float(f.pvalue)}
        expected[factor] |= {"h": float(h.statistic), "h_p": float(h.pvalue), "n": int(sum(map(len, groups)))}
    for column in ("params_b", "hidden_size", "attention_heads", "max_context", "bbh", "mmlu_5shot", "musr"):
        rows = table.dropna(subset=column)
        r = stats.pearsonr(rows.r2, rows[column])
        rank = stats.spearmanr(rows.r2, rows[column])
        expected[column] = effect(r, r.confidence_interval()) | {"n": len(rows)}
        reach = stats.norm.ppf(0.975) * np.sqrt((1 + rank.statistic**2 / 2) / (len(rows) - 3))
        lo, hi = np.tanh(np.arctanh(rank.statistic) + np.array([-reach, reach]))
        expected[column]["ranks"] = {"value": float(rank.statistic), "p": float(rank.pvalue), "lo": lo, "hi": hi}
    rows = table.dropna(subset=["bbh", "params_b", "layers"])
    x = np.column_stack([np.ones(len(rows)), rows.params_b, rows.layers])
    rest = [v - x @ np.linalg.lstsq(x, v, rcond=None)[0] for v in (rows.r2.to_numpy(), rows.bbh.to_numpy())]
    r, df = np.corrcoef(rest)[0, 1], len(rows) - 4
    reach = stats.norm.ppf(0.975) / np.sqrt(df - 1)
    lo, hi = np.tanh(np.arctanh(r) + np.array([-reach, reach]))
    p = 2 * stats.t.sf(abs(r) * np.sqrt(df / (1 - r * r)), df)
    expected["bbh given params_b, layers"] = {"value": r, "lo": lo, "hi": hi, "p": p, "n": len(rows)}
    rows = table.dropna(subset=["bbh", "ifeval", "musr"])
    expected["bbh less musr"] = dependent(rows.r2, rows.bbh, rows.musr)
    expected["bbh: r2 less ifeval"] = dependent(rows.bbh, rows.r2, rows.ifeval)
    versions = {"scipy": __import__("scipy").__version__, "statsmodels": __import__("statsmodels").__version__}
    text = json.dumps({"versions": versions, "expected": expected}, indent=1)
    (HERE / "comparisons.json").write_text(text + "\n")


main()
