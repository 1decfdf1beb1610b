"""Dataset of the web transport with its cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from pydantic import ValidationError

from edit_robustness.datasets.arguments import validate_arguments
from edit_robustness.web.cache import ResponseCache
from edit_robustness.web.transport import Http, RequestSettings, Transport


class WebDataset(AbstractDataset[None, Transport]):
    """A transport with a cache before it; loading sends no request.

    Args:
        cache: Folder of the answers, one JSON file each.
        offline: Whether to use the cache only, and never the network.
        metadata: For kedro-viz.
        **settings: Settings of `web.transport.RequestSettings`.

    Raises:
        DatasetError: If a setting is unknown, or its value is invalid.
    """

    @validate_arguments
    def __init__(self, cache: str, offline: bool = False, metadata: dict[str, Any] | None = None, **settings: Any):
        self._cache, self._offline = Path(cache), offline
        self.metadata = metadata
        try:
            self._settings = RequestSettings(**settings)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise DatasetError(f"invalid settings of the web: {wrong}") from error

    @property
    def folder(self) -> Path:
        """Return the folder of the answers."""
        return self._cache

    def load(self) -> Transport:
        """Return the transport."""
        return ResponseCache(self._cache, None if self._offline else Http(self._settings))

    def save(self, data: None) -> None:
        """Refuse: answers are kept as they come."""
        raise DatasetError("the web is read only")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"cache": str(self._cache), "offline": self._offline}
