"""From facts to probes: every chosen kind of prompt for every fact."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

from edit_robustness.prompts.kinds import KINDS, Setting
from edit_robustness.prompts.neighbours import neighbourhoods
from edit_robustness.prompts.relations import Templates
from edit_robustness.records import Fact, Probe

logger = logging.getLogger(__name__)


def build_probes(
    facts: Sequence[Fact],
    templates: Templates,
    pool: Sequence[Fact],
    *,
    kinds: Sequence[str],
    neighbours: int,
    seed: int,
) -> list[Probe]:
    """The probes of some facts, fact by fact, each in the order of `KINDS`.

    A fact whose data do not allow a kind goes without it; how many do is logged.

    Args:
        facts: What is edited.
        templates: Wordings by relation, and unrelated passages.
        pool: All facts, edited or not, from which neighbours are taken.
        kinds: Names of kinds.
        neighbours: Locality probes a fact.
        seed: What random choices follow from, together with the fact and the kind.

    Raises:
        ValueError: For an unknown kind, or one that follows a kind left out.
    """
    check_kinds(kinds)
    around = neighbourhoods(pool) if "locality" in kinds else {}
    probes: list[Probe] = []
    without: Counter[str] = Counter()
    for fact in facts:
        near = around[fact.relation].nearest(fact, neighbours) if fact.relation in around else []
        for kind in (KINDS[name] for name in KINDS if name in kinds):
            setting = Setting(templates.unrelated, tuple(near), Random(f"{seed}/{fact.id}/{kind.name}"))
            built = kind.build(fact, templates.relations.get(fact.relation), setting)
            without[kind.name] += not built
            probes += built
    _say_what_is_missing(without, len(facts))
    return probes


def check_kinds(kinds: Iterable[str]) -> None:
    """See that every kind exists, and that none follows a kind left out.

    Raises:
        ValueError: Naming the kind, and what to write instead.
    """
    chosen = list(kinds)
    for name in chosen:
        if name not in KINDS:
            raise ValueError(f"there is no kind of prompt {name!r}; there are {', '.join(KINDS)}")
        if (needed := KINDS[name].follows) is not None and needed not in chosen:
            raise ValueError(f"{name} comes after the model's answer to {needed}: add {needed} to the kinds")


def _say_what_is_missing(without: Counter[str], facts: int) -> None:
    for kind, number in without.items():
        if number:
            logger.warning("%d of %d facts have no %s probe: their data do not allow it", number, facts, kind)
