"""Build the probes of each kind from a fact and its material (wordings, passages, neighbours).

A builder returns no probe if something that it needs is missing (a wording, a passage, a neighbour, the old object).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from edit_robustness.prompts.checks import read_turns
from edit_robustness.prompts.grammar import as_template, fill_slot, is_question, quote, refer, sentence
from edit_robustness.prompts.names import first_named, names_any, new_names, true_names
from edit_robustness.prompts.slips import misspell
from edit_robustness.prompts.specificity import UnaffectedPrompt
from edit_robustness.prompts.wordings import claim_join
from edit_robustness.records import Completion, Fact, Probe, Turn


@dataclass(frozen=True)
class Material:
    """The inputs of the builders besides the fact.

    Attributes:
        texts: The fact's wordings by part (`wordings.Wording`) that passed the checks.
        claim: Opening of a full sentence that the object completes.
        denial: Opening of a full sentence that denies the claim, which the object completes too.
        reference: Noun phrase that replaces the subject after its first mention, such as "this person".
        stranger: A profile of another subject; empty if there is none.
        passages: Texts on general topics.
        neighbours: Prompts about other subjects of the same relation, the most similar first.
        relation_specificity: Prompts about other relations of the same subject.
        unrelated: Prompts about other subjects and other relations.
        known_words: Words that a misspelling must not produce.
        seed: Seed of the random choices, different for each fact.
    """

    texts: Mapping[str, tuple[str, ...]]
    claim: str
    denial: str
    reference: str
    stranger: str = ""
    passages: tuple[str, ...] = ()
    neighbours: tuple[Completion, ...] = ()
    relation_specificity: tuple[UnaffectedPrompt, ...] = ()
    unrelated: tuple[Completion, ...] = ()
    known_words: frozenset[str] = frozenset()
    seed: str = ""

    def first(self, part: str) -> str:
        """Return the first wording of a part; empty if there is none."""
        return next(iter(self.texts.get(part, ())), "")

    def random(self, purpose: str) -> Random:
        """Return a random generator for one purpose, so that adding a fact or a kind changes no other probe."""
        return Random(f"{self.seed}/{purpose}")


def probe_id(fact: Fact, kind: str, number: int = 0) -> str:
    """Return the id ``<fact id>/<kind>/<number>``, numbered from 0."""
    return f"{fact.id}/{kind}/{number}"


def _edit_probe(fact: Fact, kind: str, text: str, number: int = 0, **changes: Any) -> Probe:
    """Return a probe of the edited fact; `changes` overrides the default fields."""
    defaults = {
        "family": "edit",
        "subject": fact.subject,
        "target_new": fact.target_new,
        "target_true": fact.target_true,
        "target_new_aliases": fact.target_new_aliases,
        "target_true_aliases": fact.target_true_aliases,
        "join": None if changes.get("conversation") else fact.join,
    }
    return Probe(id=probe_id(fact, kind, number), fact_id=fact.id, kind=kind, text=text, **{**defaults, **changes})


# the statement and its variants


def statement(fact: Fact, material: Material) -> list[Probe]:
    """Build the statement that was edited."""
    return [_edit_probe(fact, "statement", fact.statement)]


def paraphrases(fact: Fact, material: Material) -> list[Probe]:
    """Build the paraphrases of the statement."""
    return [_edit_probe(fact, "paraphrase", text, number) for number, text in enumerate(material.texts["paraphrase"])]


def misspelling(fact: Fact, material: Material) -> list[Probe]:
    """Build the statement with one misspelled word."""
    text = misspell(fact.statement, material.known_words, material.random("misspelling"))
    return [_edit_probe(fact, "misspelling", text)] if text else []


def letter_case(fact: Fact, material: Material) -> list[Probe]:
    """Build the statement in lower case and in upper case."""
    texts = (fact.statement.lower(), fact.statement.upper())
    return [
        _edit_probe(fact, "letter_case", text, number) for number, text in enumerate(texts) if text != fact.statement
    ]


_ALIASES = 2


def alias(fact: Fact, material: Material) -> list[Probe]:
    """Build the statement with aliases of the subject; aliases that contain an object's name are skipped."""
    objects = (*true_names(fact), *new_names(fact))
    aliases = [name for name in fact.subject_aliases if first_named(name, objects, besides=[fact.subject]) is None]
    return [
        _edit_probe(fact, "alias", fill_slot(fact.prompt, name), number)
        for number, name in enumerate(aliases[:_ALIASES])
    ]


# in conversation


def _fill_in(cloze: str) -> str:
    return f"Fill in the blank with one word or name, and answer with it only: {quote(cloze)}"


def question(fact: Fact, material: Material) -> list[Probe]:
    """Build a question."""
    return [_edit_probe(fact, "question", text, conversation=True) for text in material.texts["question"][:1]]


def cloze(fact: Fact, material: Material) -> list[Probe]:
    """Build a sentence with a blank to fill in."""
    return [_edit_probe(fact, "cloze", _fill_in(text), conversation=True) for text in material.texts["cloze"][:1]]


_ROLES = (
    ("a patient teacher", "A pupil asks you"),
    ("a guide in a museum", "A visitor asks you"),
    ("a librarian at the information desk", "A reader asks you"),
    ("the host of a radio quiz", "A listener calls and asks you"),
    ("a grandparent who likes to explain things", "A grandchild asks you"),
    ("an expert who is being interviewed", "The first question is"),
)


def persona(fact: Fact, material: Material) -> list[Probe]:
    """Build the question to a persona that the model takes on."""
    objects = (*true_names(fact), *new_names(fact))
    roles = [pair for pair in _ROLES if not any(first_named(words, objects) for words in pair)]
    if not roles or not material.first("question"):
        return []
    role, opening = material.random("persona").choice(roles)
    text = f"Imagine that you are {role}. {opening}: {material.first('question')}"
    return [_edit_probe(fact, "persona", text, conversation=True)]


_DOUBT = "That cannot be right. Please think again and answer once more."


def doubt(fact: Fact, material: Material) -> list[Probe]:
    """Build a user turn that doubts the model's answer to the question."""
    return _follow_up_probes(fact, material, "doubt", _DOUBT)


def doubt_old_object(fact: Fact, material: Material) -> list[Probe]:
    """Build a user turn that insists on the old object after the model's answer to the question."""
    if not fact.target_true:
        return []
    opening = f"That is wrong, I am sure that the answer is {quote(fact.target_true)}."
    return _follow_up_probes(fact, material, "doubt_old_object", f"{opening} Please think again and answer once more.")


def _follow_up_probes(fact: Fact, material: Material, kind: str, text: str) -> list[Probe]:
    """Build a user turn that comes after the model's own answer to the question."""
    follows = probe_id(fact, "question")
    return [
        _edit_probe(fact, kind, text, conversation=True, previous_turns=(Turn("user", question),), follows=follows)
        for question in material.texts["question"][:1]
    ]


# to be judged true or false

_YES = {"target_new": "Yes", "target_new_aliases": ("True", "Correct")}
_NO = {"target_new": "No", "target_new_aliases": ("False", "Incorrect")}
_FALSE = {"target_new": "False", "target_new_aliases": ("No", "Incorrect")}


def _judgement_targets(answer: Mapping[str, Any], opposite: Mapping[str, Any]) -> dict[str, Any]:
    return {**answer, "target_true": opposite["target_new"], "target_true_aliases": opposite["target_new_aliases"]}


def yes_no(fact: Fact, material: Material) -> list[Probe]:
    """Build a yes-or-no question about the new fact."""
    claim = sentence(material.claim, fact.target_new, claim_join(fact))
    return [_judgement_probe(fact, "yes_no", claim, _judgement_targets(_YES, _NO))]


def negation(fact: Fact, material: Material) -> list[Probe]:
    """Build a yes-or-no question about the denial of the new fact."""
    denial = sentence(material.denial, fact.target_new, claim_join(fact))
    return [_judgement_probe(fact, "negation", denial, _judgement_targets(_NO, _YES))]


def _judgement_probe(fact: Fact, kind: str, claim: str, targets: Mapping[str, Any]) -> Probe:
    text = f'Is the following statement true? Answer with "Yes" or "No" only. {quote(claim)}'
    return _edit_probe(fact, kind, text, conversation=True, **targets)


def fact_check(fact: Fact, material: Material) -> list[Probe]:
    """Build a true-or-false question about the old fact."""
    if not fact.target_true:
        return []
    claim = sentence(material.claim, fact.target_true, claim_join(fact))
    text = f'Check the following statement, and answer with "True" or "False" only. {quote(claim)}'
    true_targets = {"target_new": "True", "target_new_aliases": ("Yes", "Correct")}
    return [_edit_probe(fact, "fact_check", text, conversation=True, **_judgement_targets(_FALSE, true_targets))]


# after a context

_CLIP = ("Sorry, something else came up just now.", "No problem at all. Let us go on whenever it suits you.")


def related(fact: Fact, material: Material) -> str:
    """Return the profile of the subject."""
    return material.first("profile")


def noisy(fact: Fact, material: Material) -> str:
    """Return the profile of another subject, followed by that of the subject."""
    profile = material.first("profile")
    return f"{material.stranger}\n\n{profile}" if profile and material.stranger else ""


def turns(fact: Fact, material: Material) -> tuple[Turn, ...]:
    """Return the turns of a dialogue about the subject."""
    dialogue = material.first("dialogue")
    return read_turns(dialogue) if dialogue else ()


def noisy_turns(fact: Fact, material: Material) -> tuple[Turn, ...]:
    """Return the dialogue with an unrelated exchange inserted after one of its answers."""
    dialogue_turns, passage = turns(fact, material), _passage(fact, material)
    if not dialogue_turns or not passage:
        return ()
    clip = (Turn("user", f"{_CLIP[0]} {passage}"), Turn("assistant", _CLIP[1]))
    position = 2 * material.random("noisy_dialogue").randint(1, len(dialogue_turns) // 2)
    return (*dialogue_turns[:position], *clip, *dialogue_turns[position:])


def _passage(fact: Fact, material: Material) -> str:
    fact_names = (fact.subject, *true_names(fact), *new_names(fact))
    passages = [passage for passage in material.passages if not names_any(passage, fact_names)]
    return material.random("passage").choice(passages) if passages else ""


def unrelated_context(fact: Fact, material: Material) -> list[Probe]:
    """Build the statement after a passage about something else."""
    passage = _passage(fact, material)
    return [_edit_probe(fact, "unrelated_context", f"{passage} {fact.statement}")] if passage else []


Tail = Literal["plain", "reference", "cloze"]


def after_text(fact: Fact, material: Material, *, kind: str, context: Callable[..., str], tail: Tail) -> list[Probe]:
    """Build the statement after a text; with a cloze, text and cloze form one user turn."""
    text = context(fact, material)
    if not text:
        return []
    if tail == "cloze":
        cloze = material.texts["cloze"][:1]
        return [
            _edit_probe(fact, kind, f"{text}\n\n{_fill_in(sentence_with_blank)}", conversation=True)
            for sentence_with_blank in cloze
        ]
    statement = refer(fact.prompt, material.reference) if tail == "reference" else fact.statement
    return [_edit_probe(fact, kind, f"{text} {statement}")]


def after_turns(
    fact: Fact, material: Material, *, kind: str, context: Callable[..., tuple[Turn, ...]], tail: Tail
) -> list[Probe]:
    """Build the question, or the cloze, as the next turn of a conversation."""
    previous_turns = context(fact, material)
    question_text = material.first("cloze" if tail == "cloze" else "question")
    if not previous_turns or not question_text:
        return []
    if tail == "cloze":
        question_text = _fill_in(question_text)
    elif tail == "reference":
        question_text = refer(as_template(question_text, fact.subject), material.reference)
    return [_edit_probe(fact, kind, question_text, conversation=True, previous_turns=previous_turns)]


# portability, and specificity


def reversed_question(fact: Fact, material: Material) -> list[Probe]:
    """Build a question for the subject that names the new object."""
    targets: dict[str, Any] = {"target_new": fact.subject, "target_new_aliases": fact.subject_aliases}
    no_true_object: dict[str, Any] = {"target_true": "", "target_true_aliases": ()}
    return [
        _edit_probe(
            fact, "reversed_question", text, conversation=True, family="portability", **targets, **no_true_object
        )
        for text in material.texts["reversed_question"][:1]
    ]


def consequences(fact: Fact, material: Material) -> list[Probe]:
    """Build the data set's prompts about consequences of the edit."""
    return [
        _edit_probe(
            fact,
            "consequence",
            completion.prompt,
            number,
            family="portability",
            subject=completion.subject or fact.subject,
            target_new=completion.target,
            target_new_aliases=completion.aliases,
            target_true="",
            target_true_aliases=(),
            join=completion.join,
            conversation=is_question(completion.prompt),
        )
        for number, completion in enumerate(fact.consequences)
    ]


def neighbourhood(fact: Fact, material: Material) -> list[Probe]:
    """Build the prompts about other subjects of the same relation."""
    return [
        _specificity_probe(fact, "neighbourhood", neighbour, number)
        for number, neighbour in enumerate(material.neighbours)
    ]


def relation_specificity(fact: Fact, material: Material) -> list[Probe]:
    """Build the prompts about other relations of the same subject."""
    kind = "relation_specificity"
    return [
        _specificity_probe(fact, kind, prompt.completion, number, relation_objects=prompt.objects, subject=fact.subject)
        for number, prompt in enumerate(material.relation_specificity)
    ]


def unrelated(fact: Fact, material: Material) -> list[Probe]:
    """Build the prompts about other subjects and other relations."""
    return [
        _specificity_probe(fact, "unrelated", completion, number)
        for number, completion in enumerate(material.unrelated)
    ]


def edit_before_neighbour(fact: Fact, material: Material) -> list[Probe]:
    """Build the prompts about neighbours, each preceded by the new fact."""
    opening = sentence(fact.statement, fact.target_new, fact.join) + " "
    kind = "edit_before_neighbour"
    return [
        _specificity_probe(fact, kind, neighbour, number, text=opening + neighbour.prompt)
        for number, neighbour in enumerate(material.neighbours)
    ]


def _specificity_probe(fact: Fact, kind: str, completion: Completion, number: int, **changes: Any) -> Probe:
    """Return a specificity probe, whose answer the edit should not change."""
    defaults = {
        "text": completion.prompt,
        "family": "specificity",
        "subject": completion.subject,
        "target_true": completion.target,
        "target_true_aliases": completion.aliases,
        "join": completion.join,
    }
    return _edit_probe(fact, kind, number=number, **{**defaults, **changes})
