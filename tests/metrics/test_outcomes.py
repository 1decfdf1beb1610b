"""A limit of tokens is no outcome: answers that it cut before they named an object are counted by themselves."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from edit_robustness.metrics.judge import judgements_table
from edit_robustness.metrics.recall import recall_table
from edit_robustness.metrics.scores import score_answers
from edit_robustness.records import Answer, Fact, Probe
from edit_robustness.tables import answers_to_table, facts_to_table

EDIT = Probe("a/statement/0", "a", "statement", "edit", "France", "France is", "Lyon", "Paris")
NEAR = Probe("a/locality/0", "a", "specificity", "specificity", "Spain", "?", "Lyon", "Madrid")
SAID = Answer(EDIT, "", True, 2, -1.0, -2.0, 1, 1, True, False)
OUTCOMES = ("success", "reversion", "neither", "cut")


def table(*answers, method="rome"):
    return answers_to_table(answers, model="tiny", method=method)


def score(*tables, **options):
    scores = score_answers(pd.concat(tables, ignore_index=True), **options)
    return {(row.method, row.protocol, row.metric): row.value for row in scores.itertuples()}


@pytest.mark.parametrize(
    ("text", "is_finished", "outcome"),
    [
        ("France has long been ruled from", False, "cut"),
        ("France has long been ruled from", True, "neither"),
        ("", False, "cut"),
        ("It is Lyon, which has", False, "success"),
        ("Not Lyon but Paris, of", False, "reversion"),
        ("not Paris but", False, "cut"),
    ],
)
def test_an_answer_that_was_cut_has_the_verdict_of_what_it_said_or_is_cut(text, is_finished, outcome):
    values = score(table(replace(SAID, text=text, finished=is_finished)))
    assert {name: values["rome", "free", name] for name in OUTCOMES} == {
        name: float(name == outcome) for name in OUTCOMES
    }


@pytest.mark.parametrize(
    ("before", "after", "specificity", "cut_share"),
    [
        (("Spain is ruled", False), ("Spain is ruled", False), math.nan, 1.0),
        (("Madrid.", True), ("Spain is ruled", False), math.nan, 1.0),
        (("Spain is ruled", False), ("Madrid.", True), math.nan, 1.0),
        (("Madrid.", True), ("Madrid, a city", False), 1.0, 0.0),
        (("Madrid, a city", False), ("Lyon.", True), 0.0, 0.0),
    ],
)
def test_whether_a_neighbour_changed_is_not_known_of_a_cut_answer(before, after, specificity, cut_share):
    answers = [replace(SAID, probe=NEAR, text=text, finished=is_finished) for text, is_finished in (before, after)]
    values = score(table(answers[0], method="none"), table(answers[1]))
    assert values["rome", "free", "specificity_all"] == pytest.approx(specificity, nan_ok=True)
    assert values["rome", "free", "cut"] == cut_share


@pytest.mark.parametrize("probe", [EDIT, NEAR])
def test_what_a_broken_model_goes_on_saying_is_not_cut(probe):
    answer = replace(SAID, probe=probe, text="Madrid.")
    broken_answer = replace(answer, text="!!!!", finished=False, logprob_new=math.nan, logprob_true=math.nan)
    values = score(table(answer, method="none"), table(broken_answer))
    assert values["rome", "free", "cut"] == 0
    scores = (
        score(table(broken_answer), judgements=judgements_table(table(broken_answer), ["C"], "fake"))
        if probe is EDIT
        else {}
    )
    assert scores.get(("rome", "judge", "cut"), 0.0) == 0
    # at the checkpoints of a sequence, what is not scored and not cut counts as lost
    assert values["rome", "free", "neither" if probe is EDIT else "specificity_all"] == pytest.approx(
        1.0 if probe is EDIT else math.nan, nan_ok=True
    )


@pytest.mark.parametrize(("is_finished", "outcome"), [(True, "neither"), (False, "cut")])
def test_what_a_judge_reads_as_neither_in_a_cut_answer_is_cut(is_finished, outcome):
    answers = table(replace(SAID, text="ruled from", finished=is_finished))
    values = score(answers, judgements=judgements_table(answers, ["C"], "fake"))
    assert {name: values["rome", "judge", name] for name in OUTCOMES} == {
        name: float(name == outcome) for name in OUTCOMES
    }


@pytest.mark.parametrize(
    ("text", "is_finished", "is_recalled", "is_cut"),
    [("ruled from", False, False, True), ("ruled from", True, False, False), ("Paris, a", False, True, False)],
)
def test_recall_counts_what_was_cut(text, is_finished, is_recalled, is_cut):
    facts = facts_to_table([Fact("a", "France", "P36", "{} is", "Paris", "Lyon")])
    row = recall_table(table(replace(SAID, text=text, finished=is_finished), method="none"), facts)
    assert row[["recalled", "recall_cut"]].to_numpy().tolist() == [[is_recalled, is_cut]]
