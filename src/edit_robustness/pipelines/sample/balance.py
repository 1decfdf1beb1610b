"""Choosing few facts out of many so that what they are compared by is spread evenly."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from edit_robustness.records import Fact

Cell = tuple[bool, int | None]
"""Whether the model recalls the fact, and its class of page views (None where they are unknown)."""


def balanced(
    facts: Sequence[Fact], recalled: Mapping[str, bool], *, size: int, seed: int, quantiles: int
) -> list[Fact]:
    """Up to `size` facts of different subjects, one by one from the cell of which the fewest are chosen.

    First recalled and not recalled are kept even, then classes of page views within them, then relations within
    a cell. Cells with unknown page views are used when no other is left.
    """
    shuffled = _one_a_subject(facts, seed)
    classes = view_classes(shuffled, quantiles)
    cells: dict[Cell, dict[str, list[Fact]]] = {}
    for fact in reversed(shuffled):
        cell = recalled[fact.id], classes[fact.id]
        cells.setdefault(cell, {}).setdefault(fact.relation, []).append(fact)
    chosen: list[Fact] = []
    used: Counter = Counter()
    while cells and len(chosen) < size:
        cell = min(cells, key=lambda cell: _cell_rank(cell, used))
        relation = min(cells[cell], key=lambda relation: (used[cell, relation], used[relation], relation))
        chosen.append(_take(cells, cell, relation))
        used.update([cell, cell[0], ("views", cell[1]), (cell, relation), relation])
    return chosen


def view_classes(facts: Sequence[Fact], quantiles: int) -> dict[str, int | None]:
    """For each id the class of page views, 0 the least viewed: classes equal in number, ties by id."""
    viewed = sorted(
        (fact for fact in facts if fact.page_views is not None), key=lambda fact: (fact.page_views, fact.id)
    )
    classes: dict[str, int | None] = {fact.id: None for fact in facts}
    return classes | {fact.id: place * quantiles // len(viewed) for place, fact in enumerate(viewed)}


def _one_a_subject(facts: Sequence[Fact], seed: int) -> list[Fact]:
    """The facts in an order that follows from the seed alone, each subject once."""
    by_id = sorted(facts, key=lambda fact: fact.id)
    order = np.random.default_rng(seed).permutation(len(by_id))
    first = {by_id[place].subject.casefold(): by_id[place] for place in reversed(order)}
    return [by_id[place] for place in order if first[by_id[place].subject.casefold()] is by_id[place]]


def _cell_rank(cell: Cell, used: Counter) -> tuple[bool, int, int, int, bool, int]:
    known, views = cell
    return views is None, used[known], used[cell], used["views", views], known, -1 if views is None else views


def _take(cells: dict[Cell, dict[str, list[Fact]]], cell: Cell, relation: str) -> Fact:
    """The next fact of a cell and relation; what is empty leaves."""
    fact = cells[cell][relation].pop()
    if not cells[cell][relation]:
        del cells[cell][relation]
    if not cells[cell]:
        del cells[cell]
    return fact
