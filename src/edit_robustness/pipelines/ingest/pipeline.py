"""The graph of ingest, one for all models."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.ingest.nodes import validate_facts, validate_lessons


def create_pipeline() -> Pipeline:
    """Raw facts and templates to checked facts, rejects and ambiguous subjects; and facts to learn from."""
    outputs = ["facts", "rejects", "ambiguous_subjects"]
    return Pipeline(
        [
            Node(validate_facts, ["raw_facts", "raw_relations"], outputs, name="validate_facts"),
            Node(validate_lessons, ["raw_lessons", "raw_relations"], "lessons", name="validate_lessons"),
        ]
    )
