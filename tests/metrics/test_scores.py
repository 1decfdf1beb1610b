import math
from dataclasses import replace

import pandas as pd
import pytest

from edit_robustness.metrics.scores import SCORE_COLUMNS, score_answers
from edit_robustness.records import Answer, Probe
from edit_robustness.tables import answers_to_table

EDIT = Probe("a/question/0", "a", "question", "edit", "France", "?", "Lyon", "Paris", ("Lugdunum",), ("Paname",))
NEAR = Probe("a/locality/0", "a", "locality", "locality", "Spain", "?", "Lyon", "Madrid")
SAID = Answer(EDIT, " Lyon.", True, 2, -1.0, -2.0, 1, 1, True, False)


def table(*answers, model="tiny", method="rome"):
    return answers_to_table(answers, model=model, method=method)


def scored(*tables):
    scores = score_answers(pd.concat(tables, ignore_index=True))
    rows = scores.to_dict(orient="records")
    return {(row["method"], row["protocol"], row["metric"]): row["value"] for row in rows}


def of_edit(**said):
    values = scored(table(replace(SAID, **said)))
    return {(protocol, metric): value for (_, protocol, metric), value in values.items()}


@pytest.mark.parametrize(
    ("text", "metric"),
    [(" Lugdunum.", "success"), (" Paname.", "reversion"), (" Rome.", "neither"), ("", "neither")],
)
def test_free_generation_of_an_edit(text, metric):
    values = of_edit(text=text)
    for other in ("success", "reversion", "neither"):
        assert values["free", other] == float(other == metric)


@pytest.mark.parametrize(
    ("new", "true", "metric"),
    [(True, False, "success"), (False, True, "reversion"), (False, False, "neither"), (True, True, "success")],
)
def test_teacher_forcing_of_an_edit(new, true, metric):
    values = of_edit(match_new=new, match_true=true)
    for other in ("success", "reversion", "neither"):
        assert values["teacher_forced", other] == float(other == metric)


@pytest.mark.parametrize(("new", "true", "value"), [(-1, -2, 1.0), (-2, -1, 0.0), (-1, -1, 0.0)])
def test_preference(new, true, value):
    assert of_edit(logprob_new=new, logprob_true=true)["teacher_forced", "preference"] == value


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["logprob_new", "logprob_true"])
def test_what_is_not_finite_is_no_success(broken, side):
    values = of_edit(**{side: broken})
    assert all(math.isnan(value) for (protocol, _), value in values.items() if protocol == "teacher_forced")
    assert values["free", "success"] == 1.0


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [
        ("Madrid.", "Madrid, in Spain.", 1.0),
        ("Madrid.", "Lyon.", 0.0),
        ("Madrid.", "Rome.", 0.0),
        ("Rome.", "Rome. And more.", 1.0),
        ("Rome.", "Oslo.", 0.0),
        ("Rome.", "Madrid.", 0.0),
        ("Lyon.", "Lyon.", 1.0),
    ],
)
def test_locality_is_the_answer_of_the_unedited_model(before, after, value):
    said = replace(SAID, probe=NEAR)
    unedited, edited = table(replace(said, text=before), method="none"), table(replace(said, text=after))
    values = scored(edited, unedited)
    assert values["rome", "free", "locality"] == value
    assert values["none", "free", "locality"] == 1.0


def test_locality_compares_within_a_model():
    said = replace(SAID, probe=NEAR)
    answers = [
        table(replace(said, text=text), model=model, method=method)
        for model, method, text in [
            ("a", "none", "Rome."),
            ("b", "none", "Oslo."),
            ("a", "ft", "Rome."),
            ("b", "ft", "Rome."),
        ]
    ]
    scores = score_answers(pd.concat(answers)).query("method == 'ft' and protocol == 'free'")
    assert dict(zip(scores["model"], scores["value"], strict=True)) == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize(("new", "true", "value"), [(-1.0, -2.0, 0.0), (-2.0, -1.0, 1.0), (math.nan, -1.0, math.nan)])
def test_neighbourhood_score(new, true, value):
    said = replace(SAID, probe=NEAR, logprob_new=new, logprob_true=true)
    values = scored(table(said), table(said, method="none"))
    assert values["rome", "teacher_forced", "locality"] == pytest.approx(value, nan_ok=True)


def test_the_form_of_the_scores():
    said = table(SAID, replace(SAID, probe=NEAR))
    scores = score_answers(pd.concat([said, said.assign(method="none")]))
    assert list(scores.columns) == SCORE_COLUMNS
    assert scores["value"].dtype == float
    assert len(scores) == 2 * (7 + 2)
    assert not scores.duplicated(SCORE_COLUMNS[:-1]).any()


def test_no_answers_give_no_scores():
    scores = score_answers(table())
    assert list(scores.columns) == SCORE_COLUMNS
    assert len(scores) == 0


def test_without_the_unedited_model_there_is_no_locality():
    said = replace(SAID, probe=NEAR)
    with pytest.raises(ValueError, match=r"1 locality probes of tiny have no answer.*'none'.*add `none: true`"):
        score_answers(table(said))
    with pytest.raises(ValueError, match="add `unedited: true`"):
        score_answers(pd.concat([table(said), table(said, method="none")]), baseline="unedited")


def test_probes_answered_twice_are_refused():
    with pytest.raises(ValueError, match="a/question/0 by tiny with rome"):
        score_answers(pd.concat([table(SAID), table(SAID)]))
