"""Ray on this machine or on a cluster: connected to, or refused with the reason before anything waits."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edit_robustness.datasets.failures import reason_of
from edit_robustness.workers.settings import WorkerParameters
from edit_robustness.workers.work import UnusableWorkers

logger = logging.getLogger(__name__)

_TOKEN = Path(".ray", "auth_token")
"""The file in the home folder in which Ray keeps the user's token."""

_PROBE_SECONDS = 5.0
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""First bytes from a gRPC client, such as Ray's: the preface of HTTP/2 and an empty SETTINGS frame (RFC 9113, 3.4)."""

_SETTINGS = 4
"""The kind of frame that its server answers with, in the fourth byte."""

_JOIN_SECONDS = 60.0
"""Time that a run waits for machines that are still joining its cluster, as at the beginning of a job."""

_PORT = 6379
"""Where the head of a cluster listens, unless it is started with another port."""


def check_address(address: str) -> None:
    """Refuse an address at which nothing or something other than Ray answers. Ray would try it for minutes.

    Raises:
        UnusableWorkers: With the reason.
    """
    if address in ("", "auto", "local"):
        return
    if address.startswith("ray://"):
        raise UnusableWorkers(
            f"workers.address: {address} is for Ray Client, which cannot send items one by one; start the run on a "
            "machine of the cluster with `auto` or HOST:6379, or from elsewhere with `ray job submit`"
        )
    try:
        place = urlsplit(address if "//" in address else f"//{address}")
        with socket.create_connection(
            (place.hostname or "", place.port or _PORT), timeout=_PROBE_SECONDS
        ) as connection:
            answer = _greet(connection)
    except (OSError, ValueError) as error:
        raise UnusableWorkers(
            f"workers.address: nothing answers at {address} ({reason_of(error)}); start a cluster there "
            "(`ray start --head`), or leave workers.address away to use this machine"
        ) from error
    if os.environ.get("RAY_USE_TLS", "0") != "0" or answer[3:4] == bytes((_SETTINGS,)):
        return
    is_page = answer.startswith((b"HTTP/", b"<"))
    server = "a web server, such as Ray's dashboard" if is_page else "a server that is no part of Ray"
    raise UnusableWorkers(
        f"workers.address: at {address} is {server}; give the port of the cluster's head, which is {_PORT} unless "
        "`ray start --port` says otherwise"
    )


def _greet(connection: socket.socket) -> bytes:
    """Return the first bytes of a server's answer; empty if it does not answer, or breaks off."""
    try:
        connection.sendall(_GREETING)
        return connection.recv(9)
    except OSError:
        return b""


def show_token(address: str) -> None:
    """Set Ray to send the user's token to a cluster, before Ray is imported. By default it does so only for ``auto``.

    A head asks for a token if it is started where there is one, and every run with workers makes one.
    """
    if address and (Path.home() / _TOKEN).exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def connect(settings: WorkerParameters, look: Callable[[], None]) -> int:
    """Start Ray on this machine or connect to a cluster, and return the threads per worker.

    Args:
        settings: The workers.
        look: Raises an error if the run ends meanwhile.

    Raises:
        UnusableWorkers: If that fails, or the machines have no room for the workers.
    """
    import ray

    cores = os.cpu_count() or 1
    threads = settings.threads or (1 if settings.address else max(1, cores // settings.count))
    # without an address, Ray would take a cluster that it finds here or in RAY_ADDRESS
    place: dict[str, Any] = {"address": "local", "num_cpus": max(settings.count * threads, cores)}
    place = {"address": settings.address} if settings.address else place | {"include_dashboard": False}
    # Ray's own is 15: beside any other busy process its workers would hardly run
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        context = ray.init(log_to_driver=False, logging_level=logging.ERROR, **place)
    except Exception as error:
        raise UnusableWorkers(f"workers: Ray does not start: {reason_of(error)}") from error
    if dashboard := getattr(context, "dashboard_url", None):
        logger.info("Ray's dashboard: http://%s", dashboard)
    if lack := _wait_for_machines(settings, threads, look):
        ray.shutdown()
        raise UnusableWorkers(lack)
    return threads


def _wait_for_machines(settings: WorkerParameters, threads: int, look: Callable[[], None]) -> str:
    """Return what the machines lack for the workers; those of a cluster may still be joining it."""
    import ray

    deadline, is_first = time.monotonic() + (_JOIN_SECONDS if settings.address else 0), True
    while lack := find_lack([node["Resources"] for node in ray.nodes() if node["Alive"]], settings, threads):
        if time.monotonic() > deadline:
            break
        if is_first:
            logger.info("waiting up to %g s for more machines: %s", _JOIN_SECONDS, lack)
        is_first = False
        time.sleep(1)
        look()
    return lack


def find_lack(machines: Sequence[Mapping[str, float]], settings: WorkerParameters, threads: int) -> str:
    """Return what the machines of a cluster lack for the workers, for which Ray would wait without end.

    Args:
        machines: The CPUs and GPUs of each machine.
        settings: The workers.
        threads: Threads per worker.

    Returns:
        The lack and its remedy; empty if there is none.
    """
    needs = {"CPU": ("threads", float(threads)), "GPU": ("gpus", settings.gpus)}
    for kind, (setting, number) in needs.items():
        need, supply = settings.count * number, sum(machine.get(kind, 0) for machine in machines)
        if need > supply:
            return (
                f"workers: {settings.count} workers with {setting}={number:g} need {need:g} {kind}s, and there are "
                f"{supply:g}: lower workers.count or workers.{setting}"
            )
    rooms = [
        min(_room(machine.get(kind, 0), number) for kind, (_, number) in needs.items() if number)
        for machine in machines
    ]
    if sum(rooms) < settings.count:
        return (
            f"workers: a worker must be on one machine, and with threads={threads} and gpus={settings.gpus:g} the "
            f"machines have room for {sum(rooms)} workers ({' + '.join(map(str, rooms))}), not {settings.count}: lower "
            f"workers.count{', workers.gpus' if settings.gpus else ''} or workers.threads"
        )
    return ""


def _room(supply: float, need: float) -> int:
    """Return how many workers a machine has room for; a worker that takes a fraction takes it of one GPU."""
    if need < 1:
        # a third of a GPU, three times, is a GPU
        return int(supply) * int(1 / need + 1e-6)
    return int(supply / need)
