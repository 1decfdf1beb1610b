"""A cache in memory for the benchmarks of one model, because their task objects cannot be stored."""

from __future__ import annotations

from collections.abc import Sequence

from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark, build_benchmarks
from edit_robustness.models.language_model import LanguageModel


class _Slot:
    """The benchmarks of one model, and the inputs from which they were built."""

    model: str = ""
    parameters: AbilityParameters | None = None
    files: LocalFiles | None = None
    benchmarks: Sequence[Benchmark] = ()


def get_benchmarks(lm: LanguageModel, parameters: AbilityParameters, files: LocalFiles) -> Sequence[Benchmark]:
    """Return the benchmarks with all their requests, built once for all methods and checkpoints of a model."""
    # each run has `files` of its own, because the files may have changed since the last run of this process
    if (_Slot.model, _Slot.parameters, _Slot.files) != (lm.fingerprint, parameters, files):
        _Slot.model, _Slot.benchmarks = "", ()
        _Slot.benchmarks = build_benchmarks(lm, parameters, files)
        _Slot.model, _Slot.parameters, _Slot.files = lm.fingerprint, parameters, files
    return _Slot.benchmarks
