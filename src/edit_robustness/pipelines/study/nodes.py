"""Nodes of study: the tables of a run without texts, so that they are small and contain no sentence of others."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.tables import answers_to_table

TABLES = ("scores", "edited_facts", "recall", "features", "feature_summary", "failed_items", "rejects")
"""The tables that the analysis starts from, beside the records of the runs."""

_FACT_COLUMNS = (
    *("model", "id", "subject", "relation", "target_true", "target_new", "page_views", "page_views_source"),
    *("dataset", "weight"),
)
"""Columns of the edited facts that are figures or names."""

_TIMES = ("started", "finished", "seconds", "cpu_seconds")
"""Entries of a record about its last command only: a study is computed in several, and its tables may be joined."""


def export_tables(
    runs: list[dict[str, Any]], fitted_predictor: dict[str, Any], **tables: pd.DataFrame
) -> tuple[dict[str, pd.DataFrame], list[dict[str, Any]], dict[str, Any]]:
    """Return what is kept of a run: its tables by name, the records of its models, and its predictor.

    The facts are without prompts. Scores have single precision, which is that of the model.
    """
    scores, facts = tables["scores"], tables["edited_facts"]
    kept_facts = facts[[name for name in _FACT_COLUMNS if name in facts]]
    kept_scores = scores.assign(value=scores["value"].astype(np.float32))
    return {**tables, "scores": kept_scores, "edited_facts": kept_facts}, _drop_times(runs), fitted_predictor


def _drop_times(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records without the time of a command, which is not that of the study."""
    return [{name: value for name, value in record.items() if name not in _TIMES} for record in runs]


def read_tables(tables: Mapping[str, Callable[[], pd.DataFrame]], runs: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Return `TABLES` in their order, the records of the models, and a table of answers, which is empty.

    Records that an older version kept have the time of their last command, which is left out.

    Raises:
        ValueError: If a table is missing.
    """
    if missing_names := [name for name in TABLES if name not in tables]:
        raise ValueError(
            f"the tables of the study lack {', '.join(missing_names)}: run `kedro run --env=study "
            "--pipeline=export_study` after the study, or get the files of this release again"
        )
    scores, *other_tables = [tables[name]() for name in TABLES]
    return (
        scores.assign(value=scores["value"].astype(float)),
        *other_tables,
        _drop_times(runs),
        answers_to_table([], model="", method=""),
    )
