"""Number of edits that a model survives: Kaplan and Meier (1958) over orders of the same edits.

A model is measured only at checkpoints, so a loss is known to lie between two of them. Its time is taken to be the
later one. The curve is therefore the most favourable one that the checkpoints allow, and `survived` has the earlier
checkpoint.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight

from edit_robustness.statistics.abilities import NOT_FINITE
from edit_robustness.statistics.ability_retention import ALL

LOST_ABILITY = "loss"
LIFETIME_COLUMNS = ["model", "method", "order", "survived", "edits", "lost", "reason", "ability_retention"]
SURVIVAL_COLUMNS = ["model", "method", "edits", "at_risk", "events", "surviving", "low", "high", "n_orders"]


def lifetimes(ability_retention: pd.DataFrame, abilities: pd.DataFrame, loss: float) -> pd.DataFrame:
    """Find the first checkpoint at which too much was lost, for each model, method and order.

    Args:
        ability_retention: Output of `ability_retention.ability_retention`.
        abilities: Output of `abilities.abilities`.
        loss: The share of the general abilities above chance whose loss is the event.

    Returns:
        `LIFETIME_COLUMNS`: `lost` is whether the event occurred; `edits` is the checkpoint of the event, or the last
        one; `survived` is the last checkpoint before. `reason` is ``loss``, or ``not finite`` if a benchmark's figures
        are not finite, which is an event for any score. A model without a benchmark above chance cannot show a loss,
        and has no row.
    """
    edit_rows = abilities[abilities["edits"] > 0]
    general_shares = ability_retention[ability_retention["ability"] == ALL].set_index(
        ["model", "method", "order", "edits"]
    )["value"]
    rows = []
    for key, order_rows in edit_rows.groupby(["model", "method", "order"], sort=False):
        is_broken = order_rows.groupby("edits")["flag"].agg(lambda flags: NOT_FINITE in set(flags))
        shares = pd.Series(
            [float(general_shares.get((*key, edits), np.nan)) for edits in is_broken.index], is_broken.index
        )
        is_over = is_broken | (shares <= 1 - loss)
        if shares.isna().all() and not is_broken.any():
            continue
        end = int(is_over.idxmax() if is_over.any() else is_over.index[-1])  # type: ignore[arg-type]
        before = [0, *(int(edits) for edits in is_over.index if edits < end)]
        reason = NOT_FINITE if is_broken[end] else LOST_ABILITY
        rows.append(
            {
                **dict(zip(["model", "method", "order"], key, strict=True)),
                "survived": before[-1] if is_over.any() else end,
                "edits": end,
                "lost": bool(is_over.any()),
                "reason": reason if is_over.any() else "",
                "ability_retention": shares[end],
            }
        )
    return pd.DataFrame(rows, columns=LIFETIME_COLUMNS)


def survival(lives: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Estimate the Kaplan-Meier curve over orders for each model and method.

    Args:
        lives: Output of `lifetimes`.
        confidence: Level of the pointwise intervals (log-log transformed: Kalbfleisch and Prentice).

    Returns:
        `SURVIVAL_COLUMNS`: the share of orders that survive more than `edits` edits, from 0 edits on, with a last row
        if the last order was observed for longer. Bounds are NaN if the share is 1 or 0.
    """
    rows = [
        {"model": model, "method": method, **point}
        for (model, method), orders in lives.groupby(["model", "method"], sort=False)
        for point in _curve(orders["edits"].to_numpy(dtype=float), orders["lost"].to_numpy(dtype=int), confidence)
    ]
    return pd.DataFrame(rows, columns=SURVIVAL_COLUMNS)


def _curve(times: np.ndarray, losses: np.ndarray, confidence: float) -> list[dict[str, float | int]]:
    n, nan = len(times), float("nan")
    points = [{"edits": 0, "at_risk": n, "events": 0, "surviving": 1.0, "low": nan, "high": nan, "n_orders": n}]
    if losses.any():
        fit = SurvfuncRight(times, losses)
        for time, at_risk, events, share, error in zip(
            fit.surv_times, fit.n_risk, fit.n_events, fit.surv_prob, fit.surv_prob_se, strict=True
        ):
            low, high = _log_log(float(share), float(error), confidence)
            point = {"edits": int(time), "at_risk": int(at_risk), "events": int(events), "surviving": float(share)}
            points.append({**point, "low": low, "high": high, "n_orders": n})
    last = int(times.max())
    if last > points[-1]["edits"]:
        n_watched = int((times >= last).sum())
        points.append({**points[-1], "edits": last, "at_risk": n_watched, "events": 0})
    return points


def _log_log(share: float, error: float, confidence: float) -> tuple[float, float]:
    if not 0 < share < 1:
        return float("nan"), float("nan")
    spread = stats.norm.ppf((1 + confidence) / 2) * error / (share * np.log(share))
    return float(share ** np.exp(-spread)), float(share ** np.exp(spread))
