"""Read the wordings of each relation from YAML and check them, so that mistakes in templates are found before a run."""

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
"""The blank that replaces the object in a cloze."""


@dataclass(frozen=True)
class Templates:
    """The templates from which wordings are made.

    Attributes:
        relations: The wordings of each relation.
        unrelated: Passages on general topics.
        subjects: Sentences that hold for every subject of a type.
    """

    relations: dict[str, Relation]
    unrelated: tuple[str, ...]
    subjects: dict[str, SubjectType] = field(default_factory=dict)


def _template_error(message: str, **values: object) -> PydanticCustomError:
    return PydanticCustomError("template", message, values)  # type: ignore[arg-type]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise _template_error("is empty")
    return text.strip()


def _one_slot(template: str) -> str:
    if (n_slots := template.count(SLOT)) != 1:
        raise _template_error(
            "must contain {slot} exactly once, it has {found}: {template}", slot=SLOT, found=n_slots, template=template
        )
    return template


def _some_slot(template: str) -> str:
    if SLOT not in template:
        raise _template_error("must contain {slot} at least once: {template}", slot=SLOT, template=template)
    return template


def _one_blank(template: str) -> str:
    if [len(blank) for blank in re.findall("__+", template)] != [len(BLANK)]:
        raise _template_error("must contain {blank} exactly once: {template}", blank=BLANK, template=template)
    return template


def _open_end(template: str) -> str:
    if template.endswith((".", "?", "!", ";")):
        raise _template_error(
            "must end right before the object, without a full stop or question mark: {template}", template=template
        )
    return template


def _distinct(templates: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(templates)) < len(templates):
        raise _template_error("must differ from each other")
    return templates


Text = Annotated[str, AfterValidator(_not_blank)]
Template = Annotated[Text, AfterValidator(_one_slot)]
Prompt = Annotated[Template, AfterValidator(_open_end)]


class _RelationRow(BaseModel):
    """One relation of the YAML file."""

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
    """One type of subjects of the YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reference: Text
    profile: Annotated[
        tuple[Annotated[Text, AfterValidator(_some_slot)], ...],
        Field(min_length=4, strict=False),
        AfterValidator(_distinct),
    ]


class _RelationsFile(BaseModel):
    """The content of the YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    relations: Annotated[dict[str, _RelationRow], Field(min_length=1)]
    subjects: Annotated[dict[str, _SubjectRow], Field(min_length=1)]
    unrelated: Annotated[tuple[Text, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _subjects_have_types(self) -> _RelationsFile:
        for name, row in self.relations.items():
            if row.subject not in self.subjects:
                types = ", ".join(self.subjects)
                raise _template_error(
                    "relations.{name}.subject: unknown type {type}; types under `subjects`: {there}",
                    name=name,
                    type=row.subject,
                    there=types,
                )
        return self

    @model_validator(mode="after")
    def _unaffected_are_others(self) -> _RelationsFile:
        for name, row in self.relations.items():
            for other_name in row.unaffected:
                if other_name == name or other_name not in self.relations:
                    fault = "the relation itself" if other_name == name else f"no relation {other_name} in this file"
                    raise _template_error("relations.{name}.unaffected: {wrong}", name=name, wrong=fault)
        return self


def read_relations(raw: Mapping[str, Any]) -> Templates:
    """Read the templates from the content of a YAML file of relations.

    Args:
        raw: ``{relations: {P36: {name, subject, object, statement, paraphrases, question, cloze, context,
            reversed_question, unaffected}}, subjects: {place: {reference, profile}}, unrelated: [...]}``. Each
            template has ``{}`` in place of the subject, `reversed_question` in place of the object. `reversed_question`
            and `unaffected` (a list of other relations) are optional. `subject` is a key of `subjects`. `object` is
            the type of the object.

    Raises:
        ValueError: If the content is invalid. The message lists each relation and field with its problem.
    """
    if not isinstance(raw, Mapping):
        content = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise ValueError(f"{_WHERE} contain {content}; they must have `relations:` and `subjects:`")
    try:
        file = _RelationsFile.model_validate(dict(raw))
    except ValidationError as failure:
        faults = "\n".join(f"  {_describe(error)}" for error in failure.errors())
        raise ValueError(f"{_WHERE} cannot be used:\n{faults}") from failure
    relations = {name: _relation(name, row) for name, row in file.relations.items()}
    subjects = {name: SubjectType(name=name, **row.model_dump()) for name, row in file.subjects.items()}
    return Templates(relations, file.unrelated, subjects)


def _relation(identifier: str, row: _RelationRow) -> Relation:
    return Relation(id=identifier, **row.model_dump(exclude_none=True))


def _describe(error: ErrorDetails) -> str:
    location = ".".join(map(str, error["loc"]))
    return f"{location}: {error['msg']}" if location else error["msg"]
