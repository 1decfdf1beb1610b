"""A predictor as a file: a calibrated logistic regression in JSON, which names what it was trained on.

It is applied without scikit-learn. It refuses another model, other settings of a method, and kinds of prompt that it
was not trained on, because nothing is known about its error there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from edit_robustness.statistics.calibration import read_map
from edit_robustness.statistics.design import Design, FeatureScale, Term, Trials
from edit_robustness.statistics.fitting import LogisticFit

SCHEMA = 1
"""Version of the file, raised when its content changes its meaning."""

DRIVERS = 3
"""Features that are named as drivers of a prediction."""

_SHOWN = 4


class OtherPredictor(ValueError):
    """A predictor that was not trained on what it is asked about, or that cannot tell."""


@dataclass(frozen=True)
class Predictor:
    """A predictor of one model.

    Attributes:
        model: Name of the model.
        fingerprint: Fingerprint of the model.
        methods: From each method to its settings.
        kinds: From each kind of prompt to its family.
        datasets: Data sets of the facts.
        groups: What was held out: ``relation`` or ``subject``.
        n_facts: Number of facts.
        n_probes: Number of probes.
        n_groups: Number of relations (or subjects).
        held_out: From each metric of the table `prediction` to value, low and high, on facts that were not trained on.
        confidence: Level of these intervals.
        labels: From each feature to its label.
        note: Why it cannot tell; empty if it can.
        fit: The regression; None if it cannot tell.
    """

    model: str
    fingerprint: str
    methods: Mapping[str, Mapping[str, Any]]
    kinds: Mapping[str, str]
    datasets: tuple[str, ...]
    groups: str
    n_facts: int
    n_probes: int
    n_groups: int
    held_out: Mapping[str, Mapping[str, float | None]]
    confidence: float
    labels: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    fit: LogisticFit | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Return the features that the predictor reads."""
        return tuple(scale.name for scale in self.fit.design.scales) if self.fit else ()

    def check(
        self, model: str, fingerprint: str, methods: Mapping[str, Mapping[str, Any]], kinds: Collection[str]
    ) -> None:
        """Refuse to predict what the predictor was not trained on.

        Args:
            model: Name of the model.
            fingerprint: Its fingerprint.
            methods: From each method to predict to its settings.
            kinds: The kinds of prompt to predict.

        Raises:
            OtherPredictor: Naming each difference, and what to do.
        """
        problems = []
        if self.note or self.fit is None:
            problems.append(
                f"it cannot tell anything: {self.note or 'it has no coefficients'}. Run `kedro run` on more facts, "
                "with --params=sample.size=..., or give another predictor with --params=predictor_path=..."
            )
        elif fingerprint != self.fingerprint:
            problems.append(
                f"it was trained on a model `{self.model}` with the fingerprint {_short(self.fingerprint)}, and "
                f"`{model}` is now {_short(fingerprint)}: run `kedro run` with this model first"
            )
        if unknown_methods := [name for name in methods if name not in self.methods]:
            problems.append(
                f"it was not trained on {_list(unknown_methods)}, but on {_list(self.methods)}: leave the others out "
                f'with --params="preflight.methods={" ".join(self.methods)}"'
            )
        for name, settings in methods.items():
            training_settings = self.methods.get(name, settings)
            if differences := _differences(training_settings, settings):
                problems.append(
                    f"it was trained on {name} with other settings ({_list(differences)}): set "
                    f"methods.{name}.{model} back, or run `kedro run` with these settings first"
                )
        if unknown_kinds := [name for name in kinds if name not in self.kinds]:
            problems.append(
                f"it was not trained on the kinds {_list(unknown_kinds)}, but on {_list(self.kinds)}: change "
                "preflight.kinds"
            )
        if problems:
            raise OtherPredictor(f"the predictor does not fit this run: {'; '.join(problems)}")

    def predict(self, facts: pd.DataFrame, methods: Sequence[str], kinds: Sequence[str]) -> pd.DataFrame:
        """Predict whether edits of facts hold.

        Args:
            facts: A row per fact: fact_id and the features. Missing values are imputed.
            methods: Methods to predict.
            kinds: Kinds of prompt to predict.

        Returns:
            A row per fact, method and kind: fact_id, method, kind, family, probability (the calibrated one that a
            probe of this kind succeeds), average (that of an average fact), drivers (the features that move it most
            away from the average, with their effect in percentage points), outside (features whose value is outside
            the range that the predictor was trained on) and missing (features without a value).

        Raises:
            OtherPredictor: If it cannot tell, or if `facts` lacks a feature.
        """
        if self.fit is None:
            raise OtherPredictor(f"the predictor cannot tell: {self.note}")
        if absent := [name for name in self.features if name not in facts]:
            raise OtherPredictor(
                f"the facts lack features that the predictor reads: {', '.join(absent)}. Add these columns to the "
                "table of facts, or set the features of this run as in the run that made the predictor"
            )
        cells = pd.DataFrame([(method, kind) for method in methods for kind in kinds], columns=["method", "kind"])
        rows = facts[["fact_id", *self.features]].merge(cells, how="cross")
        rows = rows.assign(family=rows["kind"].map(self.kinds), value=0, subject="", group="")
        trials = Trials.of(rows, self.features, "group")
        odds = self.fit.odds(trials)
        contributions = {name: self.fit.contribution(name, trials) for name in self.features}
        base = odds - sum(contributions.values(), np.zeros(len(trials)))
        probability = self._probability(odds)
        points = {name: 100 * (probability - self._probability(odds - part)) for name, part in contributions.items()}
        notes = self._notes(trials)
        return rows[["fact_id", "method", "kind", "family"]].assign(
            probability=probability,
            average=self._probability(base),
            drivers=[self._name_drivers(points, row) for row in range(len(trials))],
            **{name: texts[trials.fact] for name, texts in notes.items()},
        )

    def _probability(self, odds: np.ndarray) -> np.ndarray:
        assert self.fit is not None
        return self.fit.calibration(1 / (1 + np.exp(-odds)))

    def _name_drivers(self, points: Mapping[str, np.ndarray], row: int) -> str:
        effects = sorted(((name, float(values[row])) for name, values in points.items()), key=lambda e: -abs(e[1]))
        return "; ".join(
            f"{self.label(name)} {effect:+.0f}" for name, effect in effects[:DRIVERS] if abs(effect) >= 0.5
        )

    def _notes(self, trials: Trials) -> dict[str, np.ndarray]:
        """Return for each fact the features outside the trained range, and the missing ones, as text."""
        assert self.fit is not None
        excesses, absences = {}, {}
        for scale in self.fit.design.scales:
            values = trials.values[:, trials.features.index(scale.name)]
            excesses[scale.name], absences[scale.name] = scale.outside(values), np.isnan(values)
        return {"outside": self._texts(excesses, trials), "missing": self._texts(absences, trials)}

    def _texts(self, flags: Mapping[str, np.ndarray], trials: Trials) -> np.ndarray:
        texts = [
            ", ".join(self.label(name) for name, of_facts in flags.items() if of_facts[fact])
            for fact in range(len(trials.values))
        ]
        return np.array(texts, dtype=object)

    def label(self, feature: str) -> str:
        """Return the label of a feature."""
        return self.labels.get(feature, feature.replace("_", " "))

    def plain(self) -> dict[str, Any]:
        """Return the predictor as JSON values."""
        names = ("model", "fingerprint", "methods", "kinds", "datasets", "groups", "n_facts", "n_probes", "n_groups")
        content = {name: getattr(self, name) for name in (*names, "held_out", "confidence", "labels", "note")}
        content["datasets"] = list(self.datasets)
        return {**content, "regression": None if self.fit is None else _plain_fit(self.fit)}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Predictor:
        """Return the predictor in JSON values; the inverse of `plain`.

        Raises:
            ValueError: If a part is missing or is not of its form.
        """
        try:
            values = {name: content[name] for name in content if name != "regression"}
            regression = content["regression"]
            fit = None if regression is None else _read_fit(regression, values["methods"], values["kinds"])
            return cls(**{**values, "datasets": tuple(values["datasets"]), "fit": fit})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a predictor of this release: {error}; make it again with `kedro run`") from error


def write_predictors(predictors: Sequence[Predictor]) -> dict[str, Any]:
    """Return the content of a file with the predictors of several models."""
    return {"schema": SCHEMA, "predictors": {predictor.model: predictor.plain() for predictor in predictors}}


def read_predictor(content: Any, model: str) -> Predictor:
    """Return the predictor of a model in a file.

    Raises:
        OtherPredictor: If the file has no predictor of the model, or is of another release.
    """
    if not isinstance(content, Mapping) or content.get("schema") != SCHEMA:
        raise OtherPredictor(f"the predictor is not of schema {SCHEMA}: make it again with `kedro run`")
    predictors = content.get("predictors") or {}
    if model not in predictors:
        raise OtherPredictor(
            f"the predictor was not trained on model `{model}`, but on {_list(predictors) or 'none'}: run `kedro run` "
            "with this model first and give its predictor (--params=predictor_path=data/08_reporting/latest/"
            "predictor.json), or switch the other model on in `grid`"
        )
    return Predictor.read(predictors[model])


def _plain_fit(fit: LogisticFit) -> dict[str, Any]:
    return {
        "intercept": fit.intercept,
        "strength": fit.strength,
        "calibration": fit.calibration.plain(),
        "features": [asdict(scale) for scale in fit.design.scales],
        "coefficients": [
            {**{name: value for name, value in asdict(term).items() if value}, "coefficient": float(coefficient)}
            for term, coefficient in zip(fit.design.terms, fit.coefficients, strict=True)
        ],
    }


def _read_fit(content: Mapping[str, Any], methods: Collection[str], kinds: Mapping[str, str]) -> LogisticFit:
    scales = [
        FeatureScale(**{**scale, "knots": tuple(scale["knots"]) if scale["knots"] else None})
        for scale in content["features"]
    ]
    design = Design(tuple(sorted(methods)), dict(kinds), tuple(scales))
    coefficients = {
        Term(**{name: value for name, value in row.items() if name != "coefficient"}): float(row["coefficient"])
        for row in content["coefficients"]
    }
    if set(coefficients) != set(design.terms):
        raise ValueError("the predictor's coefficients do not belong to its methods, kinds and features")
    return LogisticFit(
        design,
        np.array([coefficients[term] for term in design.terms]),
        float(content["intercept"]),
        read_map(content["calibration"]),
        float(content["strength"]),
    )


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*old, *new])
    return [
        f"{name} {old.get(name, 'absent')}, now {new.get(name, 'absent')}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _list(names: Collection[str]) -> str:
    ending = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(list(map(str, names))[:_SHOWN]) + ending


def _short(fingerprint: str) -> str:
    return fingerprint[:12] or "(unknown)"
