"""The kinds of prompt that probe an edit, each with what it tests and what counts as success.

To add a kind, add one entry to `_IN_ORDER` and, unless another kind is built in the same way, one function to
`builders.py`. The report takes the label from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from edit_robustness.prompts import builders
from edit_robustness.prompts.builders import Material, Tail
from edit_robustness.prompts.names import first_named, new_names, subject_names, true_names
from edit_robustness.records import Fact, Probe
from edit_robustness.text.closest import did_you_mean

Side = Literal["new", "true"]
Build = Callable[[Fact, Material], list[Probe]]


@dataclass(frozen=True)
class Kind:
    """One kind of prompt.

    Attributes:
        name: Name in settings and tables.
        label: Name in figures and in the report.
        family: ``edit``, ``portability`` or ``specificity``.
        description: What it tests, in one line.
        holds: What counts as success, in one line.
        build: Builds the probes of one fact; returns none if its data do not allow the kind.
        parts: The parts of wordings that it is built from.
        follows: The kind whose answer precedes it.
        names: The objects that it names on purpose. A probe that names another object is dropped.
    """

    name: str
    label: str
    family: str
    description: str
    holds: str
    build: Build
    parts: tuple[str, ...] = ()
    follows: str | None = None
    names: tuple[Side, ...] = ()

    def leak(self, probe: Probe, fact: Fact) -> str | None:
        """Return the object that a probe reveals outside the subject's own name; None if there is none."""
        objects = {"new": new_names(fact), "true": true_names(fact)}
        forbidden_names = [name for side, names in objects.items() if side not in self.names for name in names]
        allowed_names = [name for side in self.names for name in objects[side]]
        text = "\n".join([*(turn.text for turn in probe.previous_turns), probe.text])
        return first_named(text, forbidden_names, besides=[*subject_names(fact), *allowed_names])


_NEW = "the first sentence names the new object"
_STILL_NEW = "the first sentence still names the new object"
_YES, _NO = "the first sentence says yes", "the first sentence says no"
_SAME = "same as unedited"


def _with_tails(
    context: str,
    label: str,
    description: str,
    build: Callable[..., list[Probe]],
    part: str,
    request: str,
    question_parts: tuple[str, ...] = (),
) -> list[Kind]:
    """Return the kinds of one context, one per tail: plain, reference to the subject, cloze (arXiv 2402.05827)."""
    reference_request = f"{request}, with a reference for the subject,"
    tails: dict[Tail, tuple[str, tuple[str, ...]]] = {
        "plain": (request, question_parts),
        "reference": (reference_request, question_parts),
        "cloze": ("a sentence with a blank", ("cloze",)),
    }
    names = {tail: context if tail == "plain" else f"{context}_{tail}" for tail in tails}
    return [
        Kind(
            names[tail],
            label if tail == "plain" else f"{label}, {tail}",
            "edit",
            f"{test} after {description}",
            _NEW,
            partial(build, kind=names[tail], tail=tail),
            (part, *parts),
        )
        for tail, (test, parts) in tails.items()
    ]


_statement_kinds = partial(_with_tails, part="profile", request="the statement")
_question_kinds = partial(_with_tails, part="dialogue", request="the question", question_parts=("question",))

_IN_CONTEXT = (
    *_statement_kinds(
        "related_context",
        "Related context",
        "a long text about the subject",
        partial(builders.after_text, context=builders.related),
    ),
    *_statement_kinds(
        "noisy_context",
        "Noisy context",
        "a long text about another subject and one about the subject",
        partial(builders.after_text, context=builders.noisy),
    ),
    *_question_kinds(
        "dialogue", "Dialogue", "four turns about the subject", partial(builders.after_turns, context=builders.turns)
    ),
    *_question_kinds(
        "noisy_dialogue",
        "Noisy dialogue",
        "four turns about the subject, and two about something else among them",
        partial(builders.after_turns, context=builders.noisy_turns),
    ),
)

_IN_ORDER = (
    Kind(
        "statement",
        "Statement",
        "edit",
        "the very words that the edit was made on",
        _NEW,
        builders.statement,
        names=("new", "true"),
    ),
    Kind(
        "paraphrase",
        "Paraphrase",
        "edit",
        "the same statement in other words",
        _NEW,
        builders.paraphrases,
        ("paraphrase",),
    ),
    Kind(
        "question",
        "Question",
        "edit",
        "a question put to the model in conversation",
        _NEW,
        builders.question,
        ("question",),
    ),
    Kind(
        "cloze",
        "Cloze",
        "edit",
        "a sentence with a blank to fill in, in conversation",
        _NEW,
        builders.cloze,
        ("cloze",),
    ),
    *_IN_CONTEXT,
    Kind(
        "unrelated_context",
        "Unrelated context",
        "edit",
        "the statement after a short text about something else",
        _NEW,
        builders.unrelated_context,
    ),
    Kind(
        "doubt",
        "Doubt",
        "edit",
        "the user doubts the model's own first answer",
        _STILL_NEW,
        builders.doubt,
        ("question",),
        "question",
    ),
    Kind(
        "doubt_old_object",
        "Doubt, old object",
        "edit",
        "the user insists on the old object",
        _STILL_NEW,
        builders.doubt_old_object,
        ("question",),
        "question",
        ("true",),
    ),
    Kind(
        "persona",
        "Persona",
        "edit",
        "the question to somebody the model is asked to be",
        _NEW,
        builders.persona,
        ("question",),
    ),
    Kind(
        "misspelling",
        "Misspelling",
        "edit",
        "the statement with two letters swapped in one word",
        _NEW,
        builders.misspelling,
    ),
    Kind(
        "letter_case",
        "Letter case",
        "edit",
        "the statement in small letters, and in capitals",
        _NEW,
        builders.letter_case,
    ),
    Kind(
        "alias", "Alias of the subject", "edit", "the statement about another name of the subject", _NEW, builders.alias
    ),
    Kind("yes_no", "Yes or no", "edit", "whether the new fact is true", _YES, builders.yes_no, names=("new",)),
    Kind(
        "fact_check",
        "Fact check, old object",
        "edit",
        "whether the old fact is true",
        "the first sentence says false",
        builders.fact_check,
        names=("true",),
    ),
    Kind(
        "negation",
        "Negation",
        "edit",
        "whether the denial of the new fact is true",
        _NO,
        builders.negation,
        names=("new",),
    ),
    Kind(
        "reversed_question",
        "Reversed question",
        "portability",
        "a question for the subject that names the new object",
        "the first sentence names the subject",
        builders.reversed_question,
        ("reversed_question",),
        names=("new",),
    ),
    Kind(
        "consequence",
        "Consequence",
        "portability",
        "what the data set says follows from the edit",
        "the first sentence names what follows",
        builders.consequences,
        names=("new", "true"),
    ),
    Kind(
        "neighbourhood",
        "Neighbourhood",
        "specificity",
        "other subjects of the same relation, the closest first",
        _SAME,
        builders.neighbourhood,
        names=("new", "true"),
    ),
    Kind(
        "relation_specificity",
        "Relation specificity",
        "specificity",
        "other relations of the same subject",
        _SAME,
        builders.relation_specificity,
    ),
    Kind("unrelated", "Unrelated", "specificity", "other subjects of other relations", _SAME, builders.unrelated),
    Kind(
        "edit_before_neighbour",
        "Neighbourhood after the new fact",
        "specificity",
        "other subjects of the same relation, after the new fact in words",
        _SAME,
        builders.edit_before_neighbour,
        names=("new", "true"),
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _IN_ORDER}
"""All kinds by name, in the order of building and reporting."""

SPECIFICITY = ("neighbourhood", "relation_specificity", "unrelated")
"""The kinds that measure specificity, each in another respect. They are never averaged."""

GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(KINDS),
    "paper1": (
        "statement",
        "paraphrase",
        "question",
        "cloze",
        *(kind.name for kind in _IN_CONTEXT),
        "doubt",
        "doubt_old_object",
    ),
}
"""Names for groups of kinds. `paper1` has the kinds of arXiv 2402.05827, and the question that its doubts follow."""


def select_kinds(names: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds for some names of kinds and groups, in the order of `KINDS`.

    Raises:
        ValueError: If a name does not exist, or a kind follows one that is not selected.
    """
    selection = {kind for name in names for kind in GROUPS.get(name, (name,))}
    for name in selection:
        if name not in KINDS:
            raise ValueError(f"unknown kind of prompt `{name}`; {did_you_mean(name, [*KINDS, *GROUPS])}")
        if (first_kind := KINDS[name].follows) is not None and first_kind not in selection:
            raise ValueError(f"{name} comes after the model's answer to {first_kind}: add {first_kind} to the kinds")
    return tuple(name for name in KINDS if name in selection)
