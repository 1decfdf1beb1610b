"""Pipelines of study: from a run to the tables that are kept of it, and from these to the input of the analysis."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.study import nodes

_RUNS = "runs"


def create_export_pipeline() -> Pipeline:
    """Create the pipeline that keeps the tables and the predictor of the last run."""
    inputs = {name: name for name in (*nodes.TABLES, _RUNS, "fitted_predictor")}
    outputs = ["exported_tables", "exported_runs", "exported_predictor"]
    return Pipeline([Node(nodes.export_tables, inputs, outputs, name="export_tables")])


def create_pipeline() -> Pipeline:
    """Create the pipeline that reads the tables of a study and its runs, which the analysis starts from."""
    outputs = [*nodes.TABLES, _RUNS, "answers"]
    return Pipeline([Node(nodes.read_tables, ["study_tables", "study_runs"], outputs, name="read_tables")])
