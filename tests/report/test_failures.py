import pandas as pd
import pytest

from edit_robustness.report.failures import sharpest_failures, specificity_failures

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
