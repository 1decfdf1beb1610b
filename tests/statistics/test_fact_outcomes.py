"""Outcomes per fact, against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from edit_robustness.statistics.fact_outcomes import (
    FACT_OUTCOME_COLUMNS,
    describe_facts,
    fact_outcomes,
    probe_outcomes,
)

FACTS = pd.DataFrame(
    {
        "model": "m",
        "id": ["a", "b", "c", "d"],
        "subject": ["A", "B", "C", "D"],
        "relation": "P36",
        "dataset": ["one", "one", "two", None],
        "weight": [1.0, 1.0, 4.0, 2.0],
    }
)
RECALL = pd.DataFrame(
    {"model": "m", "fact_id": ["a", "b", "c"], "recalled": [True, False, False], "recall_cut": [False, False, True]}
)
FEATURES = pd.DataFrame(
    {"model": "m", "fact_id": ["a", "b", "c"], "log_views": [3.0, np.nan, 5.0], "length": [1.0, 2, 3]}
)
SUMMARY = pd.DataFrame({"model": "m", "feature": ["length", "log_views"]})
EDIT, OTHER = "edit", "specificity"


def score(fact, kind, number, metric, value, family=EDIT, protocol="free", method="rome"):
    return {
        "model": "m", "method": method, "fact_id": fact, "probe_id": f"{fact}/{kind}/{number}", "kind": kind,
        "family": family, "decoding": "greedy", "protocol": protocol, "metric": metric, "unit": "share", "value": value,
    }  # fmt: skip


SCORES = pd.DataFrame(
    [
        # a: holds on the statement, on 1 of 2 paraphrases, not on the question, which was cut
        score("a", "statement", 0, "success", 1.0),
        score("a", "paraphrase", 0, "success", 1.0),
        score("a", "paraphrase", 1, "success", 0.0),
        score("a", "question", 0, "success", 0.0),
        score("a", "question", 0, "cut", 1.0),
        score("a", "statement", 0, "cut", 0.0),
        score("a", "statement", 0, "reversion", 0.0),
        score("a", "paraphrase", 0, "reversion", 0.0),
        score("a", "paraphrase", 1, "reversion", 1.0),
        score("a", "neighbourhood", 0, "specificity_all", 1.0, OTHER),
        score("a", "neighbourhood", 0, "specificity", 1.0, OTHER),
        score("a", "neighbourhood", 1, "specificity_all", 0.0, OTHER),
        score("a", "neighbourhood", 1, "specificity", 0.0, OTHER),
        # b: fails on the statement; the unedited model knows none of its neighbours
        score("b", "statement", 0, "success", 0.0),
        score("b", "paraphrase", 0, "success", 1.0),
        score("b", "statement", 0, "reversion", 1.0),
        score("b", "neighbourhood", 0, "specificity_all", 1.0, OTHER),
        # c: its only neighbour was cut, its statement could not be scored
        score("c", "statement", 0, "success", np.nan),
        score("c", "paraphrase", 0, "success", 1.0),
        score("c", "statement", 0, "reversion", 0.0),
        score("c", "neighbourhood", 0, "specificity", np.nan, OTHER),
        score("c", "neighbourhood", 0, "cut", 1.0, OTHER),
        score("a", "implied", 0, "portability", 1.0, "portability"),
        # other protocols and metrics stay apart
        score("a", "statement", 0, "success", 0.0, protocol="teacher_forced"),
        score("a", "neighbourhood", 0, "top_token", 0.0, OTHER, "next_token"),
    ]
)


@pytest.fixture(scope="module")
def probes():
    return probe_outcomes(SCORES, FACTS, FEATURES, SUMMARY)


@pytest.fixture(scope="module")
def table(probes):
    return fact_outcomes(probes, FACTS, RECALL)


def of(table, outcome, protocol="free"):
    rows = table[(table["outcome"] == outcome) & (table["protocol"] == protocol)]
    return rows.set_index("fact_id")


def test_scores_stand_beside_facts_and_features(probes):
    assert probes.columns.tolist()[-6:] == ["subject", "relation", "dataset", "weight", "length", "log_views"]
    assert len(probes) == len(SCORES)
    about = probes.drop_duplicates("fact_id").set_index("fact_id")
    assert about["weight"].tolist() == [0.5, 0.5, 2.0]  # the mean of all four edited facts is 1
    assert about["dataset"].tolist() == ["one", "one", "two"]
    assert about["log_views"].tolist() == pytest.approx([3, np.nan, 5], nan_ok=True)


def test_the_mean_weight_of_each_model_is_1():
    other_model = FACTS.assign(model="n", weight=[1.0, 3, 3, 1])
    weights = describe_facts(pd.concat([FACTS, other_model]))["weight"]
    assert weights.tolist() == [0.5, 0.5, 2, 1, 0.5, 1.5, 1.5, 0.5]
    assert (
        describe_facts(FACTS.drop(columns=["weight", "dataset"]))[["weight", "dataset"]].to_numpy().tolist()
        == [[1, ""]] * 4
    )


def test_a_fact_without_features_keeps_its_scores_and_a_fact_twice_is_an_error():
    rows = probe_outcomes(SCORES, FACTS, FEATURES.iloc[:1], SUMMARY)
    assert len(rows) == len(SCORES)
    assert rows.loc[rows["fact_id"] == "b", "length"].isna().all()
    for tables in ((pd.concat([FACTS, FACTS]), FEATURES), (FACTS, pd.concat([FEATURES, FEATURES]))):
        with pytest.raises(pd.errors.MergeError):
            probe_outcomes(SCORES, *tables, SUMMARY)


def test_every_edited_fact_has_a_row_per_outcome(table):
    assert table.columns.tolist() == FACT_OUTCOME_COLUMNS
    assert set(table["outcome"]) == {
        "efficacy", "generalization", "generalization:paraphrase", "generalization:question", "robustness",
        "reversion", "specificity:neighbourhood", "portability",
    }  # fmt: skip
    counts = table.groupby(["protocol", "outcome"])["fact_id"].apply(list)
    assert all(ids == ["a", "b", "c", "d"] for ids in counts)
    assert ((table["reason"] == "") == table["value"].notna()).all()
    assert set(of(table, "efficacy").loc["d", ["reason"]]) == {"the edit or its answers failed"}


def test_efficacy_and_generalization(table):
    efficacy = of(table, "efficacy")
    assert efficacy["value"].tolist() == pytest.approx([1, 0, np.nan, np.nan], nan_ok=True)
    assert efficacy.loc["c", "reason"] == "no answer could be scored"
    general = of(table, "generalization")
    # a: the mean of paraphrases (1/2) and of the question (0), which was cut and counts as no success
    assert general["value"].tolist() == pytest.approx([0.25, 1, 1, np.nan], nan_ok=True)
    assert general["n_probes"].tolist() == [3, 1, 1, 0]
    assert general["n_cut"].tolist() == [1, 0, 0, 0]
    question = of(table, "generalization:question")
    assert question.loc["b", "reason"] == "no prompt of this kind"
    assert question.loc["a", "value"] == 0


def test_robustness_is_of_edits_that_hold_on_the_statement(table):
    rows = of(table, "robustness")
    assert rows["value"].tolist() == pytest.approx([0.25, np.nan, np.nan, np.nan], nan_ok=True)
    assert rows["reason"].tolist() == [
        "",
        "the edit does not hold on the statement",
        "unknown whether the edit holds on the statement",
        "the edit or its answers failed",
    ]
    assert rows["n_probes"].tolist() == [3, 0, 0, 0]


def test_reversion_is_of_facts_that_were_recalled(table):
    rows = of(table, "reversion")
    # statement 0, paraphrases 1/2
    assert rows.loc["a", "value"] == 0.25
    assert rows["n_probes"].tolist() == [3, 0, 0, 0]
    assert rows["reason"].tolist()[1:3] == [
        "not recalled before the edit",
        "unknown whether it was recalled before the edit",
    ]


def test_specificity_of_a_kind_says_why_it_is_unknown(table):
    rows = of(table, "specificity:neighbourhood")
    assert rows["value"].tolist() == pytest.approx([0.5, np.nan, np.nan, np.nan], nan_ok=True)
    assert rows.loc["b", "reason"] == "the unedited model knows no prompt of this kind"
    assert (rows.loc["c", "reason"], rows.loc["c", "n_cut"]) == ("the token limit cut every answer", 1)


def test_a_kind_of_which_the_unedited_model_knows_nothing_keeps_its_rows(probes):
    rows = probes[(probes["metric"] != "specificity") & (probes["family"] != OTHER) | (probes["fact_id"] == "b")]
    table = of(fact_outcomes(rows, FACTS, RECALL), "specificity:neighbourhood")
    assert table["value"].isna().all()
    assert table.loc["b", "reason"] == "the unedited model knows no prompt of this kind"


def test_protocols_stay_apart_and_the_next_token_is_no_outcome(table):
    assert of(table, "efficacy", "teacher_forced").loc["a", "value"] == 0
    assert set(table["protocol"]) == {"free", "teacher_forced"}


def test_portability(table):
    rows = of(table, "portability")
    assert rows.loc["a", "value"] == 1
    assert rows.loc["b", "reason"] == "no prompt of this kind"


def test_decodings_are_not_mixed(probes):
    probes_of_two_decodings = probes.assign(decoding=["other", *probes["decoding"].iloc[1:]])
    with pytest.raises(ValueError, match="decoding"):
        fact_outcomes(probes_of_two_decodings, FACTS, RECALL)


def test_without_scores_there_is_an_empty_table(probes):
    assert fact_outcomes(probes.iloc[:0], FACTS, RECALL).columns.tolist() == FACT_OUTCOME_COLUMNS
