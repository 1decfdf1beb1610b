"""Pipeline of ingest, shared by all models."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.ingest.nodes import validate_facts, validate_training_facts


def create_pipeline() -> Pipeline:
    """Create the pipeline from raw facts and templates to facts, rejects, ambiguous subjects and training facts."""
    outputs = ["facts", "rejects", "ambiguous_subjects"]
    return Pipeline(
        [
            Node(validate_facts, ["raw_facts", "raw_relations"], outputs, name="validate_facts"),
            Node(
                validate_training_facts,
                ["raw_training_facts", "raw_relations"],
                "training_facts",
                name="validate_training_facts",
            ),
        ]
    )
