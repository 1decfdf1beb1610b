"""Pipeline that analyzes sequences of edits: collects the models' tables, estimates, draws and writes the page."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.analyze_sequences import nodes
from edit_robustness.report.runs import collect_runs
from edit_robustness.report.sequences import FIGURES
from edit_robustness.tables import collect

SETTINGS = "params:analyze_sequences"
TAG = "analyze_sequences"
"""Tag of all these nodes: `--tags=analyze_sequences` recomputes the tables and the page without a model."""

COLLECTED = {
    "documents": "sequence_documents",
    "sequence_answers": "sequence_answers",
    "sequence_scores": "sequence_scores",
    "drift": "drift",
    "sequence_failed_items": "sequence_failed_items",
}
"""Tables of each model, and the name of all models' together."""


def create_pipeline(models: Sequence[str]) -> Pipeline:
    """Create the analysis of sequential editing of all models together.

    Args:
        models: Names of the models; ``<model>_documents``, ``_benchmarks``, ``_sequence_answers``,
            ``_sequence_scores``, ``_sequence_facts``, ``_sequence_failed_items``, ``_drift`` and ``_sequence_run`` are
            inputs, beside ``params:analyze_sequences``.
    """
    return Pipeline([*_collect_nodes(models), *_estimate_nodes(), *_draw_nodes(), *_report_nodes()], tags=[TAG])


def _collect_nodes(models: Sequence[str]) -> list[Node]:
    def of(table: str) -> list[str]:
        return [f"{model}_{table}" for model in models]

    return [
        *(Node(collect, of(source), name, name=f"collect_{name}") for source, name in COLLECTED.items()),
        Node(nodes.collect_benchmarks(models), of("benchmarks"), "sequence_benchmarks", name="collect_benchmarks"),
        Node(nodes.collect_facts(models), of("sequence_facts"), "sequence_facts", name="collect_sequence_facts"),
        Node(collect_runs, of("sequence_run"), "sequence_runs", name="collect_sequence_runs"),
    ]


def _estimate_nodes() -> list[Node]:
    return [
        Node(
            nodes.estimate_abilities,
            ["sequence_documents", "sequence_benchmarks", SETTINGS],
            ["abilities", "ability_comparisons", "ability_paths"],
            name="estimate_abilities",
        ),
        Node(
            nodes.estimate_loss,
            ["sequence_documents", "abilities", SETTINGS],
            ["ability_retention", "ability_retention_paths", "lifetimes", "survival"],
            name="estimate_loss",
        ),
        Node(
            nodes.estimate_edit_retention,
            ["sequence_scores", "sequence_answers", "sequence_facts", SETTINGS],
            ["edit_retention", "knowledge_retention", "frontier", "forgetting", "sequence_fact_outcomes"],
            name="estimate_edit_retention",
        ),
        Node(
            nodes.average_orders,
            ["edit_retention", "knowledge_retention", SETTINGS],
            ["edit_retention_paths", "knowledge_retention_paths"],
            name="average_orders",
        ),
    ]


def _draw_nodes() -> list[Node]:
    return [
        Node(
            nodes.draw_abilities,
            ["ability_paths", SETTINGS],
            _figures("abilities", "safety", "paper_2", "gold"),
            name="draw_abilities",
        ),
        Node(
            nodes.draw_loss,
            ["ability_retention_paths", "survival", SETTINGS],
            _figures("kinds", "scale", "survival"),
            name="draw_loss",
        ),
        Node(
            nodes.draw_edit_retention,
            ["edit_retention_paths", "knowledge_retention_paths", "frontier", "forgetting"],
            _figures("edit_retention", "knowledge_retention", "frontier", "forgetting"),
            name="draw_edit_retention",
        ),
        Node(nodes.draw_drift, "drift", _figures("drift")[0], name="draw_drift"),
    ]


def _report_nodes() -> list[Node]:
    inputs = {
        "abilities": "ability_paths",
        "comparisons": "ability_comparisons",
        "ability_retention": "ability_retention_paths",
        "lifetimes": "lifetimes",
        "edit_retention": "edit_retention_paths",
        "knowledge_retention": "knowledge_retention_paths",
        "benchmarks": "sequence_benchmarks",
        "failed_items": "sequence_failed_items",
        "runs": "sequence_runs",
        "settings": SETTINGS,
        **{figure: figure for figure in _figures(*FIGURES)},
    }
    return [Node(nodes.write_page, inputs, "sequences", name="write_sequences")]


def _figures(*names: str) -> list[str]:
    return [f"{name}_figure" for name in names]
