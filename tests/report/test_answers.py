"""The answers of one model to all questions, and what makes them doubtful."""

import pandas as pd
from fabricated_rankings import join_tables, make_tables

from edit_robustness.report.answers import Evidence, answer_questions, list_cautions

EMPTY = pd.DataFrame()


def test_all_questions_are_answered_without_any_table():
    evidence = Evidence(EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY)
    answers = answer_questions(evidence, "m")
    assert [answer.question for answer in answers] == [
        "Does an edit hold however people ask?", "What does an edit cost?", "Which facts are hard to edit?",
    ]  # fmt: skip
    assert not any("nan" in line for answer in answers for line in (answer.sentence, *answer.details))


def test_one_models_answers_are_from_its_own_rows_and_free_generation():
    tables = make_tables({"rome": 0.9, "ft": 0.2})
    tables_of_another_model = [table.assign(model="other") for table in make_tables({"rome": 0.1, "ft": 0.8})]
    teacher_forced_tables = [table.assign(protocol="teacher_forced") for table in make_tables({"rome": 0.1, "ft": 0.8})]
    rankings, comparisons, kinds = join_tables(tables, tables_of_another_model, teacher_forced_tables)
    evidence = Evidence(rankings, comparisons, kinds, EMPTY, EMPTY, EMPTY, EMPTY)
    assert answer_questions(evidence, "m")[0].sentence.startswith("ROME generalizes best of 2 methods")
    assert answer_questions(evidence, "other")[0].sentence.startswith("FT generalizes best of 2 methods")


def make_headline(**values):
    return {"method": "rome", "metric": "cut", "protocol": "free", "family": "edit", "value": 0.25, **values}


def test_many_cut_answers_and_failed_facts_are_cautions():
    rankings, _, _ = make_tables({"rome": 0.9, "ft": 0.2})
    table = pd.DataFrame([make_headline(), make_headline(method="ft", value=0.5)])
    (line,) = list_cautions(table, rankings)
    assert line.startswith("These figures may be too low: the token limit cut 25% (ROME) of the answers")
    assert list(list_cautions(table.assign(value=0.01), rankings)) == []
    assert list(list_cautions(table.assign(family="specificity"), rankings)) == []
    (caution,) = list_cautions(table.assign(value=0.0, n_failed=[3, 0]), rankings)
    assert caution.startswith("Some facts could not be measured: ROME (3 facts failed).")
