"""Sentences on what makes the figures of a model doubtful."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from edit_robustness.labels import BASELINE, METHODS, in_order
from edit_robustness.report.answers.rankings import best_methods
from edit_robustness.report.answers.wording import join_texts, method_name
from edit_robustness.report.heat import MANY_CUT, failed_of


def list_cautions(headline: pd.DataFrame, rankings: pd.DataFrame) -> Iterator[str]:
    """Yield what makes the figures of one model doubtful: failed facts, and answers that were often cut.

    Args:
        headline: Rates per kind of prompt of one model.
        rankings: Rows of `rank_methods` of the model.
    """
    failure_counts = {str(method): failed_of(rows, None) for method, rows in headline.groupby("method", sort=False)}
    names = [
        f"{method_name(method)} ({failure_counts[method]})"
        for method in in_order(failure_counts, METHODS)
        if failure_counts[method]
    ]
    if names:
        yield f"Some facts could not be measured: {', '.join(names)}. Each figure is over the measured facts."
    methods = [*(row["method"] for row in best_methods(rankings)), BASELINE]
    is_cut = (headline["metric"] == "cut") & (headline["protocol"] == "free") & (headline["family"] == "edit")
    means = headline[is_cut & headline["method"].isin(methods)].groupby("method", observed=True)["value"].mean()
    shares = [f"{share:.0%} ({method_name(str(method))})" for method, share in means.items() if share > MANY_CUT]
    if shares:
        yield (
            f"These figures may be too low: the token limit cut {join_texts(shares)} of the answers before they named "
            "an object. Cut answers count as no success."
        )
