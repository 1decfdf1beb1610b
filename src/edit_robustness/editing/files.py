"""Edits and prepared artefacts in files: safetensors with a header that says what they are, renamed into place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edit_robustness.editing.edits import EDITS, Edit, Origin
from edit_robustness.editing.method import Prepared

FORMAT = 3
"""Number of the files' format; part of every fingerprint, so that files of another format are made again."""

_EMPTY = "empty"


class UnreadableFile(ValueError):
    """A file that is not what it should be."""


def write_edit(path: Path, edit: Edit, header: Mapping[str, Any]) -> None:
    """Keep an edit with its origin; `header` holds plain values beside it (fingerprint, seconds ...)."""
    tensors, texts = edit.to_tensors()
    origin = edit.origin.plain() if edit.origin else None
    _write(path, tensors, {**header, "kind": edit.kind, "texts": texts, "origin": origin})


def read_edit(path: Path) -> Edit:
    """The edit in a file, with its origin.

    Raises:
        UnreadableFile: If the file is truncated, holds no edit, or holds numbers that are not finite.
    """
    header, tensors = read_header(path), _tensors(path)
    if header.get("kind") not in EDITS:
        raise UnreadableFile(f"{path} holds no edit (kind {header.get('kind')!r}; kinds are {', '.join(EDITS)})")
    for name, tensor in tensors.items():
        if not math.isfinite(float(tensor.float().abs().sum())):
            raise UnreadableFile(f"{path}: tensor `{name}` is not finite; remove the file to make the edit again")
    edit = EDITS[header["kind"]].from_tensors(tensors, header["texts"])
    return edit.signed(Origin.parse(header["origin"])) if header["origin"] else edit


def write_prepared(path: Path, prepared: Prepared, header: Mapping[str, Any]) -> None:
    """Keep what a method prepared."""
    _write(path, dict(prepared.tensors), {**header, "texts": list(prepared.texts), "figures": dict(prepared.figures)})


def read_prepared(path: Path) -> Prepared:
    """What a method prepared.

    Raises:
        UnreadableFile: If the file is truncated.
    """
    header = read_header(path)
    return Prepared(_tensors(path), tuple(header["texts"]), header.get("figures", {}))


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file, without its tensors.

    Raises:
        UnreadableFile: If the file is truncated or not of this project.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UnreadableFile(f"{path} cannot be read ({error}); remove it to make it again") from error
    if "header" not in metadata:
        raise UnreadableFile(f"{path} has no header of this project")
    return json.loads(metadata["header"])


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if name != _EMPTY}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UnreadableFile(f"{path} cannot be read ({error}); remove it to make it again") from error


def _write(path: Path, tensors: dict[str, Tensor], header: Mapping[str, Any]) -> None:
    metadata = {"header": json.dumps({**header, "format": FORMAT}, ensure_ascii=False)}
    part = path.with_name(path.name + ".part")
    save_file(tensors or {_EMPTY: torch.zeros(0)}, part, metadata=metadata)
    part.replace(path)
