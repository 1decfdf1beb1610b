"""Addresses of files elsewhere (``s3://``, ``gs://`` ...), opened by fsspec, with errors that name no credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.registry import known_implementations

from edit_robustness.text.secrets import redact

_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}
"""Packages that read the common object stores, by protocol."""

_CONNECT_SECONDS = 10


class AddressError(OSError):
    """An address that cannot be opened, read or written. The message names no credentials."""


def is_address(path: str) -> bool:
    """Return whether a path has a protocol."""
    return "://" in path


def file_system(address: str, options: Mapping[str, Any] | None = None) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of an address or a path, and the path in it.

    Args:
        address: Such as ``s3://bucket/folder``, or a path on this machine.
        options: Arguments of the file system, credentials among them. Without them it looks in the environment.

    Raises:
        AddressError: If the protocol is unknown, its package is not installed, or the options are wrong.
    """
    protocol = urlsplit(address).scheme if is_address(address) else "file"
    if protocol not in known_implementations and protocol not in fsspec.registry:
        raise AddressError(
            f"{redact(address)}: no protocol `{protocol}://`; there are s3, gs, abfs, sftp ... of fsspec"
        )
    if protocol.startswith("s3") and "@" in urlsplit(address).netloc:
        # its client takes them for a part of the bucket's name, which it quotes in errors
        raise AddressError(
            f"{redact(address)}: an address of S3 holds no credentials; set them in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or name a block of credentials.yml"
        )
    try:
        system, path = fsspec.core.url_to_fs(address, **_with_limits(protocol, options or {}))
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        advice = f"pip install {package}" if package else str(error)
        raise AddressError(
            f"{redact(address)}: a package that reads {protocol}:// is not installed: {advice}"
        ) from None
    except Exception as error:  # noqa: BLE001 - every file system of fsspec raises different errors
        raise AddressError(f"{redact(address)}: {_reason(error)}") from None
    return system, path


@contextmanager
def telling_address(address: str) -> Iterator[None]:
    """Turn what a file system raises inside the block into an `AddressError` that names the address.

    Raises:
        AddressError: Without the cause, which may quote credentials.
    """
    try:
        yield
    except AddressError:
        raise
    except Exception as error:  # noqa: BLE001 - every file system of fsspec raises different errors
        raise AddressError(f"{redact(address)}: {_reason(error)}") from None


def _with_limits(protocol: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with a short wait for S3: its client waits a minute, and tries several times."""
    if not protocol.startswith("s3"):
        return dict(options)
    limits = {"connect_timeout": _CONNECT_SECONDS, "retries": {"max_attempts": 3}, **options.get("config_kwargs", {})}
    return {**options, "config_kwargs": limits}


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return redact(f"it does not exist ({error})")
    if isinstance(error, PermissionError):
        return redact(f"no permission ({error})")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "no response in time"
    return redact(f"{type(error).__name__}: {' '.join(str(error).split())}")
