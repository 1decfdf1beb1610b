"""The grid of models and methods that a run covers, and the pipelines that it makes.

The grid stands in the parameters (`grid: {model: {method: true}}`), so it follows `--env` and `--params`;
Kedro's project context checks it and hands it over before any pipeline is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

from kedro.pipeline import Node, Pipeline

from edit_robustness.editing.fitting import TextNeed, text_need
from edit_robustness.editing.methods import METHODS
from edit_robustness.pipelines import (
    abilities,
    analyze,
    bake,
    check,
    conversation,
    damage,
    edit,
    evaluate,
    ingest,
    rephrase,
    sequence,
)
from edit_robustness.text.closest import did_you_mean

Grid = dict[str, list[str]]
"""For each model the methods of this run."""

BASELINE = "none"
"""The method that locality is measured against; it is always part of a grid."""

SEQUENTIAL = "sequential_grid"
"""The grid of `sequential_eval`, which covers other methods than that of single edits."""

_GLOBAL = {
    *("facts", "lessons", "raw_relations", "corpus_source", "judge", "tester", "web", "writer", "frozen_wordings"),
    "benchmark_files",
}
_PER_MODEL = (
    *("scores", "answers", "judgements", "memorisation", "features", "rejects", "run", "failed_items"),
    *("verdicts", "compared", "turns", "conversation_failed_items", "conversation_run"),
    *("documents", "benchmarks", "sequence_answers", "sequence_scores", "drift", "sequence_run"),
    "sequence_failed_items",
)
_PER_CELL = ("edits", "answers", "transcripts", "opinions", "sequence", "sequence_answers", "documents", "drift")


class GridError(ValueError):
    """A grid that asks for what does not exist."""


class _Active:
    """What makes the pipelines of this process, set once by the project context.

    Besides the grid: what `bake` takes, whether a judge is asked, who makes the wordings, and how much running text
    the methods of both grids read of each model.
    """

    grid: Grid | None = None
    sequential: Grid | None = None
    baked: str = BASELINE
    judged: bool = False
    worded_by: str = rephrase.SOURCES[0]
    texts: Mapping[str, TextNeed] = MappingProxyType({})


def activate(parameters: Mapping[str, Any], models: Sequence[str]) -> None:
    """Check the grid in the parameters and make it the grid of this process.

    Args:
        parameters: All parameters of the run.
        models: Names of the models in the catalog.

    Raises:
        GridError: If it names a model, method or pair that does not exist; the error lists those that do.
    """
    _Active.grid = read_grid(parameters, models)
    _Active.sequential = read_grid(parameters, models, SEQUENTIAL) if SEQUENTIAL in parameters else None
    grids = (_Active.grid, _Active.sequential or {})
    _Active.texts = {model: _text_need(model, parameters, grids) for cells in grids for model in cells}
    _Active.baked = parameters.get("bake", {}).get("method", BASELINE)
    if _Active.baked not in METHODS:
        raise GridError(f"bake.method: no method `{_Active.baked}`; {did_you_mean(str(_Active.baked), METHODS)}")
    _Active.judged = parameters.get("judge_answers", False)
    if not isinstance(_Active.judged, bool):
        raise GridError(f"judge_answers: true or false, not {_Active.judged!r}")
    _Active.worded_by = parameters.get("wordings", {}).get("by", rephrase.SOURCES[0])
    if _Active.worded_by not in rephrase.SOURCES:
        raise GridError(f"wordings.by: one of {', '.join(rephrase.SOURCES)}, not {_Active.worded_by!r}")


def _text_need(model: str, parameters: Mapping[str, Any], grids: Sequence[Grid]) -> TextNeed:
    """How much text a model's methods read, those of both grids: the pipelines share one corpus."""
    methods = dict.fromkeys(method for cells in grids for method in cells.get(model, []))
    settings = {method: parameters["methods"][method][model] or {} for method in methods}
    return text_need({f"methods.{name}.{model}": METHODS[name](**own) for name, own in settings.items()})


def active() -> Grid:
    """The grid of this process.

    Raises:
        GridError: If no project context was made before.
    """
    if _Active.grid is None:
        raise GridError("the grid is not known yet: create a KedroSession and its context first")
    return _Active.grid


def sequential() -> Grid | None:
    """The grid of sequences of this process; None where the parameters have none."""
    return _Active.sequential


def baked() -> str:
    """The method whose edits `bake` takes in this process."""
    return _Active.baked


def judged() -> bool:
    """Whether a judge reads the answers in this process."""
    return _Active.judged


def worded_by() -> str:
    """Who makes the wordings in this process."""
    return _Active.worded_by


def read_grid(parameters: Mapping[str, Any], models: Sequence[str], name: str = "grid") -> Grid:
    """The grid in the parameters, under this name; see `activate`."""
    wanted = parameters.get(name) or {}
    if not isinstance(wanted, Mapping):
        raise GridError(f"{name}: it must be {{model: {{method: true}}}}; it is {wanted!r}")
    unknown = [model for model in wanted if model not in models]
    if unknown:
        raise GridError(f"{name}: no model `{unknown[0]}` in the catalog; {did_you_mean(unknown[0], sorted(models))}")
    grid = {model: _methods(f"{name}.{model}", model, chosen, parameters) for model, chosen in wanted.items()}
    grid = {model: methods for model, methods in grid.items() if methods}
    if not grid:
        raise GridError(f"{name}: it is empty; name a model of {', '.join(sorted(models))} and methods for it")
    return grid


def _methods(where: str, model: str, chosen: Any, parameters: Mapping[str, Any]) -> list[str]:
    chosen = {} if chosen is None else chosen
    if not isinstance(chosen, Mapping):
        raise GridError(f"{where}: it must be {{method: true}}; it is {chosen!r}")
    for method, on in chosen.items():
        if method not in METHODS:
            raise GridError(f"{where}: no method `{method}`; {did_you_mean(str(method), METHODS)}")
        if not isinstance(on, bool | None):
            # YAML reads a quoted 'no' as a text, which Python takes for true
            raise GridError(f"{where}.{method}: write true or false, without quotes; it is {on!r}")
    switched_on = [method for method in METHODS if chosen.get(method)]
    if not switched_on:
        return []
    if BASELINE not in switched_on:
        raise GridError(f"{where}: `{BASELINE}` must be on, for locality compares with the unedited model")
    for method in switched_on:
        settings = parameters.get("methods", {}).get(method) or {}
        if model not in settings:
            raise GridError(
                f"{where}: {method} has no hyperparameters for {model} (it has them for "
                f"{', '.join(sorted(settings)) or 'no model'}); add them to parameters/methods/{method}.yml: copy "
                f"those of the model most like yours to methods.{method}.{model}, and adjust them"
            )
    return switched_on


def edit_eval(grid: Grid, judged: bool = False, worded_by: str = rephrase.SOURCES[0]) -> Pipeline:
    """Single edits of every model and method, evaluated and analysed.

    Args:
        grid: The models and their methods.
        judged: Whether a judge reads the answers too.
        worded_by: Who makes the wordings of the facts.
    """
    models = [_model(model, methods, judged, worded_by) for model, methods in grid.items()]
    return ByModel([ingest.create_pipeline(), *models, analyze.create_pipeline(list(grid))], list(grid))


def rescoring(grid: Grid, judged: bool = False) -> Pipeline:
    """The scores, the analysis and the report once more, from the answers of a run that was finished; no model."""
    score = evaluate.create_rescoring_pipeline(judged=judged)
    models = [
        Pipeline(
            score,
            namespace=model,
            inputs={name: f"{model}_{name}" for name in score.inputs()},
            outputs={"scores": f"{model}_scores"},
        )
        for model in grid
    ]
    return ByModel([*models, analyze.create_pipeline(list(grid))], list(grid))


def conversing(grid: Grid) -> Pipeline:
    """Conversations of a tester with each edited model, judged and shown."""
    models = [_conversing_model(model, methods) for model, methods in grid.items()]
    return ByModel([ingest.create_pipeline(), *models, conversation.create_report_pipeline(list(grid))], list(grid))


def sequential_eval(grid: Grid) -> Pipeline:
    """Edits one after another on each model, and what they cost it at checkpoints.

    Args:
        grid: The models and their methods.
    """
    models = [_sequential_model(model, methods) for model, methods in grid.items()]
    ingested = [ingest.create_pipeline(), ingest.create_checking_pipeline()]
    return ByModel([*ingested, *models, damage.create_pipeline(list(grid))], list(grid))


def _sequential_model(model: str, methods: Sequence[str]) -> Pipeline:
    parts = [
        evaluate.create_familiarity_pipeline(),
        ingest.create_sequence_pipeline(),
        sequence.create_probes_pipeline(),
        abilities.create_planning_pipeline(),
        check.create_sequences_pipeline(methods, model),
        edit.create_corpus_pipeline(methods, model, _Active.texts.get(model)),
        *(_cell(method, _sequential_cell(method, model)) for method in methods),
        sequence.create_gathering_pipeline(methods, model),
    ]
    return _of_model(model, methods, parts, facts="sequence_facts", settings="sequence", cells=SEQUENTIAL)


def _sequential_cell(method: str, model: str) -> Pipeline:
    return (
        edit.create_preparing_pipeline(method, model, "sequence")
        + sequence.create_pipeline(method, model)
        + abilities.create_pipeline(method)
    )


def _single_cell(method: str, model: str, asking: Pipeline) -> Pipeline:
    """Independent edits by one method, and what is asked under them."""
    return _cell(method, edit.create_pipeline(method, model) + asking)


def _conversing_model(model: str, methods: Sequence[str]) -> Pipeline:
    parts = [
        evaluate.create_familiarity_pipeline(),
        ingest.create_sample_pipeline(),
        edit.create_corpus_pipeline(methods, model, _Active.texts.get(model)),
        *(_single_cell(method, model, conversation.create_pipeline(method)) for method in methods),
        conversation.create_verdict_pipeline(methods, model),
    ]
    return _of_model(model, methods, parts, settings="conversation")


def _model(model: str, methods: Sequence[str], judged: bool, worded_by: str) -> Pipeline:
    parts = [
        evaluate.create_familiarity_pipeline(),
        ingest.create_sample_pipeline(),
        ingest.create_features_pipeline(),
        evaluate.create_features_pipeline(),
        rephrase.create_pipeline(worded_by),
        check.create_lengths_pipeline(methods, model),
        edit.create_corpus_pipeline(methods, model, _Active.texts.get(model)),
        *(_single_cell(method, model, evaluate.create_pipeline(method)) for method in methods),
        evaluate.create_scoring_pipeline(methods, model, judged=judged, written=worded_by == "writer"),
    ]
    return _of_model(model, methods, parts)


def _of_model(
    model: str,
    methods: Sequence[str],
    parts: Sequence[Pipeline],
    *,
    facts: str = "facts",
    settings: str = "probes",
    cells: str = "grid",
) -> Pipeline:
    """What is done with one model, in its namespace.

    Args:
        model: The model's name.
        methods: Its methods.
        parts: What is done once the model is checked and the facts are complete.
        facts: The table of the facts of the run.
        settings: The parameters that say what is asked.
        cells: The grid that the methods stand in.
    """
    need = _Active.texts.get(model)
    checking = check.create_model_pipeline(methods, model, settings=settings, cells=cells, need=need)
    asked = Pipeline(sum(parts, Pipeline([])), inputs={"facts": "complete_facts"})
    whole = checking + evaluate.create_completion_pipeline() + asked
    return Pipeline(
        whole,
        namespace=model,
        inputs=_GLOBAL & whole.inputs(),
        outputs={
            **{name: f"{model}_{name}" for name in _PER_MODEL if name in whole.all_outputs()},
            "sampled_facts": f"{model}_{facts}",
        },
        parameters=_parameters(whole),
        prefix_datasets_with_namespace=True,
    )


def _cell(method: str, whole: Pipeline) -> Pipeline:
    """What is done with one method, in its namespace."""
    shared = {"language_model", "lessons", "sampled_facts", "raw_relations", "corpus", "moments", "probes", "fitting"}
    shared |= {"tester", "judge", "orders", "sequence_probes", "benchmark_files"}
    return Pipeline(
        whole,
        namespace=method,
        inputs=shared & whole.inputs(),
        outputs={name: f"{method}_{name}" for name in _PER_CELL if name in whole.all_outputs()},
        parameters=_parameters(whole),
        tags=[method],
    )


def _parameters(pipeline: Pipeline) -> set[str]:
    return {name for name in pipeline.inputs() if name.startswith("params:")}


def baking(grid: Grid, method: str) -> Pipeline:
    """The edits of one method, of every model, to a model of its own."""
    return ByModel([bake.create_pipeline(model, method) for model in grid], list(grid))


class ByModel(Pipeline):
    """A pipeline that runs one model's nodes after another's, as far as the graph allows.

    Kedro runs breadth-first: all edits of all models, then all evaluations; each switch would load a model anew.
    Nodes of no model come as soon as they can: bad facts are found before any model is loaded.
    """

    def __init__(self, parts: Sequence[Any], models: Sequence[str], **options: Any):
        self._models = list(models)
        super().__init__(parts, **options)

    @cached_property
    def _ordered(self) -> list[Node]:
        waiting, dependencies = list(super().nodes), self.node_dependencies
        order: list[Node] = []
        current = ""
        while waiting:
            ready = [node for node in waiting if dependencies[node].issubset(order)]
            node = min(ready, key=lambda node: self._turn(node, current))
            current = self._model_of(node) or current
            waiting.remove(node)
            order.append(node)
        return order

    @property
    def nodes(self) -> list[Node]:
        """The nodes in an order of dependence that stays with a model as long as it can."""
        return list(self._ordered)

    def filter(self, *args: Any, **options: Any) -> Pipeline:
        """See `Pipeline.filter`; the result keeps the order."""
        return ByModel(super().filter(*args, **options).nodes, self._models)

    def __add__(self, other: Any) -> Pipeline:
        return ByModel(super().__add__(other).nodes, self._models)

    def __radd__(self, other: Any) -> Pipeline:
        # a session adds pipelines up from an empty one, and Python asks the right one first only if it has this
        return super().__radd__(other)

    def _turn(self, node: Node, current: str) -> int:
        """No model's nodes first, then the current model's, then the other models' in the order of the grid."""
        model = self._model_of(node)
        if not model:
            return -2
        return -1 if model == current else self._models.index(model)

    def _model_of(self, node: Node) -> str:
        model = (node.namespace or "").split(".")[0]
        return model if model in self._models else ""
