"""The benchmarks of the model that is measured, in memory: they contain task objects, which cannot be stored."""

from __future__ import annotations

from collections.abc import Sequence

from edit_robustness.abilities.local_files import LocalFiles
from edit_robustness.abilities.settings import AbilityParameters
from edit_robustness.abilities.tasks import Benchmark, build_benchmarks
from edit_robustness.models.language_model import LanguageModel


class _Slot:
    """The benchmarks of one model, and what they were built from."""

    model: str = ""
    parameters: AbilityParameters | None = None
    files: LocalFiles | None = None
    benchmarks: Sequence[Benchmark] = ()


def built(lm: LanguageModel, parameters: AbilityParameters, files: LocalFiles) -> Sequence[Benchmark]:
    """Return the benchmarks with all that they ask, built once for every method and checkpoint of a model."""
    # each run has its own object for the files, whose content may have changed since the last run of this process
    if (_Slot.model, _Slot.parameters) != (lm.fingerprint, parameters) or _Slot.files is not files:
        _Slot.model, _Slot.benchmarks = "", ()
        _Slot.benchmarks = build_benchmarks(lm, parameters, files)
        _Slot.model, _Slot.parameters, _Slot.files = lm.fingerprint, parameters, files
    return _Slot.benchmarks
