"""Parameters with a grid of two models and two methods, and the main job made of it."""

from edit_robustness.assembly import edit_eval
from edit_robustness.configuration.grid import read_grid

ROME = {
    "layer": 1,
    "v_lr": 0.5,
    "v_steps": 5,
    "v_stop_loss": 0.05,
    "clamp_norm_factor": 4.0,
    "kl_factor": 0.0625,
    "v_weight_decay": 0.0,
    "context_lengths": [5],
    "mom2_tokens": 400,
}
MODELS = ["left", "right"]


def parameters(**models):
    settings = {"none": {}, "rome": ROME}
    return {
        "grid": models,
        "methods": {method: dict.fromkeys(MODELS, values) for method, values in settings.items()},
    }


def main_job():
    methods = {"none": True, "rome": True}
    return edit_eval(read_grid(parameters(right=methods, left=methods), MODELS))


def assert_in_order_of_dependence(pipeline):
    predecessors = set()
    for node in pipeline.nodes:
        assert pipeline.node_dependencies[node] <= predecessors
        predecessors.add(node)
