"""The pipelines of ingest: one for all models, and the choice of facts, which each model makes anew."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.ingest.features import fetch_features
from edit_robustness.pipelines.ingest.nodes import sample_facts, validate_facts, validate_lessons
from edit_robustness.pipelines.ingest.sequences import check_enough, draw_sequence


def create_pipeline() -> Pipeline:
    """Raw facts and templates to checked facts, rejects and ambiguous subjects; and facts to learn from."""
    outputs = ["facts", "rejects", "ambiguous_subjects"]
    return Pipeline(
        [
            Node(validate_facts, ["raw_facts", "raw_relations"], outputs, name="validate_facts"),
            Node(validate_lessons, ["raw_lessons", "raw_relations"], "lessons", name="validate_lessons"),
        ]
    )


def create_sample_pipeline() -> Pipeline:
    """All facts, and what one model knows of them, to the facts of this run."""
    inputs = ["facts", "memorisation", "params:sample"]
    return Pipeline([Node(sample_facts, inputs, "sampled_facts", name="sample_facts")])


def create_checking_pipeline() -> Pipeline:
    """A table of facts to an error where it cannot fill a sequence."""
    return Pipeline([Node(check_enough, ["facts", "params:sequence"], None, name="check_enough")])


def create_sequence_pipeline() -> Pipeline:
    """All facts, and what one model knows of them, to the facts of its sequences and their orders."""
    inputs, outputs = ["facts", "memorisation", "params:sequence"], ["sampled_facts", "orders"]
    return Pipeline([Node(draw_sequence, inputs, outputs, name="draw_sequence")])


def create_features_pipeline() -> Pipeline:
    """The facts of this run to what others know of them."""
    inputs = ["sampled_facts", "web", "params:features"]
    return Pipeline([Node(fetch_features, inputs, "fact_features", name="fetch_features")])
