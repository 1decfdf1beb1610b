"""Sentences on specificity per kind of prompt, with the number of prompts that the unedited model knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from edit_robustness.metrics.measures import METRICS

ALL_PROMPTS = {metric.name: metric.on_all_prompts for metric in METRICS if metric.on_all_prompts}
"""Metrics over known prompts, with the same metric over all prompts."""

_ABOUT = {
    "neighbourhood": "other subjects of the same relation",
    "relation_specificity": "other relations of the same subject",
    "unrelated": "other subjects and relations",
}


def sentences(name: str, rows: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each kind of specificity probe.

    Args:
        name: The label of the method.
        rows: The free-generation rows of the headline table of one model and method.
    """
    for kind, about in _ABOUT.items():
        metric_rows = _by_metric(rows[rows["kind"] == kind])
        if "specificity_all" not in metric_rows:
            continue
        all_prompts = metric_rows["specificity_all"]
        n_prompts, n_scored = n_asked(all_prompts), int(all_prompts["n_probes"])
        scope = f"all {n_prompts}" if n_scored == n_prompts else f"the {n_scored} of {n_prompts} that could be scored"
        on_all = f"{all_prompts['value']:.0%} of {scope} are unchanged" if n_scored else "no answer could be scored"
        known_prompts = metric_rows.get("specificity")
        if known_prompts is None or not n_asked(known_prompts):
            yield (
                f"The unedited model answers none of the {n_prompts} prompts about {about} with a stable object of the "
                f"right type, so the specificity of {name} cannot be measured there; {on_all}."
            )
        elif pd.isna(known_prompts["value"]):
            yield (
                f"The specificity of {name} on {about} cannot be measured: no answer to a prompt that the unedited "
                f"model knows could be scored ({known_of(known_prompts, all_prompts)}; {on_all})."
            )
        else:
            yield (
                f"Specificity of {name}: {_rate(known_prompts)} of the answers about {about} are unchanged "
                f"({known_of(known_prompts, all_prompts)}; {on_all})."
            )


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
        return f"none of {n_asked(all_prompts)} known"
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
    text = f"{number} known of {n_asked(all_prompts)}"
    return text if n_scored == number else f"{text}, {n_scored} of them scored"


def _by_metric(rows: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    return {row["metric"]: row for row in rows.to_dict("records")}


def _rate(row: Mapping[Any, Any]) -> str:
    return f"{row['value']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
