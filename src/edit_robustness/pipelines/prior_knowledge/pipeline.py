"""Pipelines of prior knowledge: missing old objects, recall, and ranks of objects."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resume import fingerprints, resume_folder
from edit_robustness.pipelines.prior_knowledge import nodes, objects

_DECODING = "params:decoding"


def create_completion_pipeline() -> Pipeline:
    """Create the pipeline that fills missing old objects with the answers of the unedited model."""
    inputs = ["language_model", "facts", _DECODING, "check_record"]
    return Pipeline(
        [
            Node(
                resume_folder(objects.ask_objects, inventory=fingerprints),
                inputs,
                "old_object_answers",
                name="ask_objects",
                tags=["gpu"],
            ),
            Node(
                objects.complete_facts,
                ["facts", "old_object_answers"],
                ["complete_facts", "rejects"],
                name="complete_facts",
            ),
        ]
    )


def create_recall_pipeline() -> Pipeline:
    """Create the pipeline for the model's recall of all facts and the perplexity of both objects, used for sampling."""
    inputs = ["language_model", "facts", _DECODING]
    return Pipeline(
        [
            Node(
                resume_folder(nodes.recall, inventory=fingerprints),
                inputs,
                "recall_answers",
                name="recall",
                tags=["gpu"],
            ),
            Node(
                nodes.tabulate_recall, ["language_model", "recall_answers", "facts"], "recall", name="tabulate_recall"
            ),
        ]
    )


def create_features_pipeline() -> Pipeline:
    """Create the pipeline for the ranks of old objects and for recall after demonstrations, for all facts."""
    inputs = ["language_model", "facts", _DECODING]
    asking_inputs = [*inputs, "params:features"]
    recall = resume_folder(nodes.recall_in_context, inventory=fingerprints)
    recall_inputs = ["language_model", "recall_answers_in_context", "facts"]
    return Pipeline(
        [
            Node(nodes.rank_objects, inputs, "object_ranks", name="rank_objects", tags=["gpu"]),
            Node(recall, asking_inputs, "recall_answers_in_context", name="recall_in_context", tags=["gpu"]),
            Node(nodes.tabulate_recall, recall_inputs, "recall_in_context", name="tabulate_recall_in_context"),
        ]
    )
