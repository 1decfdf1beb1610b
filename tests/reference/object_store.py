"""An object store that speaks S3, on this machine, with one bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import requests

SECRET = "s3cret-of-the-store"
BUCKET = "s3://bucket"


class ObjectStore(NamedTuple):
    """A running object store.

    Attributes:
        endpoint: Address of the server.
    """

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which a process finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def empty(self) -> None:
        """Remove everything but an empty bucket."""
        requests.post(f"{self.endpoint}/moto-api/reset", timeout=30).raise_for_status()
        requests.put(f"{self.endpoint}/{BUCKET.removeprefix('s3://')}", timeout=30).raise_for_status()


@contextmanager
def serve() -> Iterator[ObjectStore]:
    """Serve until the block ends."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield ObjectStore(f"http://{host}:{port}")
    finally:
        server.stop()
