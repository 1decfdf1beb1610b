"""Edit retention after later edits, and knowledge retention of facts that were never edited.

All edits so far are probed at every checkpoint, by both protocols, which are never averaged. An answer that could not
be scored, because the model's log-probabilities are not finite, counts as lost. An answer that the token limit cut
before it named an object counts as no success. Whether such an answer is unchanged is unknown, so specificity leaves it
out. Every figure comes with the share of cut answers.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from edit_robustness.records import UNEDITED
from edit_robustness.statistics.documents import CHECKPOINT
from edit_robustness.statistics.intervals import SHARE, rates
from edit_robustness.statistics.orders import over_orders

EDITED, RETAINED = "edited", "retained"
MEASURE = ["decoding", "protocol", "metric", "unit"]
OF_ALL_EDITS = {"edit": "success", "specificity": "specificity"}
"""Metric of efficacy and of specificity, by the family of the probes."""

ON_ALL_PROMPTS = {"specificity": "specificity_all"}
"""The same metric over all prompts, known to the unedited model or not, by family."""

STILL_KNOWN = "reversion"
"""Metric of knowledge retention: the old object is the right answer about a fact that was never edited."""

AGES = (0, 1, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Lower bounds of the groups by number of later edits."""

FRONTIER_COLUMNS = [
    *(
        "model",
        "method",
        "edits",
        "knowledge_retention",
        "knowledge_retention_low",
        "knowledge_retention_high",
        "edit_retention",
        "edit_retention_low",
        "edit_retention_high",
    ),
    "n_orders",
]


def select_shares(scores: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Select the shares that measure retention, and add the subject of each fact.

    Args:
        scores: `metrics.scores.SCORE_COLUMNS`, order, edits, fact_role, position.
        answers: `tables.ANSWER_COLUMNS`; the subject of a fact is that of the probes of the family ``edit``.
    """
    about = answers.loc[answers["family"] == "edit", ["model", "fact_id", "subject"]]
    subjects = about.drop_duplicates(["model", "fact_id"])
    shares = scores[scores["unit"] == SHARE].merge(subjects, on=["model", "fact_id"], how="left")
    is_cut = _mark_cut(shares)
    is_lost = shares["value"].isna() & ~is_cut
    return shares.assign(
        subject=shares["subject"].fillna(shares["fact_id"]),
        value=shares["value"].mask(is_lost, 0.0),
        missing=is_lost,
        cut=is_cut,
    )


def _mark_cut(shares: pd.DataFrame) -> pd.Series:
    """Mark the free-generation scores whose answer the token limit cut."""
    answer = [*CHECKPOINT, "protocol", "probe_id"]
    cut_answers = shares.loc[(shares["metric"] == "cut") & (shares["value"] == 1), answer].drop_duplicates()
    return (
        shares[answer].merge(cut_answers.assign(cut=True), on=answer, how="left")["cut"].notna().set_axis(shares.index)
    )


def edit_retention(shares: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Estimate success and specificity of all edits so far at each checkpoint, per kind of prompt.

    Args:
        shares: Output of `select_shares`.
        confidence: Level of the intervals, which are clustered by subject.

    Returns:
        model, method, order, edits, kind, family, decoding, protocol, metric, unit, value, low, high, n_probes,
        n_facts, n_missing (answers that could not be scored, and count as lost), cut (the share of answers that the
        token limit cut before they named an object), n_asked (all answers; cut answers to specificity probes are not
        included in `n_probes`).
    """
    masks = [shares["metric"] == shares["family"].map(metrics) for metrics in (OF_ALL_EDITS, ON_ALL_PROMPTS)]
    rows = shares[(shares["fact_role"] == EDITED) & (masks[0] | masks[1])]
    return _rates(rows, [*CHECKPOINT, "kind", "family", *MEASURE], confidence)


def knowledge_retention(shares: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Estimate the share of facts, known before the first edit and never edited, that are still answered.

    Args:
        shares: Output of `select_shares`.
        confidence: Level of the intervals.

    Returns:
        model, method, order, edits, decoding, protocol, metric, unit, value, low, high, n_probes, n_facts, n_missing,
        cut, n_asked.
    """
    rows = shares[
        (shares["fact_role"] == RETAINED) & (shares["metric"] == STILL_KNOWN) & (shares["kind"] == "statement")
    ]
    return _rates(rows, [*CHECKPOINT, *MEASURE], confidence)


def frontier(edit_retention: pd.DataFrame, knowledge_retention: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Relate knowledge retention to edit retention by free generation, over orders: one path per method.

    Returns:
        `FRONTIER_COLUMNS`; every path begins at the unedited model (edits 0), whose `edit_retention` is the share of
        new objects that it names without an edit.
    """
    by = ["model", "method", "edits"]
    statements = edit_retention[
        (edit_retention["kind"] == "statement")
        & (edit_retention["protocol"] == "free")
        & (edit_retention["metric"] == "success")
    ]
    sides = [
        over_orders(table, by, confidence)
        for table in (knowledge_retention[knowledge_retention["protocol"] == "free"], statements)
    ]
    knowledge, efficacy = (side[[*by, "value", "low", "high", "n_orders"]] for side in sides)
    knowledge = knowledge.rename(
        columns={"value": "knowledge_retention", "low": "knowledge_retention_low", "high": "knowledge_retention_high"}
    )
    efficacy = efficacy.rename(
        columns={"value": "edit_retention", "low": "edit_retention_low", "high": "edit_retention_high"}
    ).drop(columns="n_orders")
    return knowledge.merge(efficacy, on=by)[FRONTIER_COLUMNS]


def forgetting(shares: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Estimate success on the statement by the number of later edits, over all checkpoints and orders.

    Returns:
        model, method, age (the fewest later edits in the group), until (the most), decoding, protocol, metric, unit,
        value, low, high, n_probes, n_facts, n_missing, cut, n_asked.
    """
    is_statement = (shares["fact_role"] == EDITED) & (shares["metric"] == "success") & (shares["kind"] == "statement")
    rows = shares[is_statement & (shares["method"] != UNEDITED) & (shares["position"] <= shares["edits"])]
    after = (rows["edits"] - rows["position"]).to_numpy(dtype=int)
    groups = np.digitize(after, AGES) - 1
    ages = pd.Series([AGES[group] for group in groups], rows.index, dtype="int64")
    table = _rates(rows.assign(age=ages), ["model", "method", "age", *MEASURE], confidence)
    oldest = pd.Series(after, rows.index, dtype="int64").groupby(ages).max()
    table.insert(3, "until", table["age"].map(oldest).astype("int64"))
    return table.sort_values(["model", "method", "protocol", "age"], kind="stable", ignore_index=True)


def _rates(rows: pd.DataFrame, by: list[str], confidence: float) -> pd.DataFrame:
    table = rates(rows, by, cluster="subject", confidence=confidence)
    groups = rows.groupby(by, sort=False, dropna=False)
    n_missing, cut_share = groups["missing"].sum(), groups["cut"].mean()
    n_asked = groups.size().to_numpy(dtype="int64")
    return table.assign(
        n_missing=n_missing.to_numpy(dtype="int64"), cut=cut_share.to_numpy(dtype=float), n_asked=n_asked
    )
