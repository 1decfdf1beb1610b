"""Validation of predictors: which probes are predicted, in which folds, and whether the data suffice to conclude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from edit_robustness.labels import NON_EDITS
from edit_robustness.statistics.design import Trials
from edit_robustness.statistics.fitting import Fit, Fitter, fitters

TARGETS: Mapping[str, str] = {"edit": "success", "portability": "portability", "specificity": "specificity"}
"""For each family of kinds the metric of free generation that says whether a probe succeeds."""

ENOUGH_FACTS = 100
"""Fewest facts for a conclusion. With fewer, the selection of a predictor depends on the split."""

ENOUGH_GROUPS = 10
"""Fewest relations (or subjects) for a conclusion: with fewer, intervals are too narrow."""

ENOUGH_RARE = 50
"""Fewest probes of the rarer outcome for a conclusion: with fewer, intervals of the Brier skill are too narrow."""

BASES = ("constant", "method_kind")
"""Predictors whose errors those of the others are compared with."""


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
class Part:
    """A fold: the trials of its test part, by position, and the predictors that were trained without them."""

    rows: np.ndarray
    fits: Mapping[str, Fit]


@dataclass
class Results:
    """Predictions on trials that were not used to train.

    Attributes:
        trials: The tested trials.
        fold: (n,) code of the fold of each trial.
        probability: From each predictor to its (n,) probabilities.
        parts: The folds.
        labels: groups, trained_on and tested_on of the tables.
    """

    trials: Trials
    fold: np.ndarray
    probability: dict[str, np.ndarray]
    parts: list[Part] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, trials: Trials, parts: Sequence[Part], labels: dict[str, str]) -> Results:
        """Return the predictions of the folds; trials that are in no fold are left out."""
        rows = np.concatenate([part.rows for part in parts])
        ends = np.cumsum([len(part.rows) for part in parts])
        places = [np.arange(end - len(part.rows), end) for end, part in zip(ends, parts, strict=True)]
        test_trials = trials.take(rows)
        probability = {
            name: np.concatenate([part.fits[name].probability(trials.take(part.rows)) for part in parts])
            for name in parts[0].fits
        }
        fold = np.concatenate([np.full(len(place), number) for number, place in enumerate(places)])
        return cls(
            test_trials, fold, probability, [Part(p, part.fits) for p, part in zip(places, parts, strict=True)], labels
        )


def probes_of_edits(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `outcomes` to predict: by free generation, one per probe, of methods that edit.

    For kinds of the families edit and portability a success is the object that should be said, for specificity an
    answer that is unchanged, on prompts that the unedited model knows. Scores that are missing are left out.
    """
    is_target = outcomes["metric"].eq(outcomes["family"].map(TARGETS)) & outcomes["protocol"].eq("free")
    return outcomes[is_target & ~outcomes["method"].isin(NON_EDITS) & outcomes["value"].notna()]


def fit_all(trials: Trials, features: Sequence[str], validation: Validation, seed: int) -> dict[str, Fit]:
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
