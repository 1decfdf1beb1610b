"""The graph of abilities: a table about each model's benchmarks, and the measurements at the checkpoints."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.datasets.resuming import fingerprints, resuming
from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.methods.none import NoEdit
from edit_robustness.pipelines.abilities import nodes


def create_planning_pipeline() -> Pipeline:
    """The settings to a table that says what the benchmarks of one model are."""
    inputs = ["language_model", "params:abilities", "benchmark_files"]
    return Pipeline([Node(nodes.plan_abilities, inputs, "benchmarks", name="plan_abilities")])


def create_pipeline(method: str) -> Pipeline:
    """The sequences of one method to what the model does with each benchmark after them; without any, once."""
    inputs = {
        "lm": "language_model",
        "parameters": "params:abilities",
        "benchmark_files": "benchmark_files",
        "settings": "params:sequence",
        "checked": "fitting",
        **({} if method == NoEdit.name else {"edits": "sequence"}),
        **({"prepared": "prepared"} if METHODS[method].edits_need_prepared else {}),
    }
    measuring = resuming(nodes.measure_with(method), stored=fingerprints)
    return Pipeline([Node(measuring, inputs, "documents", name="measure_abilities", tags=["gpu"])])
