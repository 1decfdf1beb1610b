"""Answers to scores, in long form: one row for each answer, protocol and metric, with its value and unit.

Intervals and averages are not made here: every score can be traced to the answer that it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.metrics.known import is_known, named_object
from edit_robustness.metrics.measures import LOCALITY, METRICS, SHARE, Metric
from edit_robustness.metrics.outcomes import CUT, outcome
from edit_robustness.models.sentences import first_sentence
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
    baseline: str = "none",
    metrics: Sequence[Metric] = METRICS,
    judgements: pd.DataFrame | None = None,
    unedited_required: bool = True,
) -> pd.DataFrame:
    """The scores of a table of answers.

    Args:
        answers: Columns as `tables.answers_to_table` makes them, and those of `by`; any number of models and methods.
        by: Columns that together say which state of a model an answer comes from: ``method``, and others beside it
            where one method leaves several states, such as ``order`` and ``edits`` for the checkpoints of sequences.
        baseline: The method that leaves the model as it is, which specificity is measured against; its own is 1. The
            answer of each model to a probe is compared with the one of this method, whatever the other columns say.
        metrics: What is measured; see `metrics.measures`.
        judgements: Verdicts of a judge on some answers; see `metrics.judge`.
        unedited_required: Whether to refuse locality probes without an answer of the baseline. If not, what compares
            with that answer is NaN, of all prompts and of known ones: whether such a prompt is known is not known.

    Returns:
        `SCORE_COLUMNS`, with all of `by` in place of ``method``; `value` is 0.0 or 1.0 where the unit is ``share``, and
        NaN where it could not be measured.

    Raises:
        ValueError: If `by` lacks ``method`` or names a column that the answers lack, a locality probe has no answer of
            the baseline, a probe is answered twice, or a metric of shares gives another value than 0 and 1.
    """
    _check_columns(answers, by)
    cell = ["model", *by, "probe_id"]
    _refuse_duplicates(answers, cell, by)
    # whichever state it is said in, there is one answer of the unedited model to compare with
    _refuse_duplicates(answers[answers[METHOD] == baseline], ["model", "probe_id"], (METHOD,))
    said = _beside_unedited(_read(answers), baseline)
    if unedited_required:
        _require_baseline(said[said["family"].isin(LOCALITY)], baseline)
    said["judged"] = _judged(said, judgements, cell)
    keys = ["model", *by, *_PROBE]
    parts = [_long(said[said["family"].isin(metric.families)], metric, keys) for metric in metrics]
    return pd.concat(parts, ignore_index=True)[[*keys, *_VALUE]]


def _check_columns(answers: pd.DataFrame, by: Sequence[str]) -> None:
    if METHOD not in by:
        raise ValueError(f"by: {', '.join(by) or 'nothing'} lacks `{METHOD}`, which tells the unedited model apart")
    if lacking := [column for column in by if column not in answers]:
        raise ValueError(
            f"by: the table of answers has no column {', '.join(lacking)}; it has {', '.join(map(str, answers))}"
        )


def _read(answers: pd.DataFrame) -> pd.DataFrame:
    """Add the outcome of each answer, its first sentence and, for locality, whether it names a right object."""
    rows = answers.to_dict(orient="records")
    said = answers.reset_index(drop=True).assign(
        verdict=[outcome(row) for row in rows],
        sentence=[first_sentence(row["text"], _names(row)) for row in rows],
    )
    rows = said.to_dict(orient="records")
    named = pd.Series([named_object(row) if row["family"] in LOCALITY else "" for row in rows], dtype=object)
    return said.assign(
        # an answer that was cut after it named an object of the relation has said what it is compared by
        verdict=said["verdict"].mask((said["verdict"] == CUT) & (named != ""), "neither"),
        named=named,
        known=[row["family"] in LOCALITY and is_known(row) for row in rows],
    )


def _names(row: dict[Any, Any]) -> tuple[str, ...]:
    new = (row["target_new"], *read_names(row["target_new_aliases"]))
    return (*new, row["target_true"], *read_names(row["target_true_aliases"]), row["subject"])


def _beside_unedited(said: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Each answer beside what the unedited model said to the same probe."""
    columns = ["model", "probe_id", "verdict", "sentence", "named", "known"]
    unedited = said.loc[said["method"] == baseline, columns]
    return said.merge(unedited, how="left", on=["model", "probe_id"], suffixes=("", "_unedited"))


def _require_baseline(pairs: pd.DataFrame, baseline: str) -> None:
    lacking = pairs[pairs["verdict_unedited"].isna()]
    if len(lacking):
        models = ", ".join(sorted(lacking["model"].unique()))
        probes = lacking["probe_id"].unique()
        raise ValueError(
            f"specificity compares with the unedited model, but {len(probes)} locality probes of {models} have no "
            f"answer of the method {baseline!r} (the first: {probes[0]}): add `{baseline}: true` to each model in the "
            "grid"
        )


def _refuse_duplicates(answers: pd.DataFrame, cell: list[str], by: Sequence[str]) -> None:
    twice = answers[answers.duplicated(cell)]
    if len(twice):
        first = twice.iloc[0]
        state = ", ".join([str(first[METHOD]), *(f"{name} {first[name]}" for name in by if name != METHOD)])
        raise ValueError(
            f"{len(twice)} probes are answered twice, the first: {first['probe_id']} by {first['model']} with {state}"
        )


def _judged(said: pd.DataFrame, judgements: pd.DataFrame | None, cell: list[str]) -> pd.Series:
    if judgements is None:
        return pd.Series(None, index=said.index, dtype=object)
    merged = said[cell].merge(judgements[[*cell, "judged"]], how="left", on=cell, validate="one_to_one")["judged"]
    # a judge does not know that the answer would have gone on; that of a broken model would not have
    goes_on = ~said["finished"].to_numpy(dtype=bool) & np.isfinite(said["logprob_new"].to_numpy(dtype=float))
    return merged.mask((merged == "neither") & goes_on, CUT)


def _long(said: pd.DataFrame, metric: Metric, keys: list[str]) -> pd.DataFrame:
    values = metric.measure(said).astype(float)
    if metric.unit == SHARE and not values.dropna().isin([0.0, 1.0]).all():
        raise ValueError(
            f"the metric {metric.name} ({metric.protocol}) gives values other than 0 and 1: give it a `unit` in METRICS"
        )
    about = said.loc[values.index, [*keys, "decoding"]]
    return about.assign(protocol=metric.protocol, metric=metric.name, unit=metric.unit, value=values)
