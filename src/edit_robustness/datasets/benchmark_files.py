"""Dataset of the folders with benchmark files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from edit_robustness.abilities.local_files import SOURCES, LocalFiles
from edit_robustness.datasets.arguments import validate_arguments
from edit_robustness.text.secrets import redact


class BenchmarkFiles(AbstractDataset[None, LocalFiles]):
    """The folders of benchmarks on this machine; without any the harness fetches its data from the network.

    Args:
        folder: Has a folder for each benchmark (`mmlu`, `gsm8k` ...); empty for none.
        files: Folders of single benchmarks, where they are elsewhere: {gsm8k: path}.
        metadata: For kedro-viz.

    Raises:
        DatasetError: If a folder is not there.
    """

    @validate_arguments
    def __init__(
        self, folder: str = "", files: Mapping[str, str] | None = None, metadata: dict[str, Any] | None = None
    ):
        parent = {"folder": folder} if folder else {}
        for name, place in {**parent, **(files or {})}.items():
            if not Path(place).is_dir():
                benchmarks = ", ".join(source.name for source in SOURCES.values())
                raise DatasetError(
                    f"benchmark_files: {name}: {redact(place)} is no folder; give one with a folder for each "
                    f"benchmark ({benchmarks}), by --params=benchmarks_path=FOLDER or in the catalog, or none for the "
                    "network"
                )
        self._files = LocalFiles(
            Path(folder) if folder else None, {name: Path(place) for name, place in (files or {}).items()}
        )
        self.metadata = metadata

    def load(self) -> LocalFiles:
        """Return where files are; they are read when a benchmark is built."""
        return self._files

    def save(self, data: None) -> None:
        """Refuse: benchmarks are read only."""
        raise DatasetError("benchmarks are read only")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"folder": str(self._files.folder), "files": {k: str(v) for k, v in self._files.files.items()}}
