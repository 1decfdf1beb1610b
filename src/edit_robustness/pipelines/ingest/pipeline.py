"""The pipelines of ingest: one for all models, and the choice of facts, which each model makes anew."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.ingest.nodes import sample_facts, validate_facts


def create_pipeline() -> Pipeline:
    """Raw facts and templates to checked facts and rejects."""
    return Pipeline([Node(validate_facts, ["raw_facts", "raw_relations"], ["facts", "rejects"], name="validate_facts")])


def create_sample_pipeline() -> Pipeline:
    """All facts, and what one model knows of them, to the facts of this run."""
    inputs = ["facts", "memorisation", "params:sample"]
    return Pipeline([Node(sample_facts, inputs, "sampled_facts", name="sample_facts")])
