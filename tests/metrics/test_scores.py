import math
from dataclasses import replace

import pandas as pd
import pytest

from edit_robustness.labels import METRICS as LABELS
from edit_robustness.labels import PROTOCOLS
from edit_robustness.metrics.fluency import ngram_entropy
from edit_robustness.metrics.judge import judgements_table
from edit_robustness.metrics.measures import METRICS, Metric
from edit_robustness.metrics.scores import SCORE_COLUMNS, score_answers
from edit_robustness.records import FAMILIES, Answer, Probe
from edit_robustness.tables import answers_to_table

EDIT = Probe("a/question/0", "a", "question", "edit", "France", "?", "Lyon", "Paris", ("Lugdunum",), ("Paname",))
NEAR = Probe("a/neighbourhood/0", "a", "neighbourhood", "specificity", "Spain", "?", "Lyon", "Madrid")
FOLLOWS = Probe("a/hop/0", "a", "hop", "portability", "France", "?", "Rhône", "")
SAID = Answer(EDIT, " Lyon.", True, 2, -1.0, -2.0, 1, 1, True, False)


def table(*answers, model="tiny", method="rome"):
    return answers_to_table(answers, model=model, method=method)


def score(*tables):
    scores = score_answers(pd.concat(tables, ignore_index=True))
    rows = scores.to_dict(orient="records")
    return {(row["method"], row["protocol"], row["metric"]): row["value"] for row in rows}


def of_edit(**options):
    values = score(table(replace(SAID, **options)))
    return {(protocol, metric): value for (_, protocol, metric), value in values.items()}


@pytest.mark.parametrize(
    ("text", "metric"),
    [(" Lugdunum.", "success"), (" Paname.", "reversion"), (" Rome.", "neither"), ("", "neither")],
)
def test_free_generation_of_an_edit(text, metric):
    values = of_edit(text=text)
    for metric_name in ("success", "reversion", "neither"):
        assert values["free", metric_name] == float(metric_name == metric)


@pytest.mark.parametrize(
    ("new", "true", "metric"),
    [(True, False, "success"), (False, True, "reversion"), (False, False, "neither"), (True, True, "success")],
)
def test_teacher_forcing_of_an_edit(new, true, metric):
    values = of_edit(match_new=new, match_true=true)
    for metric_name in ("success", "reversion", "neither"):
        assert values["teacher_forced", metric_name] == float(metric_name == metric)


@pytest.mark.parametrize(("new", "true", "value"), [(-1, -2, 1.0), (-2, -1, 0.0), (-1, -1, 0.0)])
def test_preference(new, true, value):
    assert of_edit(logprob_new=new, logprob_true=true)["teacher_forced", "preference"] == value


@pytest.mark.parametrize("field_name", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["logprob_new", "logprob_true"])
def test_what_is_not_finite_is_no_success(field_name, side):
    values = of_edit(**{side: field_name})
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
def test_specificity_is_the_answer_of_the_unedited_model(before, after, value):
    answer = replace(SAID, probe=NEAR)
    unedited_table, edited_table = (
        table(replace(answer, text=before), method="none"),
        table(replace(answer, text=after)),
    )
    values = score(edited_table, unedited_table)
    assert values["rome", "free", "specificity_all"] == value
    assert values["none", "free", "specificity_all"] == 1.0
    is_known = before == "Madrid."
    assert values.get(("rome", "free", "specificity")) == (value if is_known else None)


def other_relation(text, **options):
    objects = (("krona", "SEK"), ("euro",))
    probe = replace(
        NEAR, kind="relation_specificity", text="Spain pays with the", target_true="", relation_objects=objects
    )
    return replace(SAID, probe=probe, text=text, **options)


@pytest.mark.parametrize(
    ("before", "after", "is_known", "value"),
    [
        ("krona.", "SEK, of course.", True, 1.0),
        ("the krona.", "euro.", True, 0.0),
        ("krona.", "Lyon.", True, 0.0),
        ("a coin.", "a coin.", False, 1.0),
        ("not the krona.", "not the krona.", False, 1.0),
        ("a coin like the euro.", "a note like the euro.", False, 1.0),
        ("Lyon.", "Lyon.", False, 1.0),
    ],
)
def test_where_no_true_object_is_known_an_object_of_the_relation_tells_knowledge_from_wording(
    before, after, is_known, value
):
    values = score(table(other_relation(before), method="none"), table(other_relation(after)))
    assert values["rome", "free", "specificity_all"] == value
    assert values.get(("rome", "free", "specificity")) == (value if is_known else None)


@pytest.mark.parametrize(("text", "verdict"), [("krona", "neither"), ("a coin", "cut")])
def test_a_cut_answer_that_names_an_object_of_its_relation_is_not_counted_as_cut(text, verdict):
    verdicts = Metric("verdict", "free", ("specificity",), lambda answers: answers["verdict"] == "cut")
    answer = other_relation(text, finished=False)
    scores = score_answers(pd.concat([table(answer, method="none"), table(answer)]), metrics=[verdicts])
    assert set(scores["value"]) == {float(verdict == "cut")}


def test_a_finished_answer_keeps_its_verdict_whatever_it_names():
    verdicts = Metric("verdict", "free", ("specificity",), lambda answers: answers["verdict"] == "new")
    answer = other_relation("Lyon.")
    scores = score_answers(pd.concat([table(answer, method="none"), table(answer)]), metrics=[verdicts])
    assert set(scores["value"]) == {1.0}


@pytest.mark.parametrize(("is_same", "value"), [(True, 1.0), (False, 0.0), (None, math.nan)])
def test_the_top_token_is_scored_over_known_prompts_and_over_all(is_same, value):
    answer = replace(SAID, probe=NEAR, top_unchanged=is_same)
    for before, is_known in (("Madrid.", True), ("a town.", False)):
        unedited_table = table(replace(answer, text=before, top_unchanged=True), method="none")
        values = score(unedited_table, table(answer))
        assert values["rome", "next_token", "top_token_all"] == pytest.approx(value, nan_ok=True)
        assert (("rome", "next_token", "top_token") in values) == is_known


def test_specificity_compares_within_a_model():
    answer = replace(SAID, probe=NEAR)
    answers = [
        table(replace(answer, text=text), model=model, method=method)
        for model, method, text in [
            ("a", "none", "Rome."),
            ("b", "none", "Oslo."),
            ("a", "ft", "Rome."),
            ("b", "ft", "Rome."),
        ]
    ]
    scores = score_answers(pd.concat(answers)).query("method == 'ft' and metric == 'specificity_all'")
    assert dict(zip(scores["model"], scores["value"], strict=True)) == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize(("new", "true", "value"), [(-1.0, -2.0, 0.0), (-2.0, -1.0, 1.0), (math.nan, -1.0, math.nan)])
def test_neighbourhood_score(new, true, value):
    answer = replace(SAID, probe=NEAR, logprob_new=new, logprob_true=true)
    values = score(table(answer), table(answer, method="none"))
    assert values["rome", "teacher_forced", "specificity"] == pytest.approx(value, nan_ok=True)


def test_the_form_of_the_scores():
    answers = table(SAID, replace(SAID, probe=NEAR))
    scores = score_answers(pd.concat([answers, answers.assign(method="none")]))
    assert list(scores.columns) == SCORE_COLUMNS
    assert scores["value"].dtype == float
    metric_keys = [(m.protocol, m.name) for m in METRICS for family in m.families if family != "portability"]
    # the unedited model does not know the neighbour, so two metrics have nothing to say
    assert len(scores) == 2 * (sum(protocol != "judge" for protocol, _ in metric_keys) - 2)
    assert not scores.duplicated(SCORE_COLUMNS[:-1]).any()
    assert set(scores.groupby("metric")["unit"].nunique()) == {1}
    assert set(scores["decoding"]) == {""}


def test_each_metric_stands_once_under_its_protocol():
    assert len({(metric.protocol, metric.name) for metric in METRICS}) == len(METRICS)
    assert {family for metric in METRICS for family in metric.families} == set(FAMILIES)
    assert {metric.protocol for metric in METRICS} == set(PROTOCOLS)
    assert all(metric.label == LABELS[metric.name] and metric.description for metric in METRICS)


def test_the_direction_the_unit_and_the_place_of_each_metric():
    directions = {value: {m.name for m in METRICS if m.higher_is_better is value} for value in (False, None)}
    assert directions[False] == {"reversion", "neither", "cut", "repetition", "kl"}
    assert directions[None] == {"entropy", "length", "margin"}
    units = {metric.name: metric.unit for metric in METRICS if metric.unit != "share"}
    assert units == {
        "entropy": "bits", "repetition": "of bigrams", "length": "tokens", "margin": "nats", "kl": "nats"
    }  # fmt: skip
    cells = {(metric.protocol, metric.name) for metric in METRICS if metric.cell}
    assert cells == {
        *((protocol, name) for protocol in ("free", "teacher_forced", "judge") for name in ("success", "portability")),
        ("free", "specificity"), ("teacher_forced", "specificity"), ("next_token", "top_token"),
    }  # fmt: skip
    assert {(m.protocol, m.name): m.on_all_prompts for m in METRICS if m.on_all_prompts} == {
        ("free", "specificity"): "specificity_all", ("next_token", "top_token"): "top_token_all"
    }  # fmt: skip


def test_no_answers_give_no_scores():
    scores = score_answers(table())
    assert list(scores.columns) == SCORE_COLUMNS
    assert len(scores) == 0


def test_without_the_unedited_model_there_is_no_specificity():
    answer = replace(SAID, probe=NEAR)
    with pytest.raises(ValueError, match=r"1 specificity probes of tiny have no answer.*'none'.*add `none: true`"):
        score_answers(table(answer))
    with pytest.raises(ValueError, match="add `unedited: true`"):
        score_answers(pd.concat([table(answer), table(answer, method="none")]), unedited_method="unedited")


def test_probes_answered_twice_are_refused():
    with pytest.raises(ValueError, match="a/question/0 by tiny with rome"):
        score_answers(pd.concat([table(SAID), table(SAID)]))


def at(edits, *answers, method="rome", order=0):
    return table(*answers, method=method).assign(order=order, edits=edits)


CHECKPOINTS = ["method", "order", "edits"]


def test_each_state_of_a_model_is_scored_beside_the_unedited_model():
    near = replace(SAID, probe=NEAR, text=" Madrid.")
    answers = pd.concat(
        [
            at(0, SAID, near, method="none"),
            at(1, SAID, near),
            at(20, replace(SAID, text=" Paris."), replace(near, text=" Lyon.")),
            at(20, SAID, near, order=1),
        ],
        ignore_index=True,
    )
    scores = score_answers(answers, by=CHECKPOINTS)
    assert list(scores.columns) == ["model", *CHECKPOINTS, *SCORE_COLUMNS[2:]]
    free = scores[scores["protocol"] == "free"].set_index([*CHECKPOINTS, "metric"])["value"]
    assert [free["rome", 0, edits, "success"] for edits in (1, 20)] == [1.0, 0.0]
    assert [free["rome", 0, edits, "specificity"] for edits in (1, 20)] == [1.0, 0.0]
    assert free["rome", 1, 20, "specificity"] == 1.0
    for point, rows in answers.groupby(CHECKPOINTS):
        if point[0] == "rome":
            alone = score_answers(pd.concat([answers[answers["method"] == "none"], rows])).query("method == 'rome'")
            state_scores = scores[(scores[CHECKPOINTS] == list(point)).all(axis="columns")]
            assert state_scores[SCORE_COLUMNS].reset_index(drop=True).equals(alone.reset_index(drop=True))


def test_states_that_are_not_told_apart_are_answered_twice():
    answers = pd.concat([at(1, SAID), at(20, SAID)])
    assert len(score_answers(answers, by=["method", "edits"]))
    with pytest.raises(ValueError, match=r"a/question/0 by tiny with rome, order 0$"):
        score_answers(answers, by=["method", "order"])
    states = pd.concat([at(0, SAID, method="none"), at(0, SAID, method="none", order=1)])
    with pytest.raises(ValueError, match=r"1 probes are answered twice, the first: a/question/0 by tiny with none$"):
        score_answers(states, by=CHECKPOINTS)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["edits"], "by: edits lacks `method`"),
        ([], "by: nothing lacks"),
        (["method", "eddits"], "no column eddits; it"),
    ],
)
def test_states_are_named_by_columns_that_are_there(by, message):
    with pytest.raises(ValueError, match=message):
        score_answers(at(1, SAID), by=by)


def test_a_judges_verdicts_are_those_of_each_state():
    answers = pd.concat([at(1, SAID), at(20, SAID)], ignore_index=True)
    judgements = answers[["model", *CHECKPOINTS, "probe_id"]].assign(judged=["new", "old"])
    scores = score_answers(answers, by=CHECKPOINTS, judgements=judgements)
    judge_scores = scores[(scores["protocol"] == "judge") & (scores["metric"] == "success")]
    assert judge_scores[["edits", "value"]].to_numpy().tolist() == [[1, 1.0], [20, 0.0]]


@pytest.mark.parametrize(("text", "match", "value"), [("the Rhône", True, 1.0), ("the Seine", False, 0.0)])
def test_portability_is_the_object_that_follows(text, match, value):
    answer = replace(SAID, probe=FOLLOWS, text=text, match_new=match, logprob_true=math.nan, tokens_true=0)
    values = score(table(answer))
    assert values["rome", "free", "portability"] == value
    assert values["rome", "teacher_forced", "portability"] == value
    assert ("rome", "free", "success") not in values


def test_without_an_old_object_nothing_is_said_of_it():
    answer = replace(SAID, probe=replace(EDIT, target_true="", target_true_aliases=()), logprob_true=math.nan)
    values = of_edit_answer(answer)
    assert values["free", "success"] == values["teacher_forced", "success"] == 1.0
    absent = {"reversion", "neither", "preference"}
    assert not [metric for _, metric in values if metric in absent]
    assert math.isnan(of_edit_answer(replace(answer, logprob_new=math.nan))["teacher_forced", "success"])


def of_edit_answer(answer):
    return {(protocol, metric): value for (_, protocol, metric), value in score(table(answer)).items()}


def test_real_numbers_are_those_of_the_answers():
    near = replace(SAID, probe=NEAR, margin=0.5, kl=0.25, tokens=7, text="Madrid is Madrid is it.")
    values = score(table(near), table(near, method="none"))
    assert values["rome", "next_token", "kl"] == 0.25
    assert values["rome", "next_token", "margin"] == 0.5
    assert values["rome", "free", "length"] == 7
    assert values["rome", "free", "entropy"] == pytest.approx(ngram_entropy(near.text))
    assert values["rome", "free", "repetition"] == pytest.approx(1 / 5)
    assert math.isnan(of_edit(margin=None)["next_token", "margin"])


def test_a_metric_of_ones_own():
    def shouts(answers):
        assert set(answers["verdict_unedited"]) <= {"new", "old", "neither"}
        return answers["text"].str.isupper().astype(float)

    tables = [table(SAID), table(replace(SAID, text="LYON."), method="none")]
    scores = score_answers(pd.concat(tables), metrics=[Metric("shouts", "free", ("edit",), shouts)])
    assert scores[["method", "metric", "value"]].to_numpy().tolist() == [
        ["rome", "shouts", 0.0],
        ["none", "shouts", 1.0],
    ]
    length = Metric("letters", "free", ("edit",), lambda answers: answers["text"].str.len())
    with pytest.raises(ValueError, match=r"letters \(free\) gives values other than 0 and 1: give it a `unit`"):
        score_answers(pd.concat(tables), metrics=[length])
    assert score_answers(pd.concat(tables), metrics=[replace(length, unit="letters")])["value"].tolist() == [6.0, 5.0]


def test_a_judges_verdicts_are_a_protocol_of_their_own():
    answers = pd.concat([table(SAID, replace(SAID, probe=replace(EDIT, id="a/question/1")))], ignore_index=True)
    assert "judge" not in set(score_answers(answers)["protocol"])
    judgements = judgements_table(answers, ["B", "perhaps B"], "fake")
    scores = score_answers(answers, judgements=judgements).query("protocol == 'judge' and metric == 'reversion'")
    assert scores["value"].tolist() == pytest.approx([1.0, math.nan], nan_ok=True)
    score = score_answers(answers, judgements=judgements.head(1)).query("protocol == 'judge' and metric == 'reversion'")
    assert score["probe_id"].tolist() == ["a/question/0"]


@pytest.mark.parametrize(
    ("reply", "metrics"),
    [
        ("A", {"success": 1, "reversion": 0, "neither": 0, "cut": 0}),
        ("B", {"success": 0, "reversion": 1, "neither": 0, "cut": 0}),
        ("C", {"success": 0, "reversion": 0, "neither": 1, "cut": 0}),
    ],
)
def test_what_a_judge_says_of_an_edit_and_of_what_follows(reply, metrics):
    answers = table(SAID, replace(SAID, probe=FOLLOWS))
    scores = score_answers(answers, judgements=judgements_table(answers, [reply, "A"], "fake"))
    rows = scores[scores["protocol"] == "judge"].set_index(["family", "metric"])["value"]
    assert rows["edit"].to_dict() == metrics
    assert rows["portability"].to_dict() == {"portability": 1, "cut": 0}


def test_two_verdicts_of_a_judge_on_one_answer_are_refused():
    answers = table(SAID)
    judgements = judgements_table(answers, ["B"], "fake")
    with pytest.raises(pd.errors.MergeError, match="one-to-one"):
        score_answers(answers, judgements=pd.concat([judgements, judgements.assign(judged="new")]))


def test_without_the_unedited_answer_nothing_is_known_of_specificity():
    answer, other_table = replace(SAID, probe=NEAR, text="Madrid."), table(SAID, method="none")
    with pytest.raises(ValueError, match="have no answer of the method 'none'"):
        score_answers(pd.concat([table(answer), other_table]))
    scores = score_answers(pd.concat([table(answer), other_table], ignore_index=True), unedited_required=False)
    rows = scores[(scores["method"] == "rome") & (scores["protocol"] != "teacher_forced")].set_index("metric")["value"]
    metrics = ["specificity", "specificity_all", "top_token"]
    assert rows[metrics].isna().all(), "missing, and counted as such"
    assert rows["length"] > 0
