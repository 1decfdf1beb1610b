"""Preflight in whole runs of the project, with the predictor of a made-up study of the tiny model."""

import json

import pandas as pd
import pytest
from fabricated_outcomes import fabricate_outcomes, summarise
from kedro.io import DatasetError

from edit_robustness.statistics.predictor import OtherPredictor
from edit_robustness.statistics.predictor_training import validate_and_train
from edit_robustness.statistics.validation import Validation

FEATURES = ("log_views", "recalled", "log_perplexity_true", "log_perplexity_new")
HOSTILE = "<script>alert(1)</script>"
FACTS = f"""id,subject,relation,prompt,target_true,target_new,page_views
a,Lyon,P17,{{}} is a city in,France,Spain,5000
b,{HOSTILE},P17,{{}} is a city in,France,Italy,
c,Oslo,P17,{{}} is a city in,Norway,Chile,120000
d,,P17,{{}} is a city in,Norway,Chile,1
"""


@pytest.fixture(scope="module")
def _predictor(finished_once):
    """The predictor of the made-up study, for the model and the settings of the finished run, as JSON."""
    outcomes = fabricate_outcomes(150, features=FEATURES, methods=("ft", "rome"))
    (run,) = [run for run in json.loads((finished_once.latest / "runs.json").read_text()) if "models" in run]
    run = {name: run[name] for name in ("models", "methods")}
    *_, content = validate_and_train(outcomes, summarise(FEATURES), [run], Validation(bootstrap=100))
    return json.dumps(content)


@pytest.fixture
def write_predictor(run_before, _predictor):
    """A function that writes the predictor, with changes, for the copy of the finished run."""

    def write(**changes):
        content = json.loads(_predictor)
        content["predictors"]["tiny"] |= changes
        path = run_before.folder / "study.json"
        path.write_text(json.dumps(content))
        return {"predictor_path": "study.json"}

    return write


@pytest.fixture
def facts(run_before):
    (run_before.folder / "my_facts.csv").write_text(FACTS)
    return {"facts_path": "my_facts.csv"}


def run(project, *parameters, **options):
    project.run(
        pipeline_names=["preflight"], parameters=dict(pair for p in parameters for pair in p.items()), **options
    )


def test_few_facts_cannot_tell_and_nothing_is_asked(run_before, facts):
    """With five facts, the predictor of the finished run has no coefficients."""
    assert json.loads((run_before.latest / "predictor.json").read_text())["predictors"]["tiny"]["regression"] is None
    with pytest.raises(OtherPredictor, match=r"it cannot tell anything: .*run` on more facts"):
        run(run_before, facts, {"predictor_path": "data/test/08_reporting/latest/predictor.json"})
    assert not list(run_before.data.rglob("tiny.preflight/*answers*"))


def test_facts_are_predicted_without_an_edit(run_before, facts, write_predictor):
    edits = {path: path.stat().st_mtime_ns for path in run_before.data.rglob("*.safetensors")}
    scores = run_before.table("scores")
    run(run_before, facts, write_predictor())
    predictions, advice = run_before.table("preflight_predictions"), run_before.table("preflight_advice")
    assert set(predictions["fact_id"]) == {"a", "b", "c"}
    assert set(predictions["method"]) == {"ft", "rome"}
    assert set(predictions["kind"]) == {"statement", "cloze", "neighbourhood"}
    assert predictions["probability"].between(0, 1).all()
    assert len(predictions) == 3 * 2 * 3
    # page views are beyond those of the made-up study, and b has none
    is_b = predictions["fact_id"].eq("b")
    assert (predictions["outside"].eq("Label of log_views") == ~is_b).all()
    assert (predictions["missing"].eq("Label of log_views") == is_b).all()
    assert len(advice) == 3
    assert set(advice["advice"]) <= {"edit", "leave alone"}
    assert {"probability_ft", "probability_rome"} <= set(advice)
    assert pd.read_csv(run_before.latest / "preflight_advice.csv").shape == advice.shape
    page = (run_before.latest / "preflight.html").read_text()
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Rows of the table of facts that cannot be used: 1." in page
    assert {path: path.stat().st_mtime_ns for path in run_before.data.rglob("*.safetensors")} == edits

    # without a file it is the predictor of the last run that made one, although this run is the latest
    with pytest.raises(OtherPredictor, match="cannot tell"):
        run(run_before, facts)

    # the other pipelines go on with their own facts
    run_before.run(pipeline_names=["rescore"], to_nodes=["analyze.collect_scores"])
    pd.testing.assert_frame_equal(run_before.table("scores"), scores)


def test_one_method_and_kind(run_before, facts, write_predictor):
    run(run_before, facts, write_predictor(), {"preflight": {"methods": "rome", "kinds": "cloze", "threshold": 0.0}})
    predictions = run_before.table("preflight_predictions")
    assert set(predictions["method"]) == {"rome"}
    assert set(predictions["kind"]) == {"cloze"}
    assert set(run_before.table("preflight_advice")["advice"]) == {"edit"}


@pytest.mark.parametrize(
    ("parameters", "changes", "message"),
    [
        ({}, {"fingerprint": "of another"}, "fingerprint of another"),
        ({"methods": {"rome": {"tiny": {"v_lr": 0.4}}}}, {}, r"rome with other settings \(v_lr 0.5, now 0.4\)"),
        ({"preflight": {"kinds": "doubt"}}, {}, "not trained on the kinds doubt"),
        ({"preflight": {"methods": "ike"}}, {}, "not trained on ike, but on ft, rome"),
        ({"preflight": {"methods": "roem"}}, {}, "no method `roem`"),
        ({}, {"regression": {}}, "make it again"),
    ],
)
def test_what_the_predictor_was_not_trained_on_is_refused(
    run_before, facts, write_predictor, parameters, changes, message
):
    with pytest.raises(ValueError, match=message):
        run(run_before, facts, write_predictor(**changes), parameters, to_nodes=["tiny.preflight.check_predictor"])


def test_without_a_predictor_the_error_says_how_to_make_one(project):
    (project.folder / "my_facts.csv").write_text(FACTS)
    with pytest.raises(DatasetError, match=r"no predictor at .*predictor.json: make one with `kedro run`"):
        run(project, {"facts_path": "my_facts.csv"})


def test_facts_without_a_column_are_refused(project):
    (project.folder / "my_facts.csv").write_text("subject,prompt\nLyon,{} is in\n")
    with pytest.raises(DatasetError, match="needs records with subject, target_new"):
        run(project, {"facts_path": "my_facts.csv"})
