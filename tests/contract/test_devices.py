"""Whatever is done with a model is done where the model lies, and says the same there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fabricated_edits import METHOD_NAMES

REFERENCE = Path(__file__).parents[1] / "reference"
OTHERS = ("abilities", "familiarity", "speaking", "writing", "fingerprint")


@pytest.fixture(scope="module")
def found():
    """For each part what it says on the CPU and on a device that only pretends to be another."""
    run = subprocess.run(
        [sys.executable, str(REFERENCE / "pretended_device.py"), "llama"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize("part", [*METHOD_NAMES, *OTHERS])
def test_both_devices_say_the_same(found, part):
    here, there = (_leaves(said) for said in found[part])
    assert len(here) == len(there) > 0
    for one, other in zip(here, there, strict=True):
        assert one == (pytest.approx(other, abs=1e-4) if isinstance(other, float) else other)


def test_tensors_of_two_devices_never_meet(found):
    assert "gets tensors of both devices" in found["refused"]


def _leaves(said):
    if isinstance(said, dict):
        said = list(said.values())
    return [leaf for item in said for leaf in _leaves(item)] if isinstance(said, list) else [said]
