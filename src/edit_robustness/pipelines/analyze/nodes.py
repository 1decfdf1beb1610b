"""Nodes of analyze: each one computes a table, a figure or the report from tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
from pydantic import Field
from pydantic.dataclasses import dataclass

from edit_robustness.features.declared import declared_names, possible_names
from edit_robustness.plots.popularity import correlation_figure, popularity_figure, success_figure
from edit_robustness.plots.robustness import protocol_figure, robustness_figure
from edit_robustness.report import Findings, paper1, render
from edit_robustness.report.examples import cell_examples, write_answer_files
from edit_robustness.report.failures import sharpest_failures, specificity_failures
from edit_robustness.report.overview import ALL_KINDS
from edit_robustness.setting_types import STRICT, ListSetting
from edit_robustness.statistics import curves, difficulty
from edit_robustness.statistics.comparisons import compare_methods, rank_methods, rates_by_dataset, weakest_kinds
from edit_robustness.statistics.fact_outcomes import fact_outcomes, probe_outcomes
from edit_robustness.statistics.failures import with_failed
from edit_robustness.statistics.gaps import protocol_gaps
from edit_robustness.statistics.intervals import rates
from edit_robustness.statistics.popularity import trend
from edit_robustness.statistics.predictor_training import validate_and_train
from edit_robustness.statistics.regression import COLUMNS_OF_PROBES, RegressionModel, check_names, regress
from edit_robustness.statistics.validation import Validation
from edit_robustness.tables import collect


@dataclass(frozen=True, config=STRICT)
class PrimaryParameters:
    """The tests that Holm's correction covers: every listed feature against every listed outcome.

    Fix them before a run. Other tests are exploratory.

    Attributes:
        features: Names of features (docs/reference/features.md).
        outcomes: Names of outcomes of edits, or patterns such as ``specificity:*``.
    """

    features: ListSetting[str] = tuple(difficulty.Primary().features)
    outcomes: ListSetting[str] = tuple(difficulty.Primary().outcomes)


@dataclass(frozen=True, config=STRICT)
class AnalysisParameters:
    """How to analyse; the defaults are those of the report's explanations.

    Attributes:
        confidence: Level of all intervals.
        bootstrap: Resamples of groups (`cv_groups`) for the intervals of the prediction.
        seed: Seed of these resamples and of the cross-validation.
        power: Probability with which a sample must show a correlation, for the reported power.
        max_failures: Cases shown for each model and method.
        examples_shown: Answers that the page itself has for each cell of the heat map. If a cell has more, files beside
            the page have all of them. With 0 there are none.
        folds: Parts of the cross-validation.
        primary: The tests that Holm's correction covers.
        classes: Whether outcomes are also given by classes of popularity, as in arXiv 2402.05827.
        cv_groups: What is never in training and test at once.
        models: Regressions, by name (docs/reference/regressions.md); null leaves one of the defaults out.
        calibration: Form of the map that corrects predicted probabilities.
    """

    confidence: float = Field(0.95, gt=0, lt=1)
    bootstrap: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0)
    power: float = Field(0.8, gt=0, lt=1)
    max_failures: int = Field(3, ge=0)
    examples_shown: int = Field(5, ge=0)
    folds: int = Field(5, ge=2)
    primary: PrimaryParameters = Field(default_factory=PrimaryParameters)
    classes: bool = False
    cv_groups: Literal["subject", "relation"] = "relation"
    calibration: Literal["platt", "isotonic"] = "platt"
    models: Mapping[str, RegressionModel | None] = Field(default_factory=dict)


def check_formulas(facts: pd.DataFrame, settings: AnalysisParameters) -> None:
    """Refuse a regression of a column that does not exist, as soon as the facts and their columns are known.

    Raises:
        ValueError: Naming the regression, the column and the closest name.
    """
    check_names(settings.models, [*COLUMNS_OF_PROBES, *possible_names(facts)])


def collect_facts(models: Sequence[str]) -> Callable[..., pd.DataFrame]:
    """Return a function that joins the models' edited facts into one table with the column `model`."""

    def facts_of(*tables: pd.DataFrame) -> pd.DataFrame:
        return collect(*(table.assign(model=model) for model, table in zip(models, tables, strict=True)))

    return facts_of


def join_outcomes(
    scores: pd.DataFrame,
    facts: pd.DataFrame,
    recall: pd.DataFrame,
    features: pd.DataFrame,
    feature_summary: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join scores with the features of each fact, and compute one value per fact and outcome."""
    outcomes = probe_outcomes(scores, facts, features, feature_summary)
    return outcomes, fact_outcomes(outcomes, facts, recall)


MEASURE = ["decoding", "protocol", "metric", "unit"]
POPULARITY = ("log_views", "connection", "co_occurrence")
"""Features that arXiv 2402.05827 measures popularity by."""


def summarise(
    outcomes: pd.DataFrame, failed_items: pd.DataFrame, settings: AnalysisParameters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute rates and means with intervals for every method, protocol and metric: by kind of prompt, and by family.

    Kinds of the family specificity ask about different things, so they stay apart in the overview, too. `n_failed`
    counts the facts that the method could not be measured on; a method that failed on all has rows without figures.
    """
    together = outcomes.assign(kind=outcomes["kind"].where(outcomes["family"] == "specificity", ALL_KINDS))
    by = ["model", "method", "kind", "family", *MEASURE]
    headline, overview = (
        with_failed(rates(table, by, cluster="subject", confidence=settings.confidence), failed_items)
        for table in (outcomes, together)
    )
    return headline, overview


def compare_protocols(outcomes: pd.DataFrame, settings: AnalysisParameters) -> pd.DataFrame:
    """Compare teacher forcing with free generation, paired by probe."""
    return protocol_gaps(outcomes, settings.confidence)


def compare(
    fact_outcomes: pd.DataFrame, recall: pd.DataFrame, facts: pd.DataFrame, settings: AnalysisParameters
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Compare methods pairwise, rank them, compare each method's kinds with the weakest one, and data sets."""
    comparisons = compare_methods(fact_outcomes, settings.confidence)
    rankings = rank_methods(fact_outcomes, comparisons, settings.confidence)
    by_dataset = rates_by_dataset(fact_outcomes, recall, facts, settings.confidence)
    return comparisons, rankings, weakest_kinds(fact_outcomes, settings.confidence), by_dataset


def compare_with_paper_1(outcomes: pd.DataFrame, settings: AnalysisParameters) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the first paper's table beside this run's figures, and which of its orderings are reproduced."""
    figures = rates(paper1.select_rows(outcomes), paper1.KEYS, cluster="subject", confidence=settings.confidence)
    table = paper1.beside(figures)
    return table, paper1.orderings(table)


def correlate(
    fact_outcomes: pd.DataFrame,
    features: pd.DataFrame,
    feature_summary: pd.DataFrame,
    recall: pd.DataFrame,
    facts: pd.DataFrame,
    settings: AnalysisParameters,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Compute the correlations of features with outcomes, those within relations, and the power of the edited facts."""
    table, by_relation = difficulty.correlations(
        fact_outcomes,
        features,
        feature_summary,
        recall,
        _primary(settings),
        confidence=settings.confidence,
        power=settings.power,
    )
    return table, by_relation, difficulty.power_table(facts, features, table, settings.confidence, settings.power)


def _primary(settings: AnalysisParameters) -> difficulty.Primary:
    return difficulty.Primary(settings.primary.features, settings.primary.outcomes)


def smooth_popularity(
    fact_outcomes: pd.DataFrame,
    features: pd.DataFrame,
    feature_summary: pd.DataFrame,
    recall: pd.DataFrame,
    settings: AnalysisParameters,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute outcomes over measures of popularity: as curves, and if the settings ask for it by classes."""
    cells = difficulty.popularity_cells(fact_outcomes, features, recall, POPULARITY, _primary(settings))
    names = [name for name in POPULARITY if name in cells]
    scales = feature_summary.drop_duplicates("feature").set_index("feature")["scale"].to_dict()
    classes = curves.popularity_classes(
        cells if settings.classes else cells.head(0), {name: scales.get(name, "linear") for name in names},
        settings.confidence,
    )  # fmt: skip
    return curves.popularity_curves(cells, names, settings.confidence), classes


def explain(
    outcomes: pd.DataFrame, settings: AnalysisParameters, fact_outcomes: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit the regressions of the configuration for each model; return their terms and the checks of assumptions."""
    return regress(outcomes, settings.models, fact_outcomes, settings.confidence, declared_names())


def foretell(
    outcomes: pd.DataFrame, feature_summary: pd.DataFrame, runs: list[dict[str, Any]], settings: AnalysisParameters
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Compute how well the success of a probe can be predicted before the edit, and fit the predictor of each model.

    Returns:
        The tables prediction, calibration and importance (`statistics.prediction.predict`), also across data sets and
        across models; and the predictors of all models (`statistics.predictor.write_predictors`).
    """
    return validate_and_train(
        outcomes,
        feature_summary,
        runs,
        Validation(
            groups=settings.cv_groups,
            folds=settings.folds,
            bootstrap=settings.bootstrap,
            confidence=settings.confidence,
            seed=settings.seed,
            form=settings.calibration,
        ),
    )


def draw_popularity(
    features: pd.DataFrame, popularity_curves: pd.DataFrame, popularity_classes: pd.DataFrame
) -> tuple[go.Figure, go.Figure]:
    """Draw what the unedited model knows, and the success of edits, over page views."""
    recall_figure = popularity_figure(features, popularity_curves, trend(features), popularity_classes)
    return recall_figure, success_figure(popularity_curves)


def draw_robustness(headline: pd.DataFrame) -> tuple[go.Figure, go.Figure]:
    """Draw success by kind and method, and the gap between the protocols."""
    return robustness_figure(headline), protocol_figure(headline)


def draw_correlations(correlations: pd.DataFrame, settings: AnalysisParameters) -> go.Figure:
    """Draw the forest plot of correlations."""
    return correlation_figure(correlations, alpha=1 - settings.confidence)


def find_failures(
    answers: pd.DataFrame, scores: pd.DataFrame, settings: AnalysisParameters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the sharpest failures of edits, and the prompts about other facts whose answer became a new object."""
    number = settings.max_failures
    return sharpest_failures(answers, scores, number), specificity_failures(answers, number)


def pick_examples(answers: pd.DataFrame, scores: pd.DataFrame, settings: AnalysisParameters) -> pd.DataFrame:
    """Select the answers that the report shows for each cell of the heat map."""
    return cell_examples(answers, scores, settings.examples_shown)


def list_answers(answers: pd.DataFrame, scores: pd.DataFrame, settings: AnalysisParameters) -> dict[str, str]:
    """Write all answers of each cell of the heat map that has more than the page shows, as files beside the page."""
    return write_answer_files(answers, scores, settings.examples_shown)


def write_report(
    headline: pd.DataFrame,
    overview: pd.DataFrame,
    gaps: pd.DataFrame,
    method_comparisons: pd.DataFrame,
    method_rankings: pd.DataFrame,
    weakest_kinds: pd.DataFrame,
    dataset_rates: pd.DataFrame,
    paper_1: pd.DataFrame,
    orderings: pd.DataFrame,
    correlations: pd.DataFrame,
    power: pd.DataFrame,
    regression: pd.DataFrame,
    regression_checks: pd.DataFrame,
    prediction: pd.DataFrame,
    importance: pd.DataFrame,
    failure_examples: pd.DataFrame,
    specificity_failures: pd.DataFrame,
    examples: pd.DataFrame,
    rejects: pd.DataFrame,
    failed_items: pd.DataFrame,
    feature_summary: pd.DataFrame,
    runs: list[dict[str, Any]],
    answers: pd.DataFrame,
    settings: AnalysisParameters,
    **figures: go.Figure,
) -> str:
    """Return the report as one HTML document. Figures are keyword arguments under their names."""
    return render(
        Findings(
            headline=headline,
            overview=overview,
            gaps=gaps,
            method_comparisons=method_comparisons,
            method_rankings=method_rankings,
            weakest_kinds=weakest_kinds,
            dataset_rates=dataset_rates,
            paper_1=paper_1,
            orderings=orderings,
            correlations=correlations,
            power=power,
            regression=regression,
            regression_checks=regression_checks,
            prediction=prediction,
            importance=importance,
            failure_examples=failure_examples,
            specificity_failures=specificity_failures,
            examples=examples,
            rejects=rejects,
            failed_items=failed_items,
            feature_summary=feature_summary,
            runs=runs,
            figures=figures,
            confidence=settings.confidence,
            max_failures=settings.max_failures,
            has_answers=not answers.empty,
        )
    )
