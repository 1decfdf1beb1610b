"""The blocks of one model on several devices, for a model that is larger than each of them.

Embeddings, the last norm and the head are on the first device, and the blocks are spread over all of them in order.
Inputs are moved to the device of the module that reads them, by hooks that stay. So tokens go in and logits come out on
the first device, and what edits read and change is handed to them there (`models/trace.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edit_robustness.models.layout import layout_of
from edit_robustness.models.memory import without_weights


def place(model: Any, devices: Sequence[torch.device]) -> Any:
    """Move a model to a device, or spread its blocks over several.

    Args:
        model: A transformers causal language model in the memory of the CPU.
        devices: The devices, in the order of the blocks.

    Returns:
        The same model.

    Raises:
        ValueError: If there are several devices and the architecture has no layout.
    """
    if len(devices) == 1:
        return model.to(devices[0])
    home, path = devices[0], layout_of(model.config.model_type).blocks.split(".")
    numbers = _spread(*_count(model), len(devices))
    # the modules that contain all blocks, from the model itself to the list of blocks
    *outer, blocks = [model.get_submodule(".".join(path[:depth])) for depth in range(len(path) + 1)]
    for module, inner in zip(outer, [*outer[1:], blocks], strict=True):
        module._apply(lambda tensor: tensor.to(home), recurse=False)
        for child in module.children():
            if child is not inner:
                _pin(child, home)
    for block, number in zip(blocks, numbers, strict=True):
        _pin(block, devices[number])
    model.tie_weights()
    return model


def weight_bytes_per_device(config: Any, dtype: torch.dtype, n_devices: int) -> list[int]:
    """Return the bytes of the weights that `place` puts on each device, counted without making them.

    Args:
        config: The configuration of transformers.
        dtype: That of the weights.
        n_devices: Number of devices.

    Raises:
        ValueError: If transformers has no causal language model of this architecture, or the project no layout.
    """
    model = without_weights(config)
    sizes, n_outside = _count(model)
    loads = [n_outside, *[0] * (n_devices - 1)]
    for number, size in zip(_spread(sizes, n_outside, n_devices), sizes, strict=True):
        loads[number] += size
    return [load * dtype.itemsize for load in loads]


def _count(model: Any) -> tuple[list[int], int]:
    """Return the number of weights of each block, and that of all others."""
    blocks = model.get_submodule(layout_of(model.config.model_type).blocks)
    sizes = [sum(parameter.numel() for parameter in block.parameters()) for block in blocks]
    return sizes, sum(parameter.numel() for parameter in model.parameters()) - sum(sizes)


def _spread(sizes: Sequence[int], n_outside: int, n_devices: int) -> list[int]:
    """Return the device of each block: in order, with about the same number of weights on each device.

    Args:
        sizes: Weights of each block.
        n_outside: Weights of the first device beside the blocks.
        n_devices: Number of devices.
    """
    share, start, numbers = (n_outside + sum(sizes)) / n_devices, n_outside, []
    for size in sizes:
        # the device in whose share the middle of the block is
        numbers.append(min(int((start + size / 2) / share), n_devices - 1))
        start += size
    return numbers


def _pin(module: nn.Module, device: torch.device) -> None:
    """Move a module to a device, and from now on its inputs too."""
    module.to(device)
    module.register_forward_pre_hook(partial(_move_inputs, device), with_kwargs=True)


def _move_inputs(device: torch.device, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return _move(args, device), _move(kwargs, device)


def _move(value: Any, device: torch.device) -> Any:
    """Return a value with its tensors on a device. A cache is left as it is: each layer has its own device there."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, (tuple, list)):
        return type(value)(_move(entry, device) for entry in value)
    if isinstance(value, Mapping):
        return {name: _move(entry, device) for name, entry in value.items()}
    return value
