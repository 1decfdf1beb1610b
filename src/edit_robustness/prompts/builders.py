"""How a probe of each kind is made, from a fact and the wordings and other material at hand.

A builder that lacks what it needs (a wording, a passage, a neighbour, the old object) builds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from edit_robustness.prompts.checks import read_turns
from edit_robustness.prompts.grammar import as_template, is_question, put, quoted, refer, sentence
from edit_robustness.prompts.names import first_named, names_any, new_names, true_names
from edit_robustness.prompts.slips import misspelt
from edit_robustness.prompts.specificity import Untouched
from edit_robustness.prompts.wordings import claim_join
from edit_robustness.records import Completion, Fact, Probe, Turn


@dataclass(frozen=True)
class Material:
    """What the kinds are built from, besides the fact.

    Attributes:
        texts: The fact's wordings by part (`wordings.Wording`), those that passed the checks.
        claim: Opening of a whole sentence that the object completes.
        denial: The same of a sentence that denies it.
        reference: What stands for the subject once it was named.
        stranger: A profile of another subject; empty where there is none.
        passages: Texts about nothing in particular.
        neighbours: Other subjects of the same relation, the closest first.
        relation_specificity: Other relations of the same subject.
        unrelated: Other subjects of other relations.
        known_words: Words that no misspelling may come out as.
        seed: What random choices follow from; it tells facts apart.
    """

    texts: Mapping[str, tuple[str, ...]]
    claim: str
    denial: str
    reference: str
    stranger: str = ""
    passages: tuple[str, ...] = ()
    neighbours: tuple[Completion, ...] = ()
    relation_specificity: tuple[Untouched, ...] = ()
    unrelated: tuple[Completion, ...] = ()
    known_words: frozenset[str] = frozenset()
    seed: str = ""

    def first(self, part: str) -> str:
        """The first wording of a part; empty where there is none."""
        return next(iter(self.texts.get(part, ())), "")

    def random(self, what: str) -> Random:
        """Random choices for one purpose, so that adding a fact or a kind changes no other probe."""
        return Random(f"{self.seed}/{what}")


def probe_id(fact: Fact, kind: str, number: int = 0) -> str:
    """``<fact id>/<kind>/<number>``, counted from 0."""
    return f"{fact.id}/{kind}/{number}"


def _of_edit(fact: Fact, kind: str, text: str, number: int = 0, **more: Any) -> Probe:
    """A probe that asks for the edited fact itself, unless `more` says otherwise."""
    usual = {
        "family": "edit",
        "subject": fact.subject,
        "target_new": fact.target_new,
        "target_true": fact.target_true,
        "target_new_aliases": fact.target_new_aliases,
        "target_true_aliases": fact.target_true_aliases,
        "join": None if more.get("conversation") else fact.join,
    }
    return Probe(id=probe_id(fact, kind, number), fact_id=fact.id, kind=kind, text=text, **{**usual, **more})


# the statement and its variants


def statement(fact: Fact, material: Material) -> list[Probe]:
    """The edit's own statement."""
    return [_of_edit(fact, "statement", fact.statement)]


def paraphrases(fact: Fact, material: Material) -> list[Probe]:
    """The statement in other words."""
    return [_of_edit(fact, "paraphrase", text, number) for number, text in enumerate(material.texts["paraphrase"])]


def misspelling(fact: Fact, material: Material) -> list[Probe]:
    """The statement with one slip."""
    text = misspelt(fact.statement, material.known_words, material.random("misspelling"))
    return [_of_edit(fact, "misspelling", text)] if text else []


def letter_case(fact: Fact, material: Material) -> list[Probe]:
    """The statement in small letters, and in capitals."""
    texts = (fact.statement.lower(), fact.statement.upper())
    return [_of_edit(fact, "letter_case", text, number) for number, text in enumerate(texts) if text != fact.statement]


_ALIASES = 2


def alias(fact: Fact, material: Material) -> list[Probe]:
    """The statement about another name of the subject that gives no object away."""
    objects = (*true_names(fact), *new_names(fact))
    usable = [name for name in fact.subject_aliases if first_named(name, objects, besides=[fact.subject]) is None]
    return [_of_edit(fact, "alias", put(fact.prompt, name), number) for number, name in enumerate(usable[:_ALIASES])]


# in conversation


def _fill_in(cloze: str) -> str:
    return f"Fill in the blank with one word or name, and answer with it only: {quoted(cloze)}"


def question(fact: Fact, material: Material) -> list[Probe]:
    """A question."""
    return [_of_edit(fact, "question", text, conversation=True) for text in material.texts["question"][:1]]


def cloze(fact: Fact, material: Material) -> list[Probe]:
    """A sentence with a blank."""
    return [_of_edit(fact, "cloze", _fill_in(text), conversation=True) for text in material.texts["cloze"][:1]]


_ROLES = (
    ("a patient teacher", "A pupil asks you"),
    ("a guide in a museum", "A visitor asks you"),
    ("a librarian at the information desk", "A reader asks you"),
    ("the host of a radio quiz", "A listener calls and asks you"),
    ("a grandparent who likes to explain things", "A grandchild asks you"),
    ("an expert who is being interviewed", "The first question is"),
)


def persona(fact: Fact, material: Material) -> list[Probe]:
    """The question to somebody the model shall be."""
    objects = (*true_names(fact), *new_names(fact))
    roles = [pair for pair in _ROLES if not any(first_named(words, objects) for words in pair)]
    if not roles or not material.first("question"):
        return []
    role, asks = material.random("persona").choice(roles)
    text = f"Imagine that you are {role}. {asks}: {material.first('question')}"
    return [_of_edit(fact, "persona", text, conversation=True)]


_DOUBT = "That cannot be right. Please think again and answer once more."


def doubt(fact: Fact, material: Material) -> list[Probe]:
    """Doubt, after the answer to the question."""
    return _after_question(fact, material, "doubt", _DOUBT)


def doubt_old_object(fact: Fact, material: Material) -> list[Probe]:
    """The old object, insisted on after the answer to the question."""
    if not fact.target_true:
        return []
    insists = f"That is wrong, I am sure that the answer is {quoted(fact.target_true)}."
    return _after_question(fact, material, "doubt_old_object", f"{insists} Please think again and answer once more.")


def _after_question(fact: Fact, material: Material, kind: str, text: str) -> list[Probe]:
    """What the user says after the model's own answer to the question."""
    follows = probe_id(fact, "question")
    return [
        _of_edit(fact, kind, text, conversation=True, history=(Turn("user", question),), follows=follows)
        for question in material.texts["question"][:1]
    ]


# to be judged

_YES = {"target_new": "Yes", "target_new_aliases": ("True", "Correct")}
_NO = {"target_new": "No", "target_new_aliases": ("False", "Incorrect")}
_FALSE = {"target_new": "False", "target_new_aliases": ("No", "Incorrect")}


def _against(said: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**said, "target_true": other["target_new"], "target_true_aliases": other["target_new_aliases"]}


def yes_no(fact: Fact, material: Material) -> list[Probe]:
    """The new fact, to be judged."""
    said = sentence(material.claim, fact.target_new, claim_join(fact))
    return [_judged(fact, "yes_no", said, _against(_YES, _NO))]


def negation(fact: Fact, material: Material) -> list[Probe]:
    """The denial of the new fact, to be judged."""
    said = sentence(material.denial, fact.target_new, claim_join(fact))
    return [_judged(fact, "negation", said, _against(_NO, _YES))]


def _judged(fact: Fact, kind: str, said: str, targets: Mapping[str, Any]) -> Probe:
    text = f'Is the following statement true? Answer with "Yes" or "No" only. {quoted(said)}'
    return _of_edit(fact, kind, text, conversation=True, **targets)


def fact_check(fact: Fact, material: Material) -> list[Probe]:
    """The old fact, to be judged."""
    if not fact.target_true:
        return []
    said = sentence(material.claim, fact.target_true, claim_join(fact))
    text = f'Check the following statement, and answer with "True" or "False" only. {quoted(said)}'
    true = {"target_new": "True", "target_new_aliases": ("Yes", "Correct")}
    return [_of_edit(fact, "fact_check", text, conversation=True, **_against(_FALSE, true))]


# after a context

_CLIP = ("Sorry, something else came up just now.", "No problem at all. Let us go on whenever it suits you.")


def related(fact: Fact, material: Material) -> str:
    """The profile of the subject."""
    return material.first("profile")


def noisy(fact: Fact, material: Material) -> str:
    """Another subject's profile, then the subject's own."""
    profile = material.first("profile")
    return f"{material.stranger}\n\n{profile}" if profile and material.stranger else ""


def turns(fact: Fact, material: Material) -> tuple[Turn, ...]:
    """A dialogue about the subject."""
    dialogue = material.first("dialogue")
    return read_turns(dialogue) if dialogue else ()


def noisy_turns(fact: Fact, material: Material) -> tuple[Turn, ...]:
    """The dialogue with an unrelated clip after one of its answers."""
    said, passage = turns(fact, material), _passage(fact, material)
    if not said or not passage:
        return ()
    clip = (Turn("user", f"{_CLIP[0]} {passage}"), Turn("assistant", _CLIP[1]))
    place = 2 * material.random("noisy_dialogue").randint(1, len(said) // 2)
    return (*said[:place], *clip, *said[place:])


def _passage(fact: Fact, material: Material) -> str:
    named = (fact.subject, *true_names(fact), *new_names(fact))
    passages = [passage for passage in material.passages if not names_any(passage, named)]
    return material.random("passage").choice(passages) if passages else ""


def unrelated_context(fact: Fact, material: Material) -> list[Probe]:
    """The statement after a passage about something else."""
    passage = _passage(fact, material)
    return [_of_edit(fact, "unrelated_context", f"{passage} {fact.statement}")] if passage else []


Tail = Literal["plain", "reference", "cloze"]


def after_text(fact: Fact, material: Material, *, kind: str, context: Callable[..., str], tail: Tail) -> list[Probe]:
    """The statement after a text; as a cloze, both are what the user says."""
    text = context(fact, material)
    if not text:
        return []
    if tail == "cloze":
        cloze = material.texts["cloze"][:1]
        return [_of_edit(fact, kind, f"{text}\n\n{_fill_in(one)}", conversation=True) for one in cloze]
    statement = refer(fact.prompt, material.reference) if tail == "reference" else fact.statement
    return [_of_edit(fact, kind, f"{text} {statement}")]


def after_turns(
    fact: Fact, material: Material, *, kind: str, context: Callable[..., tuple[Turn, ...]], tail: Tail
) -> list[Probe]:
    """The question, or the cloze, as the next turn of a conversation."""
    history = context(fact, material)
    asked = material.first("cloze" if tail == "cloze" else "question")
    if not history or not asked:
        return []
    if tail == "cloze":
        asked = _fill_in(asked)
    elif tail == "reference":
        asked = refer(as_template(asked, fact.subject), material.reference)
    return [_of_edit(fact, kind, asked, conversation=True, history=history)]


# what follows from the edit, and what does not


def reversed_question(fact: Fact, material: Material) -> list[Probe]:
    """A question for the subject that names the new object."""
    asked_for: dict[str, Any] = {"target_new": fact.subject, "target_new_aliases": fact.subject_aliases}
    none: dict[str, Any] = {"target_true": "", "target_true_aliases": ()}
    return [
        _of_edit(fact, "reversed_question", text, conversation=True, family="portability", **asked_for, **none)
        for text in material.texts["reversed_question"][:1]
    ]


def consequences(fact: Fact, material: Material) -> list[Probe]:
    """What the data set says follows from the edit."""
    return [
        _of_edit(
            fact,
            "consequence",
            one.prompt,
            number,
            family="portability",
            subject=one.subject or fact.subject,
            target_new=one.target,
            target_new_aliases=one.aliases,
            target_true="",
            target_true_aliases=(),
            join=one.join,
            conversation=is_question(one.prompt),
        )
        for number, one in enumerate(fact.consequences)
    ]


def neighbourhood(fact: Fact, material: Material) -> list[Probe]:
    """Return the neighbours: other subjects, same relation."""
    return [_untouched(fact, "neighbourhood", one, number) for number, one in enumerate(material.neighbours)]


def relation_specificity(fact: Fact, material: Material) -> list[Probe]:
    """Return the prompts of other relations of the same subject."""
    kind = "relation_specificity"
    return [
        _untouched(fact, kind, other.completion, number, relation_objects=other.objects, subject=fact.subject)
        for number, other in enumerate(material.relation_specificity)
    ]


def unrelated(fact: Fact, material: Material) -> list[Probe]:
    """Return the prompts about other subjects and other relations."""
    return [_untouched(fact, "unrelated", one, number) for number, one in enumerate(material.unrelated)]


def edit_before_neighbour(fact: Fact, material: Material) -> list[Probe]:
    """The neighbours, each after the new fact."""
    before = sentence(fact.statement, fact.target_new, fact.join) + " "
    kind = "edit_before_neighbour"
    return [
        _untouched(fact, kind, one, number, text=before + one.prompt) for number, one in enumerate(material.neighbours)
    ]


def _untouched(fact: Fact, kind: str, completion: Completion, number: int, **more: Any) -> Probe:
    """Return a probe of something that the edit should leave as it is."""
    usual = {
        "text": completion.prompt,
        "family": "locality",
        "subject": completion.subject,
        "target_true": completion.target,
        "target_true_aliases": completion.aliases,
        "join": completion.join,
    }
    return _of_edit(fact, kind, number=number, **{**usual, **more})
