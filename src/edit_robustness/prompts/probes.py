"""Build probes from facts and wordings: every selected kind of prompt for every fact."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from edit_robustness.prompts.builders import Material
from edit_robustness.prompts.grammar import words
from edit_robustness.prompts.kinds import KINDS, Kind, select_kinds
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

_STRANGER_TRIES = 40


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
    log_counts: bool = True,
) -> list[Probe]:
    """Return the probes of some facts, fact by fact, each in the order of `KINDS`.

    A kind is skipped for a fact whose data do not allow it. A probe that would reveal an object is dropped. The numbers
    of both are logged.

    Args:
        facts: The facts to edit.
        templates: Wordings by relation, types of subjects, and unrelated passages.
        pool: All facts, edited or not, from which neighbours and other subjects are taken.
        kinds: Names of kinds and groups of kinds.
        neighbours: Probes per fact about other subjects of the same relation.
        seed: Seed of the random choices, combined with the fact and the purpose.
        relation_specificity: Probes per fact about other relations of the same subject.
        unrelated: Probes per fact about other subjects and other relations.
        edited_together: Facts that are edited on the same model. No specificity probe asks for what they change.
        wordings: Wordings of these facts; by default those of the templates.
        paraphrases: Number of paraphrases per fact; by default all.
        log_counts: Whether to log how many probes are missing.

    Raises:
        ValueError: If a kind is unknown, or follows a kind that is not selected.
    """
    numbers = dict.fromkeys(("neighbourhood", "edit_before_neighbour"), neighbours)
    numbers |= {"relation_specificity": relation_specificity, "unrelated": unrelated}
    selected_kinds = [KINDS[name] for name in select_kinds(kinds) if numbers.get(name) != 0]
    builder = _MaterialBuilder(templates, pool, selected_kinds, numbers, seed, paraphrases, wordings, edited_together)
    probes: list[Probe] = []
    n_without: Counter[str] = Counter()
    n_leaks: Counter[str] = Counter()
    for fact in facts:
        material, ids = builder.material(fact), set[str]()
        for kind in selected_kinds:
            candidates = kind.build(fact, material)
            safe_probes = [probe for probe in candidates if kind.leak(probe, fact) is None]
            n_leaks[kind.name] += len(candidates) - len(safe_probes)
            # a follow-up can only be asked if the prompt before it is asked too
            kind_probes = [probe for probe in safe_probes if probe.follows is None or probe.follows in ids]
            ids |= {probe.id for probe in kind_probes}
            n_without[kind.name] += not kind_probes
            probes += kind_probes
    if log_counts:
        _log_gaps(n_without, n_leaks, len(facts))
    return probes


class _MaterialBuilder:
    """Builds the material of each fact.

    Only what the selected kinds need is computed, because the recall of a whole table of facts needs statements only.
    """

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
        kind_names = {kind.name for kind in kinds}
        self._numbers = {name: number if name in kind_names else 0 for name, number in numbers.items()}
        self._neighbours = max(self._numbers["neighbourhood"], self._numbers["edit_before_neighbour"])
        self._parts = {part for kind in kinds for part in kind.parts}
        self._noisy = any(kind.name.startswith("noisy_context") for kind in kinds)
        subjects = {plain(fact.subject) for fact in edited_together}
        facts_with_objects = [fact for fact in pool if fact.target_true and plain(fact.subject) not in subjects]
        self._neighbourhoods = neighbourhoods(facts_with_objects) if self._neighbours else {}
        needs_specificity = self._numbers["relation_specificity"] or self._numbers["unrelated"]
        self._specificity = Specificity(pool if needs_specificity else (), templates, edited_together, seed)
        has_misspelling = any(kind.name == "misspelling" for kind in kinds)
        self._known_words = _name_words(pool, templates) if has_misspelling else frozenset()
        self._wordings = None if wordings is None else _group_by_fact(wordings)

    def material(self, fact: Fact) -> Material:
        relation = self._templates.relations.get(fact.relation)
        return Material(
            texts=self._texts(fact),
            claim=claim(fact, relation),
            denial=denial(fact, relation),
            reference=subject_type(fact, self._templates).reference,
            stranger=self._stranger(fact) if self._noisy else "",
            passages=self._templates.unrelated,
            neighbours=_neighbour_completions(fact, self._neighbourhoods, self._neighbours),
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
        """Return a profile of another subject that names nothing of the fact; empty if none is found.

        Its sentences differ from those of the fact's own profile.
        """
        rng = Random(f"{self._seed}/{fact.id}/stranger")
        own_type = subject_type(fact, self._templates)
        fact_names = (*subject_names(fact), *true_names(fact), *new_names(fact))
        for stranger in rng.sample(self._pool, min(_STRANGER_TRIES, len(self._pool))):
            profile = other_profile(stranger, self._templates, own_type)
            if profile and first_named(profile, fact_names) is None:
                return profile
        return ""


def _neighbour_completions(fact: Fact, by_relation: Mapping[str, Neighbourhood], number: int) -> tuple[Completion, ...]:
    """Return the data set's neighbours, then the nearest in the table.

    Neighbours whose right answer is the edit's new object are left out.
    """
    given_neighbours = [
        completion
        for completion in fact.neighbours
        if shared_name(new_names(fact), (completion.target, *completion.aliases)) is None
    ]
    nearest_facts = by_relation[fact.relation].nearest(fact, number) if fact.relation in by_relation else []
    table_neighbours = [
        Completion(
            neighbour.statement, neighbour.target_true, neighbour.target_true_aliases, neighbour.subject, neighbour.join
        )
        for neighbour in nearest_facts
    ]
    return (*given_neighbours, *table_neighbours)[:number]


def _name_words(pool: Sequence[Fact], templates: Templates) -> frozenset[str]:
    all_names = (name for fact in pool for names in (subject_names, true_names, new_names) for name in names(fact))
    return words(*all_names, *(relation.statement for relation in templates.relations.values()))


def _group_by_fact(wordings: Iterable[Wording]) -> dict[str, list[Wording]]:
    by_fact: dict[str, list[Wording]] = {}
    for wording in wordings:
        by_fact.setdefault(wording.fact_id, []).append(wording)
    return by_fact


def _log_gaps(n_without: Counter[str], n_leaks: Counter[str], n_facts: int) -> None:
    for kind, number in n_without.items():
        if number:
            logger.warning("%d of %d facts have no %s probe, because their data do not allow it", number, n_facts, kind)
    for kind, number in n_leaks.items():
        if number:
            logger.warning("Dropped %d %s probes that would name an object", number, kind)
