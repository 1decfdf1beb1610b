"""Nodes of ingest: check every row of a table of facts."""

import logging
from collections import Counter
from typing import Any

import pandas as pd

from edit_robustness.pipelines.ingest.ambiguity import ambiguous_subjects
from edit_robustness.pipelines.ingest.columns import with_columns
from edit_robustness.prompts.cells import preview
from edit_robustness.prompts.names import plain
from edit_robustness.prompts.relations import read_relations
from edit_robustness.prompts.schema import (
    COLUMNS,
    FAILED_LOOKUP,
    LEFT_OUT,
    OPTIONAL_COLUMNS,
    REQUIRED_COLUMNS,
    STATEMENT_COLUMNS,
    UNREADABLE,
    read_fact,
)
from edit_robustness.records import Fact, Relation
from edit_robustness.tables import facts_to_table

logger = logging.getLogger(__name__)

REJECT_COLUMNS = ["row", "id", "subject", "relation", "reason"]
_FIRST_ROW = 2
_SHOWN = 40
_COMMONEST = 5


def validate_facts(
    raw_facts: pd.DataFrame, raw_relations: dict[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Read each row of a raw table as a fact, and reject the rows that are not valid.

    Args:
        raw_facts: Columns subject, target_new, and prompt or relation; optionally those of `OPTIONAL_COLUMNS`. All
            cells may be text; several names are a list, JSON or separated by ``|``, prompts with their answers a
            list of ``{prompt, target}`` or JSON. An index called ``row`` says where rows stand in their file.
            Readers add `schema.UNREADABLE` and `schema.LEFT_OUT`. Further numeric columns are features.
        raw_relations: The templates of relations, as they stand in YAML.

    Returns:
        The facts (`tables.FACT_COLUMNS`, dataset, page_views_source, and a float column per feature of the table, see
        `ingest.columns`); the rejects: row (of the file, or as a spreadsheet counts, the header being
        row 1), id, subject, relation and the reason, and for each group of prompts that no reader can use their number
        under row 0; and the ambiguous subjects (`ambiguity.ambiguous_subjects`).

    Raises:
        ValueError: Where a column is missing or stands twice, no row is left, or the templates are wrong.
    """
    rows = _read_rows(raw_facts)
    numbers = raw_facts.index if raw_facts.index.name == "row" else range(_FIRST_ROW, _FIRST_ROW + len(rows))
    relations = read_relations(raw_relations).relations
    facts: list[Fact] = []
    fact_rows: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    first_rows: dict[tuple[str, ...], int] = {}
    for number, row in zip(numbers, rows, strict=True):
        try:
            facts.append(_add_fact(row, relations, first_rows, number))
            fact_rows.append(row)
        except ValueError as reason:
            rejects.append(_reject(number, row, str(reason)))
    _log_counts(rows, facts, rejects)
    rejects += _list_unused_prompts(rows)
    ambiguous = ambiguous_subjects(dict(zip(numbers, rows, strict=True)))
    table = with_columns(facts_to_table(facts), fact_rows, len(rows))
    return table, pd.DataFrame(rejects, columns=REJECT_COLUMNS).astype({"row": "int64"}), ambiguous


def validate_training_facts(raw_training_facts: pd.DataFrame, raw_relations: dict[str, Any]) -> pd.DataFrame:
    """Read the facts for IKE's demonstrations and the training of MEND and SERAC, with the same checks.

    Raises:
        ValueError: As `validate_facts` does.
    """
    # further columns are features of the facts that are edited; here they would only be logged a second time
    is_known = [_column(name) in (*COLUMNS, UNREADABLE, LEFT_OUT) for name in raw_training_facts.columns]
    return validate_facts(raw_training_facts.loc[:, is_known], raw_relations)[0]


def _read_rows(raw_facts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows with all columns, missing cells as None. Header names are case-folded and stripped."""
    table = raw_facts.set_axis([_column(name) for name in raw_facts.columns], axis="columns")
    if duplicates := sorted({name for name in table.columns[table.columns.duplicated()] if name}):
        raise ValueError(
            f"the table of facts has several columns called {', '.join(duplicates)} (capitals and outer spaces aside); "
            "rename or remove one"
        )
    missing_columns = [column for column in REQUIRED_COLUMNS if column not in table.columns]
    if not set(STATEMENT_COLUMNS) & set(table.columns):
        missing_columns.append(" or ".join(STATEMENT_COLUMNS))
    if missing_columns:
        raise ValueError(
            f"the table of facts lacks {', '.join(missing_columns)}; it has "
            f"{', '.join(table.columns) or 'no columns'}. It needs "
            f"{', '.join(REQUIRED_COLUMNS)}, and {' or '.join(STATEMENT_COLUMNS)}; it may have "
            f"{', '.join(OPTIONAL_COLUMNS)}"
        )
    if table.empty:
        raise ValueError("the table of facts has no rows")
    # columns without a name cannot be features, and may be several
    cells = table.loc[:, table.columns != ""]
    return cells.astype(object).where(cells.notna(), None).to_dict(orient="records")  # type: ignore[return-value]


def _column(name: Any) -> str:
    return name if name in (UNREADABLE, LEFT_OUT) else str(name).strip("\ufeff \t").casefold()


def _add_fact(
    row: dict[str, Any], relations: dict[str, Relation], first_rows: dict[tuple[str, ...], int], number: int
) -> Fact:
    """Return the fact in a row, unless an earlier row has the same subject and relation, or the same id."""
    fact = read_fact(row, relations)
    pair, identifier = ("fact", plain(fact.subject), fact.relation), ("id", fact.id.casefold())
    if pair in first_rows:
        raise ValueError(f"duplicate: row {first_rows[pair]} has the same subject and relation")
    if identifier in first_rows:
        raise ValueError(
            f"id is taken: row {first_rows[identifier]} has {fact.id!r} too; give each row an id of its own"
        )
    first_rows[pair] = first_rows[identifier] = number
    return fact


def _reject(number: int, row: dict[str, Any], reason: str) -> dict[str, Any]:
    cells = {name: _shorten(_name(row.get(name))) for name in ("id", "subject", "relation")}
    return {"row": number, **cells, "reason": _escape(reason)}


def _name(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if cell is None else preview(cell)


def _shorten(text: str) -> str:
    """Return the beginning of a cell, with unprintable characters escaped."""
    return _escape(text[:_SHOWN] + ("..." if len(text) > _SHOWN else ""))


def _escape(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _list_unused_prompts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each group of prompts that a reader drops from records that it uses."""
    groups = [list(row.get(LEFT_OUT) or ()) for row in rows]
    prompts = Counter(group for row_groups in groups for group in row_groups)
    records = Counter(group for row_groups in groups for group in set(row_groups))
    reasons = [
        f"left out: {number} prompts of {records[group]} rows: {group}" for group, number in sorted(prompts.items())
    ]
    if reasons:
        logger.warning("prompts that cannot be used are %s", "; ".join(reasons))
    return [{"row": 0, "id": "", "subject": "", "relation": "", "reason": _escape(reason)} for reason in reasons]


def _log_counts(rows: list[dict[str, Any]], facts: list[Fact], rejects: list[dict[str, Any]]) -> None:
    n_without = sum(not fact.target_true for fact in facts)
    if n_without:
        logger.info("%d facts name no old object: each model is asked for it", n_without)
    kinds = Counter(reject["reason"].split(":")[0] for reject in rejects)
    reasons = ", ".join(f"{kind} ({number})" for kind, number in kinds.most_common(_COMMONEST))
    if not facts:
        raise ValueError(f"all {len(rows)} rows of the table of facts were rejected: {reasons}")
    if rejects:
        logger.warning("%d of %d rows of the table of facts are rejected: %s", len(rejects), len(rows), reasons)
    n_failed = sum(_is_failed_lookup(row.get("page_views")) for row in rows)
    if n_failed:
        logger.info(
            "page views of %d or less are a look-up that failed, and taken as unknown: %d rows", FAILED_LOOKUP, n_failed
        )


def _is_failed_lookup(cell: Any) -> bool:
    return isinstance(cell, str | int | float) and _name(cell).strip() in {"0", "1", "0.0", "1.0"}
