"""Ways to damage a file, and the kinds of files that a run keeps."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from random import Random

from benchmarks.faults.comparing import is_hidden

MOST_BYTES = 16
"""So many bytes are changed at most."""

KINDS: Mapping[str, float] = {
    "edits": 4,
    "answers": 4,
    "manifests": 2,
    "artefact": 2,
    "moments": 2,
    "corpus": 2,
    "converted model": 2,
    "tables between": 2,
    "run records": 1,
    "reports": 1,
    "locks": 1,
    "caches": 1,
    "hidden records": 2,
    "other": 2,
}
"""How often a file of each kind is damaged, relative to the others. There are many more answers than manifests, so
files are not drawn evenly."""

READ_BY_RESCORE = ("tables between", "run records")
"""The kinds of files that `rescore` starts from."""


ORDER = ("corpus", "moments", "artefact", "edits", "answers")
"""Kinds of kept items; each is made from those before it."""

OFTEN: Mapping[str, float] = {"bytes flipped": 45, "characters changed": 35}
"""Weights of two ways to damage a file; each other way has 5. Random bytes are rarely valid text, so most text files in
which they are flipped cannot be read at all. A file with another letter or digit can."""

_LETTERS, _DIGITS = string.ascii_letters.encode(), string.digits.encode()


def kind_of(name: str) -> str:
    """Return the kind of a file, given its path relative to the folder of data."""
    path = PurePath(name)
    stage, folder, suffix = path.parts[0], path.parent.name, path.suffix
    if "lock" in path.name.lower():
        return "locks"
    if is_hidden(name):
        return "hidden records"
    if path.name == "manifest.json":
        return "manifests"
    if stage == "02_intermediate" or "cache" in name.lower():
        return "caches"
    if suffix == ".jsonl":
        return "corpus" if folder == "corpus" else "answers"
    if suffix == ".safetensors" and stage == "07_model_output":
        return "edits"
    if stage == "06_models":
        is_artefact = path.parent.parent.name.endswith("_artefacts")
        return ("moments" if folder == "moments" else "artefact") if is_artefact else "converted model"
    if stage == "08_reporting":
        return "reports"
    if path.name.endswith("run.json"):
        return "run records"
    return "tables between" if suffix in (".parquet", ".csv", ".json") else "other"


def kept_files(folder: Path) -> list[str]:
    """Return all files in a folder of data, as paths relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def clear_later(folder: Path, name: str) -> bool:
    """Remove all kept items that are made from items of a file's kind, so that the next run has to read that file.

    Args:
        folder: The folder of data.
        name: The file, relative to it.

    Returns:
        Whether there was something to remove. Nothing is removed for a kind that is not in `ORDER`.
    """
    kind = kind_of(name)
    later = ORDER[ORDER.index(kind) + 1 :] if kind in ORDER else ()
    # what the model knows of the facts is asked before there is an edit
    later_files = [
        path_name
        for path_name in kept_files(folder)
        if kind_of(path_name) in later and not path_name.startswith("04_feature")
    ]
    for path_name in later_files:
        (folder / path_name).unlink()
    return bool(later_files)


def draw_file(names: Sequence[str], generator: Random, kinds: Sequence[str] = tuple(KINDS)) -> str:
    """Draw a file: first a kind, then a folder with files of that kind, then one of them."""
    by_kind: dict[str, dict[PurePath, list[str]]] = {}
    for name in names:
        by_kind.setdefault(kind_of(name), {}).setdefault(PurePath(name).parent, []).append(name)
    present = [kind for kind in kinds if kind in by_kind]
    (kind,) = generator.choices(present, [KINDS[kind] for kind in present])
    folder = generator.choice(sorted(by_kind[kind]))
    return generator.choice(by_kind[kind][folder])


def draw_way(generator: Random) -> str:
    """Draw a way to damage a file; in seven of ten cases some of its bytes change and its length does not."""
    return generator.choices(list(WAYS), [OFTEN.get(way, 5) for way in WAYS])[0]


def damage(path: Path, way: str, generator: Random) -> None:
    """Damage a file in one of `WAYS`. Afterwards its content differs from before."""
    before = path.read_bytes()
    WAYS[way](path, before, generator)
    if path.is_file() and path.read_bytes() == before:
        # zeros were zeroed, or an empty file was emptied
        _append(path, before, generator)


def _flip(path: Path, content: bytes, generator: Random) -> None:
    new_content = bytearray(content)
    for place in generator.sample(range(len(content)), min(len(content), generator.randint(1, MOST_BYTES))):
        new_content[place] ^= generator.randint(1, 255)
    path.write_bytes(new_content)


def _change_characters(path: Path, content: bytes, generator: Random) -> None:
    places = [place for place, byte in enumerate(content) if byte in _LETTERS or byte in _DIGITS]
    if not places:
        return _flip(path, content, generator)
    new_content = bytearray(content)
    for place in generator.sample(places, min(len(places), generator.randint(1, MOST_BYTES))):
        alphabet = _LETTERS if content[place] in _LETTERS else _DIGITS
        new_content[place] = generator.choice(alphabet.replace(content[place : place + 1], b""))
    path.write_bytes(new_content)


def _truncate(path: Path, content: bytes, generator: Random) -> None:
    path.write_bytes(content[: generator.randrange(max(1, len(content)))])


def _zero(path: Path, content: bytes, generator: Random) -> None:
    length = generator.randint(1, max(1, len(content) // 4))
    start = generator.randrange(max(1, len(content) - length + 1))
    path.write_bytes(content[:start] + bytes(length) + content[start + length :])


def _append(path: Path, content: bytes, generator: Random) -> None:
    path.write_bytes(content + generator.randbytes(generator.randint(1, 64)))


def _empty(path: Path, content: bytes, generator: Random) -> None:
    path.write_bytes(b"")


def _replace_by_folder(path: Path, content: bytes, generator: Random) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_link(path: Path, content: bytes, generator: Random) -> None:
    path.unlink()
    os.symlink(path.with_name("nowhere"), path)


def _remove(path: Path, content: bytes, generator: Random) -> None:
    path.unlink()


WAYS: Mapping[str, Callable[[Path, bytes, Random], None]] = {
    "bytes flipped": _flip,
    "characters changed": _change_characters,
    "truncated": _truncate,
    "zeroed": _zero,
    "appended to": _append,
    "emptied": _empty,
    "replaced by a folder": _replace_by_folder,
    "replaced by a dangling link": _replace_by_link,
    "removed": _remove,
}
