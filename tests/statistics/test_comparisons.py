"""Methods against each other and kinds of prompt against the weakest one, on tables small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from edit_robustness.statistics.comparisons import compare_methods, rank_methods, rates_by_dataset, weakest_kinds
from edit_robustness.statistics.intervals import paired_difference, proportion
from edit_robustness.statistics.multiplicity import holm


def outcome_table(values, outcome="generalization", protocol="free"):
    """`values`: for each method the value of each fact; every fact has a subject of its own."""
    rows = [
        {
            "model": "m",
            "protocol": protocol,
            "outcome": outcome,
            "method": method,
            "fact_id": f"f{i}",
            "subject": f"s{i}",
        }
        | {"value": value}
        for method, numbers in values.items()
        for i, value in enumerate(numbers)
    ]
    return pd.DataFrame(rows)


def test_a_pair_is_compared_on_the_facts_that_both_have():
    table = outcome_table({"rome": [1, 1, 1, 1, 0, 1, np.nan, 1], "ft": [0, 1, 0, 0, 0, 1, 1, np.nan]})
    row = compare_methods(table).iloc[0]
    assert (row["method"], row["other"]) == ("ft", "rome")
    assert row["difference"] == pytest.approx((2 - 5) / 6)
    assert (row["n_facts"], row["n_unpaired"]) == (6, 2)
    difference = paired_difference([0, 1, 0, 0, 0, 1], [1, 1, 1, 1, 0, 1], np.arange(6))
    assert (row["low"], row["high"], row["p"]) == pytest.approx((difference.low, difference.high, difference.p))


def test_the_unedited_model_is_no_method():
    table = outcome_table({"none": [0] * 6, "rome": [1] * 6, "context": [1, 1, 1, 0, 0, 0]})
    assert set(compare_methods(table)[["method", "other"]].to_numpy().ravel()) == {"rome", "context"}
    assert set(rank_methods(table, compare_methods(table))["method"]) == {"rome", "context"}


def test_p_values_are_corrected_within_an_outcome():
    values = {"ft": [0, 0, 1, 0, 1, 0, 0, 0, 1, 0], "rome": [1] * 9 + [0], "memit": [1, 1, 1, 1, 1, 1, 0, 1, 0, 0]}
    together = compare_methods(pd.concat([outcome_table(values), outcome_table(values, "efficacy")]))
    for _, group in together.groupby("outcome"):
        rows = group.sort_values("p")
        holm = np.maximum.accumulate(np.minimum(rows["p"] * [3, 2, 1], 1))
        np.testing.assert_allclose(rows["p_holm"], holm)


def test_too_few_subjects_get_a_reason_and_no_numbers():
    row = compare_methods(outcome_table({"rome": [1, 1, 0], "ft": [0, 0, 0]})).iloc[0]
    assert np.isnan([row["difference"], row["p"], row["p_holm"]]).all()
    assert row["note"] == "3 subjects in common: too few (at least 5)"


def test_facts_of_one_subject_are_one_cluster():
    values = {"rome": [1, 1, 1, 0, 1, 1, 0, 1, 1, 1], "ft": [0, 0, 1, 0, 1, 1, 0, 0, 1, 0]}
    subjects = [*"aabbccddee"]
    table = outcome_table(values).assign(subject=2 * subjects)
    row = compare_methods(table).iloc[0]
    difference = paired_difference(values["ft"], values["rome"], subjects)
    assert (row["low"], row["high"], row["p"]) == pytest.approx(tuple(difference[1:]))
    assert (row["n_facts"], row["n_subjects"], row["note"]) == (10, 5, "")
    ranking = rank_methods(table, compare_methods(table)).set_index("method")
    assert tuple(ranking.loc["rome", ["low", "high"]]) == pytest.approx(proportion(values["rome"], subjects)[1:3])
    four_subjects = compare_methods(table.replace({"subject": {"e": "d"}})).iloc[0]
    assert four_subjects["note"].startswith("4 subjects in common: too few")


def test_methods_that_cannot_be_told_apart_are_all_among_the_best():
    good, equal, bad = [1] * 36 + [0] * 4, [1] * 35 + [0] * 5, [1] * 4 + [0] * 36
    table = outcome_table({"rome": good, "memit": equal, "ft": bad})
    ranking = rank_methods(table, compare_methods(table)).set_index("method")
    assert list(ranking.index) == ["rome", "memit", "ft"]
    assert list(ranking["rank"]) == [1, 2, 3]
    assert list(ranking["best"]) == [True, True, False]
    assert ranking.loc["rome", "value"] == 0.9
    assert tuple(ranking.loc["rome", ["low", "high"]]) == pytest.approx(proportion(good, np.arange(40))[1:3])


def test_less_reversion_is_better():
    table = outcome_table({"rome": [0] * 30, "ft": [1] * 25 + [0] * 5}, "reversion")
    ranking = rank_methods(table, compare_methods(table)).set_index("method")
    assert list(ranking.index) == ["rome", "ft"]
    assert list(ranking["best"]) == [True, False]


def test_a_method_without_a_value_has_no_rank():
    table = outcome_table({"rome": [1] * 6, "ft": [np.nan] * 6})
    ranking = rank_methods(table, compare_methods(table)).set_index("method")
    assert ranking.loc["ft", "rank"] is pd.NA
    assert not ranking.loc["ft", "best"]
    assert ranking.loc["ft", "n_missing"] == 6


def test_a_baseline_is_compared_but_has_no_rank():
    table = outcome_table({"context": [1] * 40, "rome": [1] * 30 + [0] * 10, "ft": [0] * 40})
    comparisons = compare_methods(table)
    assert comparisons.set_index(["method", "other"]).loc[("context", "rome"), "p_holm"] < 0.01
    ranking = rank_methods(table, comparisons).set_index("method")
    assert list(ranking.index) == ["rome", "ft", "context"]
    assert ranking["rank"].tolist()[:2] == [1, 2]
    assert ranking.loc["context", "rank"] is pd.NA
    assert ranking["best"].tolist() == [True, False, False]
    assert ranking.loc["context", "value"] == 1


@pytest.mark.parametrize(
    ("outcome", "is_compared"),
    [
        ("efficacy", True), ("specificity:neighbourhood", True), ("portability", True), ("reversion", True),
        ("generalization:doubt", False), ("edits_survived", False),
    ],
)  # fmt: skip
def test_methods_are_not_compared_by_single_kinds_of_prompt(outcome, is_compared):
    table = outcome_table({"rome": [1] * 8, "ft": [0] * 8}, outcome)
    assert len(compare_methods(table)) == is_compared
    assert len(rank_methods(table, compare_methods(table))) == 2 * is_compared


def kinds_table(rates, n=40):
    parts = [
        outcome_table({"rome": [1] * int(rate * n) + [0] * (n - int(rate * n))}, f"generalization:{kind}")
        for kind, rate in rates.items()
    ]
    return pd.concat([*parts, outcome_table({"rome": [0] * n}, "efficacy")])


def test_kinds_that_may_be_the_weakest_stand_beside_the_lowest():
    table = weakest_kinds(kinds_table({"paraphrase": 0.9, "question": 0.35, "doubt": 0.3})).set_index("kind")
    assert table.index[table["lowest"]].tolist() == ["doubt"]
    assert table["indistinct"].to_dict() == {"paraphrase": False, "question": True, "doubt": True}
    assert table.loc["paraphrase", "difference"] == pytest.approx(0.6)
    assert table["n_kinds"].eq(3).all()
    successes = {"paraphrase": 36, "question": 14, "doubt": 12}
    weakest = np.arange(40) < successes["doubt"]
    p_values = [
        paired_difference(np.arange(40) < successes[kind], weakest, np.arange(40)).p
        for kind in ("paraphrase", "question")
    ]
    assert table.loc[["paraphrase", "question"], "p_holm"].tolist() == pytest.approx(holm(p_values))
    assert np.isnan(table.loc["doubt", "p_holm"])


def test_the_interval_of_a_kind_holds_for_all_kinds_at_once():
    table = weakest_kinds(kinds_table({"paraphrase": 0.9, "question": 0.35, "doubt": 0.3})).set_index("kind")
    alone = proportion([1] * 12 + [0] * 28, np.arange(40), 1 - 0.05 / 3)
    assert tuple(table.loc["doubt", ["low", "high"]]) == pytest.approx(alone[1:3])


def test_simultaneous_intervals_cover_the_kind_that_was_chosen_for_being_lowest():
    """Six kinds with the same rate: the lowest is chosen each time, and its interval still covers the rate."""
    rng = np.random.default_rng(5)
    hits, plain_hits = [], []
    for _ in range(150):
        kinds = ("paraphrase", "question", "cloze", "doubt", "dialogue", "unrelated_context")
        draws = {kind: (rng.random(60) < 0.5).astype(float) for kind in kinds}
        lowest = min(draws.values(), key=np.mean)
        low, high = proportion(lowest, np.arange(60), 1 - 0.05 / 6)[1:3]
        hits.append(low <= 0.5 <= high)
        plain = proportion(lowest, np.arange(60))
        plain_hits.append(plain.low <= 0.5 <= plain.high)
    assert np.mean(hits) > 0.91
    assert np.mean(plain_hits) < 0.9


def dataset_table():
    table = outcome_table({"rome": [1, 1, 0, 0.5, 0], "none": [0, 0, 0, 0, 0]})
    return table.assign(dataset=["first", "first", "second", "second", "second"] * 2)


FACTS = pd.DataFrame(
    {
        "model": "m",
        "id": [f"f{i}" for i in range(5)],
        "subject": [f"s{i}" for i in range(5)],
        "dataset": ["first", "first", "second", "second", "second"],
    }
)
RECALL = pd.DataFrame(
    {
        "model": "m",
        "fact_id": [f"f{i}" for i in range(7)],
        "recalled": [True, False, True, False, False, True, True],
        "recall_cut": [False, False, False, False, True, False, False],
    }
)


def test_rates_are_those_of_each_data_set():
    table = rates_by_dataset(dataset_table(), RECALL, FACTS)
    rows = table.set_index(["outcome", "dataset", "method"])
    first, second = (rows.loc[("generalization", name, "rome")] for name in ("first", "second"))
    assert (first["value"], first["n_facts"]) == (1.0, 2)
    assert (second["value"], second["n_facts"]) == (pytest.approx(1 / 6), 3)
    estimate = proportion(pd.Series([0, 0.5, 0]), np.arange(3))
    assert (second["low"], second["high"]) == pytest.approx((estimate.low, estimate.high))


def test_recall_is_that_of_the_edited_facts_whose_answers_were_not_cut():
    rows = rates_by_dataset(dataset_table(), RECALL, FACTS).set_index(["outcome", "dataset", "method"])
    first, second = (rows.loc[("recalled", name, "none")] for name in ("first", "second"))
    assert (first["value"], first["n_facts"], first["n_missing"]) == (0.5, 2, 0)
    assert (second["value"], second["n_facts"], second["n_missing"]) == (0.5, 2, 1)


def test_facts_without_a_data_set_are_one_group():
    table = rates_by_dataset(
        dataset_table().drop(columns="dataset"), RECALL.drop(columns="recall_cut"), FACTS.drop(columns="dataset")
    )
    assert set(table["dataset"]) == {""}
    recall = table[table["outcome"] == "recalled"].iloc[0]
    assert (recall["value"], recall["n_facts"]) == (0.4, 5)
