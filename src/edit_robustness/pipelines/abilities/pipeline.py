"""The graph of abilities: benchmarks built once a model, and measured at the checkpoints of each method."""

from kedro.pipeline import Node, Pipeline

from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.methods.none import NoEdit
from edit_robustness.pipelines.abilities import nodes


def create_planning_pipeline() -> Pipeline:
    """The settings to the benchmarks of one model, and a table that says what they are."""
    inputs, outputs = ["language_model", "params:abilities", "benchmark_files"], ["planned_benchmarks", "benchmarks"]
    return Pipeline([Node(nodes.plan_abilities, inputs, outputs, name="plan_abilities")])


def create_pipeline(method: str) -> Pipeline:
    """The sequences of one method to what the model does with each benchmark after them; without any, once."""
    inputs = {
        "lm": "language_model",
        "benchmarks": "planned_benchmarks",
        "stored": "documents_stored",
        "settings": "params:sequence",
        "checked": "fitting",
        **({} if method == NoEdit.name else {"edits": "sequence"}),
        **({"prepared": "prepared"} if METHODS[method].edits_need_prepared else {}),
    }
    return Pipeline([Node(nodes.measure_with(method), inputs, "documents", name="measure_abilities", tags=["gpu"])])
