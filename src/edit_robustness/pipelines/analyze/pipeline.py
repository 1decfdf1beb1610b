"""Pipeline of analyze: collects the models' tables, estimates, draws and writes the report."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.analyze import nodes
from edit_robustness.report.runs import collect_runs
from edit_robustness.tables import collect

SETTINGS = "params:analyze"


def create_pipeline(models: Sequence[str]) -> Pipeline:
    """Create the analysis of all models together.

    Args:
        models: Names of the models; ``<model>_scores``, ``_answers``, ``_recall``, ``_features``,
            ``_feature_summary``, ``_facts``, ``_run`` and ``_failed_items`` are inputs, beside ``rejects`` and
            ``params:analyze``.
    """
    return Pipeline(_collect_nodes(models)) + create_estimating_pipeline()


def create_estimating_pipeline() -> Pipeline:
    """Create the analysis from the tables of all models to the report."""
    return Pipeline([*_estimate_nodes(), *_draw_nodes(), *_report_nodes()])


def create_checking_pipeline() -> Pipeline:
    """Create the pipeline that checks formulas against the columns of ``facts``, before any model is loaded."""
    return Pipeline([Node(nodes.check_formulas, ["facts", SETTINGS], None, name="check_formulas")])


def _collect_nodes(models: Sequence[str]) -> list[Node]:
    def of(table: str) -> list[str]:
        return [f"{model}_{table}" for model in models]

    return [
        Node(collect, of("scores"), "scores", name="collect_scores"),
        Node(collect, of("answers"), "answers", name="collect_answers"),
        Node(collect, of("recall"), "recall", name="collect_recall"),
        Node(collect, of("features"), "features", name="collect_features"),
        Node(collect, of("feature_summary"), "feature_summary", name="collect_feature_summary"),
        Node(nodes.collect_facts(models), of("facts"), "edited_facts", name="collect_facts"),
        Node(collect_runs, of("run"), "runs", name="collect_runs"),
        Node(collect, of("failed_items"), "failed_items", name="collect_failed_items"),
    ]


def _estimate_nodes() -> list[Node]:
    return [
        Node(
            nodes.join_outcomes,
            ["scores", "edited_facts", "recall", "features", "feature_summary"],
            ["outcomes", "fact_outcomes"],
            name="join",
        ),
        Node(nodes.summarise, ["outcomes", "failed_items", SETTINGS], ["headline", "overview"], name="summarise"),
        Node(nodes.compare_protocols, ["outcomes", SETTINGS], "gaps", name="compare_protocols"),
        Node(
            nodes.compare,
            ["fact_outcomes", "recall", "edited_facts", SETTINGS],
            ["method_comparisons", "method_rankings", "weakest_kinds", "dataset_rates"],
            name="compare_methods",
        ),
        Node(nodes.compare_with_paper_1, ["outcomes", SETTINGS], ["paper_1", "orderings"], name="compare_with_paper_1"),
        Node(
            nodes.correlate,
            ["fact_outcomes", "features", "feature_summary", "recall", "edited_facts", SETTINGS],
            ["correlations", "relation_correlations", "power"],
            name="correlate",
        ),
        Node(
            nodes.smooth_popularity,
            ["fact_outcomes", "features", "feature_summary", "recall", SETTINGS],
            ["popularity_curves", "popularity_classes"],
            name="smooth_popularity",
        ),
        Node(
            nodes.explain,
            ["outcomes", SETTINGS, "fact_outcomes"],
            ["regression", "regression_checks"],
            name="explain",
        ),
        Node(
            nodes.foretell,
            ["outcomes", "feature_summary", "runs", SETTINGS],
            ["prediction", "calibration", "importance", "fitted_predictor"],
            name="predict",
        ),
        Node(
            nodes.find_failures,
            ["answers", "scores", SETTINGS],
            ["failure_examples", "specificity_failures"],
            name="find_failures",
        ),
        Node(nodes.pick_examples, ["answers", "scores", SETTINGS], "examples", name="pick_examples"),
        Node(nodes.list_answers, ["answers", "scores", SETTINGS], "answer_files", name="list_answers"),
    ]


def _draw_nodes() -> list[Node]:
    return [
        Node(
            nodes.draw_popularity,
            ["features", "popularity_curves", "popularity_classes"],
            ["popularity_figure", "success_figure"],
            name="draw_popularity",
        ),
        Node(nodes.draw_robustness, "headline", ["robustness_figure", "protocol_figure"], name="draw_robustness"),
        Node(nodes.draw_correlations, ["correlations", SETTINGS], "correlation_figure", name="draw_correlations"),
    ]


def _report_nodes() -> list[Node]:
    tables = [
        *(
            "headline",
            "overview",
            "gaps",
            "method_comparisons",
            "method_rankings",
            "weakest_kinds",
            "dataset_rates",
            "paper_1",
            "orderings",
            "correlations",
            "power",
            "regression",
        ),
        *(
            "regression_checks",
            "prediction",
            "importance",
            "failure_examples",
            "specificity_failures",
            "examples",
            "rejects",
            "failed_items",
            "runs",
            "answers",
        ),
        "feature_summary",
    ]
    figures = ["robustness", "protocol", "popularity", "success", "correlation"]
    inputs = {table: table for table in tables} | {name: f"{name}_figure" for name in figures}
    return [Node(nodes.write_report, {**inputs, "settings": SETTINGS}, "report", name="report")]
