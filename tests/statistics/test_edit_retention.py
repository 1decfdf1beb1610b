import numpy as np
import pandas as pd
import pytest
from fabricated_sequences import fabricate_sequences

from edit_robustness.statistics.edit_retention import (
    edit_retention,
    forgetting,
    frontier,
    knowledge_retention,
    select_shares,
)
from edit_robustness.statistics.intervals import proportion
from edit_robustness.statistics.orders import over_orders


@pytest.fixture(scope="module")
def tables():
    return fabricate_sequences("m", ("none", "rome", "grace"), orders=2)


@pytest.fixture(scope="module")
def shares(tables):
    return select_shares(tables.sequence_scores, tables.sequence_answers)


def test_all_edits_so_far_by_kind_and_protocol(tables, shares):
    table = edit_retention(shares)
    row = table.query(
        "method == 'rome' and order == 1 and edits == 5 and kind == 'paraphrase' and protocol == 'free'"
    ).iloc[0]
    scores = tables.sequence_scores.query(
        "method == 'rome' and order == 1 and edits == 5 and kind == 'paraphrase' and protocol == 'free' "
        "and metric == 'success' and fact_role == 'edited'"
    )
    reference = proportion(scores["value"], scores["fact_id"])
    assert (row["value"], row["low"], row["high"]) == pytest.approx(reference[:3])
    assert (row["n_probes"], row["n_facts"]) == (10, 5)
    assert set(table["protocol"]) == {"free", "teacher_forced"}
    assert not table.duplicated(["method", "order", "edits", "kind", "protocol", "metric"]).any()


def test_other_facts_count_by_the_prompts_that_the_model_knows_and_by_all(tables, shares):
    about = "method == 'rome' and order == 0 and edits == 20 and protocol == 'free' and family == 'specificity'"
    rows = edit_retention(shares).query(about).set_index(["kind", "metric"])
    assert sorted(rows.index) == [
        ("neighbourhood", "specificity"), ("neighbourhood", "specificity_all"),
        ("relation_specificity", "specificity_all"),
    ]  # fmt: skip
    scores = tables.sequence_scores.query(about).groupby(["kind", "metric"])["value"].mean()
    for key, value in scores.items():
        assert rows.loc[key, "value"] == pytest.approx(value)


def test_what_could_not_be_scored_is_lost_and_counted(tables):
    scores = tables.sequence_scores.copy()
    is_broken = (scores["method"] == "rome") & (scores["protocol"] == "teacher_forced") & (scores["unit"] == "share")
    scores.loc[is_broken, "value"] = np.nan
    table = edit_retention(select_shares(scores, tables.sequence_answers)).query(
        "method == 'rome' and protocol == 'teacher_forced'"
    )
    assert (table["value"] == 0).all()
    assert (table["n_missing"] == table["n_probes"]).all()
    assert (
        edit_retention(select_shares(scores, tables.sequence_answers)).query("method == 'grace'")["n_missing"].sum()
        == 0
    )


def test_an_answer_that_was_cut_is_counted_and_no_lost_neighbour(tables):
    scores = tables.sequence_scores
    is_neighbour = (scores["method"] == "rome") & (scores["protocol"] == "free") & (scores["family"] == "specificity")
    open_ones = scores[is_neighbour & (scores["metric"] == "specificity")].drop_duplicates(["order", "edits"])
    changed_scores = scores.copy()
    changed_scores.loc[open_ones.index, "value"] = np.nan
    cut_rows = open_ones.assign(metric="cut", value=1.0)
    before, after = (
        edit_retention(select_shares(table, tables.sequence_answers)).query(
            "method == 'rome' and kind == 'neighbourhood' and metric == 'specificity'"
        )
        for table in (scores, pd.concat([changed_scores, cut_rows], ignore_index=True))
    )
    free = after[after["protocol"] == "free"]
    assert len(free) == len(open_ones) == 2 * 3
    assert (free["n_missing"] == 0).all()
    assert (free["n_probes"] == before.loc[before["protocol"] == "free", "n_probes"].to_numpy() - 1).all()
    assert free["cut"].to_numpy() == pytest.approx(1 / (free["n_probes"].to_numpy() + 1))
    assert (free["n_asked"] == free["n_probes"] + 1).all()
    assert (after.loc[after["protocol"] != "free", "cut"] == 0).all()


def test_retention_is_of_facts_that_nobody_edited(tables, shares):
    table = knowledge_retention(shares)
    assert (table["n_facts"] == 12).all()
    assert table.query("method == 'none'")["value"].tolist() == [1, 1]
    row = table.query("method == 'rome' and order == 0 and edits == 20 and protocol == 'free'").iloc[0]
    scores = tables.sequence_scores.query(
        "method == 'rome' and order == 0 and edits == 20 and fact_role == 'retained' and protocol == 'free' "
        "and metric == 'reversion'"
    )
    assert row["value"] == scores["value"].mean()


def test_the_frontier_joins_both(shares):
    path = frontier(edit_retention(shares), knowledge_retention(shares))
    rome = path.query("method == 'rome' and edits == 20").iloc[0]
    values = edit_retention(shares).query(
        "method == 'rome' and edits == 20 and kind == 'statement' and protocol == 'free'"
    )["value"]
    assert rome["edit_retention"] == pytest.approx(values.mean())
    assert rome["n_orders"] == 2
    sides = {
        "edit_retention": edit_retention(shares).query("kind == 'statement' and metric == 'success'"),
        "knowledge_retention": knowledge_retention(shares),
    }
    for name, table in sides.items():
        table = table.query("method == 'rome' and edits == 20 and protocol == 'free'")
        reference = over_orders(table, ["method"])[["value", "low", "high"]].iloc[0]
        assert rome[[name, f"{name}_low", f"{name}_high"]].tolist() == pytest.approx(reference.tolist())
    start = path.query("method == 'none'").iloc[0]
    assert (start["edits"], start["knowledge_retention"], start["edit_retention"]) == (0, 1, 0)


def test_forgetting_counts_the_edits_that_came_after(tables, shares):
    table = forgetting(shares)
    statements = tables.sequence_scores.query(
        "method == 'rome' and kind == 'statement' and metric == 'success' and protocol == 'free' "
        "and fact_role == 'edited'"
    )
    after = statements["edits"] - statements["position"]
    rome = table.query("method == 'rome' and protocol == 'free'")
    assert rome[["age", "until"]].to_numpy().tolist() == [[0, 0], [1, 4], [5, 9], [10, 19]]
    for row in rome.to_dict("records"):
        values = statements.loc[after.between(row["age"], row["until"]), "value"]
        assert (row["value"], row["n_probes"]) == (pytest.approx(values.mean()), len(values))
    assert table.query("method == 'rome' and protocol == 'free'")["n_probes"].sum() == len(statements)
    assert "none" not in set(table["method"])


def test_a_fact_without_a_probe_of_its_edit_is_its_own_cluster(tables):
    answers = tables.sequence_answers.query("family == 'specificity'")
    assert set(select_shares(tables.sequence_scores, answers)["subject"]) <= set(tables.sequence_scores["fact_id"])


def test_no_scores_are_no_error(tables):
    empty_table = select_shares(tables.sequence_scores.head(0), tables.sequence_answers.head(0))
    assert isinstance(empty_table, pd.DataFrame)
    assert edit_retention(empty_table).empty
    assert knowledge_retention(empty_table).empty
    assert frontier(edit_retention(empty_table), knowledge_retention(empty_table)).empty
    assert forgetting(empty_table).empty
