"""Paired differences on the same probes: between the two protocols, and between each method and its baselines.

Both sides were measured on every probe, so a gap is a mean of paired differences. Its interval is much narrower than
two separate intervals suggest.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from edit_robustness.statistics.intervals import mean, paired_difference

BASELINES_COMPARED = ("context",)
"""Methods that change no weight, and that an edit must outperform."""

BASELINE_COMPARISON_COLUMNS = [
    *("model", "method", "baseline", "decoding", "n_kinds", "n_probes", "n_facts", "value", "value_baseline"),
    *("gap", "low", "high"),
]

ALL_KINDS = "all"
"""Kind of the row over all kinds of prompt together."""

COLUMNS = [
    *("model", "method", "kind", "decoding", "n_probes", "n_facts", "both", "forced_only", "free_only", "neither"),
    *("cut", "forced", "free", "gap", "low", "high"),
]
_PROBE = ["model", "method", "decoding", "kind", "fact_id", "subject", "probe_id"]


def protocol_gaps(outcomes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Compare success by teacher forcing with success by free generation, paired by probe.

    Args:
        outcomes: Scores with `subject`; those of the metric ``success`` under both protocols are used, and probes that
            lack one of the two are left out.
        confidence: Level of the interval.

    Returns:
        `COLUMNS`, a row for each model, method and kind, and one for all kinds together (`ALL_KINDS`): the counts of
        the four outcomes of a probe as in McNemar's table (`forced_only`: success by teacher forcing but not by free
        generation), the number of free generations that the token limit cut before they named an object (`cut`; they
        count as no success), both shares, and their difference `gap` with its interval, clustered by subject.
    """
    probes = _pair_protocols(outcomes)
    all_kinds = probes.assign(kind=ALL_KINDS)
    rows = [
        {**dict(zip(["model", "method", "decoding", "kind"], key, strict=True)), **_gap(pairs, confidence)}
        for table in (probes, all_kinds)
        for key, pairs in table.groupby(["model", "method", "decoding", "kind"], sort=False)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _pair_protocols(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Build a row per probe with the columns `forced`, `free` and `cut`, each 0 or 1."""
    success = outcomes[(outcomes["metric"] == "success") & outcomes["value"].notna()]
    sides = {
        column: success[success["protocol"] == protocol].set_index(_PROBE)["value"].rename(column)
        for column, protocol in (("forced", "teacher_forced"), ("free", "free"))
    }
    cuts = outcomes[(outcomes["metric"] == "cut") & (outcomes["protocol"] == "free")].set_index(_PROBE)["value"]
    pairs = pd.concat(sides.values(), axis=1, join="inner")
    return pairs.assign(cut=cuts.reindex(pairs.index).fillna(0.0)).reset_index()


def _gap(pairs: pd.DataFrame, confidence: float) -> dict[str, float]:
    forced_success, free_success = pairs["forced"].astype(bool), pairs["free"].astype(bool)
    gap = paired_difference(pairs["forced"], pairs["free"], pairs["subject"], confidence)
    return {
        "n_probes": len(pairs),
        "n_facts": pairs["fact_id"].nunique(),
        "both": int((forced_success & free_success).sum()),
        "forced_only": int((forced_success & ~free_success).sum()),
        "free_only": int((free_success & ~forced_success).sum()),
        "neither": int((~forced_success & ~free_success).sum()),
        "cut": int(pairs["cut"].sum()),
        "forced": float(forced_success.mean()),
        "free": float(free_success.mean()),
        "gap": gap.value,
        "low": gap.low,
        "high": gap.high,
    }


def baseline_gaps(outcomes: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Compare each method with each baseline of the run on the probes that both were asked, by free generation.

    Args:
        outcomes: Scores with `subject`; those of the metric ``success`` by free generation are used.
        confidence: Level of the interval.

    Returns:
        `BASELINE_COMPARISON_COLUMNS`, a row per model, method and baseline: the mean success of both over kinds of
        prompt, each kind weighing the same, and the mean of their paired differences `gap` with its interval, clustered
        by subject.
    """
    free = outcomes[(outcomes["metric"] == "success") & (outcomes["protocol"] == "free") & outcomes["value"].notna()]
    rows = []
    for (model, decoding), probes in free.groupby(["model", "decoding"], sort=False, observed=True):
        by_method = {
            str(method): rows.set_index(_SAME)["value"] for method, rows in probes.groupby("method", sort=False)
        }
        for baseline in set(BASELINES_COMPARED) & set(by_method):
            for method in by_method.keys() - {baseline}:
                pairs = pd.concat({"value": by_method[method], "baseline": by_method[baseline]}, axis=1, join="inner")
                if len(pairs):
                    labels = {"model": model, "method": method, "baseline": baseline, "decoding": decoding}
                    rows.append(labels | _rival_gap(pairs.reset_index(), confidence))
    return pd.DataFrame(rows, columns=BASELINE_COMPARISON_COLUMNS).sort_values(
        ["model", "method", "baseline"], ignore_index=True
    )


_SAME = ["kind", "fact_id", "subject", "probe_id"]


def _rival_gap(pairs: pd.DataFrame, confidence: float) -> dict[str, float]:
    """Estimate the mean difference over kinds and its cluster-robust t interval.

    The estimate is a weighted sum of differences with weight 1 / (kinds * probes of the kind). It is the plain mean of
    its linearised values, so that `mean` gives the interval. Bounds are clipped to [-1, 1]. If no pair
    differs from its kind's mean the spread is 0, and there is no interval (NaN).
    """
    by_kind = pairs.assign(gap=pairs["value"] - pairs["baseline"]).groupby("kind")
    means = by_kind[["value", "baseline"]].mean().mean()
    gap = float(means["value"] - means["baseline"])
    deviations = pairs["value"] - pairs["baseline"] - by_kind["gap"].transform("mean")
    weights = len(pairs) / (by_kind.ngroups * by_kind["gap"].transform("size"))
    estimate = mean(gap + weights * deviations, pairs["subject"], confidence)
    low, high = np.clip([estimate.low, estimate.high], -1, 1) if deviations.any() else (np.nan, np.nan)
    return {
        "n_kinds": by_kind.ngroups,
        "n_probes": len(pairs),
        "n_facts": pairs["fact_id"].nunique(),
        "value": float(means["value"]),
        "value_baseline": float(means["baseline"]),
        "gap": gap,
        "low": float(low),
        "high": float(high),
    }
