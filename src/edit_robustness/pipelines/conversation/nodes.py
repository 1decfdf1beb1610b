"""Nodes of conversation.

Transcripts and a judge's replies are stored one file per edit, so an interrupted run resumes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as validated

from edit_robustness.asking.converse import ConversationSettings, converse
from edit_robustness.asking.topics import Topic, topic
from edit_robustness.datasets.failures import PATIENCE, failed_table, run_attempts
from edit_robustness.datasets.folders import Landing, Manifest, StoredItem, stale_mark, successful_items
from edit_robustness.datasets.run_record import collect_environments
from edit_robustness.editing.artefacts import NO_ARTEFACT, Artefact
from edit_robustness.editing.edits import Edit
from edit_robustness.editing.files import FORMAT
from edit_robustness.editing.fingerprints import fingerprint
from edit_robustness.metrics.conversation import LABELS, other_objects, turns_table, verdict_table
from edit_robustness.metrics.conversation_judge import judged_table, question
from edit_robustness.models.language_model import LanguageModel
from edit_robustness.progress import track
from edit_robustness.prompts.relations import read_relations
from edit_robustness.records import Transcript
from edit_robustness.report.conversations import SILENT, Conversations, render
from edit_robustness.setting_types import STRICT
from edit_robustness.speakers.endpoint import EndpointSpeaker
from edit_robustness.speakers.speaker import Speaker
from edit_robustness.speakers.unset import UnsetSpeaker
from edit_robustness.statistics.agreement import agreement
from edit_robustness.statistics.intervals import rates
from edit_robustness.tables import facts_from_table
from edit_robustness.workers import Task, ThisProcess, Work, current_workers

logger = logging.getLogger(__name__)

_JUDGED_AT_ONCE = 8


@validated(frozen=True, config=STRICT)
class ConversationReportParameters:
    """Parameters of the report on conversations.

    Attributes:
        confidence: Level of all intervals.
        bootstrap: Resamples of subjects behind the interval of an agreement.
        seed: Of the resampling.
        shown: Transcripts on the page for each model and method; all are kept in their folders.
    """

    confidence: float = Field(default=0.95, gt=0, lt=1)
    bootstrap: PositiveInt = 2000
    seed: int = 0
    shown: NonNegativeInt = 50


def talk_with(method: str) -> Callable[..., Landing]:
    """Return the node that runs conversations under the edits of one method, except for facts whose edit failed."""

    def talk(
        lm: LanguageModel,
        edits: Mapping[str, StoredItem[Edit]],
        sampled_facts: pd.DataFrame,
        raw_relations: dict[str, Any],
        inventory: Mapping[str, str],
        tester: Speaker,
        settings: ConversationSettings,
        artefacts: Mapping[str, StoredItem[Artefact]] | None = None,
    ) -> Landing:
        relations = read_relations(raw_relations).relations
        topics = {fact.id: topic(fact, relations.get(fact.relation)) for fact in facts_from_table(sampled_facts)}
        common = (FORMAT, "transcript", method, lm.fingerprint, tester.fingerprint, _key_settings(settings))
        fact_ids = [key for key in topics if key not in edits or not edits[key].failure]
        manifest = Manifest({key: fingerprint(*common, edits[key].fingerprint, topics[key]) for key in fact_ids})
        yield manifest
        missing_keys, label = manifest.missing_keys(inventory), f"{lm.name}: {method}, talking"
        if not missing_keys:
            return
        artefact = next((item.read() for item in (artefacts or {}).values()), NO_ARTEFACT)
        size = settings.batch_rows
        batches = [fact_ids[start : start + size] for start in range(0, len(fact_ids), size)]
        work = Work(_talk, {key: (edits[key], topics[key]) for key in fact_ids}, (artefact, tester, settings, method))
        task = Task(work, missing_keys, label, batches=batches, patience=PATIENCE)
        # one process keeps the pace that an endpoint wants, and stores its replies
        workers = ThisProcess() if isinstance(tester, EndpointSpeaker) else current_workers()
        attempts = workers.attempts(lm, task)
        for attempt in track(attempts, label, len(missing_keys)):
            about = {"environment": attempt.environment, **stale_mark(edits[attempt.key])}
            yield attempt.to_items(manifest[attempt.key], about, fact_id=attempt.key)

    return talk


def _talk(
    lm: LanguageModel,
    talks: Sequence[tuple[StoredItem[Edit], Topic]],
    artefact: Artefact,
    tester: Speaker,
    settings: ConversationSettings,
    method: str,
) -> Iterator[Transcript]:
    edit_topics = [(item.read().with_artefact(artefact), topic) for item, topic in talks]
    return converse(lm, edit_topics, tester, settings, method=method)


def judge(
    transcripts: Mapping[str, StoredItem[Transcript]],
    sampled_facts: pd.DataFrame,
    judge: Speaker,
    inventory: Mapping[str, str],
) -> Landing:
    """Ask the judge about every conversation and store its replies; nothing if the catalog sets no judge."""
    if isinstance(judge, UnsetSpeaker):
        yield Manifest({})
        return
    facts = {fact.id: fact for fact in facts_from_table(sampled_facts)}
    talks = {key: item.read() for key, item in successful_items(transcripts).items()}
    questions = {key: question(talk, facts[key]) for key, talk in talks.items() if talk.replies}
    manifest = Manifest(
        {key: fingerprint(FORMAT, "opinion", judge.fingerprint, turns) for key, turns in questions.items()}
    )
    yield manifest
    missing_keys = manifest.missing_keys(inventory)
    if not missing_keys:
        return

    def make(keys: Sequence[str]) -> Iterator[list[str]]:
        for first in range(0, len(keys), _JUDGED_AT_ONCE):
            batch = keys[first : first + _JUDGED_AT_ONCE]
            yield from ([reply] for reply in judge.replies([questions[key] for key in batch]))

    label = f"{judge.name}: judging"
    for talk in track(run_attempts(missing_keys, make, label, patience=PATIENCE), label, len(missing_keys)):
        yield talk.to_items(manifest[talk.key], {"judge": judge.name}, fact_id=talk.key)


def rule_with(methods: Sequence[str], model: str) -> Callable[..., tuple[pd.DataFrame, ...]]:
    """Return the node that labels the conversations of one model by rules.

    Its outputs are the verdicts, the comparison with the judge's, and all turns.
    """

    def rule(
        facts: pd.DataFrame, sampled_facts: pd.DataFrame, *folders: Mapping[str, StoredItem[Any]]
    ) -> tuple[pd.DataFrame, ...]:
        transcript_folders, opinion_folders = folders[: len(methods)], folders[len(methods) :]
        edited_facts = facts_from_table(sampled_facts)
        objects = other_objects(edited_facts, [*edited_facts, *facts_from_table(facts)])
        transcripts = [item.read() for folder in transcript_folders for item in successful_items(folder).values()]
        if silent := Counter(transcript.method for transcript in transcripts if not transcript.replies):
            logger.warning(
                "%s: %d of %d conversations (%s) have no turn of the model, because the edit's words and the first "
                "question leave no room in its context; no figure counts them: lower conversation.max_new_tokens",
                *(model, silent.total(), len(transcripts), ", ".join(f"{name} {n}" for name, n in silent.items())),
            )
        verdicts = verdict_table(transcripts, {fact.id: fact for fact in edited_facts}, objects, model=model)
        items = {
            (name, key): item
            for name, edited_facts in zip(methods, opinion_folders, strict=True)
            for key, item in successful_items(edited_facts).items()
        }
        replies = {key: item.read()[0] for key, item in items.items()}
        name = next((str(item.header["judge"]) for item in items.values()), "")
        return verdicts, judged_table(verdicts, replies, name), turns_table(transcripts, model=model)

    return rule


def list_failures_with(methods: Sequence[str], model: str) -> Callable[..., pd.DataFrame]:
    """Return the node that lists the edits, conversations and judge's replies of one model that failed.

    Conversations in which no turn of the model had room are listed, too.
    """

    def list_failures(*folders: Mapping[str, StoredItem[Any]]) -> pd.DataFrame:
        owners = [(method, stage) for stage in ("edit", "talk", "judge") for method in methods]
        folder_rows = [(*owner, folder) for owner, folder in zip(owners, folders, strict=True)]
        silent_rows = [
            (method, SILENT, _list_silent(folder)) for method, stage, folder in folder_rows if stage == "talk"
        ]
        return failed_table(model, [*folder_rows, *silent_rows])

    return list_failures


def describe_with(model: str) -> Callable[..., dict[str, Any]]:
    """Return the node that records the environments and versions in which edits and conversations were made."""

    def describe(*folders: Mapping[str, StoredItem[Any]]) -> dict[str, Any]:
        return collect_environments(model, folders)

    return describe


def _list_silent(transcripts: Mapping[str, StoredItem[Transcript]]) -> dict[str, StoredItem[Transcript]]:
    """Return the conversations without a turn of the model, as failed items."""
    reason = "the edit's words and the first question leave no room in the context: lower conversation.max_new_tokens"
    return {
        key: StoredItem.failed_item(item.fingerprint, reason, fact_id=key)
        for key, item in successful_items(transcripts).items()
        if not item.read().replies
    }


def sum_up(
    verdicts: pd.DataFrame, comparisons: pd.DataFrame, settings: ConversationReportParameters
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compute the share of each label with its interval, per model and method, and the agreement with the judge."""
    keys = ["model", "method", "fact_id", "subject"]
    scores = verdicts.melt(keys, list(LABELS), "label").astype({"value": float})
    shares = rates(scores, ["model", "method", "label"], confidence=settings.confidence)
    shares = shares.rename(columns={"n_probes": "n"}).drop(columns=["n_facts", "n_missing"])
    agreement_table = agreement(
        comparisons,
        ["model", "judge", "label"],
        first="rules",
        second="judged",
        confidence=settings.confidence,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
    )
    return shares, agreement_table


def write_page(
    verdicts: pd.DataFrame,
    turns: pd.DataFrame,
    shares: pd.DataFrame,
    agreement_table: pd.DataFrame,
    failed_items: pd.DataFrame,
    settings: ConversationReportParameters,
    *runs: Mapping[str, Any],
) -> str:
    """Return the page as one HTML document."""
    return render(
        Conversations(
            verdicts,
            turns,
            shares,
            agreement_table,
            shown=settings.shown,
            confidence=settings.confidence,
            failed_items=failed_items,
            runs=runs,
        )
    )


def _key_settings(settings: ConversationSettings) -> dict[str, int]:
    """Return the settings that transcripts depend on; the number of conversations per batch is not one of them."""
    names = ("rounds", "retries", "max_new_tokens", "max_thinking_tokens", "seed")
    return {name: getattr(settings, name) for name in names}
