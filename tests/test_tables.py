import math

import numpy as np
import pandas as pd
import pytest

from edit_robustness.datasets import DocumentsDataset
from edit_robustness.datasets.folders import Manifest, StoredItem
from edit_robustness.records import Answer, Completion, Document, Fact, Probe, Turn
from edit_robustness.tables import (
    answers_from_table,
    answers_to_table,
    check_answers,
    documents_to_table,
    facts_from_table,
    facts_to_table,
    probes_from_table,
    probes_to_table,
    read_names,
)

FACTS = [
    Fact(
        "P36-france",
        "France",
        "P36",
        "The capital of {} is",
        "Paris",
        "Lyon",
        ("Paname", 'the "City", of | light'),
        ("Lugdunum",),
        12,
    ),
    Fact("P36-שלום", '{}\n,"NA"', "P36", "{} is", "NA", "None", page_views=None),
    Fact("big", "東京", "mine", "{}は", "x", "y", page_views=2**53 + 1),
    Fact(
        *("Q1-all", "Rome", "P17", "Where is {}?", "", "Spain"),
        subject_aliases=("Roma", 'the "eternal" | city'),
        subject_id="Q220",
        target_true_id="Q38",
        target_new_id="Q29",
        paraphrases=("In which country, \n pray, is Rome?",),
        neighbours=(Completion("Where is Milan?", "Italy", ("Italia",), "Milan"), Completion("é?", "b")),
        consequences=(Completion("The currency used in Rome is the", "euro"),),
    ),
]
PROBES = [
    Probe("a/statement/0", "a", "statement", "edit", "France", "The capital of France is", "Lyon", "Paris"),
    Probe(
        *(
            "a/relation_specificity/0",
            "a",
            "relation_specificity",
            "specificity",
            "France",
            "France pays in",
            "Lyon",
            "",
        ),
        relation_objects=(("euro", '€ "EUR"'), ("krona",)),
    ),
    Probe(
        *("a/doubt/0", "a", "doubt", "edit", "France", 'No "way"', "Lyon", "Paris", ("L",), ("P", "Q")),
        conversation=True,
        previous_turns=(Turn("user", "What?\nTell,"), Turn("assistant", "é")),
        follows="a/question/0",
    ),
]
ANSWERS = [
    Answer(PROBES[0], " Lyon.", True, 3, -0.1, -2.5, 1, 2, True, False),
    Answer(PROBES[1], " euro.", True, 2, -0.1, float("-inf"), 1, 0, True, False, None, 0.5, False),
    Answer(PROBES[2], "", False, 20, float("-inf"), -2.0, 1, 1, False, True, 0.25, 1e-9, True),
]


def through_parquet(table, folder):
    table.to_parquet(folder / "t.parquet")
    return pd.read_parquet(folder / "t.parquet")


def through_csv(table, folder):
    table.to_csv(folder / "t.csv", index=False)
    return pd.read_csv(
        folder / "t.csv",
        keep_default_na=False,
        na_values={"follows": [""], "page_views": [""]},
        dtype_backend="numpy_nullable",
    )


@pytest.mark.parametrize("through", [through_parquet, through_csv, lambda table, folder: table])
@pytest.mark.parametrize(
    ("records", "to_table", "from_table"),
    [(FACTS, facts_to_table, facts_from_table), (PROBES, probes_to_table, probes_from_table)],
)
@pytest.mark.parametrize("number", [0, 1, None])
def test_records_survive_a_file(records, to_table, from_table, through, number, tmp_path):
    records = records[:number]
    back = from_table(through(to_table(records), tmp_path))
    assert back == records
    for item, second in zip(back, records, strict=True):
        assert repr(item) == repr(second)


@pytest.mark.parametrize("through", [through_parquet, lambda table, folder: table])
def test_answers_survive_a_file(through, tmp_path):
    table = through(answers_to_table(ANSWERS, model="tiny", method="rome"), tmp_path)
    assert repr(answers_from_table(table)) == repr(ANSWERS)


def test_a_table_of_answers_holds_the_probe_and_what_was_said():
    table = answers_to_table(ANSWERS, model="tiny", method="rome")
    first = table.iloc[0]
    assert first["model"] == "tiny"
    assert first["method"] == "rome"
    assert first["probe_id"] == "a/statement/0"
    assert first["prompt"] == "The capital of France is"
    assert first["text"] == " Lyon."
    assert table["logprob_new"].tolist() == [-0.1, -0.1, -math.inf]
    assert table["finished"].dtype == bool
    assert table["tokens"].dtype == np.int64
    assert "id" not in table.columns


def test_empty_tables_have_the_types_of_full_ones():
    full, empty = facts_to_table(FACTS), facts_to_table([])
    assert len(empty) == 0
    assert (empty.dtypes == full.dtypes).all()
    assert (
        answers_to_table([], model="m", method="x").dtypes == answers_to_table(ANSWERS, model="m", method="x").dtypes
    ).all()


def test_unknown_page_views_are_missing_not_a_number():
    table = facts_to_table(FACTS)
    assert str(table["page_views"].dtype) == "Int64"
    assert table["page_views"].isna().tolist() == [False, True, False, True]
    assert table["page_views"][2] == 2**53 + 1


def test_aliases_may_be_lists():
    table = facts_to_table(FACTS)
    table["target_true_aliases"] = [np.array(["Paname"], dtype=object), [], None, float("nan")]
    assert [fact.target_true_aliases for fact in facts_from_table(table)] == [("Paname",), (), (), ()]


@pytest.mark.parametrize(
    ("cell", "names"), [('["a", "b"]', ("a", "b")), ("", ()), (None, ()), (float("nan"), ()), (["a"], ("a",))]
)
def test_read_names(cell, names):
    assert read_names(cell) == names


def test_aliases_that_are_no_list_are_named():
    with pytest.raises(ValueError, match="JSON list"):
        read_names('{"a": 1}')


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="facts lacks target_new; it has id"):
        facts_from_table(facts_to_table(FACTS).drop(columns="target_new"))


DOCUMENTS = [
    Document("mmlu", "mmlu_anatomy", "none", "acc", 3, "d", "p", 5, 1.0, {"acc": 1.0}, 2, (-1.5, float("-inf"), -0.5)),
    Document("gsm8k", "gsm8k", "strict", "exact_match", 0, "d", "p", 8, 0.0, {}, -1, (), 'é "\n', 9, True, ("tied",)),
]


def test_documents_are_rows_and_files(tmp_path):
    table = through_parquet(documents_to_table(DOCUMENTS, model="m", method="rome", order=1, edits=20), tmp_path)
    assert table["edits"].tolist() == [20, 20]
    assert table["logprobs"].tolist() == ["[-1.5, -Infinity, -0.5]", "[]"]
    assert table["flags"].tolist() == ["[]", '["tied"]']
    folder = DocumentsDataset(str(tmp_path / "documents"))
    folder.save(Manifest({"1.20.mmlu": "f"}))
    folder.save({"1.20.mmlu": StoredItem.of("f", DOCUMENTS)})
    assert folder.load()["1.20.mmlu"].read() == DOCUMENTS


@pytest.mark.parametrize("join", [None, "", " "])
def test_what_stands_between_prompt_and_object_survives_a_table(join, tmp_path):
    fact, probe = Fact("f", "A", "r", "{}は", "x", "y", join=join), Probe(*"ifkesqnt", join=join)
    for record, write, reader in (
        (fact, facts_to_table, facts_from_table),
        (probe, probes_to_table, probes_from_table),
    ):
        write([record]).to_parquet(tmp_path / "table.parquet")
        assert reader(pd.read_parquet(tmp_path / "table.parquet")) == [record]
        write([record]).to_csv(tmp_path / "table.csv", index=False)
        again = pd.read_csv(tmp_path / "table.csv", dtype=str, keep_default_na=False)
        assert {item.join for item in reader(again.assign(page_views=pd.NA, conversation=False))} == {join}


def test_a_table_of_an_earlier_form_is_told_its_version_and_not_its_columns():
    table = answers_to_table([], model="m", method="rome").drop(columns="thinking")
    old = pd.concat([table, pd.DataFrame({"schema_version": [1]})], ignore_index=True)
    with pytest.raises(ValueError, match="schema_version 1, and this release reads 3"):
        check_answers(old)
