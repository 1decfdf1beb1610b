"""The pipeline of rephrase, run for each model."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.rephrase.nodes import make_probes


def create_pipeline() -> Pipeline:
    """The facts of this run to probes."""
    inputs = ["sampled_facts", "facts", "raw_relations", "params:probes"]
    return Pipeline([Node(make_probes, inputs, "probes", name="make_probes")])
