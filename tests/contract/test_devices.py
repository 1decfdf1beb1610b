"""Everything is computed on the model's device, with the same results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fabricated_edits import METHOD_NAMES

REFERENCE = Path(__file__).parents[1] / "reference"
OTHERS = ("conversations", "abilities", "object_ranks", "speaking", "writing", "fingerprint")


@pytest.fixture(scope="module")
def device_results():
    """For each part what it says on the CPU and on a device that only pretends to be another."""
    process = subprocess.run(
        [sys.executable, str(REFERENCE / "fake_device.py"), "llama"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout)


@pytest.mark.parametrize("part", [*METHOD_NAMES, *OTHERS])
def test_both_devices_say_the_same(device_results, part):
    cpu_values, device_values = (_leaves(values) for values in device_results[part])
    assert len(cpu_values) == len(device_values) > 0
    for cpu_value, device_value in zip(cpu_values, device_values, strict=True):
        assert cpu_value == (pytest.approx(device_value, abs=1e-4) if isinstance(device_value, float) else device_value)


def test_tensors_of_two_devices_never_meet(device_results):
    assert "gets tensors of both devices" in device_results["refused"]


def _leaves(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for item in tree for leaf in _leaves(item)] if isinstance(tree, list) else [tree]
