"""Wordings: the ingredients, each a text about one fact, that the kinds of prompt are built from.

Whoever makes them (the templates of the relations, a language model, a person), they become the same table, go
through the same checks, and a text that fails keeps the reason beside it; so the exact prompts of an experiment can
be read, mended and shared.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from random import Random

import pandas as pd

from edit_robustness.prompts.checks import PARTS, problem
from edit_robustness.prompts.grammar import inside, is_question, put, quoted, sentence
from edit_robustness.prompts.names import first_named, new_names, plain, true_names
from edit_robustness.prompts.relations import BLANK, Templates
from edit_robustness.records import Fact, Relation, SubjectType

logger = logging.getLogger(__name__)

DATA, TEMPLATES, WRITER = "data", "templates", "writer"
"""Where a wording comes from: the data set of its fact, templates, or a writer."""

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
"""Of facts whose relation has no templates: sentences that hold for a person, a place or a thing."""

_DIALOGUE = (
    ("User: The name {} came up today.", ""),
    ("Assistant: Yes, there is a lot to read on that.", ""),
    ("User: There is something else to mention.", ""),
    ("Assistant: There is more to tell, of course.", "What would you like to know?"),
)
"""What each turn says before and after a sentence of the profile."""

_FEWEST_SENTENCES = len(_DIALOGUE)


@dataclass(frozen=True)
class Wording:
    """One text about one fact.

    Attributes:
        fact_id: The fact.
        part: What the text is: a key of `checks.PARTS`.
        number: Which of its part, from 0.
        text: The text, subject and all; of a dialogue, a line a turn.
        source: ``data``, ``templates``, ``writer``, or whatever a reviewed table says.
        accepted: Whether it passed the checks.
        reason: Why it did not; empty where it did.
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
    """The type of a fact's subject; `ANY_SUBJECT` where its relation has no templates."""
    relation = templates.relations.get(fact.relation)
    return templates.subjects.get(relation.subject, ANY_SUBJECT) if relation else ANY_SUBJECT


def claim(fact: Fact, relation: Relation | None) -> str:
    """The opening of a whole sentence that the object completes.

    It is the relation's statement; without one the fact's own, or a sentence about it where that is a question.
    """
    if relation is not None:
        return put(relation.statement, fact.subject)
    return f"The {_answer(fact)}" if is_question(fact.prompt) else fact.statement


def claim_join(fact: Fact) -> str | None:
    """Return what stands between `claim` or `denial` and an object: the fact's own join, unless its prompt asks."""
    return None if is_question(fact.prompt) else fact.join


def denial(fact: Fact, relation: Relation | None) -> str:
    """The opening of a sentence that denies what `claim` opens."""
    template = relation.statement if relation is not None else fact.prompt
    denied = f"the {_answer(fact)}" if is_question(template) else put(inside(template), fact.subject)
    return f"It is not the case that {denied}"


def _answer(fact: Fact) -> str:
    return f"answer to the question {quoted(fact.statement)} is"


def template_wordings(fact: Fact, templates: Templates, parts: Iterable[str] = PARTS) -> list[Wording]:
    """The wordings of a fact that its data set and the templates give, checked."""
    relation = templates.relations.get(fact.relation)
    of_type = subject_type(fact, templates)
    made = {
        "paraphrase": lambda: [put(text, fact.subject) for text in (relation.paraphrases if relation else ())],
        "question": lambda: [_question(fact, relation)],
        "cloze": lambda: [_cloze(fact, relation)],
        "profile": lambda: _profile(fact, relation, of_type),
        "dialogue": lambda: _dialogue(fact, of_type),
        "reversed_question": lambda: _reversed_question(fact, relation),
    }
    own = brought(fact) if "paraphrase" in parts else []
    raw = [
        Wording(fact.id, part, number, text, TEMPLATES)
        for part in PARTS
        if part in parts
        for number, text in enumerate(made[part](), len(own) if part == "paraphrase" else 0)
    ]
    return checked(own + raw, fact)


def brought(fact: Fact) -> list[Wording]:
    """The paraphrases that the data set brings, as they are."""
    return [Wording(fact.id, "paraphrase", number, text, DATA) for number, text in enumerate(fact.paraphrases)]


def checked(wordings: Iterable[Wording], fact: Fact) -> list[Wording]:
    """The wordings of one fact with the verdict of the checks; a text that repeats another is refused too."""
    seen = {plain(fact.statement)}
    judged = []
    for wording in wordings:
        reason = problem(wording.part, wording.text, fact, as_given=wording.source == DATA)
        if not reason and wording.part == "paraphrase" and plain(wording.text) in seen:
            reason = "repeats: it stands there before"
        seen.add(plain(wording.text))
        judged.append(replace(wording, accepted=not reason, reason=reason))
    return judged


def settled(facts: Sequence[Fact], made: Mapping[str, Sequence[Wording]], templates: Templates) -> list[Wording]:
    """The wordings of all parts of all facts: those that were made, and templates where no text of a part passed.

    Args:
        facts: The facts of a run.
        made: What a writer or a reviewed table has, by fact; it is checked here.
        templates: What stands in.
    """
    whole: list[Wording] = []
    stood_in: Counter[str] = Counter()
    for fact in facts:
        own = checked(made.get(fact.id, ()), fact)
        lacking = [part for part in PARTS if not any(word.accepted and word.part == part for word in own)]
        instead = template_wordings(fact, templates, lacking)
        stood_in.update({word.part for word in instead if made and word.accepted})
        whole += own + instead
    for part, number in stood_in.items():
        logger.warning("%d of %d facts have a %s from the templates, for no other passed", number, len(facts), part)
    _say_what_was_refused(whole)
    return whole


def _say_what_was_refused(wordings: Iterable[Wording]) -> None:
    refused = Counter((word.part, word.reason.split(":")[0]) for word in wordings if not word.accepted)
    for (part, reason), number in sorted(refused.items()):
        logger.info("%d wordings refused: %s %s", number, part, reason)


def wordings_to_table(wordings: Iterable[Wording]) -> pd.DataFrame:
    """One row a wording, to be read and edited."""
    return pd.DataFrame([asdict(wording) for wording in wordings], columns=list(COLUMNS))


def wordings_from_table(table: pd.DataFrame) -> list[Wording]:
    """The wordings of a table, as made by `wordings_to_table` or by hand.

    Columns `fact_id`, `part` and `text` are needed. Rows whose `accepted` says no are left out.

    Raises:
        ValueError: Naming the column that is missing, or the first row whose part does not exist.
    """
    missing = [column for column in REQUIRED_COLUMNS if column not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns))
        raise ValueError(f"the table of wordings lacks the column {', '.join(missing)}; it has {there}")
    counted: Counter[tuple[str, str]] = Counter()
    wordings = []
    for line, row in enumerate(table.fillna("").to_dict(orient="records"), 2):
        fact_id, part = str(row["fact_id"]), str(row["part"]).strip()
        if part not in PARTS:
            raise ValueError(f"line {line} of the table of wordings: no part {part!r}; there are {', '.join(PARTS)}")
        if str(row.get("accepted", True)).strip().casefold() in ("false", "no", "0"):
            continue
        source = str(row.get("source", "")) or "table"
        wordings.append(Wording(fact_id, part, counted[fact_id, part], str(row["text"]).strip(), source))
        counted[fact_id, part] += 1
    return wordings


def accepted_texts(wordings: Iterable[Wording]) -> dict[str, tuple[str, ...]]:
    """The accepted texts of one fact by part."""
    texts: dict[str, list[str]] = {part: [] for part in PARTS}
    for wording in wordings:
        if wording.accepted:
            texts[wording.part].append(wording.text)
    return {part: tuple(own) for part, own in texts.items()}


def _cloze(fact: Fact, relation: Relation | None) -> str:
    if relation is not None:
        return put(relation.cloze, fact.subject)
    return sentence(claim(fact, None), BLANK, claim_join(fact))


def _question(fact: Fact, relation: Relation | None) -> str:
    if relation is not None:
        return put(relation.question, fact.subject)
    return fact.statement if is_question(fact.prompt) else f"How does this sentence end: {quoted(fact.statement)}?"


def _reversed_question(fact: Fact, relation: Relation | None) -> list[str]:
    return [put(relation.reversed_question, fact.target_new)] if relation and relation.reversed_question else []


def _harmless(fact: Fact, templates: Iterable[str]) -> list[str]:
    """The sentences about the subject that name no object; a template may hold several."""
    objects = (*true_names(fact), *new_names(fact))
    filled = (put(template, fact.subject) for template in templates)
    return [text for text in filled if first_named(text, objects, besides=[fact.subject]) is None]


def _profile(fact: Fact, relation: Relation | None, of_type: SubjectType) -> list[str]:
    sentences = _harmless(fact, [*([relation.context] if relation else []), *of_type.profile])
    return [" ".join(sentences)] if len(sentences) >= _FEWEST_SENTENCES else []


def other_profile(fact: Fact, templates: Templates, told: SubjectType) -> str:
    """A profile of a fact's subject in sentences that none about a subject of type `told` has."""
    types = (subject_type(fact, templates), templates.subjects.get("thing", ANY_SUBJECT), ANY_SUBJECT)
    of_type = next((one for one in types if one.name != told.name), ANY_SUBJECT)
    return " ".join(_profile(fact, None, of_type))


def _dialogue(fact: Fact, of_type: SubjectType) -> list[str]:
    sentences = _harmless(fact, of_type.profile)
    if len(sentences) < _FEWEST_SENTENCES:
        return []
    chosen = Random(f"{fact.id}/dialogue").sample(sentences, _FEWEST_SENTENCES)
    turns = zip(_DIALOGUE, chosen, strict=True)
    return ["\n".join(f"{put(before, fact.subject)} {text} {after}".strip() for (before, after), text in turns)]
