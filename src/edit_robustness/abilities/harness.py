"""The harness's tasks as they are, with our choice of their files, examples and limits."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import lm_eval
import yaml
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

import datasets
from edit_robustness.abilities.local_files import BenchmarkFilesMissing, LocalFiles
from edit_robustness.abilities.settings import AbilityParameters, BenchmarkSettings

_OURS = Path(__file__).parent
_HARNESS = Path(lm_eval.__file__).parent / "tasks"
_LIMIT = 256
"""Tokens of a generation where a task states no limit; the harness's own."""

_OF_GROUPS = frozenset({"group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag", "include"})
"""Settings of a group that do not go down to its tasks."""


class FilesTask(ConfigurableTask):
    """A task of the harness that takes its documents from files, where the catalog names some."""

    def __init__(self, config: dict[str, Any]):
        self._files: LocalFiles = config["files"]
        super().__init__(config={name: value for name, value in config.items() if name not in ("class", "files")})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Documents from files; else as the harness gets them, from the network.

        Raises:
            BenchmarkFilesMissing: If the files are not there, or the network is not.
        """
        own = self.config.custom_dataset is not None
        splits = None if own else self._files.splits(self.config.dataset_path, self.config.dataset_name)
        if splits is None:
            self._fetch(dataset_kwargs)
            return
        self.dataset = {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}
        for split in ("training_split", "validation_split"):
            if self.config[split] not in splits:
                self.config[split] = None

    def _fetch(self, dataset_kwargs: dict[str, Any] | None) -> None:
        try:
            super().download(dataset_kwargs)
        except OSError as failure:
            raise BenchmarkFilesMissing(
                f"benchmark {self.config.task}: its data set {self.config.dataset_path} could not be fetched "
                f"({type(failure).__name__}: {failure}); give a folder with its files by "
                "--params=benchmarks_path=FOLDER (docs/reference/abilities.md), or choose abilities.tasks: embedded"
            ) from failure


def index_of(folder: str) -> TaskManager:
    """The harness's index, of one folder of tasks where one is named."""
    if not folder:
        return TaskManager()
    places = [_OURS / folder, _HARNESS / folder, Path(folder)]
    place = next((each for each in places if each.is_dir()), None)
    if place is None:
        raise ValueError(
            f"abilities.presets: folder: {folder} is no folder: not `embedded`, none of the harness's tasks in "
            f"{_HARNESS}, and none of yours"
        )
    return TaskManager(include_path=str(place), include_defaults=False)


def tasks_of(
    manager: TaskManager, name: str, settings: BenchmarkSettings, parameters: AbilityParameters, files: LocalFiles
) -> dict[str, ConfigurableTask]:
    """The harness's tasks of a benchmark, those of a group each for itself."""
    if settings.task not in manager.task_index:
        like = difflib.get_close_matches(settings.task, manager.all_tasks, n=5, cutoff=0.3) or manager.all_tasks[:5]
        raise ValueError(
            f"abilities.presets: {name}: the harness has no task `{settings.task}` in "
            f"{settings.folder or 'any of its folders'}; "
            + (f"there are {', '.join(like)} ..." if like else "there are none")
            + "".join(f"; {each}" for each in _broken(settings.folder))
        )
    ours: dict[str, Any] = {"class": FilesTask, "files": files, "num_fewshot": settings.shots, **settings.overrides}
    if settings.shuffled:
        ours["process_docs"] = partial(_shuffled, field=settings.shuffled, seed=parameters.seed)
        ours["doc_to_target"] = "{{" + settings.shuffled + ".labels.index(1)}}"
    leaves = [{**leaf, **ours} for leaf in _leaves(manager.task_index, settings.task)]
    tasks: dict[str, ConfigurableTask] = manager.load([{"group": name, "task": leaves}])["tasks"]
    for task in tasks.values():
        _settle(task, settings.shots, parameters)
    return tasks


def _broken(folder: str) -> list[str]:
    """What is wrong with files of tasks in a user's folder; the harness passes such files over without a word."""
    wrong = []
    for path in sorted(Path(folder).rglob("*.yaml")) if folder and Path(folder).is_dir() else []:
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError) as error:
            wrong.append(f"{path} cannot be read ({error})")
        else:
            if not isinstance(root, yaml.MappingNode):
                wrong.append(f"{path} holds no settings by name")
    return wrong


def _settle(task: ConfigurableTask, shots: int, parameters: AbilityParameters) -> None:
    """Fix what would be drawn, and limit generations; refuse a task that cannot give its examples."""
    task.set_fewshot_seed(parameters.seed)
    if task.config.num_fewshot != shots:
        raise ValueError(f"task {task.task_name} takes {task.config.num_fewshot} examples where {shots} were asked for")
    there = len(task.sampler.df) if hasattr(task, "sampler") else 0
    if shots > there:
        raise ValueError(f"task {task.task_name} has {there} examples; shots: {shots} asks for more")
    if task.OUTPUT_TYPE == "generate_until":
        settings = task.config.generation_kwargs
        settings["max_gen_toks"] = min(int(settings.get("max_gen_toks", _LIMIT)), parameters.max_new_tokens)


def _leaves(index: Mapping[str, Any], member: str | Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The single tasks of a task, group or tag, each with what the groups around it change.

    The harness hands changes on to the tasks of a group, but then gives all of them one name.
    """
    settings: Mapping[str, Any] = {"task": member} if isinstance(member, str) else member
    changes = {name: value for name, value in settings.items() if name not in _OF_GROUPS}
    inside = settings.get("task", settings.get("group"))
    if isinstance(inside, str):
        entry = index[inside]
        if entry.cfg is not None and "group" not in entry.cfg:
            yield {**changes, "task": inside}
            return
        inside = sorted(entry.tags) if entry.cfg is None else [entry.cfg]
    for each in inside:
        yield from ({**changes, **leaf} for leaf in _leaves(index, each))


def _shuffled(dataset: datasets.Dataset, field: str, seed: int) -> datasets.Dataset:
    """The documents with their options in an order of chance, which depends on the document and the seed only."""

    def shuffle(doc: dict[str, Any]) -> dict[str, Any]:
        choices, labels = doc[field]["choices"], doc[field]["labels"]
        order = Random(f"{seed}/{json.dumps(choices)}").sample(range(len(choices)), len(choices))
        return {**doc, field: {"choices": [choices[i] for i in order], "labels": [labels[i] for i in order]}}

    # not `map`, which would keep what it made in a folder of its own
    return datasets.Dataset.from_list([shuffle(doc) for doc in dataset])


@contextmanager
def quiet() -> Iterator[None]:
    """The harness's remarks on every task's settings, and bars of a moment, are kept from the terminal."""
    remarks = logging.getLogger("lm_eval")
    level, bars = remarks.level, datasets.utils.are_progress_bars_disabled()
    remarks.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        remarks.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
