"""Edits of weights: what is added to them, stored as compactly as the method allows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from edit_robustness.editing.edits.edit import Edit
from edit_robustness.models.language_model import LanguageModel, restore_after
from edit_robustness.models.layout import Site
from edit_robustness.models.rows import Rows
from edit_robustness.models.trace import output_changed


@contextmanager
def weights_changed(lm: LanguageModel, changes: Mapping[Site, Tensor]) -> Iterator[LanguageModel]:
    """Add float32 changes (d_out, d_in) to weights for the length of the block, then copy the old weights back."""
    weights = {site: lm.weight(site) for site in changes}
    with restore_after(weights.values()):
        for site, change in changes.items():
            weight = weights[site]
            if weight.shape != change.shape:
                raise ValueError(
                    f"the edit changes {site} by {tuple(change.shape)}, but {lm.name} has {tuple(weight.shape)} there"
                )
            weight.copy_(weight.float() + change.to(weight.device))
        yield lm


class WeightEdit(Edit):
    """An edit that adds to weights: by copying weights, or for single rows by hooks on the sites' outputs."""

    @abstractmethod
    def dense(self) -> Mapping[Site, Tensor]:
        """Return the change of each weight, (d_out, d_in) in float32."""

    def deltas(self, device: torch.device) -> Mapping[Site, _Delta]:
        """Return for each site a function from its inputs to what the change adds to its output."""
        return {site: _Delta((change.T.to(device),)) for site, change in self.dense().items()}

    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> AbstractContextManager[Any]:
        """Add the change to the weights, or for given rows to the sites' outputs."""
        return weights_changed(lm, self.dense()) if rows is None else self._add_hooks(lm, rows)

    @contextmanager
    def _add_hooks(self, lm: LanguageModel, rows: Rows) -> Iterator[None]:
        with ExitStack() as stack:
            for site, delta in self.deltas(lm.device).items():
                stack.enter_context(output_changed(lm, site, _on_rows(delta, rows)))
            yield


@dataclass(frozen=True)
class _Delta:
    """A product of matrices that is applied to inputs from the left factor on."""

    factors: tuple[Tensor, ...]

    def __call__(self, inputs: Tensor) -> Tensor:
        outputs = inputs.float()
        for factor in self.factors:
            outputs = outputs @ factor
        return outputs.to(inputs.dtype)


def _on_rows(delta: _Delta, rows: Rows) -> Callable[[Tensor, Tensor], Tensor]:
    def change(inputs: Tensor, output: Tensor) -> Tensor:
        index = rows.index.to(output.device)
        return output.index_add(0, index, delta(inputs[index])) if len(index) else output

    return change


@dataclass(frozen=True, eq=False)
class LowRank(WeightEdit):
    """A low-rank change W + left @ right at each site, as ROME, MEMIT and related methods make.

    Attributes:
        factors: For each site `left` (d_out, rank) and `right` (rank, d_in), float32.
        keys: For each site the keys (keys, d_in) whose outputs later edits should not change; empty for most methods.
    """

    kind: ClassVar[str] = "low_rank"
    factors: Mapping[Site, tuple[Tensor, Tensor]]
    keys: Mapping[Site, Tensor] = field(default_factory=dict)

    @property
    def protected_keys(self) -> Mapping[Site, Tensor]:
        """Return the stored keys."""
        return self.keys

    def dense(self) -> dict[Site, Tensor]:
        """Return the products of the factors."""
        return {site: left_factor @ right_factor for site, (left_factor, right_factor) in self.factors.items()}

    def deltas(self, device: torch.device) -> dict[Site, _Delta]:
        """Return the two factors of each site; two thin products are cheaper than the dense one."""
        return {
            site: _Delta((right_factor.T.to(device), left_factor.T.to(device)))
            for site, (left_factor, right_factor) in self.factors.items()
        }

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the factors and the keys, named by site."""
        tensors = {}
        for site, (left_factor, right_factor) in self.factors.items():
            tensors[f"{site}.left"], tensors[f"{site}.right"] = left_factor.contiguous(), right_factor.contiguous()
        tensors.update({f"{site}.keys": keys.contiguous() for site, keys in self.keys.items()})
        return tensors, {}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> LowRank:
        """Rebuild the edit from what `to_tensors` returned."""
        sites = {Site.parse(name.removesuffix(".left")) for name in tensors if name.endswith(".left")}
        keys = {site: tensors[f"{site}.keys"] for site in sorted(sites) if f"{site}.keys" in tensors}
        return cls({site: (tensors[f"{site}.left"], tensors[f"{site}.right"]) for site in sorted(sites)}, keys)


@dataclass(frozen=True, eq=False)
class Dense(WeightEdit):
    """A change of any rank at each site, stored whole: as large as the weight itself.

    Attributes:
        changes: For each site the change (d_out, d_in), float32.
        keys: For each site the keys (keys, d_in) whose outputs later edits should not change; empty for most methods.
    """

    kind: ClassVar[str] = "dense"
    changes: Mapping[Site, Tensor]
    keys: Mapping[Site, Tensor] = field(default_factory=dict)

    @property
    def protected_keys(self) -> Mapping[Site, Tensor]:
        """Return the stored keys."""
        return self.keys

    def dense(self) -> Mapping[Site, Tensor]:
        """Return the changes."""
        return self.changes

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the changes and the keys, named by site."""
        keys = {f"{site}.keys": keys.contiguous() for site, keys in self.keys.items()}
        return {**{str(site): change.contiguous() for site, change in self.changes.items()}, **keys}, {}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Dense:
        """Rebuild the edit from what `to_tensors` returned."""
        names = {Site.parse(name): name for name in sorted(tensors) if not name.endswith(".keys")}
        keys = {site: tensors[f"{name}.keys"] for site, name in names.items() if f"{name}.keys" in tensors}
        return cls({site: tensors[name] for site, name in names.items()}, keys)


@dataclass(frozen=True)
class Adam:
    """The optimiser of Kingma and Ba (2015, algorithm 1) on one tensor, as a recurrence.

    Attributes:
        lr: The learning rate.
        bound: Largest change of an entry; the change is clamped after each step, the moments are not.
    """

    lr: float
    bound: float | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def run(self, like: Tensor) -> Generator[Tensor, Tensor, None]:
        """Run the optimiser as a generator: send it a gradient, get the accumulated change; the first value is zero."""
        total, mean, square = torch.zeros_like(like), torch.zeros_like(like), torch.zeros_like(like)
        step = 0
        while True:
            gradient = yield total
            step += 1
            mean = self.beta1 * mean + (1 - self.beta1) * gradient
            square = self.beta2 * square + (1 - self.beta2) * gradient.square()
            corrected_mean = mean / (1 - self.beta1**step)
            total = total - self.lr * corrected_mean / ((square / (1 - self.beta2**step)).sqrt() + self.eps)
            if self.bound is not None:
                total = total.clamp(-self.bound, self.bound)


@dataclass(frozen=True, eq=False)
class AdamTrace(WeightEdit):
    """Fine-tuning of one weight, stored as the inputs of Adam: `dense` replays the optimiser bit for bit.

    A gradient of one weight is the product of its outputs' gradients and its inputs, and the inputs stay the same from
    step to step. So the trace takes a fraction of the bytes of the change, which is of full rank.

    Attributes:
        site: The weight.
        inputs: (tokens, d_in), the weight's inputs.
        gradients: (steps, tokens, d_out), gradients of the loss with respect to its outputs.
        lr: Adam's learning rate.
        bound: Largest change of an entry; None for no bound.
    """

    kind: ClassVar[str] = "adam_trace"
    site: Site
    inputs: Tensor
    gradients: Tensor
    lr: float
    bound: float | None = None

    def dense(self) -> dict[Site, Tensor]:
        """Replay the optimiser and return its accumulated change."""
        optimiser = Adam(self.lr, self.bound).run(self.inputs.new_zeros(self.gradients.shape[2], self.inputs.shape[1]))
        total = next(optimiser)
        for gradient in self.gradients:
            total = optimiser.send(gradient.T @ self.inputs)
        return {self.site: total}

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the inputs and the gradients, and as texts the site and Adam's settings."""
        texts = {"site": str(self.site), "lr": repr(self.lr)}
        if self.bound is not None:
            texts["bound"] = repr(self.bound)
        return {"inputs": self.inputs.contiguous(), "gradients": self.gradients.contiguous()}, texts

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> AdamTrace:
        """Rebuild the edit from what `to_tensors` returned."""
        bound = float(texts["bound"]) if "bound" in texts else None
        return cls(Site.parse(texts["site"]), tensors["inputs"], tensors["gradients"], float(texts["lr"]), bound)
