"""Benchmarks as the harness asks them, built once a run and asked of every checkpoint.

Tasks, documents, examples and wordings are the harness's own, which tests compare with it. Ours are the choice of
documents, their files, the order of options where a data set has the right one first, and the limit of generations.
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

from edit_robustness.abilities.guards import baselines, best_text
from edit_robustness.abilities.harness import index_of, quiet, tasks_of
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.requests import Work, planned
from edit_robustness.abilities.settings import AbilityParameters, BenchmarkSettings
from edit_robustness.editing.method import fingerprint
from edit_robustness.models.language_model import LanguageModel

PERPLEXITY = "perplexity"
"""The metric of a whole text: by token of the model, natural, as `exp` of the mean negative log-probability."""

_UNLIKELY = -1e6
_NO_TASK = (ValueError, TypeError, LookupError, AttributeError, AssertionError, ZeroDivisionError, TemplateError)
"""What the harness raises for a task that it cannot make or ask."""


@dataclass(frozen=True)
class Item:
    """One document of a benchmark, and how it is asked.

    Attributes:
        task: Name of the harness's task.
        number: The document's number in the task.
        doc: The document.
        doc_hash: A hash of both.
        prompt_hash: A hash of all that is asked about it, examples and limits included.
        instances: The harness's requests: one an option, or one in all.
        gold: The right option's number; -1 where there are none, or several are right.
        lengths: Characters of each option, by which the harness's normalised metrics divide.
        tokens: Tokens of a whole text whose perplexity is measured; else 0.
    """

    task: str
    number: int
    doc: Mapping[str, Any]
    doc_hash: str
    prompt_hash: str
    instances: tuple[Instance, ...]
    gold: int
    lengths: tuple[int, ...]
    tokens: int


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that is ready to be asked.

    Attributes:
        name: What it is called in tables.
        task: The harness's task or group.
        tasks: The harness's tasks by name.
        items: The documents that were drawn, task by task.
        work: Their requests as token ids.
        fingerprint: Of everything that is asked and how it is scored.
        metric: The metric that counts.
        shots: Examples before each document.
        chance: What guessing gets on these documents; NaN where there is nothing to guess.
        constant_answer: What the best constant answer gets on them.
        max_new_tokens: Most tokens of a generation; 0 where nothing is generated.
        note: What is peculiar about it.
    """

    name: str
    task: str
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
        """How answers are read off, by the task's names; `none` where as they are."""
        return tuple(each.name for each in next(iter(self.tasks.values()))._filters)


def build_benchmarks(lm: LanguageModel, parameters: AbilityParameters, files: LocalFiles) -> list[Benchmark]:
    """The benchmarks of a run, for one model.

    Args:
        lm: The model; only its tokenizer and the length of its context count.
        parameters: Which benchmarks, and how much of each.
        files: Where their documents are.

    Raises:
        ValueError: For a task, metric or field that is not there, or too few examples.
        BenchmarkFilesMissing: If documents are not there.
        RequestTooLong: If something does not fit into the model's context.
    """
    chosen = parameters.chosen()
    with quiet():
        managers = {folder: index_of(folder) for folder in {one.folder for one in chosen.values()}}
        return [_checked(lm, name, one, parameters, files, managers[one.folder]) for name, one in chosen.items()]


def drawn(sizes: Mapping[str, int], documents: int, seed: int) -> dict[str, list[int]]:
    """Numbers of documents, drawn across tasks in equal shares; a larger draw holds the smaller one.

    Args:
        sizes: How many documents each task has.
        documents: Most documents in all; 0 for all there are.
        seed: Of the draw; what is drawn of a task does not depend on the others.
    """
    order = Random(seed).sample(sorted(sizes), len(sizes))
    own = [[(name, n) for n in Random(f"{seed}/{name}").sample(range(sizes[name]), sizes[name])] for name in order]
    dealt = [card for turn in zip_longest(*own) for card in turn if card is not None]
    kept = set(dealt[:documents] if documents else dealt)
    return {name: numbers for name in sizes if (numbers := sorted(n for task, n in kept if task == name))}


def _checked(lm: LanguageModel, name: str, settings: BenchmarkSettings, *rest: Any) -> Benchmark:
    """A benchmark, with what the harness raises for a task, an override or a document of another form told."""
    try:
        return _built(lm, name, settings, *rest)
    except _NO_TASK as error:
        if type(error) is not ValueError and isinstance(error, ValueError):
            raise  # of this project, which says what to do
        if str(error).startswith(("abilities.", "task ")):
            raise
        where = f"{settings.folder or 'the harness'}, with overrides {dict(settings.overrides)}"
        raise ValueError(
            f"abilities.presets: {name}: the task `{settings.task}` of {where} cannot be asked "
            f"({type(error).__name__}: {error}); check its YAML file, the overrides and the fields of its documents"
        ) from error


def _built(
    lm: LanguageModel,
    name: str,
    settings: BenchmarkSettings,
    parameters: AbilityParameters,
    files: LocalFiles,
    manager: TaskManager,
) -> Benchmark:
    tasks = tasks_of(manager, name, settings, parameters, files)
    most = min(filter(None, (settings.documents, parameters.documents)), default=0)
    numbers = drawn({task: len(tasks[task].task_docs) for task in tasks}, most, parameters.seed)
    tasks = {task: tasks[task] for task in numbers}
    items = tuple(item for task in tasks for item in _items(lm, tasks[task], numbers[task], settings.shots))
    metric = _metric(name, settings, next(iter(tasks.values())))
    limits = {limit for task in tasks.values() if (limit := (task.config.generation_kwargs or {}).get("max_gen_toks"))}
    chance, constant = _baselines(tasks, items, metric, settings)
    made = Benchmark(
        name=name,
        task=settings.task,
        tasks=tasks,
        items=items,
        work=planned(lm, [instance for item in items for instance in item.instances]),
        fingerprint="",
        metric=metric,
        shots=settings.shots,
        chance=chance,
        constant_answer=constant,
        max_new_tokens=max(limits, default=0),
        note=_note(settings, tasks),
    )
    asked = [(item.task, item.number, item.doc_hash, item.prompt_hash) for item in items]
    return replace(
        made, fingerprint=fingerprint(lm_eval.__version__, name, metric, made.filters, settings.overrides, asked)
    )


def _items(lm: LanguageModel, task: ConfigurableTask, numbers: Iterable[int], shots: int) -> list[Item]:
    """The documents of a task that were drawn; the task keeps their requests, to filter the answers."""
    items = [_item(lm, task, number, shots) for number in numbers]
    task._instances = list(chain.from_iterable(item.instances for item in items))
    return items


def _item(lm: LanguageModel, task: ConfigurableTask, number: int, shots: int) -> Item:
    doc = task.task_docs[number]
    context = task.fewshot_context(doc, num_fewshot=shots, gen_prefix=task.doc_to_prefix(doc))
    made = task.construct_requests(doc=doc, ctx=context, metadata=(task.task_name, number, 1))
    instances = tuple(made) if isinstance(made, list) else (made,)
    options = _options(task, doc)
    whole = task.OUTPUT_TYPE == "loglikelihood_rolling"
    return Item(
        task=task.task_name,
        number=number,
        doc=doc,
        doc_hash=fingerprint(number, json.dumps(doc, sort_keys=True, default=str)),
        prompt_hash=fingerprint([instance.args for instance in instances]),
        instances=instances,
        gold=_gold(task, doc, options),
        lengths=tuple(len(option) for option in options),
        tokens=len(lm.encode(instances[0].args[0], special=False)) if whole else 0,
    )


def _options(task: ConfigurableTask, doc: Mapping[str, Any]) -> list[str]:
    if task.OUTPUT_TYPE == "multiple_choice":
        return task.doc_to_choice(doc)
    return [task.doc_to_target(doc)] if task.OUTPUT_TYPE == "loglikelihood" else []


def _gold(task: ConfigurableTask, doc: Mapping[str, Any], options: Sequence[str]) -> int:
    """The right option's number; a task that scores in a way of its own may have several, and so has -1."""
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
    there = list(task.higher_is_better())
    if settings.metric and settings.metric not in there:
        raise ValueError(
            f"abilities.presets: {name}: {settings.task} has no metric `{settings.metric}`; it has {', '.join(there)}"
        )
    return settings.metric or there[0]


def _baselines(
    tasks: Mapping[str, ConfigurableTask], items: Sequence[Item], metric: str, settings: BenchmarkSettings
) -> tuple[float, float]:
    """What guessing and the best constant answer get, by the harness's own scoring."""
    kind = next(iter(tasks.values())).OUTPUT_TYPE

    def worth(place: int, answers: list[Any]) -> float:
        with np.errstate(all="ignore"):
            return float(tasks[items[place].task].process_results(items[place].doc, answers)[metric])

    if kind == "multiple_choice":
        numbers = [len(item.instances) for item in items]

        def preferred(place: int, option: int) -> float:
            return worth(place, [(0.0 if k == option else _UNLIKELY, k == option) for k in range(numbers[place])])

        return baselines(numbers, preferred)
    if kind == "generate_until":
        golds = [str(_first(tasks[item.task].doc_to_target(item.doc))) for item in items]
        tried = [settings.constant_answer] * len(golds) if settings.constant_answer else golds
        return 0.0, best_text(tried, lambda place, text: worth(place, [text]))
    if kind == "loglikelihood":
        targets = Counter(item.instances[0].args[1] for item in items)
        return 0.0, max(targets.values()) / len(items)
    return float("nan"), float("nan")


def _first(target: Any) -> Any:
    return target[0] if isinstance(target, list) and target else target


def _note(settings: BenchmarkSettings, tasks: Mapping[str, ConfigurableTask]) -> str:
    """What differs from the harness's own, and what a reader should know."""
    fixed = settings.shots and settings.overrides.get("fewshot_config", {}).get("sampler") == "first_n"
    said = [
        f"across {len(tasks)} tasks" if len(tasks) > 1 else "",
        "options in an order of chance" if settings.shuffled else "",
        "the same examples before every document" if fixed else "",
    ]
    return "; ".join(each for each in said if each)
