"""Wordings: texts about one fact from which prompts are built.

Wordings come from the templates of the relations, from a language model or from a person. All of them are stored in the
same table and pass the same checks. A text that fails is stored with the reason. You can read, correct and share the
exact prompts of an experiment.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from random import Random

import pandas as pd

from edit_robustness.prompts.checks import PARTS, problem
from edit_robustness.prompts.grammar import fill_slot, inside, is_question, quote, sentence
from edit_robustness.prompts.names import first_named, new_names, plain, true_names
from edit_robustness.prompts.relations import BLANK, Templates
from edit_robustness.records import Fact, Relation, SubjectType

logger = logging.getLogger(__name__)

DATA, TEMPLATES, WRITER = "data", "templates", "writer"
"""Sources of a wording: the data set of its fact, the templates, or a writer."""

ANY_SUBJECT = SubjectType(
    name="any",
    reference="this subject",
    profile=(
        "A short entry on {} can be found in several works of reference.",
        "Those who wrote about {} did not always agree with each other.",
        "Much of what has been said about {} was collected from older sources.",
        "For a long time {} was mentioned in passing only.",
        "Later, more attention was given to {}, and longer accounts appeared.",
        "Letters and notes that mention {} have been kept in archives.",
        "Some of the stories told about {} have turned out to be wrong.",
        "What is known about {} today has been checked more than once.",
        "Pictures related to {} have been printed in books and magazines.",
        "Anyone who wants to learn more about {} will find a list of readings at the end of the page.",
    ),
)
"""Subject type of facts whose relation has no templates. Its sentences hold for a person, a place or a thing."""

_DIALOGUE = (
    ("User: The name {} came up today.", ""),
    ("Assistant: Yes, there is a lot to read on that.", ""),
    ("User: There is something else to mention.", ""),
    ("Assistant: There is more to tell, of course.", "What would you like to know?"),
)
"""Texts of each turn before and after a sentence of the profile."""

_FEWEST_SENTENCES = len(_DIALOGUE)


@dataclass(frozen=True)
class Wording:
    """One text about one fact.

    Attributes:
        fact_id: The fact.
        part: The kind of text, a key of `checks.PARTS`.
        number: Number within the part, from 0.
        text: The text with the subject filled in; a dialogue has one line per turn.
        source: ``data``, ``templates``, ``writer``, or the source given in a reviewed table.
        accepted: Whether it passed the checks.
        reason: Why it failed; empty if it passed.
    """

    fact_id: str
    part: str
    number: int
    text: str
    source: str
    accepted: bool = True
    reason: str = ""


COLUMNS = tuple(field.name for field in fields(Wording))
REQUIRED_COLUMNS = ("fact_id", "part", "text")


def subject_type(fact: Fact, templates: Templates) -> SubjectType:
    """Return the type of a fact's subject; `ANY_SUBJECT` if its relation has no templates."""
    relation = templates.relations.get(fact.relation)
    return templates.subjects.get(relation.subject, ANY_SUBJECT) if relation else ANY_SUBJECT


def claim(fact: Fact, relation: Relation | None) -> str:
    """Return the opening of a full sentence that the object completes.

    It is the statement of the relation. Without a relation it is the fact's own statement, or a sentence about it if
    that is a question.
    """
    if relation is not None:
        return fill_slot(relation.statement, fact.subject)
    return f"The {_answer(fact)}" if is_question(fact.prompt) else fact.statement


def claim_join(fact: Fact) -> str | None:
    """Return the join of `claim` or `denial` and an object: the fact's own join, unless its prompt is a question."""
    return None if is_question(fact.prompt) else fact.join


def denial(fact: Fact, relation: Relation | None) -> str:
    """Return the opening of a sentence that denies the claim."""
    template = relation.statement if relation is not None else fact.prompt
    clause = f"the {_answer(fact)}" if is_question(template) else fill_slot(inside(template), fact.subject)
    return f"It is not the case that {clause}"


def _answer(fact: Fact) -> str:
    return f"answer to the question {quote(fact.statement)} is"


def template_wordings(fact: Fact, templates: Templates, parts: Iterable[str] = PARTS) -> list[Wording]:
    """Return the checked wordings of a fact from its data set and the templates."""
    relation = templates.relations.get(fact.relation)
    type_of_subject = subject_type(fact, templates)
    makers = {
        "paraphrase": lambda: [fill_slot(text, fact.subject) for text in (relation.paraphrases if relation else ())],
        "question": lambda: [_question(fact, relation)],
        "cloze": lambda: [_cloze(fact, relation)],
        "profile": lambda: _profile(fact, relation, type_of_subject),
        "dialogue": lambda: _dialogue(fact, type_of_subject),
        "reversed_question": lambda: _reversed_question(fact, relation),
    }
    given_wordings = data_wordings(fact) if "paraphrase" in parts else []
    template_texts = [
        Wording(fact.id, part, number, text, TEMPLATES)
        for part in PARTS
        if part in parts
        for number, text in enumerate(makers[part](), len(given_wordings) if part == "paraphrase" else 0)
    ]
    return check_wordings(given_wordings + template_texts, fact)


def data_wordings(fact: Fact) -> list[Wording]:
    """Return the paraphrases of the data set, unchanged."""
    return [Wording(fact.id, "paraphrase", number, text, DATA) for number, text in enumerate(fact.paraphrases)]


def check_wordings(wordings: Iterable[Wording], fact: Fact) -> list[Wording]:
    """Check the wordings of one fact; a paraphrase that repeats another text is refused too."""
    earlier_texts = {plain(fact.statement)}
    verdicts = []
    for wording in wordings:
        reason = problem(wording.part, wording.text, fact, as_given=wording.source == DATA)
        if not reason and wording.part == "paraphrase" and plain(wording.text) in earlier_texts:
            reason = "repeats: the same text comes before"
        earlier_texts.add(plain(wording.text))
        verdicts.append(replace(wording, accepted=not reason, reason=reason))
    return verdicts


def complete_wordings(
    facts: Sequence[Fact], candidates: Mapping[str, Sequence[Wording]], templates: Templates
) -> list[Wording]:
    """Check wordings of all facts, and add template wordings for the parts of which no text passed.

    Args:
        facts: The facts of a run.
        candidates: Unchecked wordings of a writer or a reviewed table, by fact.
        templates: The templates to use as a substitute.
    """
    wordings: list[Wording] = []
    n_substitutes: Counter[str] = Counter()
    for fact in facts:
        fact_wordings = check_wordings(candidates.get(fact.id, ()), fact)
        missing_parts = [
            part for part in PARTS if not any(word.accepted and word.part == part for word in fact_wordings)
        ]
        substitutes = template_wordings(fact, templates, missing_parts)
        n_substitutes.update({word.part for word in substitutes if candidates and word.accepted})
        wordings += fact_wordings + substitutes
    for part, number in n_substitutes.items():
        logger.warning("%d of %d facts use a %s from the templates, because no other passed", number, len(facts), part)
    _log_refusals(wordings)
    return wordings


def _log_refusals(wordings: Iterable[Wording]) -> None:
    refusals = Counter((word.part, word.reason.split(":")[0]) for word in wordings if not word.accepted)
    for (part, reason), number in sorted(refusals.items()):
        logger.info("Refused %d wordings: %s %s", number, part, reason)


def wordings_to_table(wordings: Iterable[Wording]) -> pd.DataFrame:
    """Return a table with one row per wording, for reading and editing."""
    return pd.DataFrame([asdict(wording) for wording in wordings], columns=list(COLUMNS))


def wordings_from_table(table: pd.DataFrame) -> list[Wording]:
    """Read the wordings of a table that was made by `wordings_to_table` or by hand.

    The columns `fact_id`, `part` and `text` are required. Rows whose `accepted` is false are left out.

    Raises:
        ValueError: If a column is missing, or a row has an unknown part.
    """
    absent_columns = [column for column in REQUIRED_COLUMNS if column not in table.columns]
    if absent_columns:
        column_names = ", ".join(map(str, table.columns))
        raise ValueError(
            f"the table of wordings has no column {', '.join(absent_columns)}; its columns are {column_names}"
        )
    part_counts: Counter[tuple[str, str]] = Counter()
    wordings = []
    for line, row in enumerate(table.fillna("").to_dict(orient="records"), 2):
        fact_id, part = str(row["fact_id"]), str(row["part"]).strip()
        if part not in PARTS:
            raise ValueError(f"line {line} of the table of wordings: unknown part {part!r}; parts: {', '.join(PARTS)}")
        if str(row.get("accepted", True)).strip().casefold() in ("false", "no", "0"):
            continue
        source = str(row.get("source", "")) or "table"
        wordings.append(Wording(fact_id, part, part_counts[fact_id, part], str(row["text"]).strip(), source))
        part_counts[fact_id, part] += 1
    return wordings


def accepted_texts(wordings: Iterable[Wording]) -> dict[str, tuple[str, ...]]:
    """Return the accepted texts of one fact by part."""
    texts: dict[str, list[str]] = {part: [] for part in PARTS}
    for wording in wordings:
        if wording.accepted:
            texts[wording.part].append(wording.text)
    return {part: tuple(part_texts) for part, part_texts in texts.items()}


def _cloze(fact: Fact, relation: Relation | None) -> str:
    if relation is not None:
        return fill_slot(relation.cloze, fact.subject)
    return sentence(claim(fact, None), BLANK, claim_join(fact))


def _question(fact: Fact, relation: Relation | None) -> str:
    if relation is not None:
        return fill_slot(relation.question, fact.subject)
    return fact.statement if is_question(fact.prompt) else f"How does this sentence end: {quote(fact.statement)}?"


def _reversed_question(fact: Fact, relation: Relation | None) -> list[str]:
    return [fill_slot(relation.reversed_question, fact.target_new)] if relation and relation.reversed_question else []


def _harmless_sentences(fact: Fact, templates: Iterable[str]) -> list[str]:
    """Return the filled templates that name no object; a template may contain several sentences."""
    objects = (*true_names(fact), *new_names(fact))
    sentences = (fill_slot(template, fact.subject) for template in templates)
    return [text for text in sentences if first_named(text, objects, besides=[fact.subject]) is None]


def _profile(fact: Fact, relation: Relation | None, type_of_subject: SubjectType) -> list[str]:
    sentences = _harmless_sentences(fact, [*([relation.context] if relation else []), *type_of_subject.profile])
    return [" ".join(sentences)] if len(sentences) >= _FEWEST_SENTENCES else []


def other_profile(fact: Fact, templates: Templates, avoided_type: SubjectType) -> str:
    """Return a profile of a fact's subject whose sentences differ from those of a subject of type `avoided_type`."""
    types = (subject_type(fact, templates), templates.subjects.get("thing", ANY_SUBJECT), ANY_SUBJECT)
    type_of_subject = next((candidate for candidate in types if candidate.name != avoided_type.name), ANY_SUBJECT)
    return " ".join(_profile(fact, None, type_of_subject))


def _dialogue(fact: Fact, type_of_subject: SubjectType) -> list[str]:
    sentences = _harmless_sentences(fact, type_of_subject.profile)
    if len(sentences) < _FEWEST_SENTENCES:
        return []
    drawn_sentences = Random(f"{fact.id}/dialogue").sample(sentences, _FEWEST_SENTENCES)
    turns = zip(_DIALOGUE, drawn_sentences, strict=True)
    return ["\n".join(f"{fill_slot(start, fact.subject)} {text} {ending}".strip() for (start, ending), text in turns)]
