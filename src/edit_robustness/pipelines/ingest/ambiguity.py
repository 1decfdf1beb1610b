"""Detection of subject names with several meanings, for which an answer is weak evidence."""

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from edit_robustness.prompts.cells import as_text
from edit_robustness.prompts.names import plain

logger = logging.getLogger(__name__)

AMBIGUOUS_COLUMNS = ["subject", "row", "relation", "subject_id", "target_true", "why"]


def ambiguous_subjects(rows: Mapping[Hashable, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows whose subject name belongs to several items or has several objects of one relation.

    Args:
        rows: Raw rows by their number; also those that were rejected, if their cells are texts.

    Returns:
        One row each, with `AMBIGUOUS_COLUMNS`, names together; `why` tells the items, or the number of objects.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for number, row in rows.items():
        try:
            cells = {name: as_text(row.get(name)) for name in AMBIGUOUS_COLUMNS}
            cells["relation"] = cells["relation"] or as_text(row.get("prompt"))
        except ValueError:
            # a cell that is not text contains no name, and cannot be written to the table of ambiguous subjects
            continue
        by_name.setdefault(plain(cells["subject"]), []).append(cells | {"row": number})
    ambiguous_rows = [
        row for name, name_rows in by_name.items() if name and len(name_rows) > 1 for row in _check_name(name_rows)
    ]
    if ambiguous_rows:
        names = len({plain(row["subject"]) for row in ambiguous_rows})
        logger.info("%d names of subjects are ambiguous, in %d rows of the table of facts", names, len(ambiguous_rows))
    return pd.DataFrame(ambiguous_rows, columns=AMBIGUOUS_COLUMNS)


def _check_name(name_rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of one name with the reason why it is ambiguous; an empty list if it is not."""
    items = sorted({row["subject_id"] for row in name_rows} - {""})
    if len(items) > 1:
        return [row | {"why": f"items {', '.join(items)}"} for row in name_rows]
    objects: dict[str, set[str]] = {}
    for row in name_rows:
        objects.setdefault(row["relation"], set()).add(plain(row["target_true"]))
    counts = {relation: len(names) for relation, names in objects.items() if len(names) > 1}
    return [
        row | {"why": f"{counts[row['relation']]} objects of one relation"}
        for row in name_rows
        if row["relation"] in counts
    ]
