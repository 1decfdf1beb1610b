"""Prediction of whether a probe of an edit succeeds, from what is known before the edit.

Relations (or subjects) are never in both training and test. Each predictor is compared with a simpler one on the same
probes, so the value of a fact's features is the step from the predictor that knows method and kind alone. All metrics
are of predictions on test folds, and all intervals of a bootstrap over the groups (`statistics.discrimination`). If the
sample has weights, training and metrics use them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from edit_robustness.labels import BASELINES
from edit_robustness.statistics.calibration import curve, logistic, slope_and_intercept
from edit_robustness.statistics.design import Trials
from edit_robustness.statistics.discrimination import Estimate, Resamples, concordance, mean_of, skill
from edit_robustness.statistics.fitting import AGAINST, Fit, Fitter, LogisticFit, fitters, split

TARGETS: Mapping[str, str] = {"edit": "success", "portability": "portability", "specificity": "specificity"}
"""For each family of kinds the metric of free generation that says whether a probe succeeds."""

ENOUGH_FACTS = 100
"""Fewest facts for a conclusion. With fewer, the selection of a predictor depends on the split."""

ENOUGH_GROUPS = 10
"""Fewest relations (or subjects) for a conclusion: with fewer, intervals are too narrow."""

ENOUGH_RARE = 50
"""Fewest probes of the rarer outcome for a conclusion: with fewer, intervals of the Brier skill are too narrow."""

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

BASES = ("constant", "method_kind")
"""Predictors whose errors those of the others are compared with."""


class Predictions(NamedTuple):
    """The tables of a prediction: `COLUMNS`, `CALIBRATION_COLUMNS` and `IMPORTANCE_COLUMNS`."""

    prediction: pd.DataFrame
    calibration: pd.DataFrame
    importance: pd.DataFrame


@dataclass(frozen=True)
class Validation:
    """How predictors are validated.

    Attributes:
        groups: What is never in training and test at once: ``relation`` or ``subject``.
        folds: Number of folds.
        bootstrap: Resamples of the groups.
        confidence: Level of the intervals.
        seed: Seed of folds, resamples and permutations.
        form: How probabilities are calibrated: ``platt`` or ``isotonic``.
        permutations: Permutations of each feature for its importance, which is their mean; 0 for none.
        predictors: Names of the predictors beside `BASES`; none for all.
    """

    groups: str = "relation"
    folds: int = 5
    bootstrap: int = 2000
    confidence: float = 0.95
    seed: int = 0
    form: str = "platt"
    permutations: int = 5
    predictors: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """A fold: the trials of its test part, by position, and the predictors that were trained without them."""

    rows: np.ndarray
    fits: Mapping[str, Fit]


@dataclass
class _Results:
    """Predictions on trials that were not used to train.

    Attributes:
        trials: The tested trials.
        fold: (n,) code of the fold of each trial.
        chance: From each predictor to its (n,) probabilities.
        parts: The folds.
        labels: groups, trained_on and tested_on of the tables.
    """

    trials: Trials
    fold: np.ndarray
    chance: dict[str, np.ndarray]
    parts: list[_Part] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, trials: Trials, parts: Sequence[_Part], labels: dict[str, str]) -> _Results:
        """Return the predictions of the folds; trials that are in no fold are left out."""
        rows = np.concatenate([part.rows for part in parts])
        ends = np.cumsum([len(part.rows) for part in parts])
        places = [np.arange(end - len(part.rows), end) for end, part in zip(ends, parts, strict=True)]
        tested = trials.take(rows)
        chance = {
            name: np.concatenate([part.fits[name].chance(trials.take(part.rows)) for part in parts])
            for name in parts[0].fits
        }
        fold = np.concatenate([np.full(len(place), number) for number, place in enumerate(places)])
        return cls(tested, fold, chance, [_Part(p, part.fits) for p, part in zip(places, parts, strict=True)], labels)


def probes_of_edits(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `outcomes` to predict: by free generation, one per probe, of methods that edit.

    For kinds of the families edit and portability a success is the object that should be said, for specificity an
    answer that is unchanged, on prompts that the unedited model knows. Scores that are missing are left out.
    """
    is_target = outcomes["metric"].eq(outcomes["family"].map(TARGETS)) & outcomes["protocol"].eq("free")
    return outcomes[is_target & ~outcomes["method"].isin(BASELINES) & outcomes["value"].notna()]


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
    rows = outcomes[~outcomes["method"].isin(BASELINES) & outcomes["value"].notna()].reset_index(drop=True)
    reason = explain_missing(rows, validation)
    if reason:
        return _refuse(rows, reason, validation)
    trials = Trials.of(rows, features, validation.groups)
    parts = []
    for number, (train, test) in enumerate(split(trials, validation.folds, validation.seed)):
        fits = _fit_all(trials.take(train), features, validation, validation.seed + number)
        if fits:
            parts.append(_Part(test, fits))
    if not parts:
        return _refuse(rows, f"{rows['fact_id'].nunique()} facts: cannot tell (no fold has both outcomes)", validation)
    labels = {"groups": validation.groups, "trained_on": "", "tested_on": ""}
    results = _Results.of(trials, parts, labels)
    note = explain_doubt(rows, validation)
    tables = _tabulate(results, validation, note)
    if not validation.permutations:
        return Predictions(*tables, pd.DataFrame(columns=IMPORTANCE_COLUMNS))
    n_missing = {name: int(np.isnan(trials.values[:, i]).sum()) for i, name in enumerate(features)}
    return Predictions(*tables, _importance(results, n_missing, validation, note))


def transfer(outcomes: pd.DataFrame, features: Sequence[str], validation: Validation | None = None) -> Predictions:
    """Validate predictors across data sets: trained on all others, tested on each.

    Facts whose subject is in the test set are not trained on, nor are probes of kinds or methods tested that the
    training has not. Without a second data set the tables are empty.
    """
    validation = validation or Validation()
    rows = outcomes[~outcomes["method"].isin(BASELINES) & outcomes["value"].notna()].reset_index(drop=True)
    datasets = sorted(set(rows["dataset"].astype(str))) if "dataset" in rows else []
    tables = []
    for dataset in datasets if len(datasets) > 1 else []:
        is_test = rows["dataset"].astype(str).eq(dataset)
        train = rows[~is_test & ~rows["subject"].isin(rows.loc[is_test, "subject"])]
        test = rows[is_test]
        names = (" and ".join(name for name in datasets if name != dataset), dataset)
        tables.append(_transfer(train, test, features, validation, "dataset", names))
    return _join(tables)


def transfer_between_models(
    outcomes: pd.DataFrame, features: Sequence[str], validation: Validation | None = None
) -> dict[str, Predictions]:
    """Validate predictors across models: trained on the probes of all others, tested on those of each.

    Models are often edited on the same facts. So groups are held out, too: a relation (or subject) of the test is in no
    training.

    Args:
        outcomes: As in `predict`, with the column model.
        features: Names of the features.
        validation: As in `predict`.

    Returns:
        The tables for each tested model; none for a single model.
    """
    validation = validation or Validation()
    rows = outcomes[~outcomes["method"].isin(BASELINES) & outcomes["value"].notna()].reset_index(drop=True)
    models = list(dict.fromkeys(rows["model"].astype(str)))
    if len(models) < 2:
        return {}
    return {
        model: _transfer(
            rows[rows["model"] != model],
            rows[rows["model"] == model],
            features,
            validation,
            "model",
            (" and ".join(name for name in models if name != model), model),
        )
        for model in models
    }


def _transfer(
    train: pd.DataFrame,
    test: pd.DataFrame,
    features: Sequence[str],
    validation: Validation,
    groups: str,
    names: tuple[str, str],
) -> Predictions:
    labels = {"groups": groups, "trained_on": names[0], "tested_on": names[1]}
    validation = replace(validation, predictors=("full",))
    known_rows = test["kind"].isin(train["kind"]) & test["method"].isin(train["method"])
    left_out = sorted(set(test.loc[~known_rows, "kind"]) - set(train["kind"]))
    test = test[known_rows]
    # few facts do not even tell within one data set, so no time is spent on them
    reasons = [explain_missing(rows, validation) or explain_doubt(rows, validation) for rows in (train, test)]
    if any(reasons):
        sides = [f"{side}: {reason}" for side, reason in zip(("training", "test"), reasons, strict=True) if reason]
        return _refuse(test, "; ".join(sides), validation, labels)
    all_rows = pd.concat([train.assign(_test=False), test.assign(_test=True)], ignore_index=True)
    # one fact under two models has two rows of features
    all_rows["fact_id"] = (
        all_rows["fact_id"].astype(str) + "\n" + all_rows.get("model", pd.Series("", all_rows.index)).astype(str)
    )
    trials, is_test = Trials.of(all_rows, features, validation.groups), all_rows["_test"].to_numpy(dtype=bool)
    parts = []
    for number, (in_train, in_test) in enumerate(_yield_transfer_folds(trials, is_test, groups, validation)):
        fits = _fit_all(trials.take(in_train), features, validation, validation.seed + number)
        if fits and len(in_test):
            parts.append(_Part(in_test, fits))
    if not parts:
        return _refuse(test, "no fold has both outcomes", validation, labels)
    kinds = f"kinds without training are left out: {', '.join(left_out)}" if left_out else ""
    results = _Results.of(trials, parts, labels)
    prediction, calibration = _tabulate(results, validation, kinds)
    return Predictions(prediction, calibration, pd.DataFrame(columns=IMPORTANCE_COLUMNS))


def _yield_transfer_folds(
    trials: Trials, is_test: np.ndarray, groups: str, validation: Validation
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if groups == "dataset":
        yield np.flatnonzero(~is_test), np.flatnonzero(is_test)
        return
    for train, test in split(trials, validation.folds, validation.seed):
        yield train[~is_test[train]], test[is_test[test]]


def _fit_all(trials: Trials, features: Sequence[str], validation: Validation, seed: int) -> dict[str, Fit]:
    """Fit the predictors; none if the training has one outcome alone."""
    if len(set(trials.target)) < 2:
        return {}
    predictors: Mapping[str, Fitter] = fitters(features)
    names = (*BASES, *validation.predictors) if validation.predictors else tuple(predictors)
    return {name: fit(trials, seed, validation.form) for name, fit in predictors.items() if name in names}


def explain_missing(rows: pd.DataFrame, validation: Validation) -> str:
    """Return why nothing can be predicted; empty if something can."""
    if rows.empty:
        return "no probes of an edit"
    if rows["value"].nunique() < 2:
        return "every probe " + ("succeeded" if rows["value"].iloc[0] else "failed") + ": there is nothing to predict"
    groups = validation.groups
    n_groups = min(rows.loc[rows["value"] == outcome, groups].nunique() for outcome in (0, 1))
    if n_groups < validation.folds:
        n_facts = rows["fact_id"].nunique()
        shortage = f"one outcome occurs in {n_groups} {groups}s, {validation.folds} needed"
        return f"{n_facts} facts: cannot tell ({shortage})"
    return ""


def explain_doubt(rows: pd.DataFrame, validation: Validation) -> str:
    """Return why figures allow no conclusion although they can be computed; empty if they do."""
    n_facts, n_groups = rows["fact_id"].nunique(), rows[validation.groups].nunique()
    if n_facts < ENOUGH_FACTS:
        return f"{n_facts} facts: cannot tell (at least {ENOUGH_FACTS} needed)"
    if n_groups < ENOUGH_GROUPS:
        return f"{n_groups} {validation.groups}s: cannot tell (at least {ENOUGH_GROUPS} needed)"
    n_successes = int(rows["value"].sum())
    if min(n_successes, len(rows) - n_successes) < ENOUGH_RARE:
        counts = f"{n_successes} of {len(rows)} probes succeeded"
        return f"{counts}: cannot tell (at least {ENOUGH_RARE} of both outcomes needed)"
    return ""


def _refuse(
    rows: pd.DataFrame, reason: str, validation: Validation, labels: Mapping[str, str] | None = None
) -> Predictions:
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


def _tabulate(results: _Results, validation: Validation, note: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables `prediction` and `calibration`."""
    trials = results.trials
    resamples = _draw(trials, validation)
    facts = trials.fact_ids[trials.fact]
    counts = {"n_probes": len(trials), "n_facts": len(set(facts)), "n_groups": resamples.n_clusters}
    estimates = {name: dict(_yield_estimates(results, name, resamples)) for name in results.chance}
    rows = []
    for name, metrics in estimates.items():
        against = next((other for other in AGAINST.get(name, ()) if other in estimates), "")
        for metric, estimate in metrics.items():
            row = {"predictor": name, **results.labels, "metric": metric, "value": estimate.value, "against": ""}
            row |= dict(zip(("low", "high"), resamples.interval(estimate.draws), strict=True))
            if against and metric in estimates[against] and not metric.startswith("calibration"):
                step = estimate - estimates[against][metric]
                low, high = resamples.interval(step.draws)
                row |= {"against": against, "step": step.value, "step_low": low, "step_high": high}
            rows.append({**row, **counts, "note": note})
    curves = [
        curve(chance, trials.target, trials.group, validation.confidence, trials.weight).assign(
            predictor=name, **results.labels, n_facts=counts["n_facts"]
        )
        for name, chance in results.chance.items()
        if name != "constant"
    ]
    prediction = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return prediction, pd.concat(curves, ignore_index=True).reindex(columns=CALIBRATION_COLUMNS)


def _draw(trials: Trials, validation: Validation) -> Resamples:
    """Draw the resamples of the trials' groups; every estimate from them uses the weights of the sample."""
    return Resamples.draw(trials.group, validation.bootstrap, validation.confidence, validation.seed, trials.weight)


def _yield_estimates(results: _Results, name: str, resamples: Resamples) -> Iterator[tuple[str, Estimate]]:
    trials, chance, target = results.trials, results.chance[name], results.trials.target
    cell = _cells(results)
    yield "auc", concordance(chance, target, results.fold, resamples).auc(resamples)
    yield "auc_within", concordance(chance, target, cell, resamples).auc(resamples)
    if name == "full":
        for kind in sorted(set(trials.kind)):
            mask = trials.kind == kind
            of_kind = resamples.take(mask)
            if len(set(target[mask])) == 2:
                yield f"auc:{kind}", concordance(chance[mask], target[mask], cell[mask], of_kind).auc(of_kind)
    errors = {other: (results.chance[other] - target) ** 2 for other in {name, "constant", "method_kind"}}
    yield "brier", mean_of(errors[name], resamples)
    yield "brier_skill", skill(errors[name], errors["constant"], resamples)
    yield "brier_skill_method_kind", skill(errors[name], errors["method_kind"], resamples)
    if name != "constant":
        slope, intercept = slope_and_intercept(chance, target, resamples)
        yield "calibration_slope", slope
        yield "calibration_intercept", intercept


def _cells(results: _Results) -> np.ndarray:
    """Return a code per fold, method and kind."""
    cells = pd.MultiIndex.from_arrays([results.fold, results.trials.method, results.trials.kind])
    return pd.factorize(cells)[0]


def _importance(results: _Results, n_missing: Mapping[str, int], validation: Validation, note: str) -> pd.DataFrame:
    """Compute how much worse the full predictor becomes without what a feature says of its fact (Breiman 2001).

    The feature's values are permuted among the facts of a test fold, missing ones with them. Features that say much the
    same share their importance.
    """
    trials, target = results.trials, results.trials.target
    resamples = _draw(trials, validation)
    rng = np.random.default_rng(validation.seed)
    cell, chance = _cells(results), results.chance["full"]
    full_score = concordance(chance, target, cell, resamples)
    errors = (chance - target) ** 2
    n_facts = len(set(trials.fact))
    odds = [part.fits["full"].odds(trials.take(part.rows)) for part in results.parts]  # type: ignore[attr-defined]
    rows = []
    for feature in trials.features:
        loss, increase = np.zeros_like(full_score.concordant), np.zeros(len(trials))
        for _ in range(validation.permutations):
            permutation = _permuted_chance(results, odds, feature, rng)
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


def _permuted_chance(
    results: _Results, odds: Sequence[np.ndarray], feature: str, rng: np.random.Generator
) -> np.ndarray:
    """Return the full predictor's probabilities with one feature permuted; only its share of the odds is recomputed."""
    chance = np.empty(len(results.trials))
    for part, part_odds in zip(results.parts, odds, strict=True):
        fit, trials = part.fits["full"], results.trials.take(part.rows)
        assert isinstance(fit, LogisticFit)
        facts = np.unique(trials.fact)
        other = np.arange(len(trials.values))
        other[facts] = rng.permutation(facts)
        change = fit.contribution(feature, trials, other[trials.fact]) - fit.contribution(feature, trials)
        chance[part.rows] = fit.calibration(logistic(part_odds + change))
    return chance


def _join(tables: Sequence[Predictions]) -> Predictions:
    columns = (COLUMNS, CALIBRATION_COLUMNS, IMPORTANCE_COLUMNS)
    return Predictions(
        *(
            pd.concat(list(parts), ignore_index=True) if parts else pd.DataFrame(columns=names)
            for parts, names in zip(zip(*tables, strict=True) if tables else ((), (), ()), columns, strict=True)
        )
    )
