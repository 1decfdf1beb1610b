"""Nodes of abilities.

Each benchmark at each checkpoint is one file, so an interrupted run resumes after the last one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from edit_robustness.abilities.benchmarks import get_benchmarks
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.measure import benchmark_facts, measure
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark
from edit_robustness.datasets.folders import Landing, Manifest, StoredItem, stale_mark
from edit_robustness.datasets.sequences import Checkpoint, checkpoints, replays
from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.records import Document
from edit_robustness.workers import Task, Work, current_workers


def plan_abilities(lm: LanguageModel, parameters: AbilityParameters, benchmark_files: LocalFiles) -> pd.DataFrame:
    """Build the benchmarks, so that a bad setting is found before anything is edited; return a table about them."""
    return benchmark_facts(get_benchmarks(lm, parameters, benchmark_files))


def measure_with(method: str) -> Callable[..., Landing]:
    """Return the node that measures the benchmarks at each checkpoint of one method.

    Existing results are not recomputed.
    """

    def measure_abilities(
        lm: LanguageModel,
        parameters: AbilityParameters,
        benchmark_files: LocalFiles,
        inventory: Mapping[str, str],
        settings: SequenceParameters,
        edits: Mapping[str, StoredItem[Edit]] | None = None,
        artefacts: Mapping[str, StoredItem[Artefact]] | None = None,
        check_record: Any = None,
    ) -> Landing:
        """Measure missing benchmarks.

        `check_record` is the result of the check that all requests fit into the context.
        """
        benchmarks = get_benchmarks(lm, parameters, benchmark_files)
        points = checkpoints(edits, settings)
        manifest = Manifest(
            {
                _key(point, benchmark): fingerprint(FORMAT, lm.fingerprint, point.fingerprint, benchmark.fingerprint)
                for point in points
                for benchmark in benchmarks
            }
        )
        yield manifest
        missing_keys = manifest.missing_keys(inventory)
        if not missing_keys:
            return
        cells = {_key(point, task): (point, task.name, task.fingerprint) for point in points for task in benchmarks}
        label = f"{lm.name}: {method}, abilities"
        work = Work(_measure, cells, (parameters, benchmark_files, edits, artefacts))
        attempts = current_workers().attempts(lm, Task(work, missing_keys, label, in_batches=False))
        for attempt in track(attempts, label, len(missing_keys)):
            point, benchmark, _ = cells[attempt.key]
            about = {"seconds": round(attempt.seconds, 3), "environment": attempt.environment}
            about |= stale_mark(*(edits or {}).values())
            location = {**point.place, "benchmark": benchmark}
            yield attempt.to_items(manifest[attempt.key], about | location, **location)

    return measure_abilities


def _key(point: Checkpoint, benchmark: Benchmark) -> str:
    return f"{point.key}.{benchmark.name}"


def _measure(
    lm: LanguageModel,
    cells: Sequence[tuple[Checkpoint, str, str]],
    parameters: AbilityParameters,
    benchmark_files: LocalFiles,
    edits: Mapping[str, StoredItem[Edit]] | None,
    artefacts: Mapping[str, StoredItem[Artefact]] | None,
) -> Iterator[list[Document]]:
    """Yield the documents of each benchmark. The edits of a checkpoint are applied once for all its benchmarks.

    Args:
        lm: The unedited model.
        cells: A checkpoint, a benchmark's name and its fingerprint.
        parameters: Those of the benchmarks, which every process builds, because their tasks cannot be sent.
        benchmark_files: Files of the benchmarks.
        edits: The increments.
        artefacts: What the method prepared, where its edits need it.

    Raises:
        ValueError: If the benchmark of this process is another than that of the cell.
    """
    benchmarks = {benchmark.name: benchmark for benchmark in get_benchmarks(lm, parameters, benchmark_files)}
    for point, history in replays(edits, list(dict.fromkeys(point for point, *_ in cells)), artefacts):
        with history.applied(lm):
            for _, name, expected in (cell for cell in cells if cell[0] == point):
                if benchmarks[name].fingerprint != expected:
                    raise ValueError(f"{name}: a worker reads other files of this benchmark, or has another lm_eval")
                yield measure(lm, benchmarks[name], edit=history)
