"""What an edit is: an immutable value that can be applied to a model and taken off again, bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel, restored
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows
from edit_robustness.models.trace import output_changed


class NotRowwise(Exception):
    """An edit that cannot act on some rows of a batch only, and must be asked by itself."""


class Edit(Protocol):
    """A change of a model, as a value.

    Attributes:
        kind: Name under which files keep it.
        prefix: Text that stands before every prompt; empty for an edit of weights.
    """

    kind: ClassVar[str]

    @property
    def prefix(self) -> str:
        """Text before every prompt."""
        ...

    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> AbstractContextManager[LanguageModel]:
        """The same model, edited for the length of the block.

        Without `rows` weights are copied, changed, and copied back on leaving, also after an exception. With
        `rows` hooks act on those rows of every batch only.

        Raises:
            NotRowwise: If the edit cannot act on single rows.
        """
        ...

    def dense(self) -> Mapping[Site, Tensor]:
        """The change of each weight, (d_out, d_in) in float32; empty where no weight changes."""
        ...

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What a file holds: tensors, and texts for its header."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Edit:
        """The inverse of `to_tensors`."""
        ...


@contextmanager
def weights_changed(lm: LanguageModel, changes: Mapping[Site, Tensor]) -> Iterator[LanguageModel]:
    """Add float32 changes (d_out, d_in) to weights for the length of the block, then copy the old weights back."""
    weights = {site: lm.weight(site) for site in changes}
    with restored(weights.values()):
        for site, change in changes.items():
            weight = weights[site]
            if weight.shape != change.shape:
                raise ValueError(
                    f"the edit changes {site} by {tuple(change.shape)}, but {lm.name} has {tuple(weight.shape)} there"
                )
            weight.copy_(weight.float() + change.to(weight.device))
        yield lm


class WeightEdit(ABC):
    """An edit that adds something to weights: by copied weights, or on rows by hooks on the sites' outputs."""

    prefix = ""

    @abstractmethod
    def dense(self) -> Mapping[Site, Tensor]:
        """The change of each weight, (d_out, d_in) in float32."""

    def deltas(self, device: torch.device) -> Mapping[Site, _Delta]:
        """What the change adds to each site's output for given inputs."""
        return {site: _Delta((change.T.to(device),)) for site, change in self.dense().items()}

    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> AbstractContextManager[LanguageModel]:
        """See `Edit.applied`."""
        return weights_changed(lm, self.dense()) if rows is None else self._hooked(lm, rows)

    @contextmanager
    def _hooked(self, lm: LanguageModel, rows: Rows) -> Iterator[LanguageModel]:
        with ExitStack() as stack:
            for site, delta in self.deltas(lm.device).items():
                stack.enter_context(output_changed(lm, site, _on_rows(delta, rows)))
            yield lm


@dataclass(frozen=True)
class _Delta:
    """A product of matrices, applied to inputs from the left one on."""

    factors: tuple[Tensor, ...]

    def __call__(self, inputs: Tensor) -> Tensor:
        out = inputs.float()
        for factor in self.factors:
            out = out @ factor
        return out.to(inputs.dtype)


def _on_rows(delta: _Delta, rows: Rows):
    def change(inputs: Tensor, output: Tensor) -> Tensor:
        index = rows.index.to(output.device)
        return output.index_add(0, index, delta(inputs[index])) if len(index) else output

    return change


@dataclass(frozen=True, eq=False)
class LowRank(WeightEdit):
    """W + left @ right at each site: ROME's and its kin's change.

    Attributes:
        factors: For each site `left` (d_out, rank) and `right` (rank, d_in), float32.
    """

    kind: ClassVar[str] = "low_rank"
    factors: Mapping[Site, tuple[Tensor, Tensor]]

    def dense(self) -> dict[Site, Tensor]:
        """See `Edit.dense`."""
        return {site: left @ right for site, (left, right) in self.factors.items()}

    def deltas(self, device: torch.device) -> dict[Site, _Delta]:
        """See `WeightEdit.deltas`; cheaper than the dense product."""
        return {s: _Delta((right.T.to(device), left.T.to(device))) for s, (left, right) in self.factors.items()}

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `Edit.to_tensors`."""
        tensors = {}
        for site, (left, right) in self.factors.items():
            tensors[f"{site}.left"], tensors[f"{site}.right"] = left.contiguous(), right.contiguous()
        return tensors, {}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> LowRank:
        """See `Edit.from_tensors`."""
        sites = {Site.parse(name.removesuffix(".left")) for name in tensors if name.endswith(".left")}
        return cls({site: (tensors[f"{site}.left"], tensors[f"{site}.right"]) for site in sorted(sites)})


@dataclass(frozen=True)
class Adam:
    """The optimiser of Kingma and Ba (2015, algorithm 1) on one tensor, as a plain recurrence."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def run(self, like: Tensor) -> Generator[Tensor, Tensor, None]:
        """A coroutine: send it a gradient, get the accumulated change; the first value is zero."""
        total, mean, square = torch.zeros_like(like), torch.zeros_like(like), torch.zeros_like(like)
        step = 0
        while True:
            gradient = yield total
            step += 1
            mean = self.beta1 * mean + (1 - self.beta1) * gradient
            square = self.beta2 * square + (1 - self.beta2) * gradient.square()
            unbiased = mean / (1 - self.beta1**step)
            total = total - self.lr * unbiased / ((square / (1 - self.beta2**step)).sqrt() + self.eps)


@dataclass(frozen=True, eq=False)
class AdamTrace(WeightEdit):
    """Fine-tuning of one weight, kept as what Adam saw: `dense` replays the optimiser bit for bit.

    A gradient of one weight is the product of its outputs' gradients and its inputs, and the inputs stay the same
    from step to step; so this is a fraction of the bytes of the change, which itself is of full rank.

    Attributes:
        site: The weight.
        inputs: (tokens, d_in), what entered it.
        gradients: (steps, tokens, d_out), of the loss by its outputs.
        lr: Adam's rate.
    """

    kind: ClassVar[str] = "adam_trace"
    site: Site
    inputs: Tensor
    gradients: Tensor
    lr: float

    def dense(self) -> dict[Site, Tensor]:
        """See `Edit.dense`."""
        run = Adam(self.lr).run(self.inputs.new_zeros(self.gradients.shape[2], self.inputs.shape[1]))
        total = next(run)
        for gradient in self.gradients:
            total = run.send(gradient.T @ self.inputs)
        return {self.site: total}

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `Edit.to_tensors`."""
        texts = {"site": str(self.site), "lr": repr(self.lr)}
        return {"inputs": self.inputs.contiguous(), "gradients": self.gradients.contiguous()}, texts

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> AdamTrace:
        """See `Edit.from_tensors`."""
        return cls(Site.parse(texts["site"]), tensors["inputs"], tensors["gradients"], float(texts["lr"]))


@dataclass(frozen=True)
class Frame:
    """Words before every prompt, weights untouched: in-context editing, and with no words no edit at all."""

    kind: ClassVar[str] = "frame"
    prefix: str = ""

    @contextmanager
    def applied(self, lm: LanguageModel, rows: Rows | None = None) -> Iterator[LanguageModel]:
        """See `Edit.applied`; the model is left alone, whoever asks puts `prefix` before the prompt."""
        yield lm

    def dense(self) -> dict[Site, Tensor]:
        """See `Edit.dense`."""
        return {}

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `Edit.to_tensors`."""
        return {}, {"prefix": self.prefix}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Frame:
        """See `Edit.from_tensors`."""
        return cls(texts["prefix"])


EDITS: Mapping[str, type[Edit]] = {kind.kind: kind for kind in (LowRank, AdamTrace, Frame)}
"""Every kind of edit that a file may hold."""


@contextmanager
def all_applied(lm: LanguageModel, edits: Sequence[Edit], rows: Sequence[Rows]) -> Iterator[LanguageModel]:
    """Many edits in one batch, each on its own rows."""
    with ExitStack() as stack:
        for edit, own in zip(edits, rows, strict=True):
            stack.enter_context(edit.applied(lm, own))
        yield lm
