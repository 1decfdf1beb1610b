"""From facts and wordings to probes: every chosen kind of prompt for every fact."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from edit_robustness.prompts.builders import Material
from edit_robustness.prompts.grammar import words
from edit_robustness.prompts.kinds import KINDS, Kind, chosen_kinds
from edit_robustness.prompts.names import (
    first_named,
    new_names,
    plain,
    shared_name,
    subject_names,
    true_names,
)
from edit_robustness.prompts.neighbours import Neighbourhood, neighbourhoods
from edit_robustness.prompts.relations import Templates
from edit_robustness.prompts.specificity import Specificity
from edit_robustness.prompts.wordings import (
    Wording,
    accepted_texts,
    claim,
    denial,
    other_profile,
    subject_type,
    template_wordings,
)
from edit_robustness.records import Completion, Fact, Probe

logger = logging.getLogger(__name__)

_STRANGERS_TRIED = 40


def build_probes(
    facts: Sequence[Fact],
    templates: Templates,
    pool: Sequence[Fact],
    *,
    kinds: Sequence[str],
    neighbours: int,
    seed: int,
    relation_specificity: int = 0,
    unrelated: int = 0,
    edited_together: Sequence[Fact] = (),
    wordings: Iterable[Wording] | None = None,
    paraphrases: int | None = None,
    counted: bool = True,
) -> list[Probe]:
    """Return the probes of some facts, fact by fact, each in the order of `KINDS`.

    A fact whose data do not allow a kind goes without it, and a probe that would give an object away is dropped; how
    many is logged.

    Args:
        facts: What is edited.
        templates: Wordings by relation, types of subjects, and unrelated passages.
        pool: All facts, edited or not, from which neighbours and other subjects are taken.
        kinds: Names of kinds and groups of kinds.
        neighbours: Probes per fact about other subjects of the same relation.
        seed: What random choices follow from, together with the fact and the purpose.
        relation_specificity: Probes per fact about other relations of the same subject.
        unrelated: Probes per fact about other subjects and other relations.
        edited_together: Facts that are edited on the same model; what they change is nowhere expected to stay.
        wordings: Of these facts; those of the templates where it is not given.
        paraphrases: Paraphrases a fact; all where it is not given.
        counted: Whether to log how many are missing.

    Raises:
        ValueError: For an unknown kind, or one that follows a kind left out.
    """
    numbers = dict.fromkeys(("neighbourhood", "edit_before_neighbour"), neighbours)
    numbers |= {"relation_specificity": relation_specificity, "unrelated": unrelated}
    chosen = [KINDS[name] for name in chosen_kinds(kinds) if numbers.get(name) != 0]
    gather = _Gathering(templates, pool, chosen, numbers, seed, paraphrases, wordings, edited_together)
    probes: list[Probe] = []
    without: Counter[str] = Counter()
    leaking: Counter[str] = Counter()
    for fact in facts:
        material, ids = gather.material(fact), set[str]()
        for kind in chosen:
            built = kind.build(fact, material)
            sound = [probe for probe in built if kind.leak(probe, fact) is None]
            leaking[kind.name] += len(built) - len(sound)
            # what follows an answer needs the prompt that is answered
            usable = [probe for probe in sound if probe.follows is None or probe.follows in ids]
            ids |= {probe.id for probe in usable}
            without[kind.name] += not usable
            probes += usable
    if counted:
        _say_what_is_missing(without, leaking, len(facts))
    return probes


class _Gathering:
    """Gathers what the chosen kinds need, and no more: recalling a table of facts needs statements only."""

    def __init__(
        self,
        templates: Templates,
        pool: Sequence[Fact],
        kinds: Sequence[Kind],
        numbers: Mapping[str, int],
        seed: int,
        paraphrases: int | None,
        wordings: Iterable[Wording] | None,
        edited_together: Sequence[Fact],
    ):
        self._templates, self._pool, self._seed = templates, pool, seed
        self._paraphrases = paraphrases
        asked = {kind.name for kind in kinds}
        self._numbers = {name: number if name in asked else 0 for name, number in numbers.items()}
        self._neighbours = max(self._numbers["neighbourhood"], self._numbers["edit_before_neighbour"])
        self._parts = {part for kind in kinds for part in kind.parts}
        self._noisy = any(kind.name.startswith("noisy_context") for kind in kinds)
        subjects = {plain(fact.subject) for fact in edited_together}
        known = [fact for fact in pool if fact.target_true and plain(fact.subject) not in subjects]
        self._around = neighbourhoods(known) if self._neighbours else {}
        asks_others = self._numbers["relation_specificity"] or self._numbers["unrelated"]
        self._specificity = Specificity(pool if asks_others else (), templates, edited_together, seed)
        misspells = any(kind.name == "misspelling" for kind in kinds)
        self._known_words = _words_of(pool, templates) if misspells else frozenset()
        self._wordings = None if wordings is None else _by_fact(wordings)

    def material(self, fact: Fact) -> Material:
        relation = self._templates.relations.get(fact.relation)
        return Material(
            texts=self._texts(fact),
            claim=claim(fact, relation),
            denial=denial(fact, relation),
            reference=subject_type(fact, self._templates).reference,
            stranger=self._stranger(fact) if self._noisy else "",
            passages=self._templates.unrelated,
            neighbours=_neighbours_of(fact, self._around, self._neighbours),
            relation_specificity=self._specificity.relation_specificity(fact, self._numbers["relation_specificity"]),
            unrelated=self._specificity.unrelated(fact, self._numbers["unrelated"]),
            known_words=self._known_words,
            seed=f"{self._seed}/{fact.id}",
        )

    def _texts(self, fact: Fact) -> Mapping[str, tuple[str, ...]]:
        if self._wordings is None:
            texts = accepted_texts(template_wordings(fact, self._templates, self._parts))
        else:
            texts = accepted_texts(self._wordings.get(fact.id, ()))
        return texts | {"paraphrase": texts["paraphrase"][: self._paraphrases]}

    def _stranger(self, fact: Fact) -> str:
        """The profile of another subject, in other sentences than the fact's own, that names nothing of the fact."""
        rng = Random(f"{self._seed}/{fact.id}/stranger")
        own = subject_type(fact, self._templates)
        named = (*subject_names(fact), *true_names(fact), *new_names(fact))
        for other in rng.sample(self._pool, min(_STRANGERS_TRIED, len(self._pool))):
            profile = other_profile(other, self._templates, own)
            if profile and first_named(profile, named) is None:
                return profile
        return ""


def _neighbours_of(fact: Fact, around: Mapping[str, Neighbourhood], number: int) -> tuple[Completion, ...]:
    """The data set's own neighbours, then the closest in the table; none whose right answer the edit writes."""
    own = [one for one in fact.neighbours if shared_name(new_names(fact), (one.target, *one.aliases)) is None]
    near = around[fact.relation].nearest(fact, number) if fact.relation in around else []
    others = [
        Completion(other.statement, other.target_true, other.target_true_aliases, other.subject, other.join)
        for other in near
    ]
    return (*own, *others)[:number]


def _words_of(pool: Sequence[Fact], templates: Templates) -> frozenset[str]:
    named = (name for fact in pool for names in (subject_names, true_names, new_names) for name in names(fact))
    return words(*named, *(relation.statement for relation in templates.relations.values()))


def _by_fact(wordings: Iterable[Wording]) -> dict[str, list[Wording]]:
    by_fact: dict[str, list[Wording]] = {}
    for wording in wordings:
        by_fact.setdefault(wording.fact_id, []).append(wording)
    return by_fact


def _say_what_is_missing(without: Counter[str], leaking: Counter[str], facts: int) -> None:
    for kind, number in without.items():
        if number:
            logger.warning("%d of %d facts have no %s probe: their data do not allow it", number, facts, kind)
    for kind, number in leaking.items():
        if number:
            logger.warning("%d %s probes left out: they would name an object", number, kind)
