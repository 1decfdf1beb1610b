"""Nodes that choose the facts of a sequence of edits, their orders, and the retention facts, which are never edited."""

import logging

import numpy as np
import pandas as pd

from edit_robustness.editing.edit_sequence import SequenceParameters
from edit_robustness.pipelines.sample.balance import balance, weigh
from edit_robustness.pipelines.sample.nodes import find_recalled_facts
from edit_robustness.records import Fact
from edit_robustness.tables import facts_from_table, facts_to_table, with_notes

logger = logging.getLogger(__name__)

_QUANTILES = 4


def check_enough(facts: pd.DataFrame, settings: SequenceParameters) -> None:
    """Refuse a table that cannot fill a sequence, before any model is loaded.

    Raises:
        ValueError: If it has fewer subjects than the last checkpoint has edits.
    """
    _require_subjects(facts["subject"].str.casefold().nunique(), settings, "the table of facts has")


def draw_sequence(
    facts: pd.DataFrame, recall_scores: pd.DataFrame, settings: SequenceParameters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose the facts to edit, in their orders, and facts that the model knows and that are never edited.

    Every subject comes once. Facts that stay are taken from those that the model recalls; the others are drawn so that
    known and unknown ones, and classes of page views, take turns. The first order is that of the draw, so that a later
    checkpoint leaves its beginning as it was; the other orders are permutations of it.

    Args:
        facts: All facts.
        recall_scores: Columns fact_id and recalled, of one model.
        settings: How many, how often, and how many stay.

    Returns:
        The facts (`tables.FACT_COLUMNS`, `tables.FACT_NOTES` and the user's columns; `fact_role` is ``edited`` or
        ``retained``, `weight` how many of the facts that could be drawn for this role each stands for); and the
        orders: order, position (1-based) and fact_id.

    Raises:
        ValueError: If too few facts are left to edit.
    """
    recall = find_recalled_facts(facts, recall_scores)
    candidates = facts_from_table(facts[facts["id"].isin(recall)])
    known_facts = [fact for fact in candidates if recall[fact.id]]
    retention_facts = _draw(known_facts, recall, settings.retention_facts, settings.seed)
    if len(retention_facts) < settings.retention_facts:
        logger.warning(
            "sequence.retention_facts: %d facts that the model knows were requested, and it knows only %d",
            settings.retention_facts,
            len(retention_facts),
        )
    retention_subjects = {fact.subject.casefold() for fact in retention_facts}
    editable_facts = [fact for fact in candidates if fact.subject.casefold() not in retention_subjects]
    edited_facts = _draw(editable_facts, recall, settings.length, settings.seed)
    _require_subjects(
        len(edited_facts),
        settings,
        f"beside {len(retention_facts)} that stay unedited (sequence.retention_facts) there are",
    )
    orders = [
        _shuffle(edited_facts, settings.seed, order) if order else edited_facts for order in range(settings.orders)
    ]
    rows = [
        (number, place, fact.id) for number, sequence in enumerate(orders) for place, fact in enumerate(sequence, 1)
    ]
    weights = [
        _weigh(editable_facts, edited_facts, recall, settings.seed),
        _weigh(known_facts, retention_facts, recall, settings.seed),
    ]
    roles = zip(("edited", "retained"), (edited_facts, retention_facts), weights, strict=True)
    table = pd.concat(
        [
            with_notes(facts_to_table(records), facts).assign(
                fact_role=role, weight=[weight[fact.id] for fact in records]
            )
            for role, records, weight in roles
        ],
        ignore_index=True,
    )
    return table, pd.DataFrame(rows, columns=["order", "position", "fact_id"])


def _draw(facts: list[Fact], recall: dict[str, bool], size: int, seed: int) -> list[Fact]:
    return balance(facts, recall, size=size, seed=seed, quantiles=_QUANTILES) if facts and size else []


def _weigh(facts: list[Fact], sample: list[Fact], recall: dict[str, bool], seed: int) -> dict[str, float]:
    return weigh(facts, sample, recall, seed=seed, quantiles=_QUANTILES) if sample else {}


def _shuffle(facts: list[Fact], seed: int, order: int) -> list[Fact]:
    return [facts[place] for place in np.random.default_rng([seed, order]).permutation(len(facts))]


def _require_subjects(subjects: int, settings: SequenceParameters, context: str) -> None:
    if subjects < settings.length:
        raise ValueError(
            f"sequence.checkpoints: {settings.length} edits want facts of as many subjects, and {context} {subjects}; "
            "lower the last checkpoint, or give more facts"
        )
