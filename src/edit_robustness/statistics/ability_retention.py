"""Ability retention: the share of a model's ability above chance that is left, per checkpoint and kind of ability.

A benchmark on which the unedited model is at chance cannot show a loss, and is left out. Each other benchmark has a
weight in proportion to its score above chance. Safety is not a general ability and is reported separately.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.records import UNEDITED
from edit_robustness.statistics.abilities import FINE
from edit_robustness.statistics.documents import CHECKPOINT, UNIT, join_unedited, lower_is_better
from edit_robustness.statistics.intervals import wilson
from edit_robustness.statistics.orders import over_orders
from edit_robustness.statistics.resampling import percentiles, resampled_means

ALL, SAFETY = "all", "safety"
ABILITY_RETENTION_COLUMNS = [*CHECKPOINT, "ability", "value", "low", "high", "n", "n_benchmarks"]


def ability_retention(
    rows: pd.DataFrame, abilities: pd.DataFrame, confidence: float = 0.95, bootstrap: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Estimate the share of the score above chance that is left: sum of (after - chance) over sum of (before - chance).

    Args:
        rows: Output of `documents.measure_documents`.
        abilities: Output of `abilities.abilities`; the unedited model's flags decide which benchmarks count.
        confidence: Level of the intervals.
        bootstrap: Number of resamples of documents, drawn in each benchmark for both models together.
        seed: Seed of the resampling.

    Returns:
        `ABILITY_RETENTION_COLUMNS`, for each kind of ability and for all general ones together (``all``): 1 if nothing
        was lost, 0 if the model is at chance, less than 0 if it is below chance. `n` counts documents. A model without
        any benchmark above chance has no rows.
    """
    fine = abilities[(abilities["method"] == UNEDITED) & (abilities["flag"] == FINE)]
    fine = fine[~fine["metric"].map(lower_is_better).astype(bool)]
    benchmarks = fine[["model", *UNIT, "ability", "chance"]].fillna({"chance": 0.0})
    weights = 1 / benchmarks.groupby(["model", "benchmark"])["metric"].transform("size")
    pairs = join_unedited(rows).merge(benchmarks.assign(weight=weights), on=["model", *UNIT])
    results = []
    for key, checkpoint_pairs in pairs.groupby(CHECKPOINT, sort=False):
        gains = _gains(checkpoint_pairs, bootstrap, seed)
        for ability, members in _by_ability(gains).items():
            row = dict(zip(CHECKPOINT, key, strict=True))
            results.append({**row, "ability": ability, **_share(members, confidence)})
    return pd.DataFrame(results, columns=ABILITY_RETENTION_COLUMNS)


def _gains(pairs: pd.DataFrame, bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """Compute each benchmark's score above chance, (after, before), in the sample and in each resample."""
    gains: list[dict[str, Any]] = []
    for (benchmark, *_), documents in pairs.groupby(UNIT, sort=False):
        scores = documents[["score", "score_before"]].to_numpy(dtype=float) - documents["chance"].iloc[0]
        weight = float(documents["weight"].iloc[0])
        draws = weight * resampled_means(scores, bootstrap, seed + len(gains))
        gains.append(
            {
                "benchmark": benchmark,
                "ability": documents["ability"].iloc[0],
                "n": len(scores),
                "weight": weight,
                "gain": weight * scores.mean(axis=0),
                "draws": draws,
                "changed": bool((scores[:, 0] != scores[:, 1]).any()),
            }
        )
    return gains


def _by_ability(gains: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for gain in gains:
        ability = gain["ability"]
        groups.setdefault(ability, []).append(gain)
        if ability != SAFETY:
            groups.setdefault(ALL, []).append(gain)
    return groups


def _share(members: list[dict[str, Any]], confidence: float) -> dict[str, float | int]:
    after, before = sum(member["gain"] for member in members)
    draws = sum(member["draws"] for member in members)
    with np.errstate(divide="ignore", invalid="ignore"):
        # the share is undefined in a resample in which the unedited model is at chance
        shares = np.where(draws[:, 1] > 0, draws[:, 0] / draws[:, 1], np.nan)
    low, high = percentiles(shares, confidence)
    n = sum(member["n"] for member in members)
    if before > 0 and not any(member["changed"] for member in members):
        # no document changed, so every resample is equal: use Wilson's bound on the share of changes for 0 of n
        margin = wilson(0, n, confidence)[1] * sum(member["weight"] for member in members) / before
        low, high = 1 - float(margin), 1 + float(margin)
    return {
        "value": float(after / before) if before > 0 else float("nan"),
        "low": low,
        "high": high,
        "n": n,
        "n_benchmarks": len({member["benchmark"] for member in members}),
    }


def ability_retention_paths(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Average ability retention over orders at each number of edits: `orders.PATH_COLUMNS`, n and n_benchmarks."""
    by = ["model", "method", "edits", "ability"]
    counts = table.groupby(by, sort=False)[["n", "n_benchmarks"]].first().reset_index()
    return over_orders(table, by, confidence, shares=False).merge(counts, on=by)
