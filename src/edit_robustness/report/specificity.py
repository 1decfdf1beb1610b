"""Say what an edit leaves as it is, kind by kind, with how many prompts the unedited model could answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from edit_robustness.metrics.measures import METRICS

ALL_PROMPTS = {metric.name: metric.on_all_prompts for metric in METRICS if metric.on_all_prompts}
"""For a metric over known prompts the same metric over all prompts."""

_ABOUT = {
    "neighbourhood": "other subjects of the same relation",
    "relation_specificity": "other relations of the same subject",
    "unrelated": "other subjects and relations",
}


def sentences(name: str, rows: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each kind of specificity that was asked.

    Args:
        name: What the method is called.
        rows: The free-generation rows of the headline table of one model and method.
    """
    for kind, about in _ABOUT.items():
        own = _by_metric(rows[rows["kind"] == kind])
        if "locality_all" not in own:
            continue
        everything = own["locality_all"]
        asked, scored = n_asked(everything), int(everything["n_probes"])
        some = f"all {asked}" if scored == asked else f"the {scored} of {asked} that could be scored"
        on_all = f"of {some} it leaves {everything['value']:.0%} as they were" if scored else "none could be scored"
        known = own.get("locality")
        if known is None or not n_asked(known):
            yield (
                f"The unedited model answers none of the {asked} prompts about {about} with a stable object of the "
                f"right type, so whether {name} leaves knowledge there alone cannot be said; {on_all}."
            )
        elif pd.isna(known["value"]):
            yield (
                f"Whether {name} leaves the answers about {about} alone cannot be said: no answer to a prompt that the "
                f"unedited model knows could be scored ({known_of(known, everything)}; {on_all})."
            )
        else:
            yield (
                f"{name} leaves {_rate(known)} of the answers about {about} as they were "
                f"({known_of(known, everything)}; {on_all})."
            )


def shown(rows: pd.DataFrame) -> str:
    """Return one figure of one kind in short: the rate, and how many prompts were known of how many.

    Args:
        rows: metric, value, low, high, n_probes and n_asked of one kind, method and checkpoint under free generation.
    """
    own = _by_metric(rows)
    if "locality_all" not in own:
        return "–"
    everything, known = own["locality_all"], own.get("locality")
    if known is None or not n_asked(known):
        return f"none of {n_asked(everything)} known"
    rate = "–" if pd.isna(known["value"]) else _rate(known)
    return f"{rate} {known_of(known, everything)}"


def n_asked(row: Mapping[Any, Any]) -> int:
    """Return how many prompts a row is about; those whose answers could not be scored are among them."""
    if "n_asked" in row:
        return int(row["n_asked"])
    return int(row["n_probes"] + row.get("n_missing", 0))


def known_of(known: Mapping[Any, Any], everything: Mapping[Any, Any]) -> str:
    """Return how many of all prompts the unedited model knows, and how many of those were scored if not all were."""
    number, scored = n_asked(known), int(known["n_probes"])
    text = f"{number} known of {n_asked(everything)}"
    return text if scored == number else f"{text}, {scored} of them scored"


def _by_metric(rows: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    return {row["metric"]: row for row in rows.to_dict("records")}


def _rate(row: Mapping[Any, Any]) -> str:
    return f"{row['value']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
