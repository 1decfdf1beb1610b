"""Which names of subjects may mean more than one thing, so that an answer about them proves little."""

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from edit_robustness.prompts.cells import as_text
from edit_robustness.prompts.names import plain

logger = logging.getLogger(__name__)

AMBIGUOUS_COLUMNS = ["subject", "row", "relation", "subject_id", "target_true", "why"]


def ambiguous_subjects(rows: Mapping[Hashable, Mapping[str, Any]]) -> pd.DataFrame:
    """The rows whose subject's name stands for several items, or has several objects of one relation.

    Args:
        rows: Raw rows by their number; those that were set aside too, if their cells are texts.

    Returns:
        One row each, with `AMBIGUOUS_COLUMNS`, names together; `why` tells the items, or the number of objects.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for number, row in rows.items():
        try:
            shown = {name: as_text(row.get(name)) for name in AMBIGUOUS_COLUMNS}
            shown["relation"] = shown["relation"] or as_text(row.get("prompt"))
        except ValueError:
            # a cell that is no text says nothing about names, and could not be written again
            continue
        by_name.setdefault(plain(shown["subject"]), []).append(shown | {"row": number})
    found = [row for name, same in by_name.items() if name and len(same) > 1 for row in _ambiguous(same)]
    if found:
        names = len({plain(row["subject"]) for row in found})
        logger.info("%d names of subjects are ambiguous, in %d rows of the table of facts", names, len(found))
    return pd.DataFrame(found, columns=AMBIGUOUS_COLUMNS)


def _ambiguous(same: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one name, with why it is ambiguous; none where it is not."""
    items = sorted({row["subject_id"] for row in same} - {""})
    if len(items) > 1:
        return [row | {"why": f"items {', '.join(items)}"} for row in same]
    objects: dict[str, set[str]] = {}
    for row in same:
        objects.setdefault(row["relation"], set()).add(plain(row["target_true"]))
    several = {relation: len(names) for relation, names in objects.items() if len(names) > 1}
    return [
        row | {"why": f"{several[row['relation']]} objects of one relation"}
        for row in same
        if row["relation"] in several
    ]
