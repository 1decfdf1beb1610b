"""Compare intervals of Spearman's correlation with an outcome of 0 and 1 by their simulated coverage.

`python tests/reference/compare_intervals.py 300` prints the table of docs/explanation/statistics.md, from 300 samples
per cell. The target is the correlation at the share of ones in the sample. Tests take the simulated facts from here.
"""

from __future__ import annotations

import sys
from math import sqrt

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit, logit

from edit_robustness.statistics.correlation import clustered_information, interval, rho_influence, spearman

RESAMPLES = 200
LEVEL = 0.95
METHODS = ("score", "influence", "logit AUC", "Newcombe AUC", "bootstrap")


def simulate(rng, n, share, slope, several, x_of="subject"):
    """Facts of one or of 1 to 5 per subject, with a success of this share that depends on x, and on the subject."""
    sizes = rng.integers(1, 6, n) if several else np.ones(n, int)
    codes = np.repeat(np.arange(n), sizes)[:n]
    x = rng.standard_normal(n)[codes]
    if several and x_of == "fact":
        x = np.sqrt(0.5) * x + np.sqrt(0.5) * rng.standard_normal(n)
    common = np.sqrt(0.4) * rng.standard_normal(n)[codes] if several else 0.0
    noise = np.sqrt(0.6 if several else 1.0) * rng.standard_normal(n)
    latent = slope * x + common + noise
    return x, (latent > stats.norm.isf(share, scale=np.sqrt(1 + slope**2))).astype(float), codes


def area(slope, share, size=1_000_000):
    """The area under the curve of `simulate` in the population."""
    x, y, _ = simulate(np.random.default_rng(1), size, share, slope, several=False)
    ranks = stats.rankdata(x) / size
    return 0.5 + ranks[y == 1].mean() - ranks[y == 0].mean()


def rho_of(area, share):
    """Spearman's correlation from the area under the curve and the share of ones."""
    return np.sqrt(3 * share * (1 - share)) * (2 * np.asarray(area) - 1)


def intervals_of(x, y, codes, rng):
    """The interval by each of `METHODS`."""
    n, n_clusters, share = len(x), len(np.unique(codes)), y.mean()
    rho, influence = rho_influence(x, y, np.ones(n))
    information = clustered_information(influence, codes)
    quantile = stats.t.ppf((1 + LEVEL) / 2, information.df)
    totals = np.bincount(codes, weights=influence / n)
    error = sqrt((totals**2).sum() * n_clusters / (n_clusters - 1)) / (1 - rho**2)
    result = {"score": interval(rho, information, LEVEL)}
    result["influence"] = tuple(np.tanh(np.arctanh(rho) + sign * quantile * error) for sign in (-1, 1))
    # DeLong et al. (1988), clustered as by Obuchowski (1997), on the logit scale
    successes, failures = x[y == 1], x[y == 0]
    ranks, n_successes, n_failures = stats.rankdata(x), len(successes), len(failures)
    placements = np.empty(n)
    placements[y == 1] = (ranks[y == 1] - stats.rankdata(successes)) / n_failures
    placements[y == 0] = 1 - (ranks[y == 0] - stats.rankdata(failures)) / n_successes
    auc = placements[y == 1].mean()
    deviations = (placements - auc) / np.where(y == 1, n_successes, n_failures)
    spread = sqrt((np.bincount(codes, weights=deviations) ** 2).sum() * n_clusters / (n_clusters - 1))
    half = quantile * spread / max(auc * (1 - auc), 1e-9)
    result["logit AUC"] = tuple(rho_of(expit(logit(auc) + sign * half), share) for sign in (-1, 1))
    scale = information.size / n
    result["Newcombe AUC"] = tuple(
        rho_of(bound, share) for bound in newcombe(auc, n_successes * scale, n_failures * scale)
    )
    draws = []
    for _ in range(RESAMPLES if rng is not None else 0):
        weights = np.bincount(rng.integers(0, n_clusters, n_clusters), minlength=n_clusters)[codes].astype(float)
        is_drawn = weights > 0
        if np.ptp(y[is_drawn]) > 0:
            draws.append(rho_influence(x[is_drawn], y[is_drawn], weights[is_drawn])[0])
    result["bootstrap"] = tuple(np.quantile(draws, [0.025, 0.975])) if draws else (np.nan, np.nan)
    return result


def newcombe(auc, n_successes, n_failures):
    """Newcombe's (2006) method 5 for the area under the curve."""
    z, mean = stats.norm.ppf((1 + LEVEL) / 2), (n_successes + n_failures) / 2 - 1

    def excess(theta, sign):
        inner = 1 + mean * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return auc - theta - sign * z * sqrt(theta * (1 - theta) * inner / (n_successes * n_failures))

    tiny = 1e-9
    low = brentq(excess, tiny, 1 - tiny, args=(1,)) if excess(tiny, 1) > 0 > excess(1 - tiny, 1) else 0.0
    high = brentq(excess, tiny, 1 - tiny, args=(-1,)) if excess(tiny, -1) > 0 > excess(1 - tiny, -1) else 1.0
    return low, high


def covers(target, low, high):
    """Whether an interval holds the target; NaN if there is no interval."""
    return np.nan if np.isnan(low) else float(low <= target <= high)


def main(times: int) -> None:
    """Print a row per number of facts, share, clustering and slope."""
    print(f"| facts | ones | facts per subject | slope | {' | '.join(METHODS)} |")  # noqa: T201
    for several in (False, True):
        for n, share in ((24, 0.5), (100, 0.1), (100, 0.5), (400, 0.02), (400, 0.5), (400, 0.98)):
            for slope in (0.0, 0.5):
                rng = np.random.default_rng([n, round(100 * share), several])
                truth, rows = area(slope, share) if slope else 0.5, []
                for number in range(times):
                    x, y, codes = simulate(rng, n, share, slope, several)
                    if spearman(x, y, codes)["note"]:
                        continue
                    # the bootstrap takes most of the time: a fifth of the samples have one
                    bounds = intervals_of(x, y, codes, rng if number % 5 == 0 else None)
                    target = rho_of(truth, y.mean())
                    rows.append(
                        {
                            name: np.nan if np.isnan(low) else low <= target <= high
                            for name, (low, high) in bounds.items()
                        }
                    )
                cover = pd.DataFrame(rows, columns=list(METHODS)).astype(float).mean()
                cells = " | ".join(f"{cover[name]:.3f}" for name in METHODS)
                line = f"| {n} | {share:.0%} | {'1 to 5' if several else 1} | {slope} | {cells} |"
                print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
