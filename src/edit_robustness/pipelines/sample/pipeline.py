"""The graph of sample: the choice of facts, which each model makes anew."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.sample.nodes import sample_facts
from edit_robustness.pipelines.sample.sequences import check_enough, draw_sequence


def create_pipeline() -> Pipeline:
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
