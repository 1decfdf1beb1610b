"""Edits survived in a sequence, against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from fabricated_sequences import fabricate_sequences

from edit_robustness.statistics.edit_retention import select_shares
from edit_robustness.statistics.edits_survived import SURVIVED_COLUMNS, edits_survived

FACTS = pd.DataFrame(
    {
        "model": "m",
        "id": ["a", "b", "c", "d", "kept"],
        "subject": ["A", "B", "C", "D", "K"],
        "relation": "P36",
        "fact_role": ["edited"] * 4 + ["retained"],
        "dataset": "one",
        "weight": [1.0, 1.0, 3.0, 3.0, 9.0],
    }
)


def score(fact, position, edits, value, metric="success", role="edited", kind="statement"):
    return {
        "model": "m", "method": "rome", "order": 0, "edits": edits, "fact_role": role, "position": position,
        "fact_id": fact, "probe_id": f"{fact}/{kind}/0", "kind": kind, "family": "edit", "decoding": "greedy",
        "protocol": "free", "metric": metric, "unit": "share", "value": value,
    }  # fmt: skip


ROWS = [
    # a holds after 1 and 5 edits, is lost at 10, and comes back at 20
    *(score("a", 1, edits, value) for edits, value in ((1, 1.0), (5, 1.0), (10, 0.0), (20, 1.0))),
    # b holds to the end, where its answer at 10 could not be told from a cut one that named the new object
    *(score("b", 2, edits, 1.0) for edits in (5, 10, 20)),
    score("b", 2, 10, 1.0, "cut"),
    # c never holds at a checkpoint; the answer at 10 was cut
    *(score("c", 7, edits, 0.0) for edits in (10, 20)),
    score("c", 7, 10, 1.0, "cut"),
    # other kinds and facts do not count
    score("a", 1, 5, 0.0, kind="paraphrase"),
    score("kept", 0, 5, 0.0, role="retained"),
]  # fmt: skip


@pytest.fixture(scope="module")
def table():
    scores = pd.DataFrame(ROWS)
    answers = scores[["model", "fact_id", "family"]].assign(subject="S")
    return edits_survived(select_shares(scores, answers), FACTS)


def test_each_edit_of_a_sequence_has_a_row(table):
    assert table.columns.tolist() == SURVIVED_COLUMNS
    assert table["fact_id"].tolist() == ["a", "b", "c", "d"]
    assert set(table["outcome"]) == {"edits_survived"}
    assert table["weight"].tolist() == [0.5, 0.5, 1.5, 1.5]


def test_the_time_of_a_loss_is_the_first_checkpoint_that_shows_it(table):
    rows = table.set_index("fact_id")
    assert rows["value"].tolist() == pytest.approx([9, 18, 3, np.nan], nan_ok=True)
    assert rows.loc[["a", "b"], "last_held"].tolist() == [4, 18]
    assert pd.isna(rows.loc["c", "last_held"])
    assert rows["position"].tolist()[:3] == [1, 2, 7]


def test_an_edit_that_holds_at_the_last_checkpoint_is_censored(table):
    assert table["censored"].tolist()[:3] == [False, True, False]
    assert pd.isna(table["censored"][3])
    assert table["reason"].tolist() == ["", "", "", "no checkpoint after its edit was measured"]


def test_checkpoints_and_cut_answers_are_counted_until_the_loss(table):
    assert table["n_probes"].tolist() == [3, 3, 1, 0]
    assert table["n_cut"].tolist() == [0, 1, 1, 0]


def test_orders_methods_and_protocols_stay_apart():
    tables = fabricate_sequences("m", ("none", "rome", "grace"), orders=2)
    facts = tables.sequence_facts.assign(model="m")
    shares = select_shares(tables.sequence_scores, tables.sequence_answers)
    table = edits_survived(shares, facts)
    n_edited = (facts["fact_role"] == "edited").sum()
    assert len(table) == 2 * 2 * 2 * n_edited
    assert "none" not in set(table["method"])
    grace = table[(table["method"] == "grace") & (table["protocol"] == "free")]
    assert (grace["censored"] & (grace["last_held"] == grace["value"])).all()
    first = table.query("method == 'rome' and order == 1 and protocol == 'free' and fact_id == 'f0'").iloc[0]
    rows = shares.query(
        "method == 'rome' and order == 1 and protocol == 'free' and fact_id == 'f0' and metric == 'success' "
        "and kind == 'statement'"
    ).sort_values("edits")
    losses = rows[rows["value"] == 0]
    end = (losses if len(losses) else rows.tail(1)).iloc[0]
    assert first["value"] == end["edits"] - end["position"]


def test_without_edits_the_table_is_empty():
    tables = fabricate_sequences("m", ("none",))
    shares = select_shares(tables.sequence_scores, tables.sequence_answers)
    assert edits_survived(shares, tables.sequence_facts.assign(model="m")).columns.tolist() == SURVIVED_COLUMNS
