"""Workers as Ray actors: they are started, get parts of tasks, and are replaced when they die.

Each actor holds one model, loaded from the settings of its catalog entry. It makes the items of one part of a task at a
time and streams them back, so that a worker that dies costs the item in hand. Ray itself repeats nothing. Only the
modules `ray_*` know Ray.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from threading import Lock, Thread
from typing import Any, TypeVar

import torch

from edit_robustness.datasets.failures import Attempt, reason_of, report_failure, skip_rest
from edit_robustness.machine import add_cpu_seconds
from edit_robustness.models.language_model import LanguageModel, RemoteWeights
from edit_robustness.models.memory import TooLittleMemory, check_memory, free_bytes, gigabytes
from edit_robustness.workers.crew import Crew, Stopped
from edit_robustness.workers.parts import Running, cut, requeue
from edit_robustness.workers.pool import Workers
from edit_robustness.workers.ray_cluster import check_address, connect, show_token
from edit_robustness.workers.ray_process import WorkerProcess
from edit_robustness.workers.settings import WorkerParameters
from edit_robustness.workers.work import Task, UnusableWorkers

T = TypeVar("T")
logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
"""How often a thread that waits for its workers looks whether another one is free, or the run ends."""

_START_SECONDS = 180.0
"""Within this time a worker starts if a machine has room for it, also where many read the same disk."""


class WorkerError(RuntimeError):
    """Error of an item, as a worker reported it."""


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
        check_address(settings.address)
        show_token(settings.address)
        self._settings = settings
        self._crew = Crew()
        self._make_actor: Callable[[], Any] = _not_started
        self._is_started, self._starting = False, Lock()
        self._failure: UnusableWorkers | None = None
        self._replacements: list[Thread] = []
        self._announced: set[str] = set()
        self._largest = 0

    def attempts(self, lm: LanguageModel, task: Task[T]) -> Iterator[Attempt[T]]:
        """Hand parts of the task to idle workers, and yield what they make in the order in which it comes.

        Batches of the run stay whole. Other items are cut into parts so small that every worker has some.

        Raises:
            UnusableWorkers: If a worker cannot load the model, or the memory is too small for all of them.
            NobodyLeft: If the last worker is lost.
        """
        if not task.keys:
            return
        with closing(self._attempts(lm, task)) as attempts:
            yield from attempts if task.advance is not None else self._report(task, attempts)

    def _report(self, task: Task[T], attempts: Iterator[Attempt[T]]) -> Iterator[Attempt[T]]:
        """Yield the attempts that are wanted, report those that failed, and end after too many of these in a row."""
        wanted_keys, failures = dict.fromkeys(task.keys), 0
        for attempt in attempts:
            if attempt.error is not None:
                report_failure(task.name, attempt.key, attempt.error)
            failures = 0 if attempt.error is None else failures + 1
            if attempt.key in wanted_keys:
                # of a batch that is made twice, what came the first time is enough
                del wanted_keys[attempt.key]
                yield attempt
            if task.patience is not None and failures >= task.patience:
                yield from skip_rest(list(wanted_keys), task.name, failures, attempt.error)
                return

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
        name, deaths, queue = _model_name(entry), 0, [entry]
        with self._crew.working_for(name, queue):
            while True:
                worker: Any = self._crew.take(name, wait=True)
                queue.clear()
                try:
                    weights: RemoteWeights
                    weights, seconds = self._wait_for(worker.tell.remote(dict(entry)))
                except ray.exceptions.RayActorError as death:
                    self._replace(worker)
                    queue.append(entry)
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

    def _wait_for(self, ref: Any) -> Any:
        """Return what a worker answers.

        Raises:
            Stopped: If the run ends before.
        """
        import ray

        while not ray.wait([ref], timeout=_LOOK_SECONDS)[0]:
            self._crew.look()
        return ray.get(ref)

    def stop(self) -> None:
        """Let the threads that wait for items end with an error."""
        self._crew.stop()

    def close(self) -> None:
        """End the workers, and on this machine Ray too."""
        if self._is_started:
            import ray

            self._crew.stop()
            for thread in self._replacements:
                thread.join()
            for actor in self._crew.workers:
                ray.kill(actor)
            self._crew, self._is_started, self._replacements = Crew(), False, []
            ray.shutdown()

    def _attempts(self, lm: LanguageModel, task: Task[T]) -> Generator[Attempt[T]]:
        import ray

        self._make_room(lm)
        self._start()
        # of streams, what is still to be made
        inputs = dict(task.work.inputs)
        task = replace(task, work=replace(task.work, inputs=inputs))
        queue, name, n_unbegun = deque(cut(task, self._settings.count)), _model_name(lm.entry), 0
        model, shared_ref = (dict(lm.entry), lm.fingerprint), ray.put(task.work.shared)
        deadly_errors = (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError, ray.exceptions.OutOfMemoryError)
        states: dict[Any, Running] = {}
        with self._crew.working_for(name, queue):
            try:
                while queue or states:
                    while queue and (worker := self._crew.take(name, wait=not states)) is not None:
                        part = queue.popleft()
                        # in a list, the reference is not replaced by what it refers to
                        stream = worker.make.remote(model, task.part(part.keys), [shared_ref])
                        states[stream] = Running(part, worker)
                    streams: list[Any] = list(states)
                    ready_streams: list[Any] = ray.wait(streams, num_returns=1, timeout=_LOOK_SECONDS)[0]
                    if not ready_streams:
                        self._crew.look()
                        continue
                    stream = ready_streams[0]
                    state = states[stream]
                    try:
                        message = ray.get(next(stream))
                    except StopIteration:
                        del states[stream]
                        self._crew.give_back(state.worker)
                        continue
                    except deadly_errors as death:
                        del states[stream]
                        self._replace(state.worker)
                        n_unbegun = 0 if state.has_begun else n_unbegun + 1
                        if n_unbegun > self._settings.retries + self._settings.count:
                            raise UnusableWorkers(
                                f"workers: {lm.name}: {n_unbegun} workers in a row died while they loaded it: "
                                f"{reason_of(death)}"
                            ) from None
                        yield from requeue(task, inputs, state, queue, death, self._settings.retries)
                        continue
                    except ray.exceptions.RayTaskError as error:
                        raise UnusableWorkers(f"workers: {lm.name}: {reason_of(error.cause)}") from None
                    if message is None:
                        state.has_begun, n_unbegun = True, 0
                        continue
                    attempt, reason, messages, seconds = message
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

    def _replace(self, actor: Any) -> None:
        """Start a new actor in place of one that died: Ray refuses tasks of an actor that it starts again itself.

        Meanwhile the others go on. They go on without it if no machine has room for one, as after the loss of a node.
        """
        thread = Thread(target=self._start_successor, args=(actor,), daemon=True)
        self._replacements.append(thread)
        thread.start()

    def _start_successor(self, actor: Any) -> None:
        import ray

        ray.kill(actor)
        new_actor = self._make_actor()
        try:
            self._confirm([new_actor])
        except Stopped:
            ray.kill(new_actor)
        except (UnusableWorkers, ray.exceptions.RayError) as error:
            ray.kill(new_actor)
            self._crew.replace(actor, None)
            logger.warning(
                "no worker could be started in place of one that died (%s): %d go on",
                *(reason_of(error).split(".")[0], len(self._crew.workers)),
            )
        else:
            self._crew.replace(actor, new_actor)

    def _confirm(self, actors: Sequence[Any]) -> None:
        """Wait until actors have started.

        Raises:
            UnusableWorkers: If none starts for a long time.
            Stopped: If the run ends.
        """
        import ray

        refs = [actor.confirm.remote() for actor in actors]
        deadline = time.monotonic() + _START_SECONDS
        while refs:
            ready_refs, refs = ray.wait(refs, timeout=_LOOK_SECONDS)
            ray.get(ready_refs)
            self._crew.look()
            if ready_refs:
                deadline = time.monotonic() + _START_SECONDS
            elif time.monotonic() > deadline:
                raise UnusableWorkers(
                    f"workers: {len(actors) - len(refs)} of {len(actors)} started, and no other within "
                    f"{_START_SECONDS:g} s: what the cluster has may be in use by another run; wait for its end, or "
                    "lower workers.count"
                )

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
        """Start the workers, once; each thread gets the error if they cannot start."""
        with self._starting:
            if self._failure is not None:
                raise self._failure
            if self._is_started:
                return
            try:
                self._start_actors()
            except UnusableWorkers as error:
                self._failure = error
                raise

    def _start_actors(self) -> None:
        import ray

        settings, threads = self._settings, connect(self._settings, self._crew.look_for_end)
        options = {"num_cpus": threads, "num_gpus": settings.gpus, "max_restarts": 0, "max_task_retries": 0}
        self._make_actor = partial(ray.remote(WorkerProcess).options(**options).remote, threads, os.getcwd())
        self._crew.join([self._make_actor() for _ in range(settings.count)])
        self._is_started = True
        try:
            self._confirm(self._crew.workers)
        except UnusableWorkers:
            self.close()
            raise
        except ray.exceptions.RayError as error:
            self.close()
            # Ray's text is a traceback of the other process, whose last line is the error
            reason = reason_of(str(error).strip().splitlines()[-1])
            raise UnusableWorkers(f"workers: they cannot start: {reason}") from error
        logger.info("%d workers of %d thread%s each", settings.count, threads, "" if threads == 1 else "s")


def _model_name(entry: Mapping[str, Any]) -> str:
    """Return a text that tells models apart by their settings."""
    return json.dumps(entry, sort_keys=True, default=str)


def _not_started() -> Any:
    raise RuntimeError("the workers are not started yet")
