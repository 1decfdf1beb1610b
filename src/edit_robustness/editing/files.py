"""Files of edits and prepared artefacts: safetensors with a descriptive header and a checksum of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from edit_robustness.editing.artefacts import Artefact
from edit_robustness.editing.edits import EDITS, Edit, Origin
from edit_robustness.editing.method import Unsolvable
from edit_robustness.storage import CorruptFile, checksum, write_atomically

FORMAT = 5
"""Number of the files' format, in every header and every fingerprint. Files of another format are recomputed."""

NOT_FINITE = "the edit's numbers are not finite"

_EMPTY = "empty"
_LENGTH = 8
"""Number of bytes before a safetensors file's own header that store its length."""


def write_edit(path: Path, edit: Edit, header: Mapping[str, Any]) -> None:
    """Write an edit with its origin.

    Args:
        path: The file.
        edit: The edit.
        header: JSON values to store beside it (fingerprint, seconds and so on).

    Raises:
        Unsolvable: If a number of the edit is not finite.
    """
    refuse_not_finite(edit)
    tensors, texts = edit.to_tensors()
    origin = edit.origin.plain() if edit.origin else None
    _write(path, tensors, {**header, "kind": edit.kind, "texts": texts, "origin": origin})


def refuse_not_finite(edit: Edit) -> None:
    """Refuse an edit whose numbers are not all finite.

    Raises:
        Unsolvable: If a number of the edit is not finite.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in edit.to_tensors()[0].values()):
        raise Unsolvable(NOT_FINITE)


def read_edit(path: Path) -> Edit:
    """Read the edit in a file, with its origin.

    Raises:
        CorruptFile: If the file's content is not what was written, or is not an edit.
    """
    header, tensors = _read(path)
    if header.get("kind") not in EDITS:
        raise CorruptFile(f"{path} holds no edit (kind {header.get('kind')!r}; kinds are {', '.join(EDITS)})")
    edit = EDITS[header["kind"]].from_tensors(tensors, header["texts"])
    return edit.with_origin(Origin.parse(header["origin"])) if header["origin"] else edit


def write_artefact(path: Path, artefact: Artefact, header: Mapping[str, Any]) -> None:
    """Write the artefact that a method prepared."""
    _write(path, dict(artefact.tensors), {**header, "texts": list(artefact.texts), "figures": dict(artefact.figures)})


def read_artefact(path: Path) -> Artefact:
    """Read the artefact that a method prepared.

    Raises:
        CorruptFile: If the file's content is not what was written.
    """
    header, tensors = _read(path)
    return Artefact(tensors, tuple(header["texts"]), header.get("figures", {}))


def read_header(path: Path) -> dict[str, Any]:
    """Read the header of a file, after checking its whole content.

    Raises:
        CorruptFile: If the content is not what was written, or the file is not of this project.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        content = path.read_bytes()
        file_header = json.loads(content[_LENGTH : _LENGTH + int.from_bytes(content[:_LENGTH], "little")])
        metadata = file_header.get("__metadata__") or {}
        tensors = load(content)
    except (OSError, ValueError, AttributeError, SafetensorError, RecursionError) as error:
        raise CorruptFile(f"{path} cannot be read ({error})") from error
    if "header" not in metadata:
        raise CorruptFile(f"{path} has no header of this project")
    if metadata.get("checksum") != _checksum(metadata["header"], tensors):
        raise CorruptFile(f"the content of {path} is not what was written")
    return json.loads(metadata["header"]), {name: tensor for name, tensor in tensors.items() if name != _EMPTY}


def _write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    text = json.dumps({**header, "format": FORMAT})
    # a contiguous copy each: shared or transposed tensors cannot be saved, and would have other bytes when read
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()} or {_EMPTY: torch.zeros(0)}
    metadata = {"header": text, "checksum": _checksum(text, copies)}
    write_atomically(path, lambda part: save_file(copies, part, metadata=metadata))


def _checksum(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Return a checksum of the header, and of each tensor's name, type, shape and bits."""
    index = [[name, str(tensors[name].dtype), list(tensors[name].shape)] for name in sorted(tensors)]
    bits = (tensors[name].reshape(-1).view(torch.uint8).numpy().data for name in sorted(tensors))
    return checksum(header.encode(), json.dumps(index).encode(), *bits)
