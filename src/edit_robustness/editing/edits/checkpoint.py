"""Edits made elsewhere: a folder with an edited model or with an adapter, by its path and checksum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from edit_robustness.editing.edits.edit import NotCombined, NotRowwise
from edit_robustness.editing.edits.weights import LowRank, WeightEdit
from edit_robustness.editing.exchange.lora import Factors, read_lora
from edit_robustness.editing.exchange.model_folders import UnusableFolder, checksum, is_adapter, read_parameters
from edit_robustness.models.language_model import LanguageModel, restored
from edit_robustness.models.layout import PARTS, Site, layout_of
from edit_robustness.models.rows import Rows


@dataclass(frozen=True)
class Checkpoint(WeightEdit):
    """What a folder makes of a model: its weights are read when the edit is applied, and are never kept.

    An adapter of sites alone is a low-rank edit like any other. All else (a whole model, an adapter of other weights)
    is copied in, is asked by itself, and stands in no sequence: a folder of whole weights does not say what was added.

    Attributes:
        path: The folder.
        checksum: Of its weights and settings (`model_folders.checksum`).
        architecture: transformers' `model_type` of the model that it was made for.
    """

    kind: ClassVar[str] = "checkpoint"
    path: str
    checksum: str
    architecture: str

    @classmethod
    def of(cls, folder: str, lm: LanguageModel) -> Checkpoint:
        """The edit of a folder, which must fit the model.

        Raises:
            UnusableFolder: If it does not, or cannot be read.
        """
        edit = cls(folder, checksum(Path(folder)), lm.model.config.model_type)
        with edit.put_on(lm, None):
            return edit

    def put_on(self, lm: LanguageModel, rows: Rows | None) -> AbstractContextManager[Any]:
        """See `Edit.put_on`.

        Raises:
            UnusableFolder: If the folder is gone, has changed, cannot be read or does not fit the model.
        """
        alone = NotRowwise(f"{self.path} is not an adapter of sites alone, so it is asked by itself")
        if rows is not None and not is_adapter(Path(self.path)):
            raise alone  # before a whole model is read
        folder = self._unchanged()
        if not is_adapter(folder):
            return _replaced(lm, read_parameters(folder, lm))
        factors = read_lora(folder)
        _check_fit(folder, lm, factors)
        low_rank = self._at_sites(factors)
        if low_rank is not None:
            return low_rank.put_on(lm, rows)
        if rows is not None:
            raise alone
        return _replaced(lm, _changed(lm, factors))

    def dense(self) -> dict[Site, Tensor]:
        """See `Edit.dense`.

        Raises:
            NotCombined: If the folder is not an adapter of sites alone.
        """
        low_rank = self.low_rank()
        if low_rank is None:
            raise NotCombined(
                f"{self.path} is not an adapter of {', '.join(PARTS)} alone, so it cannot stand in a sequence or a "
                "sum of edits: ask it by itself, or give a LoRA adapter of those weights"
            )
        return low_rank.dense()

    def low_rank(self) -> LowRank | None:
        """The same as a low-rank edit; None where the folder is not an adapter of sites alone."""
        folder = self._unchanged()
        return self._at_sites(read_lora(folder)) if is_adapter(folder) else None

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """See `Edit.to_tensors`."""
        return {}, {"path": self.path, "checksum": self.checksum, "architecture": self.architecture}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Checkpoint:
        """See `Edit.from_tensors`."""
        return cls(texts["path"], texts["checksum"], texts["architecture"])

    def _unchanged(self) -> Path:
        folder = Path(self.path)
        if checksum(folder) != self.checksum:
            raise UnusableFolder(
                f"{folder} has changed since this edit was made: put its old files back, or remove the edit's file to "
                "make the edit again"
            )
        return folder

    def _at_sites(self, factors: Factors) -> LowRank | None:
        layout = layout_of(self.architecture)
        sites = {layout.site(module): product for module, product in factors.items()}
        return None if None in sites else LowRank({site: sites[site] for site in sites if site is not None})


def _check_fit(folder: Path, lm: LanguageModel, factors: Factors) -> None:
    modules, parameters = dict(lm.model.named_modules()), dict(lm.model.named_parameters())
    for name, (left, right) in factors.items():
        weight, change = parameters.get(f"{name}.weight"), (left.shape[0], right.shape[1])
        stored = change[::-1] if isinstance(modules.get(name), Conv1D) else change
        if weight is None or weight.shape != stored:
            # a head tied to the embeddings has none: PEFT would change it alone
            there = "there is none of its own" if weight is None else f"it is {tuple(weight.shape)}"
            raise UnusableFolder(f"{folder} adds {change} to `{name}`; in {lm.name} {there}")


def _changed(lm: LanguageModel, factors: Factors) -> dict[str, Tensor]:
    """The weights of modules with their products added, by the parameters' names."""
    values = {}
    for name, (left, right) in factors.items():
        module = lm.model.get_submodule(name)
        change = (left @ right).T if isinstance(module, Conv1D) else left @ right
        values[f"{name}.weight"] = module.weight.detach().float() + change.to(module.weight.device)
    return values


@contextmanager
def _replaced(lm: LanguageModel, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Give parameters other values for the length of the block; only those that differ are copied."""
    own = {name: parameter.detach() for name, parameter in lm.model.named_parameters() if name in values}
    new = {name: values[name].to(parameter) for name, parameter in own.items()}
    differing = [name for name, parameter in own.items() if not torch.equal(parameter, new[name])]
    with restored(own[name] for name in differing):
        for name in differing:
            own[name].copy_(new[name])
        del new
        yield
