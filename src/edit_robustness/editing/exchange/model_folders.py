"""Folders of models and adapters, identified by a checksum and read from safetensors only."""

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
"""Tag in the card of every exported folder."""


def checksum(folder: Path) -> str:
    """Compute a hash of a folder's weights and of the settings that describe them.

    Raises:
        UnusableFolder: If the folder is missing or contains no safetensors file.
    """
    if not folder.is_dir():
        raise UnusableFolder(f"the folder {folder} is missing: restore it, or change methods.external.<model>.path")
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
    """Return whether a folder contains an adapter, as opposed to a full model."""
    return (folder / ADAPTER_SETTINGS).exists()


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """Read a folder's settings from JSON.

    Raises:
        UnusableFolder: If they are missing or not a JSON object.
    """
    try:
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnusableFolder(f"{folder / name} cannot be read ({error}); write the folder again") from error
    if not isinstance(settings, dict):
        raise UnusableFolder(f"{folder / name} contains a {type(settings).__name__}, not a JSON object")
    return settings


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of one safetensors file, and check that they are finite.

    Raises:
        UnusableFolder: If the file is missing or truncated, or contains numbers that are not finite.
    """
    try:
        tensors = load_file(path)
    except UNREADABLE as error:
        raise UnusableFolder(f"{path} cannot be read ({error}); write the folder again") from error
    return _check_finite(path, tensors)


def read_parameters(folder: Path, lm: LanguageModel) -> dict[str, Tensor]:
    """Read the parameters of the model in a folder, in the dtype of `lm`, whose names and shapes they must have.

    Raises:
        UnusableFolder: If the folder cannot be read, or contains a model of another architecture or size.
    """
    architecture, model_type = read_settings(folder, MODEL_SETTINGS).get("model_type"), lm.model.config.model_type
    if architecture != model_type:
        raise UnusableFolder(
            f"{folder} holds a model of the architecture `{architecture}`, and {lm.name} is `{model_type}`"
        )
    try:
        model = read_model(folder, dtype=lm.model.dtype, local_files_only=True)
    except OSError as error:
        raise UnusableFolder(f"the model in {folder} cannot be read ({error}); write the folder again") from error
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    _check_shapes(folder, lm, parameters)
    return _check_finite(folder, parameters)


def _check_shapes(folder: Path, lm: LanguageModel, parameters: Mapping[str, Tensor]) -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in lm.model.named_parameters()}
    folder_shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    for name in sorted(shapes.keys() | folder_shapes.keys()):
        if shapes.get(name) != folder_shapes.get(name):
            raise UnusableFolder(
                f"{folder} does not contain an edited {lm.name}: `{name}` is {folder_shapes.get(name) or 'not there'}, "
                f"and in {lm.name} {shapes.get(name) or 'not there'}"
            )


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UnusableFolder(f"{path}: `{name}` contains numbers that are not finite; write it again")
    return tensors
