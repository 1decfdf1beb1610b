"""Nodes of abilities. A benchmark at a checkpoint is a file, so that a killed run goes on after the last one."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.measure import benchmark_facts, measure
from edit_robustness.abilities.requests import RequestTooLong, planned
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark, build_benchmarks
from edit_robustness.datasets.folders import Landing, Manifest, Stored
from edit_robustness.datasets.sequences import Checkpoint, checkpoints, replays
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fold import SequenceParameters
from edit_robustness.editing.method import Prepared, fingerprint
from edit_robustness.editing.past import Past
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track


class _Slot:
    """The benchmarks of one model in memory, and what they were built from.

    They hold task objects of the harness, which cannot be stored. In memory, they need no data set, so a run can start
    from any node.
    """

    model: str = ""
    parameters: AbilityParameters | None = None
    files: LocalFiles | None = None
    benchmarks: Sequence[Benchmark] = ()


def plan_abilities(lm: LanguageModel, parameters: AbilityParameters, benchmark_files: LocalFiles) -> pd.DataFrame:
    """Build the benchmarks, so that a bad setting is found before anything is edited; return a table about them."""
    return benchmark_facts(_benchmarks(lm, parameters, benchmark_files))


def _benchmarks(lm: LanguageModel, parameters: AbilityParameters, files: LocalFiles) -> Sequence[Benchmark]:
    """Return the benchmarks with all that they ask, built once for every method and checkpoint of a model."""
    # each run has its own object for the files, whose content may have changed since the last run of this process
    if (_Slot.model, _Slot.parameters) != (lm.fingerprint, parameters) or _Slot.files is not files:
        _Slot.model, _Slot.benchmarks = "", ()
        _Slot.benchmarks = build_benchmarks(lm, parameters, files)
        _Slot.model, _Slot.parameters, _Slot.files = lm.fingerprint, parameters, files
    return _Slot.benchmarks


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
    ) -> Landing:
        benchmarks = _benchmarks(lm, parameters, benchmark_files)
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
        several = {point: [each for each in benchmarks if _key(point, each) in missing] for point in points}
        due = {point: own for point, own in several.items() if own}
        _check_fit(lm, method, due, edits, prepared)
        measured = _measured(lm, due, replays(edits, list(due), prepared), wanted)
        yield from track(measured, f"{lm.name}: {method}, abilities", len(missing))

    return measure_abilities


def _key(point: Checkpoint, benchmark: Benchmark) -> str:
    return f"{point.key}.{benchmark.name}"


def _measured(
    lm: LanguageModel,
    due: Mapping[Checkpoint, Sequence[Benchmark]],
    replayed: Iterator[tuple[Checkpoint, Past]],
    wanted: Mapping[str, str],
) -> Iterator[dict[str, Stored]]:
    """The edits of a checkpoint are applied once for all its benchmarks."""
    for point, past in replayed:
        with past.applied(lm):
            for benchmark in due[point]:
                since = time.perf_counter()
                documents = measure(lm, benchmark, prefix=past.prefix)
                seconds = round(time.perf_counter() - since, 3)
                yield {_key(point, benchmark): Stored.of(wanted[_key(point, benchmark)], documents, seconds=seconds)}


def _check_fit(
    lm: LanguageModel,
    method: str,
    due: Mapping[Checkpoint, Sequence[Benchmark]],
    edits: Mapping[str, Stored[Edit]] | None,
    prepared: Mapping[str, Stored[Prepared]] | None,
) -> None:
    """Refuse, before anything is measured, words of edits that leave no room for what a benchmark asks."""
    longest = max(due, key=lambda point: point.prefix_tokens)
    if not longest.prefix_tokens:
        return
    ((_, past),) = replays(edits, [longest], prepared)
    for benchmark in due[longest]:
        try:
            planned(lm, benchmark.work.instances, past.prefix)
        except RequestTooLong as error:
            raise RequestTooLong(
                f"{benchmark.name} cannot be asked after {longest.edits} edits by {method}, which put "
                f"{longest.prefix_tokens} tokens before every request: lower sequence.checkpoints, or set "
                f"sequential_grid.{lm.name}.{method}: false. {error}"
            ) from error
