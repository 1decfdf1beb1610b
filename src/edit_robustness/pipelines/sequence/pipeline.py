"""Pipelines of sequence: probes once per model; editing, asking and drift for each method; one table for all."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resume import fingerprints, items, resume_folder
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.methods.none import Unedited
from edit_robustness.pipelines.sequence import gather, nodes

_SETTINGS = "params:sequence"
_DECODING = "params:decoding"


def create_probes_pipeline() -> Pipeline:
    """Create the pipeline from the facts of a sequence to their probes."""
    inputs = ["sampled_facts", "facts", "raw_relations", _SETTINGS]
    return Pipeline([Node(nodes.make_probes, inputs, "sequence_probes", name="make_probes")])


def create_pipeline(method: str, model: str) -> Pipeline:
    """Create the pipeline for one method's sequences, or the unedited model, and the answers at checkpoints.

    Args:
        method: Row of METHODS.
        model: Whose hyperparameters are meant.
    """
    has_edits = method != Unedited.name
    inputs = {
        "lm": "language_model",
        "probes": "sequence_probes",
        "sampled_facts": "sampled_facts",
        "orders": "orders",
        "decoding": _DECODING,
        "settings": _SETTINGS,
        "check_record": "requirements",
        **({"edits": "sequence"} if has_edits else {}),
        **({"artefacts": "artefact"} if METHODS[method].edits_need_artefact else {}),
    }
    function = resume_folder(nodes.ask_with(method), inventory=fingerprints)
    ask_node = Node(function, inputs, "sequence_answers", name="ask_checkpoints", tags=["gpu"])
    return Pipeline([*(_edit_nodes(method, model) if has_edits else []), ask_node])


def _edit_nodes(method: str, model: str) -> list[Node]:
    inputs = {
        "lm": "language_model",
        "sampled_facts": "sampled_facts",
        "orders": "orders",
        "method": f"params:methods.{method}.{model}",
        "settings": _SETTINGS,
        **({"artefacts": "artefact"} if METHODS[method].learns_from else {}),
    }
    drift_inputs = ["language_model", "sequence", _SETTINGS]
    edit = resume_folder(nodes.edit_with(method), inventory=items)
    return [
        Node(edit, inputs, "sequence", name="edit_in_sequence", tags=["gpu"]),
        Node(nodes.drift_with(method), drift_inputs, "drift", name="measure_drift", tags=["gpu"]),
    ]


def create_gathering_pipeline(methods: Sequence[str], model: str) -> Pipeline:
    """Create the pipeline that joins the results of all methods of one model into tables, and records the run."""
    edit_methods = [method for method in methods if method != Unedited.name]
    answers, documents = ([f"{method}_{suffix}" for method in methods] for suffix in ("sequence_answers", "documents"))
    describe_inputs = {
        "lm": "language_model",
        "settings": _SETTINGS,
        "abilities": "params:abilities",
        "sampled_facts": "sampled_facts",
        "used_defaults": "params:used_defaults",
        **{f"{method}_documents": f"{method}_documents" for method in methods},
        **{f"{method}_sequence_answers": f"{method}_sequence_answers" for method in methods},
        **{name: name for name in gather.SHARED},
        **{f"{method}_settings": f"params:methods.{method}.{model}" for method in edit_methods},
        **{f"{method}_sequence": f"{method}_sequence" for method in edit_methods},
    }
    gather_inputs = ["language_model", _DECODING, "orders", *answers]
    return Pipeline(
        [
            Node(gather.gather_answers_with(methods), gather_inputs, "sequence_answers", name="gather_answers"),
            Node(gather.score_sequences, "sequence_answers", "sequence_scores", name="score_sequences"),
            Node(
                gather.gather_documents_with(methods),
                ["language_model", *documents],
                "documents",
                name="gather_documents",
            ),
            Node(gather.gather_drift, [f"{m}_drift" for m in edit_methods], "drift", name="gather_drift"),
            Node(
                gather.describe_with(methods),
                describe_inputs,
                ["sequence_run", "sequence_failed_items"],
                name="describe_sequences",
            ),
        ]
    )
