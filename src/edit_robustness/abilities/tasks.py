"""Build the benchmarks of the harness, once per run for all checkpoints.

Tasks, documents, few-shot examples and prompts equal those of the harness, which tests verify. This project chooses the
documents, their files, the order of options if the right one always comes first, and the limit of generations.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from random import Random
from typing import Any

import lm_eval
import numpy as np
from jinja2 import TemplateError
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from edit_robustness.abilities.guards import best_text, trivial_scores
from edit_robustness.abilities.harness import index_of, quiet, tasks_of
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.requests import Work, last_paragraph, plan_requests
from edit_robustness.abilities.settings import AbilityParameters, BenchmarkSettings
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.models.language_model import LanguageModel

PERPLEXITY = "perplexity"
"""The metric of texts: `exp` of the mean negative log-probability per token of the model."""

_UNLIKELY = -1e6
_NO_TASK = (ValueError, TypeError, LookupError, AttributeError, AssertionError, ZeroDivisionError, TemplateError)
"""Errors of the harness for a task that it cannot build."""


@dataclass(frozen=True)
class Item:
    """One document of a benchmark with its requests.

    Attributes:
        task: Name of the harness's task.
        number: The document's number in the task.
        doc: The document.
        doc_hash: Hash of number and document.
        prompt_hash: Hash of its requests, including examples and limits.
        instances: The harness's requests: one per option, or a single one.
        questions: For each request its question, without few-shot examples.
        gold: Number of the right option; -1 if there are no options, or several are right.
        lengths: Characters of each option, by which the harness's normalised metrics divide.
        tokens: Tokens of the text if its perplexity is measured; otherwise 0.
    """

    task: str
    number: int
    doc: Mapping[str, Any]
    doc_hash: str
    prompt_hash: str
    instances: tuple[Instance, ...]
    questions: tuple[str, ...]
    gold: int
    lengths: tuple[int, ...]
    tokens: int


@dataclass(frozen=True)
class Benchmark:
    """A benchmark with all its requests.

    Attributes:
        name: Name in tables.
        task: The harness's task or group.
        ability: The kind of ability that it measures.
        tasks: The harness's tasks by name.
        items: The drawn documents, task by task.
        work: Their requests as token ids.
        fingerprint: Identifies all requests and how they are scored.
        metric: The metric to report.
        shots: Number of few-shot examples before each document.
        chance: Score of guessing on these documents; NaN for perplexity.
        constant_answer: Score of the best constant answer on them; NaN for perplexity.
        max_new_tokens: Maximum tokens of a generation; 0 if nothing is generated.
        note: Differences from the harness, and remarks for readers.
    """

    name: str
    task: str
    ability: str
    tasks: Mapping[str, ConfigurableTask]
    items: tuple[Item, ...]
    work: Work
    fingerprint: str
    metric: str
    shots: int
    chance: float
    constant_answer: float
    max_new_tokens: int
    note: str

    @property
    def filters(self) -> tuple[str, ...]:
        """Return the names of the task's filters of responses; `none` leaves them unchanged."""
        return tuple(filter_steps.name for filter_steps in next(iter(self.tasks.values()))._filters)


def build_benchmarks(lm: LanguageModel, parameters: AbilityParameters, files: LocalFiles) -> list[Benchmark]:
    """Build the benchmarks of a run for one model.

    Args:
        lm: The model; only its tokenizer and context length are used.
        parameters: The selected benchmarks and their sizes.
        files: Local files of documents.

    Raises:
        ValueError: If a task, metric or field does not exist, or there are too few examples.
        BenchmarkFilesMissing: If documents are missing.
        RequestTooLong: If a request does not fit into the model's context.
    """
    settings_by_name = parameters.select_benchmarks()
    with quiet():
        managers = {folder: index_of(folder) for folder in {settings.folder for settings in settings_by_name.values()}}
        return [
            _build_or_explain(lm, name, settings, parameters, files, managers[settings.folder])
            for name, settings in settings_by_name.items()
        ]


def draw_documents(sizes: Mapping[str, int], documents: int, seed: int) -> dict[str, list[int]]:
    """Draw the numbers of documents from tasks in equal shares; a larger draw contains every smaller one.

    Args:
        sizes: Number of documents per task.
        documents: Maximum number of documents in total; 0 for all.
        seed: Seed of the draw. The draw from one task does not depend on the other tasks.
    """
    order = Random(seed).sample(sorted(sizes), len(sizes))
    numbers_by_task = [
        [(name, n) for n in Random(f"{seed}/{name}").sample(range(sizes[name]), sizes[name])] for name in order
    ]
    pool = [document for turn in zip_longest(*numbers_by_task) for document in turn if document is not None]
    selection = set(pool[:documents] if documents else pool)
    return {name: numbers for name in sizes if (numbers := sorted(n for task, n in selection if task == name))}


def _build_or_explain(lm: LanguageModel, name: str, settings: BenchmarkSettings, *arguments: Any) -> Benchmark:
    """Build a benchmark, and explain errors of the harness for invalid tasks, overrides or documents."""
    try:
        return _build(lm, name, settings, *arguments)
    except _NO_TASK as error:
        if type(error) is not ValueError and isinstance(error, ValueError):
            raise  # an error of this project, which already explains the fix
        if str(error).startswith(("abilities.", "task ")):
            raise
        location = f"{settings.folder or 'the harness'}, with overrides {dict(settings.overrides)}"
        raise ValueError(
            f"abilities.presets: {name}: the task `{settings.task}` of {location} cannot be used "
            f"({type(error).__name__}: {error}); check its YAML file, the overrides and the fields of its documents"
        ) from error


def _build(
    lm: LanguageModel,
    name: str,
    settings: BenchmarkSettings,
    parameters: AbilityParameters,
    files: LocalFiles,
    manager: TaskManager,
) -> Benchmark:
    tasks = tasks_of(manager, name, settings, parameters, files)
    n_documents = min(filter(None, (settings.documents, parameters.documents)), default=0)
    numbers = draw_documents({task: len(tasks[task].task_docs) for task in tasks}, n_documents, parameters.seed)
    tasks = {task: tasks[task] for task in numbers}
    items = tuple(item for task in tasks for item in _items(lm, tasks[task], numbers[task], settings.shots))
    metric = _metric(name, settings, next(iter(tasks.values())))
    limits = {limit for task in tasks.values() if (limit := (task.config.generation_kwargs or {}).get("max_gen_toks"))}
    chance, constant = _trivial_scores(tasks, items, metric, settings)
    benchmark = Benchmark(
        name=name,
        task=settings.task,
        ability=settings.ability or name,
        tasks=tasks,
        items=items,
        work=plan_requests(
            lm,
            [instance for item in items for instance in item.instances],
            [question for item in items for question in item.questions],
        ),
        fingerprint="",
        metric=metric,
        shots=settings.shots,
        chance=chance,
        constant_answer=constant,
        max_new_tokens=max(limits, default=0),
        note=_note(settings, tasks),
    )
    document_keys = [(item.task, item.number, item.doc_hash, item.prompt_hash) for item in items]
    return replace(
        benchmark,
        fingerprint=fingerprint(
            lm_eval.__version__, name, metric, benchmark.filters, settings.overrides, document_keys
        ),
    )


def _items(lm: LanguageModel, task: ConfigurableTask, numbers: Iterable[int], shots: int) -> list[Item]:
    """Build the items of the drawn documents; the task stores their requests, to filter the responses."""
    items = [_item(lm, task, number, shots) for number in numbers]
    task._instances = list(chain.from_iterable(item.instances for item in items))
    return items


def _item(lm: LanguageModel, task: ConfigurableTask, number: int, shots: int) -> Item:
    doc = task.task_docs[number]
    context = task.fewshot_context(doc, num_fewshot=shots, gen_prefix=task.doc_to_prefix(doc))
    requests = task.construct_requests(doc=doc, ctx=context, metadata=(task.task_name, number, 1))
    instances = tuple(requests) if isinstance(requests, list) else (requests,)
    options = _options(task, doc)
    is_whole_text = task.OUTPUT_TYPE == "loglikelihood_rolling"
    return Item(
        task=task.task_name,
        number=number,
        doc=doc,
        doc_hash=fingerprint(number, json.dumps(doc, sort_keys=True, default=str)),
        prompt_hash=fingerprint([instance.args for instance in instances]),
        instances=instances,
        questions=tuple(_question(task, doc, instance.args[0]) for instance in instances),
        gold=_gold(task, doc, options),
        lengths=tuple(len(option) for option in options),
        tokens=len(lm.encode(instances[0].args[0], special=False)) if is_whole_text else 0,
    )


def _question(task: ConfigurableTask, doc: Mapping[str, Any], request: str) -> str:
    """Return the question of a request: the whole text, the task's question, or else the last paragraph."""
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return request
    # a task whose options come before the text has a number here, and a few have nothing
    text = task.doc_to_text(doc)
    return text if isinstance(text, str) and text.strip() else last_paragraph(request)


def _options(task: ConfigurableTask, doc: Mapping[str, Any]) -> list[str]:
    if task.OUTPUT_TYPE == "multiple_choice":
        options: list[str] = task.doc_to_choice(doc)
        return options
    return [task.doc_to_target(doc)] if task.OUTPUT_TYPE == "loglikelihood" else []


def _gold(task: ConfigurableTask, doc: Mapping[str, Any], options: Sequence[str]) -> int:
    """Return the number of the right option, or -1 for tasks with their own scoring, which may have several."""
    if not options or callable(task.config.process_results):
        return -1
    target = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    if isinstance(target, list):
        target = target[0] if len(target) == 1 else -1
    if isinstance(target, str):
        target = list(options).index(target) if target in options else -1
    return int(target)


def _metric(name: str, settings: BenchmarkSettings, task: ConfigurableTask) -> str:
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return PERPLEXITY
    metric_names = list(task.higher_is_better())
    if settings.metric and settings.metric not in metric_names:
        raise ValueError(
            f"abilities.presets: {name}: {settings.task} has no metric `{settings.metric}`; it has "
            f"{', '.join(metric_names)}"
        )
    return settings.metric or metric_names[0]


def _trivial_scores(
    tasks: Mapping[str, ConfigurableTask], items: Sequence[Item], metric: str, settings: BenchmarkSettings
) -> tuple[float, float]:
    """Return the scores of guessing and of the best constant answer, by the harness's scoring."""
    kind = next(iter(tasks.values())).OUTPUT_TYPE

    def worth(place: int, answers: list[Any]) -> float:
        with np.errstate(all="ignore"):
            return float(tasks[items[place].task].process_results(items[place].doc, answers)[metric])

    if kind == "multiple_choice":
        numbers = [len(item.instances) for item in items]

        def preference(place: int, option: int) -> float:
            return worth(place, [(0.0 if k == option else _UNLIKELY, k == option) for k in range(numbers[place])])

        return trivial_scores(numbers, preference)
    if kind == "generate_until":
        golds = [str(_first(tasks[item.task].doc_to_target(item.doc))) for item in items]
        candidates = [settings.constant_answer] * len(golds) if settings.constant_answer else golds
        return 0.0, best_text(candidates, lambda place, text: worth(place, [text]))
    if kind == "loglikelihood":
        targets = Counter(item.instances[0].args[1] for item in items)
        return 0.0, max(targets.values()) / len(items)
    return float("nan"), float("nan")


def _first(target: Any) -> Any:
    return target[0] if isinstance(target, list) and target else target


def _note(settings: BenchmarkSettings, tasks: Mapping[str, ConfigurableTask]) -> str:
    """Return the differences from the harness, and remarks for readers."""
    has_fixed_examples = settings.shots and settings.overrides.get("fewshot_config", {}).get("sampler") == "first_n"
    remarks = [
        f"across {len(tasks)} tasks" if len(tasks) > 1 else "",
        "options in an order of chance" if settings.shuffled else "",
        "the same examples before every document" if has_fixed_examples else "",
    ]
    return "; ".join(remark for remark in remarks if remark)
