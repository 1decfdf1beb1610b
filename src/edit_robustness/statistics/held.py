"""Do earlier edits still hold after later ones, and does the model still know what nobody edited?

All edits so far are asked at every checkpoint, by both protocols, which are never averaged. An answer that could not
be scored, because the model's log-probabilities are not finite, counts as lost: what is broken holds nothing. An answer
that a limit of tokens cut before it named an object is no success; whether it is unchanged is not known, and it is left
out there. The share of such answers stands beside every figure.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from edit_robustness.statistics.documents import CHECKPOINT, UNEDITED
from edit_robustness.statistics.intervals import SHARE, rates
from edit_robustness.statistics.orders import over_orders

EDITED, RETAINED = "edited", "retained"
MEASURE = ["decoding", "protocol", "metric", "unit"]
OF_ALL_EDITS = {"edit": "success", "locality": "locality"}
"""The metric that says whether an edit holds and leaves the rest alone, by the family of its probes."""

ON_ALL_PROMPTS = {"locality": "locality_all"}
"""The same over all prompts, known to the unedited model or not, by family."""

STILL_KNOWN = "reversion"
"""Of a fact that was never edited, the old object is the right one."""

AGES = (0, 1, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Edits that came after one's own, from which a new group begins."""

FRONTIER_COLUMNS = [
    *("model", "method", "edits", "retention", "retention_low", "retention_high", "held", "held_low", "held_high"),
    "n_orders",
]


def asked_of(scores: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Shares that say whether something holds, beside the subject whose fact each is about.

    Args:
        scores: `metrics.scores.SCORE_COLUMNS`, order, edits, asked, position.
        answers: `tables.ANSWER_COLUMNS`; the subject of a fact is that of the probes of its edit.
    """
    about = answers.loc[answers["family"] == "edit", ["model", "fact_id", "subject"]]
    subjects = about.drop_duplicates(["model", "fact_id"])
    said = scores[scores["unit"] == SHARE].merge(subjects, on=["model", "fact_id"], how="left")
    cut = _cut(said)
    lost = said["value"].isna() & ~cut
    return said.assign(
        subject=said["subject"].fillna(said["fact_id"]), value=said["value"].mask(lost, 0.0), missing=lost, cut=cut
    )


def _cut(said: pd.DataFrame) -> pd.Series:
    """Whether a limit of tokens cut the answer that each score of free generation is of."""
    answer = [*CHECKPOINT, "protocol", "probe_id"]
    cut = said.loc[(said["metric"] == "cut") & (said["value"] == 1), answer].drop_duplicates()
    return said[answer].merge(cut.assign(cut=True), on=answer, how="left")["cut"].notna().set_axis(said.index)


def held(asked: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Success and specificity, kind by kind, of all edits so far at each checkpoint.

    Args:
        asked: What `asked_of` gives.
        confidence: Level of the intervals, which know which probes share a subject.

    Returns:
        model, method, order, edits, kind, family, decoding, protocol, metric, unit, value, low, high, n_probes,
        n_facts, n_missing (answers that could not be scored, and count as lost), cut (the share of answers that a
        limit of tokens cut before they named an object), n_asked (all answers; those about what should stay that were
        cut are not among `n_probes`).
    """
    wanted = [asked["metric"] == asked["family"].map(metrics) for metrics in (OF_ALL_EDITS, ON_ALL_PROMPTS)]
    chosen = asked[(asked["asked"] == EDITED) & (wanted[0] | wanted[1])]
    return _rates(chosen, [*CHECKPOINT, "kind", "family", *MEASURE], confidence)


def retention(asked: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The share of facts, known before the first edit and never edited, that are still answered.

    Args:
        asked: What `asked_of` gives.
        confidence: Level of the intervals.

    Returns:
        model, method, order, edits, decoding, protocol, metric, unit, value, low, high, n_probes, n_facts, n_missing,
        cut, n_asked.
    """
    chosen = asked[(asked["asked"] == RETAINED) & (asked["metric"] == STILL_KNOWN) & (asked["kind"] == "statement")]
    return _rates(chosen, [*CHECKPOINT, *MEASURE], confidence)


def frontier(held: pd.DataFrame, retention: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """What is known still against what was edited and holds, by free generation, over orders: a path a method.

    Returns:
        `FRONTIER_COLUMNS`; every path begins at the unedited model (edits 0), whose `held` is how often it says the
        new objects anyway.
    """
    by = ["model", "method", "edits"]
    statements = held[(held["kind"] == "statement") & (held["protocol"] == "free") & (held["metric"] == "success")]
    sides = [over_orders(table, by, confidence) for table in (retention[retention["protocol"] == "free"], statements)]
    known, kept = (side[[*by, "value", "low", "high", "n_orders"]] for side in sides)
    known = known.rename(columns={"value": "retention", "low": "retention_low", "high": "retention_high"})
    kept = kept.rename(columns={"value": "held", "low": "held_low", "high": "held_high"}).drop(columns="n_orders")
    return known.merge(kept, on=by)[FRONTIER_COLUMNS]


def forgetting(asked: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Success on the statement by how many edits came after: over all checkpoints and orders together.

    Returns:
        model, method, age (the fewest edits after, of the group), until (the most), decoding, protocol, metric, unit,
        value, low, high, n_probes, n_facts, n_missing, cut, n_asked.
    """
    mine = (asked["asked"] == EDITED) & (asked["metric"] == "success") & (asked["kind"] == "statement")
    chosen = asked[mine & (asked["method"] != UNEDITED) & (asked["position"] <= asked["edits"])]
    after = (chosen["edits"] - chosen["position"]).to_numpy(dtype=int)
    groups = np.digitize(after, AGES) - 1
    ages = pd.Series([AGES[group] for group in groups], chosen.index, dtype="int64")
    table = _rates(chosen.assign(age=ages), ["model", "method", "age", *MEASURE], confidence)
    oldest = pd.Series(after, chosen.index, dtype="int64").groupby(ages).max()
    table.insert(3, "until", table["age"].map(oldest).astype("int64"))
    return table.sort_values(["model", "method", "protocol", "age"], kind="stable", ignore_index=True)


def _rates(chosen: pd.DataFrame, by: list[str], confidence: float) -> pd.DataFrame:
    table = rates(chosen, by, cluster="subject", confidence=confidence)
    groups = chosen.groupby(by, sort=False, dropna=False)
    missing, cut = groups["missing"].sum(), groups["cut"].mean()
    asked = groups.size().to_numpy(dtype="int64")
    return table.assign(n_missing=missing.to_numpy(dtype="int64"), cut=cut.to_numpy(dtype=float), n_asked=asked)
