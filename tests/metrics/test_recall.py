import math
from dataclasses import replace

import pandas as pd
import pytest

from edit_robustness.metrics.recall import RECALL_COLUMNS, recall_table
from edit_robustness.records import Answer, Fact, Probe
from edit_robustness.tables import answers_to_table, facts_to_table

FRANCE = Fact("fr", "France", "P36", "{} is", "Paris", "Lyon", ("Paname",), ("Lugdunum",), 100)
SPAIN = Fact("es", "Spain", "P36", "{} is", "Madrid", "Oslo")
PROBE = Probe(
    "fr/statement/0", "fr", "statement", "edit", "France", "France is", "Lyon", "Paris", ("Lugdunum",), ("Paname",)
)
SAID = Answer(PROBE, " Paname.", True, 2, -6.0, -1.0, 3, 2, False, True)


def measured(*answers, facts=(SPAIN, FRANCE)):
    return recall_table(answers_to_table(answers, model="tiny", method="none"), facts_to_table(facts))


def test_what_is_measured():
    table = measured(SAID)
    assert list(table.columns) == RECALL_COLUMNS
    [row] = table.to_dict(orient="records")
    assert (row["model"], row["fact_id"], row["subject"], row["relation"]) == ("tiny", "fr", "France", "P36")
    assert row["page_views"] == 100
    assert row["perplexity_new"] == pytest.approx(math.exp(2.0))
    assert row["perplexity_true"] == pytest.approx(math.exp(0.5))
    assert row["recalled"] is True
    assert row["recalled_teacher_forced"] is True


@pytest.mark.parametrize(
    ("text", "is_recalled"), [("Paris.", True), ("Lyon.", False), ("not Paris.", False), ("Rome.", False)]
)
def test_recall_is_by_what_is_said(text, is_recalled):
    table = measured(replace(SAID, text=text, match_true=False))
    assert table["recalled"].tolist() == [is_recalled]
    assert table["recalled_teacher_forced"].tolist() == [False]


def test_only_statements_count_and_unknown_views_stay_unknown():
    spain = replace(SAID, probe=replace(PROBE, id="es/statement/0", fact_id="es", subject="Spain"))
    question_answer = replace(SAID, probe=replace(PROBE, id="fr/question/0", kind="question"))
    table = measured(SAID, question_answer, spain)
    assert table["fact_id"].tolist() == ["fr", "es"]
    assert table["page_views"].isna().tolist() == [False, True]


def test_no_answers_give_an_empty_table_of_the_same_form():
    assert list(measured().columns) == RECALL_COLUMNS


def test_an_answer_about_another_fact_is_named():
    with pytest.raises(ValueError, match="the first: fr"):
        measured(SAID, facts=(SPAIN,))


def test_a_fact_that_is_there_twice_is_refused():
    with pytest.raises(pd.errors.MergeError, match="many-to-one"):
        measured(SAID, facts=(FRANCE, FRANCE))
