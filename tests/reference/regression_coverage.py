"""Simulate the coverage of the regressions' intervals: python tests/reference/regression_coverage.py 24 0.5 400.

Outcomes are correlated within a fact by a Gaussian copula, so that the marginal log odds are exactly those of the
regression, and odds ratios and average marginal effects have known true values.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm

from edit_robustness.statistics.regression import RegressionModel, regress

PROMPTS = ("statement", "paraphrase", "paraphrase", "cloze", "question", "doubt")
METHODS = ("ft", "rome")
TRUE = {"log_views": np.log(0.7), "method=rome": np.log(1.5), "kind=cloze": -0.5}
CORRELATION = 0.3
FORMULA = "success ~ kind + method + log_views"


def draw(n_facts: int, share: float, seed: int) -> pd.DataFrame:
    """Draw outcomes with a share of successes near the given one; `true` is the probability of each."""
    rng = np.random.default_rng([seed, n_facts, round(1000 * share)])
    facts = pd.DataFrame({"fact_id": [f"f{i}" for i in range(n_facts)], "log_views": rng.normal(4, 1, n_facts)})
    cells = pd.DataFrame([(kind, method) for method in METHODS for kind in PROMPTS], columns=["kind", "method"])
    rows = facts.merge(cells, how="cross")
    subject_effects = np.repeat(rng.normal(size=n_facts), len(cells))
    latent = np.sqrt(CORRELATION) * subject_effects + np.sqrt(1 - CORRELATION) * rng.normal(size=len(rows))
    eta = _eta(rows, share)
    return rows.assign(
        value=(norm.cdf(latent) < expit(eta)).astype(float), model="m", subject=rows["fact_id"], relation="P36",
        metric="success", protocol="free", family="edit", probe_id=np.arange(len(rows)).astype(str),
    )  # fmt: skip


def _eta(rows: pd.DataFrame, share: float) -> pd.Series:
    method = TRUE["method=rome"] * (rows["method"] == "rome").astype(float)
    kind = TRUE["kind=cloze"] * (rows["kind"] == "cloze").astype(float)
    return logit(share) - 0.12 + method + kind + TRUE["log_views"] * (rows["log_views"] - 4)


def effects(rows: pd.DataFrame, share: float) -> dict[str, float]:
    """Return the true average marginal effects in these rows, in percentage points."""
    rome, ft = (expit(_eta(rows.assign(method=method), share)) for method in ("rome", "ft"))
    mean = expit(_eta(rows, share))
    return {"method=rome": 100 * (rome - ft).mean(), "log_views": 100 * (TRUE["log_views"] * mean * (1 - mean)).mean()}


def cover(n_facts: int, share: float, n_runs: int, estimator: str = "gee") -> dict[str, tuple[float, int]]:
    """Return the share of intervals that hold the true value, and the number of runs that gave an interval."""
    hits: dict[str, list[bool]] = {}
    model = RegressionModel(formula=FORMULA, estimator=estimator)
    for seed in range(n_runs):
        rows = draw(n_facts, share, seed)
        table = regress(rows, {"mine": model})[0].set_index("term")
        true_effects = effects(rows, share)
        for term in ("log_views", "method=rome"):
            if term not in table.index:
                continue
            row = table.loc[term]
            for name, low, high, true in (
                (f"odds ratio of {term}", row["low"], row["high"], np.exp(TRUE[term])),
                (f"effect of {term}", row["effect_low"], row["effect_high"], true_effects[term]),
            ):
                if not np.isnan(low):
                    hits.setdefault(name, []).append(low <= true <= high)
    return {name: (float(np.mean(values)), len(values)) for name, values in hits.items()}


if __name__ == "__main__":
    n, rate, runs = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    for interval, (coverage, count) in cover(n, rate, runs, *sys.argv[4:5]).items():
        sys.stdout.write(f"{n} {rate} {interval}: {coverage:.3f} of {count}\n")
