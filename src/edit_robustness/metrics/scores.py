"""Scores of answers in long form: one row per answer, protocol and metric, with its value and unit.

Averages and intervals are computed elsewhere, so every score can be traced to its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.metrics.known import is_known, named_object
from edit_robustness.metrics.measures import METRICS, SHARE, SPECIFICITY_FAMILY, Metric
from edit_robustness.metrics.outcomes import CUT, outcome
from edit_robustness.models.sentences import first_sentence
from edit_robustness.records import UNEDITED
from edit_robustness.tables import read_names

METHOD = "method"
_PROBE = ["fact_id", "probe_id", "kind", "family"]
_VALUE = ["decoding", "protocol", "metric", "unit", "value"]
KEYS = ["model", METHOD, *_PROBE]
SCORE_COLUMNS = [*KEYS, *_VALUE]


def score_answers(
    answers: pd.DataFrame,
    *,
    by: Sequence[str] = (METHOD,),
    unedited_method: str = UNEDITED,
    metrics: Sequence[Metric] = METRICS,
    judgements: pd.DataFrame | None = None,
    unedited_required: bool = True,
) -> pd.DataFrame:
    """Score a table of answers.

    Args:
        answers: Answers with the columns of `tables.answers_to_table` and those of `by`, for any number of models.
        by: Columns that together identify the state of a model that an answer comes from: ``method``, and others if
            one method leaves several states, such as ``order`` and ``edits`` for the checkpoints of sequences.
        unedited_method: The method that stands for the unedited model. Specificity is measured against it, so its own
            is 1. The answer of each model to a probe is compared with the one of this method, whatever the other
            columns.
        metrics: The metrics to compute (`metrics.measures`).
        judgements: Verdicts of a judge on some answers (`metrics.judge`).
        unedited_required: Whether to refuse specificity probes without an answer of the unedited model. If False,
            metrics that compare with that answer are NaN, both over all prompts and over known ones, because it is
            unknown whether the unedited model knows the prompt.

    Returns:
        `SCORE_COLUMNS`, with all of `by` in place of ``method``; `value` is 0.0 or 1.0 if the unit is ``share``, and
        NaN if it could not be measured.

    Raises:
        ValueError: If `by` lacks ``method`` or names a column that the answers lack, a specificity probe has no
            answer of the unedited model, a probe is answered twice, or a metric with the unit ``share`` gives a value
            other than 0 and 1.
    """
    _check_columns(answers, by)
    cell = ["model", *by, "probe_id"]
    _refuse_duplicates(answers, cell, by)
    # the unedited model has one answer to each probe, whichever state of the model is compared with it
    _refuse_duplicates(answers[answers[METHOD] == unedited_method], ["model", "probe_id"], (METHOD,))
    rows = _beside_unedited(_read(answers), unedited_method)
    if unedited_required:
        _require_unedited(rows[rows["family"].isin(SPECIFICITY_FAMILY)], unedited_method)
    rows["judged"] = _find_verdicts(rows, judgements, cell)
    keys = ["model", *by, *_PROBE]
    parts = [_long(rows[rows["family"].isin(metric.families)], metric, keys) for metric in metrics]
    return pd.concat(parts, ignore_index=True)[[*keys, *_VALUE]]


def _check_columns(answers: pd.DataFrame, by: Sequence[str]) -> None:
    if METHOD not in by:
        raise ValueError(f"by: {', '.join(by) or 'nothing'} lacks `{METHOD}`, which identifies the unedited model")
    if missing_columns := [column for column in by if column not in answers]:
        raise ValueError(
            f"by: the table of answers has no column {', '.join(missing_columns)}; it has "
            f"{', '.join(map(str, answers))}"
        )


def _read(answers: pd.DataFrame) -> pd.DataFrame:
    """Add each answer's outcome, its first sentence and, for specificity, whether it names a right object."""
    rows = answers.to_dict(orient="records")
    table = answers.reset_index(drop=True).assign(
        verdict=[outcome(row) for row in rows],
        sentence=[first_sentence(row["text"], _names(row)) for row in rows],
    )
    rows = table.to_dict(orient="records")
    objects = pd.Series(
        [named_object(row) if row["family"] in SPECIFICITY_FAMILY else "" for row in rows], dtype=object
    )
    return table.assign(
        # a cut answer that already named an object of the relation can be compared by that object
        verdict=table["verdict"].mask((table["verdict"] == CUT) & (objects != ""), "neither"),
        named=objects,
        known=[row["family"] in SPECIFICITY_FAMILY and is_known(row) for row in rows],
    )


def _names(row: dict[Any, Any]) -> tuple[str, ...]:
    new = (row["target_new"], *read_names(row["target_new_aliases"]))
    return (*new, row["target_true"], *read_names(row["target_true_aliases"]), row["subject"])


def _beside_unedited(rows: pd.DataFrame, unedited_method: str) -> pd.DataFrame:
    """Add the unedited model's answer to the same probe to each answer."""
    columns = ["model", "probe_id", "verdict", "sentence", "named", "known"]
    unedited_rows = rows.loc[rows["method"] == unedited_method, columns]
    return rows.merge(unedited_rows, how="left", on=["model", "probe_id"], suffixes=("", "_unedited"))


def _require_unedited(pairs: pd.DataFrame, unedited_method: str) -> None:
    missing_pairs = pairs[pairs["verdict_unedited"].isna()]
    if len(missing_pairs):
        models = ", ".join(sorted(missing_pairs["model"].unique()))
        probes = missing_pairs["probe_id"].unique()
        raise ValueError(
            f"specificity compares with the unedited model, but {len(probes)} specificity probes of {models} have no "
            f"answer of the method {unedited_method!r} (the first: {probes[0]}): add `{unedited_method}: true` to each "
            "model in the grid"
        )


def _refuse_duplicates(answers: pd.DataFrame, cell: list[str], by: Sequence[str]) -> None:
    duplicates = answers[answers.duplicated(cell)]
    if len(duplicates):
        first = duplicates.iloc[0]
        state = ", ".join([str(first[METHOD]), *(f"{name} {first[name]}" for name in by if name != METHOD)])
        raise ValueError(
            f"{len(duplicates)} probes are answered twice, the first: {first['probe_id']} by {first['model']} with "
            f"{state}"
        )


def _find_verdicts(rows: pd.DataFrame, judgements: pd.DataFrame | None, cell: list[str]) -> pd.Series:
    if judgements is None:
        return pd.Series(None, index=rows.index, dtype=object)
    verdicts = rows[cell].merge(judgements[[*cell, "judged"]], how="left", on=cell, validate="one_to_one")["judged"]
    # the judge cannot see that an answer was cut; with non-finite log-probabilities more tokens would change nothing
    continues_name = ~rows["finished"].to_numpy(dtype=bool) & np.isfinite(rows["logprob_new"].to_numpy(dtype=float))
    return verdicts.mask((verdicts == "neither") & continues_name, CUT)


def _long(rows: pd.DataFrame, metric: Metric, keys: list[str]) -> pd.DataFrame:
    values = metric.measure(rows).astype(float)
    if metric.unit == SHARE and not values.dropna().isin([0.0, 1.0]).all():
        raise ValueError(
            f"the metric {metric.name} ({metric.protocol}) gives values other than 0 and 1: give it a `unit` in METRICS"
        )
    about = rows.loc[values.index, [*keys, "decoding"]]
    return about.assign(protocol=metric.protocol, metric=metric.name, unit=metric.unit, value=values)
