"""Pipelines of sample: the choice of facts, per model."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.sample.nodes import sample_facts
from edit_robustness.pipelines.sample.sequences import check_enough, draw_sequence


def create_pipeline() -> Pipeline:
    """Create the pipeline from all facts and one model's prior knowledge to the sampled facts."""
    inputs = ["facts", "recall", "params:sample"]
    return Pipeline([Node(sample_facts, inputs, "sampled_facts", name="sample_facts")])


def create_checking_pipeline() -> Pipeline:
    """Create the pipeline that raises an error if a table of facts is too small for a sequence."""
    return Pipeline([Node(check_enough, ["facts", "params:sequence"], None, name="check_enough")])


def create_sequence_pipeline() -> Pipeline:
    """Create the pipeline from all facts and one model's prior knowledge to its sequences."""
    inputs, outputs = ["facts", "recall", "params:sequence"], ["sampled_facts", "orders"]
    return Pipeline([Node(draw_sequence, inputs, outputs, name="draw_sequence")])
