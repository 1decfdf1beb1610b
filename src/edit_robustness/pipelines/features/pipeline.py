"""Pipeline of features: looks up external features and joins them with the model's prior knowledge."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.features import nodes


def create_pipeline() -> Pipeline:
    """Create the pipeline from the sampled facts and the model's prior knowledge to a table of features."""
    inputs = ["sampled_facts", "web", "params:features"]
    parts = ["recall", "object_ranks", "recall_in_context", "facts", "fact_features"]
    about = ["sampled_facts", "raw_relations", "params:features"]
    return Pipeline(
        [
            Node(nodes.fetch_features, inputs, "fact_features", name="fetch_features"),
            Node(nodes.join_features, [*parts, *about], ["features", "feature_summary"], name="join_features"),
        ]
    )
