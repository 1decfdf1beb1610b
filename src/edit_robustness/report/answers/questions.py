"""The three questions, and their answers for one model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pandas as pd

from edit_robustness.report.answers.cost import answer_cost
from edit_robustness.report.answers.difficulty import answer_difficulty
from edit_robustness.report.answers.generalization import answer_generalization
from edit_robustness.tables import select_rows

QUESTIONS = (
    "Does an edit hold however people ask?",
    "What does an edit cost?",
    "Which facts are hard to edit?",
)


@dataclass(frozen=True)
class Answer:
    """One question, its answer in one sentence, and further sentences."""

    question: str
    sentence: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """The tables that the answers are computed from; each may be empty.

    Attributes:
        rankings: `statistics.comparisons.rank_methods`.
        comparisons: `statistics.comparisons.compare_methods`.
        kinds: `statistics.comparisons.weakest_kinds`.
        headline: Rates per kind of prompt.
        correlations: `statistics.difficulty.correlations`.
        regression: The first table of `statistics.regression.regress`.
        prediction: `statistics.prediction.predict`.
        regression_checks: The second table of `statistics.regression.regress`.
        dataset_rates: `statistics.comparisons.rates_by_dataset`.
        labels: Labels of features.
        shares: Features that are true or false of a fact.
        confidence: Level of all intervals; tests are at 1 - confidence.
    """

    rankings: pd.DataFrame
    comparisons: pd.DataFrame
    kinds: pd.DataFrame
    headline: pd.DataFrame
    correlations: pd.DataFrame
    regression: pd.DataFrame
    prediction: pd.DataFrame
    regression_checks: pd.DataFrame = field(default_factory=pd.DataFrame)
    dataset_rates: pd.DataFrame = field(default_factory=pd.DataFrame)
    labels: Mapping[str, str] = field(default_factory=dict)
    shares: Collection[str] = ()
    confidence: float = 0.95


def answer_questions(evidence: Evidence, model: str) -> list[Answer]:
    """Return the answers of one model, in the order of `QUESTIONS`."""
    free = {"model": model, "protocol": "free"}
    rankings, comparisons, kinds, headline, by_dataset = (
        select_rows(table, **free) if len(table) else table
        for table in (
            *(evidence.rankings, evidence.comparisons, evidence.kinds, evidence.headline),
            evidence.dataset_rates,
        )
    )
    alpha = 1 - evidence.confidence
    correlations = select_rows(evidence.correlations, family="edit", **free)
    regression, checks, prediction = (
        select_rows(table, model=model)
        for table in (evidence.regression, evidence.regression_checks, evidence.prediction)
    )
    answers = (
        answer_generalization(rankings, comparisons, kinds, alpha, by_dataset=by_dataset),
        answer_cost(rankings, comparisons, headline, alpha),
        answer_difficulty(
            correlations, regression, prediction, evidence.labels, alpha, checks=checks, shares=evidence.shares
        ),
    )
    return [
        Answer(question, sentence, tuple(details))
        for question, (sentence, details) in zip(QUESTIONS, answers, strict=True)
    ]
