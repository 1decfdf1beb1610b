"""Statistics of what earlier edits saw, by which later edits of a sequence normalise. They change no model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from edit_robustness.editing.edits.edit import Edit
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.rows import Rows

Statistics = tuple[Tensor, Tensor, Tensor]
"""Number of vectors (), their mean (width,) and their sum of squared deviations (width,), in float64."""


@dataclass(frozen=True, eq=False)
class FeatureStatistics(Edit):
    """Running statistics of vectors, by name. It has no effect on a model, and a later one is added to it.

    Attributes:
        statistics: For each name number, mean and squared deviations.
    """

    kind: ClassVar[str] = "feature_statistics"
    keeps_state: ClassVar[bool] = True
    statistics: Mapping[str, Statistics]

    @classmethod
    def of(cls, features: Mapping[str, Tensor]) -> FeatureStatistics:
        """Compute the statistics of vectors, (vectors, width) for each name."""
        statistics = {}
        for name, rows in features.items():
            vectors = rows.double()
            mean = vectors.mean(0)
            statistics[name] = (torch.tensor(float(len(vectors))).double(), mean, (vectors - mean).square().sum(0))
        return cls(statistics)

    def then(self, later: FeatureStatistics) -> FeatureStatistics:
        """Return the statistics of the vectors of both (Chan et al. 1979, the pairwise update)."""
        totals = dict(self.statistics)
        for name, statistics in later.statistics.items():
            totals[name] = _merge(totals[name], statistics) if name in totals else statistics
        return FeatureStatistics(totals)

    def normalise(self, name: str, vectors: Tensor) -> Tensor:
        """Return vectors (vectors, width) less the mean, divided by the standard deviation, in float64."""
        count, mean, squares = self.statistics[name]
        deviation = (squares / (count - 1).clamp(min=1)).sqrt()
        # a unit that never changes is 0 after the subtraction
        return (vectors.double() - mean) / (deviation + torch.finfo(torch.float32).eps)

    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> nullcontext[None]:
        """Return an empty context: the model does not change."""
        return nullcontext()

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the statistics, three tensors per name."""
        tensors = {
            f"{name}.{part}": tensor.contiguous()
            for name, statistics in self.statistics.items()
            for part, tensor in zip(_PARTS, statistics, strict=True)
        }
        return tensors, {}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> FeatureStatistics:
        """Rebuild the statistics from what `to_tensors` returned."""
        names = sorted({name.rpartition(".")[0] for name in tensors})
        count, mean, squares = _PARTS
        return cls({n: (tensors[f"{n}.{count}"], tensors[f"{n}.{mean}"], tensors[f"{n}.{squares}"]) for n in names})


_PARTS = ("count", "mean", "squares")


def _merge(first: Statistics, second: Statistics) -> Statistics:
    (n_first, mean, squares), (n_second, later_mean, later_squares) = first, second
    total, shift = n_first + n_second, later_mean - mean
    return (
        total,
        mean + shift * n_second / total,
        squares + later_squares + shift.square() * n_first * n_second / total,
    )
