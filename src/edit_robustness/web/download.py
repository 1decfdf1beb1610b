"""Download one file completely or not at all, within limits of time and size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import ConfigDict, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as validated

from edit_robustness.addresses import AddressError, file_system
from edit_robustness.storage import write_atomically
from edit_robustness.text.secrets import redact
from edit_robustness.web.exchange import HttpRequest, Limits, OverLimit, exchange, new_session
from edit_robustness.web.transport import OK, RequestFailed, RequestSettings

_CHUNK = 1 << 20


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Transfer:
    """Limits of a download.

    Attributes:
        timeout: Seconds to wait for a connection, and for each part of the file.
        deadline: Seconds for the whole file.
        max_bytes: Maximum size of the file in bytes.
        allow_private: Whether a redirect may lead to this machine or a private network.
    """

    timeout: PositiveFloat = 60.0
    deadline: PositiveFloat = 3600.0
    max_bytes: PositiveInt = 4_000_000_000
    allow_private: bool = False


def download(address: str, path: Path, transfer: Transfer, options: Mapping[str, Any] | None = None) -> None:
    """Download a file without retries; a failed download leaves no file.

    Args:
        address: URL with ``https://`` or ``http://``, or with a protocol of fsspec (``s3://`` ...).
        path: Path of the copy; its folder must exist.
        transfer: The limits.
        options: Arguments of fsspec's file system, credentials among them; not for ``https://``.

    Raises:
        RequestFailed: If the file cannot be downloaded completely. The reason contains no credentials.
    """

    def write(part: Path) -> None:
        with part.open("wb") as file:
            if urlsplit(address).scheme in ("http", "https"):
                _by_http(address, transfer, file.write)
            else:
                _by_fsspec(address, options, transfer, file.write)

    try:
        write_atomically(path, write)
    except RequestFailed:
        raise
    except (OverLimit, AddressError) as reason:
        raise RequestFailed(str(reason)) from None
    except Exception as failure:  # noqa: BLE001 - every file system of fsspec raises different errors
        raise RequestFailed(redact(f"{type(failure).__name__}: {failure}")) from None


def _by_http(address: str, transfer: Transfer, write: Callable[[bytes], object]) -> None:
    limits = Limits(transfer.timeout, transfer.deadline, transfer.max_bytes, transfer.allow_private)
    request = HttpRequest(address, headers={"User-Agent": RequestSettings().user_agent})
    with new_session() as session:
        try:
            head = exchange(session, request, limits, write)
        except requests.Timeout:
            raise RequestFailed(f"no response within {transfer.timeout:g} s") from None
    if head.status != OK:
        raise RequestFailed(f"the server returned status {head.status}")


def _by_fsspec(
    address: str, options: Mapping[str, Any] | None, transfer: Transfer, write: Callable[[bytes], object]
) -> None:
    """Read a file in parts; a part that never arrives is limited only by the timeout of the file system."""
    deadline, size = time.monotonic() + transfer.deadline, 0
    system, path = file_system(address, options)
    with system.open(path, "rb") as source:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > transfer.max_bytes:
                raise OverLimit(f"the file is longer than {transfer.max_bytes} bytes (max_bytes)")
            if time.monotonic() > deadline:
                raise OverLimit(f"the file was not complete within {transfer.deadline:g} s (deadline)")
            write(chunk)
