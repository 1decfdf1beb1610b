"""Training of the predictors of a run: one per model, none from too few facts."""

import json

import pandas as pd
import pytest
from fabricated_outcomes import fabricate_outcomes, record_run, summarise

from edit_robustness.statistics.predictor import OtherPredictor, read_predictor
from edit_robustness.statistics.predictor_training import validate_and_train
from edit_robustness.statistics.validation import Validation, probes_of_edits

QUICK = Validation(bootstrap=200)
SETTINGS = record_run()["methods"]["tiny"]


def test_a_predictor_of_few_facts_cannot_tell():
    tables = validate_and_train(fabricate_outcomes(24), summarise(), [record_run()], QUICK)
    predictor = read_predictor(json.loads(json.dumps(tables[-1], allow_nan=False)), "tiny")
    assert predictor.fit is None
    assert predictor.note == "24 facts: cannot tell (at least 100 needed)"
    with pytest.raises(OtherPredictor, match="24 facts: cannot tell"):
        predictor.check("tiny", "abc", record_run()["methods"]["tiny"], ["statement"])


def test_two_models_are_in_one_file():
    rows = pd.concat([fabricate_outcomes(60, model=model) for model in ("a", "b")])
    runs = [record_run("b", fingerprint="of b"), record_run("a", fingerprint="of a")]
    prediction, calibration, importance, content = validate_and_train(rows, summarise(), runs, QUICK)
    assert {name: predictor["fingerprint"] for name, predictor in content["predictors"].items()} == {
        "a": "of a",
        "b": "of b",
    }
    for table in (prediction, calibration, importance):
        assert table.columns[0] == "model"
        assert set(table["model"]) == {"a", "b"}


def test_only_targets_are_trained_on():
    outcomes = fabricate_outcomes(20)
    reversion_outcomes = outcomes.assign(metric="reversion", value=0.0)
    all_outcomes = pd.concat([outcomes, reversion_outcomes], ignore_index=True)
    assert len(probes_of_edits(all_outcomes)) == len(outcomes)
