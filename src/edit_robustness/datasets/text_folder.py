"""Dataset of a folder of texts, such as the files beside a page."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractDataset
from kedro.io.core import get_protocol_and_path

from edit_robustness.addresses import file_system
from edit_robustness.datasets.arguments import validate_arguments
from edit_robustness.storage import make_folder, remove_file, write_text


class TextFolder(AbstractDataset[dict[str, str], dict[str, str]]):
    """Texts by the names of their files without the ending; a file that is not among them is removed.

    Args:
        filepath: The folder, or an address; only this dataset may write files with the ending there.
        suffix: Ending of the files.
        credentials: Arguments of the file system at an address; in the catalog, a name in `conf/local/credentials.yml`.
            Without them it looks in the environment.
        metadata: For kedro-viz.
    """

    @validate_arguments
    def __init__(
        self,
        filepath: str,
        suffix: str = ".txt",
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        self._protocol, path = get_protocol_and_path(filepath)
        self._fs = file_system(filepath, credentials)[0]
        self._filepath, self._suffix = PurePosixPath(path), suffix
        self.metadata = metadata

    def save(self, data: dict[str, str]) -> None:
        """Write the texts, each atomically on a disk of this machine."""
        is_local = self._protocol == "file"
        names = {f"{name}{self._suffix}": text for name, text in data.items()}
        if is_local:
            make_folder(Path(self._filepath))
        for path in self._list_files():
            if path.name not in names:
                remove_file(Path(path)) if is_local else self._fs.rm(str(path))
        for name, text in names.items():
            path = self._filepath / name
            if is_local:
                write_text(Path(path), text)
            else:
                self._fs.pipe(str(path), text.encode())

    def load(self) -> dict[str, str]:
        """Return the texts by the names of their files without the ending."""
        return {path.name.removesuffix(self._suffix): self._fs.cat(str(path)).decode() for path in self._list_files()}

    def _list_files(self) -> list[PurePosixPath]:
        paths = map(PurePosixPath, self._fs.glob(f"{self._filepath}/*{self._suffix}"))
        return sorted(self._filepath / path.name for path in paths)

    def _exists(self) -> bool:
        return bool(self._fs.isdir(str(self._filepath)))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "suffix": self._suffix}
