"""How the harness reads our items; the YAML beside names `read`, so plain lm-eval can run these tasks too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset


def read(file: str, **_: Any) -> dict[str, Dataset]:
    """The items of a JSON Lines file beside this module, as the split `test`."""
    lines = (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()
    return {"test": Dataset.from_list([json.loads(line) for line in lines])}
