"""Balanced sampling of a few facts out of many."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from edit_robustness.records import Fact

Cell = tuple[bool, int | None]
"""Whether the model recalls the fact, and its class of page views (None where they are unknown)."""


def balance(facts: Sequence[Fact], recall: Mapping[str, bool], *, size: int, seed: int, quantiles: int) -> list[Fact]:
    """Choose up to `size` facts of different subjects, one by one from the cell with the fewest chosen facts.

    First recalled and not recalled are kept even, then classes of page views within them, then relations within
    a cell. Cells with unknown page views are used when no other is left.
    """
    candidates = _shuffle_subjects(facts, seed)
    classes = view_classes(candidates, quantiles)
    cells: dict[Cell, dict[str, list[Fact]]] = {}
    for fact in reversed(candidates):
        cell = recall[fact.id], classes[fact.id]
        cells.setdefault(cell, {}).setdefault(fact.relation, []).append(fact)
    sample: list[Fact] = []
    counts: Counter[Hashable] = Counter()
    while cells and len(sample) < size:
        cell = min(cells, key=lambda cell: _cell_rank(cell, counts))
        relation = min(cells[cell], key=lambda relation: (counts[cell, relation], counts[relation], relation))
        sample.append(_take_fact(cells, cell, relation))
        counts.update([cell, cell[0], ("views", cell[1]), (cell, relation), relation])
    return sample


def weigh(
    facts: Sequence[Fact],
    sample: Sequence[Fact],
    recall: Mapping[str, bool],
    *,
    seed: int,
    quantiles: int,
) -> dict[str, float]:
    """Return for each fact of a balanced sample the number of facts that it stands for, by its id.

    The weight is facts in the stratum / facts drawn from it, where a stratum is a `Cell`. If subjects have several
    facts, one of which was a candidate, a drawn fact stands for all facts of its subject: its weight is k x (facts of
    the subjects in the stratum) / (sum of k over its drawn facts), for k facts of its subject. The weights of a stratum
    sum to its facts. Relations take turns inside a stratum, which the weights do not undo.

    Args:
        facts: The facts that the sample was drawn from.
        sample: Output of `balance` for them.
        recall: Whether the model recalls each fact, by id.
        seed: The seed of the sample.
        quantiles: Number of classes of page views.
    """
    candidates = _shuffle_subjects(facts, seed)
    classes = view_classes(candidates, quantiles)
    of_subject = Counter(fact.subject.casefold() for fact in facts)
    in_stratum: Counter[Cell] = Counter()
    in_sample: Counter[Cell] = Counter()
    for counts, members in ((in_stratum, candidates), (in_sample, sample)):
        for fact in members:
            counts[recall[fact.id], classes[fact.id]] += of_subject[fact.subject.casefold()]
    weights = {}
    for fact in sample:
        stratum = recall[fact.id], classes[fact.id]
        weights[fact.id] = of_subject[fact.subject.casefold()] * in_stratum[stratum] / in_sample[stratum]
    return weights


def view_classes(facts: Sequence[Fact], quantiles: int) -> dict[str, int | None]:
    """Return the class of page views of each id, 0 the least viewed. Classes are equal in number, ties broken by id."""
    ranking = sorted(
        (fact for fact in facts if fact.page_views is not None), key=lambda fact: (fact.page_views, fact.id)
    )
    classes: dict[str, int | None] = {fact.id: None for fact in facts}
    return classes | {fact.id: place * quantiles // len(ranking) for place, fact in enumerate(ranking)}


def _shuffle_subjects(facts: Sequence[Fact], seed: int) -> list[Fact]:
    """Return the facts in an order that depends on the seed alone, each subject once."""
    by_id = sorted(facts, key=lambda fact: fact.id)
    order = np.random.default_rng(seed).permutation(len(by_id))
    first = {by_id[place].subject.casefold(): by_id[place] for place in reversed(order)}
    return [by_id[place] for place in order if first[by_id[place].subject.casefold()] is by_id[place]]


def _cell_rank(cell: Cell, counts: Counter[Hashable]) -> tuple[bool, int, int, int, bool, int]:
    recall, views = cell
    return views is None, counts[recall], counts[cell], counts["views", views], recall, -1 if views is None else views


def _take_fact(cells: dict[Cell, dict[str, list[Fact]]], cell: Cell, relation: str) -> Fact:
    """Remove and return the next fact of a cell and relation, and delete empty relations and cells."""
    fact = cells[cell][relation].pop()
    if not cells[cell][relation]:
        del cells[cell][relation]
    if not cells[cell]:
        del cells[cell]
    return fact
