"""Nodes of prior knowledge. Answers are stored one file per fact, so an interrupted run resumes after the last one."""

import logging
from collections.abc import Mapping, Sequence

import pandas as pd

from edit_robustness.asking.ask import Decoding
from edit_robustness.datasets.folders import Landing, StoredItem, successful_items
from edit_robustness.editing.edits import Edit, PromptPrefix
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.features import object_ranks
from edit_robustness.features.remote import FeatureParameters
from edit_robustness.metrics.recall import recall_table
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.prompts.probes import build_probes
from edit_robustness.prompts.relations import Templates
from edit_robustness.records import UNEDITED, Answer, Fact, Probe
from edit_robustness.tables import answers_to_table, facts_from_table
from edit_robustness.workers import Task, Work, current_workers
from edit_robustness.workers.answers import answers_under

logger = logging.getLogger(__name__)


def recall(lm: LanguageModel, facts: pd.DataFrame, inventory: Mapping[str, str], decoding: Decoding) -> Landing:
    """Ask the unedited model the statement of every fact."""
    no_edit: StoredItem[Edit] = StoredItem.of(fingerprint(lm.fingerprint), PromptPrefix())
    probes = _build_statements(facts_from_table(facts))
    edits = dict.fromkeys(probes, no_edit)
    yield from answers_under(lm, edits, probes, inventory, decoding, f"{lm.name}: recalling all facts")


def recall_in_context(
    lm: LanguageModel,
    facts: pd.DataFrame,
    inventory: Mapping[str, str],
    decoding: Decoding,
    parameters: FeatureParameters,
) -> Landing:
    """Ask the statement of every fact again after other facts of its relation; nothing if `in_context` is 0."""
    records = facts_from_table(facts) if parameters.recall_demonstrations else []
    relations: dict[str, list[Fact]] = {}
    for fact in records:
        relations.setdefault(fact.relation, []).append(fact)
    edits: dict[str, StoredItem[Edit]] = {}
    for fact in records:
        words = object_ranks.recall_demonstrations(
            fact, relations[fact.relation], parameters.recall_demonstrations, parameters.seed
        )
        edits[fact.id] = StoredItem.of(fingerprint(lm.fingerprint, words), PromptPrefix(words))
    label, shorten = f"{lm.name}: recalling in context", "lower features.recall_demonstrations"
    yield from answers_under(lm, edits, _build_statements(records), inventory, decoding, label, shorten=shorten)


def _build_statements(facts: Sequence[Fact]) -> dict[str, list[Probe]]:
    """Return the statement of each fact as its only probe."""
    probes = build_probes(facts, Templates({}, ()), [], kinds=["statement"], neighbours=0, seed=0)
    return {probe.fact_id: [probe] for probe in probes}


def tabulate_recall(
    lm: LanguageModel, recall_answers: Mapping[str, StoredItem[list[Answer]]], facts: pd.DataFrame
) -> pd.DataFrame:
    """Return what the unedited model knows of each fact. Facts that could not be asked are left out."""
    answers = [answer for item in successful_items(recall_answers).values() for answer in item.read()]
    table = recall_table(answers_to_table(answers, model=lm.name, method=UNEDITED), facts)
    if n_cut := int(table["recall_cut"].sum()):
        logger.warning(
            "%s: %d of %d answers about what it knows were cut before they named an object; these facts count as not "
            "recalled when facts are drawn, and are left out of figures of recall: raise decoding.max_new_tokens",
            *(lm.name, n_cut, len(table)),
        )
    return table


def rank_objects(lm: LanguageModel, facts: pd.DataFrame, decoding: Decoding) -> pd.DataFrame:
    """Compute the ranks of both objects of every fact, in one forward pass per batch of statements."""
    records, label = facts_from_table(facts), f"{lm.name}: ranks of objects"
    batches = object_ranks.cut_batches(lm, records, rows=decoding.batch_rows)
    inputs = {str(number): batch for number, batch in enumerate(batches)}
    task = Task(Work(object_ranks.object_ranks, inputs), list(inputs), label, in_batches=False)
    tables = []
    for attempt in track(current_workers().attempts(lm, task), label, len(inputs)):
        if attempt.value is None:
            raise attempt.error or ValueError(f"{label}: nothing was measured")
        tables.append(attempt.value)
    return object_ranks.object_ranks_table(tables, records)
