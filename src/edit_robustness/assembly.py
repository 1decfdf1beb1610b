"""The registered pipelines: which parts of `pipelines/` each of them has for every model and method of the grid.

A model is a namespace, and each of its methods is a namespace inside. What all models share after that, the analysis
and its report, is a namespace, too. So kedro-viz opens with one box per model and one for the analysis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from kedro.pipeline import Pipeline

from edit_robustness.configuration.active import ActiveConfiguration
from edit_robustness.configuration.grid import SEQUENTIAL, Grid
from edit_robustness.editing.requirements import TextNeed
from edit_robustness.ordering import ByModel
from edit_robustness.pipelines import (
    abilities,
    analyze,
    analyze_sequences,
    bake,
    check,
    conversation,
    edit,
    evaluate,
    features,
    ingest,
    parity,
    popularity,
    preflight,
    prior_knowledge,
    rephrase,
    sample,
    sequence,
    study,
)

Needs = Mapping[str, TextNeed]
"""For each model how much running text its methods read; a model that is missing reads none."""

_NONE: Needs = MappingProxyType({})

_PREFLIGHT = "preflight"
"""Namespace of the pipeline that makes no edit, and beginning of the names of its data sets."""

_GLOBAL = {
    *(
        "facts",
        "training_facts",
        "raw_relations",
        "corpus_source",
        "judge",
        "tester",
        "web",
        "writer",
        "frozen_wordings",
    ),
    "benchmark_files",
}
_PER_MODEL = (
    *("scores", "answers", "judgements", "recall", "features", "feature_summary", "rejects", "run", "failed_items"),
    *("verdicts", "comparisons", "turns", "conversation_failed_items", "conversation_run"),
    *("documents", "benchmarks", "sequence_answers", "sequence_scores", "drift", "sequence_run"),
    "sequence_failed_items",
)
_PARITY_TABLES = ("parity_facts", "parity_failed_items")
_PER_CELL = ("edits", "answers", "transcripts", "opinions", "sequence", "sequence_answers", "documents", "drift")


def assemble(active: ActiveConfiguration) -> dict[str, Pipeline]:
    """Return the registered pipelines by name.

    `edit_eval` is the main job, and what `kedro run` alone does; `rescore` and `bake` come after it. `conversation`
    uses the same edits, and makes those that are missing. `preflight` predicts edits and makes none. `parity` compares
    edits with those of EasyEdit; without pairs for a model of the grid it is left out. `popularity` and `study` need no
    model. `sequential_eval` edits one fact after another; it has a grid of its own, without which it is
    left out.
    """
    grid, needs = active.grid, active.text_needs
    main = edit_eval(grid, active.with_judge, active.wording_source, needs)
    return {
        **({"sequential_eval": sequential_eval(active.sequential_grid, needs)} if active.sequential_grid else {}),
        "__default__": main,
        "edit_eval": main,
        "conversation": conversation_pipeline(grid, needs),
        "rescore": rescore_pipeline(grid, active.with_judge),
        "bake": bake_pipeline(grid, active.bake_method),
        "popularity": _of_all("popularity", popularity.create_pipeline()),
        "preflight": preflight_pipeline(grid),
        **({"parity": parity_pipeline(active.parity)} if active.parity else {}),
        "study": study_pipeline(),
        "export_study": _of_all("study", study.create_export_pipeline()),
    }


def edit_eval(
    grid: Grid, with_judge: bool = False, worded_by: str = rephrase.SOURCES[0], needs: Needs = _NONE
) -> Pipeline:
    """Edit single facts by every method of every model, evaluate and analyse.

    Args:
        grid: The models and their methods.
        with_judge: Whether a judge reads the answers too.
        worded_by: Who makes the wordings of the facts.
        needs: How much running text the methods read.
    """
    models = [_model(model, methods, with_judge, worded_by, needs.get(model)) for model, methods in grid.items()]
    checks = [ingest.create_pipeline(), _of_all("analyze", analyze.create_checking_pipeline())]
    return ByModel([*checks, *models, _analysis(list(grid))], list(grid))


def _analysis(models: Sequence[str]) -> Pipeline:
    return _of_all("analyze", analyze.create_pipeline(models))


def rescore_pipeline(grid: Grid, with_judge: bool = False) -> Pipeline:
    """Score, analyse and report once more, from the answers of a run that was finished and without a model."""
    score = evaluate.create_rescore_pipeline(with_judge=with_judge)
    models = [
        Pipeline(
            score,
            namespace=model,
            inputs={name: f"{model}_{name}" for name in score.inputs()},
            outputs={"scores": f"{model}_scores"},
        )
        for model in grid
    ]
    return ByModel([*models, _analysis(list(grid))], list(grid))


def study_pipeline() -> Pipeline:
    """Analyse the tables that are kept of a finished study, without a model."""
    return _of_all("study", study.create_pipeline() + analyze.create_estimating_pipeline())


def conversation_pipeline(grid: Grid, needs: Needs = _NONE) -> Pipeline:
    """Let a tester talk with each edited model, judge the conversations and report them."""
    models = [_conversation_model(model, methods, needs.get(model)) for model, methods in grid.items()]
    report = _of_all("conversation", conversation.create_report_pipeline(list(grid)))
    return ByModel([ingest.create_pipeline(), *models, report], list(grid))


def preflight_pipeline(grid: Grid) -> Pipeline:
    """Predict the edits of facts from what each model knows of them; no edit is made.

    Its data sets are apart from those of the other pipelines, so that these can go on with their own facts.
    """
    source = ingest.create_pipeline().only_nodes("validate_facts")
    read_facts = Pipeline(source, outputs={name: f"{_PREFLIGHT}_{name}" for name in source.outputs()})
    models = [_preflight_model(model) for model in grid]
    report = preflight.create_report_pipeline(list(grid))
    inputs = {name: f"{_PREFLIGHT}_{name}" for name in ("facts", "rejects")}
    page = Pipeline(
        report,
        namespace=_PREFLIGHT,
        inputs={**{name: name for name in report.inputs() if not name.startswith("params:")}, **inputs},
        outputs={name: name for name in report.outputs()},
        prefix_datasets_with_namespace=False,
    )
    return ByModel([read_facts, *models, page], list(grid))


def parity_pipeline(needs: Needs) -> Pipeline:
    """Edit facts with methods of this project and with those of a clone of EasyEdit, and compare them.

    Its data sets are apart from those of the other pipelines.

    Args:
        needs: The models, and how much running text the methods read that are compared.
    """
    models = [_parity_model(model, need) for model, need in needs.items()]
    report = _of_all("parity", parity.create_report_pipeline(list(needs)))
    return ByModel([ingest.create_pipeline(), *models, report], list(needs))


def _parity_model(model: str, need: TextNeed) -> Pipeline:
    later_parts = edit.create_corpus_pipeline([], model, need) + parity.create_pipeline(model)
    check_part = parity.create_check_pipeline(model) + prior_knowledge.create_completion_pipeline()
    pipeline = check_part + Pipeline(later_parts, inputs={"facts": "complete_facts"})
    parity_part = Pipeline(
        pipeline,
        namespace="parity",
        inputs=(_GLOBAL | {"language_model"}) & pipeline.inputs(),
        outputs={name: name for name in _PARITY_TABLES},
        parameters=_parameters(pipeline),
    )
    return Pipeline(
        parity_part,
        namespace=model,
        inputs=_GLOBAL & parity_part.inputs(),
        outputs={name: f"{model}_{name}" for name in _PARITY_TABLES},
        parameters=_parameters(parity_part),
    )


def _preflight_model(model: str) -> Pipeline:
    measurement_part = prior_knowledge.create_recall_pipeline() + prior_knowledge.create_features_pipeline()
    measurement_part += Pipeline(features.create_pipeline(), inputs={"sampled_facts": "facts"})
    check_part, forecast_part = preflight.create_check_pipeline(model), preflight.create_pipeline(model)
    later_parts = Pipeline(measurement_part + forecast_part, inputs={"facts": "complete_facts"})
    pipeline = check_part + prior_knowledge.create_completion_pipeline() + later_parts
    preflight_part = Pipeline(
        pipeline,
        namespace=_PREFLIGHT,
        inputs=(_GLOBAL | {"language_model", "predictor"}) & pipeline.inputs(),
        outputs={"forecast": "forecast"},
        parameters=_parameters(pipeline),
    )
    return Pipeline(
        preflight_part,
        namespace=model,
        inputs={
            **{name: name for name in (_GLOBAL | {"predictor"}) & preflight_part.inputs()},
            "facts": f"{_PREFLIGHT}_facts",
        },
        outputs={"forecast": f"{model}_forecast"},
        parameters=_parameters(preflight_part),
    )


def sequential_eval(grid: Grid, needs: Needs = _NONE) -> Pipeline:
    """Edit one fact after another on each model, and measure at checkpoints what that costs it.

    Args:
        grid: The models and their methods.
        needs: How much running text the methods read.
    """
    models = [_sequential_model(model, methods, needs.get(model)) for model, methods in grid.items()]
    checks = [ingest.create_pipeline(), sample.create_checking_pipeline()]
    return ByModel(
        [*checks, *models, _of_all("analyze_sequences", analyze_sequences.create_pipeline(list(grid)))], list(grid)
    )


def _sequential_model(model: str, methods: Sequence[str], need: TextNeed | None) -> Pipeline:
    parts = [
        prior_knowledge.create_recall_pipeline(),
        sample.create_sequence_pipeline(),
        sequence.create_probes_pipeline(),
        abilities.create_planning_pipeline(),
        check.create_sequences_pipeline(methods, model),
        edit.create_corpus_pipeline(methods, model, need),
        *(_cell(method, _sequential_cell(method, model)) for method in methods),
        sequence.create_gathering_pipeline(methods, model),
    ]
    return _of_model(model, methods, parts, need, facts="sequence_facts", settings="sequence", cells=SEQUENTIAL)


def _sequential_cell(method: str, model: str) -> Pipeline:
    return (
        edit.create_preparing_pipeline(method, model, "sequence")
        + sequence.create_pipeline(method, model)
        + abilities.create_pipeline(method)
    )


def _single_cell(method: str, model: str, asking_part: Pipeline) -> Pipeline:
    """Put independent edits by one method and what is asked under them into its namespace."""
    return _cell(method, edit.create_pipeline(method, model) + asking_part)


def _conversation_model(model: str, methods: Sequence[str], need: TextNeed | None) -> Pipeline:
    parts = [
        prior_knowledge.create_recall_pipeline(),
        sample.create_pipeline(),
        edit.create_corpus_pipeline(methods, model, need),
        *(_single_cell(method, model, conversation.create_pipeline(method)) for method in methods),
        conversation.create_verdict_pipeline(methods, model),
    ]
    return _of_model(model, methods, parts, need, settings="conversation")


def _model(model: str, methods: Sequence[str], with_judge: bool, worded_by: str, need: TextNeed | None) -> Pipeline:
    parts = [
        prior_knowledge.create_recall_pipeline(),
        prior_knowledge.create_features_pipeline(),
        sample.create_pipeline(),
        features.create_pipeline(),
        rephrase.create_pipeline(worded_by),
        check.create_lengths_pipeline(methods, model),
        edit.create_corpus_pipeline(methods, model, need),
        *(_single_cell(method, model, evaluate.create_pipeline(method)) for method in methods),
        evaluate.create_scoring_pipeline(methods, model, with_judge=with_judge, with_writer=worded_by == "writer"),
    ]
    return _of_model(model, methods, parts, need)


def _of_model(
    model: str,
    methods: Sequence[str],
    parts: Sequence[Pipeline],
    need: TextNeed | None,
    *,
    facts: str = "facts",
    settings: str = "probes",
    cells: str = "grid",
) -> Pipeline:
    """Put all that is done with one model into its namespace.

    Args:
        model: The model's name.
        methods: Its methods.
        parts: What is done once the model is checked and the facts are complete.
        need: How much running text its methods read.
        facts: The table of the facts of the run.
        settings: The parameters that say what is asked.
        cells: The grid that the methods stand in.
    """
    check_part = check.create_model_pipeline(methods, model, settings=settings, cells=cells, need=need)
    later_parts = Pipeline(sum(parts, Pipeline([])), inputs={"facts": "complete_facts"})
    pipeline = check_part + prior_knowledge.create_completion_pipeline() + later_parts
    return Pipeline(
        pipeline,
        namespace=model,
        inputs=_GLOBAL & pipeline.inputs(),
        outputs={
            **{name: f"{model}_{name}" for name in _PER_MODEL if name in pipeline.all_outputs()},
            "sampled_facts": f"{model}_{facts}",
        },
        parameters=_parameters(pipeline),
        prefix_datasets_with_namespace=True,
    )


def _cell(method: str, pipeline: Pipeline) -> Pipeline:
    """Put all that is done with one method into its namespace."""
    shared_inputs = {
        "language_model",
        "training_facts",
        "sampled_facts",
        "raw_relations",
        "corpus",
        "moments",
        "probes",
        "requirements",
    }
    shared_inputs |= {"tester", "judge", "orders", "sequence_probes", "benchmark_files"}
    return Pipeline(
        pipeline,
        namespace=method,
        inputs=shared_inputs & pipeline.inputs(),
        outputs={name: f"{method}_{name}" for name in _PER_CELL if name in pipeline.all_outputs()},
        parameters=_parameters(pipeline),
        tags=[method],
    )


def _of_all(namespace: str, pipeline: Pipeline) -> Pipeline:
    """Put what all models share into a namespace; its data sets keep their names."""
    return Pipeline(pipeline, namespace=namespace, prefix_datasets_with_namespace=False)


def _parameters(pipeline: Pipeline) -> set[str]:
    return {name for name in pipeline.inputs() if name.startswith("params:")}


def bake_pipeline(grid: Grid, method: str) -> Pipeline:
    """Sum the edits of one method into a model of its own, for every model."""
    return ByModel([bake.create_pipeline(model, method) for model in grid], list(grid))
