"""How many edits a model survives: Kaplan and Meier (1958) over orders of the same edits.

A model is measured at checkpoints only, so a loss is known to lie between two of them; its time is taken to be the
later one. The curve is therefore the most favourable that the checkpoints allow, and `survived` has the other end.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight

from edit_robustness.statistics.abilities import NOT_FINITE
from edit_robustness.statistics.kept import ALL

LOST_ABILITY = "loss"
LIFETIME_COLUMNS = ["model", "method", "order", "survived", "edits", "lost", "reason", "kept"]
SURVIVAL_COLUMNS = ["model", "method", "edits", "at_risk", "events", "surviving", "low", "high", "n_orders"]


def lifetimes(kept: pd.DataFrame, abilities: pd.DataFrame, loss: float) -> pd.DataFrame:
    """For each model, method and order the first checkpoint at which too much was lost.

    Args:
        kept: What `kept.kept` gives.
        abilities: What `abilities.abilities` gives.
        loss: The share of the general abilities above chance whose loss is the end.

    Returns:
        `LIFETIME_COLUMNS`: `lost` says whether it came to that; `edits` is the checkpoint at which it had, or the last
        one; `survived` the last checkpoint before. `reason` is ``loss``, or ``not finite`` where a benchmark's figures
        are not finite, which ends a life whatever the scores say. A model that has no benchmark above chance can show
        no loss, and has no row.
    """
    edited = abilities[abilities["edits"] > 0]
    whole = kept[kept["ability"] == ALL].set_index(["model", "method", "order", "edits"])["value"]
    rows = []
    for key, own in edited.groupby(["model", "method", "order"], sort=False):
        broken = own.groupby("edits")["verdict"].agg(lambda verdicts: NOT_FINITE in set(verdicts))
        left = pd.Series([float(whole.get((*key, edits), np.nan)) for edits in broken.index], broken.index)
        ended = broken | (left <= 1 - loss)
        if left.isna().all() and not broken.any():
            continue
        end = int(ended.idxmax() if ended.any() else ended.index[-1])  # type: ignore[arg-type]
        before = [0, *(int(edits) for edits in ended.index if edits < end)]
        reason = NOT_FINITE if broken[end] else LOST_ABILITY
        rows.append(
            {
                **dict(zip(["model", "method", "order"], key, strict=True)),
                "survived": before[-1] if ended.any() else end,
                "edits": end,
                "lost": bool(ended.any()),
                "reason": reason if ended.any() else "",
                "kept": left[end],
            }
        )
    return pd.DataFrame(rows, columns=LIFETIME_COLUMNS)


def survival(lives: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The Kaplan-Meier curve over orders for each model and method.

    Args:
        lives: What `lifetimes` gives.
        confidence: Level of the pointwise intervals (log-log transformed: Kalbfleisch and Prentice).

    Returns:
        `SURVIVAL_COLUMNS`: the share of orders that survive more than `edits` edits, from 0 edits on; a last row where
        the last order was watched longer. Bounds are NaN where the share is 1 or 0.
    """
    rows = [
        {"model": model, "method": method, **point}
        for (model, method), own in lives.groupby(["model", "method"], sort=False)
        for point in _curve(own["edits"].to_numpy(dtype=float), own["lost"].to_numpy(dtype=int), confidence)
    ]
    return pd.DataFrame(rows, columns=SURVIVAL_COLUMNS)


def _curve(times: np.ndarray, lost: np.ndarray, confidence: float) -> list[dict[str, float | int]]:
    n, nan = len(times), float("nan")
    points = [{"edits": 0, "at_risk": n, "events": 0, "surviving": 1.0, "low": nan, "high": nan, "n_orders": n}]
    if lost.any():
        fitted = SurvfuncRight(times, lost)
        for time, at_risk, events, share, error in zip(
            fitted.surv_times, fitted.n_risk, fitted.n_events, fitted.surv_prob, fitted.surv_prob_se, strict=True
        ):
            low, high = _log_log(float(share), float(error), confidence)
            point = {"edits": int(time), "at_risk": int(at_risk), "events": int(events), "surviving": float(share)}
            points.append({**point, "low": low, "high": high, "n_orders": n})
    last = int(times.max())
    if last > points[-1]["edits"]:
        watched = int((times >= last).sum())
        points.append({**points[-1], "edits": last, "at_risk": watched, "events": 0})
    return points


def _log_log(share: float, error: float, confidence: float) -> tuple[float, float]:
    if not 0 < share < 1:
        return float("nan"), float("nan")
    spread = stats.norm.ppf((1 + confidence) / 2) * error / (share * np.log(share))
    return float(share ** np.exp(-spread)), float(share ** np.exp(spread))
