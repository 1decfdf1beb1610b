"""Sentences on specificity per kind of prompt, with the number of prompts that the unedited model knows.

A prompt is known if the unedited model answers it with a stable object of the right type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from edit_robustness.metrics.measures import METRICS

ALL_PROMPTS = {metric.name: metric.on_all_prompts for metric in METRICS if metric.on_all_prompts}
"""Metrics over known prompts, with the same metric over all prompts."""

ABOUT = {
    "neighbourhood": "other subjects of the same relation",
    "relation_specificity": "other relations of the same subject",
    "unrelated": "other subjects and relations",
}


def sentences(name: str, rows: pd.DataFrame) -> Iterator[str]:
    """Yield for each kind of specificity prompt how many the unedited model knows, and the rate over all of them.

    Args:
        name: The label of the method.
        rows: The free-generation rows of the headline table of one model and method.
    """
    for kind, about in ABOUT.items():
        metric_rows = _by_metric(rows[rows["kind"] == kind])
        if "specificity_all" not in metric_rows:
            continue
        all_prompts = metric_rows["specificity_all"]
        n_prompts, n_scored = n_asked(all_prompts), int(all_prompts["n_probes"])
        scope = (
            f"all {n_prompts:,}" if n_scored == n_prompts else f"the {n_scored:,} of {n_prompts:,} that could be scored"
        )
        on_all = f"{all_prompts['value']:.0%} of {scope} are unchanged" if n_scored else "no answer could be scored"
        known_prompts = metric_rows.get("specificity")
        known_text = f"0 known of {n_prompts:,}" if known_prompts is None else known_of(known_prompts, all_prompts)
        yield f"Prompts about {about}: {known_text}. With {name}, {on_all}."


def format_rate(rows: pd.DataFrame) -> str:
    """Return one figure of one kind in short: the rate, and the number of known prompts.

    Args:
        rows: metric, value, low, high, n_probes and n_asked of one kind, method and checkpoint under free generation.
    """
    metric_rows = _by_metric(rows)
    if "specificity_all" not in metric_rows:
        return "–"
    all_prompts, known_prompts = metric_rows["specificity_all"], metric_rows.get("specificity")
    if known_prompts is None or not n_asked(known_prompts):
        return f"none of {n_asked(all_prompts):,} known"
    rate = "–" if pd.isna(known_prompts["value"]) else _rate(known_prompts)
    return f"{rate} {known_of(known_prompts, all_prompts)}"


def n_asked(row: Mapping[Any, Any]) -> int:
    """Return the number of prompts of a row, including those whose answers could not be scored."""
    if "n_asked" in row:
        return int(row["n_asked"])
    return int(row["n_probes"] + row.get("n_missing", 0))


def known_of(known_prompts: Mapping[Any, Any], all_prompts: Mapping[Any, Any]) -> str:
    """Return the number of prompts that the unedited model knows, and the number scored if it is smaller."""
    number, n_scored = n_asked(known_prompts), int(known_prompts["n_probes"])
    text = f"{number:,} known of {n_asked(all_prompts):,}"
    return text if n_scored == number else f"{text}, {n_scored:,} of them scored"


def _by_metric(rows: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    return {row["metric"]: row for row in rows.to_dict("records")}


def _rate(row: Mapping[Any, Any]) -> str:
    return f"{row['value']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
