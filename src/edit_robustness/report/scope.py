"""The subject of a page in one line: the model, the data sets with their numbers of facts, and the methods."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from edit_robustness.labels import DATASETS, METHODS, NON_EDITS, in_order, label_of
from edit_robustness.report.answers.wording import join_texts
from edit_robustness.report.runs import count_facts
from edit_robustness.tables import select_rows


def describe_scope(
    model: str, runs: Iterable[Mapping[str, Any]], headline: pd.DataFrame, dataset_rates: pd.DataFrame
) -> str:
    """Return the model, the data and the methods of one model's results, in one line.

    Args:
        model: Name of the model.
        runs: The records of the runs, with `source` of the model and the number of facts if they are known.
        headline: model and method.
        dataset_rates: `statistics.comparisons.rates_by_dataset`.
    """
    runs = list(runs)
    methods = in_order(headline.loc[headline["model"] == model, "method"], METHODS)
    names = {
        is_edit: [label_of(method, METHODS) for method in methods if (method not in NON_EDITS) == is_edit]
        for is_edit in (True, False)
    }
    parts = [
        f"Model: {model}{_describe_source(runs, model)}",
        _describe_facts(select_rows(dataset_rates, model=model), count_facts(runs).get(model)),
        f"Methods: {join_texts(names[True])}" if names[True] else "",
        f"Compared with: {join_texts(names[False])}" if names[False] else "",
    ]
    return "".join(f"{part}. " for part in parts if part).rstrip()


def _describe_source(runs: Iterable[Mapping[str, Any]], model: str) -> str:
    """Return the last part of the model's source, which is the name that readers know."""
    sources = (str((record.get("models") or {}).get(model, {}).get("source") or "") for record in runs)
    source = next((source for source in sources if source), "")
    name = re.split(r"[/\\]", source)[-1].strip()
    return f" ({name})" if name and name != model else ""


def _describe_facts(dataset_rates: pd.DataFrame, n_facts: int | None) -> str:
    """Return the number of edited facts of each data set that has a name, or of all of them."""
    rows = select_rows(dataset_rates, outcome="recalled", protocol="free") if len(dataset_rates) else dataset_rates
    numbers = {str(row["dataset"]): int(row["n_facts"] + row["n_missing"]) for row in rows.to_dict("records")}
    texts = [f"{number:,} of {DATASETS.get(name) or f'the table “{name}”'}" for name, number in numbers.items() if name]
    if texts and "" not in numbers:
        return f"Facts: {join_texts(texts)}"
    return f"Facts: {n_facts:,}" if n_facts else ""
