import pandas as pd
import pytest

from edit_robustness.report.failures import (
    explain_no_failures,
    explain_no_specificity_failures,
    sharpest_failures,
    specificity_failures,
)

SAID = {"new": ("Lyon", 1.0, 0.0), "old": ("Paris", 0.0, 1.0), "neither": ("a city", 0.0, 0.0)}


def probe(fact, kind, verdict, method="rome"):
    text, success, reversion = SAID[verdict]
    return {
        "model": "m", "method": method, "probe_id": f"{fact}/{kind}/0", "fact_id": fact, "kind": kind, "family": "edit",
        "subject": fact.title(), "prompt": f"{kind}?", "target_new": "Lyon", "target_true": "Paris", "text": text,
        "success": success, "reversion": reversion,
    }  # fmt: skip


def tables(*probes):
    answers = pd.DataFrame(probes)
    scores = answers.melt(
        id_vars=["model", "method", "probe_id"], value_vars=["success", "reversion"], var_name="metric"
    ).assign(protocol="free")
    return answers.drop(columns=["success", "reversion"]), scores


@pytest.fixture
def success_tables():
    return tables(
        probe("a", "statement", "new"), probe("a", "cloze", "new"), probe("a", "doubt", "neither"),
        probe("b", "statement", "new"), probe("b", "cloze", "old"), probe("b", "doubt", "old"),
        probe("c", "statement", "old"), probe("c", "cloze", "old"), probe("c", "doubt", "old"),
        probe("d", "statement", "new", "none"), probe("d", "doubt", "old", "none"),
    )  # fmt: skip


def test_a_cut_answer_has_lost_nothing(success_tables):
    answers, scores = success_tables
    cut_rows = scores[(scores["probe_id"] == "a/doubt/0") & (scores["metric"] == "success")]
    failures = sharpest_failures(answers, pd.concat([scores, cut_rows.assign(metric="cut", value=1.0)]), n_cases=5)
    assert list(failures["fact_id"]) == ["b"]


def test_only_edits_that_the_statement_shows(success_tables):
    failures = sharpest_failures(*success_tables, n_cases=5)
    assert list(failures["fact_id"]) == ["b", "a"]
    assert list(failures["kind"]) == ["cloze", "doubt"]
    assert list(failures["verdict"]) == ["old", "neither"]
    assert list(failures["kinds_lost"]) == [2, 1]
    assert failures.loc[0, ["statement_text", "text", "kinds_asked"]].tolist() == ["Lyon", "Paris", 2]


def test_as_many_as_asked_for(success_tables):
    assert len(sharpest_failures(*success_tables, n_cases=1)) == 1
    assert sharpest_failures(*success_tables, n_cases=0).empty


def test_an_edit_that_holds_everywhere_is_no_failure():
    assert sharpest_failures(*tables(probe("a", "statement", "new"), probe("a", "cloze", "new")), n_cases=3).empty


def neighbour(method, number, text):
    row = probe("a", "neighbourhood", "neither", method)
    return {
        **row,
        "family": "specificity",
        "probe_id": f"a/neighbourhood/{number}",
        "subject": f"N{number}",
        "text": text,
    }


def test_neighbours_that_took_the_new_object():
    answers = pd.DataFrame(
        [
            neighbour("none", 0, "It is Rome."), neighbour("rome", 0, "It is lyon."),
            neighbour("none", 1, "Lyon"), neighbour("ft", 1, "Lyon"),
            neighbour("none", 2, "Oslo"), neighbour("ft", 2, "Lyonnais"),
        ]
    )  # fmt: skip
    failures = specificity_failures(answers, n_cases=3)
    assert failures[["method", "subject", "text_before"]].to_numpy().tolist() == [["rome", "N0", "It is Rome."]]


def test_breaks_without_an_unedited_run_are_still_shown():
    failures = specificity_failures(pd.DataFrame([neighbour("rome", 0, "Lyon")]), n_cases=3)
    assert failures.loc[0, "text"] == "Lyon"


def rate(kind, value, method="rome", family="edit", metric="success", **changes):
    return {
        "model": "m", "method": method, "kind": kind, "family": family, "protocol": "free", "metric": metric,
        "value": value, "n_probes": 24, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "max_failures", "text"),
    [
        ([rate("statement", 1.0), rate("cloze", 1.0)], 3, "Every edit succeeds on every prompt other than"),
        # the unedited model and teacher forcing are no edits under free generation
        ([rate("statement", 1.0), rate("cloze", 1.0), rate("cloze", 0.0, "none"),
          rate("doubt", 0.0, protocol="teacher_forced")], 3, "Every edit succeeds"),
        ([rate("statement", 1.0), rate("cloze", 0.75), rate("doubt", 0.5)], 3,
         "largest share of failures is 50% (ROME, doubt, 24 probes). These answers were cut"),
        ([rate("statement", 1.0), rate("cloze", 1.0)], 0, "No case is selected, because analyze.max_failures is 0."),
        ([rate("statement", 0.0), rate("cloze", 0.0)], 3, "No edit succeeds on the statement"),
        ([rate("cloze", 0.5)], 3, "No edit succeeds on the statement"),
        ([rate("statement", 1.0)], 3, "whether edits generalize is unknown"),
        ([rate("statement", 1.0), rate("cloze", float("nan"), n_probes=0)], 3, "whether edits generalize is unknown"),
        ([], 3, "whether edits generalize is unknown"),
    ],
)  # fmt: skip
def test_without_cases_the_rates_decide_whether_that_is_a_success(rates, max_failures, text):
    table = pd.DataFrame(rates, columns=list(rate("cloze", 1.0)))
    assert text in explain_no_failures(table, max_failures)
    assert ("Every edit succeeds" in explain_no_failures(table, max_failures)) == text.startswith("Every edit succeeds")


@pytest.mark.parametrize(
    ("values", "max_failures", "text"),
    [
        ([1.0], 3, "No answer about another fact changed to the new object of an edit. The largest share of changed "
         "answers is 0% (ROME, neighbourhood, 24 probes)."),
        ([0.5, 0.25], 3, "The largest share of changed answers is 75%"),
        ([0.5], 0, "analyze.max_failures is 0. The largest share of changed answers is 50%"),
        ([], 3, "whether edits change other answers is unknown"),
    ],
)  # fmt: skip
def test_without_changed_answers_the_rates_stand_beside(values, max_failures, text):
    rows = [rate("neighbourhood", value, family="specificity", metric="specificity_all") for value in values]
    table = pd.DataFrame([rate("cloze", 0.1), *rows], columns=list(rate("cloze", 1.0)))
    assert text in explain_no_specificity_failures(table, max_failures)
