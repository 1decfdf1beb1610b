"""Workers: where the items of a node are made, in this process or in several that each hold a model."""

from edit_robustness.workers.crew import Stopped
from edit_robustness.workers.pool import ThisProcess, Workers, current_workers, use_workers
from edit_robustness.workers.ray_workers import RayWorkers
from edit_robustness.workers.settings import WorkerParameters
from edit_robustness.workers.work import NoWorkers, Task, UnusableWorkers, Work, WorkerDied

__all__ = [
    "NoWorkers",
    "Stopped",
    "Task",
    "ThisProcess",
    "UnusableWorkers",
    "Work",
    "WorkerDied",
    "WorkerParameters",
    "Workers",
    "choose_workers",
    "current_workers",
    "use_workers",
]


def choose_workers(settings: WorkerParameters) -> Workers:
    """Return the workers that the settings ask for; they start when the first item is to be made.

    Raises:
        UnusableWorkers: If they cannot be started.
    """
    return RayWorkers(settings) if settings.count else ThisProcess()
