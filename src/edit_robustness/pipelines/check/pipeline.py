"""Pipelines of check: one node before a model is asked anything, one before its edits are evaluated."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from edit_robustness.editing.methods import METHODS
from edit_robustness.editing.requirements import TextNeed
from edit_robustness.pipelines.check import nodes

_DECODING = "params:decoding"
_LEARNING = ("training_facts", "raw_relations")


def create_model_pipeline(
    methods: Sequence[str], model: str, *, settings: str = "probes", cells: str = "grid", need: TextNeed | None = None
) -> Pipeline:
    """Create the pipeline that checks that the model, the facts and all settings fit each other.

    Args:
        methods: Rows of METHODS.
        model: The model's name.
        settings: The parameters that say what is asked: ``probes``, ``sequence`` or ``conversation``.
        cells: The grid that the methods stand in.
        need: How much running text the methods read.
    """
    other_inputs = ["corpus_source", _DECODING, f"params:{settings}", *_settings(methods, model)]
    inputs = ["language_model", "facts", *_LEARNING, *other_inputs]
    check = nodes.check_model_with(model, methods, need or TextNeed(), cells)
    return Pipeline([Node(check, inputs, "check_record", name="check_model", tags=["gpu"])])


def create_lengths_pipeline(methods: Sequence[str], model: str) -> Pipeline:
    """Create the pipeline that checks that the prompts of single edits fit into the context."""
    words = _select_word_methods(methods)
    inputs = ["language_model", "probes", "sampled_facts", *_LEARNING, _DECODING, *_settings(words, model)]
    return Pipeline([Node(nodes.check_lengths_with(model, words), inputs, "requirements", name="check_lengths")])


def create_sequences_pipeline(methods: Sequence[str], model: str) -> Pipeline:
    """Create the pipeline that checks that prompts and benchmarks fit into the context after all edits."""
    words = _select_word_methods(methods)
    questions = ["sequence_probes", "params:abilities", "benchmark_files", "sampled_facts"]
    inputs = ["language_model", *questions, *_LEARNING, _DECODING, "params:sequence", *_settings(words, model)]
    return Pipeline([Node(nodes.check_sequences_with(model, words), inputs, "requirements", name="check_sequences")])


def _select_word_methods(methods: Sequence[str]) -> list[str]:
    return [method for method in methods if METHODS[method].is_in_context]


def _settings(methods: Sequence[str], model: str) -> list[str]:
    return [f"params:methods.{method}.{model}" for method in methods]
