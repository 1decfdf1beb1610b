"""The node of bake: which edits held, in which order they are put together, and what the card says of them."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add

import pandas as pd
from pydantic.dataclasses import dataclass

from edit_robustness.datasets.baked import Baked
from edit_robustness.datasets.folders import Stored
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.exchange.card import Card
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.tables import facts_from_table

_NOTE = (
    "Each edit was made on the unedited model by itself, and then all were added up in the order of the table. "
    "The scores are the shares of prompts of each kind, by free generation, with each edit by itself: they were not "
    "measured on this model, where edits can disturb each other."
)


@dataclass(frozen=True, config={"extra": "forbid"})
class Baking:
    """What is baked.

    Attributes:
        method: Row of METHODS.
        must_hold: Kinds of prompts to all of which a fact's edit must have given the new object, by free generation;
            none for all facts.
    """

    method: str
    must_hold: tuple[str, ...] = ("statement",)


def put_together(
    lm: LanguageModel,
    sampled_facts: pd.DataFrame,
    edits: Mapping[str, Stored[Edit]],
    scores: pd.DataFrame,
    settings: Baking,
) -> Baked:
    """The sum of the edits that held, with its card.

    Raises:
        ValueError: If there are no edits of the method, or none held.
    """
    if not edits:
        raise ValueError(f"bake.method: {lm.name} has no edits by {settings.method}; run it with that cell of the grid")
    free = scores[(scores["method"] == settings.method) & (scores["protocol"] == "free")]
    held = _held(free, settings.must_hold) if settings.must_hold else set(edits)
    facts = [fact for fact in facts_from_table(sampled_facts) if fact.id in held]
    if not facts:
        raise ValueError(
            f"none of {len(edits)} edits of {lm.name} by {settings.method} held on {', '.join(settings.must_hold)}: "
            "there is nothing to bake; ask for less in bake.must_hold ([] for all facts)"
        )
    # equal edits are one: a folder that several facts share is put on once
    chosen = list(dict.fromkeys(edits[fact.id].read() for fact in facts))
    origin = chosen[0].origin
    card = Card(
        method=settings.method,
        settings=origin.settings if origin else {},
        facts=facts,
        scores=_by_kind(free),
        note=f"{len(facts)} of the {len(edits)} edits of a run. {_NOTE}",
    )
    return Baked(reduce(add, chosen), lm, card)


def _held(free: pd.DataFrame, kinds: Sequence[str]) -> set[str]:
    """Facts whose edit gave the new object to every prompt of these kinds."""
    success = free[free["metric"] == "success"]
    missing = set(kinds) - set(success["kind"])
    if missing:
        raise ValueError(
            f"bake.must_hold: no prompts of the kind {', '.join(sorted(missing))} were asked; there are "
            f"{', '.join(success['kind'].unique())}"
        )
    worst = success[success["kind"].isin(kinds)].groupby("fact_id")["value"].min()
    return set(worst.index[worst == 1])


def _by_kind(free: pd.DataFrame) -> dict[str, dict[str, float]]:
    """For each fact the share of successes, and of unchanged answers about other things, by kind of prompt."""
    shown = free[free["metric"].isin(("success", "locality_all"))]
    shares = shown.groupby(["fact_id", "kind"], sort=False)["value"].mean()
    return {str(fact): dict(own.droplevel("fact_id")) for fact, own in shares.groupby("fact_id")}
