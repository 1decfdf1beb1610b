"""Popularity against memorisation, made ready for figures: rates in decades of page views, and a smooth curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.nonparametric.smoothers_lowess import lowess

from edit_robustness.statistics.intervals import proportion


def log_views(page_views: pd.Series) -> pd.Series:
    """log10 of page views as floats; unknown (or none at all, whose logarithm does not exist) is NaN."""
    views = pd.to_numeric(page_views, errors="coerce").astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    known = np.where(views > 0, views, np.nan)
    return pd.Series(np.log10(known), index=page_views.index)


def recall_known(memorisation: pd.DataFrame) -> pd.DataFrame:
    """The facts of which recall is known: a limit of tokens did not cut the answer before it named an object."""
    cut = memorisation.get("recall_cut")
    return memorisation if cut is None else memorisation[~cut.astype(bool)]


def recall_by_decade(memorisation: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Share of facts recalled without an edit, by decade of page views; a decade without facts has no row.

    Facts whose answer was cut before it named an object are left out.

    Returns:
        model, decade (k for views from 10^k to 10^(k+1)), centre (mean log10 views there), value, low, high, n_facts.
    """
    known = memorisation.assign(log_views=log_views(memorisation["page_views"])).dropna(subset=["log_views"])
    known = recall_known(known)
    known = known.assign(decade=np.floor(known["log_views"]).astype(int))
    rows = []
    for (model, decade), group in known.groupby(["model", "decade"], sort=True):
        rate = proportion(group["recalled"].astype(float).to_numpy(), group["subject"].to_numpy(), confidence)
        centre = group["log_views"].mean()
        rows.append((model, decade, centre, rate.value, rate.low, rate.high, rate.n))
    return pd.DataFrame(rows, columns=["model", "decade", "centre", "value", "low", "high", "n_facts"])


def trend(memorisation: pd.DataFrame, fraction: float = 2 / 3) -> pd.DataFrame:
    """Lowess curves of log10 perplexity of both objects over log10 page views.

    Returns:
        model, target ("true" or "new"), log_views, log_perplexity; no rows for fewer than ten facts.
    """
    views = log_views(memorisation["page_views"])
    curves = []
    for model, rows in memorisation.assign(log_views=views).groupby("model"):
        for target in ("true", "new"):
            table = pd.DataFrame({"x": rows["log_views"], "y": np.log10(rows[f"perplexity_{target}"].astype(float))})
            known = table.replace([np.inf, -np.inf], np.nan).dropna()
            if len(known) >= 10:
                curve = lowess(known["y"], known["x"], frac=fraction, return_sorted=True)
                points = pd.DataFrame(curve, columns=["log_views", "log_perplexity"]).drop_duplicates("log_views")
                curves.append(points.assign(model=model, target=target))
    columns = ["model", "target", "log_views", "log_perplexity"]
    return pd.concat(curves)[columns].reset_index(drop=True) if curves else pd.DataFrame(columns=columns)
