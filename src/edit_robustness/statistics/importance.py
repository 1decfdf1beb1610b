"""Importance of features for a prediction: how much worse it becomes if a feature is permuted among facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from edit_robustness.statistics.calibration import logistic
from edit_robustness.statistics.discrimination import concordance, mean_of
from edit_robustness.statistics.fitting import LogisticFit
from edit_robustness.statistics.prediction_tables import IMPORTANCE_COLUMNS, draw_resamples, number_cells
from edit_robustness.statistics.validation import Results, Validation


def measure_importance(
    results: Results, n_missing: Mapping[str, int], validation: Validation, note: str
) -> pd.DataFrame:
    """Compute how much worse the full predictor becomes without what a feature says of its fact (Breiman 2001).

    The feature's values are permuted among the facts of a test fold, missing ones with them. Features that say much the
    same share their importance.
    """
    trials, target = results.trials, results.trials.target
    resamples = draw_resamples(trials, validation)
    rng = np.random.default_rng(validation.seed)
    cell, probability = number_cells(results), results.probability["full"]
    full_score = concordance(probability, target, cell, resamples)
    errors = (probability - target) ** 2
    n_facts = len(set(trials.fact))
    odds = [part.fits["full"].odds(trials.take(part.rows)) for part in results.parts]  # type: ignore[attr-defined]
    rows = []
    for feature in trials.features:
        loss, increase = np.zeros_like(full_score.concordant), np.zeros(len(trials))
        for _ in range(validation.permutations):
            permutation = _permuted_probability(results, odds, feature, rng)
            loss += (
                full_score.concordant - concordance(permutation, target, cell, resamples).concordant
            ) / validation.permutations
            increase += ((permutation - target) ** 2 - errors) / validation.permutations
        estimates = {
            "auc_within": type(full_score)(loss, full_score.pairs).auc(resamples),
            "brier": mean_of(increase, resamples),
        }
        for metric, estimate in estimates.items():
            low, high = resamples.interval(estimate.draws)
            row = {"predictor": "full", "groups": validation.groups, "feature": feature, "metric": metric}
            counts = {"n_facts": n_facts, "n_missing": n_missing[feature], "note": note}
            rows.append({**row, "value": estimate.value, "low": low, "high": high, **counts})
    return pd.DataFrame(rows, columns=IMPORTANCE_COLUMNS)


def _permuted_probability(
    results: Results, odds: Sequence[np.ndarray], feature: str, rng: np.random.Generator
) -> np.ndarray:
    """Return the full predictor's probabilities with one feature permuted; only its share of the odds is recomputed."""
    probability = np.empty(len(results.trials))
    for part, part_odds in zip(results.parts, odds, strict=True):
        fit, trials = part.fits["full"], results.trials.take(part.rows)
        assert isinstance(fit, LogisticFit)
        facts = np.unique(trials.fact)
        fact_rows = np.arange(len(trials.values))
        fact_rows[facts] = rng.permutation(facts)
        change = fit.contribution(feature, trials, fact_rows[trials.fact]) - fit.contribution(feature, trials)
        probability[part.rows] = fit.calibration(logistic(part_odds + change))
    return probability
