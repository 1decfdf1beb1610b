"""The graph of features: look up what others know of the facts of this run, and join it to what the model knows."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.features import nodes


def create_pipeline() -> Pipeline:
    """The facts of this run, and what one model knows of all facts, to a table of their features."""
    looking = ["sampled_facts", "web", "params:features"]
    parts = ["memorisation", "familiarity", "memorisation_in_context", "facts", "fact_features"]
    return Pipeline(
        [
            Node(nodes.fetch_features, looking, "fact_features", name="fetch_features"),
            Node(nodes.join_features, parts, "features", name="join_features"),
        ]
    )
