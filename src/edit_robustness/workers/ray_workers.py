"""Workers as Ray actors, the only module that knows Ray.

Each actor holds one model, loaded from the settings of its catalog entry. It makes the items of one part of a task at a
time and streams them back, so that a worker that dies costs the item in hand. Ray itself repeats nothing: the driver
counts how often an item was in the hands of a worker that died, and makes a suspect alone before it gives it up,
because the death of a process does not say which of its items was guilty.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

import torch

from edit_robustness.datasets.failures import Attempt, reason_of, report_failure, run_attempts, select_batches
from edit_robustness.datasets.language_model import LanguageModelDataset
from edit_robustness.machine import add_cpu_seconds, cpu_seconds
from edit_robustness.models.language_model import LanguageModel, RemoteWeights
from edit_robustness.models.memory import TooLittleMemory, check_memory, free_bytes, gigabytes
from edit_robustness.workers.crew import Crew
from edit_robustness.workers.pool import ThisProcess, Workers
from edit_robustness.workers.settings import WorkerParameters
from edit_robustness.workers.work import Task, WorkerDied

T = TypeVar("T")
logger = logging.getLogger(__name__)

_MOST = 8
"""Items of a part, if they need not be made together."""

_PARTS_PER_WORKER = 4
_PROBE_SECONDS = 5.0
_LOOK_SECONDS = 0.5
"""How often a thread that waits for its workers looks whether another one is free, or the run ends."""

_START_SECONDS = 60.0
"""Within this time a worker starts if a machine has room for it."""


class UnusableWorkers(ValueError):
    """Workers that cannot be started as the settings say."""


class WorkerError(RuntimeError):
    """Error of an item, as a worker reported it."""


@dataclass
class _Part:
    """Items that one worker makes, and how often a worker died over them.

    Attributes:
        keys: The items, in the order in which they are made.
        deaths: How often a worker died over it; of several items that are made in order, over the first.
        whole: Whether they are made together.
    """

    keys: list[str]
    deaths: int = 0
    whole: bool = False


@dataclass
class _Running:
    """A part in the hands of a worker."""

    part: _Part
    worker: Any
    made_keys: set[str] = field(default_factory=set)


class RayWorkers(Workers):
    """Actors on this machine or on a cluster. They are started when the first item is to be made.

    Args:
        settings: Number, threads, GPUs, address and retries.

    Raises:
        UnusableWorkers: If Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, settings: WorkerParameters):
        if find_spec("ray") is None:
            raise UnusableWorkers(
                f"workers.count={settings.count} needs Ray, which is not installed: `pip install ray`, or leave "
                "workers.count away"
            )
        if settings.address:
            _probe(settings.address)
        self._settings = settings
        self._crew = Crew()
        self._make_actor: Callable[[], Any] = _not_started
        self._is_started, self._starting = False, Lock()
        self._announced: set[str] = set()
        self._largest = 0

    def attempts(self, lm: LanguageModel, task: Task[T]) -> Iterator[Attempt[T]]:
        """Hand parts of the task to idle workers, and yield what they make in the order in which it comes.

        Batches of the run stay whole. Other items are cut into parts so small that every worker has some.

        Raises:
            UnusableWorkers: If a worker cannot load the model, or the memory is too small for all of them.
            NobodyLeft: If the last worker is lost.
        """
        wanted_keys = set(task.keys)
        for attempt in self._attempts(lm, task) if wanted_keys else ():
            if task.advance is not None:
                yield attempt
                continue
            if attempt.error is not None:
                report_failure(task.name, attempt.key, attempt.error)
            if attempt.key in wanted_keys:
                # of a batch that is made twice, what came the first time is enough
                wanted_keys.remove(attempt.key)
                yield attempt

    @property
    def hold(self) -> Callable[[Mapping[str, Any]], RemoteWeights]:
        """Return the function by which a worker loads a model and tells of it."""
        return self._hold

    def _hold(self, entry: Mapping[str, Any]) -> RemoteWeights:
        """Let a worker load a model, and return what it tells of it.

        Raises:
            UnusableWorkers: If the worker cannot load it, or workers die over it more often than retries allow.
        """
        import ray

        self._start()
        name, deaths = _model_name(entry), 0
        with self._crew.working_for(name):
            while True:
                worker: Any = self._crew.take(name, wait=True)
                try:
                    weights: RemoteWeights
                    weights, seconds = ray.get(worker.tell.remote(dict(entry)))
                except ray.exceptions.RayActorError as death:
                    self._replace(worker)
                    deaths += 1
                    if deaths > self._settings.retries:
                        raise UnusableWorkers(
                            f"workers: {entry['name']}: {deaths} workers died while they loaded it: {reason_of(death)}"
                        ) from None
                except ray.exceptions.RayTaskError as error:
                    self._crew.give_back(worker)
                    raise UnusableWorkers(f"workers: {entry['name']}: {reason_of(error.cause)}") from None
                else:
                    self._crew.give_back(worker)
                    add_cpu_seconds(seconds)
                    return weights

    def stop(self) -> None:
        """Let the threads that wait for items end with an error."""
        self._crew.stop()

    def close(self) -> None:
        """End the workers, and on this machine Ray too."""
        if self._is_started:
            import ray

            for actor in self._crew.workers:
                ray.kill(actor)
            self._crew, self._is_started = Crew(), False
            ray.shutdown()

    def _cut(self, task: Task[Any]) -> list[_Part]:
        if task.batches is not None:
            return [_Part(batch, whole=True) for batch in select_batches(task.batches, task.keys)]
        keys, size = task.keys, 1
        if task.in_batches and task.advance is None:
            size = max(1, min(_MOST, len(keys) // (self._settings.count * _PARTS_PER_WORKER)))
        return [_Part(list(keys[start : start + size])) for start in range(0, len(keys), size)]

    def _attempts(self, lm: LanguageModel, task: Task[T]) -> Iterator[Attempt[T]]:
        import ray

        self._make_room(lm)
        self._start()
        # of streams, what is still to be made
        inputs = dict(task.work.inputs)
        task = replace(task, work=replace(task.work, inputs=inputs))
        queue, name = deque(self._cut(task)), _model_name(lm.entry)
        model, shared_ref = (dict(lm.entry), lm.fingerprint), ray.put(task.work.shared)
        deadly_errors = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError, ray.exceptions.OutOfMemoryError)
        states: dict[Any, _Running] = {}
        with self._crew.working_for(name):
            try:
                while queue or states:
                    while queue and (worker := self._crew.take(name, wait=not states)) is not None:
                        part = queue.popleft()
                        # in a list, the reference is not replaced by what it refers to
                        stream = worker.make.remote(model, task.part(part.keys), [shared_ref])
                        states[stream] = _Running(part, worker)
                    streams: list[Any] = list(states)
                    ready_streams: list[Any] = ray.wait(streams, num_returns=1, timeout=_LOOK_SECONDS)[0]
                    if not ready_streams:
                        self._crew.look()
                        continue
                    stream = ready_streams[0]
                    state = states[stream]
                    try:
                        attempt, reason, messages, seconds = ray.get(next(stream))
                    except StopIteration:
                        del states[stream]
                        self._crew.give_back(state.worker)
                        continue
                    except deadly_errors as death:
                        del states[stream]
                        yield from self._after_death(task, inputs, state, queue, death)
                        self._replace(state.worker)
                        continue
                    except ray.exceptions.RayTaskError as error:
                        raise UnusableWorkers(f"workers: {lm.name}: {reason_of(error.cause)}") from None
                    add_cpu_seconds(seconds)
                    for logger_name, level, text in messages:
                        logging.getLogger(logger_name).log(level, "%s", text)
                    state.made_keys.add(attempt.key)
                    if task.advance is not None and not reason:
                        inputs[attempt.key] = task.advance(inputs[attempt.key], attempt.value)
                    yield replace(attempt, error=WorkerError(reason) if reason else None)
            finally:
                for stream, state in states.items():
                    ray.cancel(stream)
                    self._crew.give_back(state.worker)

    def _after_death(
        self, task: Task[Any], inputs: dict[str, Any], state: _Running, queue: deque[_Part], death: Exception
    ) -> Iterator[Attempt[Any]]:
        """Queue again what a worker that died had not yet made, and yield what is given up.

        Only an item that was alone is given up. What is made together is made together again as often as retries allow,
        and then each item alone. Of items that are made in order, the first that is not yet made is under suspicion.
        """
        part = state.part
        left_keys = part.keys if task.advance else [key for key in part.keys if key not in state.made_keys]
        logger.warning("a worker died with %d items in hand: %s", len(left_keys), reason_of(death).split(".")[0])
        # a stream that came on has another value in hand
        deaths = 1 if task.advance and state.made_keys else part.deaths + 1
        is_over, is_alone = deaths > self._settings.retries, len(part.keys) == 1
        if not left_keys:
            return
        if is_alone and is_over:
            (key,), error = left_keys, WorkerDied(f"the worker died {deaths} times over it")
            yield Attempt(key, None, 0.0, error)
            if task.advance is not None and (rest := task.advance(inputs[key], error)) is not None:
                inputs[key] = rest
                queue.append(_Part([key]))
        elif is_alone or (part.whole and not is_over):
            queue.append(replace(part, deaths=deaths))
        elif part.whole:
            queue.extend(_Part([key], deaths) for key in left_keys)
        else:
            suspect, *innocent_keys = left_keys
            queue.append(_Part([suspect], deaths))
            if innocent_keys:
                queue.append(_Part(innocent_keys))

    def _replace(self, actor: Any) -> None:
        """Start a new actor in place of one that died: Ray refuses tasks of an actor that it starts again itself.

        If no machine has room for one, as after the loss of a node, the others go on without it.
        """
        import ray

        ray.kill(actor)
        new_actor = self._make_actor()
        confirmation = new_actor.confirm.remote()
        try:
            ray.get(confirmation, timeout=_START_SECONDS)
        except ray.exceptions.RayError as error:
            ray.kill(new_actor)
            self._crew.replace(actor, None)
            logger.warning(
                "no worker could be started in place of one that died (%s): %d go on",
                *(reason_of(error).split(".")[0], len(self._crew.workers)),
            )
            return
        self._crew.replace(actor, new_actor)

    def _make_room(self, lm: LanguageModel) -> None:
        """Say what the workers' models take, once per model, and refuse what the memory of this machine cannot hold.

        A worker on a GPU or on another machine looks for itself when it loads the model.
        """
        if lm.fingerprint in self._announced:
            return
        count, size = self._settings.count, lm.size
        cpu = torch.device("cpu")
        if not self._settings.address and lm.environment["device"] == cpu.type:
            # the worker that told of a model has it already
            n_more = count if lm.has_weights else count - 1
            workers = f"{n_more}{'' if lm.has_weights else ' more'} worker{'' if n_more == 1 else 's'}"
            try:
                # a worker frees the model that it has first, and each may have the largest
                need = n_more * size - count * self._largest
                check_memory(need, cpu, f"{workers} with a {lm.name} each")
            except TooLittleMemory as error:
                raise UnusableWorkers(f"workers: {error}; or lower workers.count") from None
        self._announced.add(lm.fingerprint)
        self._largest = max(self._largest, size)
        free = "" if self._settings.address else f", and {gigabytes(free_bytes(cpu) or 0)} of memory are free"
        logger.info("%s: %d workers, and a model of %s in each%s", lm.name, count, gigabytes(size), free)

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                self._start_actors()

    def _start_actors(self) -> None:
        import ray

        settings = self._settings
        cores = os.cpu_count() or 1
        threads = settings.threads or (1 if settings.address else max(1, cores // settings.count))
        place: dict[str, Any] = {"num_cpus": max(settings.count * threads, cores), "include_dashboard": False}
        if settings.address:
            place = {"address": settings.address}
        # Ray's own is 15: beside any other busy process its workers would hardly run
        os.environ.setdefault("RAY_worker_niceness", "0")
        context = ray.init(log_to_driver=False, logging_level=logging.ERROR, **place)
        if dashboard := getattr(context, "dashboard_url", None):
            logger.info("Ray's dashboard: http://%s", dashboard)
        if lack := find_lack(ray.cluster_resources(), settings, threads):
            ray.shutdown()
            raise UnusableWorkers(lack)
        options = {"num_cpus": threads, "num_gpus": settings.gpus, "max_restarts": 0, "max_task_retries": 0}
        self._make_actor = partial(ray.remote(_Worker).options(**options).remote, threads, os.getcwd())
        self._crew.join([self._make_actor() for _ in range(settings.count)])
        self._is_started = True
        try:
            ray.get([actor.confirm.remote() for actor in self._crew.workers])
        except ray.exceptions.RayError as error:
            self.close()
            # Ray's text is a traceback of the other process, whose last line is the error
            reason = reason_of(str(error).strip().splitlines()[-1])
            raise UnusableWorkers(f"workers: they cannot start: {reason}") from error
        logger.info("%d workers of %d thread%s each", settings.count, threads, "" if threads == 1 else "s")


class _Messages(logging.Handler):
    """Collects what a worker warns of, for the log of the driver. Failures are left out: the driver reports them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._messages: list[_Message] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        if record.name != run_attempts.__module__:
            self._messages.append((record.name, record.levelno, record.getMessage()))

    def take(self) -> list[_Message]:
        """Return the messages since the last call."""
        messages, self._messages = self._messages, []
        return messages


_Message = tuple[str, int, str]
"""The name of a logger, a level and a text."""


class _Worker:
    """Process of a worker, with one model: it makes the items that it is asked for."""

    def __init__(self, threads: int, folder: str):
        torch.set_num_threads(threads)
        # paths of settings may be relative
        if os.path.isdir(folder):
            os.chdir(folder)
        self._name, self._shared, self._cpu_seconds = "", (), 0.0
        self._messages, root = _Messages(), logging.getLogger("edit_robustness")
        root.addHandler(self._messages)
        root.setLevel(logging.WARNING)

    def confirm(self) -> None:
        """Answer once the worker has started."""

    def tell(self, entry: Mapping[str, Any]) -> tuple[RemoteWeights, float]:
        """Load a model, and return what the process that starts the run must know of it, and CPU seconds."""
        lm = _load(entry)
        return RemoteWeights(lm.fingerprint, lm.environment, lm.finite, lm.size), self._spend()

    def make(
        self, model: tuple[Mapping[str, Any], str], part: Task[Any], shared: list[Any]
    ) -> Iterator[tuple[Attempt[Any], str, list[_Message], float]]:
        """Yield attempts without their errors, the reason of each failure (empty for none), messages, and CPU seconds.

        Args:
            model: The settings of the model, and its fingerprint.
            part: The items, without what all items share.
            shared: A reference to that.
        """
        entry, name = model
        lm = _load(entry)
        if lm.fingerprint != name:
            raise UnusableWorkers("a worker loads another model than this process: the model's files differ")
        # the driver has loaded the model, too, and has said this
        self._messages.take()
        task = part.with_shared(self._receive(shared[0]))
        for attempt in ThisProcess().attempts(lm, task):
            reason = "" if attempt.error is None else reason_of(attempt.error)
            yield replace(attempt, error=None), reason, self._messages.take(), self._spend()

    def _spend(self) -> float:
        """Return the CPU seconds of this process since the last call; at first since it began."""
        before, self._cpu_seconds = self._cpu_seconds, cpu_seconds()
        return self._cpu_seconds - before

    def _receive(self, ref: Any) -> tuple[Any, ...]:
        """Return what all items share; it is received once."""
        import ray

        if self._name != ref.hex():
            self._name, self._shared = "", ()
            self._shared = ray.get(ref)
            self._name = ref.hex()
        return self._shared


def _load(entry: Mapping[str, Any]) -> LanguageModel:
    """Load a model in a worker.

    Raises:
        UnusableWorkers: If it cannot be loaded.
    """
    try:
        return LanguageModelDataset(**entry).load()
    except Exception as error:  # noqa: BLE001 - whatever it is, the run ends with its text
        # its own class may have no name in the other process
        raise UnusableWorkers(f"a worker cannot load the model: {reason_of(error)}") from None


def _model_name(entry: Mapping[str, Any]) -> str:
    """Return a text that tells models apart by their settings."""
    return json.dumps(entry, sort_keys=True, default=str)


def _not_started() -> Any:
    raise RuntimeError("the workers are not started yet")


def find_lack(resources: Mapping[str, float], settings: WorkerParameters, threads: int) -> str:
    """Say what the machines of a cluster lack for the workers, for which Ray would wait without end; empty if nothing.

    Args:
        resources: The CPUs and GPUs of all machines.
        settings: The workers.
        threads: Threads per worker.
    """
    for kind, setting, number in (("CPU", "threads", threads), ("GPU", "gpus", settings.gpus)):
        need, supply = settings.count * number, resources.get(kind, 0)
        if need > supply:
            return (
                f"workers: {settings.count} workers with {setting}={number:g} need {need:g} {kind}s, and there are "
                f"{supply:g}: lower workers.count or workers.{setting}"
            )
    return ""


def _probe(address: str) -> None:
    """Refuse an address at which nothing answers: Ray would try it for minutes."""
    if address in ("auto", "local"):
        return
    place = urlsplit(address if "//" in address else f"//{address}")
    try:
        with socket.create_connection((place.hostname or "", place.port or 10001), timeout=_PROBE_SECONDS):
            return
    except (OSError, ValueError) as error:
        raise UnusableWorkers(
            f"workers.address: nothing answers at {address} ({reason_of(error)}); start a cluster there "
            "(`ray start --head`), or leave workers.address away to use this machine"
        ) from error
