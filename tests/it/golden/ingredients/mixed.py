"""Mixed models and least squares of the paper's table by statsmodels: writes mixed.json. Run in the repository's root:

    python tests/it/golden/ingredients/mixed.py

statsmodels 0.15.0, pandas 3.1.1, numpy 2.4.6, scipy 1.17.1
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.stats import shapiro
from statsmodels.stats.diagnostic import het_breuschpagan
from statsmodels.stats.outliers_influence import variance_inflation_factor
from statsmodels.stats.stattools import jarque_bera

PAPER = "instruct + z(hidden_size) + z(intermediate_size) + z(attention_heads) + z(max_context) + multimodal"
ALL = PAPER + (
    " + z(attention_dim) + z(layers) + z(log10(params_b)) + z(train_tokens_t) + z(vocab_size) + gated_mlp"
)


log10 = np.log10


def z(x):
    return (x - x.mean()) / x.std(ddof=1)


def rows(table, formula):
    """Rows that have all of the formula's columns, so that z() is over these."""
    named = [c for c in table.columns if c in formula.replace("(", " ").replace(")", " ").split()]
    return table.dropna(subset=named)


def profiled(x, y, groups, reml):
    """β, its GLS standard errors and the variances of y = Xβ + b[group] + ε, by one search over the ratio of variances."""
    same = (groups[:, None] == groups[None, :]).astype(float)
    df = len(y) - x.shape[1] * reml

    def at(ratio):
        v = np.eye(len(y)) + ratio * same
        normal = x.T @ np.linalg.solve(v, x)
        beta = np.linalg.solve(normal, x.T @ np.linalg.solve(v, y))
        e = y - x @ beta
        rss = e @ np.linalg.solve(v, e)
        deviance = np.linalg.slogdet(v)[1] + df * (1 + np.log(2 * np.pi * rss / df))
        return deviance + reml * np.linalg.slogdet(normal)[1], beta, normal, rss / df

    ratio = minimize_scalar(lambda ratio: at(ratio)[0], bounds=(0, 10), method="bounded", options={"xatol": 1e-12}).x
    deviance, beta, normal, scale = at(ratio)
    se = np.sqrt(scale * np.diag(np.linalg.inv(normal)))
    return {"beta": beta, "se": se, "scale": scale, "group_variance": ratio * scale, "log_likelihood": -deviance / 2}


def both(table, formula, reml):
    """statsmodels' own fit, and the search above, which agree in all digits that statsmodels has."""
    table = rows(table, formula + " r2 family")
    model = smf.mixedlm("r2 ~ " + formula, table, groups="family")
    own = model.fit(reml=reml, method="bfgs", gtol=1e-9)
    found = profiled(model.exog, model.endog, table["family"].to_numpy(), reml)
    assert np.allclose(own.fe_params, found["beta"], atol=1e-6)
    assert np.isclose(own.llf, found["log_likelihood"], atol=1e-7)
    assert np.isclose(own.scale, found["scale"], rtol=1e-4)
    random = {group: effects.iloc[0] for group, effects in own.random_effects.items()}
    return {"n": len(table), "names": model.exog_names, "random_effects": random, **found}


def slope_profile(table):
    """Ends of the 95 % profile intervals of the variance parameters with a random slope, by direct searches over the density."""
    table = rows(table, PAPER + " r2 family")
    model = smf.ols("r2 ~ " + PAPER, table)
    x, y, groups = model.exog, model.endog, table["family"].to_numpy()
    same = (groups[:, None] == groups[None, :]).astype(float)
    instruct = model.exog_names.index("instruct[T.yes]")
    effects = np.column_stack([np.ones(len(y)), table["instruct"] == "yes"])

    def deviance(s1, s2, r, sigma, given=None):
        covariance = np.array([[s1 * s1, r * s1 * s2], [r * s1 * s2, s2 * s2]])
        v = sigma**2 * np.eye(len(y)) + same * (effects @ covariance @ effects.T)
        # The coefficient of instruct may be given.
        free = np.arange(x.shape[1]) != (instruct if given is not None else -1)
        left = y - (given * x[:, instruct] if given is not None else 0.0)
        solved = np.linalg.solve(v, np.column_stack([x[:, free], left]))
        beta = np.linalg.solve(x[:, free].T @ solved[:, :-1], x[:, free].T @ solved[:, -1])
        e = left - x[:, free] @ beta
        return np.linalg.slogdet(v)[1] + e @ np.linalg.solve(v, e) + len(y) * np.log(2 * np.pi)

    def lowest(f, *starts):
        options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
        return min(minimize(f, start, method="Nelder-Mead", options=options).fun for start in starts)

    exp, tanh = np.exp, np.tanh
    limit = 3.841458820694124 + lowest(
        lambda p: deviance(exp(p[0]), exp(p[1]), tanh(p[2]), exp(p[3])), [-2.5, -3.2, -1.3, -2.6]
    )
    both_signs = [-2.5, -1.3, -2.6], [-2.5, 0.5, -2.6]
    above = {
        "s1": lambda s: lowest(lambda p: deviance(s, exp(p[0]), tanh(p[1]), exp(p[2])), *both_signs) - limit,
        "s2": lambda s: lowest(lambda p: deviance(exp(p[0]), s, tanh(p[1]), exp(p[2])), *both_signs) - limit,
        "sigma": lambda s: lowest(lambda p: deviance(exp(p[0]), exp(p[1]), tanh(p[2]), s), [-2.5, -3.2, -1.3]) - limit,
        "instruct": lambda b: lowest(
            lambda p: deviance(exp(p[0]), exp(p[1]), tanh(p[2]), exp(p[3]), b),
            *([-2.5, s2, r, -2.6] for s2 in (-3.2, -2.0) for r in (-1.3, 0.5)),
        )
        - limit,
    }
    # Neither standard deviation can be told from zero.
    assert above["s1"](1e-9) < 0 and above["s2"](1e-9) < 0
    end = lambda name, a, b: brentq(above[name], a, b, xtol=1e-9)
    return {
        "sd((Intercept) | family)": [0.0, end("s1", 0.08, 0.5)],
        "sd(instruct[yes] | family)": [0.0, end("s2", 0.05, 0.5)],
        "instruct[yes]": [end("instruct", 0.0, 0.13), end("instruct", 0.15, 0.4)],
        "sigma": [end("sigma", 0.04, 0.0715), end("sigma", 0.0716, 0.15)],
    }


def main():
    scores = pd.read_csv("data/paper/alignment.csv")[["model", "r2"]]
    table = scores.merge(pd.read_csv("data/paper/models.csv"), on="model")
    out = {
        "reml": both(table, PAPER, True),
        "ml": both(table, PAPER, False),
        "all_ingredients": both(table, ALL, True),
        "without_t5_11b": both(table[~table["model"].str.lower().isin(["t5-11b"])], PAPER, True),
    }
    out["slope_profile"] = slope_profile(table)
    used = rows(table, PAPER + " r2 family")
    model = smf.ols("r2 ~ " + PAPER, used)
    ols = model.fit()
    names = [n for n in model.exog_names if n != "Intercept"]
    lagrange = het_breuschpagan(ols.resid, model.exog)
    jb = jarque_bera(ols.resid)
    out["ols"] = {
        "beta": ols.params,
        "se": ols.bse,
        "p": ols.pvalues,
        "log_likelihood": ols.llf,
        "vif": {n: variance_inflation_factor(model.exog, model.exog_names.index(n)) for n in names},
        "breusch_pagan": lagrange[0],
        "breusch_pagan_p": lagrange[1],
        "jarque_bera": jb[0],
        "jarque_bera_p": jb[1],
        "skewness": jb[2],
        "kurtosis": jb[3],
        "shapiro_wilk": shapiro(ols.resid),
        "cook": dict(zip(used["model"], ols.get_influence().cooks_distance[0])),
    }
    plain = lambda value: value.to_dict() if isinstance(value, pd.Series) else np.asarray(value).tolist()
    text = json.dumps(out, default=plain, indent=1)
    Path("tests/it/golden/ingredients/mixed.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
