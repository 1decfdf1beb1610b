"""Prior knowledge over popularity: facts whose recall is known, and smooth curves of perplexity over page views."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.nonparametric.smoothers_lowess import lowess


def recall_known(recall: pd.DataFrame) -> pd.DataFrame:
    """Select the facts whose recall is known: the token limit did not cut the answer before it named an object."""
    is_cut = recall.get("recall_cut")
    return recall if is_cut is None else recall[~is_cut.astype(bool)]


def trend(features: pd.DataFrame, fraction: float = 2 / 3) -> pd.DataFrame:
    """Fit lowess curves of log10 perplexity of both objects over log10 page views.

    Args:
        features: model, log_views, perplexity_true and perplexity_new of each fact.
        fraction: Share of the facts that each point of a curve is fitted to.

    Returns:
        model, target ("true" or "new"), log_views, log_perplexity; no rows for fewer than ten facts.
    """
    curves = []
    for model, rows in features.groupby("model"):
        for target in ("true", "new"):
            table = pd.DataFrame({"x": rows["log_views"], "y": np.log10(rows[f"perplexity_{target}"].astype(float))})
            pairs = table.replace([np.inf, -np.inf], np.nan).dropna()
            if len(pairs) >= 10:
                curve = lowess(pairs["y"], pairs["x"], frac=fraction, return_sorted=True)
                points = pd.DataFrame(curve, columns=["log_views", "log_perplexity"]).drop_duplicates("log_views")
                curves.append(points.assign(model=model, target=target))
    columns = ["model", "target", "log_views", "log_perplexity"]
    return pd.concat(curves)[columns].reset_index(drop=True) if curves else pd.DataFrame(columns=columns)
