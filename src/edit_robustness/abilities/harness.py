"""Load tasks of lm-evaluation-harness with local files, few-shot examples and limits of this project."""

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
"""Maximum tokens of a generation if the task has no limit; the default of the harness."""

_OF_GROUPS = frozenset({"group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag", "include"})
"""Settings of a group that are not passed on to its tasks."""


class FilesTask(ConfigurableTask):
    """A task of the harness that reads its documents from local files if the catalog has some."""

    def __init__(self, config: dict[str, Any]):
        self._files: LocalFiles = config["files"]
        super().__init__(config={name: value for name, value in config.items() if name not in ("class", "files")})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Read the documents from local files, or let the harness download them.

        Raises:
            BenchmarkFilesMissing: If the files are missing, or the download fails.
        """
        is_custom = self.config.custom_dataset is not None
        splits = None if is_custom else self._files.splits(self.config.dataset_path, self.config.dataset_name)
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
                f"({type(failure).__name__}: {failure}); pass a folder with its files by "
                "--params=benchmarks_path=FOLDER (docs/reference/abilities.md), or set abilities.tasks: embedded"
            ) from failure


def index_of(folder: str) -> TaskManager:
    """Return the harness's index of tasks, restricted to one folder if one is given.

    Raises:
        ValueError: If the folder does not exist.
    """
    if not folder:
        return TaskManager()
    places = [_OURS / folder, _HARNESS / folder, Path(folder)]
    place = next((path for path in places if path.is_dir()), None)
    if place is None:
        raise ValueError(
            f"abilities.presets: folder: {folder} does not exist; expected `embedded`, a folder of the harness's tasks "
            f"in {_HARNESS}, or a folder of your own"
        )
    return TaskManager(include_path=str(place), include_defaults=False)


def tasks_of(
    manager: TaskManager, name: str, settings: BenchmarkSettings, parameters: AbilityParameters, files: LocalFiles
) -> dict[str, ConfigurableTask]:
    """Return the harness's tasks of a benchmark by name; a group gives all its tasks.

    Raises:
        ValueError: If the task does not exist, or has too few examples.
    """
    if settings.task not in manager.task_index:
        similar_names = (
            difflib.get_close_matches(settings.task, manager.all_tasks, n=5, cutoff=0.3) or manager.all_tasks[:5]
        )
        raise ValueError(
            f"abilities.presets: {name}: the harness has no task `{settings.task}` in "
            f"{settings.folder or 'any of its folders'}; "
            + (f"available tasks: {', '.join(similar_names)} ..." if similar_names else "there are none")
            + "".join(f"; {error}" for error in _file_errors(settings.folder))
        )
    task_settings: dict[str, Any] = {
        "class": FilesTask,
        "files": files,
        "num_fewshot": settings.shots,
        **settings.overrides,
    }
    if settings.shuffled:
        task_settings["process_docs"] = partial(_shuffle_options, field=settings.shuffled, seed=parameters.seed)
        task_settings["doc_to_target"] = "{{" + settings.shuffled + ".labels.index(1)}}"
    leaves = [{**leaf, **task_settings} for leaf in _leaves(manager.task_index, settings.task)]
    tasks: dict[str, ConfigurableTask] = manager.load([{"group": name, "task": leaves}])["tasks"]
    for task in tasks.values():
        _settle(task, settings.shots, parameters)
    return tasks


def _file_errors(folder: str) -> list[str]:
    """Return the problems of YAML files in a user's folder, because the harness ignores invalid files silently."""
    errors = []
    for path in sorted(Path(folder).rglob("*.yaml")) if folder and Path(folder).is_dir() else []:
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError) as error:
            errors.append(f"{path} cannot be read ({error})")
        else:
            if not isinstance(root, yaml.MappingNode):
                errors.append(f"{path} is not a mapping of settings")
    return errors


def _settle(task: ConfigurableTask, shots: int, parameters: AbilityParameters) -> None:
    """Set the seed of the examples and the limit of generations; refuse a task with too few examples."""
    task.set_fewshot_seed(parameters.seed)
    if task.config.num_fewshot != shots:
        raise ValueError(f"task {task.task_name} uses {task.config.num_fewshot} examples, but shots is {shots}")
    n_examples = len(task.sampler.df) if hasattr(task, "sampler") else 0
    if shots > n_examples:
        raise ValueError(f"task {task.task_name} has only {n_examples} examples, but shots is {shots}")
    if task.OUTPUT_TYPE == "generate_until":
        settings = task.config.generation_kwargs
        settings["max_gen_toks"] = min(int(settings.get("max_gen_toks", _LIMIT)), parameters.max_new_tokens)


def _leaves(index: Mapping[str, Any], member: str | Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the single tasks of a task, group or tag, with the changed settings of the groups around them.

    The harness can pass changes on to the tasks of a group too, but then gives all tasks the same name.
    """
    settings: Mapping[str, Any] = {"task": member} if isinstance(member, str) else member
    changes = {name: value for name, value in settings.items() if name not in _OF_GROUPS}
    members = settings.get("task", settings.get("group"))
    if isinstance(members, str):
        entry = index[members]
        if entry.cfg is not None and "group" not in entry.cfg:
            yield {**changes, "task": members}
            return
        members = sorted(entry.tags) if entry.cfg is None else [entry.cfg]
    for inner_member in members:
        yield from ({**changes, **leaf} for leaf in _leaves(index, inner_member))


def _shuffle_options(dataset: datasets.Dataset, field: str, seed: int) -> datasets.Dataset:
    """Return the documents with their options in random order, which depends only on the document and the seed."""

    def shuffle(doc: dict[str, Any]) -> dict[str, Any]:
        choices, labels = doc[field]["choices"], doc[field]["labels"]
        order = Random(f"{seed}/{json.dumps(choices)}").sample(range(len(choices)), len(choices))
        return {**doc, field: {"choices": [choices[i] for i in order], "labels": [labels[i] for i in order]}}

    # not `map`, which would write its result to a cache folder
    return datasets.Dataset.from_list([shuffle(doc) for doc in dataset])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the harness's log messages about settings, and the progress bars of `datasets`."""
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
