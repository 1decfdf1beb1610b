"""How much of what a model could do above chance it still does: one figure for a checkpoint, and one for each ability.

A benchmark on which the unedited model is no better than chance can show no loss, and is left out; the others weigh as
much as they rise above chance. Safety is no general ability, and stands for itself.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from edit_robustness.labels import ability_of
from edit_robustness.statistics.abilities import FINE
from edit_robustness.statistics.documents import CHECKPOINT, UNEDITED, UNIT, beside_unedited, lower_is_better
from edit_robustness.statistics.intervals import wilson
from edit_robustness.statistics.orders import over_orders
from edit_robustness.statistics.resampling import percentiles, resampled_means

ALL, SAFETY = "all", "safety"
KEPT_COLUMNS = [*CHECKPOINT, "ability", "value", "low", "high", "n", "n_benchmarks"]


def kept(
    rows: pd.DataFrame, abilities: pd.DataFrame, confidence: float = 0.95, bootstrap: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The share of the score above chance that is left: sum of (after - chance) over sum of (before - chance).

    Args:
        rows: What `documents.measured` gives.
        abilities: What `abilities.abilities` gives; the unedited model's verdicts say which benchmarks count.
        confidence: Level of the intervals.
        bootstrap: Resamples of documents, drawn in each benchmark for both models together.
        seed: Of the resampling.

    Returns:
        `KEPT_COLUMNS`, for each kind of ability and for all general ones together (``all``): 1 says that nothing was
        lost, 0 that nothing is left above chance, less that the model is below chance. `n` counts documents.
        Checkpoints of a model without any benchmark above chance have no rows.
    """
    fine = abilities[(abilities["method"] == UNEDITED) & (abilities["verdict"] == FINE)]
    fine = fine[~fine["metric"].map(lower_is_better).astype(bool)]
    counted = fine[["model", *UNIT, "chance"]].fillna({"chance": 0.0})
    weights = 1 / counted.groupby(["model", "benchmark"])["metric"].transform("size")
    pairs = beside_unedited(rows).merge(counted.assign(weight=weights), on=["model", *UNIT])
    found = []
    for key, own in pairs.groupby(CHECKPOINT, sort=False):
        gains = _gains(own, bootstrap, seed)
        for ability, members in _by_ability(gains).items():
            row = dict(zip(CHECKPOINT, key, strict=True))
            found.append({**row, "ability": ability, **_share(members, confidence)})
    return pd.DataFrame(found, columns=KEPT_COLUMNS)


def _gains(own: pd.DataFrame, bootstrap: int, seed: int) -> list[dict]:
    """For each benchmark what lies above chance, (after, before), as it is and in each resample."""
    gains: list[dict] = []
    for (benchmark, *_), documents in own.groupby(UNIT, sort=False):
        scores = documents[["score", "score_before"]].to_numpy(dtype=float) - documents["chance"].iloc[0]
        weight = float(documents["weight"].iloc[0])
        drawn = weight * resampled_means(scores, bootstrap, seed + len(gains))
        gains.append(
            {
                "benchmark": benchmark,
                "n": len(scores),
                "weight": weight,
                "gain": weight * scores.mean(axis=0),
                "drawn": drawn,
                "changed": bool((scores[:, 0] != scores[:, 1]).any()),
            }
        )
    return gains


def _by_ability(gains: list[dict]) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for gain in gains:
        ability = ability_of(gain["benchmark"])
        groups.setdefault(ability, []).append(gain)
        if ability != SAFETY:
            groups.setdefault(ALL, []).append(gain)
    return groups


def _share(members: list[dict], confidence: float) -> dict[str, float | int]:
    after, before = sum(member["gain"] for member in members)
    drawn = sum(member["drawn"] for member in members)
    with np.errstate(divide="ignore", invalid="ignore"):
        # a resample in which the unedited model is at chance has no share
        shares = np.where(drawn[:, 1] > 0, drawn[:, 0] / drawn[:, 1], np.nan)
    low, high = percentiles(shares, confidence)
    n = sum(member["n"] for member in members)
    if before > 0 and not any(member["changed"] for member in members):
        # no document changed, so resampling knows no spread: as many as may have gone unseen (Wilson's, 0 of n)
        unseen = wilson(0, n, confidence)[1] * sum(member["weight"] for member in members) / before
        low, high = 1 - float(unseen), 1 + float(unseen)
    return {
        "value": float(after / before) if before > 0 else float("nan"),
        "low": low,
        "high": high,
        "n": n,
        "n_benchmarks": len({member["benchmark"] for member in members}),
    }


def kept_paths(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """What is left against the number of edits, over orders: `orders.PATH_COLUMNS`, n and n_benchmarks."""
    by = ["model", "method", "edits", "ability"]
    counts = table.groupby(by, sort=False)[["n", "n_benchmarks"]].first().reset_index()
    return over_orders(table, by, confidence, shares=False).merge(counts, on=by)
