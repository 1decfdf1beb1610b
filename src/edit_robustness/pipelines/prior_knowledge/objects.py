"""Nodes that ask a model for the old objects that a table of facts leaves empty, before anything else is asked."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from edit_robustness.asking.ask import Decoding
from edit_robustness.datasets.folders import Landing, StoredItem
from edit_robustness.metrics.mentions import verdict
from edit_robustness.metrics.objects import stated_object
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.pipelines.prior_knowledge.nodes import recall
from edit_robustness.prompts.names import new_names, shared_name, subject_names
from edit_robustness.records import Answer, Fact
from edit_robustness.tables import facts_from_table, facts_to_table, with_notes

logger = logging.getLogger(__name__)

REJECT_COLUMNS = ["id", "subject", "relation", "reason"]
_QUOTED = 40
_WORD = "Word"


def ask_objects(
    lm: LanguageModel, facts: pd.DataFrame, inventory: Mapping[str, str], decoding: Decoding, check_record: Any = None
) -> Landing:
    """Ask the unedited model the statement of every fact without an old object.

    `check_record` is the result of the check that the model, the facts and the settings of the run fit each other.
    """
    yield from recall(lm, facts[facts["target_true"] == ""], inventory, decoding)


def complete_facts(
    facts: pd.DataFrame, object_answers: Mapping[str, StoredItem[list[Answer]]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take the model's answer as the old object where the table has none.

    Args:
        facts: All facts.
        object_answers: One answer to the statement of each fact without an old object.

    Returns:
        The facts, each with an old object; and those rejected because the model names none, or the new one already,
        or a limit of tokens cut what it said before the name had ended: id, subject, relation, reason.

    Raises:
        ValueError: Where no fact is left.
    """
    complete: list[Fact] = []
    rejects: list[dict[str, str]] = []
    for fact in facts_from_table(facts):
        try:
            complete.append(fact if fact.target_true else _add_object(fact, _read_answer(object_answers[fact.id])))
        except ValueError as reason:
            rejects.append({"id": fact.id, "subject": fact.subject, "relation": fact.relation, "reason": str(reason)})
    kinds = Counter(reject["reason"].split(":")[0] for reject in rejects)
    reasons = ", ".join(f"{kind} ({number})" for kind, number in kinds.most_common())
    if not complete:
        raise ValueError(
            f"none of {len(facts)} facts has an old object that this model says: {reasons}. Give the table a column "
            "target_true, or take a model that knows such facts"
        )
    if rejects:
        logger.warning("%d of %d facts are rejected for this model: %s", len(rejects), len(facts), reasons)
    return with_notes(facts_to_table(complete), facts), pd.DataFrame(rejects, columns=REJECT_COLUMNS)


def _read_answer(item: StoredItem[list[Answer]]) -> Answer:
    """Return the answer to a fact's statement.

    Raises:
        ValueError: The reason why there is none.
    """
    if item.failure:
        raise ValueError(f"could not be asked: {item.failure}")
    return item.read()[0]


def _add_object(fact: Fact, answer: Answer) -> Fact:
    """Return the fact with the object that the answer names.

    Raises:
        ValueError: The reason why there is none.
    """
    text = answer.text
    if verdict(text, new_names(fact), (), besides=subject_names(fact)) == "new":
        raise ValueError(f"gives the new object already: {text.strip()[:_QUOTED]!r}")
    name = stated_object(text, fact.subject)
    # if one more word would be part of the name, the name may have been cut
    if not answer.finished and (not name or name != stated_object(f"{text} {_WORD}", fact.subject)):
        raise ValueError(f"answer cut at {answer.tokens} tokens: {text.strip()[:_QUOTED]!r}")
    if not name:
        raise ValueError(f"gives no object: {text.strip()[:_QUOTED]!r}")
    if shared_name([name], fact.target_true_aliases) is None:
        # the table's other names and item are those of another object
        fact = replace(fact, target_true_aliases=(), target_true_id="")
    return replace(fact, target_true=name)
