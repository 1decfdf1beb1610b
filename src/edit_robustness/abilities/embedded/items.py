"""Reader of the embedded items. The YAML files name `read`, so lm-eval can run these tasks without this project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset


def read(file: str, **_: Any) -> dict[str, Dataset]:
    """Read the items of a JSON Lines file next to this module, as the split `test`."""
    lines = (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()
    return {"test": Dataset.from_list([json.loads(line) for line in lines])}
