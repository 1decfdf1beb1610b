"""Pipelines of parity: the edits and answers of one model, and the page of all."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resume import fingerprints, resume_folder
from edit_robustness.pipelines.parity import nodes

_SETTINGS = "params:parity"
_METHODS = "params:methods"


def create_check_pipeline(model: str) -> Pipeline:
    """Create the pipeline that refuses a clone or pairs that cannot be compared."""
    inputs = [_METHODS, _SETTINGS]
    return Pipeline([Node(nodes.check_parity_with(model), inputs, "check_record", name="check_parity")])


def create_pipeline(model: str) -> Pipeline:
    """Create the pipeline from one model's facts and corpus to the comparison of both codes.

    Args:
        model: Whose pairs are meant.
    """
    prepare = resume_folder(nodes.prepare_with(model), inventory=fingerprints)
    edit = resume_folder(nodes.edit_with(model), inventory=fingerprints)
    ask = resume_folder(nodes.ask_parity, inventory=fingerprints)
    lm, corpus, decoding = "language_model", "corpus", "params:decoding"
    edit_inputs = [lm, "sampled_facts", "parity_inputs", corpus, _METHODS, _SETTINGS]
    compare_inputs = [lm, "sampled_facts", "parity_edits", "parity_answers", decoding, _SETTINGS]
    return Pipeline(
        [
            Node(nodes.draw_facts, ["facts", _SETTINGS], "sampled_facts", name="draw_facts"),
            Node(
                nodes.make_probes, ["sampled_facts", "facts", "raw_relations", _SETTINGS], "probes", name="make_probes"
            ),
            Node(prepare, [lm, corpus, _METHODS, _SETTINGS], "parity_inputs", name="prepare_parity", tags=["gpu"]),
            Node(edit, edit_inputs, "parity_edits", name="edit_parity", tags=["gpu"]),
            Node(ask, [lm, "parity_edits", "probes", decoding], "parity_answers", name="ask_parity", tags=["gpu"]),
            Node(
                nodes.compare_with(model),
                compare_inputs,
                ["parity_facts", "parity_failed_items"],
                name="compare_parity",
                tags=["gpu"],
            ),
        ]
    )


def create_report_pipeline(models: Sequence[str]) -> Pipeline:
    """Create the pipeline that joins the comparisons of all models and writes the page.

    Args:
        models: Names of the models; ``<model>_parity_facts`` and ``<model>_parity_failed_items`` are inputs.
    """
    tables = [f"{model}_{name}" for name in ("parity_facts", "parity_failed_items") for model in models]
    outputs = ["parity_facts", "parity_summary", "parity_failed_items"]
    return Pipeline(
        [
            Node(nodes.gather_parity, tables, outputs, name="gather_parity"),
            Node(nodes.write_page, ["parity_facts", "parity_summary", _SETTINGS], "parity", name="write_parity"),
        ]
    )
