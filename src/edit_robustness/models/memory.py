"""Memory of a model's weights, wanted and free, so that a model that cannot fit is refused before it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM

_CGROUP = Path("/sys/fs/cgroup")
"""The limits of a container, where it has some; psutil sees the whole machine."""


class TooLittleMemory(ValueError):
    """A model whose weights do not fit into the free memory."""


def weight_bytes(config: Any, dtype: torch.dtype) -> int:
    """Return the bytes of a model's weights, counted without making them.

    Args:
        config: The configuration of transformers.
        dtype: That of the weights.

    Raises:
        ValueError: If transformers has no causal language model of this architecture.
    """
    # tied weights are one parameter
    number: int = sum(parameter.numel() for parameter in without_weights(config).parameters())
    return number * dtype.itemsize


def without_weights(config: Any, **options: Any) -> Any:
    """Return a model on torch's device `meta`, where its weights have sizes and take no memory.

    Args:
        config: The configuration of transformers.
        **options: Arguments of `from_config`.

    Raises:
        ValueError: If transformers has no causal language model of this architecture.
    """
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False, **options)


def loaded_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of the weights of a model in memory."""
    number: int = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return number


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device; None if it is not known."""
    if device.type == "cuda":
        # torch keeps what a model before has left, and gives it to the next
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu":
        return None
    free: list[int] = [psutil.virtual_memory().available, *_container_bytes()]
    return min(free)


def check_memory(need: int, device: torch.device, what: str) -> None:
    """Refuse weights that do not fit.

    Args:
        need: Their bytes.
        device: Where they are to be.
        what: Whose weights they are, for the error.

    Raises:
        TooLittleMemory: With both numbers and what to change.
    """
    free = free_bytes(device)
    if free is not None and need > free:
        raise TooLittleMemory(
            f"{what} need {gigabytes(need)}, and {gigabytes(free)} are free on {device}: end what else runs there, set "
            "a smaller `dtype` (bfloat16 takes half of float32), or take a smaller model"
        )


def gigabytes(number: float) -> str:
    """Write bytes in GB of 10^9 bytes."""
    return f"{number / 1e9:.3g} GB"


def _container_bytes() -> list[int]:
    """Return the free memory of the container in which this process runs, if it has a limit (cgroup v2)."""
    try:
        limit, usage = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        # pages of files are given back when memory is wanted, also those that were read twice (`active_file`)
        states = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        of_files = sum(int(states.get(name, 0)) for name in ("inactive_file", "active_file"))
        return [int(limit) - int(usage) + of_files] if limit.isdigit() else []
    except (OSError, ValueError):
        return []
