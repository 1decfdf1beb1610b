"""The graph of bake: one node a model."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.bake.nodes import put_together


def create_pipeline(model: str, method: str) -> Pipeline:
    """The edits of one model by one method to a model of its own."""
    inputs = [f"{model}.language_model", f"{model}_facts", f"{model}.{method}_edits", f"{model}_scores", "params:bake"]
    return Pipeline([Node(put_together, inputs, f"{model}.{method}_baked", name="bake", namespace=model, tags=["gpu"])])
