"""Simulated coverage of the intervals of metrics of predictors (docs/explanation/statistics.md has the results).

The target of an interval is the mean of the estimate over all simulated studies.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from fabricated_outcomes import FEATURES, fabricate_outcomes

from edit_robustness.statistics.calibration import logistic, slope_and_intercept
from edit_robustness.statistics.discrimination import Resamples, concordance, skill
from edit_robustness.statistics.prediction import predict
from edit_robustness.statistics.validation import Validation

STUDIES = 250
CELLS = 6
FIXED = ("auc_within", "step of auc_within", "brier_skill", "calibration_slope")
TRAINED = ("auc_within", "brier_skill", "brier_skill_method_kind", "calibration_slope")


def fixed_predictor(n_facts: int, n_relations: int, shift: float, studies: int, seed: int = 0) -> pd.DataFrame:
    """Coverage for a predictor that is the same in all studies.

    Success depends on a feature, the relation and the fact; the predictor knows the feature, a simpler one a noisy
    version of it.

    Args:
        n_facts: Facts, each with six probes.
        n_relations: Relations, which are the clusters.
        shift: Log odds of success in the middle.
        studies: Number of studies.
        seed: Seed of everything.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for study in range(studies):
        relation = rng.integers(0, n_relations, n_facts)
        x = rng.normal(size=n_facts) + rng.normal(0, 0.4, n_relations)[relation]
        luck = rng.normal(0, 0.5, n_relations)[relation] + rng.normal(0, 0.6, n_facts)
        cell = np.tile(np.arange(CELLS), n_facts)
        base = shift + 0.4 * (cell - 2.5)
        y = (rng.random(n_facts * CELLS) < logistic(base + np.repeat(x + luck, CELLS))).astype(int)
        probability = logistic(base + 0.8 * np.repeat(x, CELLS))
        simple = logistic(base + 0.4 * np.repeat(x + rng.normal(size=n_facts), CELLS))
        resamples = Resamples.draw(np.repeat(relation, CELLS), 400, 0.95, study)
        areas = [concordance(p, y, cell, resamples).auc(resamples) for p in (probability, simple)]
        slope, _ = slope_and_intercept(probability, y, resamples)
        reference = (logistic(base) - y) ** 2
        estimates = (areas[0], areas[0] - areas[1], skill((probability - y) ** 2, reference, resamples), slope)
        for name, estimate in zip(FIXED, estimates, strict=True):
            rows.append((name, estimate.value, *resamples.interval(estimate.draws)))
    return _cover(rows)


def trained_predictor(n_facts: int, n_relations: int, studies: int, seed: int = 0) -> pd.DataFrame:
    """Coverage for the predictor `full`, trained and tested in each study as in a run."""
    rows = []
    for study in range(studies):
        outcomes = fabricate_outcomes(
            n_facts, signal=0.8, relation_sd=0.5, n_relations=n_relations, seed=1000 * seed + study
        )
        validation = Validation(bootstrap=400, seed=study, predictors=("full",), permutations=0)
        table = predict(outcomes, FEATURES, validation).prediction
        full = table[table["predictor"] == "full"].set_index("metric")
        rows += [(name, *full.loc[name, ["value", "low", "high"]]) for name in TRAINED]
    return _cover(rows)


def _cover(rows) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["metric", "value", "low", "high"]).dropna()
    target = table.groupby("metric", sort=False)["value"].transform("mean")
    table["covered"] = (table["low"] <= target) & (target <= table["high"])
    return table.groupby("metric", sort=False).agg(
        target=("value", "mean"), coverage=("covered", "mean"), studies=("covered", "size")
    )


@pytest.mark.slow
@pytest.mark.parametrize(("n_facts", "n_relations"), [(24, 8), (100, 10), (100, 20), (400, 34)])
@pytest.mark.parametrize(("share", "shift"), [("2%", -5.2), ("50%", 0.0), ("98%", 5.2)])
def test_intervals_of_a_fixed_predictor(n_facts, n_relations, share, shift, capsys):
    table = fixed_predictor(n_facts, n_relations, shift, STUDIES)
    with capsys.disabled():
        sys.stdout.write(f"\n{n_facts} facts, {n_relations} relations, {share} succeed\n{table.round(3)}\n")
    if share == "50%" and n_relations >= 10:
        assert table["coverage"].between(0.91, 0.985).all()


@pytest.mark.slow
@pytest.mark.parametrize(("n_facts", "n_relations"), [(100, 10), (100, 20), (400, 34)])
def test_intervals_of_trained_predictors(n_facts, n_relations, capsys):
    table = trained_predictor(n_facts, n_relations, STUDIES // 3)
    with capsys.disabled():
        sys.stdout.write(f"\n{n_facts} facts, {n_relations} relations, trained\n{table.round(3)}\n")
    assert (table["coverage"] > 0.8).all()
