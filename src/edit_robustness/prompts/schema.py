"""One schema for facts from every source: a row becomes a `Fact`, or an error with the reason why it cannot.

A reason begins with a short name of the problem, up to the first colon, so that rejected rows can be counted by it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from edit_robustness.prompts.cells import as_list, as_text, flat_texts, parse_nested, refusal
from edit_robustness.prompts.names import plain, shared_name
from edit_robustness.records import SLOT, Completion, Fact, Relation
from edit_robustness.text.joining import JOINS

REQUIRED_COLUMNS = ("subject", "target_new")
STATEMENT_COLUMNS = ("prompt", "relation")
"""A row needs its own prompt, or a relation that has templates."""

OPTIONAL_COLUMNS = (
    *("id", "target_true", "target_true_aliases", "target_new_aliases", "page_views", "subject_aliases", "subject_id"),
    *("target_true_id", "target_new_id", "paraphrases", "neighbours", "relation_specificity", "unrelated"),
    *("consequences", "join"),
)
COLUMNS = (*REQUIRED_COLUMNS, *STATEMENT_COLUMNS, *OPTIONAL_COLUMNS)
"""All columns of a raw table of facts that are read."""

UNREADABLE = "UNREADABLE"
"""Column of a raw table with the reason why a record cannot be read at all. No column of a file can have this name,
because column names of files are converted to lower case."""

LEFT_OUT = "LEFT OUT"
"""Column of a raw table with the names of the prompts that a reader drops from a record, one name per prompt."""

LONGEST_FILE_NAME = 200
"""Maximum bytes of an id as a file name. Characters beyond ASCII are percent-encoded (``%E6%9D%B1``, nine bytes per
character) as in `datasets.folders`. File systems allow 255 bytes, and a suffix is added."""

FAILED_LOOKUP = 1
"""Page views that stand for a failed look-up: published tables store 1 (or 0) for it."""

_QUOTE_LENGTH = 40
_LIST_LENGTH = 12
_MOST_VIEWS = 2**63 - 1
_MISSING = frozenset({"nan", "NaN", "<NA>", "None"})
_ID = re.compile(r"\w[\w.-]{0,119}")
_LONGEST_SLUG = 60
_ITEM = re.compile(r"(?:https?://www\.wikidata\.org/(?:entity|wiki)/)?(Q[1-9]\d*)")


def _not_empty(text: str) -> str:
    if not text:
        raise refusal("is empty")
    return text


def _one_line(text: str) -> str:
    if text in _MISSING:
        raise refusal(f"is a placeholder for a missing cell: {text!r}; leave the cell empty")
    return " ".join(text.split())


def _texts(cell: Any) -> tuple[str, ...]:
    """Return several texts from a list, from text with a list in JSON or Python, or from text separated by ``|``."""
    if isinstance(cell, str):
        cell = as_list(cell) if cell.strip().startswith("[") else parse_nested(cell)
    return tuple(flat_texts(cell.split("|") if isinstance(cell, str) else cell))


def _names(cell: Any) -> tuple[str, ...]:
    return tuple(_one_line(name) for name in _texts(cell))


def _objects(cell: Any) -> list[Any]:
    """Return the records of a cell without null fields, because in Parquet every record has the fields of all."""
    return [
        {name: value for name, value in item.items() if value is not None} if isinstance(item, dict) else item
        for item in as_list(cell)
    ]


def _item(text: str) -> str:
    if not text:
        return ""
    if not (match := _ITEM.fullmatch(text)):
        raise refusal(f"is not a Wikidata item: {text[:_QUOTE_LENGTH]!r} (such as Q142)")
    return match[1]


def _views(text: str) -> int | None:
    if not text:
        return None
    try:
        number = int(text) if text.isdecimal() else float(text)
        views = int(number)
    except (ValueError, OverflowError):
        raise refusal(f"is not a number: {text[:_QUOTE_LENGTH]!r}") from None
    if views != number:
        raise refusal(f"is not a whole number: {text[:_QUOTE_LENGTH]!r}")
    if views > _MOST_VIEWS:
        raise refusal(f"is too large a number: {text[:_QUOTE_LENGTH]!r}, at most {_MOST_VIEWS}")
    if views < 0:
        raise refusal(f"is negative: {views}")
    return views if views > FAILED_LOOKUP else None


def _join(cell: Any) -> str | None:
    """Return the text between prompt and object, given by its name or as it is; None leaves it to the default rule."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return None
    if not isinstance(cell, str) or cell not in (*JOINS, *JOINS.values()):
        raise refusal(f"is neither {' nor '.join(JOINS)}: {str(cell)[:_QUOTE_LENGTH]!r}; leave it out for the default")
    return JOINS.get(cell, cell)


Text = Annotated[str, BeforeValidator(as_text)]
Line = Annotated[Text, AfterValidator(_one_line)]
Name = Annotated[Line, AfterValidator(_not_empty)]
Item = Annotated[Text, AfterValidator(_item)]
Aliases = Annotated[tuple[str, ...], BeforeValidator(_names)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
JoinWord = Annotated[str | None, BeforeValidator(_join)]
Views = Annotated[int | None, BeforeValidator(_views), BeforeValidator(as_text)]


class CompletionRow(BaseModel):
    """A prompt of a data set with its expected answer, as a nested record of a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[Text, AfterValidator(_not_empty)]
    target: Name
    aliases: Aliases = ()
    subject: Line = ""
    join: JoinWord = None


Completions = Annotated[tuple[CompletionRow, ...], BeforeValidator(_objects)]


class FactRow(BaseModel):
    """One row of a raw table of facts; other columns are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    subject: Name
    target_new: Name
    relation: Line = ""
    prompt: Text = ""
    id: Text = ""
    target_true: Line = ""
    target_true_aliases: Aliases = ()
    target_new_aliases: Aliases = ()
    page_views: Views = None
    subject_aliases: Aliases = ()
    subject_id: Item = ""
    target_true_id: Item = ""
    target_new_id: Item = ""
    paraphrases: Texts = ()
    neighbours: Completions = ()
    relation_specificity: Completions = ()
    unrelated: Completions = ()
    consequences: Completions = ()
    join: JoinWord = None

    @model_validator(mode="after")
    def _objects_differ(self) -> FactRow:
        new = (self.target_new, *self.target_new_aliases)
        true = (self.target_true, *self.target_true_aliases) if self.target_true else self.target_true_aliases
        if (name := shared_name(new, true)) is not None:
            raise refusal(f"new object equals the old: {name[:_QUOTE_LENGTH]!r} names both")
        return self

    @model_validator(mode="after")
    def _id_is_a_file_name(self) -> FactRow:
        if self.id and not _ID.fullmatch(self.id):
            raise refusal(
                f"id is not a file name: {self.id[:_QUOTE_LENGTH]!r} (letters, digits, '_', '.', '-', at most 120)"
            )
        if (size := len(quote(self.id))) > LONGEST_FILE_NAME:
            raise refusal(
                f"id is too long for a file name: {size} bytes as a file name, where a character beyond ASCII takes 6 "
                f"to 12, at most {LONGEST_FILE_NAME}: {self.id[:_QUOTE_LENGTH]!r}; shorten it or leave it out"
            )
        return self


def read_fact(row: Mapping[str, Any], relations: Mapping[str, Relation]) -> Fact:
    """Return the fact in one row of a raw table.

    The prompt is the row's own prompt, which must contain ``{}`` or the subject exactly once. A row without a prompt
    uses the statement of its relation. A row without a relation uses its prompt as the relation, so that facts with the
    same prompt belong to one relation. A missing id is made of relation and subject only, so that it does not depend
    on other rows.

    Args:
        row: Cells by column; text, numbers, lists or missing.
        relations: Templates by relation.

    Raises:
        ValueError: If the row is not a valid fact; the message is the reason.
    """
    if reason := row.get(UNREADABLE):
        raise ValueError(str(reason))
    try:
        fact_row = FactRow.model_validate(dict(row))
    except ValidationError as failure:
        raise ValueError("; ".join(_reason(error) for error in failure.errors())) from failure
    template = _template(fact_row, relations)
    relation = fact_row.relation or template
    return Fact(
        id=fact_row.id or make_id(relation, fact_row.subject),
        subject=fact_row.subject,
        relation=relation,
        prompt=template,
        target_true=fact_row.target_true,
        target_new=fact_row.target_new,
        target_true_aliases=_other_names(fact_row.target_true, fact_row.target_true_aliases),
        target_new_aliases=_other_names(fact_row.target_new, fact_row.target_new_aliases),
        page_views=fact_row.page_views,
        subject_aliases=_other_names(fact_row.subject, fact_row.subject_aliases),
        subject_id=fact_row.subject_id,
        target_true_id=fact_row.target_true_id,
        target_new_id=fact_row.target_new_id,
        paraphrases=tuple(dict.fromkeys(fact_row.paraphrases)),
        neighbours=_completions(fact_row.neighbours),
        relation_specificity=_completions(fact_row.relation_specificity),
        unrelated=_completions(fact_row.unrelated),
        consequences=_completions(fact_row.consequences),
        join=fact_row.join,
    )


def make_id(relation: str, subject: str) -> str:
    """Return an id such as ``P36-france``; a short digest is added if letters were dropped, so that ids stay unique."""
    return f"{_slug(relation)}-{_slug(subject.casefold())}"


def _slug(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", ascii_text).strip("-")[:_LONGEST_SLUG]
    if slug == text.replace(" ", "-"):
        return slug
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{slug}-{digest}" if slug else digest


def _template(row: FactRow, relations: Mapping[str, Relation]) -> str:
    if not row.prompt and not row.relation:
        raise ValueError("no prompt: a row needs its own prompt, or a relation that has templates")
    if not row.prompt:
        if row.relation not in relations:
            examples = ", ".join(list(relations)[:_LIST_LENGTH]) + (" ..." if len(relations) > _LIST_LENGTH else "")
            raise ValueError(
                f"unknown relation: {row.relation[:_QUOTE_LENGTH]!r} has no templates, and the row has no prompt; "
                f"add a prompt, or use one of the {len(relations)} relations with templates: {examples}"
            )
        return relations[row.relation].statement
    if row.prompt.count(SLOT) == 1 and SLOT not in row.subject:
        return row.prompt
    subject, prompt = row.subject[:_QUOTE_LENGTH], row.prompt[:_QUOTE_LENGTH]
    # whitespace in names is already normalised, in prompts it is not
    prompt_text = row.prompt if row.subject in row.prompt else _one_line(row.prompt)
    if row.subject not in prompt_text:
        raise ValueError(f"subject is not in its prompt: {subject!r} in {prompt!r}; it must hold it, or {SLOT}, once")
    template = prompt_text.replace(row.subject, SLOT)
    if template.count(SLOT) > 1:
        raise ValueError(f"subject is in its prompt more than once: {subject!r}; write one {SLOT} where it is meant")
    return template


def _other_names(name: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    """Return the aliases that differ from the name and from each other."""
    first_aliases = {plain(alias): alias for alias in reversed(aliases)}
    first_aliases.pop(plain(name), None)
    return tuple(alias for alias in aliases if first_aliases.get(plain(alias)) is alias)


def _completions(rows: Iterable[CompletionRow]) -> tuple[Completion, ...]:
    return tuple(
        Completion(row.prompt, row.target, _other_names(row.target, row.aliases), row.subject, row.join) for row in rows
    )


def _reason(error: Any) -> str:
    return " ".join([*map(str, error["loc"]), error["msg"]])
