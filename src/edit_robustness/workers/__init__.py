"""Workers: where the items of a node are made, in this process or in several that each hold a model."""

from edit_robustness.workers.pool import Workers, current_workers
from edit_robustness.workers.work import Work

__all__ = ["Work", "Workers", "current_workers"]
