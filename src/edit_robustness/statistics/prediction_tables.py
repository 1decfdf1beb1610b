"""Tables of a prediction: metrics of each predictor, steps between predictors, and calibration curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from edit_robustness.statistics.calibration import curve, slope_and_intercept
from edit_robustness.statistics.design import Trials
from edit_robustness.statistics.discrimination import Estimate, Resamples, concordance, mean_of, skill
from edit_robustness.statistics.fitting import AGAINST
from edit_robustness.statistics.validation import Results, Validation

COLUMNS = [
    *("predictor", "groups", "trained_on", "tested_on", "metric", "value", "low", "high"),
    *("against", "step", "step_low", "step_high", "n_probes", "n_facts", "n_groups", "note"),
]

CALIBRATION_COLUMNS = [
    *("predictor", "groups", "trained_on", "tested_on", "bin", "predicted", "observed", "low", "high", "n_probes"),
    "n_facts",
]

IMPORTANCE_COLUMNS = [
    *("predictor", "groups", "feature", "metric", "value", "low", "high", "n_facts", "n_missing", "note"),
]


class Predictions(NamedTuple):
    """The tables of a prediction: `COLUMNS`, `CALIBRATION_COLUMNS` and `IMPORTANCE_COLUMNS`."""

    prediction: pd.DataFrame
    calibration: pd.DataFrame
    importance: pd.DataFrame


def refuse(
    rows: pd.DataFrame, reason: str, validation: Validation, labels: Mapping[str, str] | None = None
) -> Predictions:
    """Return tables that contain the reason why nothing was predicted."""
    labels = labels or {"groups": validation.groups, "trained_on": "", "tested_on": ""}
    counts = {
        "n_probes": len(rows),
        "n_facts": rows["fact_id"].nunique(),
        "n_groups": rows[validation.groups].nunique(),
    }
    row = {"predictor": "(none)", "metric": "", "against": "", **labels, **counts, "note": reason}
    return Predictions(
        pd.DataFrame([row]).reindex(columns=COLUMNS),
        pd.DataFrame(columns=CALIBRATION_COLUMNS),
        pd.DataFrame(columns=IMPORTANCE_COLUMNS),
    )


def tabulate(results: Results, validation: Validation, note: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables `prediction` and `calibration`."""
    trials = results.trials
    resamples = draw_resamples(trials, validation)
    facts = trials.fact_ids[trials.fact]
    counts = {"n_probes": len(trials), "n_facts": len(set(facts)), "n_groups": resamples.n_clusters}
    estimates = {name: dict(_yield_estimates(results, name, resamples)) for name in results.probability}
    rows = []
    for name, metrics in estimates.items():
        against = next((simpler_name for simpler_name in AGAINST.get(name, ()) if simpler_name in estimates), "")
        for metric, estimate in metrics.items():
            row = {"predictor": name, **results.labels, "metric": metric, "value": estimate.value, "against": ""}
            row |= dict(zip(("low", "high"), resamples.interval(estimate.draws), strict=True))
            if against and metric in estimates[against] and not metric.startswith("calibration"):
                step = estimate - estimates[against][metric]
                low, high = resamples.interval(step.draws)
                row |= {"against": against, "step": step.value, "step_low": low, "step_high": high}
            rows.append({**row, **counts, "note": note})
    curves = [
        curve(probability, trials.target, trials.group, validation.confidence, trials.weight).assign(
            predictor=name, **results.labels, n_facts=counts["n_facts"]
        )
        for name, probability in results.probability.items()
        if name != "constant"
    ]
    prediction = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return prediction, pd.concat(curves, ignore_index=True).reindex(columns=CALIBRATION_COLUMNS)


def draw_resamples(trials: Trials, validation: Validation) -> Resamples:
    """Draw the resamples of the trials' groups; every estimate from them uses the weights of the sample."""
    return Resamples.draw(trials.group, validation.bootstrap, validation.confidence, validation.seed, trials.weight)


def _yield_estimates(results: Results, name: str, resamples: Resamples) -> Iterator[tuple[str, Estimate]]:
    trials, probability, target = results.trials, results.probability[name], results.trials.target
    cell = number_cells(results)
    yield "auc", concordance(probability, target, results.fold, resamples).auc(resamples)
    yield "auc_within", concordance(probability, target, cell, resamples).auc(resamples)
    if name == "full":
        for kind in sorted(set(trials.kind)):
            mask = trials.kind == kind
            of_kind = resamples.take(mask)
            if len(set(target[mask])) == 2:
                yield f"auc:{kind}", concordance(probability[mask], target[mask], cell[mask], of_kind).auc(of_kind)
    errors = {
        predictor_name: (results.probability[predictor_name] - target) ** 2
        for predictor_name in {name, "constant", "method_kind"}
    }
    yield "brier", mean_of(errors[name], resamples)
    yield "brier_skill", skill(errors[name], errors["constant"], resamples)
    yield "brier_skill_method_kind", skill(errors[name], errors["method_kind"], resamples)
    if name != "constant":
        slope, intercept = slope_and_intercept(probability, target, resamples)
        yield "calibration_slope", slope
        yield "calibration_intercept", intercept


def number_cells(results: Results) -> np.ndarray:
    """Return a code per fold, method and kind."""
    cells = pd.MultiIndex.from_arrays([results.fold, results.trials.method, results.trials.kind])
    return pd.factorize(cells)[0]


def join_predictions(tables: Sequence[Predictions]) -> Predictions:
    """Return the tables of several predictions below each other; empty ones for none."""
    columns = (COLUMNS, CALIBRATION_COLUMNS, IMPORTANCE_COLUMNS)
    return Predictions(
        *(
            pd.concat(list(parts), ignore_index=True) if parts else pd.DataFrame(columns=names)
            for parts, names in zip(zip(*tables, strict=True) if tables else ((), (), ()), columns, strict=True)
        )
    )
