"""Sentences on how well success is predicted before the edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan

import pandas as pd

from edit_robustness.labels import DATASETS, label_of
from edit_robustness.report.answers.wording import Row, write_interval, write_rate
from edit_robustness.report.rows import records


def describe_prediction(prediction: pd.DataFrame) -> str:
    """Return whether the features of a fact predict success better than its method and kind of prompt."""
    rows = records(prediction)
    full = [
        row for row in rows if row["predictor"] == "full" and row["metric"] == "auc_within" and not row["trained_on"]
    ]
    if not rows:
        return "Success was not predicted before the edit."
    if not full or isnan(full[0]["value"]):
        return f"Whether success can be predicted before the edit is unknown: {rows[0]['note'] or 'no figure'}."
    row = full[0]
    slope = next((other for other in rows if _is_slope(other)), None)
    cautions = [describe_slope(slope) if slope else "", *_describe_transfer(rows)]
    caution = "".join(f" {text}" for text in cautions if text)
    figure = (
        f"AUC within method and kind {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}], "
        f"{int(row['n_facts'])} facts on held-out {row['groups']}s"
    )
    if row["note"] or isnan(row["low"]):
        reason = row["note"] or "no interval"
        return f"Whether success can be predicted before the edit cannot be told ({reason}; {figure})."
    if row["low"] > 0.5:
        phrase = "predict success beyond"
    elif row["high"] < 0.5:
        phrase = "predict success worse than a constant does, beyond"
    else:
        phrase = "do not predict success significantly beyond"
    return f"The features of a fact {phrase} method and kind of prompt ({figure}; 0.5 is chance).{caution}"


def describe_slope(row: Row) -> str:
    """Return the caution about a calibration slope whose interval excludes 1; empty for other slopes."""
    if isnan(row["low"]) or row["low"] <= 1 <= row["high"]:
        return ""
    fault = "too far from" if row["high"] < 1 else "too close to"
    return (
        f"Its probabilities are not calibrated: they are {fault} the mean (calibration slope {row['value']:.2f} "
        f"[{row['low']:.2f}, {row['high']:.2f}]; 1 is right)."
    )


def _describe_transfer(rows: Sequence[Row]) -> Iterator[str]:
    """Yield from which data set or model to which other one the predictor does no better than chance."""
    for row in rows:
        is_transfer = row["trained_on"] and row["predictor"] == "full" and row["metric"] == "auc_within"
        if is_transfer and row["low"] <= 0.5:
            names = [label_of(str(row[name]), DATASETS) for name in ("trained_on", "tested_on")]
            yield (
                f"Trained on {names[0]} and tested on {names[1]}, they do not do so significantly "
                f"(AUC {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}])."
            )


def _is_slope(row: Row) -> bool:
    return row["predictor"] == "full" and row["metric"] == "calibration_slope" and not row["trained_on"]


def describe_predictor(held_out: Mapping[str, Row], groups: str) -> Iterator[str]:
    """Yield how well a predictor did on facts that it was not trained on.

    Args:
        held_out: value, low and high by metric: auc_within and brier_skill_method_kind, if known.
        groups: What those facts share nothing of.
    """
    auc, skill = held_out.get("auc_within"), held_out.get("brier_skill_method_kind")
    if auc:
        chance = (
            "better than"
            if auc["low"] > 0.5
            else "worse than"
            if auc["high"] < 0.5
            else "not significantly different from"
        )
        yield (
            f"On {groups}s that it was not trained on, it ranks a probe that succeeds above one that fails, of the "
            f"same method and kind, in {write_rate(auc)} of the pairs: {chance} chance, which is 50%."
        )
    if skill:
        size = f"{abs(skill['value']):.0%} {write_interval(skill, -1 if skill['value'] < 0 else 1)}"
        change = "smaller" if skill["value"] >= 0 else "larger"
        note = "" if skill["low"] > 0 or skill["high"] < 0 else ", not significantly different from 0"
        yield (
            f"Its squared error is {size} {change} than that of a predictor with the method and the kind of prompt "
            f"alone{note}."
        )
