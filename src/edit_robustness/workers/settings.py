"""Settings of workers."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from edit_robustness.setting_types import STRICT


def _whole_or_part_of_one(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError("must be a part of one GPU, such as 0.5, or a whole number of GPUs")
    return gpus


@dataclass(frozen=True, config=STRICT)
class WorkerParameters:
    """Settings of the workers of a run.

    Attributes:
        count: Number of worker processes, each with a model of its own; 0 for none beside this process.
        threads: Threads per worker; null divides the cores of this machine among the workers, or takes 1 on a cluster.
        gpus: GPUs per worker; a fraction shares one GPU among workers.
        address: Address of a Ray cluster of which this machine is part, ``auto`` or ``HOST:6379``; empty for none.
        retries: How often an item is made again after the worker that made it died.
    """

    count: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1)] | None = None
    gpus: Annotated[float, Field(ge=0), AfterValidator(_whole_or_part_of_one)] = 0
    address: str = ""
    retries: Annotated[int, Field(ge=0)] = 2
