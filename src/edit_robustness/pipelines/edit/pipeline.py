"""Pipelines of edit: the corpus and its statistics once per model; preparing and editing for each method."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resume import fingerprints, items, resume_folder
from edit_robustness.editing.method import TrainedMethod
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import TextNeed
from edit_robustness.pipelines.edit.nodes import edit_with, prepare_with, take_moments, write_corpus_with

_SOURCES = {
    "texts": {"corpus": "corpus"},
    "moments": {"moments": "moments"},
    "facts": {"facts": "training_facts", "sampled_facts": "sampled_facts", "raw_relations": "raw_relations"},
}


def create_corpus_pipeline(methods: Sequence[str], model: str, need: TextNeed | None = None) -> Pipeline:
    """Create the pipeline for the model's corpus and the second moments of keys that the methods need.

    Args:
        methods: Rows of METHODS.
        model: Whose hyperparameters are meant.
        need: How much text the methods of all pipelines read, so that they share one corpus.
    """
    inputs = ["language_model", "corpus_source", "facts"]
    write = resume_folder(write_corpus_with(need or TextNeed()), inventory=fingerprints)
    nodes = [Node(write, inputs, "corpus", name="write_corpus", tags=["gpu"])]
    if moment_methods := [method for method in methods if "moments" in METHODS[method].learns_from]:
        settings = [f"params:methods.{method}.{model}" for method in moment_methods]
        inputs = ["language_model", "corpus", *settings]
        nodes.append(
            Node(
                resume_folder(take_moments, inventory=fingerprints),
                inputs,
                "moments",
                name="take_moments",
                tags=["gpu"],
            )
        )
    return Pipeline(nodes)


def create_pipeline(method: str, model: str) -> Pipeline:
    """Create the pipeline from facts to edits with one method, after the artefact that it prepares.

    Args:
        method: Row of METHODS.
        model: Whose hyperparameters are meant.
    """
    inputs = {
        "lm": "language_model",
        "method": f"params:methods.{method}.{model}",
        "sampled_facts": "sampled_facts",
    }
    if METHODS[method].learns_from:
        inputs["artefacts"] = "artefact"
    edit_node = Node(
        resume_folder(edit_with(method), inventory=fingerprints), inputs, "edits", name="edit", tags=["gpu"]
    )
    return create_preparing_pipeline(method, model) + Pipeline([edit_node])


def create_preparing_pipeline(method: str, model: str, purpose: str = "") -> Pipeline:
    """Create the pipeline that prepares one method; it is empty if the method prepares nothing.

    Args:
        method: Row of METHODS.
        model: Whose hyperparameters are meant.
        purpose: Where other facts are edited than in single editing: what for.
    """
    if not (parts := METHODS[method].learns_from):
        return Pipeline([])
    sources = {name: dataset for part in parts for name, dataset in _SOURCES[part].items()}
    hyperparameters = f"params:methods.{method}.{model}"
    inputs = {"lm": "language_model", "method": hyperparameters, **sources}
    # an interrupted training resumes from its last state
    readers = {"training_states": items} if issubclass(METHODS[method], TrainedMethod) else {}
    function = resume_folder(prepare_with(method, purpose), inventory=fingerprints, **readers)
    return Pipeline([Node(function, inputs, "artefact", name="prepare", tags=["gpu"])])
