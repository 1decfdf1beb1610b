"""Advice on facts that are not edited yet, from the predictions of edits."""

from __future__ import annotations

import pandas as pd

from edit_robustness.labels import EDIT, LEAVE_ALONE, NOT_MEASURED

_ABOUT = ["model", "fact_id", "subject", "relation", "target_true", "target_new"]
ADVICE_COLUMNS = [
    *_ABOUT,
    *("advice", "method", "probability", "weakest_kind", "weakest_probability", "drivers", "outside", "missing"),
]
"""Columns of the table of advice, before one with the probability under each method, ``probability_<method>``."""


def advise(predictions: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Say for each fact of one model whether to edit it, and by which method.

    The probability of a method is the mean over its kinds of prompt, in which families weigh the same, and the kinds of
    a family weigh the same. A fact is worth editing if there is a method for which the mean of each family reaches the
    threshold; of these the most probable one is named. Otherwise the most probable of all is.

    Args:
        predictions: model, fact_id, subject, relation, target_true, target_new, method, kind, family, probability,
            drivers, outside and missing: one row per fact, method and kind.
        threshold: Least mean probability of each family.

    Returns:
        `ADVICE_COLUMNS` and ``probability_<method>`` per method, a row per fact, the most promising first. The weakest
        kind and the drivers are those of the named method; drivers are those of the fact's first kind of the family
        edit.
    """
    of_family = predictions.groupby(["fact_id", "method", "family"], sort=False)["probability"].mean()
    by_method = of_family.groupby(["fact_id", "method"], sort=False).agg(["mean", "min"]).reset_index()
    by_method["enough"] = by_method["min"] >= threshold
    best = by_method.sort_values(["enough", "mean"], ascending=False, kind="stable").drop_duplicates("fact_id")
    rows = predictions.merge(best, on=["fact_id", "method"], validate="many_to_one")
    weakest = rows.sort_values("probability", kind="stable").drop_duplicates("fact_id").set_index("fact_id")
    first = rows.assign(last=rows["family"] != "edit").sort_values("last", kind="stable").drop_duplicates("fact_id")
    table = first.sort_values(["enough", "mean"], ascending=False, kind="stable").assign(
        advice=lambda best_rows: best_rows["enough"].map({True: EDIT, False: LEAVE_ALONE}),
        probability=lambda best_rows: best_rows["mean"],
        weakest_kind=lambda best_rows: best_rows["fact_id"].map(weakest["kind"]),
        weakest_probability=lambda best_rows: best_rows["fact_id"].map(weakest["probability"]),
    )
    probabilities = by_method.pivot(index="fact_id", columns="method", values="mean").add_prefix("probability_")
    return table[ADVICE_COLUMNS].merge(probabilities, left_on="fact_id", right_index=True).reset_index(drop=True)


def list_unmeasured(facts: pd.DataFrame, predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return a row of advice for each fact that has no prediction, because the model could not be asked about it.

    Args:
        facts: All facts that were read.
        predictions: The predictions of the model.
        model: Its name.
    """
    rows = facts[~facts["id"].isin(predictions["fact_id"])].rename(columns={"id": "fact_id"})
    empty = {"method": "", "weakest_kind": "", "drivers": "", "outside": "", "missing": ""}
    return rows.assign(model=model, advice=NOT_MEASURED, **empty).reindex(columns=ADVICE_COLUMNS)
