"""Surroundings of a run beside its settings: the project's commit, the machine and the versions of packages."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edit_robustness.machine import machine, processor, products, threads
from edit_robustness.storage import file_sha256
from edit_robustness.text.secrets import redact

PACKAGES = (
    *("edit_robustness", "kedro", "kedro-datasets", "torch", "transformers", "tokenizers", "safetensors", "lm-eval"),
    *("numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "pydantic", "plotly"),
)
"""Packages whose versions are recorded: what figures go through, and what runs the project."""

_GIT_SECONDS = 20


def packages() -> dict[str, str]:
    """Return the versions of Python and of the packages that a run uses; one that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_state(project: Path) -> dict[str, Any] | None:
    """Return the commit of the project and how many files differ from it; None if it is not a repository.

    Args:
        project: The project's folder.

    Returns:
        `commit`, `dirty` (whether files differ from the commit, or are not in it and not ignored) and `changed_files`
        (how many).
    """
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed_files = (_git(project, "status", "--porcelain", "--", ".") or "").splitlines()
    return {"commit": commit.strip(), "dirty": bool(changed_files), "changed_files": len(changed_files)}


def _git(project: Path, *words: str) -> str | None:
    command = ["git", "-C", str(project), *words]
    # without the lock a status never disturbs what a user does in the repository at the same time
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_SECONDS, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout if process.returncode == 0 else None


def machine_record() -> dict[str, Any]:
    """Return the processor, its cores, the threads that compute, what multiplies, and the operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor(), "cores": cores, "threads": threads(), "products": products(),
        "system": platform.platform(), "name": machine(),
    }  # fmt: skip


def fact_source(entry: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """Return where the facts of a run come from, and the SHA-256 of the file.

    Args:
        entry: The catalog entry of the facts.
        project: The project's folder, which a relative path starts from.

    Returns:
        `source` without credentials, `format` and `limit` if the entry has them, and `sha256`: of a file its content's,
        of a folder that of its files' names and contents, None for an address. For several data sets together, their
        sources one after the other, and the SHA-256 of theirs; None if one has none.
    """
    if sources := entry.get("sources"):
        parts = {name: fact_source(source, project) for name, source in sources.items()}
        hashes = [part["sha256"] for part in parts.values()]
        total = hashlib.sha256("\0".join(hashes).encode()).hexdigest() if all(hashes) else None
        return {"source": "; ".join(f"{name}: {_located(part)}" for name, part in parts.items()), "sha256": total}
    location = str(entry.get("path") or entry.get("filepath") or "")
    path = project / location
    local = bool(location) and "://" not in location and path.exists()
    options = {name: entry[name] for name in ("format", "limit") if entry.get(name)}
    inside = local and path.is_relative_to(project)
    source = path.relative_to(project).as_posix() if inside else location
    return {"source": redact(source), **options, "sha256": _sha256(path) if local else None}


def _located(part: Mapping[str, Any]) -> str:
    return f"{part['source']} (at most {part['limit']:,})" if part.get("limit") else str(part["source"])


def _sha256(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    for member in sorted(path_in_folder for path_in_folder in path.rglob("*") if path_in_folder.is_file()):
        digest.update(f"{member.relative_to(path).as_posix()}\0{_sha256(member)}\n".encode())
    return digest.hexdigest()
