"""Pipelines of prior knowledge: missing old objects, recall, and other measures of familiarity."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, resuming
from edit_robustness.pipelines.prior_knowledge import nodes, objects

_DECODING = "params:decoding"


def create_completion_pipeline() -> Pipeline:
    """Create the pipeline that fills missing old objects with the answers of the unedited model."""
    inputs = ["language_model", "facts", _DECODING, "checked"]
    return Pipeline(
        [
            Node(
                resuming(objects.ask_objects, inventory=fingerprints), inputs, "said", name="ask_objects", tags=["gpu"]
            ),
            Node(objects.complete_facts, ["facts", "said"], ["complete_facts", "rejects"], name="complete_facts"),
        ]
    )


def create_recall_pipeline() -> Pipeline:
    """Create the pipeline for the model's recall of all facts and the perplexity of both objects, used for sampling."""
    inputs = ["language_model", "facts", _DECODING]
    return Pipeline(
        [
            Node(resuming(nodes.recall, inventory=fingerprints), inputs, "recalled", name="recall", tags=["gpu"]),
            Node(nodes.memorise, ["language_model", "recalled", "facts"], "memorisation", name="memorise"),
        ]
    )


def create_features_pipeline() -> Pipeline:
    """Create the pipeline for the ranks of true objects and for recall after demonstrations, for all facts."""
    inputs = ["language_model", "facts", _DECODING]
    recall_inputs = [*inputs, "params:features"]
    recall = resuming(nodes.recall_in_context, inventory=fingerprints)
    memorise_inputs = ["language_model", "recalled_in_context", "facts"]
    return Pipeline(
        [
            Node(nodes.familiarise, inputs, "familiarity", name="familiarise", tags=["gpu"]),
            Node(recall, recall_inputs, "recalled_in_context", name="recall_in_context", tags=["gpu"]),
            Node(nodes.memorise, memorise_inputs, "memorisation_in_context", name="memorise_in_context"),
        ]
    )
