"""Folders of models and adapters: recognised by a checksum, read from safetensors only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from edit_robustness.models.language_model import LanguageModel
from edit_robustness.models.loading import UNREADABLE, UnusableFolder, read_model

ADAPTER_SETTINGS, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MODEL_SETTINGS = "config.json"
CARD = "README.md"
TAG = "edit_robustness"
"""Stands in the card of every folder that is written here."""


def checksum(folder: Path) -> str:
    """A hash of a folder's weights and of the settings that say what they are.

    Raises:
        UnusableFolder: If there is no such folder, or no safetensors file in it.
    """
    if not folder.is_dir():
        raise UnusableFolder(f"there is no folder {folder}: put it back, or change methods.checkpoint.<model>.path")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UnusableFolder(
            f"{folder} has no safetensors files, and pickled weights are never read: write it with save_pretrained"
        )
    digest = hashlib.blake2b(digest_size=16)
    for path in (*weights, folder / ADAPTER_SETTINGS, folder / MODEL_SETTINGS):
        if path.exists():
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and not a whole model."""
    return (folder / ADAPTER_SETTINGS).exists()


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """The JSON settings of a folder.

    Raises:
        UnusableFolder: If they are missing or no JSON object.
    """
    try:
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnusableFolder(f"{folder / name} cannot be read ({error}); write the folder again") from error
    if not isinstance(settings, dict):
        raise UnusableFolder(f"{folder / name} holds a {type(settings).__name__} and no settings by name")
    return settings


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, all of them finite.

    Raises:
        UnusableFolder: If the file is missing or truncated, or holds numbers that are not finite.
    """
    try:
        tensors = load_file(path)
    except UNREADABLE as error:
        raise UnusableFolder(f"{path} cannot be read ({error}); write the folder again") from error
    return _finite(path, tensors)


def read_parameters(folder: Path, lm: LanguageModel) -> dict[str, Tensor]:
    """The parameters of the model in a folder, in the dtype of `lm`, whose names and shapes they must have.

    Raises:
        UnusableFolder: If the folder cannot be read, or holds a model of another architecture or size.
    """
    found, wanted = read_settings(folder, MODEL_SETTINGS).get("model_type"), lm.model.config.model_type
    if found != wanted:
        raise UnusableFolder(f"{folder} holds a model of the architecture `{found}`, and {lm.name} is `{wanted}`")
    try:
        loaded = read_model(folder, dtype=lm.model.dtype, local_files_only=True)
    except OSError as error:
        raise UnusableFolder(f"the model in {folder} cannot be read ({error}); write the folder again") from error
    parameters = {name: parameter.detach() for name, parameter in loaded.named_parameters()}
    _check_shapes(folder, lm, parameters)
    return _finite(folder, parameters)


def _check_shapes(folder: Path, lm: LanguageModel, parameters: Mapping[str, Tensor]) -> None:
    ours = {name: tuple(parameter.shape) for name, parameter in lm.model.named_parameters()}
    theirs = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise UnusableFolder(
                f"{folder} holds no edited {lm.name}: `{name}` is {theirs.get(name) or 'not there'}, "
                f"and in {lm.name} {ours.get(name) or 'not there'}"
            )


def _finite(where: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UnusableFolder(f"{where}: `{name}` holds numbers that are not finite; make it again")
    return tensors
