"""Edits from external folders: an edited model or an adapter, identified by path and checksum."""

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
from edit_robustness.editing.exchange.model_folders import checksum, is_adapter, read_parameters
from edit_robustness.models.language_model import LanguageModel, restore_after
from edit_robustness.models.layout import PARTS, Site, layout_of
from edit_robustness.models.loading import UnusableFolder
from edit_robustness.models.rows import Rows


@dataclass(frozen=True)
class ExternalEdit(WeightEdit):
    """A folder with an edited model or an adapter; its weights are read when the edit is applied, and not stored.

    An adapter of editable weights alone is a low-rank edit like any other. Anything else (a full model, an adapter of
    other weights) is copied into the model, is evaluated by itself, and cannot be part of a sequence, because a folder
    of full weights does not tell what was added.

    Attributes:
        path: The folder.
        checksum: Checksum of its weights and settings (`model_folders.checksum`).
        architecture: transformers' `model_type` of the model that it was made for.
    """

    kind: ClassVar[str] = "external"
    path: str
    checksum: str
    architecture: str

    @classmethod
    def of(cls, folder: str, lm: LanguageModel) -> ExternalEdit:
        """Return the edit of a folder, after checking that it fits the model.

        Raises:
            UnusableFolder: If the folder does not fit or cannot be read.
        """
        edit = cls(folder, checksum(Path(folder)), lm.model.config.model_type)
        with edit.apply_unchecked(lm, None):
            return edit

    def apply_unchecked(self, lm: LanguageModel, rows: Rows | None) -> AbstractContextManager[Any]:
        """Apply the folder: on rows if it is an adapter of sites alone, else by copying weights into the model.

        Raises:
            UnusableFolder: If the folder is missing, has changed, cannot be read or does not fit the model.
            NotRowwise: If rows are given and the folder is not an adapter of sites alone.
        """
        error = NotRowwise(
            f"{self.path} is not an adapter of editable weights alone, so it must be evaluated by itself"
        )
        if rows is not None and not is_adapter(Path(self.path)):
            raise error  # before reading a full model
        folder = self._check_folder()
        if not is_adapter(folder):
            return _replace_parameters(lm, read_parameters(folder, lm))
        factors = read_lora(folder)
        _check_fit(folder, lm, factors)
        low_rank = self._at_sites(factors)
        if low_rank is not None:
            return low_rank.apply_unchecked(lm, rows)
        if rows is not None:
            raise error
        return _replace_parameters(lm, _add_products(lm, factors))

    def dense(self) -> dict[Site, Tensor]:
        """Return the weight changes of an adapter of sites alone.

        Raises:
            NotCombined: If the folder is not an adapter of sites alone.
        """
        low_rank = self.low_rank()
        if low_rank is None:
            raise NotCombined(
                f"{self.path} is not an adapter of {', '.join(PARTS)} alone, so it cannot be part of a sequence or "
                "a sum of edits: evaluate it by itself, or use a LoRA adapter of those weights"
            )
        return low_rank.dense()

    def low_rank(self) -> LowRank | None:
        """Return the folder as a low-rank edit, or None if it is not an adapter of sites alone."""
        folder = self._check_folder()
        return self._at_sites(read_lora(folder)) if is_adapter(folder) else None

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the path, the checksum and the architecture; the weights are not stored."""
        return {}, {"path": self.path, "checksum": self.checksum, "architecture": self.architecture}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> ExternalEdit:
        """Rebuild the edit from what `to_tensors` returned."""
        return cls(texts["path"], texts["checksum"], texts["architecture"])

    def _check_folder(self) -> Path:
        folder = Path(self.path)
        if checksum(folder) != self.checksum:
            raise UnusableFolder(
                f"{folder} has changed since this edit was made: restore its old files, or delete the edit's file to "
                "recompute the edit"
            )
        return folder

    def _at_sites(self, factors: Factors) -> LowRank | None:
        layout = layout_of(self.architecture)
        sites = {layout.site(module): product for module, product in factors.items()}
        return None if None in sites else LowRank({site: sites[site] for site in sites if site is not None})


def _check_fit(folder: Path, lm: LanguageModel, factors: Factors) -> None:
    modules, parameters = dict(lm.model.named_modules()), dict(lm.model.named_parameters())
    for name, (left_factor, right_factor) in factors.items():
        weight, change = parameters.get(f"{name}.weight"), (left_factor.shape[0], right_factor.shape[1])
        storage_shape = change[::-1] if isinstance(modules.get(name), Conv1D) else change
        if weight is None or weight.shape != storage_shape:
            # a head tied to the embeddings has no weight of its own: PEFT would change the head alone
            reason = "there is none of its own" if weight is None else f"it is {tuple(weight.shape)}"
            raise UnusableFolder(f"{folder} adds {change} to `{name}`; in {lm.name} {reason}")


def _add_products(lm: LanguageModel, factors: Factors) -> dict[str, Tensor]:
    """Return the weights of modules with their products added, by parameter name."""
    values = {}
    for name, (left_factor, right_factor) in factors.items():
        module = lm.model.get_submodule(name)
        change = (left_factor @ right_factor).T if isinstance(module, Conv1D) else left_factor @ right_factor
        values[f"{name}.weight"] = module.weight.detach().float() + change.to(module.weight.device)
    return values


@contextmanager
def _replace_parameters(lm: LanguageModel, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Set parameters to other values inside the block; only those that differ are copied."""
    parameters = {name: parameter.detach() for name, parameter in lm.model.named_parameters() if name in values}
    new_values = {name: values[name].to(parameter) for name, parameter in parameters.items()}
    changed_names = [name for name, parameter in parameters.items() if not torch.equal(parameter, new_values[name])]
    with restore_after(parameters[name] for name in changed_names):
        for name in changed_names:
            parameters[name].copy_(new_values[name])
        del new_values
        yield
