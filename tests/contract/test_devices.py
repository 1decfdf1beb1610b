"""Everything is computed on the model's device, with the same results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fabricated_edits import METHOD_NAMES

REFERENCE = Path(__file__).parents[1] / "reference"
IN_SEQUENCE = ("rome", "alphaedit", "ft", "grace", "serac", "ultraedit")
OTHERS = ("conversations", "abilities", "object_ranks", "speaking", "writing", "fingerprint")


@pytest.fixture(scope="module")
def device_results():
    """For each part what it says on the CPU, on a device that only pretends to be another, and on both together."""
    process = subprocess.run(
        [sys.executable, str(REFERENCE / "fake_device.py"), "llama"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout)


@pytest.mark.parametrize("place", [1, 2, 3], ids=["on another", "blocks on the CPU", "blocks on another"])
@pytest.mark.parametrize("part", [*METHOD_NAMES, *(f"{name}, in sequence" for name in IN_SEQUENCE), *OTHERS])
def test_all_devices_say_the_same(device_results, part, place):
    cpu_values, device_values = (_leaves(device_results[part][number]) for number in (0, place))
    assert len(cpu_values) == len(device_values) > 0
    for cpu_value, device_value in zip(cpu_values, device_values, strict=True):
        assert cpu_value == (pytest.approx(device_value, abs=1e-4) if isinstance(device_value, float) else device_value)


def test_tensors_of_two_devices_never_meet(device_results):
    assert "gets tensors of both devices" in device_results["refused"]


def test_the_blocks_are_on_both_devices(device_results):
    assert device_results["blocks"] == [["pretended", *["cpu"] * 3], ["cpu", *["pretended"] * 3]]


def _leaves(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for item in tree for leaf in _leaves(item)] if isinstance(tree, list) else [tree]
