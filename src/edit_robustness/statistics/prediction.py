"""Prediction of whether a probe of an edit succeeds, from what is known before the edit.

Relations (or subjects) are never in both training and test. Each predictor is compared with a simpler one on the same
probes, so the value of a fact's features is the step from the predictor that knows method and kind alone. All metrics
are of predictions on test folds, and all intervals of a bootstrap over the groups (`statistics.discrimination`). If the
sample has weights, training and metrics use them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from edit_robustness.labels import NON_EDITS
from edit_robustness.statistics.design import Trials
from edit_robustness.statistics.fitting import split
from edit_robustness.statistics.importance import measure_importance
from edit_robustness.statistics.prediction_tables import IMPORTANCE_COLUMNS, Predictions, refuse, tabulate
from edit_robustness.statistics.validation import Part, Results, Validation, explain_doubt, explain_missing, fit_all


def predict(outcomes: pd.DataFrame, features: Sequence[str], validation: Validation | None = None) -> Predictions:
    """Validate the predictors of `statistics.fitting` on the probes of one model by grouped, stratified folds.

    Args:
        outcomes: A row per probe of an edit: value (0, 1 or NaN), fact_id, subject, relation, method, kind, family,
            and the features (NaN if unknown: imputed by the training median, with an indicator). Rows of methods that
            edit nothing are left out. If the column weight is there and varies, all estimates use it.
        features: Names of the features.
        validation: Groups, folds, resamples, level, seed and calibration.

    Returns:
        The table `prediction` has a row per predictor and metric: ``auc`` (0.5 is chance; pairs of the same fold),
        ``auc_within`` (pairs of the same method and kind, too, which these alone cannot tell apart), ``auc:<kind>``
        (within one kind, for the predictor `full`), ``brier`` (lower is better), ``brier_skill`` (share of the Brier
        score of the constant that is gained) and ``brier_skill_method_kind`` (of that of method and kind),
        ``calibration_slope`` (1 is right) and ``calibration_intercept`` (0 is right); low and high; step, the
        difference from the predictor in `against` on the same resamples. The table `calibration` has the calibration
        curve of each predictor, and `importance` how much worse `full` becomes if a feature is permuted among facts.
        If nothing can be predicted, the note has the reason; it starts with the number that is too small.
    """
    validation = validation or Validation()
    rows = outcomes[~outcomes["method"].isin(NON_EDITS) & outcomes["value"].notna()].reset_index(drop=True)
    reason = explain_missing(rows, validation)
    if reason:
        return refuse(rows, reason, validation)
    trials = Trials.of(rows, features, validation.groups)
    parts = []
    for number, (train, test) in enumerate(split(trials, validation.folds, validation.seed)):
        fits = fit_all(trials.take(train), features, validation, validation.seed + number)
        if fits:
            parts.append(Part(test, fits))
    if not parts:
        return refuse(rows, f"{rows['fact_id'].nunique()} facts: cannot tell (no fold has both outcomes)", validation)
    labels = {"groups": validation.groups, "trained_on": "", "tested_on": ""}
    results = Results.of(trials, parts, labels)
    note = explain_doubt(rows, validation)
    tables = tabulate(results, validation, note)
    if not validation.permutations:
        return Predictions(*tables, pd.DataFrame(columns=IMPORTANCE_COLUMNS))
    n_missing = {name: int(np.isnan(trials.values[:, i]).sum()) for i, name in enumerate(features)}
    return Predictions(*tables, measure_importance(results, n_missing, validation, note))
