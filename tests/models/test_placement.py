"""Blocks of a model on several devices; what edits and answers are then is in `tests/contract/test_devices.py`."""

import pytest
import torch
from fabricated_edits import ARCHITECTURES

from edit_robustness.models.memory import weight_bytes
from edit_robustness.models.placement import _spread, place, weight_bytes_per_device
from edit_robustness.models.tiny import tiny_model

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_blocks_are_spread_and_all_else_is_on_the_first_device(architecture):
    lm = tiny_model(architecture)
    needs = weight_bytes_per_device(lm.model.config, torch.float32, 2)
    assert sum(needs) == weight_bytes(lm.model.config, torch.float32)
    place(lm.model, [CPU, META])
    blocks = [{parameter.device.type for parameter in block.parameters()} for block in lm.blocks]
    assert blocks == sorted(blocks, key=lambda types: "meta" in types)
    assert blocks[-1] == {"meta"}
    block_names = tuple(f"{lm.layout.blocks}.{number}." for number in range(len(lm.blocks)))
    for name, parameter in lm.model.named_parameters():
        assert name.startswith(block_names) or parameter.device == CPU, name
    counts = {
        device: sum(parameter.nbytes for parameter in lm.model.parameters() if parameter.device == device)
        for device in (CPU, META)
    }
    assert [counts[CPU], counts[META]] == needs
    assert (lm.device, lm.devices, lm.environment["device"]) == (CPU, [CPU, META], "cpu + meta")


def test_one_device_gets_all():
    lm = tiny_model("llama")
    assert place(lm.model, [META]).device == META
    assert lm.devices == [META]


@pytest.mark.parametrize(
    ("sizes", "n_outside", "n_devices", "numbers"),
    [
        ([10] * 4, 0, 2, [0, 0, 1, 1]),
        ([10] * 8, 20, 2, [0, 0, 0, 1, 1, 1, 1, 1]),
        ([10] * 6, 0, 3, [0, 0, 1, 1, 2, 2]),
        ([1, 1], 10, 2, [1, 1]),
        ([5], 1, 4, [2]),
    ],
)
def test_devices_have_about_the_same_load(sizes, n_outside, n_devices, numbers):
    assert _spread(sizes, n_outside, n_devices) == numbers
