"""Rows of a table as templates and sentences read them."""

from __future__ import annotations

from typing import Any

import pandas as pd


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a dict per row."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
