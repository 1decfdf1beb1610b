"""The graph of abilities: a table about each model's benchmarks, and the measurements at the checkpoints."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resume import fingerprints, resume_folder
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.methods.none import Unedited
from edit_robustness.pipelines.abilities import nodes


def create_planning_pipeline() -> Pipeline:
    """Create the pipeline from the settings to a table that describes the benchmarks of one model."""
    inputs = ["language_model", "params:abilities", "benchmark_files"]
    return Pipeline([Node(nodes.plan_abilities, inputs, "benchmarks", name="plan_abilities")])


def create_pipeline(method: str) -> Pipeline:
    """Create the pipeline that measures the benchmarks at the checkpoints of one method, or of the unedited model."""
    inputs = {
        "lm": "language_model",
        "parameters": "params:abilities",
        "benchmark_files": "benchmark_files",
        "settings": "params:sequence",
        "check_record": "requirements",
        **({} if method == Unedited.name else {"edits": "sequence"}),
        **({"artefacts": "artefact"} if METHODS[method].edits_need_artefact else {}),
    }
    measurement = resume_folder(nodes.measure_with(method), inventory=fingerprints)
    return Pipeline([Node(measurement, inputs, "documents", name="measure_abilities", tags=["gpu"])])
