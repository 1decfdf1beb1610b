"""Columns of a table of facts that are features, and those that describe a fact."""

import logging

import numpy as np
import pandas as pd
import pytest
from one_relation import RELATIONS

from edit_robustness.datasets import FactsDataset
from edit_robustness.features.declared import FEATURES
from edit_robustness.features.table import RESERVED
from edit_robustness.metrics.scores import SCORE_COLUMNS
from edit_robustness.pipelines.ingest.columns import feature_name
from edit_robustness.pipelines.ingest.nodes import validate_facts, validate_training_facts
from edit_robustness.pipelines.prior_knowledge.objects import complete_facts
from edit_robustness.pipelines.sample.nodes import SampleParameters, sample_facts
from edit_robustness.statistics.edits_survived import SURVIVED_COLUMNS
from edit_robustness.statistics.fact_outcomes import FACT_OUTCOME_COLUMNS
from edit_robustness.tables import FACT_COLUMNS, FACT_NOTES, facts_from_table, user_columns

SUBJECTS = ["France", "Spain", "Italy", "Chad"]


def ingest(caplog, **columns):
    table = pd.DataFrame(
        {"subject": SUBJECTS, "relation": "P36", "target_new": "Lyon", "target_true": "Paris", **columns}
    )
    with caplog.at_level(logging.INFO):
        return validate_facts(table.astype(object), RELATIONS)[0]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        ([0.5, 2, None, -1], [0.5, 2, np.nan, -1]),
        (["1e3", " 2.5 ", "", "-.5"], [1000, 2.5, np.nan, -0.5]),
        ([True, False, None, True], [1, 0, np.nan, 1]),
        (["true", "FALSE", "nan", "True"], [1, 0, np.nan, 1]),
        ([np.int64(3), np.float64(4), np.nan, 3], [3, 4, np.nan, 3]),
    ],
)
def test_a_numeric_column_is_a_feature(caplog, cells, values):
    facts = ingest(caplog, difficulty=cells)
    assert user_columns(facts) == ["difficulty"]
    assert facts["difficulty"].tolist() == pytest.approx(values, nan_ok=True)
    assert "that are features: difficulty; not used: none" in caplog.text


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("note", ["easy", "1", "2", "3"], "'easy' is no number"),
        ("ratio", ["1,5", "2", "3", "4"], "'1,5' is no number"),
        ("size", [float("inf"), 1, 2, 3], "inf is no number"),
        ("tags", [["a"], 1, 2, 3], "['a'] is no number"),
        ("year", [1999, 1999, None, 1999], "fewer than two different values"),
        ("empty", [None, "", np.nan, None], "fewer than two different values"),
        ("case_id", [3.5, 1, 9, 4], "an identifier by its name"),
        ("Unnamed: 0", [3.5, 1, 9, 4], "an identifier by its name"),
        ("place", [1, 3, 2, 4], "an identifier: it numbers the rows"),
        ("log_views", [1, 3, 2, 9], "its name is that of a column of the project; rename it"),
        ("kind", [1, 3, 2, 9], "its name is that of a column of the project; rename it"),
        ("weight", [1, 3, 2, 9], "its name is that of a column of the project; rename it"),
        ("one_hop_true", [1, 3, 2, 9], "its name is that of a column of the project; rename it"),
    ],
)
def test_what_is_no_feature_is_named_in_one_line(caplog, name, cells, reason):
    facts = ingest(caplog, **{name: cells})
    assert user_columns(facts) == []
    [line] = [record.getMessage() for record in caplog.records if "that are features" in record.getMessage()]
    assert f"{name.casefold()!r} ({reason})" in line


def test_counts_that_differ_are_no_row_numbers(caplog):
    assert user_columns(ingest(caplog, readers=[120, 7, 3000, 15])) == ["readers"]


def test_names_fit_into_formulas(caplog):
    assert [feature_name(name) for name in ("School Years", "2021 views", "p(true)", "Länge", "Class")] == [
        "school_years",
        "feature_2021_views",
        "p_true",
        "länge",
        "feature_class",
    ]
    facts = ingest(caplog, **{"a b": [1, 2, 5, 9], "a-b": [1, 2, 5, 9]})
    assert user_columns(facts) == ["a_b"]
    assert "another column is called a_b, too" in caplog.text


def test_cells_of_rows_that_are_rejected_do_not_matter(caplog):
    facts = ingest(caplog, target_new=["Lyon", "", "Lyon", "Lyon"], difficulty=[1, "unknown", 3, 7])
    assert facts["difficulty"].tolist() == [1, 3, 7]


def test_without_further_columns_nothing_is_logged(caplog):
    facts = ingest(caplog)
    assert list(facts) == [*FACT_COLUMNS, "dataset", "page_views_source"]
    assert "features" not in caplog.text


def test_facts_for_training_have_no_features_and_log_none(caplog):
    table = pd.DataFrame({"Subject": SUBJECTS, "relation": "P36", "target_new": "Lyon", "difficulty": [1, 2, 5, 9]})
    with caplog.at_level(logging.INFO):
        facts = validate_training_facts(table.astype(object), RELATIONS)
    assert (len(facts), user_columns(facts)) == (4, [])
    assert "features" not in caplog.text


def test_features_are_not_in_the_fact_and_so_in_no_fingerprint_of_an_edit(caplog):
    plain, wide = ingest(caplog), ingest(caplog, difficulty=[1, 2, 3, 9], dataset=["a", "b", "c", "d"])
    assert facts_from_table(plain) == facts_from_table(wide)


def test_columns_stay_with_their_facts_until_they_are_chosen(caplog):
    facts = ingest(caplog, difficulty=[1, 2, 3, 9], dataset=["a", "b", "a", "b"])
    complete, _ = complete_facts(facts.iloc[::-1], {})
    recall = pd.DataFrame({"fact_id": facts["id"], "recalled": True})
    sample_table = sample_facts(complete, recall, SampleParameters(size=2))
    for table in (complete, sample_table):
        about = table.set_index("subject")
        source_rows = facts.set_index("subject").loc[about.index]
        pd.testing.assert_frame_equal(about[["difficulty", "dataset"]], source_rows[["difficulty", "dataset"]])


@pytest.mark.parametrize(
    ("text", "datasets", "measures"),
    [
        ("subject,target_new,relation\nA,B,P36\n", ["mine"], [""]),
        ("subject,target_new,dataset,page_views_source\nA,B,,X\nC,D,popqa,\n", ["mine", "popqa"], ["X", ""]),
    ],
)
def test_a_table_says_which_data_set_a_fact_is_from(tmp_path, text, datasets, measures):
    (tmp_path / "mine.csv").write_text(text)
    table = FactsDataset(str(tmp_path / "mine.csv")).load()
    assert table["dataset"].tolist() == datasets
    assert table["page_views_source"].tolist() == measures


def test_published_data_sets_name_themselves_and_their_measure(tmp_path):
    (tmp_path / "test.csv").write_text(
        "subj,prop,obj,question,possible_answers,s_pop\nA,capital,B,What is A?,['B'],7\n"
    )
    table = FactsDataset(str(tmp_path / "test.csv"), format="popqa").load()
    assert table.iloc[0][["dataset", "page_views_source"]].tolist() == [
        "popqa",
        "PopQA's monthly Wikipedia views (s_pop)",
    ]


def test_reserved_names_are_those_of_all_tables_that_features_are_joined_to():
    assert {*SCORE_COLUMNS, *FACT_OUTCOME_COLUMNS, *SURVIVED_COLUMNS, *FACT_NOTES} <= RESERVED


def test_reserved_names_contain_every_feature(caplog):
    for feature in FEATURES:
        assert user_columns(ingest(caplog, **{feature.name: [1, 2, 3, 9]})) == []
