"""The wordings of each relation, read from YAML and checked, so that a slip in a template is named before a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from edit_robustness.records import SLOT, Relation, SubjectType

_WHERE = "the templates of relations (raw_relations in the catalog: data/01_raw/relations.yml unless you changed it)"

BLANK = "____"
"""What stands in the object's place in a cloze."""


@dataclass(frozen=True)
class Templates:
    """What the rephrasing has to go on.

    Attributes:
        relations: The wordings of each relation.
        unrelated: Passages about nothing in particular.
        subjects: What can be said of every subject of a type.
    """

    relations: dict[str, Relation]
    unrelated: tuple[str, ...]
    subjects: dict[str, SubjectType] = field(default_factory=dict)


def _refuse(message: str, **values: object) -> PydanticCustomError:
    return PydanticCustomError("template", message, values)  # type: ignore[arg-type]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise _refuse("is empty")
    return text.strip()


def _one_slot(template: str) -> str:
    if (found := template.count(SLOT)) != 1:
        raise _refuse(
            "must hold {slot} exactly once, it has {found}: {template}", slot=SLOT, found=found, template=template
        )
    return template


def _some_slot(template: str) -> str:
    if SLOT not in template:
        raise _refuse("must hold {slot} at least once: {template}", slot=SLOT, template=template)
    return template


def _one_blank(template: str) -> str:
    if [len(blank) for blank in re.findall("__+", template)] != [len(BLANK)]:
        raise _refuse("must hold {blank} exactly once: {template}", blank=BLANK, template=template)
    return template


def _open_end(template: str) -> str:
    if template.endswith((".", "?", "!", ";")):
        raise _refuse(
            "must end where the object comes, without a full stop or question mark: {template}", template=template
        )
    return template


def _distinct(templates: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(templates)) < len(templates):
        raise _refuse("must differ from each other")
    return templates


Text = Annotated[str, AfterValidator(_not_blank)]
Template = Annotated[Text, AfterValidator(_one_slot)]
Prompt = Annotated[Template, AfterValidator(_open_end)]


class _RelationRow(BaseModel):
    """One relation as it stands in the YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Text
    object: Text
    statement: Prompt
    paraphrases: Annotated[tuple[Prompt, ...], Field(min_length=3, strict=False), AfterValidator(_distinct)]
    question: Template
    cloze: Annotated[Template, AfterValidator(_one_blank)]
    context: Annotated[Text, AfterValidator(_some_slot)]
    subject: Text
    reversed_question: Template | None = None
    unaffected: Annotated[tuple[Text, ...], Field(strict=False), AfterValidator(_distinct)] = ()


class _SubjectRow(BaseModel):
    """One type of subjects as it stands in the YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reference: Text
    profile: Annotated[
        tuple[Annotated[Text, AfterValidator(_some_slot)], ...],
        Field(min_length=4, strict=False),
        AfterValidator(_distinct),
    ]


class _RelationsFile(BaseModel):
    """The whole YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    relations: Annotated[dict[str, _RelationRow], Field(min_length=1)]
    subjects: Annotated[dict[str, _SubjectRow], Field(min_length=1)]
    unrelated: Annotated[tuple[Text, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _subjects_have_types(self) -> _RelationsFile:
        for name, row in self.relations.items():
            if row.subject not in self.subjects:
                there = ", ".join(self.subjects)
                raise _refuse(
                    "relations.{name}.subject: no type {type} under `subjects`; there are {there}",
                    name=name,
                    type=row.subject,
                    there=there,
                )
        return self

    @model_validator(mode="after")
    def _unaffected_are_others(self) -> _RelationsFile:
        for name, row in self.relations.items():
            for other in row.unaffected:
                if other == name or other not in self.relations:
                    wrong = "the relation itself" if other == name else f"no relation {other} in this file"
                    raise _refuse("relations.{name}.unaffected: {wrong}", name=name, wrong=wrong)
        return self


def read_relations(raw: Mapping[str, Any]) -> Templates:
    """The templates of a YAML of relations.

    Args:
        raw: ``{relations: {P36: {name, subject, object, statement, paraphrases, question, cloze, context,
            reversed_question, unaffected}}, subjects: {place: {reference, profile}}, unrelated: [...]}``. Each
            template has ``{}`` in the subject's place, `reversed_question` in the object's; it may be left out, and
            so may `unaffected`, which lists other relations. `subject` is a key of `subjects`; `object` says what kind
            of thing the object is.

    Raises:
        ValueError: Naming each relation and field that is wrong, and how.
    """
    if not isinstance(raw, Mapping):
        held = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise ValueError(f"{_WHERE} hold {held}; they need `relations:` and `subjects:`")
    try:
        file = _RelationsFile.model_validate(dict(raw))
    except ValidationError as failure:
        wrong = "\n".join(f"  {_describe(error)}" for error in failure.errors())
        raise ValueError(f"{_WHERE} cannot be used:\n{wrong}") from failure
    relations = {name: _relation(name, row) for name, row in file.relations.items()}
    subjects = {name: SubjectType(name=name, **row.model_dump()) for name, row in file.subjects.items()}
    return Templates(relations, file.unrelated, subjects)


def _relation(identifier: str, row: _RelationRow) -> Relation:
    return Relation(id=identifier, **row.model_dump(exclude_none=True))


def _describe(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"]))
    return f"{where}: {error['msg']}" if where else error["msg"]
