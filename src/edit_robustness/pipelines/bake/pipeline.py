"""Pipeline of bake: chooses the edits, then writes the model."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.pipelines.bake.nodes import choose, put_together


def create_pipeline(model: str, method: str) -> Pipeline:
    """Create the pipeline that writes one model with the edits of one method."""
    common = [f"{model}.language_model", f"{model}_facts", f"{model}.{method}_edits"]
    selection, decisions = f"{model}.{method}_selection", f"{model}.{method}_decisions"
    questions = [f"{model}_answers", "params:decoding", "params:bake"]
    return Pipeline(
        [
            # the decisions are stored before a model is written, so that they exist even if there is nothing to write
            Node(choose, [*common, *questions], [selection, decisions], name="choose", namespace=model, tags=["gpu"]),
            Node(
                put_together,
                [*common, selection, "params:bake"],
                f"{model}.{method}_baked",
                name="bake",
                namespace=model,
                tags=["gpu"],
            ),
        ]
    )
