"""Edits survived: how many later edits a fact's edit survives in a sequence, from its statement at checkpoints.

A sequence is measured only at checkpoints, so an edit that is lost was lost between two of them. As in `survival`, its
time is the later one, and `last_held` has the earlier one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from edit_robustness.records import UNEDITED
from edit_robustness.statistics.edit_retention import EDITED
from edit_robustness.statistics.fact_outcomes import FACT_OUTCOME_COLUMNS, STATEMENT, describe_facts

OUTCOME = "edits_survived"
SURVIVED_COLUMNS = [*FACT_OUTCOME_COLUMNS, "order", "position", "last_held", "censored"]
NOT_MEASURED = "no checkpoint after its edit was measured"

_SEQUENCE = ["model", "method", "protocol", "order"]
_EDIT = [*_SEQUENCE, "fact_id"]


def edits_survived(shares: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Find for each edit of a sequence the first checkpoint at which its statement no longer held.

    Args:
        shares: Output of `edit_retention.select_shares`. An answer that could not be scored counts as lost there, and
            an answer that the token limit cut before it named an object as no success.
        facts: The facts of the sequences: model, id, subject, relation, fact_role, and if known dataset and weight.

    Returns:
        `SURVIVED_COLUMNS`, a row per model, method, protocol, order and edited fact. `value` is the number of later
        edits at the first checkpoint at which the statement did not hold, or at the last measured checkpoint if it held
        at all of them (`censored`). `last_held` is the number of later edits at the last checkpoint before; missing if
        the statement did not hold at the first checkpoint after the edit. `n_probes` counts the checkpoints up to
        `value`, `n_cut` the answers among them that were cut. `value` is NaN, with the `reason`, if no checkpoint after
        the edit was measured.
    """
    is_statement = (shares["fact_role"] == EDITED) & (shares["metric"] == "success") & (shares["kind"] == STATEMENT)
    rows = shares[is_statement & (shares["method"] != UNEDITED)]
    if rows.empty:
        return pd.DataFrame(columns=SURVIVED_COLUMNS)
    rows = rows.assign(later=rows["edits"] - rows["position"])
    edited_facts = describe_facts(facts[facts["fact_role"] == EDITED])
    sequences = rows[_SEQUENCE].drop_duplicates()
    table = sequences.merge(edited_facts, on="model", how="left", validate="many_to_many")
    positions = rows[["model", "order", "fact_id", "position"]].drop_duplicates()
    table = table.merge(positions, on=["model", "order", "fact_id"], how="left", validate="many_to_one")
    table = table.merge(_times(rows[rows["later"] >= 0]), on=_EDIT, how="left", validate="one_to_one")
    return _complete(table)


def _times(rows: pd.DataFrame) -> pd.DataFrame:
    """Compute value, last_held, censored, n_probes and n_cut of each edit that was measured."""
    groups = rows.groupby(_EDIT, sort=False)
    last = groups["later"].max()
    first_loss = rows[rows["value"] < 1].groupby(_EDIT, sort=False)["later"].min().reindex(last.index)
    ends = first_loss.fillna(last).rename("end").reset_index()
    until = rows.merge(ends, on=_EDIT, validate="many_to_one").query("later <= end")
    counts = until.groupby(_EDIT, sort=False).agg(n_probes=("value", "size"), n_cut=("cut", "sum"))
    last_held = until[until["value"] == 1].groupby(_EDIT, sort=False)["later"].max()
    table = counts.assign(value=first_loss.fillna(last).astype(float), censored=first_loss.isna(), last_held=last_held)
    return table.reset_index()


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    is_measured = table["value"].notna()
    table = table.assign(
        outcome=OUTCOME,
        reason=pd.Series(np.where(is_measured, "", NOT_MEASURED), table.index, dtype="str"),
        n_probes=table["n_probes"].fillna(0).astype("int64"),
        n_cut=table["n_cut"].fillna(0).astype("int64"),
        position=table["position"].astype("Int64"),
        last_held=table["last_held"].astype("Int64"),
        censored=table["censored"].astype("boolean"),
    )
    order = ["model", "method", "protocol", "order", "position"]
    return table.sort_values(order, kind="stable", ignore_index=True)[SURVIVED_COLUMNS]
