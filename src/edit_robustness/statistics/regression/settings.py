"""Settings of one regression, checked when the parameters are loaded."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator
from pydantic.dataclasses import dataclass

from edit_robustness.setting_types import STRICT
from edit_robustness.statistics.regression.estimators import ESTIMATORS, names_for
from edit_robustness.statistics.regression.formulas import Formula, parse_formula

COLUMNS_OF_PROBES = ("kind", "method", "relation", "dataset", "subject", "fact_id")
"""Columns of `outcomes` that are factors; `kind` differs between the probes of a fact."""

FACT_OUTCOMES = ("efficacy", "generalization", "robustness", "reversion", "portability", "edits_survived")
"""Outcomes of `fact_outcomes`, and those that begin with `FACT_OUTCOMES_BY_KIND`."""

FACT_OUTCOMES_BY_KIND = ("generalization:", "specificity:")

PROBE_OUTCOMES = {"efficacy": "success", "generalization": "success", "portability": "success"}
"""Metric that stands for an outcome if the formula compares kinds of prompt, so that a row must be one prompt."""

GRADED = "answer"
"""Outcome with three values, from worst to best: old object, neither, new object."""


@dataclass(frozen=True, config=STRICT)
class RegressionModel:
    """One regression of `analyze.models`.

    Attributes:
        formula: Outcome and terms, ``success ~ kind*method + log_views*method + C(relation)``.
        outcome: What is explained, if it is not the name on the left of the formula: ``metric/protocol``
            (``success/free``: a row per prompt), an outcome of `fact_outcomes` (``generalization``: a row per fact), or
            ``answer`` (new object, neither, old object).
        family: ``binomial`` (odds ratios), ``gaussian`` (differences), ``ordinal`` (for ``answer``), or ``conditional``
            (logistic, within each group).
        estimator: ``gee``, ``glm_cluster``, ``ordinal`` or ``conditional_logit``; by default that of the family.
        groups: Clusters of the errors; for ``conditional`` the groups within which rows are compared.
        missing: ``indicator``: rows without a feature stay, and cost only the terms of this feature. ``drop``: they are
            left out.
    """

    formula: str
    outcome: str = ""
    family: Literal["binomial", "gaussian", "ordinal", "conditional"] = "binomial"
    estimator: str | None = None
    groups: Literal["subject", "relation", "fact_id"] = "subject"
    missing: Literal["indicator", "drop"] = "indicator"

    @field_validator("formula")
    @classmethod
    def _is_formula(cls, text: str) -> str:
        parse_formula(text)
        return text

    def __post_init__(self) -> None:
        choices = names_for(self.family)
        if self.estimator is not None and self.estimator not in choices:
            raise ValueError(f"family {self.family} has the estimators {', '.join(choices)}, not {self.estimator}")
        is_graded = self.metric == GRADED
        if is_graded != ESTIMATORS[self.method].is_graded:
            raise ValueError(
                f"family ordinal and the outcome `{GRADED}` belong together; family is {self.family}, "
                f"outcome is {self.metric}"
            )
        if self.is_of_facts and "kind" in self.parsed.variables:
            raise ValueError(
                f"`{self.metric}` is one value per fact, so `kind` cannot explain it; set outcome: success/free"
            )

    @property
    def parsed(self) -> Formula:
        """Return the formula's terms."""
        return parse_formula(self.formula)

    @property
    def method(self) -> str:
        """Return the estimator."""
        return self.estimator or names_for(self.family)[0]

    @property
    def metric(self) -> str:
        """Return the metric, or the outcome of facts, that is explained."""
        name = self._outcome.partition("/")[0]
        if "kind" in self.parsed.variables:
            return PROBE_OUTCOMES.get(name, name)
        return name

    @property
    def prompts(self) -> str:
        """Return the family of prompts that a metric is read from, if it exists for several."""
        return "portability" if self._outcome.partition("/")[0] == "portability" else "edit"

    @property
    def protocol(self) -> str:
        """Return the protocol of the outcome."""
        return self._outcome.partition("/")[2] or "free"

    @property
    def is_of_facts(self) -> bool:
        """Return whether a row is a fact under a method, instead of a prompt."""
        name, _, protocol = self._outcome.partition("/")
        if name.startswith(FACT_OUTCOMES_BY_KIND):
            return True
        is_metric = name in PROBE_OUTCOMES and "kind" in self.parsed.variables
        is_metric = is_metric or (name == "reversion" and (bool(protocol) or "kind" in self.parsed.variables))
        return name in FACT_OUTCOMES and not is_metric

    @property
    def _outcome(self) -> str:
        return self.outcome or self.parsed.response
