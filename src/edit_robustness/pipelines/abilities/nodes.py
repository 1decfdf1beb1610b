"""Nodes of abilities. A benchmark at a checkpoint is a file, so that a killed run goes on after the last one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from edit_robustness.abilities.built import built
from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.measure import benchmark_facts, measure
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark
from edit_robustness.datasets.failures import attempts
from edit_robustness.datasets.folders import Landing, Manifest, Stored, from_stale
from edit_robustness.datasets.sequences import Checkpoint, checkpoints, replays
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.editing.fold import SequenceParameters
from edit_robustness.editing.prepared import Prepared
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.records import Document


def plan_abilities(lm: LanguageModel, parameters: AbilityParameters, benchmark_files: LocalFiles) -> pd.DataFrame:
    """Build the benchmarks, so that a bad setting is found before anything is edited; return a table about them."""
    return benchmark_facts(built(lm, parameters, benchmark_files))


def measure_with(method: str) -> Callable[..., Landing]:
    """The node that measures the benchmarks at each checkpoint of one method; what is there is not measured again."""

    def measure_abilities(
        lm: LanguageModel,
        parameters: AbilityParameters,
        benchmark_files: LocalFiles,
        stored: Mapping[str, str],
        settings: SequenceParameters,
        edits: Mapping[str, Stored[Edit]] | None = None,
        prepared: Mapping[str, Stored[Prepared]] | None = None,
        checked: Any = None,
    ) -> Landing:
        """Measure what is missing; `checked` says that all requests fit into the context."""
        benchmarks = built(lm, parameters, benchmark_files)
        points = checkpoints(edits, settings)
        wanted = Manifest(
            {
                _key(point, benchmark): fingerprint(FORMAT, lm.fingerprint, point.fingerprint, benchmark.fingerprint)
                for point in points
                for benchmark in benchmarks
            }
        )
        yield wanted
        missing = wanted.missing(stored)
        if not missing:
            return
        due = {_key(point, each): (point, each) for point in points for each in benchmarks}
        what = f"{lm.name}: {method}, abilities"

        def make(keys: Sequence[str]) -> Iterator[list[Document]]:
            return _measured(lm, [due[key] for key in keys], edits, prepared)

        for one in track(attempts(missing, make, what, batched=False), what, len(missing)):
            point, benchmark = due[one.key]
            about = {"seconds": round(one.seconds, 3), "environment": lm.environment}
            about |= from_stale(*(edits or {}).values())
            at = {**point.place, "benchmark": benchmark.name}
            yield one.stored(wanted[one.key], about | at, **at)

    return measure_abilities


def _key(point: Checkpoint, benchmark: Benchmark) -> str:
    return f"{point.key}.{benchmark.name}"


def _measured(
    lm: LanguageModel,
    due: Sequence[tuple[Checkpoint, Benchmark]],
    edits: Mapping[str, Stored[Edit]] | None,
    prepared: Mapping[str, Stored[Prepared]] | None,
) -> Iterator[list[Document]]:
    """The edits of a checkpoint are applied once for all its benchmarks."""
    points = {point: [each for at, each in due if at == point] for point, _ in due}
    for point, past in replays(edits, list(points), prepared):
        with past.applied(lm):
            for benchmark in points[point]:
                yield measure(lm, benchmark, prefix=past.prefix)
