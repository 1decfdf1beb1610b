"""Popularity and prior knowledge: page views as a logarithm, known recall, and smooth curves of perplexity."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.nonparametric.smoothers_lowess import lowess


def log_views(page_views: pd.Series) -> pd.Series:
    """Return log10 of page views as floats; NaN if they are unknown or 0."""
    views = pd.to_numeric(page_views, errors="coerce").astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    positive_views = np.where(views > 0, views, np.nan)
    return pd.Series(np.log10(positive_views), index=page_views.index)


def recall_known(recall: pd.DataFrame) -> pd.DataFrame:
    """Select the facts whose recall is known: the token limit did not cut the answer before it named an object."""
    is_cut = recall.get("recall_cut")
    return recall if is_cut is None else recall[~is_cut.astype(bool)]


def trend(recall: pd.DataFrame, fraction: float = 2 / 3) -> pd.DataFrame:
    """Fit lowess curves of log10 perplexity of both objects over log10 page views.

    Returns:
        model, target ("true" or "new"), log_views, log_perplexity; no rows for fewer than ten facts.
    """
    views = log_views(recall["page_views"])
    curves = []
    for model, rows in recall.assign(log_views=views).groupby("model"):
        for target in ("true", "new"):
            table = pd.DataFrame({"x": rows["log_views"], "y": np.log10(rows[f"perplexity_{target}"].astype(float))})
            pairs = table.replace([np.inf, -np.inf], np.nan).dropna()
            if len(pairs) >= 10:
                curve = lowess(pairs["y"], pairs["x"], frac=fraction, return_sorted=True)
                points = pd.DataFrame(curve, columns=["log_views", "log_perplexity"]).drop_duplicates("log_views")
                curves.append(points.assign(model=model, target=target))
    columns = ["model", "target", "log_views", "log_perplexity"]
    return pd.concat(curves)[columns].reset_index(drop=True) if curves else pd.DataFrame(columns=columns)
